//! The only crate that touches a machine.

pub mod observe;
pub mod read_host;

pub use observe::{Scope, observe};
pub use read_host::ReadHost;
