//! The only crate that touches a machine: reading it, writing to it durably, running its tools, and keeping the journal. Everything it takes
//! from a path below `--root` stays below it.

pub mod apply;
pub mod dir_handle;
pub mod file_error;
pub mod images;
mod live;
mod live_read;
mod locate;
pub mod machine;
pub mod observe;
pub mod read_host;
pub mod replace_file;
pub mod root;
pub mod sim;
mod temporary;
mod xattrs;

pub use dir_handle::DirHandle;
pub use file_error::FileError;
pub use machine::Machine;
pub use observe::{Scope, observe};
pub use read_host::ReadHost;
pub use root::Root;
pub use sim::SimHost;
