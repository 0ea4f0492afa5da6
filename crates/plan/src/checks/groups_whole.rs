//! Is the whole group of a ceded function ceded? Otherwise VFIO refuses the group.

use crate::finding::{Finding, Verdict};
use crate::group_choice::{blocks, stays};
use cede_model::iommu::{IommuGroup, group::IOMMU_GROUPS};
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::{Evidence, Host, counted};

/// `group-not-whole` for groups in which some functions are ceded and others are in use by the host; `group-whole` for the others with ceded ones.
/// For functions that the user named, the group is described even before anything is ceded; `group-direct-mapping` where VFIO cannot use it.
pub fn check(host: &Host, devices: &[PciAddress]) -> Vec<Finding> {
    let named = |group: &&IommuGroup| group.devices.iter().any(|address| devices.contains(address));
    let ceded = |group: &&IommuGroup| members(host, group).any(PciDevice::is_on_vfio);
    host.groups.iter().filter(|group| named(group) || ceded(group)).flat_map(|group| judge(host, group)).collect()
}

fn members<'a>(host: &'a Host, group: &'a IommuGroup) -> impl Iterator<Item = &'a PciDevice> {
    group.devices.iter().filter_map(|address| host.device(*address))
}

fn judge(host: &Host, group: &IommuGroup) -> Vec<Finding> {
    let foreign: Vec<&PciDevice> = members(host, group).filter(|member| blocks(member)).collect();
    let ceded = members(host, group).any(PciDevice::is_on_vfio);
    let source = format!("{IOMMU_GROUPS}/{}/devices", group.id);
    let driver = |member: &PciDevice| {
        Evidence::new(format!("/sys/bus/pci/devices/{}/driver", member.address), member.driver_name().unwrap_or("none"))
    };
    let list = group.devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mut findings = Vec::new();
    if ceded && let Some(first) = foreign.first() {
        let names = foreign
            .iter()
            .map(|member| format!("{} ({})", member.address, member.driver_name().unwrap_or("no driver")))
            .collect::<Vec<_>>();
        let summary = format!("group {} is not wholly ceded: {} too", group.id, names.join(", "));
        let finding = Finding::new("group-not-whole", Verdict::Problem, summary, Evidence::new(source, list))
            .also(foreign.iter().map(|member| driver(member)));
        findings.push(finding.remedy(format!("`cede plan {}` takes the whole group", first.address)).about(group.devices.iter().copied()));
    } else {
        let count = members(host, group).filter(|member| !stays(member)).count();
        let summary = if ceded {
            format!("group {} is wholly ceded", group.id)
        } else {
            format!("group {} goes as a whole: {}", group.id, counted(count, "function"))
        };
        findings
            .push(Finding::new("group-whole", Verdict::Fine, summary, Evidence::new(source, list)).about(group.devices.iter().copied()));
    }
    if group.has_direct_region() {
        let evidence = Evidence::new(format!("{IOMMU_GROUPS}/{}/reserved_regions", group.id), "direct");
        let finding = Finding::new(
            "group-direct-mapping",
            Verdict::Problem,
            format!("firmware wants a one-to-one mapping for group {}: VFIO cannot use it", group.id),
            evidence,
        );
        findings.push(
            finding
                .remedy("look for a DMA protection or shared-memory option in the firmware's setup, and for newer firmware")
                .about(group.devices.iter().copied()),
        );
    }
    findings
}
