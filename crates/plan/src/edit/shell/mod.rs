//! Shell-sourced configuration: `/etc/default/grub`, its `grub.d/*.cfg`, `mkinitcpio.conf` and its drop-ins.
//!
//! [`parse`] finds the top-level commands with exact byte ranges, [`Environment`] says what variables hold after the
//! files were sourced, and [`words`] and [`mod@array`] change one assignment. What a shell would decide at run time is
//! [`Unknown`], never guessed.

pub mod array;
mod compound;
mod env;
mod error;
mod expand;
mod expansion;
mod lexer;
mod parser;
mod simple;
mod splice;
mod state;
mod syntax;
#[cfg(test)]
mod tests;
mod text;
pub mod words;

pub use env::{Environment, Evaluation, evaluate};
pub(crate) use error::line_of;
pub use error::{CannotEdit, ParseError, Unknown, Why};
pub use parser::parse;
pub use state::Sourcing;
pub use syntax::{
    ArrayLiteral, Assign, AssignValue, Command, CommandKind, Dialect, Index, Op, Part, PartKind, Quote, Script, Shells, Simple, Span, Word,
};
pub use text::{Chunk, Origin, Text};
