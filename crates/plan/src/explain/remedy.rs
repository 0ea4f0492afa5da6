//! What would part a function from those that share its group.

use super::support::override_patch;
use crate::group_choice;
use cede_model::Host;
use cede_model::iommu::acs::Why;
use cede_model::iommu::acs_parameters::AcsParameters;
use cede_model::iommu::{AcsOverride, Cause, PredictOptions, Topology};
use cede_model::kernel::acs_override::OverridePatch;
use cede_model::pci::capability::ExpressType;
use cede_model::pci::{Field, PciAddress};
use std::collections::BTreeSet;

/// A port of which what is behind it has groups of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolatedPort {
    /// The port.
    pub port: PciAddress,
    /// It leads to a slot, as it says; others lead to parts of the board.
    pub has_slot: bool,
    /// What is directly behind it.
    pub holds: Vec<PciAddress>,
}

/// One thing that would change the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Other slots of this machine isolate; free ones first.
    Slots(Vec<IsolatedPort>),
    /// No slot of this machine isolates.
    NoSlot,
    /// An option of the firmware's setup.
    Firmware(&'static str),
    /// A newer kernel knows better.
    NewerKernel {
        /// What would be left of the group.
        left: Vec<PciAddress>,
    },
    /// A parameter of the kernel is what keeps it from isolating.
    DropParameter {
        /// What would be left of the group.
        left: Vec<PciAddress>,
    },
    /// The override patch.
    Override {
        /// What to tell it.
        value: AcsOverride,
        /// What would be left of the group.
        left: Vec<PciAddress>,
        /// Functions with which requests could be exchanged past the IOMMU, although the groups say otherwise.
        unchecked: Vec<PciAddress>,
        /// Whether this kernel has it.
        patch: OverridePatch,
        /// How that is known.
        known_by: String,
    },
}

/// What would change the group, the best first. Empty where nobody shares it but bridges.
pub(super) fn remedies(host: &Host, topology: &Topology, address: PciAddress, others: &[PciAddress]) -> Vec<Remedy> {
    let stays = |other: &PciAddress| host.device(*other).is_some_and(|device| device.is_bridge());
    let sharing: Vec<PciAddress> = others.iter().copied().filter(|other| !stays(other)).collect();
    let mut remedies = Vec::new();
    if sharing.iter().any(|other| !other.same_slot(address)) && !host.device(address).is_some_and(group_choice::stays) {
        if topology.above(address).is_some() {
            remedies.push(slots(topology, address));
        }
        remedies.extend(firmware(host, topology, address));
        remedies.extend(kernel(topology, address));
    }
    if !sharing.is_empty() {
        remedies.extend(override_patch_remedy(host, topology, address, &sharing));
    }
    remedies
}

/// Slots other than the one it is in.
fn slots(topology: &Topology, address: PciAddress) -> Remedy {
    let own: Vec<PciAddress> = topology.way(address).iter().map(|hop| hop.address).collect();
    let leads_to_card = |port: &PciAddress| {
        matches!(topology.hop(*port).map(|hop| hop.kind), Some(Field::Known(ExpressType::RootPort | ExpressType::DownstreamPort)))
    };
    let isolates = |port: &PciAddress| topology.isolates_what_is_behind(*port) == Some(true);
    let ports = topology.addresses().filter(|port| !own.contains(port)).filter(leads_to_card).filter(isolates);
    let mut list: Vec<IsolatedPort> = ports
        .map(|port| IsolatedPort {
            port,
            has_slot: topology.hop(port).is_some_and(|hop| hop.has_slot),
            holds: topology.behind(port).collect(),
        })
        // A port with a switch behind it has no room of its own.
        .filter(|port| !port.holds.iter().any(|held| topology.behind(*held).next().is_some()))
        .collect();
    list.sort_by_key(|port| (!port.has_slot, !port.holds.is_empty(), port.port));
    list.retain(|port| port.has_slot || port.holds.is_empty());
    if list.is_empty() { Remedy::NoSlot } else { Remedy::Slots(list) }
}

/// What boards are known to offer. Whether this one does cannot be seen from here.
fn firmware(host: &Host, topology: &Topology, address: PciAddress) -> Option<Remedy> {
    if topology.vmd(address).is_some() {
        return Some(Remedy::Firmware("switch Intel VMD (Volume Management Device) off: its drives then have groups of their own"));
    }
    let lacks_acs = |port: PciAddress| topology.hop(port).is_some_and(|hop| hop.judgement.why == Why::NoAcs);
    let port = topology.way(address).into_iter().map(|hop| hop.address).filter(|port| *port != address).find(|port| lacks_acs(*port))?;
    let is_amd = host.device(port).and_then(|device| device.id).is_some_and(|id| id.vendor == 0x1022);
    is_amd.then_some(Remedy::Firmware(
        "look for `ACS Enable`, `PCIe ARI` and `AER` (AMD CBS, NBIO), and for newer firmware: AMD's ports have ACS where it is switched on",
    ))
}

/// What the kernel itself could do better: a newer one, or one that is told less.
fn kernel(topology: &Topology, address: PciAddress) -> Vec<Remedy> {
    let options = topology.options();
    let mut remedies = Vec::new();
    if !options.parameters.is_empty() {
        let left = left(topology, PredictOptions { parameters: AcsParameters::default(), ..options.clone() }, address);
        remedies.extend(left.map(|left| Remedy::DropParameter { left }));
    }
    if options.kernel.is_some() {
        let left = left(topology, PredictOptions { kernel: None, ..options.clone() }, address);
        remedies.extend(left.map(|left| Remedy::NewerKernel { left }));
    }
    remedies
}

/// The group under other options, where it is smaller than now.
fn left(topology: &Topology, options: PredictOptions, address: PciAddress) -> Option<Vec<PciAddress>> {
    let now = topology.prediction().certain_with(address).len();
    let then = topology.with(options);
    let group = then.prediction().certain_with(address);
    (group.len() < now).then(|| group.to_vec())
}

/// The least that has to be told the patch for the smallest group.
fn override_patch_remedy(host: &Host, topology: &Topology, address: PciAddress, sharing: &[PciAddress]) -> Option<Remedy> {
    let [causes] = &topology.causes(&[address])[..] else { return None };
    let ends_at_bridge = causes.iter().any(|cause| matches!(cause, Cause::Bridge { .. } | Cause::Vmd { .. }));
    let words = [(true, false), (false, true), (true, true)];
    let sharing: BTreeSet<PciAddress> = sharing.iter().copied().collect();
    let shares = |group: &[PciAddress]| group.iter().filter(|member| sharing.contains(member)).count();
    let mut best: Option<(AcsOverride, Vec<PciAddress>)> = None;
    for (downstream, multifunction) in words.into_iter().filter(|_| !ends_at_bridge) {
        let value = AcsOverride { downstream, multifunction, ids: Vec::new() };
        let Some(group) = left(topology, PredictOptions { acs_override: value.clone(), ..topology.options().clone() }, address) else {
            continue;
        };
        if shares(&group) < best.as_ref().map_or(sharing.len(), |(_, best)| shares(best)) {
            best = Some((value, group));
        }
    }
    let (value, left) = best?;
    let kept: BTreeSet<PciAddress> = left.iter().copied().collect();
    let unchecked = sharing.difference(&kept).copied().collect();
    let (patch, known_by) = override_patch(host);
    Some(Remedy::Override { value, left, unchecked, patch, known_by })
}
