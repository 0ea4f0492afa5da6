//! All facts of one host, read from its capture.

use crate::capture::Capture;
use crate::iommu::{AcpiTables, IommuGroup, IommuState, group, state};
use crate::kernel::{Kernel, ModuleAliases};
use crate::observed::Observed;
use crate::os::{Firmware, OsRelease};
use crate::pci::{PciAddress, PciDevice, device};

/// Vendor of the processor, by which Linux chooses the IOMMU driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuVendor {
    /// Intel, Centaur and Zhaoxin: the DMAR table, `intel_iommu=`.
    Intel,
    /// AMD and Hygon: the IVRS table, `amd_iommu=`.
    Amd,
    /// Any that is an Arm (arch/arm64/kernel/cpuinfo.c): SMMUs, without a parameter.
    Arm,
    /// Another, or not seen.
    Other,
}

/// What is true of a host, as far as its capture tells.
#[derive(Debug, Clone)]
pub struct Host {
    /// What was read.
    pub capture: Capture,
    /// Every PCI function, in the order of their addresses.
    pub devices: Vec<PciDevice>,
    /// Whether an IOMMU is at work.
    pub iommu: IommuState,
    /// Active IOMMU units.
    pub iommu_units: Vec<String>,
    /// The kernel's groups by number, without those of the no-IOMMU mode, which isolate nothing.
    pub groups: Vec<IommuGroup>,
    /// What firmware offers.
    pub acpi: AcpiTables,
    /// Installed kernels, oldest first.
    pub kernels: Vec<Kernel>,
    /// Release of the running kernel.
    pub running: Option<String>,
    /// Operating system.
    pub os: OsRelease,
    /// Firmware.
    pub firmware: Firmware,
}

impl Host {
    /// Reads a capture. Cannot fail: what the capture lacks is unknown.
    pub fn from_capture(capture: Capture) -> Self {
        let mut devices = device::read_devices(&capture);
        let mut groups = group::read_groups(&capture, &devices);
        let iommu = IommuState::judge(&capture, &groups, devices.len());
        adopt_groups(&mut devices, &groups);
        drop_made_up(&mut devices, &mut groups);
        Self {
            iommu,
            iommu_units: state::units(&capture),
            acpi: AcpiTables::read(&capture),
            kernels: Kernel::installed(&capture),
            running: capture.attribute("/proc/sys/kernel/osrelease").map(str::to_owned),
            os: OsRelease::read(&capture),
            firmware: Firmware::read(&capture),
            groups,
            devices,
            capture,
        }
    }

    /// The function at an address.
    pub fn device(&self, address: PciAddress) -> Option<&PciDevice> {
        self.devices.binary_search_by_key(&address, |device| device.address).ok().and_then(|at| self.devices.get(at))
    }

    /// The group that holds a function.
    pub fn group_of(&self, address: PciAddress) -> Option<&IommuGroup> {
        let id = self.device(address)?.iommu_group?;
        self.groups.binary_search_by_key(&id, |group| group.id).ok().and_then(|at| self.groups.get(at))
    }

    /// Every function of a slot: same domain, bus and device number.
    pub fn slot(&self, address: PciAddress) -> impl Iterator<Item = &PciDevice> {
        let start = self.devices.partition_point(|device| device.address < PciAddress { devfn: address.devfn & !7, ..address });
        self.devices.get(start..).unwrap_or_default().iter().take_while(move |device| device.address.same_slot(address))
    }

    /// The command line of the running kernel.
    pub fn running_cmdline(&self) -> Observed<&[u8]> {
        self.capture.observed("/proc/cmdline").map(<[u8]>::trim_ascii_end)
    }

    /// The kernel that runs, where its module tree is there.
    pub fn running_kernel(&self) -> Option<&Kernel> {
        let release = self.running.as_deref()?;
        self.kernels.iter().find(|kernel| kernel.release == release)
    }

    /// The kernel whose modules are spoken of: the running one, else the newest.
    pub fn reference_kernel(&self) -> Option<&Kernel> {
        self.running_kernel().or(self.kernels.last())
    }

    /// Modules that could drive a function: those of which an alias matches.
    pub fn candidates(&self, device: &PciDevice, aliases: &ModuleAliases<'_>) -> Vec<String> {
        let modalias = device.modalias_text().unwrap_or_default();
        aliases.matching(&modalias).into_iter().map(str::to_owned).collect()
    }

    /// Vendor of the processor.
    pub fn cpu_vendor(&self) -> CpuVendor {
        let text = self.capture.attribute("/proc/cpuinfo").unwrap_or_default();
        let vendor = text.lines().find_map(|line| line.strip_prefix("vendor_id")?.split_once(':')).map(|(_, value)| value.trim());
        match vendor {
            Some("GenuineIntel" | "CentaurHauls" | "Shanghai" | "  Shanghai  ") => CpuVendor::Intel,
            Some("AuthenticAMD" | "HygonGenuine") => CpuVendor::Amd,
            None if text.lines().any(|line| line.starts_with("CPU implementer")) => CpuVendor::Arm,
            _ => CpuVendor::Other,
        }
    }
}

/// A function whose own link was not seen gets its group from the group's directory.
fn adopt_groups(devices: &mut [PciDevice], groups: &[IommuGroup]) {
    for group in groups {
        for address in &group.devices {
            if let Ok(at) = devices.binary_search_by_key(address, |device| device.address)
                && let Some(device) = devices.get_mut(at)
            {
                device.iommu_group.get_or_insert(group.id);
            }
        }
    }
}

/// Groups that isolate nothing are none: not in the list, and not of their members.
fn drop_made_up(devices: &mut [PciDevice], groups: &mut Vec<IommuGroup>) {
    let made_up: Vec<u32> = groups.extract_if(.., |group| group.is_made_up()).map(|group| group.id).collect();
    for device in devices.iter_mut() {
        device.iommu_group = device.iommu_group.filter(|id| made_up.binary_search(id).is_err());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Entry;

    fn member(capture: &mut Capture, address: &str, group: u32, name: Option<&str>) {
        capture.insert(format!("/sys/bus/pci/devices/{address}/iommu_group"), Entry::Link(format!("../../../kernel/iommu_groups/{group}")));
        if let Some(name) = name {
            capture.insert(format!("/sys/kernel/iommu_groups/{group}/name"), Entry::File(format!("{name}\n").into_bytes()));
        }
    }

    #[test]
    fn groups_of_the_no_iommu_mode_are_no_groups() {
        let mut capture = Capture::new();
        member(&mut capture, "0000:01:00.0", 0, Some("vfio-noiommu"));
        capture.insert("/sys/kernel/iommu_groups/5/devices/0000:03:00.0", Entry::Link("x".into()));
        capture.insert("/sys/kernel/iommu_groups/5/name", Entry::File(b"vfio-noiommu\n".to_vec()));
        capture.insert("/sys/bus/pci/devices/0000:03:00.0/vendor", Entry::File(b"0x8086\n".to_vec()));
        let off = Host::from_capture(capture.clone());
        assert_eq!((off.iommu, off.groups.len()), (IommuState::Off, 0));
        assert!(off.devices.len() == 2 && off.devices.iter().all(|device| device.iommu_group.is_none()));
        member(&mut capture, "0000:02:00.0", 1, None);
        let on = Host::from_capture(capture);
        assert_eq!((on.iommu, on.groups.iter().map(|group| group.id).collect::<Vec<_>>()), (IommuState::On, vec![1]));
        assert!(on.group_of("01:00.0".parse().unwrap()).is_none() && on.group_of("03:00.0".parse().unwrap()).is_none());
        assert!(on.group_of("02:00.0".parse().unwrap()).is_some());
    }
}
