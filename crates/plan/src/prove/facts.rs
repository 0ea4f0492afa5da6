//! What a verdict rests on beside the records: the host, and what stands around the devices.

use cede_model::Host;
use cede_model::pci::PciDevice;

/// A process that has a node open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The node.
    pub path: String,
    /// Process number.
    pub pid: u32,
    /// Its name (`comm`).
    pub name: String,
}

/// What stands around the devices, read when the proof is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `/proc/interrupts`.
    pub interrupts: Option<Vec<u8>>,
    /// `allow_unsafe_interrupts` of the module in question is on.
    pub unsafe_interrupts: bool,
    /// `RLIMIT_MEMLOCK` in bytes; `None` without a limit, or where the limit does not count (`CAP_IPC_LOCK`).
    pub memlock: Option<u64>,
    /// Who has which node open, as far as that may be seen.
    pub holders: Vec<Holder>,
    /// True for root.
    pub is_root: bool,
}

impl Surroundings {
    /// Whether interrupts are remapped: the chips' names tell, and only on x86 (`IR-PCI-MSI`, drivers/iommu/intel/irq_remapping.c).
    /// `None` where neither kind of chip is there.
    pub fn remapping(&self) -> Option<bool> {
        let text = String::from_utf8_lossy(self.interrupts.as_deref()?);
        let is_chip = |word: &str| word.starts_with("IR-") || word.contains("IO-APIC") || word.contains("PCI-MSI");
        let mut chips = text.split_whitespace().filter(|word| is_chip(word)).peekable();
        chips.peek()?;
        Some(chips.any(|word| word.starts_with("IR-")))
    }
}

/// All of it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The host, whole.
    pub host: &'a Host,
    /// What stands around.
    pub around: &'a Surroundings,
}

impl<'a> Facts<'a> {
    /// The functions of a group that keep VFIO from it, with their drivers.
    pub fn foreign(&self, group: u32) -> Vec<&'a PciDevice> {
        let members = self.host.devices.iter().filter(|device| device.iommu_group == Some(group));
        members.filter(|device| device.driver_name().is_some() && crate::group_choice::blocks(device)).collect()
    }

    /// Ranges that firmware wants mapped one to one.
    pub fn direct(&self, group: u32) -> Option<String> {
        let group = self.host.groups.iter().find(|found| found.id == group)?;
        let region = group.reserved.iter().find(|region| region.kind == "direct")?;
        Some(format!("{:#x}-{:#x}", region.start, region.end))
    }

    /// Who has a node open.
    pub fn holders(&self, path: &str) -> Vec<String> {
        let found = self.around.holders.iter().filter(|holder| holder.path == path);
        found.map(|holder| format!("{} (process {})", holder.name, holder.pid)).collect()
    }
}
