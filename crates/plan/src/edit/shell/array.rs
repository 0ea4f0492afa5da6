//! Editing `MODULES=(...)`, and the string form `MODULES="..."` that older files have.

use super::error::CannotEdit;
use super::splice::{Before, own_line, replaced, with_line};
use super::state::Value;
use super::syntax::{ArrayLiteral, AssignValue, Shells, Span, slice};
use super::words::{self, End, Grammar};

/// Puts elements before all others.
///
/// # Errors
/// See [`CannotEdit`].
pub fn prepend_elements(bytes: &[u8], var: &str, elements: &[&str]) -> Result<Vec<u8>, CannotEdit> {
    insert(bytes, var, elements, End::Front)
}

/// Puts elements after all others.
///
/// # Errors
/// See [`CannotEdit`].
pub fn append_elements(bytes: &[u8], var: &str, elements: &[&str]) -> Result<Vec<u8>, CannotEdit> {
    insert(bytes, var, elements, End::Back)
}

/// Removes every occurrence of the elements, compared byte by byte. Elements that are not there are ignored; a line
/// that is left as `VAR+=()` or `VAR=("${VAR[@]}")` goes too.
///
/// # Errors
/// See [`CannotEdit`].
pub fn remove_elements(bytes: &[u8], var: &str, elements: &[&str]) -> Result<Vec<u8>, CannotEdit> {
    remove_where(bytes, var, |element| elements.iter().any(|e| e.as_bytes() == element))
}

/// Makes `first` the first elements, in that order, each once, and drops `obsolete`; the rest keeps its order.
///
/// Elements are compared as module names: `-` and `_` are equal, a trailing `?` (mkinitcpio: may be missing) and `.ko*` do not count.
/// A value that already is as wanted stays untouched.
///
/// # Errors
/// See [`CannotEdit`].
pub fn put_modules_first(bytes: &[u8], var: &str, first: &[&str], obsolete: &[&str]) -> Result<Vec<u8>, CannotEdit> {
    let before = Before::read(bytes, var, Shells::Bash)?;
    let ours: Vec<Vec<u8>> = first.iter().chain(obsolete).map(|name| module(name.as_bytes())).collect();
    let current = elements_of(&before)?.unwrap_or_default();
    let others = current.iter().filter(|element| !ours.contains(&module(element)));
    let wanted: Vec<&[u8]> = first.iter().map(|name| name.as_bytes()).chain(others.map(Vec::as_slice)).collect();
    if wanted == current {
        return Ok(bytes.to_vec());
    }
    let cleared = remove_where(bytes, var, |element| ours.contains(&module(element)))?;
    prepend_elements(&cleared, var, first)
}

/// A module's name in the form of the kernel.
fn module(element: &[u8]) -> Vec<u8> {
    let name = element.strip_suffix(b"?").unwrap_or(element);
    let end = name.windows(3).position(|part| part == b".ko").unwrap_or(name.len());
    name.iter().take(end).map(|b| if *b == b'-' { b'_' } else { *b }).collect()
}

/// The elements, or the words of a string; `None` if unset.
fn elements_of(before: &Before<'_>) -> Result<Option<Vec<Vec<u8>>>, CannotEdit> {
    if let Some(unknown) = before.hole() {
        return Err(unknown);
    }
    match before.value() {
        Value::Unset => Ok(None),
        Value::Array(_) => Ok(elements(before.value())),
        Value::Scalar(text) => {
            let raw = text.raw();
            let words = raw.split(|b| matches!(b, b' ' | b'\t' | b'\n')).filter(|word| !word.is_empty());
            Ok(Some(words.map(<[u8]>::to_vec).collect()))
        }
        Value::Unknown(unknown) => Err(before.unknown(unknown.line, unknown.why.clone())),
    }
}

fn elements(value: &Value) -> Option<Vec<Vec<u8>>> {
    match value {
        Value::Array(texts) => texts.iter().map(super::text::Text::bytes).collect(),
        _ => None,
    }
}

fn check_elements(before: &Before<'_>, elements: &[&str]) -> Result<(), CannotEdit> {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"_-.,:/@%+=".contains(&b);
    for element in elements {
        let name = element.strip_suffix('?').unwrap_or(element);
        if name.is_empty() || !name.bytes().all(safe) {
            let (var, line) = (before.var.to_owned(), before.line());
            return Err(CannotEdit::NotAWord { var, word: (*element).to_owned(), line });
        }
    }
    Ok(())
}

fn insert(bytes: &[u8], var: &str, new: &[&str], end: End) -> Result<Vec<u8>, CannotEdit> {
    let before = Before::read(bytes, var, Shells::Bash)?;
    check_elements(&before, new)?;
    if new.is_empty() {
        return Ok(bytes.to_vec());
    }
    let Some(old) = elements_of(&before)? else {
        return add_line(&before, &new.join(" "), new);
    };
    if matches!(before.value(), Value::Scalar(_)) {
        return words::insert(&before, new, end, Grammar::Blank);
    }
    let added = new.iter().map(|element| element.as_bytes().to_vec());
    let wanted: Vec<Vec<u8>> = match end {
        End::Front => added.chain(old).collect(),
        End::Back => old.into_iter().chain(added).collect(),
    };
    let site = match end {
        End::Front => before.sites().first(),
        End::Back => before.sites().last(),
    };
    let joined = new.join(" ");
    let in_place = site.and_then(|site| match &site.assign.value {
        AssignValue::Array(literal) if end == End::Front => Some(at_front(bytes, literal, &joined)),
        AssignValue::Array(literal) => Some(at_back(bytes, literal, &joined)),
        AssignValue::Scalar(_) => None,
    });
    let line = match end {
        End::Front => format!("{var}=({joined} \"${{{var}[@]}}\")"),
        End::Back => format!("{var}+=({joined})"),
    };
    let at_end = with_line(bytes, line.as_bytes());
    before.choose(in_place.into_iter().chain([at_end]), |value| elements(value).as_ref() == Some(&wanted))
}

/// `+=` so that in a drop-in it does not discard what the files before it set.
fn add_line(before: &Before<'_>, joined: &str, new: &[&str]) -> Result<Vec<u8>, CannotEdit> {
    let line = format!("{}+=({joined})", before.var);
    before.choose([with_line(before.bytes, line.as_bytes())], |value| {
        elements(value).is_some_and(|found| found == new.iter().map(|e| e.as_bytes()).collect::<Vec<_>>())
    })
}

/// The blanks before `at` if nothing else stands before it on its line.
fn indentation(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let before = bytes.get(..at)?;
    let start = before.iter().rposition(|b| *b == b'\n')? + 1;
    let text = bytes.get(start..at)?;
    text.iter().all(|b| matches!(b, b' ' | b'\t')).then_some(text)
}

fn at_front(bytes: &[u8], literal: &ArrayLiteral, joined: &str) -> Vec<u8> {
    let Some(first) = literal.elements.first() else {
        let at = literal.span.start + 1;
        return replaced(bytes, &(at..at), joined.as_bytes());
    };
    let at = first.span.start;
    let mut text = joined.as_bytes().to_vec();
    match indentation(bytes, at) {
        Some(indentation) => {
            text.push(b'\n');
            text.extend_from_slice(indentation);
        }
        None => text.push(b' '),
    }
    replaced(bytes, &(at..at), &text)
}

fn at_back(bytes: &[u8], literal: &ArrayLiteral, joined: &str) -> Vec<u8> {
    let Some(last) = literal.elements.last() else {
        return at_front(bytes, literal, joined);
    };
    let at = last.span.end;
    if let Some(indentation) = indentation(bytes, last.span.start) {
        let rest = slice(bytes, &(at..literal.span.end));
        let line_end = rest.iter().position(|b| *b == b'\n');
        let continued = line_end.is_some_and(|end| rest.get(..end).is_some_and(|line| line.ends_with(b"\\")));
        if let Some(end) = line_end.filter(|_| !continued) {
            let text = [b"\n", indentation, joined.as_bytes()].concat();
            return replaced(bytes, &(at + end..at + end), &text);
        }
    }
    replaced(bytes, &(at..at), format!(" {joined}").as_bytes())
}

fn remove_where(bytes: &[u8], var: &str, unwanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, CannotEdit> {
    let before = Before::read(bytes, var, Shells::Bash)?;
    let Some(old) = elements_of(&before)? else {
        return Ok(bytes.to_vec());
    };
    if !old.iter().any(|element| unwanted(element)) {
        return Ok(bytes.to_vec());
    }
    if matches!(before.value(), Value::Scalar(_)) {
        return remove_from_string(bytes, var, &old, unwanted);
    }
    let mut new = bytes.to_vec();
    let mut removed = false;
    while let Some(shorter) = remove_one(&new, var, &unwanted)? {
        new = shorter;
        removed = true;
    }
    let wanted: Vec<Vec<u8>> = old.into_iter().filter(|element| !unwanted(element)).collect();
    let candidates = without_empty_line(&new, var).into_iter().chain(removed.then_some(new));
    before.choose(candidates, |value| match value {
        Value::Unset => wanted.is_empty(),
        other => elements(other).as_ref() == Some(&wanted),
    })
}

fn remove_from_string(bytes: &[u8], var: &str, old: &[Vec<u8>], unwanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, CannotEdit> {
    let mut new = bytes.to_vec();
    for element in old.iter().rev().filter(|element| unwanted(element)) {
        let before = Before::read(&new, var, Shells::Bash)?;
        let Ok(word) = std::str::from_utf8(element) else {
            return Err(before.no_safe_form());
        };
        let shorter = words::remove(&before, word, Grammar::Blank)?;
        new = shorter;
    }
    Ok(new)
}

/// Removes one unwanted element that is written out in an array, with the blank beside it.
fn remove_one(bytes: &[u8], var: &str, unwanted: &impl Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>, CannotEdit> {
    let before = Before::read(bytes, var, Shells::Bash)?;
    for site in before.sites() {
        let AssignValue::Array(literal) = &site.assign.value else {
            continue;
        };
        for (index, word) in literal.elements.iter().enumerate().rev() {
            if word.literal(bytes).is_some_and(|text| unwanted(&text)) {
                return Ok(Some(replaced(bytes, &removal(bytes, literal, index), b"")));
            }
        }
    }
    Ok(None)
}

/// What goes when an element goes: its line if it has one to itself, or a blank beside it.
fn removal(bytes: &[u8], literal: &ArrayLiteral, index: usize) -> Span {
    let at = |index: usize| literal.elements.get(index).map(|word| word.span.clone());
    let Some(own) = at(index) else { return 0..0 };
    let blank = |span: &Span| !span.is_empty() && slice(bytes, span).iter().all(|b| matches!(b, b' ' | b'\t'));
    if let Some(next) = at(index + 1).filter(|next| blank(&(own.end..next.start))) {
        return own.start..next.start;
    }
    if let Some(previous) = index.checked_sub(1).and_then(at).filter(|previous| blank(&(previous.end..own.start))) {
        return previous.end..own.end;
    }
    let rest = slice(bytes, &(own.end..literal.span.end));
    let end = rest.iter().position(|b| *b == b'\n');
    let tail = end.and_then(|end| rest.get(..end)).map(|line| line.strip_suffix(b"\\").unwrap_or(line));
    let alone = tail.is_some_and(|tail| tail.iter().all(|b| matches!(b, b' ' | b'\t')));
    match (indentation(bytes, own.start), end) {
        (Some(indentation), Some(end)) if alone => own.start - indentation.len()..own.end + end + 1,
        _ => own,
    }
}

fn without_empty_line(bytes: &[u8], var: &str) -> Option<Vec<u8>> {
    let before = Before::read(bytes, var, Shells::Bash).ok()?;
    let empty = [format!("{var}+=()"), format!("{var}=(\"${{{var}[@]}}\")")];
    let is_empty = |text: &[u8]| empty.iter().any(|empty| empty.as_bytes() == text);
    let mut sites = before.sites().iter().rev();
    let site = sites.find(|site| is_empty(slice(bytes, &site.assign.span)))?;
    let line = own_line(bytes, site.alone.as_ref()?)?;
    Some(replaced(bytes, &line, b""))
}
