//! PCI functions as the kernel shows them.

pub mod address;
pub mod capability;
pub mod config_space;
pub mod id;
pub mod upstream;

pub use address::PciAddress;
pub use config_space::{ConfigSpace, Field};
pub use id::{PciClass, PciId};
pub use upstream::Upstream;
