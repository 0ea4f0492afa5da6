//! Extended attributes carried from a file to its replacement: SELinux label, ACLs, capabilities, user attributes.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{self, XattrFlags};
use rustix::io::Errno;

/// Hashes of the old content; the kernel makes them anew (Linux `security/integrity`).
const OF_THE_CONTENT: [&CStr; 2] = [c"security.ima", c"security.evm"];

/// Gives `to` the attributes of `from` and takes away others, such as an ACL inherited from the directory. File systems
/// without attributes (FAT) are no error.
pub(crate) fn copy(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let wanted = match list(from) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        other => other?,
    };
    for name in names(&wanted).filter(|name| !OF_THE_CONTENT.contains(name)) {
        let value = get(from, name)?;
        if get(to, name).as_ref() != Ok(&value) {
            fs::fsetxattr(to, name, &value, XattrFlags::empty())?;
        }
    }
    let present = list(to)?;
    for name in names(&present) {
        let keep = OF_THE_CONTENT.contains(&name) || names(&wanted).any(|other| other == name);
        // A label that the policy gives every file cannot be taken away and need not be.
        if !keep && !name.to_bytes().starts_with(b"security.") {
            fs::fremovexattr(to, name)?;
        }
    }
    Ok(())
}

fn names(list: &[u8]) -> impl Iterator<Item = &CStr> {
    list.split_inclusive(|byte| *byte == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok())
}

fn list(fd: &OwnedFd) -> Result<Vec<u8>, Errno> {
    grow(|bytes| {
        bytes.reserve(fs::flistxattr_query(fd)?.max(1));
        fs::flistxattr(fd, spare_capacity(bytes)).map(|_| ())
    })
}

fn get(fd: &OwnedFd, name: &CStr) -> Result<Vec<u8>, Errno> {
    grow(|bytes| {
        bytes.reserve(fs::fgetxattr_query(fd, name)?.max(1));
        fs::fgetxattr(fd, name, spare_capacity(bytes)).map(|_| ())
    })
}

/// Tries again while the attribute grows between asking its size and reading it.
fn grow(mut fill: impl FnMut(&mut Vec<u8>) -> Result<(), Errno>) -> Result<Vec<u8>, Errno> {
    loop {
        let mut bytes = Vec::new();
        match fill(&mut bytes) {
            Err(Errno::RANGE) => {}
            other => return other.map(|()| bytes),
        }
    }
}
