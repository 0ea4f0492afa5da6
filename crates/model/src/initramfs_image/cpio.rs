//! Reads one newc archive (Linux `Documentation/driver-api/early-userspace/buffer-format.rst`, `init/initramfs.c`).

use std::sync::Arc;

use super::error::Fault;
use super::image::{EntryKind, ImageEntry};
use super::path::{components, escape};
use super::stream::Unpacked;
use super::tree::{LinkKey, Tree};

const HEADER: u64 = 110;
/// Longest name and link target the kernel unpacks, NUL included (`PATH_MAX`).
const PATH_MAX: u64 = 4096;
/// Deepest path read; real images stay below 20. Keeps hostile names from costing quadratic time.
const MAX_DEPTH: usize = 64;
const TYPE_MASK: u32 = 0o170_000;

/// What the caller wants kept, and where members go.
pub(super) struct Sink<'a> {
    pub(super) tree: &'a mut Tree,
    pub(super) keep: &'a dyn Fn(&str) -> bool,
    pub(super) segment: usize,
}

struct Header {
    position: u64,
    with_checksum: bool,
    inode: u32,
    mode: u32,
    links: u32,
    size: u64,
    device: (u32, u32),
    name_size: u64,
    checksum: u32,
}

impl Header {
    fn bad(position: u64, field: &'static str) -> Fault {
        Fault::Header { position, field }
    }

    fn read(stream: &mut Unpacked) -> Result<Self, Fault> {
        let position = stream.position;
        let bytes = stream.take(HEADER, "a cpio header")?;
        let with_checksum = match bytes.get(..6) {
            Some(b"070701") => false,
            Some(b"070702") => true,
            _ => return Err(Self::bad(position, "magic")),
        };
        let field = |index: usize, name: &'static str| {
            let at = 6 + 8 * index;
            hex(bytes.get(at..at + 8).unwrap_or_default()).ok_or(Self::bad(position, name))
        };
        for (index, name) in [(2, "user id"), (3, "group id"), (5, "time"), (9, "device"), (10, "device")] {
            field(index, name)?;
        }
        let header = Self {
            position,
            with_checksum,
            inode: field(0, "inode")?,
            mode: field(1, "mode")?,
            links: field(4, "link count")?,
            size: field(6, "file size")?.into(),
            device: (field(7, "device")?, field(8, "device")?),
            name_size: field(11, "name size")?.into(),
            checksum: field(12, "checksum")?,
        };
        if !(1..=PATH_MAX).contains(&header.name_size) {
            return Err(Self::bad(position, "name size"));
        }
        Ok(header)
    }

    fn name(&self, stream: &mut Unpacked) -> Result<Vec<u8>, Fault> {
        let mut name = stream.take(self.name_size, "a member's name")?;
        if name.pop() != Some(0) || name.contains(&0) {
            return Err(Self::bad(self.position, "name, which does not end in one zero byte"));
        }
        stream.pass(padding(HEADER + self.name_size), "the padding of a name", |_| ())?;
        Ok(name)
    }

    fn link_key(&self) -> LinkKey {
        (self.inode, self.device.0, self.device.1)
    }

    fn is_file(&self) -> bool {
        self.mode & TYPE_MASK == 0o100_000
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

fn padding(length: u64) -> u64 {
    length.wrapping_neg() & 3
}

/// Reads members up to the trailer and returns how many there were.
pub(super) fn read_archive(stream: &mut Unpacked, sink: &mut Sink) -> Result<u64, Fault> {
    let mut members = 0;
    loop {
        let header = Header::read(stream)?;
        let name = header.name(stream)?;
        if name == b"TRAILER!!!" {
            stream.pass(header.size, "the trailer", |_| ())?;
            sink.tree.end_of_archive();
            return Ok(members);
        }
        stream.budget.spend_entry()?;
        stream.budget.spend_kept(header.name_size)?;
        members += 1;
        read_member(stream, sink, &header, &name)?;
    }
}

fn read_member(stream: &mut Unpacked, sink: &mut Sink, header: &Header, name: &[u8]) -> Result<(), Fault> {
    let name = escape(name);
    if components(&name).count() > MAX_DEPTH {
        return Err(Header::bad(header.position, "name, which is too deep"));
    }
    let place = sink.tree.place(&name);
    if header.is_file() {
        read_file(stream, sink, header, (&name, place))?;
    } else {
        let kind = read_other(stream, header)?;
        if let Some(path) = place {
            let entry = sink.entry(header, kind, 0, None);
            sink.tree.insert(path, entry);
        }
    }
    stream.pass(padding(header.size), "the padding of a file", |_| ())
}

fn read_other(stream: &mut Unpacked, header: &Header) -> Result<EntryKind, Fault> {
    if header.mode & TYPE_MASK == 0o120_000 {
        if header.size > PATH_MAX {
            return Err(Header::bad(header.position, "length of a link target"));
        }
        stream.budget.spend_kept(header.size)?;
        let target = stream.take(header.size, "a link target")?;
        return Ok(EntryKind::Symlink(escape(&target)));
    }
    stream.pass(header.size, "a member's data", |_| ())?;
    match header.mode & TYPE_MASK {
        0o040_000 => Ok(EntryKind::Directory),
        0o010_000 | 0o020_000 | 0o060_000 | 0o140_000 => Ok(EntryKind::Special),
        _ => Err(Header::bad(header.position, "file type")),
    }
}

fn read_file(stream: &mut Unpacked, sink: &mut Sink, header: &Header, (name, place): (&str, Option<String>)) -> Result<(), Fault> {
    let mut wanted = place.as_deref().is_some_and(|path| (sink.keep)(path) || (sink.keep)(name));
    if let Some(path) = &place {
        let entry = sink.entry(header, EntryKind::File, header.size, None);
        sink.tree.insert(path.clone(), entry);
        if header.links > 1 {
            wanted = sink.tree.join(header.link_key(), path, wanted);
        }
    }
    let data = read_data(stream, header, name, wanted)?;
    let Some(path) = place else {
        return Ok(());
    };
    if header.links > 1 {
        sink.tree.content(header.link_key(), header.size, data);
    } else if let Some(entry) = sink.tree.entries.get_mut(&path)
        && entry.kind == EntryKind::File
    {
        entry.data = data;
    }
    Ok(())
}

fn read_data(stream: &mut Unpacked, header: &Header, name: &str, wanted: bool) -> Result<Option<Arc<[u8]>>, Fault> {
    if wanted {
        let limit = stream.budget.limits.max_kept_file;
        if header.size > limit {
            return Err(Fault::Limit { what: "bytes in a file that is to be kept", limit });
        }
        stream.budget.spend_kept(header.size)?;
    }
    let mut kept = Vec::new();
    let mut sum = 0u32;
    stream.pass(header.size, "a file", |piece| {
        if header.with_checksum {
            sum = piece.iter().fold(sum, |sum, byte| sum.wrapping_add((*byte).into()));
        }
        if wanted {
            kept.extend_from_slice(piece);
        }
    })?;
    if header.with_checksum && header.size > 0 && sum != header.checksum {
        return Err(Fault::Checksum { path: name.to_owned() });
    }
    Ok(wanted.then(|| kept.into()))
}

impl Sink<'_> {
    fn entry(&self, header: &Header, kind: EntryKind, size: u64, data: Option<Arc<[u8]>>) -> ImageEntry {
        let mode = header.mode & 0o7777;
        ImageEntry { kind, mode, size, segment: self.segment, orphan: false, data }
    }
}
