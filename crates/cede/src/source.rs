//! Where a command's host comes from: this machine, a mounted system, or a capture.

use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::table::wrapped;
use crate::ui::{Ui, WARN, paint};
use cede_host::{Root, Scope, boot_mounts, observe};
use cede_model::uses::mounts::Listed;
use cede_model::{Entry, Host, capture_text, counted, lspci};
use cede_plan::journal::OPERATIONS;
use cede_plan::shell_word::quoted;
use std::io::Read;
use std::path::Path;

/// A capture of more than this is not read: it holds text of one host.
const CAPTURE_LIMIT: u64 = 256 << 20;

/// A listing of more than this is cut: the largest machines print some 20 MB.
const LISTING_LIMIT: u64 = 64 << 20;

/// Reads the host that the options name.
///
/// # Errors
/// The capture or the root directory cannot be read.
pub fn load(global: &Global, scope: Scope) -> Result<Host, CommandError> {
    if let Some(path) = &global.lspci {
        return load_listing(path, global.listing);
    }
    match &global.host {
        Some(path) => {
            let shown = path.display();
            let found = std::fs::metadata(path).map_err(|error| CommandError::unreadable(format!("{shown}: {error}")))?;
            if !found.is_file() {
                return Err(CommandError::unreadable(format!("{shown}: not a regular file")));
            }
            if found.len() > CAPTURE_LIMIT {
                return Err(CommandError::unreadable(format!("{shown}: larger than any capture")));
            }
            let bytes = std::fs::read(path).map_err(|error| CommandError::unreadable(format!("{shown}: {error}")))?;
            let text = String::from_utf8(bytes).map_err(|_| CommandError::unreadable(format!("{shown}: not UTF-8 text: not a capture")))?;
            let capture = capture_text::parse(&text).map_err(|error| CommandError::unreadable(format!("{shown}: {error}")))?;
            Ok(Host::from_capture(capture))
        }
        None => {
            let root = open_root(global)?;
            let mut capture = observe(&root, scope);
            // No journal is seen where it is on a file system that is not there, and that is not the same as none.
            if capture.get(OPERATIONS) == Some(&Entry::Absent)
                && let Some(line) = boot_mounts::of_state(&boot_mounts::missing(&root))
            {
                let why =
                    format!("{} is a file system of its own (/etc/fstab), and it is not mounted: `{}`", line.place, mount(&root, line));
                capture.insert(OPERATIONS, Entry::Unreadable(why));
            }
            Ok(Host::from_capture(capture))
        }
    }
}

/// What mounts a file system that is missing below the root.
fn mount(root: &Root, line: &Listed) -> String {
    let place = format!("{}{}", root.path().display().to_string().trim_end_matches('/'), line.place);
    let part = line.subvolume.as_deref().map(|part| format!("-o {} ", quoted(&format!("subvol={part}")))).unwrap_or_default();
    format!("mount {part}{} {}", quoted(&line.source), quoted(&place))
}

/// Says which listing of a file it is, and what it lacks.
///
/// # Errors
/// Those of the stream.
pub fn print_notes(host: &Host, ui: &mut Ui) -> Result<(), CommandError> {
    let width = ui.width();
    for note in host.capture.notes.iter().filter(|note| is_of_listing(note)) {
        wrapped(ui.out(), &format!("{} ", paint(WARN, "note")), note, width)?;
    }
    Ok(())
}

/// True for what [`load`] notes of a listing.
pub fn is_of_listing(note: &str) -> bool {
    note.starts_with("listing ") || note.starts_with("it shows")
}

/// Reads a listing of lspci: the machine asked for, else the one that tells most.
fn load_listing(path: &Path, number: Option<usize>) -> Result<Host, CommandError> {
    let mut bytes = Vec::new();
    let shown = if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() };
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(LISTING_LIMIT).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LISTING_LIMIT).read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        CommandError::unreadable(format!("{shown}: {error}")).hint("run `sudo lspci -nnvvv > FILE` on that machine and give FILE")
    })?;
    let mut listings = lspci::read(&bytes);
    let count = listings.len();
    let fullest = (0..count).rev().max_by_key(|index| listings.get(*index).map(|listing| (listing.detailed, listing.functions)));
    let Some(chosen) = number.map(|number| number.wrapping_sub(1)).or(fullest) else {
        let error = CommandError::unreadable(format!("{shown}: no line here is one of lspci's"));
        let is_capture = bytes.starts_with(capture_text::CAPTURE_FORMAT.as_bytes());
        return Err(if is_capture {
            error.hint(format!("it is a capture: `cede --host {} groups` reads it", quoted(&shown)))
        } else {
            error.hint("run `sudo lspci -nnvvv > FILE` on that machine and give FILE")
        });
    };
    if chosen >= count {
        return Err(CommandError::usage(format!("{shown} holds {}", counted(count, "listing"))).hint("count from 1: `--listing 1`"));
    }
    let mut listing = listings.swap_remove(chosen);
    if count > 1 {
        let note = format!(
            "listing {} of {count} in {shown}, with {}; `--listing N` shows another",
            chosen + 1,
            counted(listing.functions, "function")
        );
        listing.capture.notes.push(note);
    }
    if listing.detailed == 0 {
        listing.capture.notes.push("it shows no capabilities: `sudo lspci -nnvvv` on that machine does".to_owned());
    } else if listing.flagless > 0 {
        listing.capture.notes.push("it shows ACS without its flags: `sudo lspci -nnvvv` on that machine shows them".to_owned());
    }
    Ok(Host::from_capture(listing.capture))
}

/// Opens the root directory that the options name.
///
/// # Errors
/// It cannot be opened.
pub fn open_root(global: &Global) -> Result<Root, CommandError> {
    let path = global.root.clone().unwrap_or_else(|| "/".into());
    Root::open(&path).map_err(|error| CommandError::unreadable(error.to_string()))
}

/// Opens the root directory for changing what is below it.
///
/// # Errors
/// It is a capture, cannot be opened, or file systems of it are not mounted with it.
pub fn open_to_change(global: &Global) -> Result<Root, CommandError> {
    if global.host.is_some() {
        return Err(CommandError::usage("a capture cannot be changed").hint("`cede --host FILE plan ADDR` shows what would be done"));
    }
    let root = open_root(global)?;
    let missing = boot_mounts::missing(&root);
    let Some(first) = missing.first() else { return Ok(root) };
    let message = format!(
        "{} of this system is a file system of its own (/etc/fstab), and it is not mounted below {}; nothing was changed",
        first.place,
        root.path().display()
    );
    Err(missing.iter().fold(CommandError::new(Exit::Refused, message), |error, line| error.hint(mount(&root, line))))
}

/// Fails where not even the functions could be seen.
///
/// # Errors
/// `/sys/bus/pci/devices` is missing.
pub fn require_functions(host: &Host) -> Result<(), CommandError> {
    let unreadable = matches!(host.capture.get("/sys/bus/pci/devices"), Some(Entry::Unreadable(_)));
    if host.devices.is_empty() && (unreadable || !host.capture.exists("/sys/bus/pci/devices")) {
        let why = host
            .capture
            .unreadable("/sys/bus/pci/devices")
            .map_or_else(|| "is not here".to_owned(), |why| format!("could not be read ({why})"));
        return Err(CommandError::unreadable(format!("no PCI functions can be seen: /sys/bus/pci/devices {why}"))
            .hint("a mounted system has no /sys of its own: run on the host itself, or give a capture with --host FILE")
            .hint("`cede log` tells what cede did there, and `sudo cede undo` takes it back"));
    }
    Ok(())
}
