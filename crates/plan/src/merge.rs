//! Takes our change out of a file that others changed since: a three-way merge, line by line, and where both sides changed one line, word by word.
//!
//! The result is looked at again: nothing that we wrote may be left of it, and nothing that others wrote may be missing. In doubt it is a clash.

mod diff3;
mod kind;
#[cfg(test)]
mod tests;
mod words;

use crate::edit::shell::{Dialect, parse};
use diff3::{Overlap, Part, Piece, diff3};
use kind::{Kind, is_comment};
use words::merge_words;

/// Lines that we and others changed, each in another way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// Line in the file as we left it, from 1; `None` where it is not about one place.
    pub line: Option<usize>,
    /// As it was before our change.
    pub before: Vec<u8>,
    /// As we left it.
    pub ours: Vec<u8>,
    /// As it is now.
    pub now: Vec<u8>,
}

/// The file as it is `now`, with the change from `before` to `ours` taken out. What others changed in it stays, to the byte.
///
/// # Errors
/// Others changed what we changed, so that it cannot be told what is to be left.
pub fn take_out(path: &str, before: &[u8], ours: &[u8], now: &[u8]) -> Result<Vec<u8>, Clash> {
    if now == ours || before == now {
        return Ok(before.to_vec());
    }
    if before == ours {
        return Ok(now.to_vec());
    }
    let kind = Kind::of(path);
    let parts = diff3(&lines(ours), &lines(before), &lines(now), &|overlap| settle(overlap, kind)).map_err(clash)?;
    let merged = glued(parts, ours, now);
    if is_sound(kind, [before, ours, now], &merged) {
        Ok(merged)
    } else {
        Err(Clash { line: None, before: before.to_vec(), ours: ours.to_vec(), now: now.to_vec() })
    }
}

fn clash(overlap: Overlap) -> Clash {
    let text = |pieces: &[Piece]| joined(pieces);
    Clash { line: Some(overlap.at + 1), before: text(&overlap.back), ours: text(&overlap.base), now: text(&overlap.now) }
}

/// Lines without their line ends, which are their glue.
fn lines(bytes: &[u8]) -> Vec<Piece> {
    let cut = |line: &[u8]| {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").filter(|_| line.ends_with(b"\n")).unwrap_or(text);
        Piece { text: text.to_vec(), glue: line.get(text.len()..).unwrap_or_default().to_vec() }
    };
    bytes.split_inclusive(|byte| *byte == b'\n').map(cut).collect()
}

fn joined(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| [piece.text.as_slice(), piece.glue.as_slice()]).flatten().copied().collect()
}

/// The line end that most lines have.
fn line_end(bytes: &[u8]) -> &'static [u8] {
    let all = bytes.iter().filter(|byte| **byte == b'\n').count();
    let carriage = bytes.windows(2).filter(|pair| pair == b"\r\n").count();
    if carriage * 2 > all { b"\r\n" } else { b"\n" }
}

/// Puts the lines together. A line keeps the line end that was given to it last; only the last one may have none.
fn glued(parts: Vec<Part>, ours: &[u8], now: &[u8]) -> Vec<u8> {
    let converted = line_end(ours) != line_end(now);
    let mut list: Vec<Piece> = Vec::new();
    for part in parts {
        list.push(match part {
            Part::Gone(_) => continue,
            Part::Kept { text, glues: [old, back, new] } => Piece { text, glue: if new == old || back.is_empty() { back } else { new } },
            Part::Added(piece) if converted && !piece.glue.is_empty() => Piece { glue: line_end(now).to_vec(), ..piece },
            Part::Added(piece) | Part::Settled(piece) => piece,
        });
    }
    let last = list.len().saturating_sub(1);
    for piece in list.iter_mut().take(last).filter(|piece| piece.glue.is_empty()) {
        piece.glue = line_end(now).to_vec();
    }
    joined(&list)
}

/// Lines that both sides changed, word by word.
fn settle(overlap: &Overlap, kind: Kind) -> Option<Vec<Piece>> {
    let (base, now) = (joined(&overlap.base), joined(&overlap.now));
    let back = joined(&overlap.back);
    if overlap.now.is_empty() {
        // Others removed the line, and our words went with it.
        let (old, new) = (kind.says(&back), kind.says(&base));
        return old.iter().all(|word| new.contains(word)).then(Vec::new);
    }
    if !overlap.back.is_empty() {
        return merge_words(&base, &back, &now, kind).map(|text| lines(&text));
    }
    // The whole line is ours, and others wrote into it: their words stay.
    let [own] = overlap.base.as_slice() else { return None };
    if is_comment(&own.text) || own.text.trim_ascii().is_empty() {
        return Some(overlap.now.clone());
    }
    let frame = [kind.frame(&own.text)?, own.glue.clone()].concat();
    let text = merge_words(&base, &frame, &now, kind)?;
    Some(if kind.says(&text).is_empty() { Vec::new() } else { lines(&text) })
}

/// How often a word is there.
fn count(list: &[Vec<u8>], word: &[u8]) -> usize {
    list.iter().filter(|other| *other == word).count()
}

/// What we added is gone, as often as we added it; everything else that is there now is there still; and a shell can read it if it could before.
fn is_sound(kind: Kind, [before, ours, now]: [&[u8]; 3], merged: &[u8]) -> bool {
    let [before, ours, present, left] = [before, ours, now, merged].map(|text| kind.says(text));
    let right = |word: &Vec<u8>| {
        let added = count(&ours, word).saturating_sub(count(&before, word));
        let (present, left) = (count(&present, word), count(&left, word));
        if added > 0 { left == present.saturating_sub(added) } else { left >= present }
    };
    let readable = |text: &[u8]| parse(text, Dialect::Bash).is_ok();
    ours.iter().chain(&present).all(right) && (kind != Kind::Shell || !readable(now) || readable(merged))
}

/// The words of a kernel command line, ids one by one.
pub fn words_of(line: &[u8]) -> Vec<Vec<u8>> {
    Kind::CommandLine.says(line)
}

/// A kernel command line without these words, wherever they stand; of a list of ids without those.
pub fn without_words(line: &[u8], words: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in words::words(line, Kind::CommandLine) {
        let text = match words::ids(&piece.text) {
            _ if words.contains(&piece.text) => Vec::new(),
            Some((name, items)) => {
                let left: Vec<&[u8]> = items.into_iter().filter(|item| !words.contains(&[name, item].concat())).collect();
                if left.is_empty() { Vec::new() } else { [name, &left.join(&b',')].concat() }
            }
            None => piece.text,
        };
        if !text.is_empty() {
            let glue: &[u8] = if out.is_empty() { b"" } else { &piece.glue };
            out.extend([glue, &text].concat());
        }
    }
    out
}

/// Words that are in the second command line and not in the first.
pub fn added_words(before: &[u8], after: &[u8]) -> Vec<Vec<u8>> {
    let before = words_of(before);
    words_of(after).into_iter().filter(|word| !before.contains(word)).collect()
}
