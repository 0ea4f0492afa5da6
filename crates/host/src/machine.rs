//! What an operation may do to a host. The machine, a mounted system and the simulated host do it each in their way.

use crate::files::file_error::FileError;
use crate::read_host::{FILE_LIMIT, ReadHost};
use cede_model::Entry;
use std::time::Duration;

/// Why a change could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EffectError {
    /// A file could not be written or removed.
    #[error("{0}")]
    File(String),
    /// There is no room for the file; nothing was written.
    #[error("{0}")]
    NoSpace(String),
    /// The file is not what it was when the plan was made; nothing was written.
    #[error("{0}")]
    Changed(String),
    /// A tool could not be started.
    #[error("{tool}: {why}")]
    Tool {
        /// Its path.
        tool: String,
        /// Why not.
        why: String,
    },
    /// Another run holds the lock; which, where that is known.
    #[error("another cede is at work on this host{0}: wait for it to end")]
    Locked(String),
    /// A tool that a killed run started is still at work.
    #[error("{0}")]
    ToolAtWork(String),
}

impl From<FileError> for EffectError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Changed { .. } => Self::Changed(error.to_string()),
            FileError::NoSpace { .. } => Self::NoSpace(error.to_string()),
            other => Self::File(other.to_string()),
        }
    }
}

/// How a tool ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolEnd {
    /// True for exit status 0.
    pub success: bool,
    /// The exit status or signal, in words.
    pub status: String,
    /// Everything that it printed.
    pub output: String,
}

/// Room on a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// Where it is mounted.
    pub mounted_at: String,
    /// The kernel's number for it.
    pub device: u64,
    /// Bytes that may still be written.
    pub free: u64,
}

/// Keeps other runs out as long as it lives.
pub trait Lock {}

/// Writes to attributes, one after the other.
pub trait AttributeWriter {
    /// As [`Machine::write_attribute`].
    ///
    /// # Errors
    /// The kernel refuses, or does not answer within the limit.
    fn write(&mut self, path: &str, value: &str) -> Result<(), EffectError>;
}

struct EachByItself<F>(F);

impl<F: FnMut(&str, &str) -> Result<(), EffectError>> AttributeWriter for EachByItself<F> {
    fn write(&mut self, path: &str, value: &str) -> Result<(), EffectError> {
        (self.0)(path, value)
    }
}

/// The bytes of a file, where it can be read.
pub(crate) fn content(machine: &dyn Machine, path: &str) -> Option<Vec<u8>> {
    match machine.read(path, FILE_LIMIT) {
        Entry::File(bytes) => Some(bytes),
        _ => None,
    }
}

/// A host that can be changed.
pub trait Machine: ReadHost + Sync {
    /// Puts `after` in the place of `before`, atomically and durably; `None` stands for no file. Directories that are missing are made.
    ///
    /// # Errors
    /// [`EffectError::Changed`] where the file is not as `before` says; then nothing was written.
    fn replace(&self, path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> Result<(), EffectError>;

    /// Makes a private file of our own with this content, durable when it returns. It must not exist.
    ///
    /// # Errors
    /// It exists, or cannot be written.
    fn create_private(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError>;

    /// Removes a directory where nothing is in it.
    ///
    /// # Errors
    /// The system refuses.
    fn remove_directory(&self, _path: &str) -> Result<(), EffectError> {
        Ok(())
    }

    /// Removes what a killed run left beside a file under a temporary name.
    fn sweep(&self, _path: &str) {}

    /// Appends to a file of our own, durable when it returns.
    ///
    /// # Errors
    /// It cannot be written.
    fn append(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError>;

    /// Writes a file that a tool made, and its name, to disk: few tools do. No such file is no error, and neither is a machine without disks.
    ///
    /// # Errors
    /// It cannot be written.
    fn make_durable(&self, _path: &str) -> Result<(), EffectError> {
        Ok(())
    }

    /// Runs a tool by its absolute path with a clean environment and no standard input, handing each line of its output on as it comes.
    ///
    /// # Errors
    /// It could not be started.
    fn run(&self, argv: &[String], line: &mut dyn FnMut(&str)) -> Result<ToolEnd, EffectError>;

    /// Writes a value and a line end to an attribute of sysfs, and waits for the kernel to take it, though not for ever.
    ///
    /// # Errors
    /// The kernel refuses, or does not answer within the limit.
    fn write_attribute(&self, path: &str, _value: &str) -> Result<(), EffectError> {
        Err(EffectError::File(format!("{path}: attributes are written on the running system alone")))
    }

    /// Writes to attributes as [`Machine::write_attribute`] does, where there are many.
    fn attribute_writer(&self) -> Box<dyn AttributeWriter + '_> {
        Box::new(EachByItself(|path: &str, value: &str| self.write_attribute(path, value)))
    }

    /// True for a block device that somebody has for himself: it is mounted, also where it is not seen from here, or another one is made of it.
    fn is_claimed(&self, _path: &str) -> bool {
        false
    }

    /// How long it may take until what drivers bring shows up.
    fn settles_in(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether tools can be run.
    fn runs_tools(&self) -> bool;

    /// Why tools cannot be run.
    fn no_tools(&self) -> Option<String> {
        None
    }

    /// Takes the lock below `/var/lib/cede`.
    ///
    /// # Errors
    /// [`EffectError::Locked`], or it cannot be made.
    fn lock(&self) -> Result<Box<dyn Lock>, EffectError>;

    /// The signal that asked the operation to end, since this was asked last.
    fn stop_asked(&self) -> Option<&'static str> {
        None
    }

    /// Room on the file system where the path is or would be; `None` where that cannot be told.
    fn space(&self, _path: &str) -> Option<Space> {
        None
    }

    /// Seconds since 1970.
    fn time(&self) -> u64;

    /// The bytes of a generated image, which may be large.
    ///
    /// # Errors
    /// What stands there instead.
    fn image(&self, path: &str) -> Result<Vec<u8>, cede_model::Entry>;
}
