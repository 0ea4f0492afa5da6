//! Why a file cannot be read, a value not be known, an edit not be made.

use thiserror::Error;

/// The file is not shell source that this reader accepts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// Byte offset of the trouble, or where the unclosed thing began.
    pub offset: usize,
    /// Line of that offset, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// A value that cannot be told from the files alone, with the place that makes it so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {why}")]
pub struct Unknown {
    /// Index of the file among those evaluated.
    pub file: usize,
    /// Line in that file, from 1.
    pub line: usize,
    /// Why.
    pub why: Why,
}

/// Why a value is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Why {
    /// The file does not parse in this shell.
    #[error("{0}")]
    Unreadable(&'static str),
    /// A NUL byte, which shells drop or stop at.
    #[error("the file contains a NUL byte")]
    Nul,
    /// The shell takes it as part of the first word, which is no command and no name then; `grub-mkconfig` (`set -e`) ends there.
    #[error("the file begins with a byte order mark, which the shell takes as part of the first word: take it out")]
    ByteOrderMark,
    /// `NAME = x` runs a command, and `NAME= x` sets the variable for one alone.
    #[error("with a blank beside `=` the shell runs a command and does not set {0}: take the blank out")]
    Blank(String),
    /// A command that takes the variable away.
    #[error("`unset` takes {0} away: take that line out")]
    Unset(String),
    /// The assignment itself computes its value.
    #[error("the value is computed by {0}")]
    Computed(&'static str),
    /// The assignment uses a variable that no file assigns; it may come from the environment.
    #[error("the value uses {0}, which none of these files sets")]
    Outside(String),
    /// A command that may or may not run mentions the variable.
    #[error("a conditional or compound command may change {0}")]
    Conditional(String),
    /// A command reads other code or changes variables whose names are computed.
    #[error("`{0}` may change any variable")]
    Anything(String),
    /// `readonly` came before an assignment, which ends the shell.
    #[error("{0} is made read-only: take `readonly` out")]
    ReadOnly(String),
    /// A command after which the rest may not run, or runs under other rules.
    #[error("`{0}` may change how the rest of the file is read")]
    Lost(String),
    /// Expansion grew beyond what is sensible.
    #[error("the value grows too large when expanded")]
    TooLarge,
}

impl Why {
    /// Is the value computed by its own unconditional assignment, so that appending to it afterwards is sound?
    pub fn appendable(&self) -> bool {
        matches!(self, Self::Computed(_) | Self::Outside(_))
    }
}

/// An edit that is refused; the file stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CannotEdit {
    /// CR line ends reach the value.
    #[error(
        "line {line}: the file has CR line ends, which the shell takes as part of the values; convert it with `sed -i 's/\\r$//' FILE` first"
    )]
    CarriageReturn {
        /// First line with a CR.
        line: usize,
    },
    /// A NUL byte.
    #[error("line {line}: the file contains a NUL byte; remove it with an editor first")]
    Nul {
        /// Its line.
        line: usize,
    },
    /// The file does not parse.
    #[error("line {line}: {what}; correct the file (see `{shell} -n FILE`) first")]
    Unreadable {
        /// Where.
        line: usize,
        /// What is wrong.
        what: &'static str,
        /// The shell that cannot read it.
        shell: &'static str,
    },
    /// The value cannot be told.
    #[error("line {line}: {why}, so {var} cannot be edited safely; make it a plain assignment or edit it by hand")]
    Unknown {
        /// The variable.
        var: String,
        /// Where.
        line: usize,
        /// Why.
        why: Why,
    },
    /// dash and bash see different values.
    #[error("line {line}: dash and bash read {var} differently; write it as {var}=\"...\" without `+=`, `$'..'` or arrays first")]
    ShellsDiffer {
        /// The variable.
        var: String,
        /// Line of an assignment to it, or 1.
        line: usize,
    },
    /// The word to remove or replace is not in the value.
    #[error("line {line}: {var} does not contain {word}; nothing to change, look at the value with `grep {var} FILE`")]
    NotThere {
        /// The variable.
        var: String,
        /// The word.
        word: String,
        /// Line of an assignment to it, or 1.
        line: usize,
    },
    /// A word that cannot be written as one word.
    #[error("line {line}: {word:?} is not one word of {var}; give each parameter as one word, blanks only inside double quotes")]
    NotAWord {
        /// The variable.
        var: String,
        /// The word.
        word: String,
        /// Line of the assignment, or 1.
        line: usize,
    },
    /// The value itself has a double quote that is not closed, which swallows whatever is appended.
    #[error("line {line}: {var} has a double quote that is not closed on the kernel command line; close it first")]
    OpenQuote {
        /// The variable.
        var: String,
        /// Line of the assignment.
        line: usize,
    },
    /// No form of the edit led to the value wanted.
    #[error("line {line}: the assignment of {var} is written in a way that cannot be changed safely; edit it by hand")]
    NoSafeForm {
        /// The variable.
        var: String,
        /// Line of the assignment.
        line: usize,
    },
}

impl CannotEdit {
    /// The whole message for a file of this name, so that what it says to type can be typed.
    pub fn in_file(&self, path: &str) -> String {
        format!("{path}: {}", with_path(&self.to_string(), path))
    }
}

impl Unknown {
    /// Where and why, for a file of this name.
    pub fn in_file(&self, path: &str, var: &str) -> String {
        format!("{path}, line {}: {var}: {}", self.line, with_path(&self.why.to_string(), path))
    }
}

fn with_path(message: &str, path: &str) -> String {
    message.replace(" FILE`", &format!(" {path}`"))
}

/// Line of a byte offset, from 1.
pub(crate) fn line_of(source: &[u8], offset: usize) -> usize {
    1 + source.iter().take(offset).filter(|b| **b == b'\n').count()
}
