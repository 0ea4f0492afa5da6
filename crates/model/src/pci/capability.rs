//! Capabilities in configuration space: the two lists, and those that decide about IOMMU groups.

use super::address::PciAddress;
use super::config_space::{ConfigSpace, Field, HeaderType};
use super::serial::SerialNumber;

/// `PCI_CAP_ID_SSVID`: subsystem of a bridge.
pub const SUBSYSTEM: u16 = 0x0d;
/// `PCI_CAP_ID_EXP`: PCI Express.
pub const EXPRESS: u16 = 0x10;
/// `PCI_EXT_CAP_ID_DSN`: Device Serial Number.
pub const SERIAL_NUMBER: u16 = 0x0003;
/// `PCI_EXT_CAP_ID_ACS`: Access Control Services.
pub const ACS: u16 = 0x000d;
/// `PCI_EXT_CAP_ID_SRIOV`: Single Root I/O Virtualization.
pub const SRIOV: u16 = 0x0010;

const STATUS: usize = 0x06;
const STATUS_CAPABILITY_LIST: u16 = 0x10;
const EXTENDED_START: usize = 0x100;

/// One entry of a capability list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    /// `PCI_CAP_ID_*`, or `PCI_EXT_CAP_ID_*` in the extended list.
    pub id: u16,
    /// Version of an extended capability; 0 in the first list, which has none.
    pub version: u8,
    /// Where it begins.
    pub offset: u16,
}

/// A list as far as it could be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapabilityList {
    /// The entries, in the order of the list.
    pub found: Vec<Capability>,
    /// False where the list goes on in bytes that were not read.
    pub complete: bool,
}

impl CapabilityList {
    /// The first entry with this number.
    pub fn find(&self, id: u16) -> Field<Capability> {
        match self.found.iter().find(|entry| entry.id == id) {
            Some(entry) => Field::Known(*entry),
            None if self.complete => Field::Absent,
            None => Field::Hidden,
        }
    }

    fn ends(complete: bool) -> Self {
        Self { found: Vec::new(), complete }
    }

    /// False where the entry was met before: a list that runs in a circle.
    fn push(&mut self, entry: Capability) -> bool {
        let fresh = !self.found.iter().any(|old| old.offset == entry.offset);
        if fresh {
            self.found.push(entry);
        }
        fresh
    }
}

/// What 256 bytes of a PCI Express function mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExtendedSpace {
    /// The kernel sees no more either.
    AllRead,
    /// The rest may not have been copied.
    MayBeCut,
}

/// Follows the first list as `__pci_find_next_cap` does (drivers/pci/pci.h): it ends below 0x40 and at id 0xff.
pub(super) fn walk(config: &ConfigSpace<'_>) -> CapabilityList {
    let Some(status) = config.u16(STATUS) else { return CapabilityList::ends(false) };
    if status & STATUS_CAPABILITY_LIST == 0 {
        return CapabilityList::ends(true);
    }
    let start = if config.header_type() == Some(HeaderType::CardBus) { 0x14 } else { 0x34 };
    let mut list = CapabilityList::ends(false);
    let mut pointer = config.u8(start);
    while let Some(at) = pointer {
        let offset = at & !3;
        let Some(id) = config.u8(usize::from(offset)).filter(|_| offset >= 0x40) else {
            list.complete = offset < 0x40;
            return list;
        };
        if id == 0xff || !list.push(Capability { id: id.into(), version: 0, offset: offset.into() }) {
            list.complete = true;
            return list;
        }
        pointer = config.u8(usize::from(offset) + 1);
    }
    list
}

/// Follows the extended list (PCI Express 6.0, 7.6.3): header dword with id 15:0, version 19:16, next 31:20.
pub(super) fn walk_extended(config: &ConfigSpace<'_>, space: ExtendedSpace) -> CapabilityList {
    if config.len() <= EXTENDED_START {
        let conventional = config.express() == Field::Absent;
        let whole = config.len() == EXTENDED_START && space == ExtendedSpace::AllRead;
        return CapabilityList::ends(conventional || whole);
    }
    let mut list = CapabilityList::ends(false);
    let mut at = EXTENDED_START;
    while let Some(header) = config.u32(at) {
        let [low, high, ..] = header.to_le_bytes();
        let entry = Capability {
            id: u16::from_le_bytes([low, high]),
            version: u8::try_from(header >> 16 & 0xf).unwrap_or_default(),
            offset: u16::try_from(at).unwrap_or(u16::MAX),
        };
        let next = usize::try_from(header >> 20 & 0xffc).unwrap_or_default();
        let nothing = header == 0 || header == u32::MAX;
        if nothing || !list.push(entry) || next < EXTENDED_START {
            list.complete = true;
            break;
        }
        at = next;
    }
    list
}

/// Device/port type of the PCI Express capability (`PCI_EXP_FLAGS_TYPE`, PCI Express 6.0, 7.5.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExpressType {
    /// `PCI_EXP_TYPE_ENDPOINT`.
    Endpoint,
    /// `PCI_EXP_TYPE_LEG_END`.
    LegacyEndpoint,
    /// `PCI_EXP_TYPE_ROOT_PORT`.
    RootPort,
    /// `PCI_EXP_TYPE_UPSTREAM`.
    UpstreamPort,
    /// `PCI_EXP_TYPE_DOWNSTREAM`.
    DownstreamPort,
    /// `PCI_EXP_TYPE_PCI_BRIDGE`: PCI Express above, conventional PCI below.
    PcieToPciBridge,
    /// `PCI_EXP_TYPE_PCIE_BRIDGE`: conventional PCI above, PCI Express below.
    PciToPcieBridge,
    /// `PCI_EXP_TYPE_RC_END`: root complex integrated endpoint.
    RootComplexEndpoint,
    /// `PCI_EXP_TYPE_RC_EC`: root complex event collector.
    EventCollector,
    /// A number that has no meaning yet.
    Other(u8),
}

/// The PCI Express capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Express {
    /// Version of the capability's layout, 1 or 2.
    pub version: u8,
    /// What kind of function it is.
    pub kind: ExpressType,
    /// `PCI_EXP_FLAGS_SLOT`: a port that leads to a slot, and not to a part of the board.
    pub slot: bool,
}

impl Express {
    pub(super) fn from_flags(flags: u16) -> Self {
        let [low, high] = flags.to_le_bytes();
        let kind = match low >> 4 {
            0 => ExpressType::Endpoint,
            1 => ExpressType::LegacyEndpoint,
            4 => ExpressType::RootPort,
            5 => ExpressType::UpstreamPort,
            6 => ExpressType::DownstreamPort,
            7 => ExpressType::PcieToPciBridge,
            8 => ExpressType::PciToPcieBridge,
            9 => ExpressType::RootComplexEndpoint,
            10 => ExpressType::EventCollector,
            other => ExpressType::Other(other),
        };
        Self { version: low & 0xf, kind, slot: high & 1 == 1 }
    }
}

/// What Access Control Services can do, and what of it is switched on (PCI Express 6.0, 7.7.11). Bits as in `PCI_ACS_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcsRegisters {
    /// `PCI_ACS_CAP`.
    pub capability: u16,
    /// `PCI_ACS_CTRL`.
    pub control: u16,
}

/// Numbers of virtual functions (Single Root I/O Virtualization 1.1, 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SriovNumbers {
    /// `PCI_SRIOV_INITIAL_VF`.
    pub initial: u16,
    /// `PCI_SRIOV_TOTAL_VF`: the most that can be made.
    pub total: u16,
    /// `PCI_SRIOV_NUM_VF`: how many there are.
    pub enabled: u16,
}

impl ConfigSpace<'_> {
    /// The ACS capability and control words.
    pub fn acs(&self) -> Field<AcsRegisters> {
        self.acs_with_control_at(6)
    }

    /// ACS registers of Intel's 100 and 200 series root ports, which are a double word wide each, so that control stands at 8
    /// (drivers/pci/quirks.c, `INTEL_SPT_ACS_CTRL`).
    pub fn acs_of_wide_registers(&self) -> Field<AcsRegisters> {
        self.acs_with_control_at(8)
    }

    fn acs_with_control_at(&self, control: usize) -> Field<AcsRegisters> {
        self.extended_capability(ACS).and_then(|found| {
            let at = usize::from(found.offset);
            Field::of(self.u16(at + 4).zip(self.u16(at + control)).map(|(capability, control)| AcsRegisters { capability, control }))
        })
    }

    /// The card's serial number: the low double word comes first (drivers/pci/pci.c `pci_get_dsn`).
    pub fn serial_number(&self) -> Field<SerialNumber> {
        let register = self.extended_capability(SERIAL_NUMBER).and_then(|found| {
            let at = usize::from(found.offset) + 4;
            Field::of(self.u32(at).zip(self.u32(at + 4)).map(|(low, high)| u64::from(high) << 32 | u64::from(low)))
        });
        register.and_then(|value| SerialNumber::from_register(value).map_or(Field::Absent, Field::Known))
    }

    /// How many virtual functions there are and may be.
    pub fn sriov(&self) -> Field<SriovNumbers> {
        self.extended_capability(SRIOV).and_then(|found| {
            let word = |at: usize| self.u16(usize::from(found.offset) + at);
            let numbers = || Some(SriovNumbers { initial: word(0x0c)?, total: word(0x0e)?, enabled: word(0x10)? });
            Field::of(numbers())
        })
    }

    /// Where the virtual functions of the function at `own` are: so many from an offset on, each a stride after the last (Single Root
    /// I/O Virtualization 1.1, 2.1.2). Empty where there are none, or nothing was read.
    pub fn virtual_functions(&self, own: PciAddress) -> Vec<PciAddress> {
        let Some(found) = self.extended_capability(SRIOV).known() else { return Vec::new() };
        let word = |at: usize| self.u16(usize::from(found.offset) + at);
        let Some((count, first, stride)) = word(0x10).zip(word(0x14)).zip(word(0x16)).map(|((a, b), c)| (a, b, c)) else {
            return Vec::new();
        };
        virtual_functions(own, count, first, stride)
    }
}

/// The addresses of `count` virtual functions, as far as there are numbers for them.
pub(crate) fn virtual_functions(own: PciAddress, count: u16, first: u16, stride: u16) -> Vec<PciAddress> {
    let own_number = u32::from(own.bus) << 8 | u32::from(own.devfn);
    let number = |index: u16| u16::try_from(own_number + u32::from(first) + u32::from(stride) * u32::from(index)).ok();
    let address = |[bus, devfn]: [u8; 2]| PciAddress { domain: own.domain, bus, devfn };
    (0..count).map_while(number).map(u16::to_be_bytes).map(address).collect()
}
