//! The syntax tree: what the parser found, as byte ranges into the source.

use std::ops::Range;

/// A half-open range of byte offsets into the source.
pub type Span = Range<usize>;

/// Which shell reads the file. They differ in `+=`, arrays, `$'..'`, `[[`, `((`, `function` and `<<<`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `dash`, the `/bin/sh` of the Debian family.
    Dash,
    /// `bash`, also when it is `/bin/sh`.
    Bash,
}

/// The shells that may read the file; an edit must be right in each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shells {
    /// Only `bash`: `mkinitcpio.conf`, or a host whose `/bin/sh` is known to be bash.
    Bash,
    /// Only `dash`: a host whose `/bin/sh` is known to be dash.
    Dash,
    /// `/bin/sh` of an unknown kind: both must agree.
    Either,
}

impl Shells {
    /// The dialects to satisfy.
    pub fn dialects(self) -> &'static [Dialect] {
        match self {
            Self::Bash => &[Dialect::Bash],
            Self::Dash => &[Dialect::Dash],
            Self::Either => &[Dialect::Bash, Dialect::Dash],
        }
    }
}

/// A whole file: its top-level commands in order. Comments and blank space are the bytes between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The commands, in the order in which the shell runs them.
    pub commands: Vec<Command>,
    /// Offsets of expansions that may fail and then end the shell: `${X?}`, arithmetic, forms that one shell lacks.
    pub fallible: Vec<usize>,
}

/// One command of the top level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// From its first to after its last byte, without the separator.
    pub span: Span,
    /// What it is.
    pub kind: CommandKind,
}

/// What a top-level command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandKind {
    /// Assignments, or a command with words, that runs unconditionally in this shell.
    Simple(Simple),
    /// A compound command, pipeline, list with `&&`/`||`, or background job.
    Opaque {
        /// The simple commands anywhere inside, which may or may not run.
        inner: Vec<Simple>,
        /// Names of the functions that it defines.
        functions: Vec<String>,
    },
    /// The definition of a function, which does nothing until it is called.
    Function {
        /// The simple commands in its body.
        inner: Vec<Simple>,
        /// Its name, and those defined in its body.
        functions: Vec<String>,
    },
    /// The body of a here-document whose delimiter was not quoted: text in which expansions happen.
    HereDocument,
}

/// A simple command: assignments, then words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simple {
    /// From the first to after the last byte.
    pub span: Span,
    /// Assignments before the command word, or the arguments of a declaring command.
    pub assigns: Vec<Assign>,
    /// The command word and its other arguments; empty for plain assignments.
    pub words: Vec<Word>,
    /// Whether there is a redirection.
    pub redirected: bool,
    /// Whether one of them may fail, as none from a here-document does.
    pub may_fail: bool,
}

/// `NAME=value`, `NAME+=value`, `NAME[..]=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assign {
    /// The variable.
    pub name: String,
    /// From the name to after the value.
    pub span: Span,
    /// `+=`; bash only.
    pub append: bool,
    /// `NAME[..]=`: one element of an array.
    pub subscript: bool,
    /// Right-hand side.
    pub value: AssignValue,
}

/// The right-hand side of an assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssignValue {
    /// One word, possibly empty.
    Scalar(Word),
    /// `( ... )`.
    Array(ArrayLiteral),
}

/// `( ... )` after `NAME=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayLiteral {
    /// With both parentheses.
    pub span: Span,
    /// The words; comments lie between them.
    pub elements: Vec<Word>,
}

/// A word: pieces of text in one or several ways of quoting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// With its quotes.
    pub span: Span,
    /// The pieces; quotes and backslash-newline are the bytes between them.
    pub parts: Vec<Part>,
}

/// One piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where, without the quotes around it.
    pub span: Span,
    /// How it is quoted.
    pub quote: Quote,
    /// What it is.
    pub kind: PartKind,
}

/// How a piece is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// Not at all, or by a backslash.
    None,
    /// `'..'`
    Single,
    /// `".."`
    Double,
    /// `$'..'`, bash only.
    AnsiC,
}

/// What a piece of a word is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartKind {
    /// The bytes of the span as they stand.
    Verbatim,
    /// An escape: it stands for these bytes.
    Escape(Vec<u8>),
    /// `$NAME`, `${NAME}`, `${NAME[@]}`, `${NAME:-word}` and the like.
    Parameter {
        /// The variable.
        name: String,
        /// The subscript.
        index: Index,
        /// `:-`, `-`, `:+`, `+` with the word after it.
        op: Option<(Op, Vec<Part>)>,
    },
    /// An expansion that only a shell can do; the text says which sort.
    Computed(&'static str),
}

/// The subscript of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// None: the first element of an array.
    None,
    /// `[@]`
    At,
    /// `[*]`
    Star,
}

/// Operators of parameter expansion that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `:-` (empty counts as unset) or `-`.
    Default {
        /// With the colon.
        or_empty: bool,
    },
    /// `:+` (empty counts as unset) or `+`.
    Alternative {
        /// With the colon.
        or_empty: bool,
    },
}

impl Word {
    /// The bytes that the word stands for if nothing in it must be expanded.
    pub fn literal(&self, source: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for part in &self.parts {
            match &part.kind {
                PartKind::Verbatim => out.extend_from_slice(slice(source, &part.span)),
                PartKind::Escape(bytes) => out.extend_from_slice(bytes),
                PartKind::Parameter { .. } | PartKind::Computed(_) => return None,
            }
        }
        Some(out)
    }
}

/// The bytes of a span; empty if it does not lie inside.
pub(super) fn slice<'a>(source: &'a [u8], span: &Span) -> &'a [u8] {
    source.get(span.clone()).unwrap_or_default()
}

/// May this byte begin a variable's name?
pub(super) fn name_start(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphabetic()
}

/// May this byte stand in a variable's name?
pub(super) fn name_byte(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Is this a variable's name?
pub(super) fn is_name(text: &[u8]) -> bool {
    text.first().is_some_and(|b| name_start(*b)) && text.iter().all(|b| name_byte(*b))
}
