//! Commands: where each begins and ends, so that nothing inside a compound one is taken for the top level.

use super::error::ParseError;
use super::lexer::{Lexer, Parsed};
use super::syntax::{
    ArrayLiteral, Assign, AssignValue, Command, CommandKind, Dialect, PartKind, Quote, Script,
    Simple, Span, Word, is_name, name_start, slice,
};

/// Commands whose arguments may be assignments.
const DECLARING: [&[u8]; 5] = [b"export", b"readonly", b"local", b"declare", b"typeset"];

/// Words that end a list.
const CLOSERS: [&[u8]; 8] = [
    b"then", b"elif", b"else", b"fi", b"do", b"done", b"esac", b"}",
];

/// A here-document that was announced.
pub(super) struct HereDoc {
    at: usize,
    delimiter: Vec<u8>,
    quoted: bool,
    strip_tabs: bool,
}

/// What one command turned out to be.
enum Parsing {
    Simple(Simple),
    Compound,
    Function,
}

/// Reads a whole file.
///
/// # Errors
/// Unclosed quotes, arrays, compounds and here-documents; stray operators; nesting too deep; forms in which shells differ.
pub fn parse(bytes: &[u8], dialect: Dialect) -> Result<Script, ParseError> {
    let mut lexer = Lexer::new(bytes, dialect);
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
        None => Ok(Script {
            commands,
            fallible: lexer.fallible,
        }),
    }
}

impl Lexer<'_> {
    fn top_level(&mut self, span: Span, found: Parsing, background: bool) -> Command {
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

    fn here_documents(&mut self, commands: &mut Vec<Command>) {
        for span in std::mem::take(&mut self.bodies) {
            commands.push(Command {
                span,
                kind: CommandKind::HereDocument,
            });
        }
    }

    fn end_before_blanks(&self, start: usize) -> usize {
        let text = slice(self.bytes, &(start..self.pos));
        let blanks = text
            .iter()
            .rev()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        self.pos - blanks
    }

    /// Skips blanks, comments and newlines, reading the here-documents that a newline starts.
    fn separators(&mut self) -> Parsed<()> {
        loop {
            self.skip_blanks();
            self.skip_comment();
            if self.peek() != Some(b'\n') {
                return Ok(());
            }
            self.newline()?;
        }
    }

    fn newline(&mut self) -> Parsed<()> {
        self.pos += 1;
        for doc in std::mem::take(&mut self.pending) {
            self.body(&doc)?;
        }
        Ok(())
    }

    fn body(&mut self, doc: &HereDoc) -> Parsed<()> {
        let start = self.pos;
        loop {
            let rest = self.bytes.get(self.pos..).unwrap_or_default();
            if rest.is_empty() {
                return self.error(doc.at, "here-document that is not closed");
            }
            let length = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
            let line = slice(rest, &(0..length));
            let tabs = if doc.strip_tabs {
                line.iter().take_while(|b| **b == b'\t').count()
            } else {
                0
            };
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
    fn separator(&mut self) -> Parsed<bool> {
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

    fn and_or(&mut self) -> Parsed<Parsing> {
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

    fn absorb(&mut self, found: Parsing) {
        if let Parsing::Simple(simple) = found {
            self.inner.push(simple);
        }
    }

    fn pipeline(&mut self) -> Parsed<Parsing> {
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
            self.pos += if self.bash() && self.at(1) == Some(b'&') {
                2
            } else {
                1
            };
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
    fn keyword(&self) -> Option<&'static [u8]> {
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
        let word = WORDS.into_iter().find(|word| {
            self.starts(word)
                && self.at(word.len()).is_none_or(|b| {
                    matches!(
                        b,
                        b' ' | b'\t' | b'\n' | b'|' | b'&' | b';' | b'(' | b')' | b'<' | b'>'
                    )
                })
        })?;
        let only_bash: [&[u8]; 6] = [b"select", b"function", b"time", b"[[", b"coproc", b"]]"];
        (self.bash() || !only_bash.contains(&word)).then_some(word)
    }

    fn command(&mut self) -> Parsed<Parsing> {
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
            Some(word) if CLOSERS.contains(&word) => {
                self.error(start, "reserved word without its beginning")
            }
            Some(word) => {
                self.pos += word.len();
                self.deeper(|p| p.compound(word, start))?;
                self.redirections()?;
                Ok(if word == b"function" {
                    Parsing::Function
                } else {
                    Parsing::Compound
                })
            }
        }
    }

    fn compound(&mut self, word: &[u8], start: usize) -> Parsed<()> {
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
                let name = self.word()?;
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
    fn list_until(&mut self, end: &[u8]) -> Parsed<()> {
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

    fn list(&mut self, end: &[u8]) -> Parsed<usize> {
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

    fn expect(&mut self, word: &[u8], start: usize) -> Parsed<()> {
        if self.keyword() != Some(word) {
            return self.error(start, "compound command that is not closed");
        }
        self.pos += word.len();
        Ok(())
    }

    fn expect_byte(&mut self, byte: u8, start: usize) -> Parsed<()> {
        if self.peek() != Some(byte) {
            return self.error(start, "compound command that is not complete");
        }
        self.pos += 1;
        Ok(())
    }

    fn if_clause(&mut self) -> Parsed<()> {
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

    fn for_clause(&mut self, start: usize) -> Parsed<()> {
        self.skip_blanks();
        if self.bash() && self.starts(b"((") {
            self.arithmetic()?;
            self.skip_blanks();
        } else {
            let name = self.word()?;
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

    fn arguments(&mut self) -> Parsed<()> {
        loop {
            self.skip_blanks();
            self.skip_comment();
            match self.peek() {
                None | Some(b'\n' | b';') => return Ok(()),
                Some(_) => {
                    let word = self.word()?;
                    if word.span.is_empty() {
                        return self.error(self.pos, "unexpected operator");
                    }
                }
            }
        }
    }

    fn case_clause(&mut self, start: usize) -> Parsed<()> {
        self.skip_blanks();
        if self.word()?.span.is_empty() {
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

    fn case_pattern(&mut self, start: usize) -> Parsed<()> {
        if self.peek() == Some(b'(') {
            self.pos += 1;
        }
        loop {
            self.skip_blanks();
            if self.word()?.span.is_empty() {
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

    /// `[[ .. ]]` after its opening.
    fn conditional(&mut self, start: usize) -> Parsed<()> {
        loop {
            self.skip_blanks();
            if self.keyword() == Some(b"]]") {
                self.pos += 2;
                return Ok(());
            }
            match self.peek() {
                None | Some(b';') => return self.error(start, "`[[` that is not closed"),
                Some(b'\n' | b'(' | b')' | b'<' | b'>' | b'|' | b'&') => self.pos += 1,
                Some(_) => {
                    self.word()?;
                }
            }
        }
    }

    fn function_body(&mut self, name: &Word, start: usize) -> Parsed<()> {
        let Some(name) = name.literal(self.bytes).filter(|name| !name.is_empty()) else {
            return self.error(start, "function whose name is computed");
        };
        if !self.bash() && !is_name(&name) {
            return self.error(start, "function whose name dash does not accept");
        }
        self.functions
            .push(String::from_utf8_lossy(&name).into_owned());
        self.separators()?;
        let compound = self.peek() == Some(b'(')
            || self.keyword().is_some_and(|word| {
                !CLOSERS.contains(&word) && !matches!(word, b"!" | b"time" | b"function")
            });
        if !compound {
            return self.error(start, "function without a body");
        }
        let found = self.deeper(Self::command)?;
        self.absorb(found);
        Ok(())
    }

    /// Inside `$(`: its commands run in a subshell, so none of them is kept.
    pub(super) fn command_substitution(&mut self) -> Parsed<()> {
        let open = self.pos;
        let (inner, functions, fallible) =
            (self.inner.len(), self.functions.len(), self.fallible.len());
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

    fn redirections(&mut self) -> Parsed<bool> {
        let mut any = false;
        loop {
            self.skip_blanks();
            let both = self.bash() && self.starts(b"&>");
            if !both && !matches!(self.peek(), Some(b'<' | b'>')) {
                return Ok(any);
            }
            self.redirection()?;
            any = true;
        }
    }

    fn redirection(&mut self) -> Parsed<()> {
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
        let operators: [&[u8]; 12] = [
            b"&>>", b"&>", b"<<<", b"<<-", b"<<", b"<>", b"<&", b">>", b">|", b">&", b"<", b">",
        ];
        let length = operators
            .into_iter()
            .find(|text| self.starts(text))
            .map_or(1, <[u8]>::len);
        self.pos += length;
        self.skip_blanks();
        self.continued = false;
        let target = self.word()?;
        if target.span.is_empty() || self.continued {
            return self.error(start, "redirection without a target");
        }
        if here {
            let Some(delimiter) = target.literal(self.bytes) else {
                return self.error(start, "here-document whose delimiter is computed");
            };
            let quoted = target
                .parts
                .iter()
                .any(|p| p.quote != Quote::None || matches!(p.kind, PartKind::Escape(_)));
            self.pending.push(HereDoc {
                at: start,
                delimiter,
                quoted,
                strip_tabs,
            });
        }
        Ok(())
    }

    fn simple_command(&mut self) -> Parsed<Parsing> {
        let start = self.pos;
        let mut simple = Simple {
            span: start..start,
            assigns: Vec::new(),
            words: Vec::new(),
            redirected: false,
        };
        loop {
            simple.redirected |= self.redirections()?;
            let assignable = simple.words.first().is_none_or(|word| self.declaring(word));
            match self.peek() {
                None | Some(b'\n' | b';' | b'&' | b'|' | b')') => break,
                Some(b'#') => break,
                Some(b'(') => return self.function(&simple, start),
                Some(_) => {}
            }
            if assignable {
                if let Some(assign) = self.assignment()? {
                    simple.assigns.push(assign);
                    continue;
                }
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

    fn declaring(&self, word: &Word) -> bool {
        let own = slice(self.bytes, &word.span);
        let posix = matches!(own, b"export" | b"readonly" | b"local");
        DECLARING.contains(&own) && (self.bash() || posix)
    }

    /// `name ()` and its body.
    fn function(&mut self, simple: &Simple, start: usize) -> Parsed<Parsing> {
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
    fn assignment(&mut self) -> Parsed<Option<Assign>> {
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
        Ok(Some(Assign {
            name,
            span: start..self.pos,
            append,
            subscript,
            value,
        }))
    }

    /// `[..]` of one plain piece of text after a name; anything else would need bash to delimit it.
    fn subscript(&mut self) -> Parsed<bool> {
        let open = self.pos;
        self.pos += 1;
        while let Some(byte) = self.peek() {
            match byte {
                b']' => {
                    self.pos += 1;
                    return Ok(true);
                }
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'@' | b'*' | b'+' | b'-' => {
                    self.pos += 1
                }
                _ => break,
            }
        }
        self.error(open, "subscript that is computed or not closed")
    }

    fn array(&mut self) -> Parsed<ArrayLiteral> {
        let open = self.pos;
        self.pos += 1;
        let mut elements = Vec::new();
        loop {
            self.separators()?;
            match self.peek() {
                None => return self.error(open, "array that is not closed"),
                Some(b')') => break,
                Some(_) => {
                    let word = self.word()?;
                    if word.span.is_empty() || self.peek() == Some(b'(') {
                        return self.error(self.pos, "operator inside an array");
                    }
                    elements.push(word);
                }
            }
        }
        self.pos += 1;
        if !matches!(
            self.peek(),
            None | Some(b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b')')
        ) {
            return self.error(self.pos, "text right after an array");
        }
        Ok(ArrayLiteral {
            span: open..self.pos,
            elements,
        })
    }
}
