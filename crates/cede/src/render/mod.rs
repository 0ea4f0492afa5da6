//! From views to text.

pub mod conflict;
pub mod plan;
pub mod table;
