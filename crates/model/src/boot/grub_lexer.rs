//! Words of GRUB's scripting language (GRUB manual, "Shell-like scripting": quoting, words and reserved characters).

/// A token and the line it begins on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) kind: TokenKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A word without its quoting; `$name` and `${name}` stand as written.
    Word(Vec<u8>),
    /// `{`.
    Open,
    /// `}`.
    Close,
    /// Newline, `;`, `|` or `&`.
    End,
}

/// Splits a script. Anything is accepted; an open quote reaches to the end.
pub(super) fn tokens(text: &[u8]) -> Lexer<'_> {
    Lexer { rest: text, line: 1 }
}

pub(super) struct Lexer<'a> {
    rest: &'a [u8],
    line: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn next_byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.line += usize::from(*byte == b'\n');
        Some(*byte)
    }

    /// Blanks, comments and joined lines before a token.
    fn skip_blanks(&mut self) {
        loop {
            match self.rest {
                [b' ' | b'\t' | b'\r', ..] => {
                    self.next_byte();
                }
                [b'\\', b'\n', ..] => {
                    self.next_byte();
                    self.next_byte();
                }
                [b'#', ..] => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.next_byte();
                    }
                }
                _ => return,
            }
        }
    }

    fn word(&mut self) -> Vec<u8> {
        let mut word = Vec::new();
        while let Some(byte) = self.peek() {
            if matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b';' | b'|' | b'&' | b'{' | b'}') {
                break;
            }
            self.next_byte();
            match byte {
                b'\'' => self.single_quoted(&mut word),
                b'"' => self.double_quoted(&mut word),
                b'\\' => word.extend(self.next_byte().filter(|next| *next != b'\n')),
                b'$' => self.variable(&mut word),
                _ => word.push(byte),
            }
        }
        word
    }

    fn single_quoted(&mut self, word: &mut Vec<u8>) {
        while let Some(byte) = self.next_byte().filter(|byte| *byte != b'\'') {
            word.push(byte);
        }
    }

    /// A backslash means something only before `$`, `"`, `\` and a newline.
    fn double_quoted(&mut self, word: &mut Vec<u8>) {
        while let Some(byte) = self.next_byte().filter(|byte| *byte != b'"') {
            match (byte, self.peek()) {
                (b'\\', Some(b'$' | b'"' | b'\\')) => word.extend(self.next_byte()),
                (b'\\', Some(b'\n')) => {
                    self.next_byte();
                }
                _ => word.push(byte),
            }
        }
    }

    /// `${name}` holds braces that end no word.
    fn variable(&mut self, word: &mut Vec<u8>) {
        word.push(b'$');
        if self.peek() != Some(b'{') {
            return;
        }
        while let Some(byte) = self.peek().filter(|byte| *byte != b'\n') {
            self.next_byte();
            word.push(byte);
            if byte == b'}' {
                return;
            }
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blanks();
        let line = self.line;
        let kind = match self.peek()? {
            b'\n' | b';' | b'|' | b'&' => TokenKind::End,
            b'{' => TokenKind::Open,
            b'}' => TokenKind::Close,
            _ => {
                return Some(Token { line, kind: TokenKind::Word(self.word()) });
            }
        };
        self.next_byte();
        Some(Token { line, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::{TokenKind, tokens};

    fn words(text: &str) -> Vec<String> {
        tokens(text.as_bytes())
            .map(|token| match token.kind {
                TokenKind::Word(word) => String::from_utf8(word).unwrap(),
                TokenKind::Open => "{".into(),
                TokenKind::Close => "}".into(),
                TokenKind::End => ";".into(),
            })
            .collect()
    }

    #[test]
    fn quoting() {
        let table: &[(&str, &[&str])] = &[
            ("a 'b c' \"d e\" f\\ g", &["a", "b c", "d e", "f g"]),
            ("'it'\\''s'", &["it's"]),
            (r#"x="a b" "\"\\\$\n""#, &["x=a b", r#""\$\n"#]),
            ("'' \"\"", &["", ""]),
            ("${a}b $c \"${d e}\"{", &["${a}b", "$c", "${d e}", "{"]),
            ("a\\\nb c \\\n d", &["ab", "c", "d"]),
            ("\"a\\\nb\"", &["ab"]),
            ("a # b ; c\nd#e", &["a", ";", "d#e"]),
            ("if [ x = y ]; then\n", &["if", "[", "x", "=", "y", "]", ";", "then", ";"]),
            ("m{a}b", &["m", "{", "a", "}", "b"]),
            ("a\r\nb", &["a", ";", "b"]),
            ("'open", &["open"]),
            ("${open\nb", &["${open", ";", "b"]),
            ("\\", &[""]),
        ];
        for (text, expected) in table {
            assert_eq!(words(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn lines_are_counted_through_quotes() {
        let found: Vec<usize> = tokens(b"a 'b\nc' d\n\ne").map(|token| token.line).collect();
        assert_eq!(found, [1, 1, 2, 2, 3, 4]);
    }
}
