//! `cede.groups/1`.

use super::shown::Shown;
use cede_model::iommu::foretell::{GroupOrigin, GroupRow};
use cede_model::iommu::{GroupTable, IommuState};
use cede_model::pci::PciAddress;
use cede_model::{Host, counted};
use serde::Serialize;

/// The groups, and where they are from.
#[derive(Debug, Serialize)]
pub struct GroupsView<'a> {
    format: &'static str,
    /// Whether an IOMMU is at work.
    pub iommu: IommuView,
    /// `kernel`: read. `predicted`: computed from configuration space. `bounds`: only what is certain either way.
    pub origin: &'static str,
    /// The groups.
    pub groups: Vec<GroupView<'a>>,
    /// Of bounds: the largest groups that may come of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub possible: Vec<Vec<Shown<PciAddress>>>,
}

/// Whether an IOMMU is at work.
#[derive(Debug, Serialize)]
pub struct IommuView {
    /// `on`, `off` or `unknown`.
    pub state: &'static str,
}

/// One group.
#[derive(Debug, Serialize)]
pub struct GroupView<'a> {
    /// The kernel's number, or the place in the foretold order.
    pub id: u32,
    /// Type of the default domain.
    #[serde(rename = "type")]
    pub kind: Option<&'a str>,
    /// Its functions.
    pub devices: Vec<Shown<PciAddress>>,
    /// Of bounds: the place in `possible` of the set beyond which it cannot grow, where it may be larger than shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<usize>,
}

impl<'a> GroupsView<'a> {
    /// The view of a host; `only` keeps the groups that hold one of these functions.
    pub fn new(host: &Host, table: &'a GroupTable, only: &[PciAddress]) -> Self {
        let shown = |set: &Vec<PciAddress>| set.iter().copied().map(Shown).collect();
        let kept = table.rows.iter().filter(|row| only.is_empty() || row.devices.iter().any(|device| only.contains(device)));
        let groups = kept.map(|row| GroupView { id: row.id, kind: row.kind.as_deref(), devices: shown(&row.devices), within: row.within });
        Self {
            format: "cede.groups/1",
            iommu: IommuView { state: state_name(host.iommu) },
            origin: table.origin.name(),
            groups: groups.collect(),
            possible: table.possible.iter().map(shown).collect(),
        }
    }
}

/// The state's name in JSON.
pub fn state_name(state: IommuState) -> &'static str {
    match state {
        IommuState::On => "on",
        IommuState::Off => "off",
        IommuState::Unknown => "unknown",
    }
}

/// How many groups there are, and how they are known.
pub fn origin(host: &Host, table: &GroupTable) -> String {
    let count = counted(table.rows.len(), "group");
    match table.origin {
        GroupOrigin::Kernel => format!("{count}, read from the kernel"),
        GroupOrigin::Predicted if host.iommu == IommuState::On => {
            format!("{count}, foretold from configuration space; without `--predict` the kernel's own are shown")
        }
        GroupOrigin::Predicted if host.iommu == IommuState::Unknown => {
            format!("{count}, foretold from the listing: what a kernel makes of this machine once its IOMMU is on")
        }
        GroupOrigin::Predicted => format!(
            "{count}, foretold from configuration space: what the kernel makes once the IOMMU is on. `cede check` tells why it is off"
        ),
        GroupOrigin::Bounds => {
            "capabilities could not all be read (root reads them), so these are bounds: what stands together here stays together in any \
             case; what comes after `perhaps` may join it"
                .to_owned()
        }
    }
}

/// The first functions that may come to a group, and how many more.
pub fn perhaps(table: &GroupTable, row: &GroupRow) -> Option<String> {
    let set = table.possible.get(row.within?)?;
    let shown: Vec<String> = table.perhaps(row).take(3).map(|address| address.to_string()).collect();
    let more = set.len().saturating_sub(row.devices.len() + shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("perhaps {}{more}", shown.join(", ")))
}
