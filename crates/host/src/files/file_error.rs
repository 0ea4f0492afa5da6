//! Why a file could not be read or changed, always with its path as seen from inside the root.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

/// Type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// FIFO.
    Fifo,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Socket.
    Socket,
    /// Not told.
    Unknown,
}

impl From<FileType> for FileKind {
    fn from(file_type: FileType) -> Self {
        match file_type {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Socket => Self::Socket,
            FileType::Unknown => Self::Unknown,
        }
    }
}

impl std::fmt::Display for FileKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File => "a regular file",
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Fifo => "a FIFO",
            Self::CharDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Socket => "a socket",
            Self::Unknown => "of unknown type",
        })
    }
}

/// How a file differs from what the caller expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It should have content and is gone.
    Gone,
    /// It should not exist and does.
    Appeared,
    /// Its content is another.
    Content,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gone => "it is gone",
            Self::Appeared => "it exists now",
            Self::Content => "its content is another",
        })
    }
}

/// Why reading or changing a file failed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// `ENOENT`, `ENOTDIR`: it or a directory on the way does not exist.
    #[error("{path}: does not exist", path = path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// Only regular files are read and replaced.
    #[error("{path}: is {kind}, not {wanted}", path = path.display())]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
        /// What it should be.
        wanted: FileKind,
    },
    /// Longer than the caller allows.
    #[error("{path}: larger than {limit} bytes", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound, in bytes.
        limit: usize,
    },
    /// Not what the caller expected; nothing was changed.
    #[error("{path}: changed meanwhile, {change}; left as it is", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// In what way.
        change: Change,
    },
    /// The immutable or append-only attribute is set (`chattr +i`, `+a`).
    #[error("{path}: is immutable (lsattr shows i or a): take that off it with `chattr -i -a`", path = path.display())]
    Immutable {
        /// The file or its directory.
        path: PathBuf,
    },
    /// `EROFS`.
    #[error("{path}: the file system is mounted read-only: make it writable with `mount -o remount,rw`", path = path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// `EBUSY` of rename(2) or unlink(2): something is mounted on it.
    #[error("{path}: is a mount of its own, and no other file can take its place: take that off it with `umount`", path = path.display())]
    Mounted {
        /// The file.
        path: PathBuf,
    },
    /// `ENOSPC`, `EDQUOT`.
    #[error("{path}: no space left on the file system", path = path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
    },
    /// `EACCES`, `EPERM`.
    #[error("{path}: permission denied while {doing}", path = path.display())]
    Denied {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
    },
    /// The change is made, but may not survive a power cut.
    #[error("{path}: changed, but writing its directory to disk failed: {source}", path = path.display())]
    NotDurable {
        /// The file.
        path: PathBuf,
        /// From `fsync`.
        source: io::Error,
    },
    /// A name that cannot be: empty, `.`, `..`, or with `/` or NUL where one name is wanted.
    #[error("{path}: not a file name", path = path.display())]
    Name {
        /// What was given.
        path: PathBuf,
    },
    /// The kernel cannot keep look-ups below a directory.
    #[error("{path}: working below a directory needs openat2(2) of Linux 5.6: {source}", path = path.display())]
    NoOpenat2 {
        /// The directory.
        path: PathBuf,
        /// From the system call.
        source: io::Error,
    },
    /// Anything else.
    #[error("{path}: {doing}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl FileError {
    /// Whether the file or a directory on the way to it does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The system's error, where there is one.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::NotDurable { source, .. } | Self::Io { source, .. } | Self::NoOpenat2 { source, .. } => Some(source),
            _ => None,
        }
    }

    pub(crate) fn new(path: &Path, doing: &'static str, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound { path },
            Errno::ROFS => Self::ReadOnly { path },
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace { path },
            Errno::ACCESS | Errno::PERM => Self::Denied { path, doing },
            errno => Self::Io { path, doing, source: errno.into() },
        }
    }
}
