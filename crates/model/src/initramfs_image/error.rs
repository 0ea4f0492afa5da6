//! Why an image was refused.

use super::Format;

/// Why an image cannot be taken as proof. Offsets count bytes of the image file from 0, segments from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// No bytes at all.
    #[error("the image is empty")]
    Empty,
    /// Only zero bytes: a file that was allocated but never written.
    #[error("the image holds {0} zero bytes and nothing else")]
    OnlyZeros(usize),
    /// Neither a newc archive nor a known compression begins here.
    #[error("segment {segment} at byte {offset}: {magic:02x?} begins no known archive or compression")]
    UnknownFormat {
        /// Which segment.
        segment: usize,
        /// Where it begins.
        offset: usize,
        /// Up to six bytes found there.
        magic: Vec<u8>,
    },
    /// A compression that is known and not read here.
    #[error("segment {segment} at byte {offset}: compressed with {format}, which is not supported")]
    Unsupported {
        /// Which segment.
        segment: usize,
        /// Where it begins.
        offset: usize,
        /// Name of the compression.
        format: &'static str,
    },
    /// A segment whose kind is known, but which is damaged, cut off or too large.
    #[error("segment {segment} ({format}) at byte {offset}: {fault}")]
    Segment {
        /// Which segment.
        segment: usize,
        /// Where it begins.
        offset: usize,
        /// How it is packed.
        format: Format,
        /// What is wrong.
        fault: Fault,
    },
}

/// What is wrong inside a segment. Positions count unpacked bytes of that segment from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The data end before the archive does.
    #[error("ends at unpacked byte {position}, inside {inside}")]
    Truncated {
        /// Where the data end.
        position: u64,
        /// What was being read.
        inside: &'static str,
    },
    /// The decompressor refuses the data or a checksum does not match.
    #[error("damaged near unpacked byte {position}: {reason}")]
    Damaged {
        /// Unpacked bytes before the damage was seen.
        position: u64,
        /// The decompressor's words.
        reason: String,
    },
    /// A cpio header that is none.
    #[error("cpio header at unpacked byte {position}: bad {field}")]
    Header {
        /// Where the header begins.
        position: u64,
        /// Which field.
        field: &'static str,
    },
    /// A `070702` member whose bytes do not sum to the header's value.
    #[error("the checksum of {path} does not match")]
    Checksum {
        /// Name in the archive.
        path: String,
    },
    /// Something other than an archive or zero bytes follows an archive.
    #[error("byte {byte:#04x} at unpacked byte {position} begins no archive")]
    Junk {
        /// Where.
        position: u64,
        /// The byte found.
        byte: u8,
    },
    /// An archive that does not begin on a multiple of four, which the kernel refuses (`init/initramfs.c`).
    #[error("the archive does not begin on a multiple of four bytes")]
    Misaligned,
    /// Nothing was packed.
    #[error("holds no archive")]
    NoArchive,
    /// More than the caller allows.
    #[error("more than {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The bound from [`super::Limits`].
        limit: u64,
    },
}
