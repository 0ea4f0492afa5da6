//! From views to text.

pub mod bind;
pub mod conflict;
pub mod explain;
pub mod page;
pub mod plan;
pub mod prove;
pub mod table;
pub mod tree;
pub mod what_if;
