//! Generated boot loader files, read to prove what the next boot will do.

pub mod grub_cfg;
mod grub_lexer;
pub mod loader_entry;
