//! From views to text.

pub mod plan;
pub mod table;
