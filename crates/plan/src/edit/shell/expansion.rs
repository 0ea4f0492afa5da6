//! The insides of `${..}`, `((..))` and `$'..'`.

use super::lexer::{Lexer, Parsed};
use super::syntax::{Index, Op, Part, PartKind, Quote, name_start};

impl Lexer<'_> {
    /// `${...}`. Forms that are not understood are delimited and count as computed.
    pub(super) fn braced_parameter(quote: Quote) -> impl FnOnce(&mut Self) -> Parsed<PartKind> {
        move |lexer| {
            let open = lexer.pos;
            lexer.pos += 2;
            let head = lexer.braced_head();
            if head.is_none() && !lexer.harmless_operator(open) {
                lexer.fallible.push(open);
            }
            let mut parts = Vec::new();
            let plain = lexer.braced_word(open, quote, &mut parts)?;
            Ok(match head {
                Some((name, index, None)) if parts.is_empty() && plain => PartKind::Parameter { name, index, op: None },
                Some((name, Index::None, Some(op))) if plain => PartKind::Parameter { name, index: Index::None, op: Some((op, parts)) },
                _ => PartKind::Computed("a parameter expansion"),
            })
        }
    }

    /// Name, subscript and operator; `None` if the form is another one.
    pub(super) fn braced_head(&mut self) -> Option<(String, Index, Option<Op>)> {
        self.peek().filter(|b| name_start(*b))?;
        let name = self.name();
        let mut index = Index::None;
        for (text, found) in [(b"[@]", Index::At), (b"[*]", Index::Star)] {
            if self.bash() && self.starts(text) {
                self.pos += text.len();
                index = found;
            }
        }
        let ops: [(&[u8], Op); 4] = [
            (b":-", Op::Default { or_empty: true }),
            (b":+", Op::Alternative { or_empty: true }),
            (b"-", Op::Default { or_empty: false }),
            (b"+", Op::Alternative { or_empty: false }),
        ];
        let found = ops.into_iter().find(|(text, _)| self.starts(text));
        if let Some((text, op)) = found {
            self.pos += text.len();
            return Some((name, index, Some(op)));
        }
        (self.peek() == Some(b'}')).then_some((name, index, None))
    }

    /// After a name that [`Self::braced_head`] did not finish: is it an operator that both shells know and that cannot fail?
    pub(super) fn harmless_operator(&self, open: usize) -> bool {
        let named = self.pos > open + 2;
        let operator = self.at(usize::from(self.peek() == Some(b':')));
        let colon = self.peek() == Some(b':');
        named && (operator == Some(b'=') || (!colon && matches!(operator, Some(b'#' | b'%'))))
    }

    /// Reads up to the closing brace; `false` if there is quoting inside.
    pub(super) fn braced_word(&mut self, open: usize, quote: Quote, parts: &mut Vec<Part>) -> Parsed<bool> {
        let mut plain = true;
        loop {
            let start = self.pos;
            match self.peek() {
                None => return self.error(open, "`${` that is not closed"),
                Some(b'}') => {
                    self.pos += 1;
                    return Ok(plain);
                }
                Some(b'$') => self.dollar(parts, quote)?,
                Some(b'`') => self.backtick(parts, quote)?,
                Some(b'\'') if quote == Quote::Double => {
                    return self.error(start, "single quote inside `\"${..}\"`");
                }
                Some(b'\'') => {
                    plain = false;
                    self.single(&mut Vec::new())?;
                }
                Some(b'"') => {
                    plain = false;
                    self.deeper(|lexer| lexer.double(&mut Vec::new()))?;
                }
                Some(b'\\') => {
                    plain = false;
                    self.pos += 2;
                }
                Some(_) => {
                    while self.peek().is_some_and(|b| !matches!(b, b'}' | b'$' | b'`' | b'\'' | b'"' | b'\\')) {
                        self.pos += 1;
                    }
                    parts.push(Part { span: start..self.pos, quote, kind: PartKind::Verbatim });
                }
            }
        }
    }

    /// `((..))` from its first parenthesis.
    pub(super) fn arithmetic(&mut self) -> Parsed<()> {
        let open = self.pos;
        self.fallible.push(open);
        self.pos += 2;
        let mut level = 2_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'(' => level += 1,
                b')' if level == 2 => {
                    if self.at(1) != Some(b')') {
                        return self.error(open, "`((` that is not closed by `))`");
                    }
                    self.pos += 2;
                    return Ok(());
                }
                b')' => level -= 1,
                b'\'' | b'"' | b'\\' => return self.error(self.pos, "quoting inside `((..))`"),
                b'$' => {
                    self.dollar(&mut Vec::new(), Quote::Double)?;
                    continue;
                }
                b'`' => {
                    self.backtick(&mut Vec::new(), Quote::Double)?;
                    continue;
                }
                _ => {}
            }
            self.pos += 1;
        }
        self.error(open, "`((` that is not closed")
    }

    /// `$'..'`.
    pub(super) fn ansi_c(&mut self, parts: &mut Vec<Part>) -> Parsed<()> {
        let open = self.pos;
        self.pos += 2;
        let before = parts.len();
        loop {
            let start = self.pos;
            match self.peek() {
                None => return self.error(open, "`$'` that is not closed"),
                Some(b'\'') => break,
                Some(b'\\') => {
                    let kind = self.ansi_c_escape(open)?;
                    parts.push(Part { span: start..self.pos, quote: Quote::AnsiC, kind });
                }
                Some(_) => {
                    while self.peek().is_some_and(|b| b != b'\'' && b != b'\\') {
                        self.pos += 1;
                    }
                    parts.push(Part { span: start..self.pos, quote: Quote::AnsiC, kind: PartKind::Verbatim });
                }
            }
        }
        if parts.len() == before {
            parts.push(Part { span: self.pos..self.pos, quote: Quote::AnsiC, kind: PartKind::Verbatim });
        }
        self.pos += 1;
        Ok(())
    }

    /// One escape of `$'..'` (bash manual, "ANSI-C Quoting").
    pub(super) fn ansi_c_escape(&mut self, open: usize) -> Parsed<PartKind> {
        let Some(byte) = self.at(1) else {
            return self.error(open, "`$'` that is not closed");
        };
        self.pos += 2;
        let simple = match byte {
            b'a' => 7,
            b'b' => 8,
            b'e' | b'E' => 27,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'\\' | b'\'' | b'"' | b'?' => byte,
            b'0'..=b'7' => {
                self.pos -= 1;
                return Ok(self.ansi_c_number(8, 3));
            }
            b'x' if self.peek().is_some_and(|b| b.is_ascii_hexdigit()) => {
                return Ok(self.ansi_c_number(16, 2));
            }
            b'x' | b'u' | b'U' | b'c' => return Ok(PartKind::Computed("an escape in `$'..'`")),
            other => return Ok(PartKind::Escape(vec![b'\\', other])),
        };
        Ok(PartKind::Escape(vec![simple]))
    }

    pub(super) fn ansi_c_number(&mut self, radix: u32, digits: usize) -> PartKind {
        let mut value = 0_u32;
        for _ in 0..digits {
            let Some(digit) = self.peek().and_then(|b| char::from(b).to_digit(radix)) else {
                break;
            };
            value = value * radix + digit;
            self.pos += 1;
        }
        // A zero byte ends the string in bash; above 255 the high bits are dropped.
        match u8::try_from(value & 0xff) {
            Ok(0) | Err(_) => PartKind::Computed("a NUL in `$'..'`"),
            Ok(byte) => PartKind::Escape(vec![byte]),
        }
    }
}
