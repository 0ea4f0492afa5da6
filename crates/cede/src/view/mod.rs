//! What commands answer: plain types, versioned, the only ones that are serialised for users.

pub mod bind;
pub mod check;
pub mod device_name;
pub mod devices;
pub mod error;
pub mod explain;
pub mod explain_words;
pub mod groups;
pub mod handoff;
pub mod log;
pub mod operation;
pub mod prove;
pub mod report;
pub mod rom;
pub mod shown;
pub mod status;
pub mod tree;
pub mod tree_lines;
pub mod verify;
pub mod what_if;
