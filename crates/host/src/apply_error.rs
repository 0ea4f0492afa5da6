//! How an operation failed.

/// Why nothing, or not all, was done. Each says in which of three worlds the host is: unchanged, rolled back, partly changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Nothing was changed.
    #[error("{0}; nothing was changed")]
    Unchanged(String),
    /// The host is not as it was when the plan was made; nothing was changed.
    #[error("{0}; nothing was changed: make a new plan")]
    HostChanged(String),
    /// An earlier operation was interrupted.
    #[error("operation {0} was interrupted: run `cede recover` first")]
    Interrupted(u32),
    /// Every file is as it was.
    #[error("{0}; everything was rolled back")]
    RolledBack(String),
    /// Some files could not be brought back.
    #[error("{cause}; rolling back failed too: {rollback}")]
    PartlyChanged {
        /// What failed first.
        cause: String,
        /// What could not be taken back.
        rollback: String,
    },
}
