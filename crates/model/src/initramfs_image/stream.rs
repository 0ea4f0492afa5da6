//! A buffered, counted and bounded view of the unpacked bytes of one segment.

use std::io::{self, Read};

use super::error::Fault;
use super::limits::Budget;

const BUFFER: usize = 64 * 1024;

/// Unpacked bytes of one segment, drawn from the shared budget.
pub(super) struct Unpacked<'a> {
    inner: Box<dyn Read + 'a>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Unpacked bytes handed out so far.
    pub(super) position: u64,
    pub(super) budget: &'a mut Budget,
}

impl<'a> Unpacked<'a> {
    pub(super) fn new(inner: Box<dyn Read + 'a>, budget: &'a mut Budget) -> Self {
        Self { inner, buffer: vec![0; BUFFER], start: 0, end: 0, position: 0, budget }
    }

    /// Bytes at hand; empty only at the end of the data.
    fn fill(&mut self) -> Result<&[u8], Fault> {
        if self.start == self.end {
            self.start = 0;
            self.end = self.read_inner()?;
            self.charge()?;
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    fn read_inner(&mut self) -> Result<usize, Fault> {
        loop {
            match self.inner.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Fault::Damaged { position: self.position, reason: error.to_string() });
                }
                Ok(count) => return Ok(count),
            }
        }
    }

    fn charge(&mut self) -> Result<(), Fault> {
        let left = self.budget.unpacked_left.checked_sub(self.end as u64);
        self.budget.unpacked_left = left.ok_or(Fault::Limit { what: "unpacked bytes", limit: self.budget.limits.max_total_unpacked })?;
        Ok(())
    }

    fn advance(&mut self, count: usize) {
        self.start += count;
        self.position += count as u64;
    }

    /// The next byte without taking it, `None` at the end.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, Fault> {
        Ok(self.fill()?.first().copied())
    }

    /// Passes `count` bytes in pieces to `each`. `inside` names what is read, for the error.
    pub(super) fn pass(&mut self, mut count: u64, inside: &'static str, mut each: impl FnMut(&[u8])) -> Result<(), Fault> {
        while count > 0 {
            let piece = self.fill()?;
            let want = usize::try_from(count).unwrap_or(usize::MAX).min(piece.len());
            each(piece.get(..want).unwrap_or_default());
            if want == 0 {
                return Err(Fault::Truncated { position: self.position, inside });
            }
            self.advance(want);
            count -= want as u64;
        }
        Ok(())
    }

    /// Takes `count` bytes; the caller has bounded `count`.
    pub(super) fn take(&mut self, count: u64, inside: &'static str) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        self.pass(count, inside, |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    /// Skips zero bytes.
    pub(super) fn skip_zeros(&mut self) -> Result<(), Fault> {
        loop {
            let piece = self.fill()?;
            let zeros = piece.iter().take_while(|byte| **byte == 0).count();
            if zeros == 0 {
                return Ok(());
            }
            self.advance(zeros);
        }
    }
}
