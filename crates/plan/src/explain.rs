//! Why a function's group is what it is, whether it can be ceded, and what would change it.

mod remedy;
mod support;

pub use remedy::{IsolatedPort, Remedy};
pub use support::override_patch;

use crate::group_choice::{self, Choice};
use crate::guard;
use crate::plan::Refusal;
use cede_model::Host;
use cede_model::iommu::foretell::{GroupOrigin, GroupTable};
use cede_model::iommu::{Cause, Hop, Topology};
use cede_model::pci::PciAddress;
use std::collections::BTreeSet;

/// The whole answer for one function.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The function asked for.
    pub address: PciAddress,
    /// By what right its group is known.
    pub origin: GroupOrigin,
    /// Number of the group; `None` where it is in none.
    pub group: Option<u32>,
    /// From the function up to the root.
    pub way: Vec<Hop>,
    /// What holds it to others, in the order of the kernel's steps. Empty where others come to it, or nobody does.
    pub causes: Vec<Cause>,
    /// The others of its group.
    pub members: Vec<Member>,
    /// Of bounds: what may be in its group too.
    pub perhaps: Vec<PciAddress>,
    /// False where the kernel's group is not the one that is foretold: then causes may be wrong.
    pub as_foretold: bool,
    /// Whether it can be ceded.
    pub cession: Cession,
    /// What would change its group.
    pub remedies: Vec<Remedy>,
}

/// Another function of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub address: PciAddress,
    /// What brings it here; `None` where the others come to it.
    pub cause: Option<Cause>,
    /// A bridge or part of the chipset: it stays with its driver.
    pub stays: bool,
}

/// Whether the group can be given away as it is.
#[derive(Debug, Clone, Default)]
pub struct Cession {
    /// What goes: the function and what has to go along.
    pub goes: Vec<PciAddress>,
    /// What the host would miss, and can do without.
    pub costs: Vec<String>,
    /// Why it is refused; empty where it can go.
    pub refused: Vec<Refusal>,
    /// The host's disks, screens and networks were not seen: a listing does not show them.
    pub host_unseen: bool,
}

/// Explains the group of one function; `None` where there is no such function.
pub fn explain(host: &Host, address: PciAddress) -> Option<Explanation> {
    host.device(address)?;
    let topology = Topology::of(host);
    let table = GroupTable::of(host);
    let row = table.rows.iter().find(|row| row.devices.contains(&address));
    let members: Vec<PciAddress> = row.map(|row| row.devices.clone()).unwrap_or_default();
    let others: Vec<PciAddress> = members.iter().copied().filter(|member| *member != address).collect();
    let causes = topology.causes(&[address]).swap_remove(0);
    let foretold: BTreeSet<PciAddress> = topology.prediction().certain_with(address).iter().copied().collect();
    let possible: BTreeSet<PciAddress> = topology.prediction().possible(address).iter().copied().collect();
    let kernels: BTreeSet<PciAddress> = members.iter().copied().collect();
    let as_foretold = table.origin != GroupOrigin::Kernel || foretold.is_subset(&kernels) && kernels.is_subset(&possible);
    Some(Explanation {
        address,
        origin: table.origin,
        group: row.map(|row| row.id),
        way: topology.way(address),
        members: others.iter().zip(topology.causes(&others)).map(|(other, causes)| member(host, *other, causes)).collect(),
        perhaps: row.map(|row| table.perhaps(row).collect()).unwrap_or_default(),
        as_foretold,
        cession: cession(host, address),
        remedies: remedy::remedies(host, &topology, address, &others),
        causes,
    })
}

fn member(host: &Host, address: PciAddress, mut causes: Vec<Cause>) -> Member {
    let stays = host.device(address).is_some_and(group_choice::stays);
    // The nearest step says what the function is to the group.
    let cause = if causes.is_empty() { None } else { Some(causes.swap_remove(0)) };
    Member { address, cause, stays }
}

fn cession(host: &Host, address: PciAddress) -> Cession {
    let host_unseen = !host.capture.exists("/proc/self/mountinfo");
    match group_choice::choose(host, &[address]) {
        Err(refused) => Cession { refused, host_unseen, ..Cession::default() },
        Ok(Choice { ceded, .. }) => Cession {
            goes: ceded.iter().map(|identity| identity.address).collect(),
            costs: if host_unseen { Vec::new() } else { guard::costs(host, &ceded) },
            refused: if host_unseen { Vec::new() } else { guard::refusals(host, &ceded, &[]) },
            host_unseen,
        },
    }
}
