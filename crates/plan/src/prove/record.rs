//! What was done and what the kernel answered, as plain data.

use super::errno::Errno;
use super::step::Step;
use cede_model::pci::PciAddress;
use std::fmt;
use std::time::Duration;

/// What a step was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The kernel's interface as a whole, by the node it is reached by.
    Node(&'static str),
    /// An IOMMU group.
    Group(u32),
    /// A function.
    Device(PciAddress),
    /// QEMU and the firmware in it.
    Guest,
    /// A function that a guest had.
    Returned(PciAddress),
}

impl Subject {
    /// The function, where it is one.
    pub fn address(&self) -> Option<PciAddress> {
        match self {
            Self::Device(address) | Self::Returned(address) => Some(*address),
            Self::Node(_) | Self::Group(_) | Self::Guest => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(path) => f.write_str(path),
            Self::Group(id) => write!(f, "group {id}"),
            Self::Device(address) => write!(f, "{address}"),
            Self::Guest => f.write_str("the guest"),
            Self::Returned(address) => write!(f, "{address}, returned"),
        }
    }
}

/// A region of a device (`struct vfio_region_info`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// `VFIO_PCI_*_REGION_INDEX`: 0 to 5 are BARs, 6 the ROM, 7 configuration space, 8 legacy VGA.
    pub index: u32,
    /// Bytes; 0 where the device has none such.
    pub size: u64,
    /// True where it may be mapped into the guest, so that accesses need no help of the emulator.
    pub can_map: bool,
}

/// What a step showed beside that it went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing more.
    Done,
    /// A number: version, extension.
    Number(i32),
    /// Whether a group is viable.
    Viable(bool),
    /// `struct vfio_device_info`: is it a PCI device, and can it be reset.
    Info {
        /// `VFIO_DEVICE_FLAGS_PCI`.
        is_pci: bool,
        /// `VFIO_DEVICE_FLAGS_RESET`.
        can_reset: bool,
    },
    /// Regions, and sysfs's `resource` of the same function.
    Regions(Vec<Region>, Option<Vec<u8>>),
    /// How many interrupts of each kind: INTx, MSI, MSI-X.
    Interrupts([u32; 3]),
    /// Configuration space through VFIO, and through sysfs.
    Config(Vec<u8>, Option<Vec<u8>>),
    /// Where memory was mapped, in bytes.
    Mapped {
        /// First I/O virtual address.
        iova: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Bytes that were unmapped, of those mapped.
    Unmapped(u64, u64),
    /// The functions that a reset of the bus takes along.
    ResetSet(Vec<PciAddress>),
    /// The first four bytes of configuration space afterwards.
    Alive(Option<[u8; 4]>),
    /// The kernel has not answered in time, and cannot be made to.
    NoAnswer,
    /// Where QEMU is, and its version: major, minor.
    Qemu(String, Option<(u32, u32)>),
    /// How a guest ended, and all that its firmware and QEMU said.
    Guest(End, String),
}

/// How a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The firmware was done, and QEMU was ended.
    Done,
    /// The time was over, in seconds.
    TimedOut(u64),
    /// QEMU ended by itself, or was stopped; in words.
    Exited(String),
}

/// One step that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What.
    pub step: Step,
    /// On what.
    pub subject: Subject,
    /// What came of it.
    pub answer: Result<Seen, Errno>,
    /// How long it took.
    pub took: Duration,
}
