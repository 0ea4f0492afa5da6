//! Simple commands: assignments, words, redirections, arrays.

use super::lexer::{Lexer, Parsed};
use super::parser::{HereDoc, Parsing};
use super::syntax::{ArrayLiteral, Assign, AssignValue, PartKind, Quote, Simple, Word, name_start, slice};

/// Commands whose arguments may be assignments.
const DECLARING: [&[u8]; 5] = [b"export", b"readonly", b"local", b"declare", b"typeset"];

impl Lexer<'_> {
    /// Whether there are any, and whether one of them may fail: a here-document is given as it is, a file may not open.
    pub(super) fn redirections(&mut self) -> Parsed<(bool, bool)> {
        let mut found = (false, false);
        loop {
            self.skip_blanks();
            let digits = self.bytes.get(self.pos..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit()).count();
            if digits > 0 && matches!(self.at(digits), Some(b'<' | b'>')) {
                self.pos += digits;
            }
            let both = self.bash() && self.starts(b"&>");
            if !both && !matches!(self.peek(), Some(b'<' | b'>')) {
                return Ok(found);
            }
            let announced = self.pending.len();
            self.redirection()?;
            found = (true, found.1 || self.pending.len() == announced);
        }
    }

    pub(super) fn redirection(&mut self) -> Parsed<()> {
        let start = self.pos;
        if self.bash() && (self.starts(b"<(") || self.starts(b">(")) {
            self.pos += 2;
            return self.deeper(Self::command_substitution);
        }
        let here = self.starts(b"<<") && !self.starts(b"<<<");
        let strip_tabs = here && self.starts(b"<<-");
        if self.starts(b"<<<") && !self.bash() {
            return self.error(start, "here-string, which dash does not know");
        }
        let operators: [&[u8]; 12] = [b"&>>", b"&>", b"<<<", b"<<-", b"<<", b"<>", b"<&", b">>", b">|", b">&", b"<", b">"];
        let length = operators.into_iter().find(|text| self.starts(text)).map_or(1, <[u8]>::len);
        self.pos += length;
        self.skip_blanks();
        self.continued = false;
        let target = self.token()?;
        if target.span.is_empty() || self.continued {
            return self.error(start, "redirection without a target");
        }
        if here {
            let Some(delimiter) = target.literal(self.bytes) else {
                return self.error(start, "here-document whose delimiter is computed");
            };
            let quoted = target.parts.iter().any(|p| p.quote != Quote::None || matches!(p.kind, PartKind::Escape(_)));
            self.pending.push(HereDoc { at: start, delimiter, quoted, strip_tabs });
        }
        Ok(())
    }

    pub(super) fn simple_command(&mut self) -> Parsed<Parsing> {
        let start = self.pos;
        let mut simple = Simple { span: start..start, assigns: Vec::new(), words: Vec::new(), redirected: false, may_fail: false };
        loop {
            let (any, may_fail) = self.redirections()?;
            simple.redirected |= any;
            simple.may_fail |= may_fail;
            let assignable = simple.words.first().is_none_or(|word| self.declaring(word));
            match self.peek() {
                None | Some(b'\n' | b';' | b'&' | b'|' | b')') => break,
                Some(b'#') => break,
                Some(b'(') => return self.function(&simple, start),
                Some(_) => {}
            }
            if assignable && let Some(assign) = self.assignment()? {
                simple.assigns.push(assign);
                continue;
            }
            self.continued = false;
            let word = self.word()?;
            if assignable && self.continued {
                return self.error(word.span.start, "line continuation inside a name");
            }
            simple.words.push(word);
        }
        simple.span.end = self.pos;
        if simple.words.is_empty() && simple.assigns.is_empty() && !simple.redirected {
            return self.error(start, "unexpected operator");
        }
        Ok(Parsing::Simple(simple))
    }

    pub(super) fn declaring(&self, word: &Word) -> bool {
        let own = slice(self.bytes, &word.span);
        let posix = matches!(own, b"export" | b"readonly" | b"local");
        DECLARING.contains(&own) && (self.bash() || posix)
    }

    /// `name ()` and its body.
    pub(super) fn function(&mut self, simple: &Simple, start: usize) -> Parsed<Parsing> {
        let ([name], []) = (simple.words.as_slice(), simple.assigns.as_slice()) else {
            return self.error(self.pos, "unexpected `(`");
        };
        self.pos += 1;
        self.skip_blanks();
        if simple.redirected || self.peek() != Some(b')') {
            return self.error(self.pos, "unexpected `(`");
        }
        self.pos += 1;
        self.function_body(name, start)?;
        Ok(Parsing::Function)
    }

    /// An assignment, if one starts here.
    pub(super) fn assignment(&mut self) -> Parsed<Option<Assign>> {
        let start = self.pos;
        if !self.peek().is_some_and(name_start) {
            return Ok(None);
        }
        let name = self.name();
        let subscript = self.bash() && self.peek() == Some(b'[') && self.subscript()?;
        let append = self.bash() && self.starts(b"+=");
        if !append && self.peek() != Some(b'=') {
            self.pos = start;
            return Ok(None);
        }
        self.pos += if append { 2 } else { 1 };
        let value = if self.bash() && self.peek() == Some(b'(') {
            AssignValue::Array(self.deeper(Self::array)?)
        } else {
            AssignValue::Scalar(self.word()?)
        };
        Ok(Some(Assign { name, span: start..self.pos, append, subscript, value }))
    }

    /// `[..]` of one plain piece of text after a name; anything else would need bash to delimit it.
    pub(super) fn subscript(&mut self) -> Parsed<bool> {
        let open = self.pos;
        self.pos += 1;
        while let Some(byte) = self.peek() {
            match byte {
                b']' => {
                    self.pos += 1;
                    return Ok(true);
                }
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'@' | b'*' | b'+' | b'-' => self.pos += 1,
                _ => break,
            }
        }
        self.error(open, "subscript that is computed or not closed")
    }

    /// bash reads on to the `]` over blanks and lines when an element begins with `[` or `name[`.
    fn check_subscript(&mut self) -> Parsed<()> {
        let start = self.pos;
        if self.peek().is_some_and(name_start) {
            self.name();
        }
        if self.peek() == Some(b'[') {
            self.subscript()?;
        }
        self.pos = start;
        Ok(())
    }

    pub(super) fn array(&mut self) -> Parsed<ArrayLiteral> {
        let open = self.pos;
        self.pos += 1;
        let mut elements = Vec::new();
        loop {
            self.separators()?;
            match self.peek() {
                None => return self.error(open, "array that is not closed"),
                Some(b')') => break,
                Some(_) => {
                    self.check_subscript()?;
                    let word = self.word()?;
                    if word.span.is_empty() || self.peek() == Some(b'(') {
                        return self.error(self.pos, "operator inside an array");
                    }
                    elements.push(word);
                }
            }
        }
        self.pos += 1;
        if self.peek() == Some(b'\r') {
            return self.error(self.pos, "CR line ends, which the shell takes as text: take them out with `sed -i 's/\\r$//' FILE`");
        }
        if !matches!(self.peek(), None | Some(b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b')')) {
            return self.error(self.pos, "text right after an array");
        }
        Ok(ArrayLiteral { span: open..self.pos, elements })
    }
}
