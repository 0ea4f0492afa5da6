//! Replaces and removes files so that after a power cut there is the old file or the new one, whole.

use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    self, AtFlags, Gid, Mode, OFlags, RenameFlags, Stat, StatxAttributes, StatxFlags, Uid,
};
use rustix::io::{self, Errno};

use crate::dir_handle::read_to_end;
use crate::file_error::{Change, FileError, FileKind};
use crate::locate::{Located, locate};
use crate::root::{Metadata, Root, SAFE, file_system_magic, require};
use crate::xattrs;

/// `MSDOS_SUPER_MAGIC` and `EXFAT_SUPER_MAGIC` (Linux `include/uapi/linux/magic.h`).
const FAT_MAGICS: [i64; 2] = [0x4d44, 0x2011_bab0];

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
    temporary.fill(new, &old, mode_if_new)?;
    old.check(&place, expected)?;
    temporary.rename(old.0.is_some())?;
    sync_dir(&place)?;
    let hard_links = old
        .0
        .as_ref()
        .map_or(0, |(_, stat)| Metadata::from(stat).nlink.saturating_sub(1));
    Ok(Replaced {
        created: old.0.is_none(),
        hard_links,
        real_path: place.path.clone(),
    })
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
    fs::unlinkat(&place.dir, &place.name, AtFlags::empty())
        .map_err(|errno| refused(&place, "removing it", errno))?;
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

fn sync_dir(place: &Located) -> Result<(), FileError> {
    fs::fsync(&place.dir).map_err(|errno| FileError::NotDurable {
        path: place.path.clone(),
        source: errno.into(),
    })
}

/// The error for a refused change; `EPERM` often means an attribute that the mode does not show.
fn refused(place: &Located, doing: &'static str, errno: Errno) -> FileError {
    if errno == Errno::PERM && is_immutable(&place.dir) {
        let path = place.path.parent().unwrap_or(Path::new("/")).to_owned();
        return FileError::Immutable { path };
    }
    FileError::new(&place.path, doing, errno)
}

/// The immutable or append-only attribute, where the file system tells (statx(2)).
fn is_immutable(fd: &OwnedFd) -> bool {
    let found = fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::empty());
    let set = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    found.is_ok_and(|found| found.stx_attributes.intersects(set))
}

/// The file as it is before the change, if there is one.
struct OldFile(Option<(OwnedFd, Stat)>);

impl OldFile {
    fn open(place: &Located) -> Result<Self, FileError> {
        let failed = |errno| FileError::new(&place.path, "opening it", errno);
        match fs::statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Self(None)),
            found => require(
                &place.path,
                &(&found.map_err(failed)?).into(),
                FileKind::File,
            )?,
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | SAFE;
        let fd = fs::openat(&place.dir, &place.name, flags, Mode::empty()).map_err(failed)?;
        let stat = fs::fstat(&fd).map_err(failed)?;
        require(&place.path, &(&stat).into(), FileKind::File)?;
        if is_immutable(&fd) {
            return Err(FileError::Immutable {
                path: place.path.clone(),
            });
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
        Err(FileError::Changed {
            path: place.path.clone(),
            change,
        })
    }

    fn check_absent(&self, place: &Located) -> Result<(), FileError> {
        match fs::statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(FileError::new(&place.path, "looking at it", errno)),
            Ok(_) => Err(FileError::Changed {
                path: place.path.clone(),
                change: Change::Appeared,
            }),
        }
    }
}

fn same_content(fd: &OwnedFd, expected: &[u8], place: &Located) -> Result<bool, FileError> {
    fs::seek(fd, fs::SeekFrom::Start(0))
        .map_err(|errno| FileError::new(&place.path, "reading it", errno))?;
    let mut bytes = Vec::new();
    match read_to_end(fd, &place.path, expected.len(), &mut bytes) {
        Err(FileError::TooLarge { .. }) => Ok(false),
        other => other.map(|()| bytes == expected),
    }
}

/// The new file under its temporary name, which goes when this is dropped.
struct Temporary<'a> {
    place: &'a Located,
    name: OsString,
    fd: OwnedFd,
    renamed: bool,
}

impl<'a> Temporary<'a> {
    /// Names tried before giving up; with 64 random bits the first is free.
    const TRIES: usize = 16;

    fn create(place: &'a Located) -> Result<Self, FileError> {
        for _ in 0..Self::TRIES {
            let name = OsString::from(format!(
                ".cede-{:016x}.tmp",
                RandomState::new().hash_one(&place.name)
            ));
            let flags =
                OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match fs::openat(&place.dir, &name, flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(refused(place, "making a file beside it", errno)),
                Ok(fd) => {
                    return Ok(Self {
                        place,
                        name,
                        fd,
                        renamed: false,
                    });
                }
            }
        }
        Err(FileError::new(
            &place.path,
            "making a file beside it",
            Errno::EXIST,
        ))
    }

    fn fill(&mut self, new: &[u8], old: &OldFile, mode_if_new: u32) -> Result<(), FileError> {
        let path = &self.place.path;
        let failed = |doing| move |errno| FileError::new(path, doing, errno);
        write_all(&self.fd, new).map_err(failed("writing the new file"))?;
        match &old.0 {
            None => self
                .set_mode(mode_if_new)
                .map_err(failed("setting its mode"))?,
            Some((fd, stat)) => {
                self.own_like(stat).map_err(failed("setting its owner"))?;
                xattrs::copy(fd, &self.fd).map_err(failed("copying its extended attributes"))?;
                // After the owner, whose change takes set-user-id bits away.
                self.set_mode(stat.st_mode & 0o7777)
                    .map_err(failed("setting its mode"))?;
            }
        }
        fs::fsync(&self.fd).map_err(failed("writing it to disk"))
    }

    fn own_like(&self, old: &Stat) -> Result<(), Errno> {
        let now = fs::fstat(&self.fd)?;
        if (now.st_uid, now.st_gid) == (old.st_uid, old.st_gid) {
            return Ok(());
        }
        fs::fchown(
            &self.fd,
            Some(Uid::from_raw(old.st_uid)),
            Some(Gid::from_raw(old.st_gid)),
        )
    }

    /// On FAT all files have the mode of the mount, and the kernel refuses others (Linux 6.12 `fs/fat/file.c`).
    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        match fs::fchmod(&self.fd, Mode::from_raw_mode(mode)) {
            Err(Errno::PERM) if self.is_fat() => Ok(()),
            other => other,
        }
    }

    fn is_fat(&self) -> bool {
        file_system_magic(&self.fd).is_ok_and(|magic| FAT_MAGICS.contains(&magic))
    }

    fn rename(&mut self, replaces: bool) -> Result<(), FileError> {
        let (dir, name) = (&self.place.dir, &self.place.name);
        let plain = || fs::renameat(dir, &self.name, dir, name);
        let result = if replaces {
            plain()
        } else {
            match fs::renameat_with(dir, &self.name, dir, name, RenameFlags::NOREPLACE) {
                // The file system does not know the flag; absence was checked just before.
                Err(Errno::INVAL | Errno::NOSYS) => plain(),
                Err(Errno::EXIST) => {
                    return Err(FileError::Changed {
                        path: self.place.path.clone(),
                        change: Change::Appeared,
                    });
                }
                other => other,
            }
        };
        result.map_err(|errno| refused(self.place, "renaming the new file over it", errno))?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // Nothing better can be done here, and the error that led here is on its way.
            let _ = fs::unlinkat(&self.place.dir, &self.name, AtFlags::empty());
        }
    }
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match io::write(fd, bytes) {
            Err(Errno::INTR) => {}
            Ok(0) => return Err(Errno::IO),
            other => bytes = bytes.get(other?..).unwrap_or_default(),
        }
    }
    Ok(())
}
