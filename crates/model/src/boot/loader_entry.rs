//! Boot Loader Specification Type #1 entries (UAPI.1, "Type #1 Boot Loader Specification Entries").
//!
//! A list of all lines with byte ranges, so that an editor can replace one value and leave every other byte alone.

use std::ops::Range;

/// One entry file. Lines cover the text without gap or overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderEntry<'a> {
    text: &'a [u8],
    lines: Vec<Line>,
}

/// One line of an entry file. All ranges are byte offsets into the whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: usize,
    /// The line with its ending.
    pub range: Range<usize>,
    /// The ending alone: `\n`, `\r\n`, `\r` or nothing.
    pub ending: Range<usize>,
    /// What the line is.
    pub content: Content,
}

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing but blanks.
    Blank,
    /// The first byte that is no blank is `#`.
    Comment,
    /// A key and a value, either without the blanks around it.
    Field {
        /// The key.
        key: Range<usize>,
        /// The value, without one pair of quotes around the whole of it: systemd-boot takes such a pair away, double quotes always, single
        /// ones since 257 (systemd src/boot/efi-string.c `line_get_key_value`).
        value: Range<usize>,
    },
    /// A key without a value, which systemd-boot ignores.
    KeyOnly {
        /// The key.
        key: Range<usize>,
    },
}

/// A value found under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    /// Line number from 1.
    pub line: usize,
    /// Offset of the first byte in the text.
    pub start: usize,
    /// The bytes as systemd-boot takes them.
    pub bytes: &'a [u8],
}

impl<'a> Value<'a> {
    /// Offsets of the value in the text.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.bytes.len()
    }
}

impl<'a> LoaderEntry<'a> {
    /// Splits the text of an entry file. Any bytes are accepted.
    pub fn parse(text: &'a [u8]) -> Self {
        let mut lines = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let line = read_line(text, at, lines.len() + 1);
            at = line.range.end;
            lines.push(line);
        }
        Self { text, lines }
    }

    /// The text it was parsed from.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// All lines in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn bytes(&self, range: &Range<usize>) -> &'a [u8] {
        self.text.get(range.clone()).unwrap_or_default()
    }

    /// The values of a key in the order of the file. Keys are compared byte for byte.
    pub fn values<'s>(&'s self, key: &'s str) -> impl DoubleEndedIterator<Item = Value<'a>> + 's {
        self.lines.iter().filter_map(move |line| match &line.content {
            Content::Field { key: found, value } if self.bytes(found) == key.as_bytes() => {
                Some(Value { line: line.number, start: value.start, bytes: self.bytes(value) })
            }
            _ => None,
        })
    }

    /// The value that counts for a key that may stand once: the last, as systemd-boot does.
    pub fn value<'s>(&'s self, key: &'s str) -> Option<Value<'a>> {
        self.values(key).next_back()
    }

    /// The kernel's command line: the values of all `options` lines, joined by one space. `None` if there is no such line.
    pub fn options(&self) -> Option<Vec<u8>> {
        let values: Vec<&[u8]> = self.values("options").map(|value| value.bytes).collect();
        (!values.is_empty()).then(|| values.join(&b' '))
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn read_line(text: &[u8], start: usize, number: usize) -> Line {
    let rest = text.get(start..).unwrap_or_default();
    let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
    let tail = rest.get(length..).unwrap_or_default();
    let ending = if tail.starts_with(b"\r\n") { 2 } else { tail.len().min(1) };
    let end = start + length;
    Line { number, range: start..end + ending, ending: end..end + ending, content: read_content(text, start..end) }
}

fn read_content(text: &[u8], line: Range<usize>) -> Content {
    let trimmed = trim(text, line);
    let bytes = text.get(trimmed.clone()).unwrap_or_default();
    match bytes.first() {
        None => Content::Blank,
        Some(b'#') => Content::Comment,
        Some(_) => {
            let Some(length) = bytes.iter().position(|byte| is_blank(*byte)) else {
                return Content::KeyOnly { key: trimmed };
            };
            let key = trimmed.start..trimmed.start + length;
            Content::Field { value: unquoted(text, trim(text, key.end..trimmed.end)), key }
        }
    }
}

fn unquoted(text: &[u8], range: Range<usize>) -> Range<usize> {
    match text.get(range.clone()).unwrap_or_default() {
        [first @ (b'"' | b'\''), .., last] if first == last => range.start + 1..range.end - 1,
        _ => range,
    }
}

fn trim(text: &[u8], range: Range<usize>) -> Range<usize> {
    let bytes = text.get(range.clone()).unwrap_or_default();
    let Some(first) = bytes.iter().position(|byte| !is_blank(*byte)) else {
        return range.end..range.end;
    };
    let last = bytes.iter().rposition(|byte| !is_blank(*byte)).unwrap_or(first);
    range.start + first..range.start + last + 1
}

#[cfg(test)]
mod tests {
    use super::{Content, LoaderEntry};

    const ENTRY: &[u8] = b"# made by hand\ntitle\tArch Linux \r\n\r\nlinux /vmlinuz-linux\ninitrd /ucode.img\n\
        initrd  /initramfs.img\n  options root=UUID=1 \"x=a b\" # no comment\noptions\toptions2=1\nefi\nbroken\n\
        version caf\xe9\nlinux /second";

    fn lossless(text: &[u8]) {
        let entry = LoaderEntry::parse(text);
        let mut at = 0;
        for (index, line) in entry.lines().iter().enumerate() {
            assert_eq!((line.number, line.range.start, line.ending.end), (index + 1, at, line.range.end));
            at = line.range.end;
            if let Content::Field { key, value } = &line.content {
                assert!(at >= value.end && value.start > key.end && !key.is_empty());
            }
        }
        assert_eq!(at, text.len());
    }

    #[test]
    fn finds_values_with_lines_and_ranges() {
        let entry = LoaderEntry::parse(ENTRY);
        let title = entry.value("title").unwrap();
        assert_eq!((title.line, title.bytes), (2, &b"Arch Linux"[..]));
        assert_eq!(&ENTRY[title.range()], b"Arch Linux");
        let initrds: Vec<_> = entry.values("initrd").map(|value| (value.line, value.bytes)).collect();
        assert_eq!(initrds, [(5, &b"/ucode.img"[..]), (6, b"/initramfs.img")]);
        assert_eq!(entry.value("linux").unwrap().bytes, b"/second");
        assert_eq!(entry.value("version").unwrap().bytes, b"caf\xe9");
        assert_eq!(entry.value("efi"), None);
        assert_eq!(entry.value("optio"), None);
        let options = b"root=UUID=1 \"x=a b\" # no comment options2=1";
        assert_eq!(entry.options().as_deref(), Some(&options[..]));
        lossless(ENTRY);
    }

    #[test]
    fn enclosing_quotes() {
        for (text, inner) in [
            (&b"options \"a b\" "[..], &b"a b"[..]),
            (b"options 'a b'", b"a b"),
            (b"options 'a b\"", b"'a b\""),
            (b"options \"", b"\""),
            (b"options \"\"", b""),
            (b"options \"a\" b=\"c\"", b"a\" b=\"c"),
            (b"options x=\"c d\"", b"x=\"c d\""),
        ] {
            let value = LoaderEntry::parse(text).value("options").unwrap();
            assert_eq!((value.bytes, &text[value.range()]), (inner, inner));
        }
    }

    #[test]
    fn tolerates_anything_without_losing_a_byte() {
        for text in [&b""[..], b"\n", b"\r", b"\r\n\r\n", b" \t ", b"#", b"key", b"key ", b"\0 \xff", b"a\rb c\n\rd e"] {
            lossless(text);
        }
        let mut seed = 1u32;
        for _ in 0..2000 {
            let text: Vec<u8> = (0..40)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    b" \t\r\n#a\"\xff"[(seed >> 24) as usize % 8]
                })
                .collect();
            lossless(&text);
        }
        assert_eq!(LoaderEntry::parse(b"title x\n").options(), None);
    }
}
