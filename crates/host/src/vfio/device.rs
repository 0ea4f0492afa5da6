//! An open device.

use super::ioctl::{self, Answer};
use cede_model::pci::PciAddress;
use cede_plan::prove::{Region, Seen};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FLAGS_PCI, VFIO_DEVICE_FLAGS_RESET, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_MMAP,
};

/// Extended configuration space (PCI Express 6.0, 7.2.2).
const CONFIG_BYTES: u64 = 4096;

/// A device that VFIO has opened for us; closing it resets it.
pub(super) struct Device(pub(super) OwnedFd);

impl Device {
    /// What kind it is.
    pub(super) fn info(&self) -> Answer<Seen> {
        let info = ioctl::device_info(&self.0)?;
        let has = |flag: u32| info.flags & flag != 0;
        Ok(Seen::Info { is_pci: has(VFIO_DEVICE_FLAGS_PCI), can_reset: has(VFIO_DEVICE_FLAGS_RESET) })
    }

    /// Its regions. Legacy VGA is one that only some have.
    pub(super) fn regions(&self) -> Answer<Vec<Region>> {
        let mut list = Vec::new();
        for index in 0..VFIO_PCI_NUM_REGIONS {
            match ioctl::region_info(&self.0, index) {
                Ok(info) => {
                    list.push(Region { index, size: info.size, can_map: info.flags & VFIO_REGION_INFO_FLAG_MMAP != 0 });
                }
                Err(Errno::INVAL) if index > VFIO_PCI_CONFIG_REGION_INDEX => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(list)
    }

    /// How many interrupts of each kind it has.
    pub(super) fn interrupts(&self) -> Answer<Seen> {
        let count = |index| ioctl::irq_info(&self.0, index).map(|info| info.count);
        Ok(Seen::Interrupts([count(VFIO_PCI_INTX_IRQ_INDEX)?, count(VFIO_PCI_MSI_IRQ_INDEX)?, count(VFIO_PCI_MSIX_IRQ_INDEX)?]))
    }

    /// Configuration space, whole.
    pub(super) fn config(&self) -> Answer<Vec<u8>> {
        let info = ioctl::region_info(&self.0, VFIO_PCI_CONFIG_REGION_INDEX)?;
        let mut bytes = vec![0; usize::try_from(info.size.min(CONFIG_BYTES)).unwrap_or(0)];
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(&self.0, rest, info.offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }

    /// The functions that a reset of its bus takes along.
    pub(super) fn reset_set(&self) -> Answer<Seen> {
        let list = ioctl::reset_set(&self.0)?;
        Ok(Seen::ResetSet(list.into_iter().map(|(segment, bus, devfn)| PciAddress { domain: segment.into(), bus, devfn }).collect()))
    }

    /// Resets it, and reads its ids.
    pub(super) fn reset(&self) -> Answer<Seen> {
        ioctl::reset(&self.0)?;
        let config = self.config()?;
        Ok(Seen::Alive(config.first_chunk().copied()))
    }
}
