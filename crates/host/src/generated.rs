//! Images and menus that tools made: put where the boot loader starts them, and brought back as they were kept.

use crate::machine::{EffectError, Machine};
use cede_model::Entry;

/// The bytes of an image, or that there is none.
fn image(machine: &dyn Machine, path: &str) -> Result<Option<Vec<u8>>, String> {
    match machine.image(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Entry::Absent) => Ok(None),
        Err(other) => Err(format!("{path}: {other}")),
    }
}

/// Puts an image where the boot loader starts it. The one that is there goes only once the new one is whole.
pub(crate) fn copy_image(machine: &dyn Machine, from: &str, to: &str) -> Result<(), String> {
    let new = image(machine, from)?.ok_or_else(|| format!("there is no {from}"))?;
    let old = image(machine, to)?;
    machine.replace(to, old.as_deref(), Some(&new)).map_err(|error| error.to_string())
}

/// Puts a generated file back as it was kept.
pub(crate) fn bring_back(machine: &dyn Machine, path: &str, copy: Option<&str>) -> Result<(), String> {
    let bytes = |path: &str| image(machine, path);
    let old = match copy {
        Some(copy) => Some(bytes(copy)?.ok_or_else(|| format!("{copy} is gone, so {path} cannot be brought back"))?),
        None => None,
    };
    let now = bytes(path)?;
    if now == old {
        return Ok(());
    }
    match machine.replace(path, now.as_deref(), old.as_deref()) {
        // What a failed tool left takes the room that the good one needs.
        Err(EffectError::NoSpace(_)) if now.is_some() => {
            machine.replace(path, now.as_deref(), None).and_then(|()| machine.replace(path, None, old.as_deref()))
        }
        other => other,
    }
    .map_err(|error| error.to_string())
}
