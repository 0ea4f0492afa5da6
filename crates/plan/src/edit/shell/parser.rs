//! Commands: where each begins and ends, so that nothing inside a compound one is taken for the top level.

use super::error::ParseError;
use super::lexer::{Lexer, Parsed};
use super::syntax::{Command, CommandKind, Dialect, Script, Simple, Span, slice};

/// Words that end a list.
pub(super) const CLOSERS: [&[u8]; 8] = [b"then", b"elif", b"else", b"fi", b"do", b"done", b"esac", b"}"];

/// A here-document that was announced.
pub(super) struct HereDoc {
    pub(super) at: usize,
    pub(super) delimiter: Vec<u8>,
    pub(super) quoted: bool,
    pub(super) strip_tabs: bool,
}

/// What one command turned out to be.
pub(super) enum Parsing {
    Simple(Simple),
    Compound,
    Function,
}

/// Reads a whole file.
///
/// # Errors
/// Unclosed quotes, arrays, compounds and here-documents; stray operators; nesting too deep; forms in which shells differ.
pub fn parse(bytes: &[u8], dialect: Dialect) -> Result<Script, ParseError> {
    parse_below(bytes, dialect, 0)
}

/// Reads what stands inside backquotes at that depth.
pub(super) fn parse_below(bytes: &[u8], dialect: Dialect, depth: usize) -> Parsed<Script> {
    let mut lexer = Lexer::new(bytes, dialect);
    lexer.depth = depth;
    let mut commands = Vec::new();
    loop {
        lexer.separators()?;
        lexer.here_documents(&mut commands);
        if lexer.peek().is_none() {
            break;
        }
        let start = lexer.pos;
        let found = lexer.and_or()?;
        let span = start..lexer.end_before_blanks(start);
        let background = lexer.separator()?;
        commands.push(lexer.top_level(span, found, background));
    }
    lexer.here_documents(&mut commands);
    match lexer.pending.first() {
        Some(doc) => lexer.error(doc.at, "here-document that is not closed"),
        None => Ok(Script { commands, fallible: lexer.fallible }),
    }
}

impl Lexer<'_> {
    pub(super) fn top_level(&mut self, span: Span, found: Parsing, background: bool) -> Command {
        let mut inner = std::mem::take(&mut self.inner);
        let functions = std::mem::take(&mut self.functions);
        let kind = match found {
            Parsing::Simple(simple) if !background => CommandKind::Simple(simple),
            Parsing::Simple(simple) => {
                inner.push(simple);
                CommandKind::Opaque { inner, functions }
            }
            Parsing::Compound => CommandKind::Opaque { inner, functions },
            Parsing::Function => CommandKind::Function { inner, functions },
        };
        Command { span, kind }
    }

    pub(super) fn here_documents(&mut self, commands: &mut Vec<Command>) {
        for span in std::mem::take(&mut self.bodies) {
            commands.push(Command { span, kind: CommandKind::HereDocument });
        }
    }

    pub(super) fn end_before_blanks(&self, start: usize) -> usize {
        let text = slice(self.bytes, &(start..self.pos));
        let blanks = text.iter().rev().take_while(|b| matches!(b, b' ' | b'\t')).count();
        self.pos - blanks
    }

    /// Skips blanks, comments and newlines, reading the here-documents that a newline starts.
    pub(super) fn separators(&mut self) -> Parsed<()> {
        loop {
            self.skip_blanks();
            self.skip_comment();
            if self.peek() != Some(b'\n') {
                return Ok(());
            }
            self.newline()?;
        }
    }

    pub(super) fn newline(&mut self) -> Parsed<()> {
        self.pos += 1;
        for doc in std::mem::take(&mut self.pending) {
            self.body(&doc)?;
        }
        Ok(())
    }

    pub(super) fn body(&mut self, doc: &HereDoc) -> Parsed<()> {
        let start = self.pos;
        loop {
            let rest = self.bytes.get(self.pos..).unwrap_or_default();
            if rest.is_empty() {
                return self.error(doc.at, "here-document that is not closed");
            }
            let length = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
            let line = slice(rest, &(0..length));
            let tabs = if doc.strip_tabs { line.iter().take_while(|b| **b == b'\t').count() } else { 0 };
            let from = self.pos;
            self.pos = (self.pos + length + 1).min(self.bytes.len());
            if line.get(tabs..) == Some(doc.delimiter.as_slice()) {
                if !doc.quoted {
                    self.bodies.push(start..from);
                }
                return Ok(());
            }
            let backslashes = line.iter().rev().take_while(|b| **b == b'\\').count();
            if !doc.quoted && backslashes % 2 == 1 {
                return self.error(from, "line continuation inside a here-document");
            }
        }
    }

    /// After a command: what ends it. True for `&`.
    pub(super) fn separator(&mut self) -> Parsed<bool> {
        self.skip_blanks();
        self.skip_comment();
        match self.peek() {
            None | Some(b'\n') => Ok(false),
            Some(b';') if self.at(1) != Some(b';') && self.at(1) != Some(b'&') => {
                self.pos += 1;
                Ok(false)
            }
            Some(b'&') if self.at(1) != Some(b'&') => {
                self.pos += 1;
                Ok(true)
            }
            _ => self.error(self.pos, "unexpected text after a command"),
        }
    }

    pub(super) fn and_or(&mut self) -> Parsed<Parsing> {
        let mut found = self.pipeline()?;
        loop {
            self.skip_blanks();
            if !(self.starts(b"&&") || self.starts(b"||")) {
                return Ok(found);
            }
            self.pos += 2;
            self.separators()?;
            self.absorb(found);
            let next = self.pipeline()?;
            self.absorb(next);
            found = Parsing::Compound;
        }
    }

    pub(super) fn absorb(&mut self, found: Parsing) {
        if let Parsing::Simple(simple) = found {
            self.inner.push(simple);
        }
    }

    pub(super) fn pipeline(&mut self) -> Parsed<Parsing> {
        let mut negated = false;
        while let Some(word @ (b"!" | b"time")) = self.keyword() {
            self.pos += word.len();
            self.skip_blanks();
            negated = true;
        }
        let mut found = self.command()?;
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'|') || self.at(1) == Some(b'|') {
                break;
            }
            self.pos += if self.bash() && self.at(1) == Some(b'&') { 2 } else { 1 };
            self.separators()?;
            self.absorb(found);
            let next = self.command()?;
            self.absorb(next);
            found = Parsing::Compound;
        }
        if negated {
            self.absorb(found);
            return Ok(Parsing::Compound);
        }
        Ok(found)
    }

    /// The unquoted word that stands here if it may be a reserved word.
    pub(super) fn keyword(&self) -> Option<&'static [u8]> {
        const WORDS: [&[u8]; 22] = [
            b"if",
            b"then",
            b"elif",
            b"else",
            b"fi",
            b"while",
            b"until",
            b"for",
            b"do",
            b"done",
            b"case",
            b"esac",
            b"{",
            b"}",
            b"!",
            b"select",
            b"function",
            b"time",
            b"[[",
            b"in",
            b"coproc",
            b"]]",
        ];
        if !self.peek().is_some_and(|b| b.is_ascii_lowercase() || b"{}![]".contains(&b)) {
            return None;
        }
        let word = WORDS.into_iter().find(|word| {
            self.starts(word)
                && self.at(word.len()).is_none_or(|b| matches!(b, b' ' | b'\t' | b'\n' | b'|' | b'&' | b';' | b'(' | b')' | b'<' | b'>'))
        })?;
        let only_bash: [&[u8]; 6] = [b"select", b"function", b"time", b"[[", b"coproc", b"]]"];
        (self.bash() || !only_bash.contains(&word)).then_some(word)
    }

    pub(super) fn command(&mut self) -> Parsed<Parsing> {
        let start = self.pos;
        if self.peek() == Some(b'(') {
            if self.bash() && self.at(1) == Some(b'(') {
                self.deeper(Self::arithmetic)?;
            } else {
                self.pos += 1;
                self.deeper(|p| p.list_until(b")"))?;
                self.pos += 1;
            }
            self.redirections()?;
            return Ok(Parsing::Compound);
        }
        match self.keyword() {
            Some(b"in" | b"]]") | None => self.simple_command(),
            Some(b"coproc") => self.error(start, "coproc is not supported"),
            Some(word) if CLOSERS.contains(&word) => self.error(start, "reserved word without its beginning"),
            Some(word) => {
                self.pos += word.len();
                self.deeper(|p| p.compound(word, start))?;
                self.redirections()?;
                Ok(if word == b"function" { Parsing::Function } else { Parsing::Compound })
            }
        }
    }

    /// Inside `$(`: its commands run in a subshell, so none of them is kept.
    pub(super) fn command_substitution(&mut self) -> Parsed<()> {
        let open = self.pos;
        let (inner, functions, fallible) = (self.inner.len(), self.functions.len(), self.fallible.len());
        let pending = std::mem::take(&mut self.pending);
        self.list(b")")?;
        if self.peek() != Some(b')') || !self.pending.is_empty() {
            return self.error(open, "`$(` that is not closed");
        }
        self.pos += 1;
        self.pending = pending;
        self.inner.truncate(inner);
        self.functions.truncate(functions);
        self.fallible.truncate(fallible);
        Ok(())
    }
}
