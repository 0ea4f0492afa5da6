//! What the grouping asks of one function, in its place.

use super::acs_parameters::{AcsChange, REDIRECT};
use crate::pci::capability::{AcsRegisters, ExpressType};
use crate::pci::{Field, PciAddress, PciClass, PciId};

/// One function, its configuration bytes read and its place in the tree found. Indices point into the list in discovery order.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub(super) address: PciAddress,
    /// `None`: any of the kernel's quirks may be for it.
    pub(super) id: Option<PciId>,
    pub(super) subsystem: Option<PciId>,
    pub(super) class: PciClass,
    /// `Absent`: conventional PCI.
    pub(super) express: Field<ExpressType>,
    /// `pci_dev.multifunction`; `None` where it cannot be told.
    pub(super) multifunction: Option<bool>,
    pub(super) acs: Field<AcsRegisters>,
    pub(super) acs_wide: Field<AcsRegisters>,
    /// What the command line does to its ACS.
    pub(super) acs_change: Option<AcsChange>,
    /// A port that leads to a slot.
    pub(super) has_slot: bool,
    /// The bridge or port above; `None` on a root bus.
    pub(super) bridge: Option<usize>,
    /// The VMD endpoint in whose name the function does DMA: everything in a VMD domain does (`pci_real_dma_dev`).
    pub(super) vmd: Option<usize>,
    /// The device and function number in whose name firmware says that it does DMA.
    pub(super) firmware_alias: Option<u8>,
    /// False where no IOMMU translates for it.
    pub(super) has_group: bool,
    /// A virtual function of SR-IOV.
    pub(super) is_virtual: bool,
    /// Of a bridge, the bus behind it.
    pub(super) secondary: Option<u8>,
}

impl Function {
    /// Of wide registers the command line clears the redirections and nothing else, whatever it says
    /// (drivers/pci/quirks.c, `pci_quirk_disable_intel_spt_pch_acs_redir`).
    pub(super) fn wide_change(&self) -> Option<AcsChange> {
        self.acs_change.map(|_| AcsChange { mask: REDIRECT, flags: 0, rest_from_firmware: false })
    }
}

/// A function alone on a root bus of which only the numbers are known.
#[cfg(test)]
pub(super) fn sample(vendor: u16, device: u16) -> Function {
    Function {
        address: PciAddress { domain: 0, bus: 0, devfn: 0 },
        id: Some(PciId { vendor, device }),
        subsystem: None,
        class: PciClass(0),
        express: Field::Absent,
        multifunction: Some(false),
        acs: Field::Absent,
        acs_wide: Field::Absent,
        acs_change: None,
        has_slot: false,
        bridge: None,
        vmd: None,
        firmware_alias: None,
        has_group: true,
        is_virtual: false,
        secondary: None,
    }
}
