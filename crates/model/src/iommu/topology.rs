//! A host's functions as they are wired, judged by the kernel's rules: what explanations, pictures and what-ifs start from.

use super::Origin;
use super::acs::{Judgement, effective_control};
use super::cause::{Cause, causes};
use super::foretell;
use super::formation::{Assume, Formation};
use super::function::Function;
use super::options::PredictOptions;
use super::placement::Placement;
use super::predict::{Prediction, judge_all, predict_judged};
use crate::Host;
use crate::pci::capability::{AcsRegisters, ExpressType};
use crate::pci::{Field, PciAddress};
use std::collections::HashMap;

/// Functions in their places, with what the kernel takes of each and the groups that it will form.
#[derive(Debug, Clone)]
pub struct Topology {
    pub(super) placement: Placement,
    options: PredictOptions,
    judgements: Vec<Judgement>,
    prediction: Prediction,
    index: HashMap<PciAddress, usize>,
    children: Vec<Vec<usize>>,
}

/// One function on the way to the root, with what decides there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Which.
    pub address: PciAddress,
    /// `Absent`: conventional PCI.
    pub kind: Field<ExpressType>,
    /// Bridges and ports.
    pub is_bridge: bool,
    /// One of several functions of its slot, as the kernel counts; `None` where that cannot be told.
    pub multifunction: Option<bool>,
    /// Its ACS registers as read.
    pub acs: Field<AcsRegisters>,
    /// The control word as it will be.
    pub control: Option<u16>,
    /// What the kernel takes of it.
    pub judgement: Judgement,
    /// A port that leads to a slot and not to a part of the board.
    pub has_slot: bool,
}

impl Topology {
    /// The wiring of a host, under its own kernel and command line.
    pub fn of(host: &Host) -> Self {
        Self::new(foretell::placed(host), foretell::options(host))
    }

    pub(super) fn new(placement: Placement, options: PredictOptions) -> Self {
        let judgements = judge_all(&placement.functions, &options);
        let prediction = predict_judged(&placement, &judgements);
        let index = placement.functions.iter().zip(0..).map(|(function, index)| (function.address, index)).collect();
        let mut children = vec![Vec::new(); placement.functions.len()];
        for (index, function) in placement.functions.iter().enumerate() {
            if let Some(list) = function.bridge.and_then(|bridge| children.get_mut(bridge)) {
                list.push(index);
            }
        }
        Self { placement, options, judgements, prediction, index, children }
    }

    /// The same functions under other options.
    #[must_use]
    pub fn with(&self, options: PredictOptions) -> Self {
        Self::new(self.placement.clone(), options)
    }

    /// What else decides.
    pub fn options(&self) -> &PredictOptions {
        &self.options
    }

    /// The groups to come.
    pub fn prediction(&self) -> &Prediction {
        &self.prediction
    }

    /// All functions, in the order in which the kernel finds them.
    pub fn addresses(&self) -> impl Iterator<Item = PciAddress> {
        self.placement.functions.iter().map(|function| function.address)
    }

    /// The functions on root buses, in the order in which the kernel finds them.
    pub fn roots(&self) -> impl Iterator<Item = PciAddress> {
        self.placement.functions.iter().filter(|function| function.bridge.is_none()).map(|function| function.address)
    }

    /// The functions directly behind a bridge.
    pub fn behind(&self, bridge: PciAddress) -> impl Iterator<Item = PciAddress> {
        let list = self.position(bridge).and_then(|index| self.children.get(index));
        list.into_iter().flatten().filter_map(|index| self.function(*index)).map(|function| function.address)
    }

    /// The bridge above; `None` on a root bus and for a function that is not there.
    pub fn above(&self, address: PciAddress) -> Option<PciAddress> {
        let bridge = self.position(address).and_then(|index| self.function(index))?.bridge?;
        self.function(bridge).map(|function| function.address)
    }

    /// The VMD endpoint in whose domain a function is.
    pub fn vmd(&self, address: PciAddress) -> Option<PciAddress> {
        let endpoint = self.position(address).and_then(|index| self.function(index))?.vmd?;
        self.function(endpoint).map(|function| function.address)
    }

    /// One function and what decides there.
    pub fn hop(&self, address: PciAddress) -> Option<Hop> {
        let index = self.position(address)?;
        let function = self.function(index)?;
        let judgement = *self.judgements.get(index)?;
        let change = self.options.parameters.change(&self.placement.functions, index, self.options.has_config_acs());
        Some(Hop {
            address,
            kind: function.express,
            is_bridge: function.class.is_pci_bridge(),
            multifunction: function.multifunction,
            acs: function.acs,
            control: function.acs.known().map(|acs| effective_control(acs, change)),
            judgement,
            has_slot: function.has_slot,
        })
    }

    /// The function and every bridge above it, up to the root bus; then, for a function of a VMD domain, the VMD endpoint.
    pub fn way(&self, address: PciAddress) -> Vec<Hop> {
        let up = std::iter::successors(Some(address), |at| self.above(*at));
        up.chain(self.vmd(address)).filter_map(|at| self.hop(at)).collect()
    }

    /// What holds each of these functions to others. Where bytes are missing, what may hold them.
    pub fn causes(&self, addresses: &[PciAddress]) -> Vec<Vec<Cause>> {
        let assume = if self.prediction.origin() == Origin::Bounds { Assume::NoIsolation } else { Assume::Isolation };
        let formation = Formation::new(&self.placement.functions, &self.judgements, assume);
        let of = |address: &PciAddress| self.position(*address).map(|index| causes(&formation, index)).unwrap_or_default();
        addresses.iter().map(of).collect()
    }

    /// True where the function and everything above it isolates, so that what is behind it has groups of its own; `None` where that
    /// cannot be told.
    pub fn isolates_what_is_behind(&self, bridge: PciAddress) -> Option<bool> {
        let way: Vec<Option<bool>> = self.way(bridge).iter().map(|hop| hop.judgement.isolates).collect();
        if way.contains(&Some(false)) || self.vmd(bridge).is_some() {
            return Some(false);
        }
        (!way.contains(&None)).then_some(true)
    }

    fn position(&self, address: PciAddress) -> Option<usize> {
        self.index.get(&address).copied()
    }

    fn function(&self, index: usize) -> Option<&Function> {
        self.placement.functions.get(index)
    }
}
