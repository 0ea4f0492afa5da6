//! PCI functions as the kernel shows them.

pub mod address;
pub mod capability;
pub mod config_space;
pub mod device;
pub mod id;
pub mod names;
pub mod upstream;

pub use address::PciAddress;
pub use config_space::{ConfigSpace, Field};
pub use device::PciDevice;
pub use id::{PciClass, PciId};
pub use names::PciNames;
pub use upstream::Upstream;
