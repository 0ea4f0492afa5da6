//! From a path to the directory and name where the real file is, links followed by hand inside the root.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, OFlags};
use rustix::io::Errno;

use crate::files::file_error::FileError;
use crate::files::root::Root;

/// Links followed before giving up (Linux `MAXSYMLINKS`).
pub(crate) const MAX_LINKS: usize = 40;

/// Where a file is, or would be made.
pub(crate) struct Located {
    /// Open for reading, so that it can be written to disk.
    pub(crate) dir: OwnedFd,
    /// No link bears this name, at the time of looking.
    pub(crate) name: OsString,
    /// The path after the last link, as seen from inside the root.
    pub(crate) path: PathBuf,
}

/// Follows the links that `path` ends in. The file itself need not exist, its directory must.
pub(crate) fn locate(root: &Root, path: &Path) -> Result<Located, FileError> {
    let mut here = path.to_owned();
    for _ in 0..=MAX_LINKS {
        let (parent, name) = split(&here).ok_or_else(|| FileError::Name { path: path.to_owned() })?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = root.open_raw(&parent, flags).map_err(|errno| FileError::new(&here, "opening its directory", errno))?;
        match fs::readlinkat(&dir, &name, Vec::new()) {
            // An absolute target replaces the parent in `join`.
            Ok(target) => here = parent.join(OsStr::from_bytes(target.as_bytes())),
            Err(Errno::INVAL | Errno::NOENT) => {
                return Ok(Located { dir, name, path: here });
            }
            Err(errno) => return Err(FileError::new(&here, "looking it up", errno)),
        }
    }
    Err(FileError::new(path, "following its links", Errno::LOOP))
}

/// Parent and last name. `None` where the last part is no name: `/`, `..`, or a closing `/`.
fn split(path: &Path) -> Option<(PathBuf, OsString)> {
    let closing = path.as_os_str().as_bytes().last() == Some(&b'/');
    match path.components().next_back()? {
        Component::Normal(name) if !closing => Some((path.parent()?.to_owned(), name.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::split;
    use std::path::Path;

    #[test]
    fn last_names() {
        for (path, expected) in [
            ("/etc/default/grub", Some(("/etc/default", "grub"))),
            ("grub", Some(("", "grub"))),
            ("/grub", Some(("/", "grub"))),
            ("a/../b", Some(("a/..", "b"))),
            ("/", None),
            ("", None),
            ("/etc/..", None),
            ("/etc/", None),
        ] {
            let found = split(Path::new(path));
            let found = found.as_ref().map(|(p, n)| (p.to_str().unwrap(), n.to_str().unwrap()));
            assert_eq!(found, expected, "{path}");
        }
    }
}
