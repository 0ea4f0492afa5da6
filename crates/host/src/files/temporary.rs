//! The new file beside the old one, until it takes its name.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, RenameFlags, Stat, StatxAttributes, StatxFlags, Uid};
use rustix::io::{self, Errno};

use crate::files::file_error::{Change, FileError};
use crate::files::locate::{Located, locate};
use crate::files::root::{Root, file_system_magic};
use crate::files::xattrs;

/// `MSDOS_SUPER_MAGIC` and `EXFAT_SUPER_MAGIC` (Linux `include/uapi/linux/magic.h`).
const FAT_MAGICS: [i64; 2] = [0x4d44, 0x2011_bab0];

/// Where boot loaders read.
const BOOT: &str = "/boot";

/// What stands before and after the random digits of a temporary name.
const PREFIX: &str = ".cede-";
const SUFFIX: &str = ".tmp";

/// Removes regular files with temporary names of ours from the directory of a file. What cannot be removed stays and does no harm.
pub(crate) fn sweep(root: &Root, path: &Path) {
    let Ok(place) = locate(root, path) else { return };
    let ours = |name: &[u8]| {
        // grub-mkconfig writes first beside the file that it is given.
        let name = name.strip_suffix(b".new").unwrap_or(name);
        let digits = name.strip_prefix(PREFIX.as_bytes()).and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
        digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
    };
    for entry in fs::Dir::read_from(&place.dir).into_iter().flatten().flatten() {
        if ours(entry.file_name().to_bytes()) {
            // Fails for a directory, which is not ours.
            let _ = fs::unlinkat(&place.dir, entry.file_name(), AtFlags::empty());
        }
    }
}

/// A temporary name for the successor of a file, with 64 random bits.
pub(crate) fn fresh_name(of: &OsStr) -> OsString {
    OsString::from(format!("{PREFIX}{:016x}{SUFFIX}", RandomState::new().hash_one(of)))
}

/// The new file under its temporary name, which goes when this is dropped.
pub(crate) struct Temporary<'a> {
    place: &'a Located,
    name: OsString,
    fd: OwnedFd,
    renamed: bool,
    /// The old file has the temporary name now.
    holds_old: bool,
}

impl<'a> Temporary<'a> {
    /// Names tried before giving up; with 64 random bits the first is free.
    const TRIES: usize = 16;

    pub(crate) fn create(place: &'a Located) -> Result<Self, FileError> {
        for _ in 0..Self::TRIES {
            let name = fresh_name(&place.name);
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match fs::openat(&place.dir, &name, flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(refused(place, "making a file beside it", errno)),
                Ok(fd) => {
                    return Ok(Self { place, name, fd, renamed: false, holds_old: false });
                }
            }
        }
        Err(FileError::new(&place.path, "making a file beside it", Errno::EXIST))
    }

    /// Takes a file that somebody else made under a temporary name, and writes it to disk.
    pub(crate) fn adopt(place: &'a Located, name: &OsStr) -> Result<Self, FileError> {
        let failed = |errno| FileError::new(&place.path.with_file_name(name), "writing it to disk", errno);
        let fd = fs::openat(&place.dir, name, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let made = Self { place, name: name.to_owned(), fd, renamed: false, holds_old: false };
        fs::fsync(&made.fd).map_err(failed)?;
        Ok(made)
    }

    /// Writes content, owner, attributes and mode, and all of it to disk. `old` is the file it shall be like.
    pub(crate) fn fill(&self, new: &[u8], old: Option<&(OwnedFd, Stat)>, mode_if_new: u32) -> Result<(), FileError> {
        let path = &self.place.path;
        let failed = |doing| move |errno| FileError::new(path, doing, errno);
        write_all(&self.fd, new).map_err(failed("writing the new file"))?;
        match old {
            None => self.set_mode(mode_if_new).map_err(failed("setting its mode"))?,
            Some((fd, stat)) => {
                self.own_like(stat).map_err(failed("setting its owner"))?;
                xattrs::copy(fd, &self.fd).map_err(failed("copying its extended attributes"))?;
                // After the owner, whose change takes set-user-id bits away.
                self.set_mode(stat.st_mode & 0o7777).map_err(failed("setting its mode"))?;
            }
        }
        fs::fsync(&self.fd).map_err(failed("writing it to disk"))
    }

    fn own_like(&self, old: &Stat) -> Result<(), Errno> {
        let now = fs::fstat(&self.fd)?;
        if (now.st_uid, now.st_gid) == (old.st_uid, old.st_gid) {
            return Ok(());
        }
        fs::fchown(&self.fd, Some(Uid::from_raw(old.st_uid)), Some(Gid::from_raw(old.st_gid)))
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

    pub(crate) fn rename(&mut self, replaces: bool) -> Result<(), FileError> {
        if replaces && self.exchange()? {
            return Ok(());
        }
        let (dir, name) = (&self.place.dir, &self.place.name);
        let plain = || fs::renameat(dir, &self.name, dir, name);
        let result = if replaces {
            plain()
        } else {
            match fs::renameat_with(dir, &self.name, dir, name, RenameFlags::NOREPLACE) {
                // The file system does not know the flag; absence was checked just before.
                Err(Errno::INVAL | Errno::NOSYS) => plain(),
                Err(Errno::EXIST) => {
                    return Err(FileError::Changed { path: self.place.path.clone(), change: Change::Appeared });
                }
                other => other,
            }
        };
        result.map_err(|errno| refused(self.place, "renaming the new file over it", errno))?;
        self.renamed = true;
        Ok(())
    }

    /// GRUB reads ext4 without its journal (GRUB 2.06 `grub-core/fs/ext2.c`), and metadata comes to its place in any order: a directory of before
    /// the rename beside inodes of after it, where the old file is deleted, would lead to nothing. So the new file is in its place on disk before it
    /// is named, and the old one keeps a name until the directory is. `false` where this cannot be, or need not.
    fn exchange(&mut self) -> Result<bool, FileError> {
        if !self.place.path.starts_with(BOOT) || self.is_fat() {
            return Ok(false);
        }
        let failed = |errno| FileError::new(&self.place.path, "writing it to disk", errno);
        fs::syncfs(&self.fd).map_err(failed)?;
        let (dir, name) = (&self.place.dir, &self.place.name);
        match fs::renameat_with(dir, &self.name, dir, name, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS) => return Ok(false),
            result => result.map_err(|errno| refused(self.place, "exchanging it for the new file", errno))?,
        }
        (self.renamed, self.holds_old) = (true, true);
        Ok(true)
    }

    /// Removes an old file that still has a name, once everything before is in its place on disk.
    pub(crate) fn let_go(&self) -> Result<(), FileError> {
        if self.holds_old {
            fs::syncfs(&self.fd).map_err(|errno| FileError::NotDurable { path: self.place.path.clone(), source: errno.into() })?;
            // What cannot be removed does no harm.
            let _ = fs::unlinkat(&self.place.dir, &self.name, AtFlags::empty());
        }
        Ok(())
    }

    /// On FAT a directory entry says where the data is, and after a rename that is written with the file, not with the directory (Linux 6.1
    /// `fs/fat/namei_vfat.c` `vfat_rename`, `fs/fat/inode.c` `__fat_write_inode`). Once the directory is on disk the temporary name is gone, so
    /// no two entries share the data; the old data is freed when its last descriptor, which the caller holds, is closed.
    pub(crate) fn sync_entry(&self) -> Result<(), FileError> {
        fs::fsync(&self.fd).map_err(|errno| FileError::NotDurable { path: self.place.path.clone(), source: errno.into() })
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

/// The error for a refused change; `EPERM` often means an attribute that the mode does not show.
pub(crate) fn refused(place: &Located, doing: &'static str, errno: Errno) -> FileError {
    if errno == Errno::PERM && is_immutable(&place.dir) {
        let path = place.path.parent().unwrap_or(Path::new("/")).to_owned();
        return FileError::Immutable { path };
    }
    if errno == Errno::BUSY {
        return FileError::Mounted { path: place.path.clone() };
    }
    FileError::new(&place.path, doing, errno)
}

/// The immutable or append-only attribute, where the file system tells (statx(2)).
pub(crate) fn is_immutable(fd: &OwnedFd) -> bool {
    let found = fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::empty());
    let set = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    found.is_ok_and(|found| found.stx_attributes.intersects(set))
}
