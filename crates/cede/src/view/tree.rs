//! `cede.tree/1`: the functions as they are wired, each with its group.

use crate::view::device_name::describe;
use crate::view::explain_words::kind_name;
use crate::view::groups::{IommuView, state_name};
use cede_model::Host;
use cede_model::iommu::foretell::GroupRow;
use cede_model::iommu::{GroupTable, Topology};
use cede_model::pci::{PciAddress, PciDevice, PciNames};
use cede_plan::group_choice;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// The whole picture.
#[derive(Debug, Serialize)]
pub struct TreeView {
    format: &'static str,
    /// Whether an IOMMU is at work.
    pub iommu: IommuView,
    /// `kernel`, `predicted` or `bounds`.
    pub origin: &'static str,
    /// The root buses, in the order in which the kernel finds them.
    pub roots: Vec<RootView>,
}

/// One root bus.
#[derive(Debug, Serialize)]
pub struct RootView {
    /// Domain and bus: `0000:00`.
    pub bus: String,
    /// The VMD endpoint that makes the domain.
    pub vmd: Option<String>,
    /// What is on it.
    pub functions: Vec<NodeView>,
}

/// One function, and what is behind it.
#[derive(Debug, Default, Serialize)]
pub struct NodeView {
    /// Where it is.
    pub address: String,
    /// Vendor and device.
    pub id: Option<String>,
    /// Class code.
    pub class: Option<String>,
    /// Maker and device by name.
    pub name: String,
    /// The bound driver.
    pub driver: Option<String>,
    /// Kind of PCI Express function; `conventional`, or `null` where not read.
    pub kind: Option<&'static str>,
    /// The group's number.
    pub group: Option<u32>,
    /// How many functions the group has.
    pub group_size: usize,
    /// Whether the kernel takes it to keep its traffic to itself; `null` where not read.
    pub isolates: Option<bool>,
    /// Bridges, ports and the chipset: they stay with their drivers.
    pub stays: bool,
    /// On vfio-pci.
    pub ceded: bool,
    /// In use by the host, so that VFIO refuses its group, which holds a ceded function or can never be ceded because of this one.
    pub blocks: bool,
    /// What is directly behind it.
    pub behind: Vec<NodeView>,
}

impl NodeView {
    /// Its address without the domain, which stands above.
    pub fn without_domain(&self) -> &str {
        self.address.split_once(':').map_or(self.address.as_str(), |(_, rest)| rest)
    }
}

impl TreeView {
    /// The picture of a host.
    pub fn new(host: &Host, table: &GroupTable, names: &PciNames) -> Self {
        let topology = Topology::of(host);
        let groups = table.rows.iter().flat_map(|row| row.devices.iter().map(|address| (*address, (row.id, row.devices.len())))).collect();
        let begun = table.rows.iter().filter(|row| holds(host, &row.devices, PciDevice::is_on_vfio)).map(|row| row.id).collect();
        let useful =
            table.rows.iter().filter(|row| holds(host, &row.devices, |device| !group_choice::stays(device))).map(|row| row.id).collect();
        let painter = Painter { host, names, topology: &topology, groups, begun, useful };
        let mut roots: Vec<RootView> = Vec::new();
        for address in topology.roots() {
            let bus = format!("{:04x}:{:02x}", address.domain, address.bus);
            let node = painter.node(address);
            match roots.last_mut().filter(|root| root.bus == bus) {
                Some(root) => root.functions.push(node),
                None => {
                    let vmd = topology.vmd(address).map(|endpoint| endpoint.to_string());
                    roots.push(RootView { bus, vmd, functions: vec![node] });
                }
            }
        }
        Self { format: "cede.tree/1", iommu: IommuView { state: state_name(host.iommu) }, origin: table.origin.name(), roots }
    }
}

/// Groups of which several functions could be given away.
pub fn shared<'a>(host: &'a Host, table: &'a GroupTable) -> impl Iterator<Item = &'a GroupRow> {
    table.rows.iter().filter(|row| goes(host, row).nth(1).is_some())
}

/// The function of which people ask first why its group is what it is: a display that shares, else the first that shares, else any.
pub fn worth_asking(host: &Host, table: &GroupTable) -> Option<PciAddress> {
    let is_display = |row: &&GroupRow| holds(host, &row.devices, PciDevice::is_display);
    let row = shared(host, table).find(is_display).or(shared(host, table).next());
    let row = row
        .or(table.rows.iter().find(is_display))
        .or(table.rows.iter().find(|row| goes(host, row).next().is_some()))
        .or(table.rows.first())?;
    goes(host, row)
        .find(|device| device.is_display())
        .or(goes(host, row).next())
        .map_or(row.devices.first().copied(), |device| Some(device.address))
}

/// The functions of a group that do not stay.
fn goes<'a>(host: &'a Host, row: &'a GroupRow) -> impl Iterator<Item = &'a PciDevice> {
    row.devices.iter().filter_map(|address| host.device(*address)).filter(|device| !group_choice::stays(device))
}

struct Painter<'a> {
    host: &'a Host,
    names: &'a PciNames,
    topology: &'a Topology,
    groups: HashMap<PciAddress, (u32, usize)>,
    /// Groups with a ceded function.
    begun: HashSet<u32>,
    /// Groups with a function that could be ceded.
    useful: HashSet<u32>,
}

fn holds(host: &Host, devices: &[PciAddress], is_meant: impl Fn(&PciDevice) -> bool) -> bool {
    devices.iter().filter_map(|address| host.device(*address)).any(is_meant)
}

impl Painter<'_> {
    fn blocks(&self, device: &PciDevice, group: Option<u32>) -> bool {
        let groups = if group_choice::stays(device) { &self.useful } else { &self.begun };
        group.is_some_and(|group| groups.contains(&group)) && group_choice::blocks(device)
    }

    fn node(&self, address: PciAddress) -> NodeView {
        let device = self.host.device(address);
        let hop = self.topology.hop(address);
        let group = self.groups.get(&address);
        NodeView {
            address: address.to_string(),
            id: device.and_then(|device| device.id).map(|id| id.to_string()),
            class: device.and_then(|device| device.class).map(|class| class.to_string()),
            name: device.map(|device| describe(device, self.names)).unwrap_or_default(),
            driver: device.and_then(|device| device.driver_name()).map(str::to_owned),
            kind: hop.as_ref().and_then(|hop| kind_name(hop.kind)),
            group: group.map(|(id, _)| *id),
            group_size: group.map_or(0, |(_, size)| *size),
            isolates: hop.and_then(|hop| hop.judgement.isolates),
            stays: device.is_some_and(group_choice::stays),
            ceded: device.is_some_and(|device| device.is_on_vfio()),
            blocks: device.is_some_and(|device| self.blocks(device, group.map(|(id, _)| *id))),
            behind: self.topology.behind(address).map(|address| self.node(address)).collect(),
        }
    }
}
