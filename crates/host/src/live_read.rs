//! Reading a machine or a mounted system.

use crate::file_error::{FileError, FileKind};
use crate::read_host::ReadHost;
use crate::root::Root;
use cede_model::Entry;

/// What a failure to read means for the capture.
fn failed(error: &FileError) -> Entry {
    match error {
        FileError::WrongKind { kind: FileKind::Directory, .. } => Entry::Dir,
        _ if error.is_not_found() => Entry::Absent,
        FileError::Denied { .. } => Entry::Unreadable("EACCES".to_owned()),
        FileError::TooLarge { .. } => Entry::Unreadable("EFBIG".to_owned()),
        FileError::WrongKind { kind, .. } => Entry::Unreadable(format!("{kind:?}")),
        other => other.io().and_then(std::io::Error::raw_os_error).map_or_else(
            || Entry::Unreadable(other.to_string()),
            |code| match rustix::io::Errno::from_raw_os_error(code) {
                rustix::io::Errno::NOTDIR => Entry::Absent,
                errno => Entry::Unreadable(format!("{errno:?}")),
            },
        ),
    }
}

impl ReadHost for Root {
    fn read(&self, path: &str, limit: usize) -> Entry {
        self.read(path, limit).map_or_else(|error| failed(&error), Entry::File)
    }

    fn read_head(&self, path: &str, limit: usize) -> Entry {
        self.read_start(path, limit).map_or_else(|error| failed(&error), Entry::File)
    }

    fn probe(&self, path: &str) -> Entry {
        match self.metadata(path) {
            Ok(found) if found.kind == FileKind::Directory => Entry::Dir,
            Ok(found) => Entry::Present(found.size),
            Err(error) => failed(&error),
        }
    }

    fn read_link(&self, path: &str) -> Entry {
        match self.read_link(path) {
            Ok(target) => Entry::Link(target.to_string_lossy().into_owned()),
            Err(FileError::WrongKind { .. }) => self.probe(path),
            Err(error) => failed(&error),
        }
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Entry> {
        let entries = self.read_dir(path).map_err(|error| failed(&error))?;
        let mut names: Vec<String> = entries.into_iter().filter_map(|entry| entry.name.into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    fn attributes(&self, dir: &str, files: &[&str], links: &[&str]) -> Vec<(String, Entry)> {
        let handle = match self.open_dir(dir) {
            Ok(handle) => handle,
            Err(_) => return Vec::new(),
        };
        let mut buffer = Vec::with_capacity(4096);
        let mut entries = Vec::with_capacity(files.len() + links.len());
        let mut push = |name: &str, entry: Entry| {
            if entry != Entry::Absent {
                entries.push(([dir, name].join("/"), entry));
            }
        };
        for name in files {
            buffer.clear();
            let entry = handle.read_into(name, &mut buffer).map_or_else(|error| failed(&error), |_| Entry::File(buffer.clone()));
            push(name, entry);
        }
        for name in links {
            let entry =
                handle.read_link(name).map_or_else(|error| failed(&error), |target| Entry::Link(target.to_string_lossy().into_owned()));
            push(name, entry);
        }
        entries
    }
}
