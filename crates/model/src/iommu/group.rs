//! IOMMU groups as the kernel made them: what it can isolate from the rest, and nothing finer.

use crate::capture::{Capture, Entry};
use crate::pci::{PciAddress, device::PciDevice};
use std::collections::BTreeMap;

/// Where the kernel shows its groups (drivers/iommu/iommu.c).
pub const IOMMU_GROUPS: &str = "/sys/kernel/iommu_groups";

/// A range of I/O virtual addresses that is not free to use, one line of `reserved_regions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservedRegion {
    /// First address.
    pub start: u64,
    /// Last address.
    pub end: u64,
    /// `direct`, `direct-relaxable`, `reserved` or `msi`.
    pub kind: String,
}

/// One group: numbers are sparse, differ between boots, and mean nothing outside of this boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IommuGroup {
    /// The kernel's number.
    pub id: u32,
    /// Type of the default domain (`DMA`, `DMA-FQ`, `identity`…), since Linux 5.11.
    pub kind: Option<String>,
    /// Name, which made-up groups have (`vfio-noiommu`).
    pub name: Option<String>,
    /// PCI functions in it, sorted.
    pub devices: Vec<PciAddress>,
    /// Reserved ranges.
    pub reserved: Vec<ReservedRegion>,
}

impl IommuGroup {
    /// True for groups that isolate nothing: those of the no-IOMMU mode (drivers/vfio/group.c).
    pub fn is_made_up(&self) -> bool {
        self.name.as_deref() == Some("vfio-noiommu")
    }

    /// True where firmware wants a one-to-one mapping, with which VFIO cannot use the group (drivers/iommu/iommu.c `require_direct`).
    pub fn has_direct_region(&self) -> bool {
        self.reserved.iter().any(|region| region.kind == "direct")
    }
}

/// Every group that has PCI functions, by number. The functions' own links count; the group directories add what those do not tell.
pub fn read_groups(capture: &Capture, devices: &[PciDevice]) -> Vec<IommuGroup> {
    let mut groups: BTreeMap<u32, IommuGroup> = BTreeMap::new();
    for device in devices {
        if let Some(id) = device.iommu_group {
            groups.entry(id).or_insert_with(|| empty(id)).devices.push(device.address);
        }
    }
    for (id, rest, entry) in below_groups(capture) {
        let group = groups.entry(id).or_insert_with(|| empty(id));
        let text = || match entry {
            Entry::File(bytes) => std::str::from_utf8(bytes).ok().map(str::trim_end),
            _ => None,
        };
        match rest {
            "type" => group.kind = text().map(str::to_owned),
            "name" => group.name = text().map(str::to_owned),
            "reserved_regions" => group.reserved = text().unwrap_or_default().lines().filter_map(region).collect(),
            _ => group.devices.extend(rest.strip_prefix("devices/").and_then(|address| address.parse::<PciAddress>().ok())),
        }
    }
    groups.retain(|_, group| {
        group.devices.sort();
        group.devices.dedup();
        !group.devices.is_empty()
    });
    groups.into_values().collect()
}

fn empty(id: u32) -> IommuGroup {
    IommuGroup { id, kind: None, name: None, devices: Vec::new(), reserved: Vec::new() }
}

/// What the capture has below each group's directory.
fn below_groups(capture: &Capture) -> impl Iterator<Item = (u32, &str, &Entry)> {
    capture.below(format!("{IOMMU_GROUPS}/")).filter_map(|(path, entry)| {
        let (id, rest) = path.strip_prefix(IOMMU_GROUPS)?.strip_prefix('/')?.split_once('/')?;
        Some((id.parse().ok()?, rest, entry))
    })
}

fn region(line: &str) -> Option<ReservedRegion> {
    let mut words = line.split_whitespace();
    let mut address = || u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok();
    Some(ReservedRegion { start: address()?, end: address()?, kind: words.next()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::device::read_devices;

    #[test]
    fn sparse_numbers_high_domains_and_functions_without_a_group() {
        let mut capture = Capture::new();
        for (address, group) in [("0000:00:00.0", "7"), ("0000:01:00.0", "300"), ("10000:e1:00.0", "300")] {
            capture.insert(
                format!("/sys/bus/pci/devices/{address}/iommu_group"),
                Entry::Link(format!("../../../kernel/iommu_groups/{group}")),
            );
        }
        capture.insert("/sys/bus/pci/devices/0000:02:00.0/vendor", Entry::File(b"0x8086\n".to_vec()));
        capture.insert("/sys/kernel/iommu_groups/300/type", Entry::File(b"DMA-FQ\n".to_vec()));
        capture.insert(
            "/sys/kernel/iommu_groups/300/reserved_regions",
            Entry::File(b"0x00000000fee00000 0x00000000feefffff msi\n0x000000009d800000 0x000000009fffffff direct\n".to_vec()),
        );
        capture.insert("/sys/kernel/iommu_groups/9/devices/0000:03:00.0", Entry::Link("x".into()));
        let groups = read_groups(&capture, &read_devices(&capture));
        assert_eq!(groups.iter().map(|g| g.id).collect::<Vec<_>>(), [7, 9, 300]);
        assert_eq!(groups[2].devices.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0000:01:00.0", "10000:e1:00.0"]);
        assert_eq!(groups[2].kind.as_deref(), Some("DMA-FQ"));
        assert!(groups[2].has_direct_region() && !groups[0].has_direct_region());
    }
}
