//! Values with provenance: each stretch of bytes knows where in which file it was written.

use super::error::Unknown;
use super::syntax::{Quote, Span};

/// Where a stretch of a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Index of the file among those evaluated.
    pub file: usize,
    /// Line in that file, from 1.
    pub line: usize,
    /// Bytes in that file; longer than the value's bytes for an escape.
    pub span: Span,
    /// How it is quoted there.
    pub quote: Quote,
}

/// A stretch of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// What the shell stores; for a hole, the source text that stands for it.
    pub bytes: Vec<u8>,
    /// Where it was written, if it was written in one place.
    pub origin: Option<Origin>,
    /// Set when these bytes are not known.
    pub hole: Option<Unknown>,
}

/// A value, or one element of an array.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// Its stretches in order.
    pub chunks: Vec<Chunk>,
}

impl Text {
    /// The value, if all of it is known.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let known = self.hole().is_none();
        known.then(|| self.raw())
    }

    /// The value with the source text of its holes in their place.
    pub(super) fn raw(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect()
    }

    /// Why a part of it is not known, if so.
    pub fn hole(&self) -> Option<&Unknown> {
        self.chunks.iter().find_map(|chunk| chunk.hole.as_ref())
    }

    /// Number of bytes.
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.len()).sum()
    }

    /// Where the bytes of this range of the value were written; `None` if some were not, or half an escape is asked for.
    pub fn origins(&self, range: &Span) -> Option<Vec<Origin>> {
        let mut found = Vec::new();
        let mut start = 0;
        for chunk in &self.chunks {
            let end = start + chunk.bytes.len();
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                let origin = chunk.origin.as_ref().filter(|_| chunk.hole.is_none())?;
                let whole = from == start && to == end;
                if origin.span.len() == chunk.bytes.len() {
                    let base = origin.span.start;
                    found.push(Origin { span: base + (from - start)..base + (to - start), ..origin.clone() });
                } else if whole {
                    found.push(origin.clone());
                } else {
                    return None;
                }
            }
            start = end;
        }
        Some(found)
    }
}
