//! Words: quoting, expansions, and where they end.
//!
//! Where the two shells, or a shell and this reader, might disagree about an exotic form, it is an error: refusing a
//! strange file is cheap, misreading it is not.

use super::error::{ParseError, line_of};
use super::parser::parse_below;
use super::syntax::{Dialect, Index, Part, PartKind, Quote, Word, name_byte, name_start};

/// How deep substitutions, parameters and compound commands may nest.
pub(super) const MAX_DEPTH: usize = 48;

/// A position in the source, and what must be remembered while reading on.
pub(super) struct Lexer<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) pos: usize,
    pub(super) dialect: Dialect,
    pub(super) depth: usize,
    /// A backslash-newline was met inside a word since this was last cleared.
    pub(super) continued: bool,
    /// Here-documents announced on this line, bodies still to come.
    pub(super) pending: Vec<super::parser::HereDoc>,
    /// Simple commands inside the compound command being read.
    pub(super) inner: Vec<super::syntax::Simple>,
    /// Functions defined inside it.
    pub(super) functions: Vec<String>,
    /// Expansions that may end the shell.
    pub(super) fallible: Vec<usize>,
    /// Bodies with expansions that were read.
    pub(super) bodies: Vec<super::syntax::Span>,
}

/// The result of reading.
pub(super) type Parsed<T> = Result<T, ParseError>;

impl<'a> Lexer<'a> {
    pub(super) fn new(bytes: &'a [u8], dialect: Dialect) -> Self {
        Self {
            bytes,
            pos: 0,
            dialect,
            depth: 0,
            continued: false,
            pending: Vec::new(),
            inner: Vec::new(),
            functions: Vec::new(),
            fallible: Vec::new(),
            bodies: Vec::new(),
        }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.at(0)
    }

    pub(super) fn at(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.pos.saturating_add(ahead)).copied()
    }

    pub(super) fn starts(&self, text: &[u8]) -> bool {
        self.bytes.get(self.pos..).is_some_and(|rest| rest.starts_with(text))
    }

    pub(super) fn error<T>(&self, offset: usize, what: &'static str) -> Parsed<T> {
        Err(ParseError { offset, line: line_of(self.bytes, offset), what })
    }

    pub(super) fn bash(&self) -> bool {
        self.dialect == Dialect::Bash
    }

    /// Runs `read` one level deeper.
    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return self.error(self.pos, "nested too deep");
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Skips blanks and backslash-newline; newlines stay.
    pub(super) fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.pos += 1,
                Some(b'\\') if self.at(1) == Some(b'\n') => self.pos += 2,
                _ => return,
            }
        }
    }

    /// Skips a comment if one starts here.
    pub(super) fn skip_comment(&mut self) {
        if self.peek() == Some(b'#') {
            while self.peek().is_some_and(|b| b != b'\n') {
                self.pos += 1;
            }
        }
    }

    /// Reads a word where a new one must begin, so that `#` would be a comment: then the word is empty.
    pub(super) fn token(&mut self) -> Parsed<Word> {
        if self.peek() == Some(b'#') {
            return Ok(Word { span: self.pos..self.pos, parts: Vec::new() });
        }
        self.word()
    }

    /// Reads a word, which may be empty when a separator stands here.
    pub(super) fn word(&mut self) -> Parsed<Word> {
        let start = self.pos;
        let mut parts = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b'|' | b'&' | b';' | b'(' | b')' | b'<' | b'>' => break,
                b'\'' => self.single(&mut parts)?,
                b'"' => self.double(&mut parts)?,
                b'$' => self.dollar(&mut parts, Quote::None)?,
                b'`' => self.backtick(&mut parts, Quote::None)?,
                b'\\' => self.backslash(&mut parts)?,
                _ => self.plain(&mut parts),
            }
        }
        Ok(Word { span: start..self.pos, parts })
    }

    pub(super) fn plain(&mut self, parts: &mut Vec<Part>) {
        let start = self.pos;
        while let Some(byte) = self.peek() {
            if matches!(byte, b' ' | b'\t' | b'\n' | b'|' | b'&' | b';' | b'(' | b')' | b'<' | b'>' | b'\'' | b'"' | b'$' | b'`' | b'\\') {
                break;
            }
            self.pos += 1;
        }
        parts.push(Part { span: start..self.pos, quote: Quote::None, kind: PartKind::Verbatim });
    }

    pub(super) fn backslash(&mut self, parts: &mut Vec<Part>) -> Parsed<()> {
        let start = self.pos;
        match self.at(1) {
            None => return self.error(start, "backslash at the end of the file"),
            Some(b'\n') => self.continued = true,
            Some(byte) => {
                parts.push(Part { span: start..start + 2, quote: Quote::None, kind: PartKind::Escape(vec![byte]) });
            }
        }
        self.pos += 2;
        Ok(())
    }

    pub(super) fn single(&mut self, parts: &mut Vec<Part>) -> Parsed<()> {
        let open = self.pos;
        self.pos += 1;
        while let Some(byte) = self.peek() {
            if byte == b'\'' {
                parts.push(Part { span: open + 1..self.pos, quote: Quote::Single, kind: PartKind::Verbatim });
                self.pos += 1;
                return Ok(());
            }
            self.pos += 1;
        }
        self.error(open, "single quote that is not closed")
    }

    pub(super) fn double(&mut self, parts: &mut Vec<Part>) -> Parsed<()> {
        let open = self.pos;
        self.pos += 1;
        let before = parts.len();
        loop {
            match self.peek() {
                None => return self.error(open, "double quote that is not closed"),
                Some(b'"') => break,
                Some(b'$') => self.dollar(parts, Quote::Double)?,
                Some(b'`') => self.backtick(parts, Quote::Double)?,
                Some(b'\\') if self.at(1) == Some(b'\n') => self.pos += 2,
                Some(b'\\') if matches!(self.at(1), Some(b'"' | b'\\' | b'$' | b'`')) => {
                    let kind = PartKind::Escape(self.at(1).into_iter().collect());
                    parts.push(Part { span: self.pos..self.pos + 2, quote: Quote::Double, kind });
                    self.pos += 2;
                }
                Some(_) => self.double_run(parts),
            }
        }
        if parts.len() == before {
            parts.push(Part { span: open + 1..open + 1, quote: Quote::Double, kind: PartKind::Verbatim });
        }
        self.pos += 1;
        Ok(())
    }

    /// Plain bytes inside double quotes; a backslash before an ordinary byte is one of them.
    pub(super) fn double_run(&mut self, parts: &mut Vec<Part>) {
        let start = self.pos;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' | b'$' | b'`' => break,
                b'\\' if matches!(self.at(1), Some(b'"' | b'\\' | b'$' | b'`' | b'\n')) => break,
                _ => self.pos += 1,
            }
        }
        parts.push(Part { span: start..self.pos, quote: Quote::Double, kind: PartKind::Verbatim });
    }

    /// A backquoted command: only a backslash protects inside it. dash reads it at once, so it must parse.
    pub(super) fn backtick(&mut self, parts: &mut Vec<Part>, quote: Quote) -> Parsed<()> {
        let open = self.pos;
        let mut inner = Vec::new();
        self.pos += 1;
        loop {
            match (self.peek(), self.at(1)) {
                (None, _) => return self.error(open, "backquote that is not closed"),
                (Some(b'`'), _) => break,
                (Some(b'\\'), Some(next)) => {
                    let escapes = matches!(next, b'`' | b'\\' | b'$') || (next == b'"' && quote == Quote::Double);
                    inner.extend((!escapes).then_some(b'\\'));
                    inner.push(next);
                    self.pos += 2;
                }
                (Some(byte), _) => {
                    inner.push(byte);
                    self.pos += 1;
                }
            }
        }
        self.pos += 1;
        if self.depth >= MAX_DEPTH || parse_below(&inner, self.dialect, self.depth + 1).is_err() {
            return self.error(open, "command in backquotes that cannot be read");
        }
        let kind = PartKind::Computed("a command substitution");
        parts.push(Part { span: open..self.pos, quote, kind });
        Ok(())
    }

    pub(super) fn dollar(&mut self, parts: &mut Vec<Part>, quote: Quote) -> Parsed<()> {
        let start = self.pos;
        let bash = self.bash();
        let kind = match self.at(1) {
            Some(b'{') => self.deeper(Self::braced_parameter(quote))?,
            Some(b'(') if self.at(2) == Some(b'(') => {
                self.pos += 1;
                self.deeper(Self::arithmetic)?;
                PartKind::Computed("arithmetic")
            }
            Some(b'(') => {
                self.pos += 2;
                self.deeper(Self::command_substitution)?;
                PartKind::Computed("a command substitution")
            }
            Some(b'\'') if bash && quote == Quote::None => return self.ansi_c(parts),
            Some(b'"') if bash && quote == Quote::None => {
                self.pos += 1;
                self.double(&mut Vec::new())?;
                PartKind::Computed("a translated string")
            }
            Some(b'[') if bash => return self.error(start, "arithmetic in the old form `$[`"),
            Some(b'\\') if self.at(2) == Some(b'\n') => {
                return self.error(start, "line continuation after `$`");
            }
            Some(b'@' | b'*' | b'#' | b'?' | b'$' | b'!' | b'-' | b'0'..=b'9') => {
                self.pos += 2;
                PartKind::Computed("a positional or special parameter")
            }
            Some(byte) if name_start(byte) => {
                self.pos += 1;
                let name = self.name();
                if self.starts(b"\\\n") {
                    return self.error(self.pos, "line continuation after a variable's name");
                }
                PartKind::Parameter { name, index: Index::None, op: None }
            }
            _ => {
                self.pos += 1;
                PartKind::Verbatim
            }
        };
        parts.push(Part { span: start..self.pos, quote, kind });
        Ok(())
    }

    /// Reads the variable's name that starts here.
    pub(super) fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(byte) = self.peek().filter(|b| name_byte(*b)) {
            name.push(char::from(byte));
            self.pos += 1;
        }
        name
    }
}
