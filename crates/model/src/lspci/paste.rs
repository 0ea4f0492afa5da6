//! Undoes what mail, forums and terminals do to a listing before it arrives here.

/// Entities that web pages write for characters of a listing. `&amp;` comes last, so that `&amp;lt;` stays what somebody wrote.
const ENTITIES: [(&str, &str); 12] = [
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&#34;", "\""),
    ("&#39;", "'"),
    ("&#x27;", "'"),
    ("&apos;", "'"),
    ("&nbsp;", " "),
    ("&#160;", " "),
    ("&#xa0;", " "),
    ("&#9;", " "),
    ("&amp;", "&"),
];

/// Marks of web pages, and what stands for them.
const MARKS: [(&str, &str); 10] = [
    ("<br>", "\n"),
    ("<br/>", "\n"),
    ("<br />", "\n"),
    ("<p>", "\n"),
    ("</p>", "\n"),
    ("<pre>", "\n"),
    ("</pre>", "\n"),
    ("<code>", "\n"),
    ("</code>", "\n"),
    ("</div>", "\n"),
];

/// The lines of a listing, without quotation marks, entities, escape sequences, carriage returns and outer blanks.
pub(super) fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut text = without_escapes(text.trim_start_matches('\u{feff}'));
    for (mark, stands_for) in MARKS {
        if text.contains(mark) {
            text = text.replace(mark, stands_for);
        }
    }
    for (entity, stands_for) in ENTITIES {
        if text.contains(entity) {
            text = text.replace(entity, stands_for);
        }
    }
    text.split('\n').map(unquoted).collect()
}

/// A line without the marks of quoting (`> `, `| `) and of a comment block (`# ` is none: prompts have it).
fn unquoted(line: &str) -> String {
    let mut line = line.trim();
    while let Some(rest) = line.strip_prefix(['>', '|']) {
        line = rest.trim_start();
    }
    line.chars().map(|c| if c == '\u{a0}' || c.is_control() { ' ' } else { c }).collect()
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
        let cases: [(&[u8], &[&str]); 7] = [
            (b"> 00:01.0 PCI bridge\r\n", &["00:01.0 PCI bridge", ""]),
            (b"> > | \t00:01.0 x", &["00:01.0 x"]),
            (b"Capabilities: &lt;access denied&gt;", &["Capabilities: <access denied>"]),
            (b"a &amp;lt; b", &["a &lt; b"]),
            (b"<pre>00:01.0 x<br>00:02.0 y</pre>", &["", "00:01.0 x", "00:02.0 y", ""]),
            ("\u{feff}\u{1b}[1;31m00:01.0\u{1b}[0m\u{a0}x\u{1b}".as_bytes(), &["00:01.0 x"]),
            (b"\xff\xfe00", &["\u{fffd}\u{fffd}00"]),
        ];
        for (bytes, expected) in cases {
            assert_eq!(lines(bytes), expected);
        }
    }
}
