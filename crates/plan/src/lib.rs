//! What to say of a host and what to change on it. Pure: no files, no clock, no environment, no printing.

/// Lossless readers and editors of configuration files: shell assignments, kernel command lines, `modprobe.d`.
pub mod edit;
