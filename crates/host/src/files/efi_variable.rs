//! EFI variables as files of efivarfs (Linux Documentation/filesystems/efivarfs.rst): one write makes the whole value durable, there is no rename,
//! and those that the kernel does not know to be harmless carry the immutable attribute.

use std::io::Write;
use std::path::Path;

use rustix::fs::{AtFlags, IFlags, Mode, OFlags};

use super::locate::locate;
use super::root::Root;
use crate::machine::EffectError;
use crate::read_host::{FILE_LIMIT, ReadHost};
use cede_model::Entry;

/// Where the variables are.
pub(crate) const DIRECTORY: &str = "/sys/firmware/efi/efivars/";

/// Puts `after`, attributes and value, in the place of `before`; `None` stands for no variable.
///
/// # Errors
/// [`EffectError::Changed`] where the variable is not as `before` says; then nothing was written.
pub(crate) fn replace(root: &Root, path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> Result<(), EffectError> {
    let failed = |doing: &str, error: std::io::Error| EffectError::File(format!("{path}: {doing}: {error}"));
    let now = match ReadHost::read(root, path, FILE_LIMIT) {
        Entry::File(bytes) => Some(bytes),
        Entry::Absent => None,
        other => return Err(EffectError::File(format!("{path}: {other}"))),
    };
    if now.as_deref() != before {
        return Err(EffectError::Changed(format!("{path}: the variable is another now")));
    }
    let place = locate(root, Path::new(path)).map_err(|error| EffectError::File(error.to_string()))?;
    if now.is_some() {
        let fd = rustix::fs::openat(&place.dir, &place.name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|errno| failed("opening it", errno.into()))?;
        // Refused where the attribute is not known; then what follows tells.
        if let Ok(flags) = rustix::fs::ioctl_getflags(&fd) {
            let _ = rustix::fs::ioctl_setflags(&fd, flags - IFlags::IMMUTABLE);
        }
    }
    let Some(bytes) = after else {
        let gone = rustix::fs::unlinkat(&place.dir, &place.name, AtFlags::empty());
        return gone.map_err(|errno| failed("removing it", errno.into()));
    };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(&place.dir, &place.name, flags, Mode::from_raw_mode(0o644))
        .map_err(|errno| failed("opening it for writing", errno.into()))?;
    let written = std::fs::File::from(fd)
        .write(bytes)
        .and_then(|count| if count == bytes.len() { Ok(()) } else { Err(std::io::ErrorKind::WriteZero.into()) });
    if written.is_err() && now.is_none() {
        // An empty file is no variable, but it would stand there until the next start.
        let _ = rustix::fs::unlinkat(&place.dir, &place.name, AtFlags::empty());
    }
    written.map_err(|error| failed("writing it", error))
}
