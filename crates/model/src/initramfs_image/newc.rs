//! Writes a plain newc archive.

use flate2::Compression;
use flate2::read::GzEncoder;
use std::collections::BTreeSet;
use std::io::{self, Read};

/// A member to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewcEntry {
    /// Name as it stands in the archive, without the final NUL.
    pub path: Vec<u8>,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// What it is.
    pub node: NewcNode,
}

/// Kind and content of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewcNode {
    /// A directory.
    Directory,
    /// A regular file and its bytes.
    File(Vec<u8>),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
}

/// Why an archive cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NewcError {
    /// Empty, with a NUL byte, longer than 4095 bytes, or `TRAILER!!!`.
    #[error("{0:?} cannot be the name of a member")]
    Name(String),
    /// The format has 32 bits for sizes.
    #[error("{0} is 4 GiB or larger")]
    TooLarge(String),
}

impl NewcEntry {
    /// A directory, mode 0755.
    pub fn directory(path: &str) -> Self {
        Self { path: path.into(), mode: 0o755, node: NewcNode::Directory }
    }

    /// A regular file, mode 0644.
    pub fn file(path: &str, data: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: 0o644, node: NewcNode::File(data.into()) }
    }

    /// A symbolic link.
    pub fn symlink(path: &str, target: &str) -> Self {
        Self { path: path.into(), mode: 0o777, node: NewcNode::Symlink(target.into()) }
    }
}

/// The members with a directory put before the first that needs it, since the kernel makes none by itself.
pub fn with_parents(entries: Vec<NewcEntry>) -> Vec<NewcEntry> {
    let mut known = BTreeSet::new();
    let mut all = Vec::with_capacity(entries.len());
    for entry in entries {
        for (at, _) in entry.path.iter().enumerate().filter(|(at, byte)| *at > 0 && **byte == b'/') {
            let parent = entry.path.get(..at).unwrap_or_default().to_vec();
            if known.insert(parent.clone()) {
                all.push(NewcEntry { path: parent, mode: 0o755, node: NewcNode::Directory });
            }
        }
        known.insert(entry.path.clone());
        all.push(entry);
    }
    all
}

/// One uncompressed `070701` archive of the members in the given order, owner 0, time 0, with its trailer, padded to 512
/// bytes as GNU cpio does.
///
/// # Errors
///
/// A name or size that the format cannot hold.
pub fn write_newc(entries: &[NewcEntry]) -> Result<Vec<u8>, NewcError> {
    let mut out = Vec::new();
    for (inode, entry) in (1u32..).zip(entries) {
        let (kind, data): (u32, &[u8]) = match &entry.node {
            NewcNode::Directory => (0o040_000, &[]),
            NewcNode::File(data) => (0o100_000, data),
            NewcNode::Symlink(target) => (0o120_000, target),
        };
        check_name(&entry.path)?;
        member(&mut out, (inode, kind | entry.mode & 0o7777), &entry.path, data)?;
    }
    member(&mut out, (0, 0), b"TRAILER!!!", &[])?;
    out.resize(out.len().next_multiple_of(512), 0);
    Ok(out)
}

/// The archive in a form that can follow any image without padding between, as systemd-boot joins them: eight zero bytes, where the
/// kernel's lz4 unpacker takes the image before for ended (Linux 6.12 `lib/decompress_unlz4.c`), then the archive in gzip, which the kernel
/// finds at every offset, while a plain one must begin at a multiple of four (`init/initramfs.c` `unpack_to_rootfs`).
///
/// # Errors
///
/// What the compressor says.
pub fn to_follow(archive: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = vec![0; 8];
    GzEncoder::new(archive, Compression::default()).read_to_end(&mut out)?;
    Ok(out)
}

fn text(path: &[u8]) -> String {
    path.escape_ascii().to_string()
}

fn check_name(path: &[u8]) -> Result<(), NewcError> {
    let bad = path.is_empty() || path.len() > 4095 || path.contains(&0) || path == b"TRAILER!!!";
    if bad { Err(NewcError::Name(text(path))) } else { Ok(()) }
}

fn member(out: &mut Vec<u8>, (inode, mode): (u32, u32), path: &[u8], data: &[u8]) -> Result<(), NewcError> {
    let size = u32::try_from(data.len()).map_err(|_| NewcError::TooLarge(text(path)))?;
    let name_size = u32::try_from(path.len() + 1).map_err(|_| NewcError::Name(text(path)))?;
    let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    out.extend_from_slice(b"070701");
    for field in fields {
        out.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    out.extend_from_slice(path);
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(4), 0);
    Ok(())
}
