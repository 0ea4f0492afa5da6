//! From views to text.

pub mod table;
