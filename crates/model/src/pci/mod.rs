//! PCI functions as the kernel shows them.

pub mod address;
pub mod id;

pub use address::PciAddress;
pub use id::{PciClass, PciId};
