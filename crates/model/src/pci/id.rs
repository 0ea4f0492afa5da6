//! Numbers by which a PCI function says what it is.

use std::fmt;

/// A vendor and device pair, or a subsystem vendor and subsystem device pair. Shown as `10de:1f91`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciId {
    /// Vendor, as assigned by PCI-SIG.
    pub vendor: u16,
    /// Device, as assigned by the vendor.
    pub device: u16,
}

impl fmt::Display for PciId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

/// Reads `10de:1f91`.
pub fn parse(text: &str) -> Option<PciId> {
    let digits = |text: &str| (text.len() == 4).then(|| u16::from_str_radix(text, 16).ok())?;
    let (vendor, device) = text.split_once(':')?;
    Some(PciId { vendor: digits(vendor)?, device: digits(device)? })
}

/// A class code of 24 bits: base class, subclass, programming interface. Shown as `030000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciClass(pub u32);

impl PciClass {
    /// Base class, for example 3 for display controllers (PCI Code and ID Assignment Specification, chapter 1).
    pub fn base(self) -> u8 {
        self.0.to_be_bytes()[1]
    }

    /// Base class and subclass, for example 0x0300 for VGA compatible controllers.
    pub fn base_and_sub(self) -> u16 {
        u16::from_be_bytes([self.0.to_be_bytes()[1], self.0.to_be_bytes()[2]])
    }

    /// Display controllers of any kind.
    pub fn is_display(self) -> bool {
        self.base() == 0x03
    }

    /// PCI-to-PCI bridges and ports, of which the header is type 1, and CardBus bridges.
    pub fn is_pci_bridge(self) -> bool {
        matches!(self.base_and_sub(), 0x0604 | 0x0607 | 0x0609)
    }
}

impl fmt::Display for PciClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}", self.0)
    }
}
