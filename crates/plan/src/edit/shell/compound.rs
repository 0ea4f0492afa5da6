//! Compound commands: read to their end, kept as opaque.

use super::lexer::{Lexer, Parsed};
use super::parser::CLOSERS;
use super::syntax::{Word, is_name};

impl Lexer<'_> {
    pub(super) fn compound(&mut self, word: &[u8], start: usize) -> Parsed<()> {
        match word {
            b"if" => self.if_clause(),
            b"while" | b"until" => {
                self.list_until(b"do")?;
                self.expect(b"do", start)?;
                self.list_until(b"done")?;
                self.expect(b"done", start)
            }
            b"for" | b"select" => self.for_clause(start),
            b"case" => self.case_clause(start),
            b"{" => {
                self.list_until(b"}")?;
                self.expect(b"}", start)
            }
            b"[[" => self.conditional(start),
            b"function" => {
                self.skip_blanks();
                let name = self.token()?;
                self.skip_blanks();
                if self.starts(b"(") {
                    self.pos += 1;
                    self.skip_blanks();
                    self.expect_byte(b')', start)?;
                }
                self.function_body(&name, start)
            }
            _ => self.error(start, "unexpected reserved word"),
        }
    }

    /// Reads a list that must not be empty, up to the reserved word or `)`.
    pub(super) fn list_until(&mut self, end: &[u8]) -> Parsed<()> {
        let start = self.pos;
        let count = self.list(end)?;
        if count == 0 {
            return self.error(start, "compound command without a command");
        }
        if self.peek().is_none() {
            return self.error(start, "compound command that is not closed");
        }
        Ok(())
    }

    pub(super) fn list(&mut self, end: &[u8]) -> Parsed<usize> {
        let mut count = 0;
        loop {
            self.separators()?;
            let closer = self.keyword().is_some_and(|word| CLOSERS.contains(&word));
            let at_end = match self.peek() {
                None => true,
                Some(b')') => end == b")",
                Some(b';') => end == b"esac" && matches!(self.at(1), Some(b';' | b'&')),
                Some(_) => closer && end != b")",
            };
            if at_end {
                return Ok(count);
            }
            let found = self.and_or()?;
            self.absorb(found);
            count += 1;
            self.skip_blanks();
            self.skip_comment();
            let stop = match self.peek() {
                None => true,
                Some(b')') => end == b")",
                Some(b';') => end == b"esac" && matches!(self.at(1), Some(b';' | b'&')),
                Some(_) => false,
            };
            if !stop {
                self.separator()?;
            }
        }
    }

    pub(super) fn expect(&mut self, word: &[u8], start: usize) -> Parsed<()> {
        if self.keyword() != Some(word) {
            return self.error(start, "compound command that is not closed");
        }
        self.pos += word.len();
        Ok(())
    }

    pub(super) fn expect_byte(&mut self, byte: u8, start: usize) -> Parsed<()> {
        if self.peek() != Some(byte) {
            return self.error(start, "compound command that is not complete");
        }
        self.pos += 1;
        Ok(())
    }

    pub(super) fn if_clause(&mut self) -> Parsed<()> {
        let start = self.pos;
        loop {
            self.list_until(b"then")?;
            self.expect(b"then", start)?;
            self.list_until(b"fi")?;
            match self.keyword() {
                Some(b"elif") => self.pos += 4,
                Some(b"else") => {
                    self.pos += 4;
                    self.list_until(b"fi")?;
                    return self.expect(b"fi", start);
                }
                _ => return self.expect(b"fi", start),
            }
        }
    }

    pub(super) fn for_clause(&mut self, start: usize) -> Parsed<()> {
        self.skip_blanks();
        if self.bash() && self.starts(b"((") {
            self.arithmetic()?;
            self.skip_blanks();
        } else {
            let name = self.token()?;
            if name.literal(self.bytes).is_none_or(|name| !is_name(&name)) {
                return self.error(start, "`for` without a variable's name");
            }
            self.separators()?;
            if self.keyword() == Some(b"in") {
                self.pos += 2;
                self.arguments()?;
            }
        }
        if self.peek() == Some(b';') {
            self.pos += 1;
        }
        self.separators()?;
        self.expect(b"do", start)?;
        self.list_until(b"done")?;
        self.expect(b"done", start)
    }

    pub(super) fn arguments(&mut self) -> Parsed<()> {
        loop {
            self.skip_blanks();
            self.skip_comment();
            match self.peek() {
                None | Some(b'\n' | b';') => return Ok(()),
                Some(_) => {
                    let word = self.token()?;
                    if word.span.is_empty() {
                        return self.error(self.pos, "unexpected operator");
                    }
                }
            }
        }
    }

    pub(super) fn case_clause(&mut self, start: usize) -> Parsed<()> {
        self.skip_blanks();
        if self.token()?.span.is_empty() {
            return self.error(start, "`case` without a word");
        }
        self.separators()?;
        self.expect(b"in", start)?;
        loop {
            self.separators()?;
            if self.keyword() == Some(b"esac") {
                self.pos += 4;
                return Ok(());
            }
            self.case_pattern(start)?;
            self.list(b"esac")?;
            if self.keyword() == Some(b"esac") {
                continue;
            }
            if self.starts(b";;&") {
                self.pos += 3;
            } else if self.starts(b";;") || self.starts(b";&") {
                self.pos += 2;
            } else {
                return self.error(start, "`case` that is not closed");
            }
        }
    }

    pub(super) fn case_pattern(&mut self, start: usize) -> Parsed<()> {
        if self.peek() == Some(b'(') {
            self.pos += 1;
        }
        loop {
            self.skip_blanks();
            if self.token()?.span.is_empty() {
                return self.error(start, "`case` pattern that is not closed");
            }
            self.skip_blanks();
            match self.peek() {
                Some(b'|') => self.pos += 1,
                Some(b')') => {
                    self.pos += 1;
                    return Ok(());
                }
                _ => return self.error(start, "`case` pattern that is not closed"),
            }
        }
    }

    /// `[[ .. ]]` after its opening: terms joined by `&&` and `||`, in parentheses or not.
    pub(super) fn conditional(&mut self, start: usize) -> Parsed<()> {
        let mut term: Vec<&[u8]> = Vec::new();
        let mut open = 0_usize;
        loop {
            self.skip_blanks();
            if self.keyword() == Some(b"]]") && open == 0 && is_term(&term) {
                self.pos += 2;
                return Ok(());
            }
            let joint = self.starts(b"&&") || self.starts(b"||");
            match self.peek() {
                Some(b'&' | b'|') if joint && is_term(&term) => {
                    self.pos += 2;
                    term.clear();
                    self.separators()?;
                }
                Some(b'(') if term.is_empty() => {
                    self.pos += 1;
                    open += 1;
                }
                Some(b')') if open > 0 && is_term(&term) => {
                    self.pos += 1;
                    open -= 1;
                    term = vec![b"()"];
                }
                Some(b'<' | b'>') if term.len() == 1 && matches!(self.at(1), Some(b' ')) => {
                    self.pos += 1;
                    term.push(b"<");
                }
                Some(b'!') if term.is_empty() && self.at(1) == Some(b' ') => self.pos += 1,
                None | Some(b'#' | b'\n' | b'&' | b'|' | b'(' | b')' | b'<' | b'>' | b';') => {
                    return self.error(start, "`[[` that is not closed, or not understood");
                }
                Some(_) if term.len() < 3 => {
                    let span = self.word()?.span;
                    term.push(self.bytes.get(span).unwrap_or_default());
                }
                Some(_) => return self.error(start, "`[[` that is not understood"),
            }
        }
    }

    pub(super) fn function_body(&mut self, name: &Word, start: usize) -> Parsed<()> {
        let Some(name) = name.literal(self.bytes).filter(|name| !name.is_empty()) else {
            return self.error(start, "function whose name is computed");
        };
        if !self.bash() && !is_name(&name) {
            return self.error(start, "function whose name dash does not accept");
        }
        self.functions.push(String::from_utf8_lossy(&name).into_owned());
        self.separators()?;
        let compound = self.peek() == Some(b'(')
            || self.keyword().is_some_and(|word| !CLOSERS.contains(&word) && !matches!(word, b"!" | b"time" | b"function"));
        if !compound {
            return self.error(start, "function without a body");
        }
        let found = self.deeper(Self::command)?;
        self.absorb(found);
        Ok(())
    }
}

/// Is this a complete test inside `[[ .. ]]`?
fn is_term(term: &[&[u8]]) -> bool {
    const BINARY: [&[u8]; 14] = [b"=", b"==", b"!=", b"=~", b"<", b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge", b"-nt", b"-ot", b"-ef"];
    let unary = |word: &[u8]| matches!(word, [b'-', flag] if b"abcdefghknoprstuvwxzGLNORS".contains(flag));
    match term {
        [word] => !unary(word) && *word != b"!",
        [operator, _] => unary(operator),
        [_, operator, _] => BINARY.contains(operator),
        _ => false,
    }
}
