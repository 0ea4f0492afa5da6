//! From a format to a reader of its unpacked bytes.

use std::io::{self, Read};

use lzma_rust2::{LzmaStream, XzStream};

use super::Format;
use super::lz4::{FrameLz4, LegacyLz4};
use super::push::{MEMORY_KIB, PushReader};
use super::zstd::CheckedZstd;

/// Reads the one stream at the front of `rest`. When it has been read to its end and dropped, `rest` is what follows.
/// Only one gzip member, xz stream or zstd frame is taken, as the kernel does.
pub(super) fn open<'a>(format: Format, rest: &'a mut &[u8]) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match format {
        Format::Cpio => Box::new(rest),
        Format::Gzip => Box::new(flate2::bufread::GzDecoder::new(rest)),
        Format::Xz => Box::new(PushReader::new(rest, XzStream::new_mem_limit(false, MEMORY_KIB))),
        Format::Lzma => Box::new(PushReader::new(rest, LzmaStream::new_mem_limit(MEMORY_KIB, None))),
        Format::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(rest)),
        Format::Zstd => Box::new(CheckedZstd::new(rest)?),
        Format::Lz4Legacy => Box::new(LegacyLz4::new(rest)),
        Format::Lz4Frame => Box::new(FrameLz4::new(rest)),
    })
}
