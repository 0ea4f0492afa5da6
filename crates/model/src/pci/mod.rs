//! PCI functions as the kernel shows them.

pub mod address;
pub mod device;
pub mod id;
pub mod names;

pub use address::PciAddress;
pub use device::PciDevice;
pub use id::{PciClass, PciId};
pub use names::PciNames;
