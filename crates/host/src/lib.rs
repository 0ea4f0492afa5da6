//! The only crate that touches a machine.

pub mod dir_handle;
pub mod file_error;
mod locate;
pub mod replace_file;
pub mod root;
mod temporary;
mod xattrs;
