//! The sentences of an explanation.

use cede_model::iommu::acs::Why;
use cede_model::iommu::foretell::GroupOrigin;
use cede_model::iommu::{Cause, Hop};
use cede_model::kernel::acs_override::OverridePatch;
use cede_model::pci::capability::ExpressType;
use cede_model::pci::{Field, PciAddress};
use cede_model::{Host, counted};
use cede_plan::explain::{Explanation, Member, Remedy};

/// Short names of the ACS bits, in their order (PCI Express 6.0, 7.7.11.2).
const BITS: [&str; 7] = ["SV", "TB", "RR", "CR", "UF", "EC", "DT"];

/// The bits of a word by their short names.
pub fn bits(word: u16) -> Vec<&'static str> {
    BITS.iter().zip(0..).filter(|(_, shift)| word >> shift & 1 == 1).map(|(name, _)| *name).collect()
}

/// A stable name of a reason.
pub fn why_name(why: Why) -> &'static str {
    match why {
        Why::QuirkIsolates => "quirk_isolates",
        Why::QuirkDoubts => "quirk_doubts",
        Why::Overridden => "overridden",
        Why::Conventional => "conventional",
        Why::NeverIsolates => "never_isolates",
        Why::NoAcs => "no_acs",
        Why::Registers { missing: 0 } => "acs",
        Why::Registers { .. } => "acs_incomplete",
        Why::Alone => "single_function",
        Why::NoRule => "no_rule",
        Why::NotRead => "not_read",
    }
}

/// What decides at one function of the way.
pub fn hop(hop: &Hop) -> String {
    let offered = hop.acs.known().map(|acs| bits(acs.capability).join(" ")).unwrap_or_default();
    match hop.judgement.why {
        Why::QuirkIsolates => "a quirk of Linux vouches for it".to_owned(),
        Why::QuirkDoubts => "a quirk of Linux: ACS not trusted".to_owned(),
        Why::Overridden => "declared so by the override patch".to_owned(),
        Why::Conventional => "nothing to isolate with".to_owned(),
        Why::NeverIsolates => "passes requests on in its own name".to_owned(),
        Why::NoAcs if is_function(hop) => "no ACS between its functions".to_owned(),
        Why::NoAcs => "no ACS capability".to_owned(),
        Why::Registers { missing: 0 } if offered.is_empty() => "ACS, and nothing to switch on".to_owned(),
        Why::Registers { missing: 0 } => format!("ACS offers {offered}"),
        Why::Registers { missing } => format!("ACS, but {} will be off", bits(missing).join(" ")),
        Why::Alone if hop.is_bridge => "alone in its slot: needs no ACS".to_owned(),
        Why::Alone => "only function of its slot".to_owned(),
        Why::NoRule => "of a kind that Linux lets pass".to_owned(),
        Why::NotRead => "capabilities not read".to_owned(),
    }
}

fn is_function(hop: &Hop) -> bool {
    !matches!(hop.kind, Field::Known(ExpressType::RootPort | ExpressType::DownstreamPort))
}

fn kind(hop: &Hop) -> &'static str {
    match hop.kind {
        Field::Absent if hop.is_bridge => "PCI bridge",
        Field::Hidden if hop.is_bridge => "bridge",
        Field::Absent | Field::Hidden => "function",
        kind => kind_name(kind).unwrap_or("function"),
    }
}

/// True where it shares with nobody but functions of its own card, and ports.
pub fn is_separate(explained: &Explanation) -> bool {
    strangers(explained).is_empty() && explained.group.is_some() && explained.perhaps.iter().all(|other| other.same_slot(explained.address))
}

/// Members that are neither of the same card nor ports.
fn strangers(explained: &Explanation) -> Vec<&Member> {
    explained.members.iter().filter(|member| !member.stays && !member.address.same_slot(explained.address)).collect()
}

/// Who shares the group.
pub fn summary(explained: &Explanation, host: &Host) -> String {
    let Some(group) = explained.group else { return "is in no group: no IOMMU translates for it, so it cannot be given away".to_owned() };
    let stays = host.device(explained.address).is_some_and(cede_plan::group_choice::stays);
    let mates = explained.members.iter().filter(|member| !member.stays).count();
    let strangers = strangers(explained).len();
    let title = match explained.origin {
        GroupOrigin::Kernel => format!("group {group}"),
        GroupOrigin::Predicted => format!("group {group} (foretold)"),
        GroupOrigin::Bounds => "its group".to_owned(),
    };
    let is_bridge = |address| host.device(address).is_some_and(|device| device.is_bridge());
    let mut staying = explained.members.iter().filter(|member| member.stays).map(|member| is_bridge(member.address));
    let ports = match staying.next().map(|first| first && staying.all(|other| other)) {
        None => "",
        Some(true) => ", besides bridges, which stay",
        Some(false) => ", besides parts of the chipset, which stay",
    };
    match (mates, strangers) {
        _ if explained.origin == GroupOrigin::Bounds && !explained.perhaps.is_empty() => {
            let surely = explained.members.len();
            format!("shares its group with {} surely and up to {} more: root can tell", functions(surely), explained.perhaps.len())
        }
        (0, _) if stays => format!("alone in {title}{ports}; a bridge or part of the chipset, it stays with its driver"),
        (0, _) => format!("alone in {title}{ports}: it can be given away by itself"),
        (mates, 0) => format!("shares {title} with {} of its own slot{ports}: they go together", functions(mates)),
        (_, strangers) if stays => format!("in {title} with {}, all of which go together or not at all", functions(strangers)),
        (_, strangers) => {
            format!("shares {title} with {} of other devices: all of them go, or none", functions(strangers))
        }
    }
}

fn functions(count: usize) -> String {
    counted(count, "function")
}

/// The first thing that breaks isolation.
pub fn reason(explained: &Explanation) -> String {
    let own = explained.causes.first();
    let cause = own.or_else(|| explained.members.iter().find_map(|member| member.cause.as_ref()));
    let Some(cause) = cause else {
        return match explained.group {
            None => "the kernel gave it no group".to_owned(),
            Some(_) if !explained.members.is_empty() => "the kernel says so; by the rules known here it would stand alone".to_owned(),
            Some(_) => "every port on its way to the root isolates, and its slot has no function that does not".to_owned(),
        };
    };
    match cause {
        Cause::Vmd { endpoint } => {
            format!("its domain is made by Intel VMD: for the IOMMU, all of it is the one device {endpoint}")
        }
        Cause::Bridge { bridge } => format!(
            "{bridge} leads to conventional PCI, where requests carry no sender's number: for the IOMMU, all that is behind it is one device"
        ),
        Cause::Port { port } => by_port(explained, *port),
        Cause::Slot { of, with } => {
            let all = joined(&[&[*of], with.as_slice()].concat());
            let unread = explained.way.iter().any(|hop| hop.address == *of && hop.judgement.why == Why::NotRead);
            if unread {
                format!("{all} are functions of one slot, and whether they keep apart could not be read: if not, they are one group")
            } else {
                format!(
                    "{all} are functions of one slot without ACS: nothing keeps them from reaching each other inside the chip, past the IOMMU"
                )
            }
        }
        Cause::Alias { of, with } => {
            format!("a quirk of the chip: requests of {of} carry the number of {}, so the IOMMU cannot tell them apart", joined(with))
        }
    }
}

fn by_port(explained: &Explanation, port: PciAddress) -> String {
    let found = explained.way.iter().find(|hop| hop.address == port);
    let what = found.map_or("port", kind);
    let lacks = match found.map(|hop| hop.judgement.why) {
        Some(Why::NoAcs) | None => "has no ACS".to_owned(),
        Some(Why::Registers { missing }) => format!("has ACS, but {} will be off", bits(missing).join(" ")),
        Some(Why::QuirkDoubts) => "has an ACS that Linux does not trust".to_owned(),
        Some(Why::Conventional) => "is conventional PCI".to_owned(),
        Some(Why::NeverIsolates) => "passes requests on in its own name".to_owned(),
        Some(Why::NotRead) => {
            return format!("whether {what} {port} isolates could not be read: if it does not, all behind it is one group");
        }
        Some(_) => "does not isolate".to_owned(),
    };
    format!(
        "{what} {port} {lacks}: it may turn requests between devices around below the IOMMU, so Linux keeps everything behind it together with it"
    )
}

fn joined(addresses: &[PciAddress]) -> String {
    match addresses {
        [all @ .., last] if !all.is_empty() => {
            let first: Vec<String> = all.iter().map(ToString::to_string).collect();
            format!("{} and {last}", first.join(", "))
        }
        [only] => only.to_string(),
        _ => "others".to_owned(),
    }
}

/// What another function is to the group.
pub fn member(explained: &Explanation, member: &Member, host: &Host) -> String {
    let leads = explained.way.iter().any(|hop| hop.address == member.address);
    let stays = if member.stays { ", stays" } else { "" };
    let part = match &member.cause {
        _ if leads => "on the way to it".to_owned(),
        _ if member.address.same_slot(explained.address) => "same slot".to_owned(),
        Some(Cause::Vmd { .. }) => "same VMD domain".to_owned(),
        Some(Cause::Bridge { bridge } | Cause::Port { port: bridge }) => format!("behind {}", short(*bridge)),
        Some(Cause::Slot { of, .. }) => format!("slot of {}", short(*of)),
        Some(Cause::Alias { .. }) => "same number".to_owned(),
        None => "member".to_owned(),
    };
    let driver = host.device(member.address).and_then(|device| device.driver_name()).filter(|_| !member.stays);
    match driver {
        Some(driver) => format!("{part}, {driver}"),
        None => format!("{part}{stays}"),
    }
}

fn short(address: PciAddress) -> String {
    let text = address.to_string();
    text.strip_prefix("0000:").unwrap_or(&text).to_owned()
}

/// What would change the group.
pub fn remedy(remedy: &Remedy) -> String {
    match remedy {
        Remedy::Slots(ports) if ports.iter().any(|port| port.holds.is_empty()) => {
            "another slot: behind these ports a card has a group of its own".to_owned()
        }
        Remedy::Slots(_) => {
            "another slot, by changing places with what is in it: behind these ports a card has a group of its own".to_owned()
        }
        Remedy::NoSlot => "another slot: this machine has none that isolates".to_owned(),
        Remedy::Firmware(what) => format!("the firmware's setup: {what}"),
        Remedy::NewerKernel { left } => {
            format!("a newer kernel knows that this chip isolates: {} would be left in the group", functions(left.len()))
        }
        Remedy::DropParameter { left } => format!(
            "the kernel parameter pci=disable_acs_redir= or pci=config_acs= switches ACS off: without it {} would be left in the group",
            functions(left.len())
        ),
        Remedy::Override { value, left, unchecked, patch, known_by } => {
            let has = match patch {
                OverridePatch::Has => "this kernel has the patch",
                OverridePatch::Lacks => "this kernel lacks the patch",
                OverridePatch::Unknown => "whether this kernel has the patch cannot be told",
            };
            format!(
                "the override patch, pcie_acs_override={value}: {} left in the group. It isolates nothing, it only says so: requests between it and {} \
                 would pass unchecked. {has}: {known_by}",
                functions(left.len()),
                some(unchecked)
            )
        }
    }
}

fn some(addresses: &[PciAddress]) -> String {
    match addresses {
        [_, _, _, _, ..] => format!(
            "{} functions ({}…)",
            addresses.len(),
            short(addresses.first().copied().unwrap_or(PciAddress { domain: 0, bus: 0, devfn: 0 }))
        ),
        few => joined(few),
    }
}

/// What kind of function it is; `None` where that was not read.
pub fn kind_name(kind: Field<ExpressType>) -> Option<&'static str> {
    Some(match kind {
        Field::Hidden => return None,
        Field::Absent => "conventional",
        Field::Known(ExpressType::Endpoint) => "endpoint",
        Field::Known(ExpressType::LegacyEndpoint) => "legacy endpoint",
        Field::Known(ExpressType::RootPort) => "root port",
        Field::Known(ExpressType::UpstreamPort) => "upstream port",
        Field::Known(ExpressType::DownstreamPort) => "downstream port",
        Field::Known(ExpressType::PcieToPciBridge) => "PCIe-to-PCI bridge",
        Field::Known(ExpressType::PciToPcieBridge) => "PCI-to-PCIe bridge",
        Field::Known(ExpressType::RootComplexEndpoint) => "integrated endpoint",
        Field::Known(ExpressType::EventCollector) => "event collector",
        Field::Known(ExpressType::Other(_)) => "unknown kind",
    })
}
