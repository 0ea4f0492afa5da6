//! `cede report`.

use super::status::Facts;
use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::page::{BEGINNING, page};
use crate::source;
use crate::time::utc;
use crate::ui::Ui;
use crate::view::report::{ReportView, Standing};
use cede_host::Scope;
use cede_model::Host;
use cede_plan::journal;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Makes the page of a host.
///
/// # Errors
/// The host cannot be read, or the page not written.
pub fn run(output: Option<&Path>, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let path = output.filter(|path| *path != Path::new("-"));
    if output.is_none() && io::stdout().is_terminal() {
        return Err(
            CommandError::usage("a page of HTML is nothing to read on a terminal").hint(global.command("report -o host.html", false))
        );
    }
    let host = source::load(global, Scope::Wiring)?;
    source::require_functions(&host)?;
    let view = ReportView::new(&host, standing(&host, global), global);
    let page = page(&view, read_at(&host, global).as_deref());
    match path {
        None => ui.out().write_all(page.as_bytes())?,
        Some(path) => {
            save(path, page.as_bytes())?;
            writeln!(
                ui.err(),
                "wrote {}: open it in a browser; it names this host's devices and files, so look before you share it",
                path.display()
            )?;
        }
    }
    // The process ends here: taking a large host apart would only cost time.
    std::mem::forget(host);
    Ok(Exit::Fine)
}

/// A listing tells nothing of it.
fn standing(host: &Host, global: &Global) -> Option<Standing> {
    let operations = journal::operations(&host.capture);
    let facts = global.lspci.is_none().then(|| Facts::new(host, &operations, global))?;
    Some(Standing { boot: facts.boot(), next: facts.next })
}

/// When a machine was read; a capture does not say when it was made.
fn read_at(host: &Host, global: &Global) -> Option<String> {
    let is_machine = global.host.is_none() && global.lspci.is_none() && !host.devices.is_empty();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok().filter(|_| is_machine)?;
    Some(format!("read {}", utc(now.as_secs())))
}

/// A page of ours is replaced by the new one, whole; any other file stays as it is.
fn save(path: &Path, page: &[u8]) -> Result<(), CommandError> {
    let failed = |error: io::Error| CommandError::usage(format!("{}: {error}", path.display())).hint("`-o FILE` names another one");
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            File::create_new(path).and_then(|mut file| file.write_all(page)).map_err(failed)
        }
        Err(error) => Err(failed(error)),
        Ok(found) if found.is_file() => {
            if !is_ours(path).map_err(failed)? {
                let message = format!("{} is there, and is no page that cede made: nothing was written", path.display());
                return Err(CommandError::usage(message).hint("name another file with `-o FILE`, or move that one away"));
            }
            replace(path, page).map_err(failed)
        }
        // A pipe, a terminal, /dev/stdout.
        Ok(_) => File::options().write(true).open(path).and_then(|mut file| file.write_all(page)).map_err(failed),
    }
}

fn is_ours(path: &Path) -> io::Result<bool> {
    let mut beginning = Vec::new();
    File::open(path)?.take(BEGINNING.len() as u64).read_to_end(&mut beginning)?;
    Ok(beginning == BEGINNING.as_bytes())
}

fn replace(path: &Path, page: &[u8]) -> io::Result<()> {
    // Of a link, what it leads to.
    let path = path.canonicalize()?;
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let written = File::create_new(&beside).and_then(|mut file| file.write_all(page)).and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
