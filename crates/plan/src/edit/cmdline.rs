//! The kernel command line: tokens, parameters, and edits that keep every other byte.
//!
//! The grammar is that of `next_arg()` (Linux 6.12 lib/cmdline.c) and `parse_args()` (kernel/params.c): double quotes
//! alone protect blanks, there is no escape; `-` and `_` are equal in names; `--` hands the rest to init.

use std::ops::Range;

/// A half-open range of byte offsets into the command line.
pub type Span = Range<usize>;

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// The whole token, with its quotes.
    pub span: Span,
    /// The name, without quotes.
    pub name: Span,
    /// The value, without the quotes around it; `None` if there is no `=`.
    pub value: Option<Span>,
}

/// A command line, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine<'a> {
    bytes: &'a [u8],
    params: Vec<Param>,
    init: Option<Span>,
}

/// Kernel `isspace()` (Linux 6.12 lib/ctype.c): also 0xa0, the no-break space of Latin-1.
fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | 9..=13 | 0xa0)
}

/// Whether the byte goes on with a character of UTF-8 that began before it.
fn continues_character(line: &[u8], at: usize) -> bool {
    let length = |lead: u8| match lead {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 0,
    };
    (1..=3_usize).any(|back| {
        let lead = at.checked_sub(back).and_then(|start| line.get(start..=at)).and_then(<[u8]>::split_first);
        lead.is_some_and(|(lead, rest)| length(*lead) > back && rest.iter().all(|byte| byte & 0xc0 == 0x80))
    })
}

/// The tokens, `--` and the words for init among them. The last byte of `à` is a blank to the kernel; it stays with its token, for others read
/// the whole character in `/proc/cmdline`, and an edit must not come between.
pub fn tokens(line: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    let mut start = None;
    let mut quoted = false;
    for (at, byte) in line.iter().enumerate() {
        if blank(*byte) && !quoted {
            found.extend(start.take().map(|start| start..at));
            let last = found.last_mut().filter(|span: &&mut Span| span.end == at && continues_character(line, at));
            if let Some(last) = last {
                last.end += 1;
            }
        } else {
            start.get_or_insert(at);
            quoted ^= *byte == b'"';
        }
    }
    found.extend(start.map(|start| start..line.len()));
    found
}

/// Are these the same parameter name? `-` and `_` are equal (kernel/params.c `dash2underscore`).
pub fn same_name(a: &[u8], b: &[u8]) -> bool {
    let fold = |byte: &u8| if *byte == b'-' { b'_' } else { *byte };
    a.iter().map(fold).eq(b.iter().map(fold))
}

/// Cuts a token into name and value as `next_arg()` does.
fn param(line: &[u8], span: Span) -> Param {
    let byte = |at: usize| line.get(at).copied();
    let quoted = byte(span.start) == Some(b'"');
    let start = if quoted { span.start + 1 } else { span.start };
    // A `=` in the first place is part of the name: next_arg() takes position 0 for "none yet".
    let equals = (start + 1..span.end).find(|at| byte(*at) == Some(b'='));
    let mut end = span.end;
    let closed = span.end > start && byte(span.end - 1) == Some(b'"');
    let Some(equals) = equals else {
        if quoted && closed {
            end -= 1;
        }
        return Param { name: start..end, value: None, span };
    };
    let mut from = equals + 1;
    let inner = byte(from) == Some(b'"') && from < span.end;
    if inner {
        from += 1;
    }
    if (inner || quoted) && closed && end > from {
        end -= 1;
    }
    Param { name: start..equals, value: Some(from..end.max(from)), span }
}

impl<'a> CommandLine<'a> {
    /// Reads a command line. Any bytes are one.
    pub fn parse(bytes: &'a [u8]) -> Self {
        let mut params = Vec::new();
        let mut init = None;
        for span in tokens(bytes) {
            let parsed = param(bytes, span);
            if parsed.value.is_none() && bytes.get(parsed.name.clone()) == Some(b"--") {
                init = Some(parsed.span.start..bytes.len());
                break;
            }
            params.push(parsed);
        }
        Self { bytes, params, init }
    }

    /// The kernel's parameters in order, up to `--`.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// From `--` to the end, if there is one: what init gets.
    pub fn init(&self) -> Option<Span> {
        self.init.clone()
    }

    /// The bytes of a span.
    pub fn text(&self, span: &Span) -> &'a [u8] {
        self.bytes.get(span.clone()).unwrap_or_default()
    }

    /// Every occurrence of the parameter, in order.
    pub fn find(&self, name: &'a str) -> impl Iterator<Item = &Param> {
        self.params.iter().filter(move |param| same_name(self.text(&param.name), name.as_bytes()))
    }

    /// The occurrence that wins for a parameter that holds one value: the last.
    pub fn last(&self, name: &'a str) -> Option<&Param> {
        self.find(name).last()
    }

    /// The value that wins; `Some(None)` if the parameter stands there without a value.
    pub fn value(&self, name: &'a str) -> Option<Option<&'a [u8]>> {
        self.last(name).map(|param| param.value.as_ref().map(|span| self.text(span)))
    }

    /// Is exactly this token among the kernel's parameters?
    pub fn has_token(&self, token: &str) -> bool {
        self.params.iter().any(|param| self.text(&param.span) == token.as_bytes())
    }

    /// A double quote that is not closed makes all that is appended part of the last value.
    pub fn open_quote(&self) -> bool {
        self.bytes.iter().filter(|b| **b == b'"').count() % 2 == 1
    }

    /// With words after the last kernel parameter, before `--`; `None` if a quote is open.
    pub fn with_words(&self, words: &[&str]) -> Option<Vec<u8>> {
        if self.open_quote() {
            return None;
        }
        let joined = words.join(" ");
        if words.is_empty() {
            return Some(self.bytes.to_vec());
        }
        Some(match (self.params.last(), &self.init) {
            (Some(last), _) => splice(self.bytes, &(last.span.end..last.span.end), format!(" {joined}").as_bytes()),
            (None, Some(init)) => splice(self.bytes, &(init.start..init.start), format!("{joined} ").as_bytes()),
            (None, None) => [joined.as_bytes(), self.bytes].concat(),
        })
    }

    /// Without one of its parameters and the blanks beside it.
    pub fn without(&self, param: &Param) -> Vec<u8> {
        let index = self.params.iter().position(|other| other == param);
        let previous = index.and_then(|index| index.checked_sub(1)).and_then(|index| self.params.get(index));
        let next = index.and_then(|index| self.params.get(index + 1)).map(|next| next.span.start);
        let next = next.or_else(|| self.init.as_ref().map(|init| init.start));
        let span = match (previous, next) {
            (Some(previous), _) => previous.span.end..param.span.end,
            (None, Some(next)) => param.span.start..next,
            (None, None) => param.span.clone(),
        };
        splice(self.bytes, &span, b"")
    }

    /// With another token in the place of one of its parameters.
    pub fn with_replaced(&self, param: &Param, token: &str) -> Vec<u8> {
        splice(self.bytes, &param.span, token.as_bytes())
    }
}

fn splice(bytes: &[u8], span: &Span, with: &[u8]) -> Vec<u8> {
    let before = bytes.get(..span.start).unwrap_or_default();
    let after = bytes.get(span.end..).unwrap_or_default();
    [before, with, after].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &[u8]) -> Vec<(String, Option<String>)> {
        let parsed = CommandLine::parse(line);
        let show = |span: &Span| String::from_utf8_lossy(parsed.text(span)).into_owned();
        parsed.params().iter().map(|p| (show(&p.name), p.value.as_ref().map(show))).collect()
    }

    /// Expected values follow next_arg() by hand.
    #[test]
    fn grammar_of_next_arg() {
        type Expected = [(&'static str, Option<&'static str>)];
        let table: [(&[u8], &Expected); 12] = [
            (b"", &[]),
            (b"  ", &[]),
            (b"quiet splash", &[("quiet", None), ("splash", None)]),
            (b"dyndbg=\"file a +p\" x", &[("dyndbg", Some("file a +p")), ("x", None)]),
            (b"\"e=f g\" h", &[("e", Some("f g")), ("h", None)]),
            (b"c=\"x\"y", &[("c", Some("x\"y"))]),
            (b"a=\"unclosed b", &[("a", Some("unclosed b"))]),
            (b"=a=b", &[("=a", Some("b"))]),
            (b"a= b", &[("a", Some("")), ("b", None)]),
            (b"a='x y'", &[("a", Some("'x")), ("y'", None)]),
            (b"\"alone\"", &[("alone", None)]),
            (b"q=\"\"", &[("q", Some(""))]),
        ];
        for (line, expected) in table {
            let expected: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect();
            assert_eq!(texts(line), expected, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn two_dashes_end_the_kernels_part() {
        let line = CommandLine::parse(b"quiet a=1 -- a=2 single");
        assert_eq!(line.value("a"), Some(Some(&b"1"[..])));
        assert_eq!(line.init(), Some(10..23));
        assert_eq!(line.with_words(&["b"]).unwrap(), b"quiet a=1 b -- a=2 single");
        assert_eq!(CommandLine::parse(b"-- x").with_words(&["b"]).unwrap(), b"b -- x");
        assert_eq!(CommandLine::parse(b"a --x=1").params().len(), 2);
    }

    #[test]
    fn names_fold_and_the_last_wins() {
        let line = CommandLine::parse(b"vfio_pci.ids=1:2 console=tty0 vfio-pci.ids=3:4 console=ttyS0");
        assert_eq!(line.value("vfio-pci.ids"), Some(Some(&b"3:4"[..])));
        assert_eq!(line.find("console").count(), 2);
        assert_eq!(line.value("quiet"), None);
    }

    #[test]
    fn removal_takes_the_blank_beside_it() {
        for (line, expected) in [("a b  c", "a  c"), ("b a", "a"), ("b", ""), ("a b", "a"), ("b -- x", "-- x")] {
            let parsed = CommandLine::parse(line.as_bytes());
            let param = parsed.last("b").unwrap();
            assert_eq!(String::from_utf8(parsed.without(param)).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn characters_with_a_byte_that_is_a_blank_stay_whole() {
        for label in ["voil\u{e0}", "\u{420}\u{420}", "x\u{2020}", "x\u{2820}", "\u{1f820}"] {
            let text = format!("rw root=LABEL={label}");
            let line = CommandLine::parse(text.as_bytes());
            assert_eq!(String::from_utf8(line.with_words(&["b"]).unwrap()).unwrap(), format!("{text} b"));
            let text = format!("root=LABEL={label} b rw");
            let line = CommandLine::parse(text.as_bytes());
            assert_eq!(String::from_utf8(line.without(line.last("b").unwrap())).unwrap(), format!("root=LABEL={label} rw"));
        }
        // The kernel cuts there all the same, also where no character ends.
        let spans = |line: &[u8]| tokens(line).len();
        assert_eq!([spans("a\u{a0}b".as_bytes()), spans(b"a\xa0b"), spans(b"\xc3 \xa0b"), spans("\u{2820}".as_bytes())], [2, 2, 2, 1]);
    }

    #[test]
    fn nothing_is_appended_into_an_open_quote() {
        assert_eq!(CommandLine::parse(b"a=\"b").with_words(&["c"]), None);
    }
}
