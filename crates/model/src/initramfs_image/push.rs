//! `Read` over decoders that are fed slices and say exactly how much they used.
//!
//! The ready-made lzma reader reads ahead, which would lose the place where the next segment begins.

use std::io::{self, Read};

use lzma_rust2::{Action, LzmaStream, Status, StreamResult, XzStream};

/// Memory a decoder may take for its dictionary, in KiB. `xz -9` needs 65 MiB.
pub(super) const MEMORY_KIB: u32 = 256 * 1024;

/// A decoder that is fed slices.
pub(super) trait Push {
    fn process(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<StreamResult>;
    /// Bytes swallowed that lie behind the end of the stream.
    fn unused(&self) -> usize;
}

impl Push for XzStream {
    fn process(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<StreamResult> {
        Self::process(self, input, output, Action::Finish)
    }

    fn unused(&self) -> usize {
        0
    }
}

impl Push for LzmaStream {
    fn process(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<StreamResult> {
        Self::process(self, input, output, Action::Finish)
    }

    fn unused(&self) -> usize {
        self.unused_input().len()
    }
}

/// Reads what a [`Push`] makes of `rest`, and leaves in `rest` what follows the stream.
pub(super) struct PushReader<'a, 'b, P> {
    whole: &'b [u8],
    used: usize,
    rest: &'a mut &'b [u8],
    push: P,
    finished: bool,
}

impl<'a, 'b, P: Push> PushReader<'a, 'b, P> {
    pub(super) fn new(rest: &'a mut &'b [u8], push: P) -> Self {
        Self { whole: rest, used: 0, rest, push, finished: false }
    }

    fn from(&self, at: usize) -> &'b [u8] {
        self.whole.get(at..).unwrap_or_default()
    }
}

impl<P: Push> Read for PushReader<'_, '_, P> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        while !self.finished && !output.is_empty() {
            let step = self.push.process(self.from(self.used), output)?;
            self.used += step.bytes_consumed;
            if step.status == Status::StreamEnd {
                self.finished = true;
                *self.rest = self.from(self.used.saturating_sub(self.push.unused()));
            }
            if step.bytes_produced > 0 {
                return Ok(step.bytes_produced);
            }
            if step.bytes_consumed == 0 && !self.finished {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}
