//! Puts the functions of a host into their tree and into the order in which the kernel finds them.

use super::function::Function;
use super::ivrs::Ivrs;
use super::predict::PredictInput;
use crate::pci::capability::ExpressType;
use crate::pci::{Field, PciAddress, PciId, Upstream};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// No tree of buses is deeper than there are bus numbers.
const DEEPEST: usize = 256;

/// Domains that VMD makes begin here (drivers/pci/controller/vmd.c, `vmd_find_free_domain`).
const FIRST_VMD_DOMAIN: u32 = 0x10000;

/// `vmd_ids[]` of drivers/pci/controller/vmd.c.
const VMD_ENDPOINTS: &[u16] = &[0x201d, 0x28c0, 0x467f, 0x4c3d, 0x7d0b, 0x9a0b, 0xa77f, 0xad0b, 0xb06f, 0xb60b];

/// All functions in discovery order, and sets of them of which nobody can say how they hang together.
#[derive(Debug, Clone)]
pub(super) struct Placement {
    pub(super) functions: Vec<Function>,
    pub(super) lost: Vec<Vec<usize>>,
}

#[derive(Clone, Copy)]
enum Place {
    RootBus,
    Behind(usize),
    VmdRootBus(usize),
    Lost,
}

/// Finds the tree: from what the caller says of it, else from the bus numbers in the bridges.
pub(super) fn place(inputs: &[PredictInput<'_>]) -> Placement {
    let tree = Tree::new(inputs);
    let mut places: Vec<Place> = tree.inputs.iter().map(|input| tree.place_of(input)).collect();
    cut_circles(&mut places);
    let order = discovery_order(&tree.inputs, &places);
    let lost = tree.lost_sets(&places, &order);
    Placement { functions: functions_in(&order, &tree.inputs, &places), lost }
}

struct Tree<'a> {
    /// Sorted by address, each address once.
    inputs: Vec<&'a PredictInput<'a>>,
    index: HashMap<PciAddress, usize>,
    /// Bridge → secondary and subordinate bus, for the bridges of one domain.
    bridges: HashMap<u32, Vec<(usize, u8, u8)>>,
    /// Domains with a bridge whose bus numbers cannot be seen.
    opaque: BTreeSet<u32>,
    first_bus: HashMap<u32, u8>,
    vmd_endpoints: Vec<usize>,
}

impl<'a> Tree<'a> {
    fn new(inputs: &'a [PredictInput<'a>]) -> Self {
        let sorted: BTreeMap<PciAddress, &PredictInput<'_>> = inputs.iter().rev().map(|input| (input.address, input)).collect();
        let mut tree = Self {
            inputs: sorted.into_values().collect(),
            index: HashMap::new(),
            bridges: HashMap::new(),
            opaque: BTreeSet::new(),
            first_bus: HashMap::new(),
            vmd_endpoints: Vec::new(),
        };
        for (index, input) in tree.inputs.iter().enumerate() {
            let domain = input.address.domain;
            tree.index.insert(input.address, index);
            tree.first_bus.entry(domain).or_insert(input.address.bus);
            if input.id.is_some_and(|id| id.vendor == 0x8086 && VMD_ENDPOINTS.contains(&id.device)) {
                tree.vmd_endpoints.push(index);
            }
            match input.config.bridge_buses() {
                Field::Known(buses) if buses.secondary > 0 => {
                    tree.bridges.entry(domain).or_default().push((index, buses.secondary, buses.subordinate));
                }
                Field::Hidden if input.class.is_pci_bridge() => {
                    tree.opaque.insert(domain);
                }
                _ => {}
            }
        }
        tree
    }

    fn place_of(&self, input: &PredictInput<'_>) -> Place {
        let physical = input.physical_function.and_then(|address| self.index.get(&address)).and_then(|index| self.inputs.get(*index));
        let of = physical.filter(|function| function.physical_function.is_none()).unwrap_or(&input);
        let find = |address, place: fn(usize) -> Place| self.index.get(&address).map_or(Place::Lost, |index| place(*index));
        match of.upstream {
            Upstream::Bridge(address) => find(address, Place::Behind),
            Upstream::Vmd(address) => find(address, Place::VmdRootBus),
            Upstream::RootBus => self.root_bus(of),
            Upstream::Unknown => self.by_bus_number(of),
        }
    }

    fn root_bus(&self, input: &PredictInput<'_>) -> Place {
        match self.vmd_endpoints.as_slice() {
            _ if input.address.domain < FIRST_VMD_DOMAIN => Place::RootBus,
            [] => Place::RootBus,
            [only] => Place::VmdRootBus(*only),
            _ => Place::Lost,
        }
    }

    fn by_bus_number(&self, input: &PredictInput<'_>) -> Place {
        let PciAddress { domain, bus, .. } = input.address;
        let others = || self.bridges.get(&domain).into_iter().flatten();
        let mut directly = others().filter(|(_, secondary, _)| *secondary == bus);
        if let Some((bridge, ..)) = directly.next() {
            return if directly.next().is_none() { Place::Behind(*bridge) } else { Place::Lost };
        }
        let around = others().filter(|(_, secondary, subordinate)| (*secondary..=*subordinate).contains(&bus));
        match around.max_by_key(|(_, secondary, _)| *secondary) {
            // A bus of its own for virtual functions, without a bridge (drivers/pci/iov.c, `virtfn_add_bus`).
            Some((bridge, ..)) if input.physical_function.is_some() => Place::Behind(*bridge),
            Some(_) => Place::Lost,
            None if self.opaque.contains(&domain) && self.first_bus.get(&domain) != Some(&bus) => Place::Lost,
            None => self.root_bus(input),
        }
    }

    /// Everything in a domain where some function's place is unknown; with the VMD endpoints, where it is a domain of theirs.
    fn lost_sets(&self, places: &[Place], order: &[usize]) -> Vec<Vec<usize>> {
        let domain_of = |index: usize| self.inputs.get(index).map(|input| input.address.domain);
        let is_lost = |index: &usize| matches!(places.get(*index), Some(Place::Lost));
        let domains: BTreeSet<u32> = order.iter().copied().filter(is_lost).filter_map(domain_of).collect();
        let belongs = |domain: u32, index: usize| {
            domain_of(index) == Some(domain) || domain >= FIRST_VMD_DOMAIN && self.vmd_endpoints.contains(&index)
        };
        let set = |domain| order.iter().enumerate().filter(|(_, index)| belongs(domain, **index)).map(|(place, _)| place).collect();
        domains.into_iter().map(set).collect()
    }
}

/// Bridges that stand behind each other can only come from a wrong listing.
fn cut_circles(places: &mut [Place]) {
    let above = |index: usize| match places.get(index) {
        Some(Place::Behind(bridge)) => Some(*bridge),
        _ => None,
    };
    let endless: Vec<bool> =
        (0..places.len()).map(|start| std::iter::successors(Some(start), |i| above(*i)).nth(DEEPEST).is_some()).collect();
    for (place, _) in places.iter_mut().zip(endless).filter(|(_, endless)| *endless) {
        *place = Place::Lost;
    }
}

/// Functions that were rearranged, gaps left out, in the order in which the kernel would find them.
pub(super) fn order_of(functions: Vec<Option<Function>>, lost: &[Vec<usize>]) -> Placement {
    let mut behind: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut roots: Vec<((u32, u8), Vec<usize>)> = Vec::new();
    let mut virtuals = Vec::new();
    for (index, function) in functions.iter().enumerate().filter_map(|(index, function)| Some((index, function.as_ref()?))) {
        let bus = (function.address.domain, function.address.bus);
        match function.bridge {
            _ if function.is_virtual => virtuals.push(index),
            Some(bridge) => behind.entry(bridge).or_default().push(index),
            None if roots.last().is_some_and(|(last, _)| *last == bus) => {
                roots.last_mut().into_iter().for_each(|(_, list)| list.push(index))
            }
            None => roots.push((bus, vec![index])),
        }
    }
    let address = |index: &usize| functions.get(*index).and_then(Option::as_ref).map(|function| function.address);
    let mut order = Vec::with_capacity(functions.len());
    let mut waiting = vec![virtuals];
    waiting.extend(roots.into_iter().rev().map(|(_, list)| list));
    while let Some(mut bus) = waiting.pop() {
        if !waiting.is_empty() {
            bus.sort_by_key(address);
        }
        waiting.extend(bus.iter().rev().filter_map(|bridge| behind.remove(bridge)));
        order.extend(bus);
    }
    let position: HashMap<usize, usize> = order.iter().copied().zip(0..).collect();
    let at = |index: usize| position.get(&index).copied();
    let lost = lost.iter().map(|set| set.iter().filter_map(|index| at(*index)).collect()).collect();
    let moved = |index: &usize| {
        let function = functions.get(*index)?.clone()?;
        Some(Function { bridge: function.bridge.and_then(at), vmd: function.vmd.and_then(at), ..function })
    };
    Placement { functions: order.iter().filter_map(moved).collect(), lost }
}

/// Bus by bus: first all functions of a bus, then what is behind its bridges, one after the other (drivers/pci/probe.c,
/// `pci_scan_child_bus_extend`). Virtual functions come when a driver makes them, after everything else; so do VMD's domains.
fn discovery_order(inputs: &[&PredictInput<'_>], places: &[Place]) -> Vec<usize> {
    let mut behind: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut roots: BTreeMap<(u32, u8), Vec<usize>> = BTreeMap::new();
    let mut virtuals = Vec::new();
    for (index, (input, place)) in inputs.iter().zip(places).enumerate() {
        match place {
            _ if input.physical_function.is_some() => virtuals.push(index),
            Place::Behind(bridge) => behind.entry(*bridge).or_default().push(index),
            _ => roots.entry((input.address.domain, input.address.bus)).or_default().push(index),
        }
    }
    let mut order = Vec::with_capacity(inputs.len());
    let mut waiting = vec![virtuals];
    waiting.extend(roots.into_values().rev());
    while let Some(bus) = waiting.pop() {
        waiting.extend(bus.iter().rev().filter_map(|bridge| behind.remove(bridge)));
        order.extend(bus);
    }
    order
}

fn functions_in(order: &[usize], inputs: &[&PredictInput<'_>], places: &[Place]) -> Vec<Function> {
    let mut position = vec![0; inputs.len()];
    for (place, index) in order.iter().enumerate() {
        if let Some(slot) = position.get_mut(*index) {
            *slot = place;
        }
    }
    let mut functions: Vec<Function> = Vec::with_capacity(order.len());
    for (input, place) in order.iter().filter_map(|index| inputs.get(*index).zip(places.get(*index))) {
        let (bridge, vmd) = match place {
            Place::Behind(bridge) => (position.get(*bridge).copied(), None),
            Place::VmdRootBus(endpoint) => (None, position.get(*endpoint).copied()),
            Place::RootBus | Place::Lost => (None, None),
        };
        let above = bridge.and_then(|bridge| functions.get(bridge));
        let vmd = vmd.or(above.and_then(|bridge| bridge.vmd));
        let port = above.and_then(|bridge| bridge.express.known());
        functions.push(function(input, port, (bridge, vmd)));
    }
    leave_out_untranslated(&mut functions);
    functions
}

impl Placement {
    /// Puts in what firmware of an AMD host says, in place of what is usual there.
    pub(super) fn apply(&mut self, table: &Ivrs) {
        for function in &mut self.functions {
            function.firmware_alias = table.alias(function.address);
            function.has_group = table.covers(function.address) && function.class.base_and_sub() != 0x0806;
        }
    }
}

/// virtio's IOMMU (Virtual I/O Device 1.2, 4.1.2.1 and 5.13).
const VIRTIO_UNIT: PciId = PciId { vendor: 0x1af4, device: 0x1057 };

/// Functions that no IOMMU serves get no group: AMD's and RISC-V's IOMMU itself (class 0806) and virtio's (drivers/acpi/viot.c,
/// `viot_dev_iommu_init`: it does not translate for itself), and on AMD the host bridge before it in its slot, because the ranges of IVRS begin behind the IOMMU (where the table was read, see [`Placement::apply`]). Seen on AMD hosts from Linux 4.19 to 7.0; 6.14 to 6.17 were seen to give that
/// bridge a group, of itself alone.
fn leave_out_untranslated(functions: &mut [Function]) {
    let units: Vec<(PciAddress, Option<PciId>)> =
        functions.iter().filter(|f| f.class.base_and_sub() == 0x0806).map(|f| (f.address, f.id)).collect();
    for function in functions.iter_mut() {
        let before = |unit: PciAddress| unit.same_slot(function.address) && function.address < unit;
        let is_before = function.class.base_and_sub() == 0x0600
            && units.iter().any(|(unit, id)| id.is_some_and(|id| id.vendor == 0x1022) && before(*unit));
        function.has_group = !is_before && function.class.base_and_sub() != 0x0806 && function.id != Some(VIRTIO_UNIT);
    }
}

fn function(input: &PredictInput<'_>, port: Option<ExpressType>, (bridge, vmd): (Option<usize>, Option<usize>)) -> Function {
    let express = match (input.config.express(), input.is_express) {
        (Field::Hidden, Some(false)) => Field::Absent,
        (read, _) => read.map(|express| corrected(express.kind, port)),
    };
    Function {
        address: input.address,
        id: input.id,
        subsystem: input.subsystem,
        class: input.class,
        express,
        multifunction: multifunction(input, port),
        acs: input.config.acs(),
        acs_wide: input.config.acs_of_wide_registers(),
        acs_change: None,
        has_slot: input.config.express().known().is_some_and(|express| express.slot),
        bridge,
        vmd,
        firmware_alias: None,
        has_group: true,
        is_virtual: input.physical_function.is_some(),
        secondary: input.config.bridge_buses().known().map(|buses| buses.secondary),
    }
}

/// Some switches take their upstream ports for downstream ports or the reverse. Linux means to correct them, and from 5.4 on writes the type
/// beside its field, which then says endpoint (drivers/pci/probe.c, `set_pcie_port_type`; seen with 6.1).
fn corrected(kind: ExpressType, port: Option<ExpressType>) -> ExpressType {
    match (kind, port) {
        (ExpressType::DownstreamPort, Some(above)) if leads_down(above) => ExpressType::Endpoint,
        (ExpressType::UpstreamPort, Some(ExpressType::UpstreamPort)) => ExpressType::Endpoint,
        _ => kind,
    }
}

/// `pcie_downstream_port` (drivers/pci/pci.h).
fn leads_down(port: ExpressType) -> bool {
    matches!(port, ExpressType::RootPort | ExpressType::DownstreamPort | ExpressType::PciToPcieBridge)
}

/// `pci_dev.multifunction`: bit 7 of the header type, or found by the scan as a further function (drivers/pci/probe.c, `pci_scan_slot`);
/// never of a virtual function (drivers/pci/iov.c). A device number above 0 behind a port is a function number of ARI.
fn multifunction(input: &PredictInput<'_>, port: Option<ExpressType>) -> Option<bool> {
    if input.physical_function.is_some() {
        return Some(false);
    }
    let further = input.address.function() > 0 || input.address.device() > 0 && port.is_some_and(leads_down);
    if further { Some(true) } else { input.config.multifunction() }
}
