//! The documented exit codes.

use std::process::ExitCode;

/// What the caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, all fine.
    Fine = 0,
    /// Problems found, or not verified.
    Problems = 1,
    /// Wrong usage.
    Usage = 2,
    /// The host could not be read well enough.
    Unreadable = 3,
    /// Refused by a safety rule.
    Refused = 4,
    /// The host changed since the plan was made.
    Changed = 5,
    /// Apply failed, everything rolled back.
    RolledBack = 6,
    /// Apply failed, roll-back incomplete.
    PartlyChanged = 7,
    /// Applied: reboot, then `cede verify`.
    Reboot = 8,
    /// A bug in cede.
    Bug = 70,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
