//! Reading a machine or a mounted system.

use crate::files::dir_handle::DirHandle;
use crate::files::file_error::{FileError, FileKind};
use crate::files::root::Root;
use crate::read_host::{ReadAttributes, ReadHost};
use cede_model::Entry;
use rustix::fs::{AtFlags, CWD, FileType as RawFileType, StatxFlags, statx};
use rustix::io::Errno;
use std::path::PathBuf;

/// What a failure to read means for the capture.
fn failed(error: &FileError) -> Entry {
    match error {
        FileError::WrongKind { kind: FileKind::Directory, .. } => Entry::Dir,
        _ if error.is_not_found() => Entry::Absent,
        FileError::Denied { .. } => Entry::Unreadable("EACCES".to_owned()),
        FileError::TooLarge { .. } => Entry::Unreadable("EFBIG".to_owned()),
        FileError::WrongKind { kind, .. } => Entry::Unreadable(kind.to_string()),
        other => match other.io().and_then(std::io::Error::raw_os_error) {
            Some(code) if Errno::from_raw_os_error(code) == Errno::NOTDIR => Entry::Absent,
            Some(code) => Entry::Unreadable(errno_text(code)),
            None => Entry::Unreadable(other.to_string()),
        },
    }
}

/// What errno(3) says, without the number: `Too many open files`.
fn errno_text(code: i32) -> String {
    let text = std::io::Error::from_raw_os_error(code).to_string();
    text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text).to_owned()
}

/// As [`failed`], for a path: a name that is not UTF-8 was listed with U+FFFD in it, and is not to be found by that.
fn failed_at(path: &str, error: &FileError) -> Entry {
    match failed(error) {
        Entry::Absent if path.contains(char::REPLACEMENT_CHARACTER) => Entry::Unreadable("name is not UTF-8".to_owned()),
        entry => entry,
    }
}

/// A link to /dev/null in a directory of drop-ins stands for an empty file, with which one of a vendor is switched off (modprobe.d(5)).
/// A mounted system has no such device.
fn is_masked(root: &Root, path: &str, error: &FileError) -> bool {
    let leads_there = error.is_not_found() || matches!(error, FileError::WrongKind { kind: FileKind::CharDevice, .. });
    leads_there && path.contains(".d/") && root.read_link(path).is_ok_and(|target| target.as_os_str() == "/dev/null")
}

impl ReadHost for Root {
    fn read(&self, path: &str, limit: usize) -> Entry {
        match self.read(path, limit) {
            Ok(bytes) => Entry::File(bytes),
            Err(error) if is_masked(self, path, &error) => Entry::File(Vec::new()),
            Err(error) => failed_at(path, &error),
        }
    }

    fn read_head(&self, path: &str, limit: usize) -> Entry {
        self.read_start(path, limit).map_or_else(|error| failed_at(path, &error), Entry::File)
    }

    fn probe(&self, path: &str) -> Entry {
        match self.metadata(path) {
            Ok(found) if found.kind == FileKind::Directory => Entry::Dir,
            Ok(found) => Entry::Present(found.size),
            Err(error) => failed_at(path, &error),
        }
    }

    fn read_link(&self, path: &str) -> Entry {
        match self.read_link(path) {
            Ok(target) => Entry::Link(text(target)),
            Err(FileError::WrongKind { .. }) => self.probe(path),
            Err(error) => failed_at(path, &error),
        }
    }

    /// Only of the running system: an open file of a process is a link that no path below a root follows.
    fn device_number(&self, path: &str) -> Option<String> {
        // Nobody is asked over a network for it: a server that is gone would be waited for.
        let found = self.is_live().then(|| statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE))?.ok()?;
        let kind = match RawFileType::from_raw_mode(found.stx_mode.into()) {
            RawFileType::CharacterDevice => "char",
            RawFileType::BlockDevice => "block",
            _ => return None,
        };
        Some(format!("{kind}/{}:{}", found.stx_rdev_major, found.stx_rdev_minor))
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Entry> {
        let entries = self.read_dir(path).map_err(|error| failed(&error))?;
        let mut names: Vec<String> = entries.into_iter().map(|entry| text(entry.name.into())).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn each_directory(&self, base: &str, names: &[String], read: &mut dyn FnMut(&str, &mut dyn ReadAttributes)) {
        let Ok(handle) = self.open_dir(base) else { return };
        let mut buffer = Vec::new();
        for name in names {
            read(name, &mut OpenDir { handle: self.open_below(&handle, name), buffer: &mut buffer });
        }
    }
}

/// A directory that is looked up once.
struct OpenDir<'a> {
    handle: Result<DirHandle, FileError>,
    buffer: &'a mut Vec<u8>,
}

impl ReadAttributes for OpenDir<'_> {
    fn file(&mut self, name: &str) -> Entry {
        match &self.handle {
            Ok(handle) => match handle.read_into(name, self.buffer) {
                Ok(()) => Entry::File(self.buffer.clone()),
                Err(error) => failed(&error),
            },
            Err(error) => failed(error),
        }
    }

    fn link(&mut self, name: &str) -> Entry {
        match self.handle.as_ref().map(|handle| handle.read_link(name)) {
            Ok(Ok(target)) => Entry::Link(text(target)),
            Ok(Err(error)) => failed(&error),
            Err(error) => failed(error),
        }
    }
}

/// Without a copy where it is UTF-8, as in sysfs it always is.
fn text(target: PathBuf) -> String {
    target.into_os_string().into_string().unwrap_or_else(|raw| raw.to_string_lossy().into_owned())
}
