//! What an image holds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::Format;
use super::path;

/// A listed image: what the root of the early user space looks like once the kernel has unpacked it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitramfsImage {
    /// By path without leading `/` or `./`, below the real directory if a parent is a symbolic link. Bytes of names that
    /// are not UTF-8 appear as `\xNN`. Of two members with one name the later stands, as in the kernel.
    pub entries: BTreeMap<String, ImageEntry>,
    /// In the order of the file.
    pub segments: Vec<Segment>,
    /// Where a boot configuration is appended (`#BOOTCONFIG`, Linux 6.12 `init/main.c`), header and magic included.
    pub bootconfig: Option<Range<usize>>,
}

/// One archive or compressed stream of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// How it is packed.
    pub format: Format,
    /// First byte in the image file.
    pub offset: usize,
    /// Archives in it: one, rarely more.
    pub archives: usize,
    /// Members, trailers not counted.
    pub entries: u64,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageEntry {
    /// File, directory, link or other.
    pub kind: EntryKind,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// Bytes of a regular file, shared by hard links; 0 for others.
    pub size: u64,
    /// Index of the segment it came from.
    pub segment: usize,
    /// No directory for it came before it, so the kernel does not make it (Linux 6.12 `init/initramfs.c` `do_name`
    /// opens the file and goes on without a word if that fails).
    pub orphan: bool,
    /// The content, if the caller asked to keep it.
    pub data: Option<Arc<[u8]>>,
}

/// Type of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link and its target, written as names are.
    Symlink(String),
    /// Device, FIFO or socket.
    Special,
}

impl InitramfsImage {
    /// The entry at `path`, symbolic links followed, so `lib/...` finds `usr/lib/...` behind `lib -> usr/lib`. Entries that
    /// the kernel would not make are not found.
    pub fn entry(&self, path: &str) -> Option<&ImageEntry> {
        let real = path::resolve(&self.entries, path, true)?;
        self.entries.get(&real).filter(|entry| !entry.orphan)
    }

    /// The kept content of the regular file at `path`, symbolic links followed. `None` if it is not there, and also if
    /// `keep` did not ask for it.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.entry(path)?.data.as_deref()
    }

    /// Paths the kernel would not make for want of a directory.
    pub fn orphans(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|(_, entry)| entry.orphan).map(|(path, _)| path.as_str())
    }
}
