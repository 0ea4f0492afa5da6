//! libvirt: a `<hostdev>` for each function, and the root ports that they stand behind; put into a domain where one is named.

use super::domain::{Domain, Machine, NotADomain};
use super::group::{Given, Member, Standing};
use super::layout::{Slot, slots};
use super::{Options, Target, Text};
use crate::plan::Refusal;
use cede_model::Host;
use cede_model::pci::PciAddress;

/// Controllers from this number on are left free by virt-manager, which makes fourteen root ports.
const FIRST_FREE: u32 = 0x10;

/// The last slot of a bus.
const LAST_SLOT: u32 = 0x1f;

/// Slots below are taken by the host bridge, the southbridge and, by habit, the display (libvirt, `qemuDomainValidateDevicePCISlotsPIIX3`).
const FIRST_CONVENTIONAL: u32 = 3;

/// Said of what was ceded before. Its daemon keeps what a guest has had with managed='no' in the list of inactive devices, and takes a managed
/// guest's device for that one (src/hypervisor/virhostdev.c `virHostdevPreparePCIDevicesImpl`, seen with 9.0).
const MANAGED_AGAIN: &str = "; a guest has had it with managed='no' since libvirt's daemon started? `systemctl restart libvirtd` (or virtqemud) first, else it stays on vfio-pci";

/// libvirt.
pub struct Libvirt;

impl Target for Libvirt {
    fn name(&self) -> &'static str {
        "libvirt"
    }

    fn about(&self) -> &'static str {
        "`<hostdev>` elements, or a whole domain"
    }

    fn needs(&self) -> Standing {
        Standing::Host
    }

    fn text(&self, _: &Host, given: &Given, options: &Options) -> Result<Text, Vec<Refusal>> {
        let refused = |refusal| vec![refusal];
        let domain = options.domain.as_ref();
        let places = places(given, domain).map_err(refused)?;
        let mut parts: Vec<String> = places.iter().filter_map(|place| place.port).map(root_port).collect();
        let mut devices = Vec::new();
        for place in &places {
            for (function, member) in &place.slot.functions {
                parts.push(hostdev(member, given, options, place, *function));
                devices.push(member.address);
            }
        }
        let text = match domain {
            None => parts.concat(),
            Some(domain) => domain.with(&parts, &devices).map_err(|error| refused(not_edited(domain, &error)))?,
        };
        Ok(Text { text, parts, notes: notes(given, domain) })
    }
}

/// Where a slot goes in the guest.
struct Place<'a> {
    slot: Slot<'a>,
    /// The root port to be made for it.
    port: Option<u32>,
    bus: u32,
    number: u32,
}

/// A place for every slot of which nothing is in the domain yet. Functions of a slot that is there in part get slots of their own: what is
/// there is not touched.
fn places<'a>(given: &'a Given, domain: Option<&Domain>) -> Result<Vec<Place<'a>>, Refusal> {
    let there = |address: PciAddress| domain.is_some_and(|domain| domain.devices.contains(&address));
    let mut wanted: Vec<Slot<'a>> = Vec::new();
    for slot in slots(given) {
        if slot.functions.iter().any(|(_, member)| there(member.address)) {
            let rest = slot.functions.iter().filter(|(_, member)| !there(member.address));
            wanted.extend(rest.map(|(_, member)| Slot { functions: vec![(0, *member)] }));
        } else {
            wanted.push(slot);
        }
    }
    match domain.map(|domain| (domain, &domain.machine)) {
        None => express(wanted, FIRST_FREE),
        Some((domain, Machine::Express)) => express(wanted, domain.controllers.last().map_or(1, |last| last + 1)),
        Some((domain, Machine::Conventional)) => conventional(wanted, domain),
        Some((domain, Machine::Other(name))) => {
            let what = if name.is_empty() { "names no machine type".to_owned() } else { format!("is a `{name}`") };
            let message = format!(
                "{} {what}, and where its PCI devices go is not known here: `cede handoff ADDR --to libvirt` without --domain gives the elements by themselves",
                domain.name
            );
            Err(Refusal::new("machine-unknown", message))
        }
    }
}

fn express(wanted: Vec<Slot<'_>>, first: u32) -> Result<Vec<Place<'_>>, Refusal> {
    // Bus numbers have eight bits.
    if first.saturating_add(u32::try_from(wanted.len()).unwrap_or(u32::MAX)) > 256 {
        return Err(Refusal::new(
            "no-bus-left",
            "the domain has no PCI bus left for another root port: `virsh edit DOMAIN`, and take controllers out that nothing uses",
        ));
    }
    Ok(wanted.into_iter().zip(first..).map(|(slot, bus)| Place { slot, port: Some(bus), bus, number: 0 }).collect())
}

fn conventional<'a>(wanted: Vec<Slot<'a>>, domain: &Domain) -> Result<Vec<Place<'a>>, Refusal> {
    let mut free = (FIRST_CONVENTIONAL..=LAST_SLOT).filter(|slot| !domain.slots.contains(slot));
    let mut places = Vec::new();
    for slot in wanted {
        let number = free.next().ok_or_else(|| {
            Refusal::new(
                "no-slot-left",
                format!("every PCI slot of {} is taken: `virsh edit {}`, and take a device out", domain.name, domain.name),
            )
        })?;
        places.push(Place { slot, port: None, bus: 0, number });
    }
    Ok(places)
}

/// libvirt finds a place for the port itself.
fn root_port(index: u32) -> String {
    format!("<controller type='pci' index='{index}' model='pcie-root-port'/>\n")
}

fn hostdev(member: &Member, given: &Given, options: &Options, place: &Place<'_>, function: u8) -> String {
    let managed = if is_managed(member) { "yes" } else { "no" };
    let (a, bus, number) = (member.address, place.bus, place.number);
    let multi = if function == 0 && place.slot.is_multifunction() { " multifunction='on'" } else { "" };
    let rom = options.rom.as_ref().filter(|_| member.address == given.first);
    let rom = rom.map(|rom| format!("  <rom file='{}'/>\n", quick_xml::escape::escape(rom.path.as_str()))).unwrap_or_default();
    format!(
        "<hostdev mode='subsystem' type='pci' managed='{managed}'>\n  <source>\n    <address domain='0x{:04x}' bus='0x{:02x}' slot='0x{:02x}' function='0x{:x}'/>\n  </source>\n{rom}  <address type='pci' domain='0x0000' bus='0x{bus:02x}' slot='0x{number:02x}' function='0x{function:x}'{multi}/>\n</hostdev>\n",
        a.domain,
        a.bus,
        a.device(),
        a.function(),
    )
}

/// A function that is on vfio-pci from the start stays there; any other one libvirt takes from its driver and gives back.
fn is_managed(member: &Member) -> bool {
    member.standing == Standing::Host
}

fn not_edited(domain: &Domain, error: &NotADomain) -> Refusal {
    Refusal::new(
        "domain-not-editable",
        format!("{}: {error}: `cede handoff ADDR --to libvirt` without --domain gives the elements by themselves", domain.name),
    )
}

fn notes(given: &Given, domain: Option<&Domain>) -> Vec<String> {
    let there = |member: &&Member| domain.is_some_and(|domain| domain.devices.contains(&member.address));
    let (old, new): (Vec<&Member>, Vec<&Member>) = given.members.iter().partition(there);
    let same =
        |one: &&Member, other: &&Member| (one.standing, one.operation, one.was_ceded) == (other.standing, other.operation, other.was_ceded);
    let mut list: Vec<String> = new.chunk_by(same).filter_map(managed_note).collect();
    match domain {
        Some(domain) if !old.is_empty() => list.push(format!("{} in {} already: left as it is", listed(&old), domain.name)),
        Some(_) => {}
        None => list.push(format!("for a q35 guest without controllers from {FIRST_FREE} on; `--domain NAME` finds free addresses in a guest, also in one of i440fx")),
    }
    list
}

fn listed(members: &[&Member]) -> String {
    members.iter().map(|member| member.address.to_string()).collect::<Vec<_>>().join(", ")
}

fn managed_note(members: &[&Member]) -> Option<String> {
    let first = members.first()?;
    let why = match (first.standing, first.operation) {
        (Standing::Host, _) => {
            let again = if first.was_ceded { MANAGED_AGAIN } else { "" };
            format!(
                "managed='yes': libvirt takes it from its driver at the start of the guest and gives it back at the end; nothing on the host may use it then{again}"
            )
        }
        (Standing::NextBoot, Some(number)) => {
            format!("managed='no': operation {number} cedes it at the start of the host; reboot before the guest starts")
        }
        (_, Some(number)) => format!("managed='no': operation {number} ceded it at the start of the host, and it stays so"),
        (_, None) => "managed='no': it is on vfio-pci already, and must be so before each start of the guest".to_owned(),
    };
    Some(format!("{}: {why}", listed(members)))
}
