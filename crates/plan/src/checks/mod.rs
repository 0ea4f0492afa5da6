//! What can stand in the way of ceding, each looked for by one function. One file each and one line in the table.

pub mod boot_display;
pub mod early_load;
pub mod groups_foretold;
pub mod groups_whole;
pub mod iommu;
pub mod native_built_in;
pub mod no_ids;
pub mod stale;
pub mod unreadable;

use crate::finding::Finding;
use cede_model::Host;
use cede_model::pci::PciAddress;

/// Looks for one matter. The functions are those that the user named.
pub type Check = fn(&Host, &[PciAddress]) -> Vec<Finding>;

/// Every check there is.
pub const CHECKS: &[Check] = &[
    iommu::check,
    groups_whole::check,
    groups_foretold::check,
    boot_display::check,
    native_built_in::check,
    early_load::check,
    stale::check,
    no_ids::check,
    unreadable::check,
];

/// Runs every check; problems come first.
pub fn check(host: &Host, devices: &[PciAddress]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = CHECKS.iter().flat_map(|check| check(host, devices)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    findings
}
