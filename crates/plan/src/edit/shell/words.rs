//! Editing the words of a string: `GRUB_CMDLINE_LINUX_DEFAULT="quiet splash"`.

use super::error::CannotEdit;
use super::splice::{Before, own_line, replaced, with_line};
use super::state::Value;
use super::syntax::{AssignValue, PartKind, Quote, Shells, Span, Word, slice};
use super::text::{Origin, Text};
use crate::edit::cmdline;

/// How a string is cut into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// Kernel command line: double quotes protect blanks, ` -- ` ends the kernel's part.
    Kernel,
    /// At blanks, as mkinitcpio does with a string of modules.
    Blank,
}

/// Which end of the value words go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Front,
    Back,
}

/// Adds words to the end of a kernel command line held in `var`, before ` -- ` if it has one.
///
/// A plain assignment is changed in place; where that is impossible, and where the value is computed, a line
/// `VAR="$VAR words"` goes to the end of the file. An unset variable gets a line `VAR="words"`.
///
/// # Errors
/// See [`CannotEdit`]; among them a value that a conditional may change, and shells that disagree about it.
pub fn append_words(bytes: &[u8], var: &str, words: &[&str], shells: Shells) -> Result<Vec<u8>, CannotEdit> {
    let before = Before::read(bytes, var, shells)?;
    insert(&before, words, End::Back, Grammar::Kernel)
}

/// Adds a line `VAR="$VAR words"` to a file that does not set the variable, for files that are sourced before it may.
///
/// # Errors
/// See [`CannotEdit`].
pub fn append_line(bytes: &[u8], var: &str, words: &[&str], shells: Shells) -> Result<Vec<u8>, CannotEdit> {
    let before = Before::read(bytes, var, shells)?;
    check_words(&before, words, Grammar::Kernel)?;
    let joined = words.join(" ").into_bytes();
    let line = assignment(var, format!("${var} ").as_bytes(), &joined);
    before.choose([with_line(bytes, &line)], |value| matches!(value, Value::Scalar(text) if text.raw().ends_with(&joined)))
}

/// Removes the last occurrence of the word, with the blank beside it. A line that is left as `VAR="$VAR"` goes too.
///
/// # Errors
/// See [`CannotEdit`]; among them a word that does not come after every computed part of the value.
pub fn remove_word(bytes: &[u8], var: &str, word: &str, shells: Shells) -> Result<Vec<u8>, CannotEdit> {
    let before = Before::read(bytes, var, shells)?;
    remove(&before, word, Grammar::Kernel)
}

/// Puts a word in the place of the last occurrence of another.
///
/// # Errors
/// See [`CannotEdit`].
pub fn replace_word(bytes: &[u8], var: &str, old: &str, new: &str, shells: Shells) -> Result<Vec<u8>, CannotEdit> {
    let before = Before::read(bytes, var, shells)?;
    check_words(&before, &[new], Grammar::Kernel)?;
    let found = Found::find(&before, old, Grammar::Kernel)?;
    let mut wanted = found.words.clone();
    if let Some(slot) = wanted.get_mut(found.index) {
        *slot = new.as_bytes().to_vec();
    }
    let origins = found.text.origins(&found.span).unwrap_or_default();
    let Some(first) = origins.first() else {
        return Err(before.no_safe_form());
    };
    let plain = new.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.,:/@%+-=".contains(&b));
    let text = match first.quote {
        Quote::None if plain => Some(new.as_bytes().to_vec()),
        quote => quoted(new.as_bytes(), quote),
    };
    let cut = without(bytes, &origins);
    let candidate = text.map(|text| replaced(&cut, &(first.span.start..first.span.start), &text));
    before.choose(candidate, |value| words_of(value, Grammar::Kernel).as_ref() == Some(&wanted))
}

/// Cuts a value into words.
fn tokens(value: &[u8], grammar: Grammar) -> Vec<Span> {
    match grammar {
        Grammar::Kernel => cmdline::tokens(value),
        Grammar::Blank => {
            let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\n');
            let mut found = Vec::new();
            let mut at = 0;
            for word in value.split(blank) {
                if !word.is_empty() {
                    found.push(at..at + word.len());
                }
                at += word.len() + 1;
            }
            found
        }
    }
}

/// The words of a value. What comes before the first blank after a computed part counts as one word: only a shell
/// could cut it.
fn spans(text: &Text, grammar: Grammar) -> Vec<Span> {
    let raw = text.raw();
    let mut end = 0;
    let mut after_hole = 0;
    for chunk in &text.chunks {
        end += chunk.bytes.len();
        if chunk.hole.is_some() {
            after_hole = end;
        }
    }
    let opaque = text.hole().map(|_| {
        let mut quoted = false;
        let end = raw.iter().enumerate().position(|(at, byte)| {
            quoted ^= *byte == b'"';
            at >= after_hole && *byte == b' ' && !quoted
        });
        end.unwrap_or(raw.len())
    });
    let from = opaque.unwrap_or(0);
    let rest = tokens(raw.get(from..).unwrap_or_default(), grammar);
    let shifted = rest.into_iter().map(|span| span.start + from..span.end + from);
    opaque.map(|end| 0..end).into_iter().chain(shifted).collect()
}

fn words_of(value: &Value, grammar: Grammar) -> Option<Vec<Vec<u8>>> {
    match value {
        Value::Unset => Some(Vec::new()),
        Value::Scalar(text) => {
            let raw = text.raw();
            Some(spans(text, grammar).iter().map(|span| slice(&raw, span).to_vec()).collect())
        }
        _ => None,
    }
}

fn check_words(before: &Before<'_>, words: &[&str], grammar: Grammar) -> Result<(), CannotEdit> {
    for word in words {
        let one = matches!(tokens(word.as_bytes(), grammar).as_slice(), [span] if *span == (0..word.len()));
        let quotes = word.bytes().filter(|b| *b == b'"').count();
        if !one || quotes % 2 == 1 || word.bytes().any(|b| b.is_ascii_control()) || *word == "--" {
            let (var, line) = (before.var.to_owned(), before.line());
            return Err(CannotEdit::NotAWord { var, word: (*word).to_owned(), line });
        }
    }
    Ok(())
}

/// Adds words at one end of a string.
pub(super) fn insert(before: &Before<'_>, words: &[&str], end: End, grammar: Grammar) -> Result<Vec<u8>, CannotEdit> {
    check_words(before, words, grammar)?;
    if words.is_empty() {
        return Ok(before.bytes.to_vec());
    }
    let joined = words.join(" ").into_bytes();
    let text = match before.value() {
        Value::Unset => {
            let line = assignment(before.var, b"", &joined);
            return before.choose([with_line(before.bytes, &line)], |value| scalar_is(value, &joined));
        }
        Value::Scalar(text) => text,
        Value::Array(_) | Value::Unknown(_) => return Err(before.no_safe_form()),
    };
    let self_reference = assignment(before.var, format!("${} ", before.var).as_bytes(), &joined);
    let at_end = with_line(before.bytes, &self_reference);
    let known = text.chunks.iter().filter(|chunk| chunk.hole.is_none());
    let quotes = known.flat_map(|chunk| &chunk.bytes).filter(|b| **b == b'"').count();
    if grammar == Grammar::Kernel && quotes % 2 == 1 {
        return Err(CannotEdit::OpenQuote { var: before.var.to_owned(), line: before.line() });
    }
    let Some(value) = text.bytes() else {
        let mut raw = text.raw();
        raw.push(b' ');
        raw.extend_from_slice(&joined);
        return before.choose([at_end], |value| matches!(value, Value::Scalar(text) if text.raw() == raw));
    };
    let spans = tokens(&value, grammar);
    let index = match end {
        End::Front => 0,
        End::Back => spans.iter().position(|span| kernel_end(&value, span, grammar)).unwrap_or(spans.len()),
    };
    let mut wanted: Vec<Vec<u8>> = spans.iter().map(|span| slice(&value, span).to_vec()).collect();
    wanted.splice(index..index, words.iter().map(|word| word.as_bytes().to_vec()));
    let in_place = in_place(before, text, &spans, index, &joined);
    before.choose(in_place.into_iter().chain([at_end]), |value| words_of(value, grammar).as_ref() == Some(&wanted))
}

fn kernel_end(value: &[u8], span: &Span, grammar: Grammar) -> bool {
    grammar == Grammar::Kernel && slice(value, span) == b"--"
}

fn scalar_is(value: &Value, wanted: &[u8]) -> bool {
    matches!(value, Value::Scalar(text) if text.bytes().as_deref() == Some(wanted))
}

/// `VAR="head words"`.
fn assignment(var: &str, head: &[u8], words: &[u8]) -> Vec<u8> {
    let mut line = format!("{var}=\"").into_bytes();
    line.extend_from_slice(head);
    line.extend(quoted(words, Quote::Double).unwrap_or_default());
    line.push(b'"');
    line
}

/// The text as it must be written inside these quotes.
fn quoted(text: &[u8], quote: Quote) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for byte in text {
        match (quote, byte) {
            (Quote::None, _) => return None,
            (Quote::Double, b'\\' | b'"' | b'$' | b'`') | (Quote::AnsiC, b'\\' | b'\'') => out.extend([b'\\', *byte]),
            (Quote::Single, b'\'') => out.extend(b"'\\''"),
            _ => out.push(*byte),
        }
    }
    Some(out)
}

/// The file with the words put before the word of that index, or after the last one.
fn in_place(before: &Before<'_>, text: &Text, spans: &[Span], index: usize, joined: &[u8]) -> Option<Vec<u8>> {
    let site = before.sites().last()?;
    let AssignValue::Scalar(word) = &site.assign.value else {
        return None;
    };
    let (anchor, insertion) = match index.checked_sub(1).and_then(|previous| spans.get(previous)) {
        Some(span) => {
            let origin = text.origins(&(span.end - 1..span.end))?.pop()?;
            ((origin.span.end, origin.quote), [b" ", joined].concat())
        }
        None => match spans.first() {
            Some(span) => {
                let origin = text.origins(&(span.start..span.start + 1))?.pop()?;
                ((origin.span.start, origin.quote), [joined, b" "].concat())
            }
            None => return fill(before.bytes, word, joined),
        },
    };
    let (at, quote) = anchor;
    if let Some(escaped) = quoted(&insertion, quote) {
        return Some(replaced(before.bytes, &(at..at), &escaped));
    }
    let site = before.sites().iter().find(|site| site.assign.span.contains(&at) || site.assign.span.end == at)?;
    let AssignValue::Scalar(word) = &site.assign.value else {
        return None;
    };
    if let Some(whole) = requoted(before.bytes, word, at, &insertion) {
        return Some(replaced(before.bytes, &word.span, &whole));
    }
    let mut piece = b"\"".to_vec();
    piece.extend(quoted(&insertion, Quote::Double)?);
    piece.push(b'"');
    Some(replaced(before.bytes, &(at..at), &piece))
}

/// Writes the words into an assignment of nothing, or of nothing but blanks.
fn fill(bytes: &[u8], word: &Word, joined: &[u8]) -> Option<Vec<u8>> {
    match word.parts.as_slice() {
        [part] if part.kind == PartKind::Verbatim && part.quote != Quote::None => {
            Some(replaced(bytes, &part.span, &quoted(joined, part.quote)?))
        }
        parts if parts.iter().all(|p| matches!(p.kind, PartKind::Verbatim | PartKind::Escape(_))) => {
            let mut whole = b"\"".to_vec();
            whole.extend(quoted(joined, Quote::Double)?);
            whole.push(b'"');
            Some(replaced(bytes, &word.span, &whole))
        }
        _ => None,
    }
}

/// A word that has no quotes, in double quotes, with an insertion at a source position.
fn requoted(bytes: &[u8], word: &Word, at: usize, insertion: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    let mut position = None;
    for part in &word.parts {
        if part.quote != Quote::None {
            return None;
        }
        if at <= part.span.start && position.is_none() {
            position = Some(value.len());
        }
        match &part.kind {
            PartKind::Verbatim => {
                if position.is_none() && at < part.span.end {
                    position = Some(value.len() + (at - part.span.start));
                }
                value.extend_from_slice(slice(bytes, &part.span));
            }
            PartKind::Escape(escape) => value.extend_from_slice(escape),
            _ => return None,
        }
    }
    let position = position.unwrap_or(value.len());
    value.splice(position..position, insertion.iter().copied());
    let mut whole = b"\"".to_vec();
    whole.extend(quoted(&value, Quote::Double)?);
    whole.push(b'"');
    Some(whole)
}

/// A word of the value.
struct Found<'a> {
    text: &'a Text,
    words: Vec<Vec<u8>>,
    spans: Vec<Span>,
    index: usize,
    span: Span,
}

impl<'a> Found<'a> {
    fn find(before: &'a Before<'_>, word: &str, grammar: Grammar) -> Result<Self, CannotEdit> {
        let missing = || CannotEdit::NotThere { var: before.var.to_owned(), word: word.to_owned(), line: before.line() };
        let text = match before.value() {
            Value::Scalar(text) => text,
            Value::Unset => return Err(missing()),
            Value::Array(_) | Value::Unknown(_) => return Err(before.no_safe_form()),
        };
        let value = text.raw();
        let spans = spans(text, grammar);
        let words: Vec<Vec<u8>> = spans.iter().map(|span| slice(&value, span).to_vec()).collect();
        let index = words.iter().rposition(|w| w == word.as_bytes());
        let index = index.ok_or_else(|| before.hole().unwrap_or_else(missing))?;
        let span = spans.get(index).cloned().unwrap_or_default();
        Ok(Self { text, words, spans, index, span })
    }

    /// The word with the blanks that should go with it.
    fn with_blanks(&self) -> Span {
        let previous = self.index.checked_sub(1).and_then(|index| self.spans.get(index));
        let next = self.spans.get(self.index + 1);
        match (previous, next) {
            (Some(previous), _) => previous.end..self.span.end,
            (None, Some(next)) => self.span.start..next.start,
            (None, None) => 0..self.text.len(),
        }
    }
}

/// Removes the last occurrence of a word from a string.
pub(super) fn remove(before: &Before<'_>, word: &str, grammar: Grammar) -> Result<Vec<u8>, CannotEdit> {
    let found = Found::find(before, word, grammar)?;
    let mut wanted = found.words.clone();
    wanted.remove(found.index);
    let mut candidates = Vec::new();
    for span in [found.with_blanks(), found.span.clone()] {
        if let Some(origins) = found.text.origins(&span) {
            let new = without(before.bytes, &origins);
            candidates.extend(without_empty_line(&new, before));
            candidates.push(new);
        }
    }
    before.choose(candidates, |value| words_of(value, grammar).as_ref() == Some(&wanted))
}

/// The file without the line that we once added, when nothing is left of it but `VAR="$VAR"`.
fn without_empty_line(new: &[u8], before: &Before<'_>) -> Option<Vec<u8>> {
    let site = before.sites().last()?;
    let start = site.alone.as_ref()?.start;
    let rest = format!("{0}=\"${0}\"", before.var);
    let span = start..start + rest.len();
    let line = own_line(new, &span).filter(|_| slice(new, &span) == rest.as_bytes())?;
    Some(replaced(new, &line, b""))
}

/// The file without these stretches, nor the line continuations between two of them.
fn without(bytes: &[u8], origins: &[Origin]) -> Vec<u8> {
    let mut spans: Vec<Span> = Vec::new();
    for origin in origins {
        match spans.last_mut() {
            Some(last) if last.end <= origin.span.start && only_continuations(bytes, last.end..origin.span.start) => {
                last.end = origin.span.end;
            }
            _ => spans.push(origin.span.clone()),
        }
    }
    spans.sort_by_key(|span| span.start);
    let mut new = bytes.to_vec();
    for span in spans.iter().rev() {
        new = replaced(&new, span, b"");
    }
    new
}

fn only_continuations(bytes: &[u8], span: Span) -> bool {
    slice(bytes, &span).chunks(2).all(|pair| pair == b"\\\n")
}
