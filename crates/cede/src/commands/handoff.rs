//! `cede handoff`.

use super::print_json;
use super::rom::read_file;
use crate::cli::{Global, HandoffArgs};
use crate::consent::{confirmed, require_root};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::table::{clean, counted, wrapped};
use crate::source;
use crate::ui::{BAD, FAINT, GOOD, Ui, paint};
use crate::view::handoff::HandoffView;
use cede_host::{Machine, Root, Scope};
use cede_model::Host;
use cede_model::pci::OptionRom;
use cede_plan::handoff::{Domain, Handoff, Options, Rom, handoff};
use cede_plan::shell_word::quoted;
use cede_plan::{Refusal, diff};
use std::path::Path;

/// The tool that speaks to libvirt.
const VIRSH: &str = "/usr/bin/virsh";

/// Prints the text for the machine that takes the devices; attaches them where asked.
///
/// # Errors
/// The host, the domain or the ROM file cannot be read.
pub fn run(arguments: &HandoffArgs, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let target = arguments.to;
    if target.name() != "libvirt" && arguments.domain.is_some() {
        return Err(CommandError::usage("--domain is for libvirt").hint("cede handoff ADDR --to libvirt --domain NAME"));
    }
    let host = source::load(global, Scope::Full)?;
    source::require_functions(&host)?;
    let root = source::open_root(global)?;
    let named = arguments.domain.as_deref().map(|domain| Named::read(domain, arguments, &root, global)).transpose()?;
    let mut options = Options { rom: None, domain: named.as_ref().map(|named| named.domain.clone()) };
    let answer = match arguments.rom.as_deref().map(|path| rom(path, arguments, &host)).transpose()? {
        Some(Err(refusal)) => Err(vec![refusal]),
        rom => {
            options.rom = rom.and_then(Result::ok);
            handoff(&host, &arguments.addresses, target, &options)
        }
    };
    if global.json {
        print_json(ui, &HandoffView::new(target.name(), &answer))?;
        return Ok(if answer.is_ok() { Exit::Fine } else { Exit::Refused });
    }
    let handoff = match answer {
        Ok(handoff) => handoff,
        Err(refusals) => return refuse(ui, &refusals),
    };
    match &named {
        Some(named) if arguments.attach => Attach { root: &root, arguments, name: &named.domain.name }.run(&handoff, global.yes, ui),
        _ => print(&handoff, named.as_ref(), arguments, ui),
    }
}

fn refuse(ui: &mut Ui, refusals: &[Refusal]) -> Result<Exit, CommandError> {
    let width = ui.width();
    for refusal in refusals {
        wrapped(ui.err(), &format!("{} ", paint(BAD, "refused:")), &refusal.message, width)?;
    }
    Ok(Exit::Refused)
}

/// Data to standard output, talk to the other stream.
fn print(handoff: &Handoff, named: Option<&Named>, arguments: &HandoffArgs, ui: &mut Ui) -> Result<Exit, CommandError> {
    let text = match named {
        Some(named) if arguments.diff => diff::unified(&named.path, Some(named.domain.text.as_bytes()), Some(handoff.text.text.as_bytes())),
        _ => handoff.text.text.clone(),
    };
    ui.bytes(text.as_bytes())?;
    notes(handoff, ui)?;
    if let Some(named) = named.filter(|named| named.is_live && !handoff.text.parts.is_empty()) {
        let addresses: Vec<String> = arguments.addresses.iter().map(ToString::to_string).collect();
        writeln!(
            ui.err(),
            "Next: sudo cede handoff {} --to libvirt --domain {} --attach",
            addresses.join(" "),
            quoted(&named.domain.name)
        )?;
    }
    Ok(Exit::Fine)
}

fn notes(handoff: &Handoff, ui: &mut Ui) -> Result<(), CommandError> {
    let width = ui.width();
    for note in &handoff.text.notes {
        wrapped(ui.err(), &format!("{} ", paint(FAINT, "note:")), note, width)?;
    }
    Ok(())
}

/// The ROM file, where it is whole and made for the device.
fn rom(path: &Path, arguments: &HandoffArgs, host: &Host) -> Result<Result<Rom, Refusal>, CommandError> {
    let bytes = read_file(path)?;
    let whole = std::fs::canonicalize(path).map_err(|error| CommandError::unreadable(format!("{}: {error}", path.display())))?;
    let shown = whole.to_str().filter(|path| !path.chars().any(char::is_control));
    let shown = shown.ok_or_else(|| {
        CommandError::usage(format!("{}: not a name that a guest's configuration can hold", path.display())).hint("copy it to a plain name")
    })?;
    let found = OptionRom::read(&bytes);
    let device = arguments.addresses.first().and_then(|address| host.device(*address));
    let fits = device.and_then(|device| device.id).is_none_or(|id| found.is_for(id));
    let address = device.map(|device| format!("{} ", device.address)).unwrap_or_default();
    if !found.faults.is_empty() || found.start > 0 || !fits {
        let what = if fits { "is damaged or has a header before the ROM" } else { "is made for another device" };
        return Ok(Err(Refusal::new("rom-unfit", format!("{shown} {what}: `cede rom {address}--check {}` tells more", quoted(shown)))));
    }
    Ok(Ok(Rom { path: shown.to_owned(), has_uefi_driver: found.has_uefi_driver() }))
}

/// A domain as it was read.
struct Named {
    domain: Domain,
    /// Where its text is from, for the head of a patch.
    path: String,
    /// True where libvirt was asked.
    is_live: bool,
}

impl Named {
    /// A name with a slash or `.xml` is a file; any other one libvirt is asked for.
    fn read(name: &str, arguments: &HandoffArgs, root: &Root, global: &Global) -> Result<Self, CommandError> {
        let is_file = name.contains('/') || name.ends_with(".xml");
        if is_file && arguments.attach {
            return Err(CommandError::usage("--attach needs the name of a domain that libvirt knows").hint("virsh list --all"));
        }
        if !is_file && (global.host.is_some() || !root.is_live()) {
            return Err(
                CommandError::usage("libvirt can be asked on the running host only").hint("give its XML as a file: `--domain FILE.xml`")
            );
        }
        let bytes = if is_file {
            read_domain(Path::new(name))?
        } else {
            virsh(root, arguments, &["dumpxml", "--inactive", "--security-info", "--domain", name])?.into_bytes()
        };
        let addresses: Vec<String> = arguments.addresses.iter().map(ToString::to_string).collect();
        let without = format!("`cede handoff {} --to libvirt` without --domain gives the elements by themselves", addresses.join(" "));
        let domain = Domain::read(&bytes).map_err(|error| CommandError::unreadable(format!("{name}: {error}")).hint(without))?;
        Ok(Self { domain, path: format!("/{}", name.trim_start_matches('/')), is_live: !is_file })
    }
}

fn read_domain(path: &Path) -> Result<Vec<u8>, CommandError> {
    read_file(path)
}

/// Runs virsh and gives what it printed.
fn virsh(root: &Root, arguments: &HandoffArgs, rest: &[&str]) -> Result<String, CommandError> {
    let argv: Vec<String> =
        [VIRSH, "--quiet", "--connect", &arguments.connect].into_iter().chain(rest.iter().copied()).map(str::to_owned).collect();
    let failed = |why: &str| {
        CommandError::new(Exit::Problems, format!("`{}` failed: {}", argv.join(" "), clean(why.trim()))).hint("virsh list --all")
    };
    let end = root.run(&argv, &mut |_| {}).map_err(|error| failed(&error.to_string()))?;
    if end.success { Ok(end.output) } else { Err(failed(&end.output)) }
}

/// Puts devices into a domain's configuration.
struct Attach<'a> {
    root: &'a Root,
    arguments: &'a HandoffArgs,
    name: &'a str,
}

impl Attach<'_> {
    /// Gives libvirt the new domain after asking.
    fn run(&self, handoff: &Handoff, yes: bool, ui: &mut Ui) -> Result<Exit, CommandError> {
        let (name, parts) = (self.name, &handoff.text.parts);
        notes(handoff, ui)?;
        if parts.is_empty() {
            writeln!(ui.err(), "{} has these devices already", clean(name))?;
            return Ok(Exit::Fine);
        }
        require_root()?;
        ui.bytes(parts.concat().as_bytes())?;
        if !yes && !confirmed(ui, &format!("Attach these to {}?", clean(name)))? {
            writeln!(ui.err(), "nothing was changed")?;
            return Ok(Exit::Fine);
        }
        // Defined as a whole: `attach-device` takes no root port of which not every detail is told (libvirt 9.0), and this is one change.
        with_file(self.root, &handoff.text.text, |file| virsh(self.root, self.arguments, &["define", "--validate", "--file", file]))?;
        writeln!(ui.err(), "{} to {}: {}, for its next start", paint(GOOD, "attached"), clean(name), counted(parts.len(), "element"))?;
        Ok(Exit::Fine)
    }
}

/// virsh reads domains from files only; this one is private and goes again.
fn with_file<T>(root: &Root, part: &str, run: impl FnOnce(&str) -> Result<T, CommandError>) -> Result<T, CommandError> {
    let path = format!("/run/cede/handoff-{}.xml", std::process::id());
    let failed = |error: cede_host::machine::EffectError| CommandError::new(Exit::Problems, error.to_string());
    root.create_private(&path, part.as_bytes()).map_err(failed)?;
    let result = run(&path);
    root.replace(&path, Some(part.as_bytes()), None).map_err(failed)?;
    result
}
