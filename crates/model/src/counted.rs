//! Numbers with their nouns.

use std::fmt::Display;

/// `1 device`, `2 devices`.
pub fn counted(count: impl Display + PartialEq + From<u8>, noun: &str) -> String {
    let ending = if count == 1.into() { "" } else { "s" };
    format!("{count} {noun}{ending}")
}
