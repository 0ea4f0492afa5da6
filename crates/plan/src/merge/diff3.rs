//! Three-way merge of pieces: lines of a file, or words of a line.
//!
//! Two sides start from a common base: `back` takes our change out, `now` is what others made of it. Changes of single pieces that do not
//! overlap are both made, also where they touch: what is added beside a piece that goes stays where it is.

use similar::{Algorithm, DiffOp, capture_diff_slices};
use std::ops::Range;

/// A line with its line end behind it, or a word with the blanks before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: Vec<u8>,
    pub(super) glue: Vec<u8>,
}

/// A piece of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// In the base, with its glue there, in `back` and in `now`.
    Kept { text: Vec<u8>, glues: [Vec<u8>; 3] },
    /// Only one side has it.
    Added(Piece),
    /// `back` takes it out; as it stands in `now`.
    Gone(Piece),
    /// Both sides changed it, and it was settled.
    Settled(Piece),
}

/// Both sides changed these pieces of the base, each in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Overlap {
    pub(super) base: Vec<Piece>,
    pub(super) back: Vec<Piece>,
    pub(super) now: Vec<Piece>,
    /// Index of the first of them in the base.
    pub(super) at: usize,
}

/// Decides about an overlap; `None` where it cannot be told what is right.
pub(super) type Settle<'a> = &'a dyn Fn(&Overlap) -> Option<Vec<Piece>>;

/// One side's change of a range of the base: one piece, or none, where that can be told.
struct Edit {
    base: Range<usize>,
    side: Range<usize>,
}

/// One side: its pieces, its edits in order, and where the unchanged pieces of the base are in it.
struct Side<'a> {
    pieces: &'a [Piece],
    edits: Vec<Edit>,
    found: Vec<Option<usize>>,
}

impl<'a> Side<'a> {
    fn new(base: &[Piece], pieces: &'a [Piece]) -> Self {
        let texts = |list: &'a [Piece]| list.iter().map(|piece| piece.text.as_slice()).collect::<Vec<_>>();
        let old: Vec<&[u8]> = base.iter().map(|piece| piece.text.as_slice()).collect();
        let mut side = Self { pieces, edits: Vec::new(), found: vec![None; base.len()] };
        for op in capture_diff_slices(Algorithm::Myers, &old, &texts(pieces)) {
            side.take(op);
        }
        side
    }

    fn take(&mut self, op: DiffOp) {
        let (base, side) = (op.old_range(), op.new_range());
        if let DiffOp::Equal { .. } = op {
            for (old, new) in base.zip(side) {
                if let Some(slot) = self.found.get_mut(old) {
                    *slot = Some(new);
                }
            }
        } else if side.is_empty() {
            self.edits.extend(base.map(|at| Edit { base: at..at + 1, side: side.clone() }));
        } else if base.len() == side.len() {
            self.edits.extend(base.zip(side).map(|(old, new)| Edit { base: old..old + 1, side: new..new + 1 }));
        } else {
            self.edits.push(Edit { base, side });
        }
    }

    /// What this side has in the place of a range of the base.
    fn region(&self, base: &[Piece], range: &Range<usize>, edits: &[&Edit]) -> Vec<Piece> {
        let mut list = Vec::new();
        let mut at = range.start;
        for edit in edits {
            list.extend((at..edit.base.start).filter_map(|index| self.unchanged(base, index)));
            list.extend(self.pieces.get(edit.side.clone()).unwrap_or_default().iter().cloned());
            at = edit.base.end;
        }
        list.extend((at..range.end).filter_map(|index| self.unchanged(base, index)));
        list
    }

    /// A piece of the base as this side writes it.
    fn unchanged(&self, base: &[Piece], index: usize) -> Option<Piece> {
        let here = self.found.get(index).copied().flatten().and_then(|at| self.pieces.get(at));
        here.or_else(|| base.get(index)).cloned()
    }

    fn glue(&self, base: &[Piece], index: usize) -> Vec<u8> {
        self.unchanged(base, index).map(|piece| piece.glue).unwrap_or_default()
    }
}

/// True where two changes cannot be made one beside the other.
fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => a.start == b.start,
        _ => a.start < b.end && b.start < a.end,
    }
}

/// Merges.
pub(super) fn diff3(base: &[Piece], back: &[Piece], now: &[Piece], settle: Settle<'_>) -> Result<Vec<Part>, Overlap> {
    let (back, now) = (Side::new(base, back), Side::new(base, now));
    let mut merge = Merge { base, back: &back, now: &now, settle, parts: Vec::new() };
    let (mut ours, mut theirs) = (back.edits.iter().peekable(), now.edits.iter().peekable());
    let mut at = 0;
    loop {
        let firsts = [ours.peek(), theirs.peek()].into_iter().flatten().map(|edit| edit.base.clone());
        let Some(mut range) = firsts.min_by_key(|range| (range.start, range.end)) else { break };
        let (mut mine, mut others): (Vec<&Edit>, Vec<&Edit>) = (Vec::new(), Vec::new());
        loop {
            let touches = |edit: &&Edit| edit.base == range || overlap(&edit.base, &range);
            let next = [ours.next_if(touches), theirs.next_if(touches)];
            for edit in next.into_iter().flatten() {
                range = range.start.min(edit.base.start)..range.end.max(edit.base.end);
            }
            let [next_mine, next_other] = next;
            mine.extend(next_mine);
            others.extend(next_other);
            if next_mine.is_none() && next_other.is_none() {
                break;
            }
        }
        merge.keep(at..range.start);
        at = at.max(range.end);
        merge.join(range, &mine, &others)?;
    }
    merge.keep(at..base.len());
    Ok(merge.parts)
}

/// What comes in the place of pieces one by one, with the glue that others gave to those.
fn reglued(base: &[Piece], back: Vec<Piece>, now: &[Piece]) -> Vec<Piece> {
    if back.len() != base.len() || now.len() != base.len() {
        return back;
    }
    let glued = |((old, piece), new): ((&Piece, Piece), &Piece)| {
        if new.glue == old.glue { piece } else { Piece { glue: new.glue.clone(), ..piece } }
    };
    base.iter().zip(back).zip(now).map(glued).collect()
}

/// A merge at work.
struct Merge<'a> {
    base: &'a [Piece],
    back: &'a Side<'a>,
    now: &'a Side<'a>,
    settle: Settle<'a>,
    parts: Vec<Part>,
}

impl Merge<'_> {
    /// What nobody changed.
    fn keep(&mut self, range: Range<usize>) {
        for index in range {
            let Some(piece) = self.base.get(index) else { continue };
            let glues = [piece.glue.clone(), self.back.glue(self.base, index), self.now.glue(self.base, index)];
            self.parts.push(Part::Kept { text: piece.text.clone(), glues });
        }
    }

    /// Puts the changes of one range into the result.
    fn join(&mut self, range: Range<usize>, mine: &[&Edit], others: &[&Edit]) -> Result<(), Overlap> {
        let base = self.base.get(range.clone()).unwrap_or_default();
        let back = self.back.region(self.base, &range, mine);
        let now = self.now.region(self.base, &range, others);
        if mine.is_empty() {
            self.take_theirs(range.start, base, now);
        } else if others.is_empty() {
            let here: Vec<Piece> = range.filter_map(|index| self.now.unchanged(self.base, index)).collect();
            let back = reglued(base, back, &here);
            self.parts.extend(here.into_iter().map(Part::Gone));
            self.parts.extend(back.into_iter().map(Part::Added));
        } else if back == now {
            self.parts.extend(now.into_iter().map(Part::Settled));
        } else {
            let found = Overlap { base: base.to_vec(), back, now, at: range.start };
            let Some(settled) = (self.settle)(&found) else { return Err(found) };
            self.parts.extend(found.now.into_iter().filter(|piece| !settled.contains(piece)).map(Part::Gone));
            self.parts.extend(settled.into_iter().map(Part::Settled));
        }
        Ok(())
    }

    fn take_theirs(&mut self, at: usize, base: &[Piece], now: Vec<Piece>) {
        match (now.as_slice(), base) {
            // A changed line keeps the line end that `back` gives it.
            ([new], [old]) => {
                let glues = [old.glue.clone(), self.back.glue(self.base, at), new.glue.clone()];
                self.parts.push(Part::Kept { text: new.text.clone(), glues });
            }
            _ => self.parts.extend(now.into_iter().map(Part::Added)),
        }
    }
}
