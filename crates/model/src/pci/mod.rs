//! PCI functions as the kernel shows them.

pub mod address;
pub mod capability;
pub mod config_space;
pub mod device;
pub mod id;
pub mod names;
pub mod option_rom;
pub mod serial;
pub mod slot_path;
pub mod upstream;

pub use address::PciAddress;
pub use config_space::{ConfigSpace, Field};
pub use device::PciDevice;
pub use id::{PciClass, PciId};
pub use names::PciNames;
pub use option_rom::OptionRom;
pub use serial::SerialNumber;
pub use slot_path::SlotPath;
pub use upstream::Upstream;
