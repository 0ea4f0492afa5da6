//! Files in which the counts of long runs are kept.

use std::fs;

/// Adds a line to one, which begins with `head`.
pub(crate) fn keep(path: &str, head: &str, line: &str) -> Result<(), String> {
    let so_far = fs::read_to_string(path).unwrap_or_else(|_| head.to_owned());
    fs::write(path, so_far + line).map_err(|error| format!("{path}: {error}"))
}
