//! The two lz4 frames.

use std::io::{self, Read};

use lz4_flex::frame::FrameDecoder;

/// Unpacked size of a block of the legacy frame (lz4 `lz4_Frame_format.md`, "Legacy frame").
const BLOCK: usize = 8 << 20;
const LEGACY_MAGIC: u32 = 0x184c_2102;

fn damaged(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// Legacy frame: magic, then blocks of `u32` size and data; a zero size, the magic again, or the end of the file ends it.
pub(super) struct LegacyLz4<'a, 'b> {
    rest: &'a mut &'b [u8],
    block: Vec<u8>,
    start: usize,
    end: usize,
    finished: bool,
}

impl<'a, 'b> LegacyLz4<'a, 'b> {
    pub(super) fn new(rest: &'a mut &'b [u8]) -> Self {
        *rest = rest.get(4..).unwrap_or_default();
        Self { rest, block: vec![0; BLOCK], start: 0, end: 0, finished: false }
    }

    fn next_size(&mut self) -> io::Result<Option<usize>> {
        loop {
            let Some((size, tail)) = self.rest.split_first_chunk::<4>() else {
                if self.rest.iter().any(|byte| *byte != 0) {
                    return Err(damaged("lz4 block size cut off"));
                }
                *self.rest = &[];
                return Ok(None);
            };
            *self.rest = tail;
            match u32::from_le_bytes(*size) {
                // Zero padding behind the last block: the kernel stops there (Linux 6.12 `lib/decompress_unlz4.c`).
                0 => return Ok(None),
                LEGACY_MAGIC => {}
                size => return Ok(usize::try_from(size).ok()),
            }
        }
    }

    fn next_block(&mut self) -> io::Result<()> {
        let Some(size) = self.next_size()? else {
            self.finished = true;
            return Ok(());
        };
        if size > lz4_flex::block::get_maximum_output_size(BLOCK) {
            return Err(damaged(format!("lz4 block of {size} bytes")));
        }
        let Some((packed, tail)) = self.rest.split_at_checked(size) else {
            return Err(damaged("lz4 block cut off"));
        };
        *self.rest = tail;
        self.start = 0;
        self.end = lz4_flex::block::decompress_into(packed, &mut self.block).map_err(|error| damaged(error.to_string()))?;
        Ok(())
    }
}

impl Read for LegacyLz4<'_, '_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        while self.start == self.end && !self.finished {
            self.next_block()?;
        }
        let mut ready = self.block.get(self.start..self.end).unwrap_or_default();
        let count = ready.read(output)?;
        self.start += count;
        Ok(count)
    }
}

/// Input that remembers having been read past its end.
struct Watched<'a, 'b> {
    rest: &'a mut &'b [u8],
    starved: bool,
}

impl Read for Watched<'_, '_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.rest.read(output)?;
        self.starved |= count == 0 && !output.is_empty();
        Ok(count)
    }
}

/// One modern frame. `lz4_flex` takes a frame cut off between blocks as complete and reads on into a following one;
/// here the first is an error and the second does not happen.
pub(super) struct FrameLz4<'a, 'b> {
    inner: FrameDecoder<Watched<'a, 'b>>,
    finished: bool,
}

impl<'a, 'b> FrameLz4<'a, 'b> {
    pub(super) fn new(rest: &'a mut &'b [u8]) -> Self {
        Self { inner: FrameDecoder::new(Watched { rest, starved: false }), finished: false }
    }
}

impl Read for FrameLz4<'_, '_> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if self.finished || output.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(output)?;
        if count == 0 {
            self.finished = true;
            if self.inner.get_ref().starved {
                return Err(damaged("lz4 frame cut off"));
            }
        }
        Ok(count)
    }
}
