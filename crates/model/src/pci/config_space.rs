//! A reader over the bytes of a function's configuration space.
//!
//! Offsets and bits are those of include/uapi/linux/pci_regs.h (Linux 7.2). Who reads `/sys/bus/pci/devices/ADDRESS/config` without
//! `CAP_SYS_ADMIN` gets 64 bytes, or 128 of a CardBus bridge (drivers/pci/pci-sysfs.c, `pci_read_config`), so "cannot be seen" is an answer
//! of its own here: see [`Field`].

use super::capability::{self, CapabilityList, Express, ExtendedSpace};
use super::id::{PciClass, PciId};

/// What the bytes at hand say of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<T> {
    /// Read.
    Known(T),
    /// The function does not have it.
    Absent,
    /// The bytes that would tell were not read.
    Hidden,
}

impl<T> Field<T> {
    /// The value, where it was read.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Hidden => None,
        }
    }

    /// Applies `f` to a known value and leaves the other two answers as they are.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Field<U> {
        self.and_then(|value| Field::Known(f(value)))
    }

    /// Asks on from a known value and leaves the other two answers as they are.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Field<U>) -> Field<U> {
        match self {
            Self::Known(value) => f(value),
            Self::Absent => Field::Absent,
            Self::Hidden => Field::Hidden,
        }
    }

    /// A read that fails for want of bytes.
    pub(super) fn of(read: Option<T>) -> Self {
        read.map_or(Self::Hidden, Self::Known)
    }
}

/// The layout of the header: `PCI_HEADER_TYPE` without bit 7 (PCI Express Base Specification 6.0, 7.5.1.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderType {
    /// Type 0: an endpoint or a host bridge.
    Normal,
    /// Type 1: a PCI-to-PCI bridge or a port.
    Bridge,
    /// Type 2: a CardBus bridge.
    CardBus,
    /// Any other number.
    Other(u8),
}

/// Bus numbers of a bridge (type 1 and 2 headers, offsets 0x18 to 0x1a).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BridgeBuses {
    /// The bus it stands on, as firmware wrote it.
    pub primary: u8,
    /// The bus directly behind it; 0 where nobody configured the bridge.
    pub secondary: u8,
    /// The highest bus behind it.
    pub subordinate: u8,
}

/// Configuration space, as far as it was read. Any length is taken.
#[derive(Debug, Clone, Copy)]
pub struct ConfigSpace<'a> {
    bytes: &'a [u8],
    extended: ExtendedSpace,
}

impl<'a> ConfigSpace<'a> {
    /// What was read from sysfs. 256 bytes are all the kernel itself can see of the function (`cfg_size`), so a PCI Express function
    /// of 256 bytes has no extended capabilities, as far as this kernel goes.
    pub fn from_sysfs(bytes: &'a [u8]) -> Self {
        Self { bytes: with_data(bytes), extended: ExtendedSpace::AllRead }
    }

    /// What was taken from a listing such as `lspci -xxx`, where 256 bytes may be the beginning of 4096.
    pub fn from_dump(bytes: &'a [u8]) -> Self {
        Self { bytes: with_data(bytes), extended: ExtendedSpace::MayBeCut }
    }

    /// True where nothing was read, or only bits set: a function that is gone, powered off or behind a dead link.
    pub fn has_no_data(&self) -> bool {
        self.bytes.is_empty()
    }

    /// `PCI_VENDOR_ID` and `PCI_DEVICE_ID`. A virtual function has `ffff:ffff` here (SR-IOV 1.1, 3.4.1.1): its physical function knows.
    pub fn id(&self) -> Option<PciId> {
        Some(PciId { vendor: self.u16(0x00)?, device: self.u16(0x02)? })
    }

    /// `PCI_REVISION_ID`.
    pub fn revision(&self) -> Option<u8> {
        self.u8(0x08)
    }

    /// `PCI_CLASS_REVISION` without the revision.
    pub fn class(&self) -> Option<PciClass> {
        self.u32(0x08).map(|word| PciClass(word >> 8))
    }

    /// Layout of the header.
    pub fn header_type(&self) -> Option<HeaderType> {
        self.u8(0x0e).map(|byte| match byte & 0x7f {
            0 => HeaderType::Normal,
            1 => HeaderType::Bridge,
            2 => HeaderType::CardBus,
            other => HeaderType::Other(other),
        })
    }

    /// `PCI_HEADER_TYPE_MFD`, bit 7 of the header type: the slot has several functions.
    pub fn multifunction(&self) -> Option<bool> {
        self.u8(0x0e).map(|byte| byte & 0x80 != 0)
    }

    /// Subsystem vendor and device: in the header of types 0 and 2, in capability `PCI_CAP_ID_SSVID` of type 1. All zero means none.
    pub fn subsystem(&self) -> Field<PciId> {
        let offset = match self.header_type() {
            None => Field::Hidden,
            Some(HeaderType::Normal) => Field::Known(0x2c),
            Some(HeaderType::CardBus) => Field::Known(0x40),
            Some(HeaderType::Bridge) => self.capability(capability::SUBSYSTEM).map(|found| usize::from(found.offset) + 4),
            Some(HeaderType::Other(_)) => Field::Absent,
        };
        offset.and_then(|at| Field::of(self.u32(at))).and_then(|word| match word.to_le_bytes() {
            [0, 0, 0, 0] => Field::Absent,
            [a, b, c, d] => Field::Known(PciId { vendor: u16::from_le_bytes([a, b]), device: u16::from_le_bytes([c, d]) }),
        })
    }

    /// Bus numbers of a bridge; absent of anything else.
    pub fn bridge_buses(&self) -> Field<BridgeBuses> {
        match self.header_type() {
            None => Field::Hidden,
            Some(HeaderType::Bridge | HeaderType::CardBus) => Field::of(self.u32(0x18)).map(|word| {
                let [primary, secondary, subordinate, _] = word.to_le_bytes();
                BridgeBuses { primary, secondary, subordinate }
            }),
            Some(_) => Field::Absent,
        }
    }

    /// The capabilities of the first 256 bytes, in the order of the list.
    pub fn capabilities(&self) -> CapabilityList {
        capability::walk(self)
    }

    /// The capabilities from 0x100 on, in the order of the list.
    pub fn extended_capabilities(&self) -> CapabilityList {
        capability::walk_extended(self, self.extended)
    }

    /// The first capability with this number (`PCI_CAP_ID_*`).
    pub fn capability(&self, id: u16) -> Field<capability::Capability> {
        self.capabilities().find(id)
    }

    /// The first extended capability with this number (`PCI_EXT_CAP_ID_*`).
    pub fn extended_capability(&self, id: u16) -> Field<capability::Capability> {
        self.extended_capabilities().find(id)
    }

    /// The PCI Express capability: version and device/port type (`PCI_EXP_FLAGS`, PCI Express 6.0, 7.5.3.2). Absent: conventional PCI.
    pub fn express(&self) -> Field<Express> {
        self.capability(capability::EXPRESS).and_then(|found| Field::of(self.u16(usize::from(found.offset) + 2))).map(Express::from_flags)
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn u8(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(super) fn u16(&self, at: usize) -> Option<u16> {
        let pair = self.bytes.get(at..at.checked_add(2)?)?;
        pair.try_into().ok().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&self, at: usize) -> Option<u32> {
        let four = self.bytes.get(at..at.checked_add(4)?)?;
        four.try_into().ok().map(u32::from_le_bytes)
    }
}

/// A header of nothing but set bits is what a read from a function that does not answer gives (PCI Express 6.0, 2.3.2).
fn with_data(bytes: &[u8]) -> &[u8] {
    let header = bytes.get(..64).unwrap_or(bytes);
    if header.iter().all(|byte| *byte == 0xff) { &[] } else { bytes }
}

#[cfg(test)]
#[path = "config_space_tests.rs"]
mod tests;
