//! What the groups would be if a card stood elsewhere, a kernel were another, or the override patch had its way.

use super::function::Function;
use super::options::{AcsOverride, KernelVersion, NotAVersion, UnknownOverride};
use super::placement::{Placement, order_of};
use super::topology::Topology;
use crate::pci::capability::ExpressType;
use crate::pci::{Field, PciAddress, PciClass, PciId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

/// One thing that could be otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The override patch, told so much.
    Override(AcsOverride),
    /// Another kernel.
    Kernel(KernelVersion),
    /// A card in another slot: with all its functions, and all that is behind it.
    Move {
        /// A function of the card.
        card: PciAddress,
        /// The port or bridge of the other slot, or what is in it now.
        slot: PciAddress,
    },
    /// A card taken out; of what is on a root bus, one function switched off.
    Remove(PciAddress),
    /// A card put in, of one function for each id, without ACS.
    Add {
        /// Its functions.
        ids: Vec<PciId>,
        /// The port or bridge of the slot.
        under: PciAddress,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Override(declared) => write!(f, "acs-override={declared}"),
            Self::Kernel(version) => write!(f, "kernel={version}"),
            Self::Move { card, slot } => write!(f, "move {card} {slot}"),
            Self::Remove(card) => write!(f, "remove {card}"),
            Self::Add { ids, under } => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                write!(f, "add {} under {under}", ids.join(","))
            }
        }
    }
}

/// Why a what-if makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// Not of the language.
    #[error(
        "`{0}` is no what-if: write acs-override=downstream,multifunction,id:VVVV:DDDD, move ADDR SLOT, remove ADDR, add VVVV:DDDD under PORT, or kernel=6.12"
    )]
    NotUnderstood(String),
    /// A word of the override patch that it does not know.
    #[error("acs-override: {0}")]
    Override(#[from] UnknownOverride),
    /// No kernel's version.
    #[error(transparent)]
    Version(#[from] NotAVersion),
    /// A word is missing.
    #[error("`{0}` needs more words: write {1}")]
    Incomplete(&'static str, &'static str),
    /// There is no such function.
    #[error("there is no PCI function at {0}")]
    NoFunction(PciAddress),
    /// It cannot be moved.
    #[error("{0} is on a root bus, part of the board or the processor: it cannot be moved to another slot")]
    Fixed(PciAddress),
    /// Not a place to put a card.
    #[error("{0} is no port that a card can stand behind: name a root port, a downstream port of a switch or a PCI bridge")]
    NoSlot(PciAddress),
    /// The card would stand behind itself.
    #[error("{0} is part of the card itself")]
    Inside(PciAddress),
    /// Something stands there already.
    #[error("the slot of {port} holds {occupant}: add `remove {occupant}` or move it too")]
    Occupied {
        /// The port.
        port: PciAddress,
        /// What stands there.
        occupant: PciAddress,
    },
    /// Conventional PCI in a PCI Express slot or the reverse.
    #[error("{card} does not fit the slot of {port}: one is PCI Express and the other conventional PCI")]
    DoesNotFit {
        /// The card.
        card: PciAddress,
        /// The port.
        port: PciAddress,
    },
    /// All bus numbers of the domain are used.
    #[error("no bus number is left behind {0}")]
    NoBus(PciAddress),
}

/// Reads what-ifs: words as a shell gives them, quoted together or one by one.
///
/// # Errors
/// The first word that cannot be understood.
pub fn parse(words: &[String]) -> Result<Vec<Change>, ScenarioError> {
    let mut words = words.iter().flat_map(|word| word.split_whitespace());
    let mut changes = Vec::new();
    while let Some(word) = words.next() {
        changes.push(parse_one(word, &mut words)?);
    }
    Ok(changes)
}

fn parse_one<'a>(word: &str, rest: &mut impl Iterator<Item = &'a str>) -> Result<Change, ScenarioError> {
    let not_understood = |text: &str| ScenarioError::NotUnderstood(text.to_owned());
    let address = |text: &str| text.parse::<PciAddress>().map_err(|_| not_understood(text));
    let mut next = |verb, form| rest.next().ok_or(ScenarioError::Incomplete(verb, form));
    let (verb, value) = word.split_once('=').map_or((word, None), |(verb, value)| (verb, Some(value)));
    match (verb, value) {
        ("acs-override" | "pcie_acs_override", value) => {
            let form = "acs-override=downstream,multifunction";
            let value = value.map_or_else(|| next("acs-override", form), Ok)?;
            let declared = AcsOverride::parse(value)?;
            if declared.is_empty() { Err(ScenarioError::Incomplete("acs-override", form)) } else { Ok(Change::Override(declared)) }
        }
        ("kernel", value) => {
            let value = value.map_or_else(|| next("kernel", "kernel=6.12"), Ok)?;
            Ok(Change::Kernel(value.parse()?))
        }
        ("move", None) => {
            let form = "move ADDR SLOT";
            let card = address(next("move", form)?)?;
            let slot = next("move", form)?;
            let slot = if matches!(slot, "to" | "under") { next("move", form)? } else { slot };
            Ok(Change::Move { card, slot: address(slot)? })
        }
        ("remove", None) => Ok(Change::Remove(address(next("remove", "remove ADDR")?)?)),
        ("add", None) => {
            let form = "add VVVV:DDDD under PORT";
            let text = next("add", form)?;
            let id = |text: &str| crate::pci::id::parse(text).ok_or_else(|| not_understood(text));
            let ids = text.split(',').map(id).collect::<Result<Vec<_>, _>>()?;
            let under = next("add", form)?;
            let under = if under == "under" { next("add", form)? } else { under };
            Ok(Change::Add { ids, under: address(under)? })
        }
        _ => Err(not_understood(word)),
    }
}

/// A host as it would be.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The functions, as they would be wired and grouped.
    pub topology: Topology,
    /// Where each function is now, for those that have moved; `None` for those that are not there yet.
    pub former: BTreeMap<PciAddress, Option<PciAddress>>,
}

impl Topology {
    /// The host with these changes.
    ///
    /// # Errors
    /// One of the changes is not possible.
    pub fn what_if(&self, changes: &[Change]) -> Result<Scenario, ScenarioError> {
        let mut options = self.options().clone();
        let mut bench = Bench::new(&self.placement);
        for change in changes {
            match change {
                Change::Override(declared) => options.acs_override = declared.clone(),
                Change::Kernel(version) => options.kernel = Some(*version),
                Change::Move { card, slot } => bench.move_card(*card, *slot)?,
                Change::Remove(card) => bench.remove(*card)?,
                Change::Add { ids, under } => bench.add(ids, *under)?,
            }
        }
        let (placement, former) = bench.finish()?;
        Ok(Scenario { topology: Topology::new(placement, options), former })
    }
}

/// Functions that are being rearranged. Indices stay; what is removed leaves a gap.
struct Bench<'a> {
    placement: &'a Placement,
    functions: Vec<Option<Function>>,
    index: HashMap<PciAddress, usize>,
    /// Functions that stand elsewhere than before, or are new.
    touched: BTreeSet<usize>,
}

impl<'a> Bench<'a> {
    fn new(placement: &'a Placement) -> Self {
        Self {
            placement,
            functions: placement.functions.iter().cloned().map(Some).collect(),
            index: placement.functions.iter().zip(0..).map(|(function, index)| (function.address, index)).collect(),
            touched: BTreeSet::new(),
        }
    }

    fn get(&self, index: usize) -> Option<&Function> {
        self.functions.get(index)?.as_ref()
    }

    fn find(&self, address: PciAddress) -> Result<usize, ScenarioError> {
        self.index.get(&address).copied().filter(|index| self.get(*index).is_some()).ok_or(ScenarioError::NoFunction(address))
    }

    /// The functions directly behind a bridge.
    fn behind(&self, bridge: usize) -> Vec<usize> {
        (0..self.functions.len()).filter(|index| self.get(*index).is_some_and(|function| function.bridge == Some(bridge))).collect()
    }

    fn is_link(&self, bridge: usize) -> bool {
        let kind = self.get(bridge).and_then(|function| function.express.known());
        matches!(kind, Some(ExpressType::RootPort | ExpressType::DownstreamPort))
    }

    /// The functions of a card: all that is behind its port, or on a conventional bus its slot.
    fn card(&self, index: usize) -> Vec<usize> {
        let Some(function) = self.get(index) else { return Vec::new() };
        let Some(bridge) = function.bridge else { return vec![index] };
        // What was put into the same slot a moment ago is another card.
        let origin = |index: usize| self.placement.functions.get(index).map(|function| function.bridge);
        let all: Vec<usize> = self.behind(bridge).into_iter().filter(|other| origin(*other) == origin(index)).collect();
        if self.is_link(bridge) {
            return all;
        }
        all.into_iter().filter(|other| self.get(*other).is_some_and(|other| other.address.same_slot(function.address))).collect()
    }

    fn with_all_behind(&self, mut card: Vec<usize>) -> Vec<usize> {
        let mut at = 0;
        while let Some(index) = card.get(at).copied() {
            card.extend(self.behind(index));
            at += 1;
        }
        card
    }

    /// The port of a slot: named itself, or by what stands in it.
    fn port(&self, address: PciAddress) -> Result<usize, ScenarioError> {
        let index = self.find(address)?;
        let function = self.get(index).ok_or(ScenarioError::NoFunction(address))?;
        let takes_cards = |index: usize| {
            let kind = self.get(index).map(|function| function.express);
            !matches!(kind, Some(Field::Known(ExpressType::UpstreamPort)))
        };
        let port = if function.class.is_pci_bridge() && takes_cards(index) { Some(index) } else { function.bridge };
        port.filter(|port| takes_cards(*port)).ok_or(ScenarioError::NoSlot(address))
    }

    fn move_card(&mut self, address: PciAddress, slot: PciAddress) -> Result<(), ScenarioError> {
        let index = self.find(address)?;
        if self.get(index).is_some_and(|function| function.bridge.is_none()) {
            return Err(ScenarioError::Fixed(address));
        }
        let port = self.port(slot)?;
        let card = self.card(index);
        if self.with_all_behind(card.clone()).contains(&port) {
            return Err(ScenarioError::Inside(slot));
        }
        let is_express = |index: usize| match self.get(index).map(|function| function.express) {
            Some(Field::Known(_)) => Some(true),
            Some(Field::Absent) => Some(false),
            _ => None,
        };
        let fits = is_express(index).zip(is_express(port)).is_none_or(|(card, _)| card == self.is_link(port));
        if !fits {
            return Err(ScenarioError::DoesNotFit { card: address, port: slot });
        }
        let vmd = self.get(port).and_then(|port| port.vmd);
        for index in self.with_all_behind(card.clone()) {
            if let Some(Some(function)) = self.functions.get_mut(index) {
                function.vmd = vmd;
            }
        }
        for index in card {
            if let Some(Some(function)) = self.functions.get_mut(index) {
                function.bridge = Some(port);
                function.firmware_alias = None;
                self.touched.insert(index);
            }
        }
        Ok(())
    }

    fn remove(&mut self, address: PciAddress) -> Result<(), ScenarioError> {
        let index = self.find(address)?;
        for index in self.with_all_behind(self.card(index)) {
            if let Some(slot) = self.functions.get_mut(index) {
                *slot = None;
            }
        }
        Ok(())
    }

    fn add(&mut self, ids: &[PciId], under: PciAddress) -> Result<(), ScenarioError> {
        let port = self.port(under)?;
        let (domain, vmd) = self.get(port).map(|port| (port.address.domain, port.vmd)).unwrap_or_default();
        let is_express = self.is_link(port);
        for (id, number) in ids.iter().zip(0_u8..8) {
            self.touched.insert(self.functions.len());
            self.functions.push(Some(Function {
                address: PciAddress { domain, bus: 0, devfn: number },
                id: Some(*id),
                subsystem: None,
                class: PciClass(0xff_0000),
                express: if is_express { Field::Known(ExpressType::Endpoint) } else { Field::Absent },
                multifunction: Some(ids.len() > 1),
                acs: Field::Absent,
                acs_wide: Field::Absent,
                acs_change: None,
                has_slot: false,
                bridge: Some(port),
                vmd,
                firmware_alias: None,
                has_group: true,
                is_virtual: false,
                secondary: None,
            }));
        }
        Ok(())
    }

    /// Gives new addresses to what stands elsewhere, and puts all into the order of discovery.
    fn finish(mut self) -> Result<(Placement, BTreeMap<PciAddress, Option<PciAddress>>), ScenarioError> {
        let ports: BTreeSet<usize> = self.touched.iter().filter_map(|index| self.get(*index)?.bridge).collect();
        for port in ports {
            self.address_card(port)?;
        }
        let mut former = BTreeMap::new();
        for (index, function) in self.functions.iter().enumerate() {
            let before = self.placement.functions.get(index).map(|function| function.address);
            if let Some(function) = function.as_ref().filter(|function| before != Some(function.address)) {
                former.insert(function.address, before);
            }
        }
        Ok((order_of(self.functions, &self.placement.lost), former))
    }

    /// Addresses for everything behind one port.
    fn address_card(&mut self, port: usize) -> Result<(), ScenarioError> {
        let all = self.behind(port);
        let newcomers: Vec<usize> = all.iter().copied().filter(|index| self.touched.contains(index)).collect();
        let Some(port_address) = self.get(port).map(|port| port.address) else { return Ok(()) };
        let stays = all.iter().find(|index| !newcomers.contains(index)).and_then(|index| self.get(*index));
        if let Some(occupant) = stays.filter(|_| self.is_link(port)) {
            return Err(ScenarioError::Occupied { port: port_address, occupant: occupant.address });
        }
        let configured = self.get(port).and_then(|port| port.secondary).or(stays.map(|function| function.address.bus));
        let bus = match configured.filter(|bus| *bus > 0) {
            Some(bus) => bus,
            None => self.free_bus(port_address)?,
        };
        let mut cards: Vec<(PciAddress, usize)> = newcomers.iter().filter_map(|index| Some((self.get(*index)?.address, *index))).collect();
        cards.sort();
        let mut taken: BTreeSet<u8> =
            all.iter().filter(|index| !newcomers.contains(index)).filter_map(|index| Some(self.get(*index)?.address.device())).collect();
        let mut places: HashMap<(u32, u8, u8), u8> = HashMap::new();
        for (old, index) in cards {
            let key = (old.domain, old.bus, old.device());
            let wanted = old.device();
            let device = *places.entry(key).or_insert_with(|| {
                if taken.contains(&wanted) { (0..32).find(|device| !taken.contains(device)).unwrap_or(31) } else { wanted }
            });
            taken.insert(device);
            if let Some(Some(function)) = self.functions.get_mut(index) {
                function.address = PciAddress { domain: port_address.domain, bus, devfn: device << 3 | old.function() };
            }
        }
        if self.is_link(port) && places.len() > 1 && !self.is_one_card(&newcomers) {
            let occupant = newcomers.first().and_then(|index| self.get(*index)).map_or(port_address, |function| function.address);
            return Err(ScenarioError::Occupied { port: port_address, occupant });
        }
        Ok(())
    }

    /// True where the functions stood behind one port before: with ARI or virtual functions a card has more than one device number.
    fn is_one_card(&self, functions: &[usize]) -> bool {
        let bridges: BTreeSet<Option<usize>> =
            functions.iter().map(|index| self.placement.functions.get(*index).and_then(|function| function.bridge)).collect();
        bridges.len() == 1
    }

    fn free_bus(&self, port: PciAddress) -> Result<u8, ScenarioError> {
        let used = self.functions.iter().flatten().filter(|function| function.address.domain == port.domain);
        let used: BTreeSet<u8> = used.flat_map(|function| [Some(function.address.bus), function.secondary]).flatten().collect();
        (1..=255).find(|bus| !used.contains(bus)).ok_or(ScenarioError::NoBus(port))
    }
}

/// Groups that differ between two partitions, those that have to do with each other together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regrouping {
    /// The groups as they are.
    pub before: Vec<Vec<PciAddress>>,
    /// The groups as they would be, by the addresses that the functions have now, where they have one.
    pub after: Vec<Vec<PciAddress>>,
}

/// Compares two partitions. What is the same in both is left out.
pub fn regroupings(before: &[Vec<PciAddress>], after: &[Vec<PciAddress>]) -> Vec<Regrouping> {
    let sorted = |groups: &[Vec<PciAddress>]| -> BTreeSet<Vec<PciAddress>> {
        let sort = |group: &Vec<PciAddress>| {
            let mut group = group.clone();
            group.sort();
            group
        };
        groups.iter().filter(|group| !group.is_empty()).map(sort).collect()
    };
    let (before, after) = (sorted(before), sorted(after));
    let gone: Vec<&Vec<PciAddress>> = before.difference(&after).collect();
    let new: Vec<&Vec<PciAddress>> = after.difference(&before).collect();
    let mut holder: HashMap<PciAddress, usize> = HashMap::new();
    let mut parent: Vec<usize> = (0..gone.len() + new.len()).collect();
    for (index, group) in gone.iter().chain(&new).enumerate() {
        for address in *group {
            let first = *holder.entry(*address).or_insert(index);
            let (one, other) = (root(&parent, first), root(&parent, index));
            if let Some(slot) = parent.get_mut(one.max(other)) {
                *slot = one.min(other);
            }
        }
    }
    let mut list: BTreeMap<usize, Regrouping> = BTreeMap::new();
    for (index, group) in gone.iter().chain(&new).enumerate() {
        let regrouping = list.entry(root(&parent, index)).or_insert_with(|| Regrouping { before: Vec::new(), after: Vec::new() });
        let side = if index < gone.len() { &mut regrouping.before } else { &mut regrouping.after };
        side.push((*group).clone());
    }
    list.into_values().collect()
}

fn root(parent: &[usize], mut index: usize) -> usize {
    while let Some(above) = parent.get(index).copied().filter(|above| *above != index) {
        index = above;
    }
    index
}

#[cfg(test)]
#[path = "scenario_tests.rs"]
mod tests;
