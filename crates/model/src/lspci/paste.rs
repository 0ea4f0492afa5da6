//! Undoes what mail, forums and terminals do to a listing before it arrives here.

mod encoding;
mod markup;
mod prefix;

/// Below so many lines nothing is concluded from how they stand.
const FEW: usize = 8;

/// The lines of a listing, without quotation marks, prefixes of tools, entities, marks, escape sequences, carriage returns and outer blanks.
pub(super) fn lines(bytes: &[u8]) -> Vec<String> {
    let text = encoding::without_transfer_encoding(encoding::text(bytes));
    let text = without_escapes(&text).replace("\r\n", "\n").replace('\r', "\n");
    let text = markup::without_entities(&markup::without_tags(&text));
    let lines = text.split('\n').map(unquoted).collect();
    single_spaced(prefix::without(lines))
}

/// A line without the marks of quoting (`> `, `| `), of emphasis and of a fence. `# ` is none of them: prompts have it.
fn unquoted(line: &str) -> String {
    let plain: String = line.chars().filter_map(plain).collect();
    let plain = without_backslashes(&plain);
    let mut line = plain.trim();
    while let Some(rest) = line.strip_prefix(['>', '|', '`']) {
        line = rest.trim_start();
    }
    line.trim_end_matches(['*', '`']).trim_end().to_owned()
}

/// What editors put in the place of blanks and of the minus sign is what it was; what is not seen goes.
fn plain(c: char) -> Option<char> {
    match c {
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' => None,
        '\u{2010}'..='\u{2015}' | '\u{2212}' => Some('-'),
        _ if c.is_whitespace() || c.is_control() => Some(' '),
        _ => Some(c),
    }
}

/// Markdown writes `\[` and `\_` for what would mark something up.
fn without_backslashes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\\' || rest.peek().is_none_or(|next| !next.is_ascii_punctuation()) {
            plain.push(c);
        }
    }
    plain
}

/// Some pages put an empty line after each line. Then only what more there is of them parts anything.
fn single_spaced(lines: Vec<String>) -> Vec<String> {
    let full = lines.iter().filter(|line| !line.is_empty()).count();
    let together = lines.iter().zip(lines.iter().skip(1)).filter(|(one, next)| !one.is_empty() && !next.is_empty()).count();
    if full < FEW || together > full / 50 {
        return lines;
    }
    let mut single = Vec::with_capacity(lines.len());
    let mut empty = 0;
    for line in lines {
        if line.is_empty() {
            empty += 1;
            continue;
        }
        if empty > 1 {
            single.push(String::new());
        }
        empty = 0;
        single.push(line);
    }
    single
}

/// Terminals leave `ESC [ … letter` in what is copied from `script` and `less -R`.
fn without_escapes(text: &str) -> String {
    let mut pieces = text.split('\u{1b}');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.strip_prefix('[').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';' || c == '?'));
        let letter = rest.and_then(|rest| rest.chars().next());
        plain.push_str(match (rest, letter) {
            (Some(rest), Some(letter)) => rest.get(letter.len_utf8()..).unwrap_or_default(),
            _ => piece,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_entities_marks_and_escapes_are_undone() {
        let cases: [(&[u8], &[&str]); 16] = [
            (b"> 00:01.0 PCI bridge\r\n", &["00:01.0 PCI bridge", ""]),
            (b"> > | \t00:01.0 x", &["00:01.0 x"]),
            (b"Capabilities: &lt;access denied&gt;", &["Capabilities: <access denied>"]),
            (b"a &amp;lt; b", &["a &lt; b"]),
            (b"<pre>00:01.0 x<br>00:02.0 y</pre>", &["", "00:01.0 x", "00:02.0 y", ""]),
            ("\u{feff}\u{1b}[1;31m00:01.0\u{1b}[0m\u{a0}x\u{1b}".as_bytes(), &["00:01.0 x"]),
            (b"\xff\xfd00", &["\u{fffd}\u{fffd}00"]),
            (b"[code]00:01.0 x[/code]\r00:02.0 y", &["", "00:01.0 x", "", "00:02.0 y"]),
            (b"<PRE class=\"a\">a<BR/>b <access denied> <64ns</PRE>", &["", "a", "b <access denied> <64ns", ""]),
            (b"<span class=\"line\">00:01.0 x</span>", &["00:01.0 x"]),
            (b"<MAbort- >SERR- <P\nERR- INTx- >x", &["<MAbort- >SERR- <P", "ERR- INTx- >x"]),
            (b"```00:01.0 x**", &["00:01.0 x"]),
            (b"Capabilities: \\[a0\\] \\x", &["Capabilities: [a0] \\x"]),
            ("UpstreamFwd\u{2013} a\u{200b}b".as_bytes(), &["UpstreamFwd- ab"]),
            (b"primary=3D00, secondary=3D01 very =\nlong", &["primary=00, secondary=01 very long"]),
            (b"\xff\xfe0\x000\x00:\x00", &["00:"]),
        ];
        for (bytes, expected) in cases {
            assert_eq!(lines(bytes), expected);
        }
    }
}
