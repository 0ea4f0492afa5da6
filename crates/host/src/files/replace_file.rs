//! Replaces and removes files so that after a power cut there is the old file or the new one, whole.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::files::dir_handle::read_to_end;
use crate::files::file_error::{Change, FileError, FileKind};
use crate::files::locate::{Located, locate};
use crate::files::root::{Metadata, Root, SAFE, require};
use crate::files::temporary::{Temporary, is_immutable, refused};

/// What a replacement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The file that was written, after links.
    pub real_path: PathBuf,
    /// There was none before.
    pub created: bool,
    /// Other names of the old file, which keep the old content.
    pub hard_links: u64,
}

/// Replaces the content of a regular file below the root, atomically and durably. Links are followed inside the root, so a
/// linked configuration stays a link. Mode, owner and all extended attributes of the old file are kept; a new file has
/// exactly `mode_if_new` and the owner of the process. `expected` is the content it must have now, `None` for no file.
///
/// # Errors
///
/// [`FileError::Changed`] if the present content is not `expected`; it is compared before the work and once more right before
/// the rename. On every error but [`FileError::NotDurable`] the old file is untouched, and no temporary file stays behind.
pub fn replace_file(
    root: &Root,
    path: impl AsRef<Path>,
    expected: Option<&[u8]>,
    new: &[u8],
    mode_if_new: u32,
) -> Result<Replaced, FileError> {
    let place = locate(root, path.as_ref())?;
    let old = OldFile::open(&place)?;
    old.check(&place, expected)?;
    let mut temporary = Temporary::create(&place)?;
    temporary.fill(new, old.0.as_ref(), mode_if_new)?;
    old.check(&place, expected)?;
    take_place(&mut temporary, &place, old.0.is_some())?;
    let hard_links = old.0.as_ref().map_or(0, |(_, stat)| Metadata::from(stat).nlink.saturating_sub(1));
    Ok(Replaced { created: old.0.is_none(), hard_links, real_path: place.path.clone() })
}

/// Puts a file that somebody else made beside it in the place of a regular file, durably, with the mode and owner that it has.
///
/// # Errors
///
/// The made file stands elsewhere, or the system refuses. On every error but [`FileError::NotDurable`] the old file is untouched, and the made one
/// is gone.
pub fn put_in_place(root: &Root, path: impl AsRef<Path>, made: &OsStr) -> Result<(), FileError> {
    let place = locate(root, path.as_ref())?;
    let mut temporary = Temporary::adopt(&place, made)?;
    let old = OldFile::open(&place)?;
    take_place(&mut temporary, &place, old.0.is_some())
}

fn take_place(temporary: &mut Temporary<'_>, place: &Located, replaces: bool) -> Result<(), FileError> {
    temporary.rename(replaces)?;
    sync_dir(place)?;
    temporary.sync_entry()?;
    temporary.let_go()
}

/// Removes the regular file that `path` leads to, links followed inside the root, and writes the directory to disk.
///
/// # Errors
///
/// [`FileError::Changed`] if its content is not `expected`, or it is gone.
pub fn remove_file(root: &Root, path: impl AsRef<Path>, expected: &[u8]) -> Result<(), FileError> {
    let place = locate(root, path.as_ref())?;
    let old = OldFile::open(&place)?;
    old.check(&place, Some(expected))?;
    fs::unlinkat(&place.dir, &place.name, AtFlags::empty()).map_err(|errno| refused(&place, "removing it", errno))?;
    sync_dir(&place)
}

/// Removes a directory if nothing is in it, and writes its parent to disk. `false` if it is not empty or does not exist.
/// Links are not followed.
///
/// # Errors
///
/// It is no directory, or the system refuses.
pub fn remove_dir_if_empty(root: &Root, path: impl AsRef<Path>) -> Result<bool, FileError> {
    let path = path.as_ref();
    match root.symlink_metadata(path) {
        Err(error) if error.is_not_found() => return Ok(false),
        found => require(path, &found?, FileKind::Directory)?,
    }
    let place = locate(root, path)?;
    match fs::unlinkat(&place.dir, &place.name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(false),
        Err(errno) => Err(refused(&place, "removing the directory", errno)),
        Ok(()) => sync_dir(&place).map(|()| true),
    }
}

/// Writes a file that somebody else made to disk, its name too. No such file is no error.
///
/// # Errors
///
/// It cannot be opened, or not be written.
pub fn sync_file(root: &Root, path: impl AsRef<Path>) -> Result<(), FileError> {
    let place = match locate(root, path.as_ref()) {
        Err(error) if error.is_not_found() => return Ok(()),
        place => place?,
    };
    if let Some((fd, _)) = OldFile::open(&place)?.0 {
        fs::fsync(&fd).map_err(|errno| FileError::new(&place.path, "writing it to disk", errno))?;
    }
    sync_dir(&place)
}

fn sync_dir(place: &Located) -> Result<(), FileError> {
    fs::fsync(&place.dir).map_err(|errno| FileError::NotDurable { path: place.path.clone(), source: errno.into() })
}

/// The file as it is before the change, if there is one.
struct OldFile(Option<(OwnedFd, Stat)>);

impl OldFile {
    fn open(place: &Located) -> Result<Self, FileError> {
        let failed = |errno| FileError::new(&place.path, "opening it", errno);
        match fs::statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Self(None)),
            found => require(&place.path, &(&found.map_err(failed)?).into(), FileKind::File)?,
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | SAFE;
        let fd = fs::openat(&place.dir, &place.name, flags, Mode::empty()).map_err(failed)?;
        let stat = fs::fstat(&fd).map_err(failed)?;
        require(&place.path, &(&stat).into(), FileKind::File)?;
        if is_immutable(&fd) {
            return Err(FileError::Immutable { path: place.path.clone() });
        }
        Ok(Self(Some((fd, stat))))
    }

    /// Compares the content on the open descriptor, and that the name still leads to it.
    fn check(&self, place: &Located, expected: Option<&[u8]>) -> Result<(), FileError> {
        let change = match (&self.0, expected) {
            (None, None) => return self.check_absent(place),
            (None, Some(_)) => Change::Gone,
            (Some(_), None) => Change::Appeared,
            (Some((fd, stat)), Some(expected)) => {
                if !same_content(fd, expected, place)? {
                    Change::Content
                } else {
                    match fs::statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(now) if (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino) => {
                            return Ok(());
                        }
                        Ok(_) => Change::Content,
                        Err(_) => Change::Gone,
                    }
                }
            }
        };
        Err(FileError::Changed { path: place.path.clone(), change })
    }

    fn check_absent(&self, place: &Located) -> Result<(), FileError> {
        match fs::statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(FileError::new(&place.path, "looking at it", errno)),
            Ok(_) => Err(FileError::Changed { path: place.path.clone(), change: Change::Appeared }),
        }
    }
}

fn same_content(fd: &OwnedFd, expected: &[u8], place: &Located) -> Result<bool, FileError> {
    fs::seek(fd, fs::SeekFrom::Start(0)).map_err(|errno| FileError::new(&place.path, "reading it", errno))?;
    let mut bytes = Vec::new();
    match read_to_end(fd, &place.path, expected.len(), &mut bytes) {
        Err(FileError::TooLarge { .. }) => Ok(false),
        other => other.map(|()| bytes == expected),
    }
}
