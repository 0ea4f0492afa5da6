//! Which groups Linux will form, before it has; or, where configuration space could not be read, what is certain all the same.
//!
//! The control words of ACS do not matter, only the capabilities: the kernel switches on what is needed as soon as an IOMMU driver runs.
//! So a look at a host whose IOMMU is still off gives the groups it will have.

use super::acs::{self, Judgement};
use super::formation::{self, Assume};
use super::function::Function;
use super::options::PredictOptions;
use super::placement::{self, Placement};
use crate::pci::{ConfigSpace, PciAddress, PciClass, PciId, Upstream};
use std::collections::{BTreeMap, HashMap};

/// One function, as far as it was seen.
#[derive(Debug, Clone, Copy)]
pub struct PredictInput<'a> {
    /// Where it is.
    pub address: PciAddress,
    /// Vendor and device, as the kernel has them (attributes `vendor` and `device`); `None` where the function did not answer, or a
    /// listing does not say.
    pub id: Option<PciId>,
    /// Subsystem vendor and device.
    pub subsystem: Option<PciId>,
    /// Class code.
    pub class: PciClass,
    /// Configuration space, as far as it was read.
    pub config: ConfigSpace<'a>,
    /// What its bus hangs on.
    pub upstream: Upstream,
    /// The physical function, of a virtual one (link `physfn`).
    pub physical_function: Option<PciAddress>,
    /// Whether it is PCI Express, where known from elsewhere than its configuration space: the kernel shows attribute `max_link_speed`
    /// for PCI Express functions and for no others (drivers/pci/pci-sysfs.c, `pcie_dev_attrs_are_visible`).
    pub is_express: Option<bool>,
}

/// By what right something is said of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The bytes that decide were read: the kernel will form just these groups.
    Predicted,
    /// Some of them were not: the groups lie between what is certain and what is possible.
    Bounds,
}

/// What can be said of the groups to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction {
    origin: Origin,
    certain: Vec<Vec<PciAddress>>,
    possible: Vec<Vec<PciAddress>>,
    members: BTreeMap<PciAddress, Standing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    certain: Option<usize>,
    possible: Option<usize>,
    is_bridge: bool,
    is_virtual: bool,
    isolates: Option<bool>,
}

/// Why a function goes where another one goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tie {
    /// They will be in one group.
    Group,
    /// They are functions of one slot.
    Slot,
}

/// One function that goes with another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Companion {
    /// Which.
    pub address: PciAddress,
    /// A bridge or port: it stays with its driver, and does not keep the group from being used.
    pub is_bridge: bool,
    /// Why; the group where both hold.
    pub tie: Tie,
}

/// What has to go together with one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inseparable {
    /// The function asked for.
    pub address: PciAddress,
    /// The others, in the order of their addresses.
    pub companions: Vec<Companion>,
    /// `Bounds`: these surely, others perhaps, see [`Prediction::possible`].
    pub known_by: Origin,
}

/// Says which groups Linux (5.10 to 7.2) forms of these functions. An address that comes twice counts once, as it came first.
pub fn predict(inputs: &[PredictInput<'_>], options: &PredictOptions) -> Prediction {
    predict_placed(&placement::place(inputs), options)
}

/// The same of functions that have their places.
pub(super) fn predict_placed(placement: &Placement, options: &PredictOptions) -> Prediction {
    predict_judged(placement, &judge_all(&placement.functions, options))
}

/// The same of functions that have been judged.
pub(super) fn predict_judged(placement: &Placement, judgements: &[Judgement]) -> Prediction {
    let Placement { functions, lost } = placement;
    let least = formation::form(functions, judgements, Assume::Isolation);
    let most = formation::form(functions, judgements, Assume::NoIsolation);
    let most = merged(&most, &least, lost);
    let origin = if count(&most) == count(&least) { Origin::Predicted } else { Origin::Bounds };
    let addresses: Vec<PciAddress> = functions.iter().map(|function| function.address).collect();
    let mut members = BTreeMap::new();
    for (((function, judgement), certain), possible) in functions.iter().zip(judgements).zip(&least).zip(&most) {
        let standing = Standing {
            certain: *certain,
            possible: *possible,
            is_bridge: function.class.is_pci_bridge(),
            is_virtual: function.is_virtual,
            isolates: judgement.isolates,
        };
        members.insert(function.address, standing);
    }
    Prediction { origin, certain: sets(&addresses, &least), possible: sets(&addresses, &most), members }
}

/// What the kernel takes of each function.
pub(super) fn judge_all(functions: &[Function], options: &PredictOptions) -> Vec<Judgement> {
    if options.parameters.is_empty() {
        return functions.iter().map(|function| acs::judge(function, options)).collect();
    }
    let has_config_acs = options.has_config_acs();
    let changed = |(index, function): (usize, &Function)| {
        let acs_change = options.parameters.change(functions, index, has_config_acs);
        acs::judge(&Function { acs_change, ..function.clone() }, options)
    };
    functions.iter().enumerate().map(changed).collect()
}

impl Prediction {
    /// Whether the groups are known, or only their bounds.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The groups in the order in which the kernel finds their first functions; `None` where only bounds are known. With one IOMMU unit the
    /// index is the number; with more, the kernel goes unit by unit. Functions that get no group (an AMD IOMMU itself) are in none.
    pub fn groups(&self) -> Option<&[Vec<PciAddress>]> {
        (self.origin == Origin::Predicted).then_some(self.certain.as_slice())
    }

    /// The sets that will be together in every case. Where groups are predicted, these are they.
    pub fn certain(&self) -> &[Vec<PciAddress>] {
        &self.certain
    }

    /// What is certain to share a group with `address`, itself included. Empty for an address that gets no group.
    pub fn certain_with(&self, address: PciAddress) -> &[PciAddress] {
        pick(&self.certain, self.members.get(&address).and_then(|standing| standing.certain))
    }

    /// The largest group `address` may end up in, itself included: everything whose isolation could not be seen taken as without.
    pub fn possible(&self, address: PciAddress) -> &[PciAddress] {
        pick(&self.possible, self.members.get(&address).and_then(|standing| standing.possible))
    }

    /// The largest groups that may come of it.
    pub fn possible_sets(&self) -> &[Vec<PciAddress>] {
        &self.possible
    }

    /// Which of [`Self::possible_sets`] holds the function.
    pub fn possible_set(&self, address: PciAddress) -> Option<usize> {
        self.members.get(&address)?.possible
    }

    /// Whether the kernel takes the function to keep its traffic to itself (`pci_acs_enabled` with what groups require): by its ACS
    /// capability, its place or a quirk. `None` where that was not seen, or there is no such function.
    pub fn isolates(&self, address: PciAddress) -> Option<bool> {
        self.members.get(&address)?.isolates
    }

    /// What surely has to go together with `address`: its group, and all functions of its slot. Virtual functions are handed out one by
    /// one, so a slot does not tie them. `None` for an address that was not among the functions.
    pub fn inseparable(&self, address: PciAddress) -> Option<Inseparable> {
        let own = self.members.get(&address)?;
        let first = PciAddress { devfn: address.devfn & !7, ..address };
        let last = PciAddress { devfn: address.devfn | 7, ..address };
        let slot = self.members.range(first..=last).filter(|(_, other)| !own.is_virtual && !other.is_virtual);
        let mut ties: BTreeMap<PciAddress, Tie> = slot.map(|(other, _)| (*other, Tie::Slot)).collect();
        ties.extend(self.certain_with(address).iter().map(|other| (*other, Tie::Group)));
        ties.remove(&address);
        let is_bridge = |other: &PciAddress| self.members.get(other).is_some_and(|standing| standing.is_bridge);
        let companions = ties.into_iter().map(|(other, tie)| Companion { address: other, is_bridge: is_bridge(&other), tie }).collect();
        Some(Inseparable { address, companions, known_by: self.origin })
    }
}

fn pick(sets: &[Vec<PciAddress>], index: Option<usize>) -> &[PciAddress] {
    index.and_then(|index| sets.get(index)).map_or(&[], Vec::as_slice)
}

fn count(groups: &[Option<usize>]) -> usize {
    groups.iter().flatten().max().map_or(0, |last| last + 1)
}

fn sets(addresses: &[PciAddress], groups: &[Option<usize>]) -> Vec<Vec<PciAddress>> {
    let mut sets = vec![Vec::new(); count(groups)];
    for (address, group) in addresses.iter().zip(groups) {
        if let Some(set) = group.and_then(|group| sets.get_mut(group)) {
            set.push(*address);
        }
    }
    sets
}

/// The finest division in which everything is together that is together in one of the others; numbered by first appearance. So the
/// upper bound cannot fall below the lower one, whatever the formation makes of odd topologies.
fn merged(most: &[Option<usize>], least: &[Option<usize>], lost: &[Vec<usize>]) -> Vec<Option<usize>> {
    let mut union = Union { parent: (0..most.len()).collect() };
    for groups in [most, least] {
        let mut first: HashMap<usize, usize> = HashMap::new();
        for (index, group) in groups.iter().enumerate().filter_map(|(index, group)| group.map(|group| (index, group))) {
            union.join(*first.entry(group).or_insert(index), index);
        }
    }
    for set in lost {
        let mut grouped = set.iter().copied().filter(|index| most.get(*index).is_some_and(Option::is_some));
        if let Some(first) = grouped.next() {
            grouped.for_each(|index| union.join(first, index));
        }
    }
    let mut numbers: HashMap<usize, usize> = HashMap::new();
    let number = |(index, group): (usize, &Option<usize>)| {
        group.map(|_| {
            let next = numbers.len();
            *numbers.entry(union.root(index)).or_insert(next)
        })
    };
    most.iter().enumerate().map(number).collect()
}

struct Union {
    parent: Vec<usize>,
}

impl Union {
    fn root(&mut self, mut index: usize) -> usize {
        while let Some(parent) = self.parent.get(index).copied().filter(|parent| *parent != index) {
            let grand = self.parent.get(parent).copied().unwrap_or(parent);
            if let Some(slot) = self.parent.get_mut(index) {
                *slot = grand;
            }
            index = grand;
        }
        index
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if let Some(slot) = self.parent.get_mut(one.max(other)) {
            *slot = one.min(other);
        }
    }
}

#[cfg(test)]
#[path = "predict_tests.rs"]
mod tests;
