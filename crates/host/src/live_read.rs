//! Reading a machine or a mounted system.

use crate::files::dir_handle::DirHandle;
use crate::files::file_error::{FileError, FileKind};
use crate::files::root::Root;
use crate::mounts_below;
use crate::read_host::{ReadAttributes, ReadHost, Subdirectories};
use cede_model::Entry;
use rustix::fs::{AtFlags, CWD, FileType as RawFileType, StatxFlags, statx};
use rustix::io::Errno;
use std::ops::Range;
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
            Ok(list) if path == mounts_below::MOUNTS && !self.is_live() => {
                mounts_below::of(self, list).map_or_else(Entry::Unreadable, Entry::File)
            }
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
        let directory = self.open_dir(path).map_err(|error| failed(&error))?;
        Ok(listed(&directory)?.into_iter().map(|(name, _)| name).collect())
    }

    fn open_all<'a>(&'a self, base: &'a str) -> Result<Box<dyn Subdirectories + 'a>, Entry> {
        let base = self.open_dir(base).map_err(|error| failed(&error))?;
        let (names, kinds) = listed(&base)?.into_iter().unzip();
        Ok(Box::new(OpenAll { root: self, base, names, kinds }))
    }

    fn count_of_directories(&self, path: &str) -> Option<u64> {
        self.link_count(path).ok()?.checked_sub(2)
    }
}

/// The names in a directory as text, sorted, each once, with what bears them.
fn listed(directory: &DirHandle) -> Result<Vec<(String, FileKind)>, Entry> {
    let entries = directory.entries().map_err(|error| failed(&error))?;
    let mut names: Vec<(String, FileKind)> = entries.into_iter().map(|entry| (text(entry.name.into()), entry.kind)).collect();
    names.sort_by(|one, other| one.0.cmp(&other.0));
    names.dedup_by(|one, other| one.0 == other.0);
    Ok(names)
}

/// An open directory and what it holds.
struct OpenAll<'a> {
    root: &'a Root,
    base: DirHandle,
    names: Vec<String>,
    kinds: Vec<FileKind>,
}

impl Subdirectories for OpenAll<'_> {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn each(&self, places: Range<usize>, read: &mut dyn FnMut(&str, &mut dyn ReadAttributes)) {
        let mut buffer = Vec::new();
        let names = self.names.get(places.clone()).unwrap_or_default();
        let kinds = self.kinds.get(places).unwrap_or_default();
        for (name, kind) in names.iter().zip(kinds) {
            let way = match kind {
                _ if self.root.is_live() => Way::Behind,
                FileKind::Directory => Way::Below,
                _ => Way::Through(self.root.open_below(&self.base, name)),
            };
            read(name, &mut Subdirectory { all: self, name, way, buffer: &mut buffer });
        }
    }
}

/// How files of a directory are reached. A path from the one above spares to open the directory and to close it.
enum Way {
    /// By such a path, whatever link is on it: on the running system none leads out.
    Behind,
    /// By such a path, without a link on it.
    Below,
    /// Through the directory, which was looked up inside the root.
    Through(Result<DirHandle, FileError>),
}

struct Subdirectory<'a> {
    all: &'a OpenAll<'a>,
    name: &'a str,
    way: Way,
    buffer: &'a mut Vec<u8>,
}

impl ReadAttributes for Subdirectory<'_> {
    fn file(&mut self, name: &str) -> Entry {
        let read = match &self.way {
            Way::Behind => self.all.base.read_behind(self.name, name, self.buffer),
            Way::Below => self.all.base.read_below(self.name, name, self.buffer),
            Way::Through(Ok(handle)) => handle.read_into(name, self.buffer),
            Way::Through(Err(error)) => return failed(error),
        };
        match read {
            Ok(()) => Entry::File(self.buffer.clone()),
            Err(error) => failed(&error),
        }
    }

    fn link(&mut self, name: &str) -> Entry {
        if let Way::Below = self.way {
            self.way = Way::Through(self.all.root.open_below(&self.all.base, self.name));
        }
        match &self.way {
            Way::Through(Ok(handle)) => link(handle.read_link(name)),
            Way::Through(Err(error)) => failed(error),
            Way::Behind | Way::Below => link(self.all.base.read_link_behind(self.name, name)),
        }
    }

    fn way_here(&mut self) -> Entry {
        link(self.all.base.read_link(self.name))
    }
}

fn link(target: Result<PathBuf, FileError>) -> Entry {
    target.map_or_else(|error| failed(&error), |target| Entry::Link(text(target)))
}

/// Without a copy where it is UTF-8, as in sysfs it always is.
fn text(target: PathBuf) -> String {
    target.into_os_string().into_string().unwrap_or_else(|raw| raw.to_string_lossy().into_owned())
}
