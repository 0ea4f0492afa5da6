//! Linux's formation of groups, step by step.
//!
//! A transcription of `pci_device_group`, `get_pci_alias_group` and `get_pci_function_alias_group` (drivers/iommu/iommu.c) with
//! `pci_for_each_dma_alias` (drivers/pci/search.c) and `pci_acs_path_enabled` (drivers/pci/pci.c); the same from Linux 5.10 to 7.2.

use super::acs::Judgement;
use super::dma_alias::{self, Aliases};
use super::function::Function;
use crate::pci::Field;
use crate::pci::capability::ExpressType;
use std::collections::HashMap;

/// What is taken for granted where bytes are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Assume {
    /// Ports and functions isolate: the groups can only be larger.
    Isolation,
    /// They do not: the groups can only be smaller.
    NoIsolation,
}

/// The number of the group of each function, in the order in which the groups are made.
pub(super) fn form(functions: &[Function], judgements: &[Judgement], assume: Assume) -> Vec<Option<usize>> {
    let mut formation = Formation::new(functions, judgements, assume);
    let mut made = 0;
    for index in (0..functions.len()).filter(|index| functions.get(*index).is_some_and(|function| function.has_group)) {
        let group = formation.find(index).unwrap_or_else(|| {
            made += 1;
            made - 1
        });
        if let Some(slot) = formation.groups.get_mut(index) {
            *slot = Some(group);
        }
    }
    formation.groups
}

pub(super) struct Formation<'a> {
    functions: &'a [Function],
    assume: Assume,
    groups: Vec<Option<usize>>,
    /// `pci_acs_enabled` of each function.
    isolates: Vec<bool>,
    /// `pci_acs_path_enabled` from each function up to its root bus.
    path_isolates: Vec<bool>,
    aliases: Vec<Aliases>,
    buses: HashMap<(u32, u8), Bus>,
    slots: HashMap<(u32, u8, u8), Vec<usize>>,
}

#[derive(Default)]
struct Bus {
    functions: Vec<usize>,
    has_aliases: bool,
}

/// Whether a bridge puts its own requester id on what comes from behind it.
pub(super) enum Passage {
    Unchanged,
    AsBridge,
    Ends,
}

impl<'a> Formation<'a> {
    pub(super) fn new(functions: &'a [Function], judgements: &[Judgement], assume: Assume) -> Self {
        let unknown = assume == Assume::Isolation;
        let isolates: Vec<bool> = judgements.iter().map(|judgement| judgement.isolates.unwrap_or(unknown)).collect();
        let mut path_isolates: Vec<bool> = Vec::with_capacity(functions.len());
        for (function, own) in functions.iter().zip(&isolates) {
            // Bridges are found before what is behind them.
            let above = function.bridge.is_none_or(|bridge| path_isolates.get(bridge).copied().unwrap_or(unknown));
            path_isolates.push(*own && above);
        }
        let quirks = |f: &Function| dma_alias::aliases(f.address, f.id, f.subsystem, f.class);
        let aliases: Vec<Aliases> = functions.iter().map(|f| quirks(f).and(f.firmware_alias)).collect();
        let mut buses: HashMap<(u32, u8), Bus> = HashMap::new();
        let mut slots: HashMap<(u32, u8, u8), Vec<usize>> = HashMap::new();
        for (index, (function, alias)) in functions.iter().zip(&aliases).enumerate() {
            let bus = buses.entry(bus_of(function)).or_default();
            bus.functions.push(index);
            bus.has_aliases |= *alias != Aliases::No;
            slots.entry(slot_of(function)).or_default().push(index);
        }
        Self { functions, assume, groups: vec![None; functions.len()], isolates, path_isolates, aliases, buses, slots }
    }

    /// `pci_device_group`: a group that is there already, which this function has to join.
    fn find(&self, index: usize) -> Option<usize> {
        let mut top = match self.follow_aliases(index) {
            Ok(top) => top,
            Err(group) => return Some(group),
        };
        let mut below = top;
        while let Some(bridge) = self.bridge_of(below) {
            if self.path_isolates.get(bridge).copied().unwrap_or(true) {
                break;
            }
            top = bridge;
            if let Some(group) = self.group(top) {
                return Some(group);
            }
            below = bridge;
        }
        let mut visited = [0; 2];
        self.alias_group(top, &mut visited).or_else(|| self.function_alias_group(top, &mut visited))
    }

    /// `pci_for_each_dma_alias` with `get_pci_alias_or_group`: the topmost function in whose name this one does DMA, or as an error the
    /// group of the first that has one.
    fn follow_aliases(&self, index: usize) -> Result<usize, usize> {
        let start = self.functions.get(index).and_then(|function| function.vmd).unwrap_or(index);
        let mut last = start;
        self.group(start).map_or(Ok(()), Err)?;
        let mut at = start;
        while let Some(bridge) = self.bridge_of(at) {
            match self.passage(bridge) {
                Passage::Ends => break,
                Passage::Unchanged => {}
                Passage::AsBridge => {
                    last = bridge;
                    self.group(bridge).map_or(Ok(()), Err)?;
                }
            }
            at = bridge;
        }
        Ok(last)
    }

    pub(super) fn passage(&self, bridge: usize) -> Passage {
        let Some(function) = self.functions.get(bridge) else { return Passage::Unchanged };
        match function.express {
            _ if dma_alias::is_translation_root(function.id) => Passage::Ends,
            Field::Known(ExpressType::PcieToPciBridge | ExpressType::PciToPcieBridge) | Field::Absent => Passage::AsBridge,
            Field::Hidden if self.assume == Assume::NoIsolation => Passage::AsBridge,
            Field::Known(_) | Field::Hidden => Passage::Unchanged,
        }
    }

    /// `get_pci_alias_group`.
    fn alias_group(&self, index: usize, visited: &mut [u128; 2]) -> Option<usize> {
        let function = self.functions.get(index)?;
        if !mark(visited, function.address.devfn) {
            return None;
        }
        if let Some(group) = self.group(index) {
            return Some(group);
        }
        let bus = self.buses.get(&bus_of(function))?;
        let others = bus.functions.iter().filter(|_| bus.has_aliases);
        others
            .copied()
            .filter(|other| *other != index && self.are_aliases(index, *other))
            .find_map(|other| self.alias_group(other, visited).or_else(|| self.function_alias_group(other, visited)))
    }

    /// `get_pci_function_alias_group`: functions of one slot share a group, those that isolate excepted.
    fn function_alias_group(&self, index: usize, visited: &mut [u128; 2]) -> Option<usize> {
        let function = self.functions.get(index)?;
        let shares = function.multifunction.unwrap_or(self.assume == Assume::NoIsolation);
        if !shares || self.isolates(index) {
            return None;
        }
        let others = self.slots.get(&slot_of(function))?.iter().copied();
        others.filter(|other| *other != index && !self.isolates(*other)).find_map(|other| self.alias_group(other, visited))
    }

    /// `pci_devs_are_dma_aliases`, of two functions of one bus.
    pub(super) fn are_aliases(&self, one: usize, other: usize) -> bool {
        let says = |a: usize, b: usize| match (self.aliases.get(a), self.functions.get(b)) {
            (Some(Aliases::Unpredictable), _) => self.assume == Assume::NoIsolation,
            (Some(aliases), Some(function)) => aliases.contain(function.address.devfn),
            _ => false,
        };
        says(one, other) || says(other, one)
    }

    pub(super) fn bridge_of(&self, index: usize) -> Option<usize> {
        self.functions.get(index)?.bridge
    }

    pub(super) fn isolates(&self, index: usize) -> bool {
        self.isolates.get(index).copied().unwrap_or(true)
    }

    fn group(&self, index: usize) -> Option<usize> {
        self.groups.get(index).copied().flatten()
    }
}

impl Formation<'_> {
    /// Whether everything from the function up to its root bus isolates.
    pub(super) fn way_isolates(&self, index: usize) -> bool {
        self.path_isolates.get(index).copied().unwrap_or(true)
    }

    pub(super) fn function(&self, index: usize) -> Option<&Function> {
        self.functions.get(index)
    }

    /// The other functions of its slot that do not isolate.
    pub(super) fn slot_mates(&self, index: usize) -> Vec<usize> {
        let Some(function) = self.function(index) else { return Vec::new() };
        let shares = function.multifunction.unwrap_or(self.assume == Assume::NoIsolation) && !self.isolates(index);
        let others = self.slots.get(&slot_of(function)).into_iter().flatten().copied().filter(|_| shares);
        others.filter(|other| *other != index && !self.isolates(*other)).collect()
    }

    /// The other functions of its bus in whose name it does DMA, or which do it in its name.
    pub(super) fn alias_mates(&self, index: usize) -> Vec<usize> {
        let bus = self.function(index).and_then(|function| self.buses.get(&bus_of(function))).filter(|bus| bus.has_aliases);
        let others = bus.into_iter().flat_map(|bus| &bus.functions).copied();
        others.filter(|other| *other != index && self.are_aliases(index, *other)).collect()
    }
}

fn bus_of(function: &Function) -> (u32, u8) {
    (function.address.domain, function.address.bus)
}

fn slot_of(function: &Function) -> (u32, u8, u8) {
    (function.address.domain, function.address.bus, function.address.device())
}

/// False where the bit was set before.
fn mark(visited: &mut [u128; 2], devfn: u8) -> bool {
    let [low, high] = visited;
    let word = if devfn < 128 { low } else { high };
    let bit = 1 << (devfn & 127);
    let fresh = *word & bit == 0;
    *word |= bit;
    fresh
}
