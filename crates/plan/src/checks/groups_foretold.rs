//! Are the kernel's groups those that are foretold? Where not, the rules known here are wrong, or the kernel is another: either way the next
//! prediction on such a host would mislead.

use crate::finding::{Finding, Verdict};
use cede_model::iommu::foretell::{GroupRow, GroupTable, differences};
use cede_model::iommu::group::IOMMU_GROUPS;
use cede_model::iommu::{AcsOverride, IommuState, PredictOptions, Topology};
use cede_model::pci::PciAddress;
use cede_model::{Evidence, Host};

/// Groups that are shown as evidence.
const SHOWN: usize = 3;

/// `groups-not-as-foretold`, where the IOMMU is on. Nothing is said where they agree, as far as was read.
pub fn check(host: &Host, _devices: &[PciAddress]) -> Vec<Finding> {
    if host.iommu != IommuState::On {
        return Vec::new();
    }
    let table = GroupTable::of(host);
    let topology = Topology::of(host);
    let differ = differences(&table, topology.prediction());
    if differ.is_empty() || is_overridden(host, &table, &topology) {
        return Vec::new();
    }
    let evidence: Vec<Evidence> = differ.iter().take(SHOWN).map(|row| evidence(row, &topology)).collect();
    let mut evidence = evidence.into_iter();
    let Some(first) = evidence.next() else { return Vec::new() };
    let count = differ.len();
    let summary = format!(
        "cede would have foretold {count} of the kernel's groups otherwise: a bug of cede, not of this host. The kernel's groups count; `cede explain` may give wrong reasons"
    );
    let finding = Finding::new("groups-not-as-foretold", Verdict::Advice, summary, first).also(evidence);
    vec![
        finding
            .remedy("report it with what `sudo cede capture host.capture` writes")
            .about(differ.iter().flat_map(|row| row.devices.clone())),
    ]
}

/// A kernel that does not say so by its name may have the override patch all the same: then the groups are as with it.
fn is_overridden(host: &Host, table: &GroupTable, topology: &Topology) -> bool {
    let declared = host.running_cmdline().known().and_then(|cmdline| AcsOverride::from_cmdline(cmdline));
    let with = |acs_override| topology.with(PredictOptions { acs_override, ..topology.options().clone() });
    declared.is_some_and(|declared| differences(table, with(declared).prediction()).is_empty())
}

fn evidence(row: &GroupRow, topology: &Topology) -> Evidence {
    let list = |addresses: &[PciAddress]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let own = row.devices.iter().map(|address| topology.prediction().certain_with(*address)).find(|group| !group.is_empty());
    Evidence::new(
        format!("{IOMMU_GROUPS}/{}/devices", row.id),
        format!("{}; foretold: {}", list(&row.devices), list(own.unwrap_or_default())),
    )
}
