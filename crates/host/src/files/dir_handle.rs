//! One open directory, made for the thousands of small files of sysfs.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{self, AtFlags, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::{self, Errno};

use crate::files::file_error::{FileError, FileKind};
use crate::files::root::{Metadata, SAFE, file_system_magic, require};

/// Bytes one attribute may have when read by [`DirHandle::read_into`].
pub const MAX_ATTRIBUTE: usize = 1 << 20;

/// Smallest page size: sysfs gives a text attribute whole in one read of a page, and binary ones a page at a time
/// (Linux 6.12 `fs/kernfs/file.c`). A shorter read there is the end.
const PAGE: usize = 4096;

/// Links of sysfs are shorter than this, and are read without making room twice.
const SHORT_LINK: usize = 96;

/// Magic numbers of file systems without devices and FIFOs (Linux `include/uapi/linux/magic.h`).
const SYSFS_MAGIC: i64 = 0x6265_6572;
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: OsString,
    /// Type of the file itself, links not followed.
    pub kind: FileKind,
}

/// An open directory. Names given to it are single components, and links among them are not followed.
#[derive(Debug)]
pub struct DirHandle {
    fd: OwnedFd,
    path: PathBuf,
    sysfs: bool,
    only_files: bool,
}

impl DirHandle {
    pub(crate) fn new(fd: OwnedFd, path: &Path) -> Result<Self, FileError> {
        let magic = file_system_magic(&fd).map_err(|errno| FileError::new(path, "looking at its file system", errno))?;
        let sysfs = magic == SYSFS_MAGIC;
        let only_files = sysfs || magic == PROC_SUPER_MAGIC;
        Ok(Self { fd, path: path.to_owned(), sysfs, only_files })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what bears a name here, links followed.
    pub(crate) fn open_raw(&self, name: &str, flags: OFlags) -> Result<Result<OwnedFd, Errno>, FileError> {
        self.check(name.as_ref())?;
        Ok(fs::openat(&self.fd, name, flags, Mode::empty()))
    }

    /// A handle on a directory of the same file system.
    pub(crate) fn like(&self, fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path, ..*self }
    }

    fn check(&self, name: &OsStr) -> Result<(), FileError> {
        let bytes = name.as_bytes();
        if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') || bytes.contains(&0) {
            return Err(FileError::Name { path: self.path.join(name) });
        }
        Ok(())
    }

    fn failed<'a>(&'a self, name: &'a OsStr, doing: &'static str) -> impl Fn(Errno) -> FileError + 'a {
        move |errno| match errno {
            // What O_NOFOLLOW answers.
            Errno::LOOP => FileError::WrongKind { path: self.path.join(name), kind: FileKind::Symlink, wanted: FileKind::File },
            errno => FileError::new(&self.path.join(name), doing, errno),
        }
    }

    /// Opens a regular file by the way that `open` takes; tells also what shows its end.
    ///
    /// Where there may be devices, the type is looked at before: opening a device can act on it. Whoever puts another file there in
    /// between gains nothing: the open neither waits nor follows a link, and what is read is bounded.
    fn open_file(&self, path: &OsStr, open: impl FnOnce(OFlags) -> Result<OwnedFd, Errno>) -> Result<(OwnedFd, End), FileError> {
        let failed = self.failed(path, "opening it");
        let mut end = if self.sysfs { End::ShortPage } else { End::Nothing };
        if !self.only_files {
            let found: Metadata = (&fs::statat(&self.fd, path, AtFlags::SYMLINK_NOFOLLOW).map_err(&failed)?).into();
            if found.kind != FileKind::File {
                require(&self.path.join(path), &found, FileKind::File)?;
            }
            end = End::Size(found.size);
        }
        Ok((open(OFlags::RDONLY | OFlags::NOFOLLOW | SAFE).map_err(failed)?, end))
    }

    /// Reads a regular file of the directory.
    ///
    /// # Errors
    ///
    /// As [`crate::files::root::Root::read`]; a symbolic link is [`FileError::WrongKind`].
    pub fn read(&self, name: impl AsRef<OsStr>, limit: usize) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        self.read_some(name.as_ref(), limit, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads a regular file of the directory into a buffer that is emptied first, up to [`MAX_ATTRIBUTE`] bytes. In sysfs
    /// this takes three system calls, elsewhere four.
    ///
    /// # Errors
    ///
    /// As [`DirHandle::read`]; the buffer is then empty or holds a part.
    pub fn read_into(&self, name: impl AsRef<OsStr>, bytes: &mut Vec<u8>) -> Result<(), FileError> {
        self.read_some(name.as_ref(), MAX_ATTRIBUTE, bytes)
    }

    /// As [`DirHandle::read_into`], for a file of a directory that this one holds; no link may be on the way to it. That spares to open
    /// the directory in between, and to close it.
    ///
    /// # Errors
    ///
    /// As [`DirHandle::read_into`]; and the kernel has no `openat2` (before Linux 5.6).
    pub fn read_below(&self, dir: &str, name: &str, bytes: &mut Vec<u8>) -> Result<(), FileError> {
        let path = self.below(dir, name)?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        self.read_opened(path.as_ref(), MAX_ATTRIBUTE, bytes, |flags| fs::openat2(&self.fd, &path, flags, Mode::empty(), resolve))
    }

    /// As [`DirHandle::read_below`], the directory's name being a link or not: for the running system, where no link leads out.
    ///
    /// # Errors
    ///
    /// As [`DirHandle::read_into`].
    pub(crate) fn read_behind(&self, link: &str, name: &str, bytes: &mut Vec<u8>) -> Result<(), FileError> {
        let path = self.below(link, name)?;
        self.read_opened(path.as_ref(), MAX_ATTRIBUTE, bytes, |flags| fs::openat(&self.fd, &path, flags, Mode::empty()))
    }

    fn below(&self, dir: &str, name: &str) -> Result<String, FileError> {
        self.check(dir.as_ref())?;
        self.check(name.as_ref())?;
        Ok([dir, name].join("/"))
    }

    fn read_some(&self, name: &OsStr, limit: usize, bytes: &mut Vec<u8>) -> Result<(), FileError> {
        self.check(name)?;
        self.read_opened(name, limit, bytes, |flags| fs::openat(&self.fd, name, flags, Mode::empty()))
    }

    fn read_opened(
        &self,
        path: &OsStr,
        limit: usize,
        bytes: &mut Vec<u8>,
        open: impl FnOnce(OFlags) -> Result<OwnedFd, Errno>,
    ) -> Result<(), FileError> {
        bytes.clear();
        let (fd, end) = self.open_file(path, open)?;
        read_loop(&fd, limit, bytes, end).map_err(|stop| stop.into_error(&self.path.join(path), limit))
    }

    /// The target of a symbolic link of the directory, as written in it.
    ///
    /// # Errors
    ///
    /// It does not exist or is no link.
    pub fn read_link(&self, name: impl AsRef<OsStr>) -> Result<PathBuf, FileError> {
        let name = name.as_ref();
        self.check(name)?;
        self.read_link_at(name)
    }

    /// As [`DirHandle::read_link`], for a link of a directory that this one holds or has a link to: for the running system, where none leads
    /// out.
    ///
    /// # Errors
    ///
    /// As [`DirHandle::read_link`].
    pub(crate) fn read_link_behind(&self, link: &str, name: &str) -> Result<PathBuf, FileError> {
        self.read_link_at(self.below(link, name)?.as_ref())
    }

    fn read_link_at(&self, path: &OsStr) -> Result<PathBuf, FileError> {
        let mut target = Vec::with_capacity(SHORT_LINK);
        let mut read = fs::readlinkat_raw(&self.fd, path, spare_capacity(&mut target)).map(|_| ());
        if target.len() == target.capacity() {
            // It may go on.
            read = fs::readlinkat(&self.fd, path, Vec::new()).map(|whole| target = whole.into_bytes());
        }
        match read {
            Ok(()) => Ok(OsString::from_vec(target).into()),
            Err(Errno::INVAL) => {
                let found = fs::statat(&self.fd, path, AtFlags::SYMLINK_NOFOLLOW).map_err(self.failed(path, "looking at it"))?;
                require(&self.path.join(path), &(&found).into(), FileKind::Symlink).map(|()| PathBuf::new())
            }
            Err(errno) => Err(self.failed(path, "reading the link")(errno)),
        }
    }

    /// Names and types, sorted by bytes, without `.` and `..`.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, FileError> {
        let failed = |errno| FileError::new(&self.path, "reading the directory", errno);
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let name = OsStr::from_bytes(name).to_owned();
            let kind = match entry.file_type().into() {
                FileKind::Unknown => self.kind_of(&name),
                known => known,
            };
            entries.push(Entry { name, kind });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// For file systems that do not tell types in the listing.
    fn kind_of(&self, name: &OsStr) -> FileKind {
        let found = fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        found.map_or(FileKind::Unknown, |stat| fs::FileType::from_raw_mode(stat.st_mode).into())
    }
}

/// What shows the end of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// A read that gives nothing.
    Nothing,
    /// That, or less than a page.
    ShortPage,
    /// That, or as much as the file said to have. Files that say 0 and have more are read on.
    Size(u64),
}

impl End {
    fn is_reached(self, count: usize, total: usize) -> bool {
        match self {
            _ if count == 0 => true,
            Self::Nothing => false,
            Self::ShortPage => count < PAGE,
            Self::Size(size) => u64::try_from(total).is_ok_and(|total| total == size),
        }
    }
}

enum Stop {
    TooLarge,
    Failed(Errno),
}

impl Stop {
    fn into_error(self, path: &Path, limit: usize) -> FileError {
        match self {
            Self::TooLarge => FileError::TooLarge { path: path.to_owned(), limit },
            Self::Failed(Errno::ISDIR) => FileError::WrongKind { path: path.to_owned(), kind: FileKind::Directory, wanted: FileKind::File },
            Self::Failed(errno) => FileError::new(path, "reading it", errno),
        }
    }
}

pub(crate) fn read_to_end(fd: &OwnedFd, path: &Path, limit: usize, bytes: &mut Vec<u8>) -> Result<(), FileError> {
    read_loop(fd, limit, bytes, End::Nothing).map_err(|stop| stop.into_error(path, limit))
}

/// Reads a file that says to have `size` bytes to its end, wherever that is.
pub(crate) fn read_sized(fd: &OwnedFd, path: &Path, limit: usize, size: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).map_or(limit, |size| size.min(limit)).saturating_add(1));
    read_loop(fd, limit, &mut bytes, End::Nothing).map_err(|stop| stop.into_error(path, limit))?;
    Ok(bytes)
}

fn read_loop(fd: &OwnedFd, limit: usize, bytes: &mut Vec<u8>, end: End) -> Result<(), Stop> {
    loop {
        // Twice what is there: few reads for large files, and room for a whole page.
        if bytes.capacity() == bytes.len() || end == End::ShortPage {
            bytes.reserve(bytes.len().max(2 * PAGE));
        }
        let count = match io::read(fd, spare_capacity(bytes)) {
            Err(Errno::INTR) => continue,
            other => other.map_err(Stop::Failed)?,
        };
        if bytes.len() > limit {
            return Err(Stop::TooLarge);
        }
        if end.is_reached(count, bytes.len()) {
            return Ok(());
        }
    }
}
