//! `cede capture`.

use super::verify;
use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::source;
use crate::ui::Ui;
use cede_host::{Scope, observe};
use cede_model::scrub::Scrubber;
use cede_model::{Host, capture_text, counted};
use cede_plan::{journal, scrubbed_journal};
use std::path::Path;

/// Writes everything that is read of the host to one file.
///
/// # Errors
/// The host cannot be read, or the file not written.
pub fn run(file: Option<&Path>, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    if global.host.is_some() {
        return Err(CommandError::usage("the host given is a capture already"));
    }
    let root = source::open_root(global)?;
    let host = Host::from_capture(observe(&root, Scope::Wiring));
    // A journal that cannot be read is captured as it is.
    let operations = journal::operations(&host.capture).unwrap_or_default();
    let mut capture = verify::with_images(host, &operations, &root).capture;
    capture.notes.push(format!("made by cede {}", env!("CARGO_PKG_VERSION")));
    let (whole, mut scrubber) = (capture.clone(), Scrubber::default());
    let scrubbed = scrubber.scrub(&mut capture);
    scrubbed_journal::rewrite(&whole, &mut capture, &mut scrubber);
    let text = capture_text::render(&capture);
    match file {
        None => ui.out().write_all(text.as_bytes())?,
        Some(path) => std::fs::write(path, text).map_err(|error| CommandError::usage(format!("{}: {error}", path.display())))?,
    }
    ui.flush()?;
    let err = ui.err();
    for line in &scrubbed {
        writeln!(err, "scrubbed: {line}")?;
    }
    let unreadable = capture.entries().filter(|(_, entry)| matches!(entry, cede_model::Entry::Unreadable(_))).count();
    if unreadable > 0 && !rustix::process::geteuid().is_root() {
        writeln!(err, "{} could not be read without root: with sudo, the capture tells more", counted(unreadable, "file"))?;
    }
    if let Some(path) = file {
        writeln!(err, "labels of disks, names of volumes and comments are as they were")?;
        writeln!(err, "wrote {}: look through it before you share it", path.display())?;
    }
    Ok(Exit::Fine)
}
