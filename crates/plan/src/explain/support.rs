//! Whether this host's kernel has the override patch.

use cede_model::Host;
use cede_model::iommu::foretell::{GroupTable, agrees};
use cede_model::iommu::{AcsOverride, IommuState, PredictOptions, Topology};
use cede_model::kernel::acs_override::{OverridePatch, of_release};

/// What is known of the patch, and by what.
pub fn override_patch(host: &Host) -> (OverridePatch, String) {
    if let Some(seen) = by_its_effect(host) {
        return seen;
    }
    let Some(release) = host.running.as_deref() else { return (OverridePatch::Unknown, "the running kernel was not seen".to_owned()) };
    match of_release(release) {
        OverridePatch::Has => (OverridePatch::Has, format!("kernels named like {release} are built with it")),
        OverridePatch::Lacks => (OverridePatch::Lacks, format!("kernels named like {release} are built without it")),
        OverridePatch::Unknown => (OverridePatch::Unknown, format!("the name {release} does not tell")),
    }
}

/// With the parameter on the command line and the IOMMU at work, the groups themselves show whether anybody read it.
fn by_its_effect(host: &Host) -> Option<(OverridePatch, String)> {
    if host.iommu != IommuState::On {
        return None;
    }
    let declared = AcsOverride::from_cmdline(host.running_cmdline().known().copied()?)?;
    let plain = Topology::of(host);
    let without = plain.with(PredictOptions { acs_override: AcsOverride::default(), ..plain.options().clone() });
    let with = plain.with(PredictOptions { acs_override: declared.clone(), ..plain.options().clone() });
    let table = GroupTable::of(host);
    match (agrees(&table, with.prediction()), agrees(&table, without.prediction())) {
        (true, false) => Some((OverridePatch::Has, format!("pcie_acs_override={declared} is in force: the groups show it"))),
        (false, true) => Some((OverridePatch::Lacks, format!("pcie_acs_override={declared} is given, and the groups are as without it"))),
        _ => None,
    }
}
