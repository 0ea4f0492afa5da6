//! What a tool put before every line: a time, the name of a journal's writer, a line number, `+ `, `# `, `file.txt:`.

use super::super::header;
use std::iter::Peekable;
use std::str::Chars;

/// No prefix is longer.
const LONGEST: usize = 80;

/// So many different beginnings are tried.
const TRIED: usize = 8;

/// A prefix, numbers apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Some digits.
    Number,
    /// Any number of blanks, none included: lines lost theirs at the end.
    Blanks,
    /// This.
    Is(char),
}

/// The lines without what all but a few of them begin with, where a function's line begins with it too.
pub(super) fn without(lines: Vec<String>) -> Vec<String> {
    let full = lines.iter().filter(|line| !line.is_empty()).count();
    let mut tried: Vec<Vec<Part>> = Vec::new();
    for prefix in lines.iter().filter_map(|line| before_function(line)) {
        let shape = shape(prefix);
        if tried.contains(&shape) {
            continue;
        }
        let having = lines.iter().filter(|line| !line.is_empty() && after(line, &shape).is_some()).count();
        if having * 4 >= full * 3 {
            let stripped = |line: String| after(&line, &shape).map(str::to_owned).unwrap_or(line);
            return lines.into_iter().map(stripped).collect();
        }
        tried.push(shape);
        if tried.len() == TRIED {
            break;
        }
    }
    lines
}

/// What stands before a function's first line. Nothing where that is the title of a group, which says something.
fn before_function(line: &str) -> Option<&str> {
    let is_function = |text: &str| header::address(text).is_some_and(|(address, rest)| header::read(address, rest).is_some());
    if line.is_empty() || is_function(line) || header::group_title(line).is_some() {
        return None;
    }
    let starts = line.char_indices().zip(line.chars().skip(1)).map(|((at, before), c)| (at + before.len_utf8(), before, c));
    let is_start = |(_, before, c): &(usize, char, char)| c.is_ascii_hexdigit() && !before.is_ascii_alphanumeric() && *before != '.';
    let mut starts = starts.take_while(|(at, ..)| *at <= LONGEST).filter(is_start);
    starts.find(|(at, ..)| line.get(*at..).is_some_and(is_function)).and_then(|(at, ..)| line.get(..at))
}

fn shape(prefix: &str) -> Vec<Part> {
    let mut shape: Vec<Part> = Vec::new();
    for c in prefix.chars() {
        let part = match c {
            _ if c.is_ascii_digit() => Part::Number,
            _ if c.is_whitespace() => Part::Blanks,
            _ => Part::Is(c),
        };
        if matches!(part, Part::Is(_)) || shape.last() != Some(&part) {
            shape.push(part);
        }
    }
    shape
}

/// What follows a prefix of this shape.
fn after<'a>(line: &'a str, shape: &[Part]) -> Option<&'a str> {
    let mut rest = line.chars().peekable();
    for part in shape {
        match part {
            Part::Is(c) => drop(rest.next_if_eq(c)?),
            Part::Blanks => while rest.next_if(|c| c.is_whitespace()).is_some() {},
            Part::Number => {
                rest.next_if(char::is_ascii_digit)?;
                while rest.next_if(char::is_ascii_digit).is_some() {}
            }
        }
    }
    Some(left(line, rest).trim_start())
}

fn left<'a>(line: &'a str, rest: Peekable<Chars<'a>>) -> &'a str {
    let length: usize = rest.map(char::len_utf8).sum();
    line.get(line.len() - length..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefixed: impl Fn(usize, &str) -> String, is_taken_off: bool) {
        let listing = ["00:00.0 Host bridge: A", "Flags: fast devsel", "", "00:1f.0 ISA bridge: B", "Kernel modules: c"];
        let lines: Vec<String> = listing.iter().enumerate().map(|(at, line)| prefixed(at + 998, line).trim().to_owned()).collect();
        let expected: Vec<String> = if is_taken_off { listing.map(str::to_owned).to_vec() } else { lines.clone() };
        assert_eq!(without(lines), expected);
    }

    #[test]
    fn what_stands_before_every_line_goes() {
        check(|_, line| format!("2024-05-01T12:00:00 {line}"), true);
        check(|at, line| format!("[{at:8}.345678] {line}"), true);
        check(|at, line| format!("May 01 12:00:{at} host lspci[1{at}]: {line}"), true);
        check(|at, line| format!("{at:6}  {line}"), true);
        check(|at, line| format!("{at}: {line}"), true);
        check(|at, line| format!("lspci.txt:{at}:{line}"), true);
        check(|_, line| format!("+{line}"), true);
        check(|_, line| format!("# {line}"), true);
        check(|_, line| format!("AW> {line}"), true);
    }

    #[test]
    fn what_says_something_stays() {
        check(|_, line| line.to_owned(), false);
        check(|at, line| format!("IOMMU Group {at} {line}"), false);
        check(|at, line| if line.starts_with('0') { format!("{at}) {line}") } else { line.to_owned() }, false);
        let domains: Vec<String> = ["0001:00:00.0 Host bridge: A", "10000:e0:00.0 PCI bridge: B"].map(str::to_owned).to_vec();
        assert_eq!(without(domains.clone()), domains);
    }
}
