//! Where a command's host comes from: this machine, a mounted system, or a capture.

use crate::cli::Global;
use crate::error::CommandError;
use cede_host::{Root, Scope, observe};
use cede_model::{Entry, Host, capture_text};

/// A capture of more than this is not read: it holds text of one host.
const CAPTURE_LIMIT: u64 = 256 << 20;

/// Reads the host that the options name.
///
/// # Errors
/// The capture or the root directory cannot be read.
pub fn load(global: &Global, scope: Scope) -> Result<Host, CommandError> {
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
        None => Ok(Host::from_capture(observe(&open_root(global)?, scope))),
    }
}

/// Opens the root directory that the options name.
///
/// # Errors
/// It cannot be opened.
pub fn open_root(global: &Global) -> Result<Root, CommandError> {
    let path = global.root.clone().unwrap_or_else(|| "/".into());
    Root::open(&path).map_err(|error| CommandError::unreadable(error.to_string()))
}

/// Fails where not even the functions could be seen.
///
/// # Errors
/// `/sys/bus/pci/devices` is missing.
pub fn require_functions(host: &Host) -> Result<(), CommandError> {
    let unreadable = matches!(host.capture.get("/sys/bus/pci/devices"), Some(Entry::Unreadable(_)));
    if host.devices.is_empty() && (unreadable || !host.capture.exists("/sys/bus/pci/devices")) {
        return Err(CommandError::unreadable("no PCI functions can be seen: there is no /sys/bus/pci/devices here")
            .hint("a mounted system has no /sys of its own: run on the host itself, or give a capture with --host FILE"));
    }
    Ok(())
}
