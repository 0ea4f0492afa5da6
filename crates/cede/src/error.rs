//! Errors as the user sees them: what went wrong, and something to type.

use crate::exit_code::Exit;
use cede_plan::undo::Conflict;

/// A command that cannot go on.
#[derive(Debug)]
pub struct CommandError {
    /// The exit code.
    pub exit: Exit,
    /// Lower-case fragment that names the object.
    pub message: String,
    /// Commands to run or things to do.
    pub hints: Vec<String>,
    /// What others changed where cede did.
    pub conflicts: Vec<Conflict>,
}

impl CommandError {
    /// An error without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new(), conflicts: Vec::new() }
    }

    /// The host, or a file given in its place, could not be read.
    pub fn unreadable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unreadable, message)
    }

    /// The command does not make sense as typed.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// True where a reader had enough.
    pub fn is_cut_off(&self) -> bool {
        self.message.is_empty()
    }

    /// Adds something to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// A pipe closed by the reader ends the command quietly, but what it was to do or to judge did not come to its end; other failures to print
/// are errors.
impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Problems, "");
        }
        Self::new(Exit::Problems, format!("could not print: {error}"))
    }
}
