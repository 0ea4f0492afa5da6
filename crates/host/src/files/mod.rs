//! Files below a root: resolved inside it, read with care, replaced atomically and durably.

pub mod dir_handle;
pub(crate) mod efi_variable;
pub mod file_error;
pub(crate) mod locate;
pub mod replace_file;
pub mod root;
pub(crate) mod temporary;
mod xattrs;
