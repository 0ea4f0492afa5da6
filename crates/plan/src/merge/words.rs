//! The words of a line, and merging them where both sides changed the same line.

use super::diff3::{Overlap, Part, Piece, diff3};
use super::kind::Kind;

/// Characters that are words by themselves, and end one.
const SIGNS: &[u8] = b"\"'()`\n";

/// Cuts text into words. The last piece stands for the end and has no text.
pub(super) fn words(text: &[u8], kind: Kind) -> Vec<Piece> {
    let mut list = Vec::new();
    let mut rest = text;
    loop {
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
        let (glue, tail) = rest.split_at(blanks);
        let first = list.last().is_none_or(|piece: &Piece| piece.text == b"\n");
        let length = length(tail, first && kind == Kind::Shell);
        let (word, tail) = tail.split_at(length);
        list.push(Piece { text: word.to_vec(), glue: glue.to_vec() });
        if word.is_empty() {
            return list;
        }
        rest = tail;
    }
}

fn length(text: &[u8], may_assign: bool) -> usize {
    if text.first().is_some_and(|byte| SIGNS.contains(byte)) {
        return 1;
    }
    let end = text.iter().position(|byte| SIGNS.contains(byte) || matches!(byte, b' ' | b'\t' | b'\r')).unwrap_or(text.len());
    let name = text.iter().take(end).take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let tail = text.get(name..end).unwrap_or_default();
    let equals = if tail.starts_with(b"+=") { 2 } else { usize::from(tail.starts_with(b"=")) };
    if may_assign && name > 0 && equals > 0 { name + equals } else { end }
}

/// A quote, a parenthesis or a line end.
pub(super) fn is_sign(text: &[u8]) -> bool {
    matches!(text, [byte] if SIGNS.contains(byte))
}

/// A word that needs a blank between itself and the next; the head of an assignment does not.
fn is_word(text: &[u8]) -> bool {
    !text.is_empty() && !is_sign(text) && !text.ends_with(b"=")
}

/// Merges the words of a range of lines.
pub(super) fn merge_words(base: &[u8], back: &[u8], now: &[u8], kind: Kind) -> Option<Vec<u8>> {
    let parts = diff3(&words(base, kind), &words(back, kind), &words(now, kind), &settle).ok()?;
    let mut out = Vec::new();
    let mut after_word = false;
    // What goes takes the blanks before it along; where it had none, as behind a quote, those of the next word go.
    let mut first_gone: Option<Vec<u8>> = None;
    for part in parts {
        let (text, glue) = match part {
            Part::Gone(piece) => {
                first_gone.get_or_insert(piece.glue);
                continue;
            }
            Part::Kept { text, glues: [_, _, now] } => (text, now),
            Part::Added(piece) | Part::Settled(piece) => (piece.text, piece.glue),
        };
        let bare = first_gone.take().is_some_and(|glue| glue.is_empty()) && !after_word && is_word(&text);
        if !bare {
            out.extend_from_slice(&glue);
        }
        if is_word(&text) && after_word && (bare || glue.is_empty()) {
            out.push(b' ');
        }
        after_word = is_word(&text);
        out.extend(text);
    }
    Some(out)
}

/// Where a word of ours was changed: a list of ids loses ours and keeps the others, and a word that was put in its place stays.
fn settle(overlap: &Overlap) -> Option<Vec<Piece>> {
    let [base] = overlap.base.as_slice() else { return None };
    let name = |piece: &Piece| piece.text.split(|byte| *byte == b'=').next().map(<[u8]>::to_vec);
    let at = overlap.now.iter().position(|piece| name(piece) == name(base));
    let back = match overlap.back.as_slice() {
        [] => None,
        [back] if name(back) == name(base) => Some(back),
        _ => return None,
    };
    let Some(at) = at else { return back.is_none().then(|| overlap.now.clone()) };
    let mut settled = overlap.now.clone();
    let text = merge_ids(&base.text, back.map_or(b"", |back| &back.text), &settled.get(at)?.text)?;
    match text {
        Some(text) => settled.get_mut(at)?.text = text,
        None => _ = settled.remove(at),
    }
    Some(settled)
}

/// The items of `….ids=LIST`; `None` for any other word.
pub(super) fn ids(word: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let equals = word.iter().position(|byte| *byte == b'=')?;
    let (name, list) = word.split_at(equals + 1);
    let is_list = name == b"ids=" || name.ends_with(b".ids=");
    is_list.then(|| (name, list.split(|byte| *byte == b',').filter(|item| !item.is_empty()).collect()))
}

/// `None` inside where nothing is left and there was nothing before.
#[allow(clippy::option_option, reason = "not mergeable, and merged to nothing, are two answers")]
fn merge_ids(base: &[u8], back: &[u8], now: &[u8]) -> Option<Option<Vec<u8>>> {
    let (_, base) = ids(base)?;
    let (name, now) = ids(now)?;
    let before = ids(back).map(|(_, list)| list);
    let back = before.clone().unwrap_or_default();
    let mut list: Vec<&[u8]> = now.into_iter().filter(|item| back.contains(item) || !base.contains(item)).collect();
    for item in back.iter().filter(|item| !base.contains(item)) {
        if !list.contains(item) {
            list.push(item);
        }
    }
    if list.is_empty() && before.is_none() {
        return Some(None);
    }
    Some(Some([name, &list.join(&b',')].concat()))
}
