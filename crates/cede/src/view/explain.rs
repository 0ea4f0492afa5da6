//! `cede.explain/1`: why a group is what it is. The sentences for people are made here, so that every form says the same.

use super::explain_words as words;
use crate::view::device_name::describe;
use cede_model::Host;
use cede_model::iommu::acs::Why;
use cede_model::iommu::{Cause, Hop};
use cede_model::pci::{PciAddress, PciNames};
use cede_plan::explain::{Explanation, Remedy};
use serde::Serialize;

/// The whole answer.
#[derive(Debug, Serialize)]
pub struct ExplainView {
    format: &'static str,
    /// The function asked for.
    pub address: String,
    /// Its name.
    pub name: String,
    /// `kernel`, `predicted` or `bounds`.
    pub origin: &'static str,
    /// The group's number.
    pub group: Option<u32>,
    /// One sentence: who shares the group.
    pub summary: String,
    /// Whether there is nothing to complain of: it shares with nobody but its own card.
    pub separate: bool,
    /// What breaks isolation first, in plain words.
    pub reason: String,
    /// False where the kernel's group is not the one that is foretold.
    pub as_foretold: bool,
    /// From the function up to the root.
    pub way: Vec<HopView>,
    /// What holds it to others, in the order of the kernel's steps.
    pub causes: Vec<CauseView>,
    /// The others of the group.
    pub members: Vec<MemberView>,
    /// Of bounds: functions that may be in the group too.
    pub perhaps: Vec<String>,
    /// Whether it can be ceded.
    pub cede: CedeView,
    /// What would change the group.
    pub remedies: Vec<RemedyView>,
}

/// One function on the way to the root.
#[derive(Debug, Serialize)]
pub struct HopView {
    /// Which.
    pub address: String,
    /// Kind of function; `null` where not read.
    pub kind: Option<&'static str>,
    /// Whether the kernel takes it to keep its traffic to itself; `null` where not read.
    pub isolates: Option<bool>,
    /// Why, by a stable name.
    pub why: &'static str,
    /// Why, in words.
    pub says: String,
    /// Its ACS, where it has the capability.
    pub acs: Option<AcsView>,
    /// One of several functions of its slot.
    pub multifunction: Option<bool>,
    /// A port that leads to a slot.
    pub slot: bool,
}

/// Access Control Services: bits by their short names (`SV`, `TB`, `RR`, `CR`, `UF`, `EC`, `DT`).
#[derive(Debug, Serialize)]
pub struct AcsView {
    /// What the capability offers.
    pub offers: Vec<&'static str>,
    /// What will be on.
    pub on: Vec<&'static str>,
    /// What is required, offered, and will be off.
    pub lacks: Vec<&'static str>,
}

/// One step of the kernel's formation of groups.
#[derive(Debug, Serialize)]
pub struct CauseView {
    /// `vmd`, `bridge`, `port`, `alias` or `slot`.
    pub kind: &'static str,
    /// The function at which it happens.
    pub at: String,
    /// The functions that it brings together, where they are named.
    pub with: Vec<String>,
}

/// Another function of the group.
#[derive(Debug, Serialize)]
pub struct MemberView {
    /// Which.
    pub address: String,
    /// Its name.
    pub name: String,
    /// What it is to the group.
    pub says: String,
    /// It stays with its driver.
    pub stays: bool,
    /// The step that brings it here.
    pub cause: Option<CauseView>,
}

/// Whether the group can be given away.
#[derive(Debug, Serialize)]
pub struct CedeView {
    /// It can.
    pub possible: bool,
    /// What goes.
    pub goes: Vec<String>,
    /// What the host would miss.
    pub costs: Vec<String>,
    /// Why not.
    pub refused: Vec<RefusalView>,
    /// The host's disks, screens and networks were not seen.
    pub host_unseen: bool,
}

/// One reason not to.
#[derive(Debug, Serialize)]
pub struct RefusalView {
    /// Stable name.
    pub id: &'static str,
    /// What and what to do.
    pub message: String,
}

/// One thing that would change the group.
#[derive(Debug, Serialize)]
pub struct RemedyView {
    /// `slots`, `no_slot`, `firmware`, `kernel`, `parameter` or `override`.
    pub kind: &'static str,
    /// In words.
    pub says: String,
    /// Ports of other slots that isolate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortView>,
    /// What would be left of the group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// Functions with which requests could be exchanged past the IOMMU, although the groups say otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unchecked: Vec<String>,
    /// What to put on the kernel command line.
    pub parameter: Option<String>,
    /// Of the override patch: `yes`, `no` or `cannot_tell`.
    pub patch: Option<&'static str>,
}

/// A port that isolates what is behind it.
#[derive(Debug, Serialize)]
pub struct PortView {
    /// Which.
    pub port: String,
    /// It leads to a slot.
    pub slot: bool,
    /// What is behind it now.
    pub holds: Vec<String>,
}

impl ExplainView {
    /// The view of an explanation.
    pub fn new(host: &Host, explained: &Explanation, names: &PciNames) -> Self {
        let name = |address: PciAddress| host.device(address).map(|device| describe(device, names)).unwrap_or_default();
        let members = explained.members.iter().map(|member| MemberView {
            address: member.address.to_string(),
            name: name(member.address),
            says: words::member(explained, member, host),
            stays: member.stays,
            cause: member.cause.as_ref().map(cause),
        });
        let cession = &explained.cession;
        Self {
            format: "cede.explain/1",
            address: explained.address.to_string(),
            name: name(explained.address),
            origin: explained.origin.name(),
            group: explained.group,
            summary: words::summary(explained, host),
            separate: words::is_separate(explained),
            reason: words::reason(explained),
            as_foretold: explained.as_foretold,
            way: explained.way.iter().map(hop).collect(),
            causes: explained.causes.iter().map(cause).collect(),
            members: members.collect(),
            perhaps: list(&explained.perhaps),
            cede: CedeView {
                possible: cession.refused.is_empty(),
                goes: list(&cession.goes),
                costs: cession.costs.clone(),
                refused: cession.refused.iter().map(|refusal| RefusalView { id: refusal.id, message: refusal.message.clone() }).collect(),
                host_unseen: cession.host_unseen,
            },
            remedies: explained.remedies.iter().map(|one| remedy(one, &name)).collect(),
        }
    }
}

impl ExplainView {
    /// Nothing but bridges and parts of the chipset shares the group, nor may.
    pub fn is_alone(&self) -> bool {
        self.perhaps.is_empty() && self.members.iter().all(|member| member.stays)
    }
}

pub fn list(addresses: &[PciAddress]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

fn cause(cause: &Cause) -> CauseView {
    let with = match cause {
        Cause::Slot { with, .. } | Cause::Alias { with, .. } => list(with),
        Cause::Vmd { .. } | Cause::Bridge { .. } | Cause::Port { .. } => Vec::new(),
    };
    CauseView { kind: cause.name(), at: cause.at().to_string(), with }
}

fn hop(hop: &Hop) -> HopView {
    let missing = match hop.judgement.why {
        Why::Registers { missing } => missing,
        _ => 0,
    };
    let acs = hop.acs.known().map(|acs| AcsView {
        offers: words::bits(acs.capability),
        on: words::bits(hop.control.unwrap_or_default() & acs.capability),
        lacks: words::bits(missing),
    });
    HopView {
        address: hop.address.to_string(),
        kind: words::kind_name(hop.kind),
        isolates: hop.judgement.isolates,
        why: words::why_name(hop.judgement.why),
        says: words::hop(hop),
        acs,
        multifunction: hop.multifunction,
        slot: hop.has_slot,
    }
}

fn remedy(remedy: &Remedy, name: &dyn Fn(PciAddress) -> String) -> RemedyView {
    let mut view = RemedyView {
        kind: "",
        says: words::remedy(remedy),
        ports: Vec::new(),
        left: Vec::new(),
        unchecked: Vec::new(),
        parameter: None,
        patch: None,
    };
    match remedy {
        Remedy::Slots(ports) => {
            view.kind = "slots";
            let port = |port: &cede_plan::explain::IsolatedPort| PortView {
                port: port.port.to_string(),
                slot: port.has_slot,
                holds: port.holds.iter().map(|held| format!("{held} {}", name(*held))).collect(),
            };
            view.ports = ports.iter().map(port).collect();
        }
        Remedy::NoSlot => view.kind = "no_slot",
        Remedy::Firmware(_) => view.kind = "firmware",
        Remedy::NewerKernel { left } => (view.kind, view.left) = ("kernel", list(left)),
        Remedy::DropParameter { left } => (view.kind, view.left) = ("parameter", list(left)),
        Remedy::Override { value, left, unchecked, patch, .. } => {
            view.kind = "override";
            view.left = list(left);
            view.unchecked = list(unchecked);
            view.parameter = Some(format!("pcie_acs_override={value}"));
            view.patch = Some(patch.name());
        }
    }
    view
}
