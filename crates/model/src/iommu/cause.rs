//! What makes a function share a group: the step of the formation at which it came to others.

use super::formation::{Formation, Passage};
use crate::pci::PciAddress;

/// One step of the formation that brings a function to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It is in a domain that Intel VMD makes, and does DMA in the name of the VMD endpoint.
    Vmd {
        /// The endpoint.
        endpoint: PciAddress,
    },
    /// It is behind a bridge that puts its own number on what passes, as conventional PCI has none.
    Bridge {
        /// The topmost such bridge.
        bridge: PciAddress,
    },
    /// A port on its way to the root does not isolate.
    Port {
        /// The topmost such port.
        port: PciAddress,
    },
    /// It is one of several functions of a slot that do not isolate from each other.
    Slot {
        /// Which of the slot it goes by: itself, or the port above it.
        of: PciAddress,
        /// The others.
        with: Vec<PciAddress>,
    },
    /// Its DMA carries the number of another function of its bus, or the reverse.
    Alias {
        /// Itself, or the bridge above it.
        of: PciAddress,
        /// The others.
        with: Vec<PciAddress>,
    },
}

impl Cause {
    /// A stable name, for JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Vmd { .. } => "vmd",
            Self::Bridge { .. } => "bridge",
            Self::Port { .. } => "port",
            Self::Slot { .. } => "slot",
            Self::Alias { .. } => "alias",
        }
    }

    /// The function at which it happens.
    pub fn at(&self) -> PciAddress {
        match self {
            Self::Vmd { endpoint: at } | Self::Bridge { bridge: at } | Self::Port { port: at } => *at,
            Self::Slot { of, .. } | Self::Alias { of, .. } => *of,
        }
    }
}

/// The steps for one function, in the order in which the kernel takes them. Empty where nothing holds it to others; others may come to it.
pub(super) fn causes(formation: &Formation<'_>, index: usize) -> Vec<Cause> {
    let mut causes = Vec::new();
    let at = |index: usize| formation.function(index).map(|function| function.address);
    let mut top = index;
    if let Some(endpoint) = formation.function(index).and_then(|function| function.vmd) {
        causes.extend(at(endpoint).map(|endpoint| Cause::Vmd { endpoint }));
        top = endpoint;
    }
    let mut above = formation.bridge_of(top);
    let mut alias = None;
    while let Some(bridge) = above {
        match formation.passage(bridge) {
            Passage::Ends => break,
            Passage::AsBridge => alias = Some(bridge),
            Passage::Unchanged => {}
        }
        above = formation.bridge_of(bridge);
    }
    if let Some(bridge) = alias {
        causes.extend(at(bridge).map(|bridge| Cause::Bridge { bridge }));
        top = bridge;
    }
    let mut highest = None;
    let mut above = formation.bridge_of(top);
    while let Some(bridge) = above.filter(|bridge| !formation.way_isolates(*bridge)) {
        highest = Some(bridge);
        above = formation.bridge_of(bridge);
    }
    if let Some(port) = highest {
        causes.extend(at(port).map(|port| Cause::Port { port }));
        top = port;
    }
    let Some(of) = at(top) else { return causes };
    let addresses = |list: Vec<usize>| list.into_iter().filter_map(at).collect::<Vec<_>>();
    let with = addresses(formation.alias_mates(top));
    if !with.is_empty() {
        causes.push(Cause::Alias { of, with });
    }
    let with = addresses(formation.slot_mates(top));
    if !with.is_empty() {
        causes.push(Cause::Slot { of, with });
    }
    causes
}
