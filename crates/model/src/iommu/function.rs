//! What the grouping asks of one function, in its place.

use crate::pci::capability::{AcsRegisters, ExpressType};
use crate::pci::{Field, PciAddress, PciClass, PciId};

/// One function, its configuration bytes read and its place in the tree found. Indices point into the list in discovery order.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub(super) address: PciAddress,
    pub(super) id: PciId,
    pub(super) subsystem: Option<PciId>,
    pub(super) class: PciClass,
    /// `Absent`: conventional PCI.
    pub(super) express: Field<ExpressType>,
    /// `pci_dev.multifunction`; `None` where it cannot be told.
    pub(super) multifunction: Option<bool>,
    pub(super) acs: Field<AcsRegisters>,
    pub(super) acs_wide: Field<AcsRegisters>,
    /// The bridge or port above; `None` on a root bus.
    pub(super) bridge: Option<usize>,
    /// The VMD endpoint in whose name the function does DMA: everything in a VMD domain does (`pci_real_dma_dev`).
    pub(super) vmd: Option<usize>,
    /// False where no IOMMU translates for it.
    pub(super) has_group: bool,
    /// A virtual function of SR-IOV.
    pub(super) is_virtual: bool,
}

/// A function alone on a root bus of which only the numbers are known.
#[cfg(test)]
pub(super) fn sample(vendor: u16, device: u16) -> Function {
    Function {
        address: PciAddress { domain: 0, bus: 0, devfn: 0 },
        id: PciId { vendor, device },
        subsystem: None,
        class: PciClass(0),
        express: Field::Absent,
        multifunction: Some(false),
        acs: Field::Absent,
        acs_wide: Field::Absent,
        bridge: None,
        vmd: None,
        has_group: true,
        is_virtual: false,
    }
}
