//! Kinds of segments and their magic numbers.

use std::fmt;

/// How a segment is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Plain newc cpio, `070701` or `070702`.
    Cpio,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// lzma "alone".
    Lzma,
    /// bzip2.
    Bzip2,
    /// Zstandard.
    Zstd,
    /// The old lz4 frame (`lz4 -l`), the only one the kernel unpacks.
    Lz4Legacy,
    /// The lz4 frame of today.
    Lz4Frame,
}

impl Format {
    /// Whether the kernel's own unpacker knows this magic number (Linux 6.12 `lib/decompress.c`, `compressed_formats`):
    /// all but [`Format::Lz4Frame`]. Such an image can be listed but not booted.
    pub fn kernel_unpacks(self) -> bool {
        self != Self::Lz4Frame
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpio => "cpio",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Bzip2 => "bzip2",
            Self::Zstd => "zstd",
            Self::Lz4Legacy => "lz4 legacy",
            Self::Lz4Frame => "lz4 frame",
        })
    }
}

/// What the first bytes of a segment say.
pub(super) enum Magic {
    Known(Format),
    Unsupported(&'static str),
    Unknown,
}

pub(super) fn detect(bytes: &[u8]) -> Magic {
    const TABLE: &[(&[u8], Format)] = &[
        (b"070701", Format::Cpio),
        (b"070702", Format::Cpio),
        (b"\x1f\x8b", Format::Gzip),
        (b"\xfd7zXZ\0", Format::Xz),
        (b"\x5d\0", Format::Lzma),
        (b"BZh", Format::Bzip2),
        (b"\x28\xb5\x2f\xfd", Format::Zstd),
        (b"\x02\x21\x4c\x18", Format::Lz4Legacy),
        (b"\x04\x22\x4d\x18", Format::Lz4Frame),
    ];
    const UNSUPPORTED: &[(&[u8], &str)] = &[
        (b"\x89LZO", "lzop"),
        (b"070707", "the old portable (odc) cpio format"),
        (b"\xc7\x71", "the old binary cpio format"),
        (b"\x1f\x9e", "old gzip"),
    ];
    if let Some((_, format)) = TABLE.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Magic::Known(*format);
    }
    match UNSUPPORTED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        Some((_, name)) => Magic::Unsupported(name),
        None => Magic::Unknown,
    }
}
