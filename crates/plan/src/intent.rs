//! What the user asked for.

use cede_model::pci::{PciAddress, PciClass, PciDevice, PciId};
use serde::{Deserialize, Serialize};

/// How the ids of the ceded functions reach vfio-pci.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindMethod {
    /// `vfio-pci.ids=` on the kernel command line: taking it out in the boot menu disables everything.
    #[default]
    Cmdline,
    /// `options vfio-pci ids=` in modprobe.d, copied into the initramfs.
    Modprobe,
}

/// A function by address *and* by what must be found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Where it is.
    pub address: PciAddress,
    /// Vendor and device.
    pub id: PciId,
    /// Subsystem vendor and device, where it has one.
    pub subsystem: Option<PciId>,
    /// Class code, where known.
    pub class: Option<PciClass>,
}

impl Identity {
    /// The identity of a function; `None` where its ids could not be read.
    pub fn of(device: &PciDevice) -> Option<Self> {
        Some(Self { address: device.address, id: device.id?, subsystem: device.subsystem, class: device.class })
    }

    /// True where the function found at the address is the one meant.
    pub fn matches(&self, device: &PciDevice) -> bool {
        device.address == self.address && device.id == Some(self.id) && device.subsystem == self.subsystem
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.address, self.id)
    }
}
