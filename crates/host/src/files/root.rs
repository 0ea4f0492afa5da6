//! The root below which everything is read and written: `/`, or a mounted system given by `--root DIR`.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::attribute_child::{self, Hanging};
use crate::files::dir_handle::{self, DirHandle, Entry};
use crate::files::file_error::{FileError, FileKind};

/// A handle on the root. Paths are as seen from inside it, with or without the leading `/`.
///
/// Below a directory every look-up goes through `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)`: absolute links and `..`
/// stay inside (openat2(2)). On `/` itself plain `openat` does the same.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    path: PathBuf,
    live: bool,
    pub(crate) inside: std::sync::OnceLock<Option<String>>,
    attribute_limit: std::sync::OnceLock<Duration>,
    hanging: Mutex<Vec<Hanging>>,
}

/// What is known of a file without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Type.
    pub kind: FileKind,
    /// Bytes; 0 in procfs and 4096 in sysfs whatever the content.
    pub size: u64,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Hard links.
    pub nlink: u64,
}

impl From<&Stat> for Metadata {
    #[allow(clippy::useless_conversion, clippy::cast_sign_loss, reason = "the fields of stat differ in width between architectures")]
    fn from(stat: &Stat) -> Self {
        Self {
            kind: fs::FileType::from_raw_mode(stat.st_mode).into(),
            size: stat.st_size as u64,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            nlink: stat.st_nlink.into(),
        }
    }
}

/// Flags of every open: no hanging on a FIFO, no controlling terminal, no descriptor for children.
pub(crate) const SAFE: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// What sysfs says of every attribute.
const PAGE: usize = 4096;

/// Times `openat2` is tried again when a rename raced with `..` (EAGAIN, openat2(2)).
const RETRIES: usize = 64;

impl Root {
    /// Opens a root directory.
    ///
    /// # Errors
    ///
    /// The directory cannot be opened, or it is not `/` and the kernel has no `openat2`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let failed = |errno| FileError::new(path, "opening the root directory", errno);
        let no_directory = |errno| match fs::statat(fs::CWD, path, AtFlags::empty()) {
            Ok(found) if errno == Errno::NOTDIR => {
                let kind = fs::FileType::from_raw_mode(found.st_mode).into();
                FileError::WrongKind { path: path.to_owned(), kind, wanted: FileKind::Directory }
            }
            _ => failed(errno),
        };
        let dir = fs::openat(fs::CWD, path, flags, Mode::empty()).map_err(no_directory)?;
        let here = fs::fstat(&dir).map_err(failed)?;
        let top = fs::statat(fs::CWD, "/", AtFlags::empty()).map_err(failed)?;
        let live = (here.st_dev, here.st_ino) == (top.st_dev, top.st_ino);
        let root = Self {
            dir,
            path: path.to_owned(),
            live,
            inside: std::sync::OnceLock::new(),
            attribute_limit: std::sync::OnceLock::new(),
            hanging: Mutex::default(),
        };
        if !live {
            let probe = root.open_raw(Path::new("."), OFlags::PATH | OFlags::CLOEXEC);
            probe.map_err(|errno| FileError::NoOpenat2 { path: path.to_owned(), source: errno.into() })?;
        }
        Ok(root)
    }

    /// The directory it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this is the running system's `/`.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Sets how long a write to an attribute may take; the first call counts.
    pub fn limit_attributes(&self, limit: Duration) {
        let _ = self.attribute_limit.set(limit);
    }

    pub(crate) fn attribute_limit(&self) -> Duration {
        self.attribute_limit.get().copied().unwrap_or(attribute_child::LIMIT)
    }

    /// Writes to attributes that did not end.
    pub(crate) fn hanging(&self) -> MutexGuard<'_, Vec<Hanging>> {
        self.hanging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open_raw(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.open_raw_with_mode(path, flags, Mode::empty())
    }

    pub(crate) fn open_raw_with_mode(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        if self.live {
            return fs::openat(&self.dir, path, flags, mode);
        }
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..RETRIES {
            match fs::openat2(&self.dir, path, flags, mode, resolve) {
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    fn open_path(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, FileError> {
        self.open_raw(path, OFlags::PATH | OFlags::CLOEXEC | flags).map_err(|errno| FileError::new(path, "looking it up", errno))
    }

    /// Reads a regular file to its end, whatever size it claims.
    ///
    /// # Errors
    ///
    /// [`FileError::WrongKind`] for anything else, which is not even opened: opening a device can act on it.
    /// [`FileError::TooLarge`] beyond `limit` bytes.
    pub fn read(&self, path: impl AsRef<Path>, limit: usize) -> Result<Vec<u8>, FileError> {
        let path = path.as_ref();
        require(path, &self.metadata(path)?, FileKind::File)?;
        let fd = self.open_raw(path, OFlags::RDONLY | SAFE).map_err(|errno| FileError::new(path, "opening it", errno))?;
        let found = stat(&fd, path)?;
        require(path, &found, FileKind::File)?;
        // The kernel's own files say 0 or a page. What is larger than the limit is not read first to find that out.
        if usize::try_from(found.size).map_or(true, |size| size > limit.max(PAGE)) {
            return Err(FileError::TooLarge { path: path.to_owned(), limit });
        }
        dir_handle::read_sized(&fd, path, limit, found.size)
    }

    /// Reads the first `limit` bytes of a regular file, whatever follows.
    ///
    /// # Errors
    ///
    /// As [`Root::read`], but no file is too large.
    pub fn read_start(&self, path: impl AsRef<Path>, limit: usize) -> Result<Vec<u8>, FileError> {
        let path = path.as_ref();
        require(path, &self.metadata(path)?, FileKind::File)?;
        let fd = self.open_raw(path, OFlags::RDONLY | SAFE).map_err(|errno| FileError::new(path, "opening it", errno))?;
        let mut bytes = vec![0; limit];
        let mut filled = 0;
        while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
            match rustix::io::read(&fd, room).map_err(|errno| FileError::new(path, "reading it", errno))? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Names and types in a directory, sorted by bytes, without `.` and `..`.
    ///
    /// # Errors
    ///
    /// It is no directory or cannot be read.
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<Vec<Entry>, FileError> {
        self.open_dir(path)?.entries()
    }

    /// The target of a symbolic link, as written in it.
    ///
    /// # Errors
    ///
    /// [`FileError::WrongKind`] if it is no link.
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf, FileError> {
        let path = path.as_ref();
        let fd = self.open_path(path, OFlags::NOFOLLOW)?;
        require(path, &stat(&fd, path)?, FileKind::Symlink)?;
        let target = fs::readlinkat(&fd, "", Vec::new()).map_err(|errno| FileError::new(path, "reading the link", errno))?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    }

    /// Metadata of what `path` leads to, links followed.
    ///
    /// # Errors
    ///
    /// It does not exist or cannot be reached.
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Metadata, FileError> {
        let path = path.as_ref();
        stat(&self.open_path(path, OFlags::empty())?, path)
    }

    /// How many names a directory has: its own, `.`, and `..` of each directory in it (stat(2)).
    ///
    /// # Errors
    ///
    /// It does not exist or cannot be reached.
    #[allow(clippy::useless_conversion, reason = "st_nlink differs in width between architectures")]
    pub(crate) fn link_count(&self, path: impl AsRef<Path>) -> Result<u64, FileError> {
        let path = path.as_ref();
        let stat = fs::fstat(self.open_path(path, OFlags::DIRECTORY)?);
        Ok(stat.map_err(|errno| FileError::new(path, "looking at it", errno))?.st_nlink.into())
    }

    /// Metadata of `path` itself, be it a link.
    ///
    /// # Errors
    ///
    /// It does not exist or cannot be reached.
    pub fn symlink_metadata(&self, path: impl AsRef<Path>) -> Result<Metadata, FileError> {
        let path = path.as_ref();
        stat(&self.open_path(path, OFlags::NOFOLLOW)?, path)
    }

    /// Opens a directory to read many files in it without looking the path up again.
    ///
    /// # Errors
    ///
    /// It does not exist, is no directory or cannot be read.
    pub fn open_dir(&self, path: impl AsRef<Path>) -> Result<DirHandle, FileError> {
        let path = path.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = self.open_raw(path, flags).map_err(|errno| FileError::new(path, "opening the directory", errno))?;
        DirHandle::new(fd, path)
    }

    /// Opens a directory of `base`, which the same root opened, by its name there; only to read files in it, not to list it. A link is
    /// followed, and what it leads to is taken to be of the file system of `base`.
    pub(crate) fn open_below(&self, base: &DirHandle, name: &str) -> Result<DirHandle, FileError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = base.path().join(name);
        let opened = if self.live { base.open_raw(name, flags)? } else { self.open_raw(&path, flags) };
        let fd = opened.map_err(|errno| FileError::new(&path, "opening the directory", errno))?;
        Ok(base.like(fd, path))
    }

    /// Makes a directory and those missing above it, each with exactly `mode`, and writes each parent to disk. Returns
    /// those it made, outermost first.
    ///
    /// # Errors
    ///
    /// One could not be made; those made before it are removed again.
    pub fn create_dir_all(&self, path: impl AsRef<Path>, mode: u32) -> Result<Vec<PathBuf>, FileError> {
        let mut made = Vec::new();
        let mut prefix = PathBuf::new();
        for part in path.as_ref() {
            prefix.push(part);
            match self.make_missing(&prefix, mode) {
                Ok(true) => made.push(prefix.clone()),
                Ok(false) => {}
                Err(error) => {
                    for path in made.iter().rev() {
                        // The first error is the one to tell.
                        let _ = crate::files::replace_file::remove_dir_if_empty(self, path);
                    }
                    return Err(error);
                }
            }
        }
        Ok(made)
    }

    fn make_missing(&self, path: &Path, mode: u32) -> Result<bool, FileError> {
        match self.metadata(path) {
            Ok(found) => return require(path, &found, FileKind::Directory).map(|()| false),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        let doing = "making the directory";
        let failed = |errno| FileError::new(path, doing, errno);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(FileError::Name { path: path.to_owned() });
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = self.open_raw(parent, flags).map_err(failed)?;
        match fs::mkdirat(&parent, name, Mode::from_raw_mode(mode)) {
            // A link that leads nowhere.
            Err(Errno::EXIST) => require(path, &self.symlink_metadata(path)?, FileKind::Directory)?,
            other => other.map_err(failed)?,
        }
        let made = fs::openat(&parent, name, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(failed)?;
        // The process's mask took bits away.
        fs::fchmod(&made, Mode::from_raw_mode(mode)).map_err(failed)?;
        fs::fsync(&made).and_then(|()| fs::fsync(&parent)).map_err(failed)?;
        Ok(true)
    }
}

pub(crate) fn stat(fd: &OwnedFd, path: &Path) -> Result<Metadata, FileError> {
    let stat = fs::fstat(fd).map_err(|errno| FileError::new(path, "looking at it", errno))?;
    Ok(Metadata::from(&stat))
}

pub(crate) fn require(path: &Path, found: &Metadata, wanted: FileKind) -> Result<(), FileError> {
    if found.kind == wanted {
        return Ok(());
    }
    Err(FileError::WrongKind { path: path.to_owned(), kind: found.kind, wanted })
}

/// Which file system it is, by its number in Linux `include/uapi/linux/magic.h`.
#[allow(clippy::unnecessary_cast, reason = "f_type differs in width between architectures")]
pub(crate) fn file_system_magic(fd: &OwnedFd) -> Result<i64, Errno> {
    Ok(fs::fstatfs(fd)?.f_type as i64)
}
