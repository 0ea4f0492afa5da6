//! What the user asked for.

use cede_model::pci::{PciAddress, PciClass, PciDevice, PciId, SerialNumber, SlotPath};
use serde::{Deserialize, Serialize};

/// How vfio-pci is told what to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindMethod {
    /// `vfio-pci.ids=` on the kernel command line: taking it out in the boot menu disables everything.
    #[default]
    Cmdline,
    /// `options vfio-pci ids=` in modprobe.d, copied into the initramfs.
    Modprobe,
    /// `driver_override` for each function by address, which needs no ids: see [`crate::by_address`].
    Override,
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
    /// The card's serial number, where it has one that could be read.
    pub serial: Option<SerialNumber>,
    /// Where it was plugged in, where known.
    pub slot: Option<SlotPath>,
}

impl Identity {
    /// The identity of a function; `None` where its ids could not be read.
    pub fn of(device: &PciDevice) -> Option<Self> {
        Some(Self {
            address: device.address,
            id: device.id?,
            subsystem: device.subsystem,
            class: device.class,
            serial: device.serial,
            slot: device.slot.clone(),
        })
    }

    /// True where the function found at the address is the one meant, as far as both are known. A serial number tells for certain; without
    /// one, a card of the same kind in another slot is another card.
    pub fn matches(&self, device: &PciDevice) -> bool {
        let same_card = agree(self.serial.as_ref(), device.serial.as_ref());
        let same_slot = agree(self.slot.as_ref(), device.slot.as_ref());
        device.address == self.address && self.is_like(device) && same_card.or(same_slot).unwrap_or(true)
    }

    /// True for a function of the same kind: what ids can tell.
    pub fn is_like(&self, device: &PciDevice) -> bool {
        device.id == Some(self.id) && device.subsystem == self.subsystem && agree(self.class, device.class) != Some(false)
    }

    /// True where two records may speak of the same function: one may know less, as when it was made without root's eyes.
    pub fn agrees(&self, other: &Self) -> bool {
        let whole = |identity: &Self| (identity.address, identity.id, identity.subsystem);
        whole(self) == whole(other)
            && agree(self.class, other.class) != Some(false)
            && agree(self.serial, other.serial) != Some(false)
            && agree(self.slot.as_ref(), other.slot.as_ref()) != Some(false)
    }
}

/// Whether two facts are the same; `None` where one of them is not known.
fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<bool> {
    Some(one? == other?)
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.address, self.id)
    }
}
