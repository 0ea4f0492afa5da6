//! The loop over the segments of an image.

use std::ops::Range;

use super::cpio::{Sink, read_archive};
use super::decoder;
use super::error::{Fault, ImageError};
use super::format::{Format, Magic, detect};
use super::image::{InitramfsImage, Segment};
use super::limits::{Budget, Limits};
use super::stream::Unpacked;
use super::tree::Tree;

const BOOTCONFIG: &[u8] = b"#BOOTCONFIG\n";

/// Lists an initramfs image. The content of a regular file is kept where `keep` says yes to its path, given without
/// leading `/`; it is asked for the path with symbolic links of the image followed, then for the name in the archive, so
/// one of `lib/x` and `usr/lib/x` may be either.
///
/// # Errors
///
/// Refuses everything that the kernel would refuse or leave half unpacked, damage that a checksum shows, and images beyond
/// `limits`. Neither plain cpio nor the legacy lz4 frame has a checksum: there, compare kept files with their sources. An
/// image cut off exactly between two segments lists as a shorter image.
pub fn read_image(image: &[u8], limits: &Limits, keep: impl Fn(&str) -> bool) -> Result<InitramfsImage, ImageError> {
    if image.is_empty() {
        return Err(ImageError::Empty);
    }
    let bootconfig = find_bootconfig(image);
    let end = bootconfig.as_ref().map_or(image.len(), |range| range.start);
    let body = image.get(..end).unwrap_or_default();
    let mut reader = Reader { tree: Tree::default(), budget: Budget::new(*limits), keep: &keep, segments: Vec::new() };
    reader.all_segments(body)?;
    if reader.segments.is_empty() {
        return Err(ImageError::OnlyZeros(image.len()));
    }
    Ok(InitramfsImage { entries: reader.tree.finish(), segments: reader.segments, bootconfig })
}

struct Reader<'a> {
    tree: Tree,
    budget: Budget,
    keep: &'a dyn Fn(&str) -> bool,
    segments: Vec<Segment>,
}

impl Reader<'_> {
    fn all_segments(&mut self, body: &[u8]) -> Result<(), ImageError> {
        let mut offset = 0;
        loop {
            let rest = body.get(offset..).unwrap_or_default();
            let Some(zeros) = rest.iter().position(|byte| *byte != 0) else {
                return Ok(());
            };
            offset += zeros;
            offset += self.segment(rest.get(zeros..).unwrap_or_default(), offset)?;
        }
    }

    /// Reads one segment and returns its length in the file.
    fn segment(&mut self, bytes: &[u8], offset: usize) -> Result<usize, ImageError> {
        let segment = self.segments.len();
        let format = match detect(bytes) {
            Magic::Known(format) => format,
            Magic::Unsupported(format) => {
                return Err(ImageError::Unsupported { segment, offset, format });
            }
            Magic::Unknown => {
                let magic = bytes.iter().take(6).copied().collect();
                return Err(ImageError::UnknownFormat { segment, offset, magic });
            }
        };
        let wrap = |fault| ImageError::Segment { segment, offset, format, fault };
        if format == Format::Cpio && !offset.is_multiple_of(4) {
            return Err(wrap(Fault::Misaligned));
        }
        let mut rest = bytes;
        let (archives, entries, used) = self.archives(format, &mut rest, segment).map_err(wrap)?;
        self.segments.push(Segment { format, offset, archives, entries });
        let packed = bytes.len() - rest.len();
        Ok(if format == Format::Cpio { used } else { packed })
    }

    /// Archives, members and unpacked bytes of one segment.
    fn archives(&mut self, format: Format, rest: &mut &[u8], segment: usize) -> Result<(usize, u64, usize), Fault> {
        let source = decoder::open(format, rest).map_err(|error| Fault::Damaged { position: 0, reason: error.to_string() })?;
        let mut stream = Unpacked::new(source, &mut self.budget);
        let mut sink = Sink { tree: &mut self.tree, keep: self.keep, segment };
        let (mut archives, mut entries) = (0, 0);
        loop {
            entries += read_archive_at(&mut stream, &mut sink)?;
            archives += 1;
            if format == Format::Cpio {
                break;
            }
            stream.skip_zeros()?;
            if stream.peek()?.is_none() {
                break;
            }
        }
        let used = usize::try_from(stream.position).unwrap_or(usize::MAX);
        Ok((archives, entries, used))
    }
}

/// An archive where the kernel's `flush_buffer` would look for one.
fn read_archive_at(stream: &mut Unpacked, sink: &mut Sink) -> Result<u64, Fault> {
    stream.skip_zeros()?;
    match stream.peek()? {
        None => Err(Fault::NoArchive),
        Some(b'0') => read_archive(stream, sink),
        Some(byte) => Err(Fault::Junk { position: stream.position, byte }),
    }
}

/// The boot configuration at the end: data, `u32` size, `u32` checksum, magic, and up to three bytes of padding by GRUB
/// (Linux 6.12 `init/main.c` `get_boot_config_from_initrd`).
fn find_bootconfig(image: &[u8]) -> Option<Range<usize>> {
    let magic = (0..4).find_map(|pad| {
        let at = image.len().checked_sub(BOOTCONFIG.len() + pad)?;
        image.get(at..)?.starts_with(BOOTCONFIG).then_some(at)
    })?;
    let header = magic.checked_sub(8)?;
    let size = image.get(header..)?.first_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    Some(header.checked_sub(size)?..image.len())
}
