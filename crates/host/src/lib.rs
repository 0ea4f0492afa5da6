//! The only crate that touches a machine: reading it, writing to it durably, running its tools, and keeping the journal. Everything it takes
//! from a path below `--root` stays below it.

pub mod apply;
mod apply_error;
mod attribute;
pub mod attribute_child;
pub mod boot_mounts;
mod child;
pub mod files;
mod generated;
mod image_aside;
pub mod images;
mod inside;
mod interrupt;
mod leftovers;
pub mod limits;
mod live;
mod live_read;
mod live_space;
mod lock;
mod look;
pub mod machine;
mod menu;
mod mounts_below;
pub mod observe;
pub mod option_rom;
pub mod read_host;
pub mod sim;
mod space;
mod unrecorded;
pub mod vfio;

pub use files::file_error::FileError;
pub use files::root::Root;
pub use lock::{Turn, take_turn};
pub use machine::Machine;
pub use observe::{Scope, observe};
pub use read_host::ReadHost;
pub use sim::SimHost;
