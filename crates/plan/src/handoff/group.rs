//! Which functions are handed over, and whether they are ready for it.

use crate::group_choice::{self, stays};
use crate::guard;
use crate::intent::Identity;
use crate::journal::{self, Operation, Verb};
use crate::plan::Refusal;
use cede_model::Host;
use cede_model::iommu::IommuState;
use cede_model::pci::{PciAddress, PciDevice, PciId};
use std::collections::BTreeSet;

/// How far a function is on its way to a guest. Later ones are further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is the host's.
    Host,
    /// An operation in force cedes it at the next boot.
    NextBoot,
    /// It is on vfio-pci.
    Ceded,
}

/// One function that is handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it is.
    pub address: PciAddress,
    /// Vendor and device.
    pub id: PciId,
    /// Subsystem.
    pub subsystem: Option<PciId>,
    /// How far it is.
    pub standing: Standing,
    /// The operation of the journal that ceded it.
    pub operation: Option<u32>,
    /// True where some operation of the journal has ceded it, in force or not.
    pub was_ceded: bool,
    /// The kernel's group.
    pub group: Option<u32>,
    /// True for display controllers.
    pub is_display: bool,
    /// True for VGA-compatible display controllers.
    pub is_vga: bool,
    /// Its NUMA node.
    pub numa_node: Option<u32>,
    /// Its own character device (`/dev/vfio/devices/vfio0`), where the kernel has them.
    pub device_node: Option<String>,
}

/// What is handed over together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The function named first: that gets the option ROM.
    pub first: PciAddress,
    /// Every function, in the order of addresses.
    pub members: Vec<Member>,
    /// Bridges of the group, which stay.
    pub stays: Vec<PciAddress>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// Completes the wish to the kernel's groups and sees whether they are as far as the target needs.
///
/// # Errors
/// Every reason why they cannot be handed over.
pub fn give(host: &Host, wanted: &[PciAddress], needs: Standing) -> Result<Given, Vec<Refusal>> {
    let refusals: Vec<Refusal> = wanted.iter().filter_map(|address| refuse(host, *address)).collect();
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let groups = wanted.iter().filter_map(|address| host.group_of(*address));
    collect(host, wanted, needs, groups.flat_map(|group| group.devices.iter().copied()).collect())
}

/// As [`give`], where a foretold group will do: for a text that itself switches the IOMMU on.
///
/// # Errors
/// Every reason why they cannot be ceded.
pub fn foretell(host: &Host, wanted: &[PciAddress]) -> Result<Given, Vec<Refusal>> {
    if host.iommu == IommuState::On {
        return give(host, wanted, Standing::Host);
    }
    let choice = group_choice::choose(host, wanted)?;
    let together = choice.ceded.iter().map(|identity| identity.address).chain(choice.stays.iter().copied()).collect();
    let mut given = collect(host, wanted, Standing::Host, together)?;
    given.notes = choice.notes;
    Ok(given)
}

fn collect(host: &Host, wanted: &[PciAddress], needs: Standing, together: BTreeSet<PciAddress>) -> Result<Given, Vec<Refusal>> {
    let Some(first) = wanted.first() else {
        return Err(vec![Refusal::new("nothing-named", "no device was named: `cede status` shows what can be ceded")]);
    };
    let devices: Vec<&PciDevice> = together.iter().filter_map(|address| host.device(*address)).collect();
    let list = operations(host)?;
    let mut given = Given { first: *first, members: Vec::new(), stays: Vec::new(), notes: Vec::new() };
    let mut refusals = Vec::new();
    for device in devices {
        if stays(device) {
            refusals.extend(group_choice::blocks(device).then(|| chipset(device)));
            given.stays.push(device.address);
            continue;
        }
        match member(host, device, &list) {
            Some(member) => given.members.push(member),
            None => refusals.push(no_ids(device.address)),
        }
    }
    let along: Vec<String> = given.members.iter().map(|m| m.address).filter(|a| !wanted.contains(a)).map(|a| a.to_string()).collect();
    if !along.is_empty() {
        given.notes.push(format!("{} goes along: a group goes as a whole", along.join(", ")));
    }
    refusals.extend(given.members.iter().filter(|member| member.standing < needs).map(|member| not_ready(host, member)));
    refusals.extend(losses(host, &given.members));
    if refusals.is_empty() { Ok(given) } else { Err(refusals) }
}

/// Why no guest can be given this function, whatever driver it is on.
pub(crate) fn refuse(host: &Host, address: PciAddress) -> Option<Refusal> {
    let Some(device) = host.device(address) else {
        return Some(Refusal::new("no-such-device", format!("there is no PCI function at {address}: `cede devices` lists them")));
    };
    if stays(device) {
        let message = format!(
            "{address} is a bridge or part of the chipset and stays with the host: name the device behind it, `cede groups` shows it"
        );
        return Some(Refusal::new("bridge", message));
    }
    if host.iommu != IommuState::On {
        let message = format!(
            "the IOMMU is not on, so there are no groups that a guest could be given: `cede check {address}` tells why; `cede plan {address}`, then the reboot, come first"
        );
        return Some(Refusal::new("iommu-off", message));
    }
    if host.group_of(address).is_none() {
        let message = format!("{address} is behind no IOMMU although one is on: a guest cannot be given it; `cede groups` shows what can");
        return Some(Refusal::new("no-group", message));
    }
    None
}

/// Only root may look into the journal; without it, what is bound tells.
fn operations(host: &Host) -> Result<Vec<Operation>, Vec<Refusal>> {
    match journal::operations(&host.capture) {
        Ok(list) => Ok(list),
        Err(journal::JournalError::Unreadable { .. }) => Ok(Vec::new()),
        Err(error) => Err(vec![Refusal::new("journal-damaged", format!("{error}: `cede log` shows what can be read"))]),
    }
}

fn member(host: &Host, device: &PciDevice, list: &[Operation]) -> Option<Member> {
    let of_it = || list.iter().rev().filter(|one| one.plan.devices.iter().any(|identity| identity.matches(device)));
    // A hook has its functions only while its guest runs, whatever starts.
    let cedes = |one: &&Operation| journal::in_force(list, one) && one.verb != Verb::Hook;
    let operation = of_it().find(cedes).map(|one| one.number);
    let standing = match operation {
        _ if device.is_on_vfio() => Standing::Ceded,
        Some(_) => Standing::NextBoot,
        None => Standing::Host,
    };
    Some(Member {
        address: device.address,
        id: device.id?,
        subsystem: device.subsystem,
        standing,
        operation,
        was_ceded: of_it().any(|one| one.verb.adds()),
        group: device.iommu_group,
        is_display: device.is_display(),
        is_vga: device.class.is_some_and(|class| class.base_and_sub() == 0x0300),
        numa_node: device.numa_node,
        device_node: super::advice::device_node(host, device.address),
    })
}

fn chipset(device: &PciDevice) -> Refusal {
    let (address, driver) = (device.address, device.driver_name().unwrap_or_default());
    Refusal::new(
        "group-has-chipset-device",
        format!(
            "{address} ({driver}) is in the same group and belongs to the chipset: the group cannot be given away; `cede groups {address}` shows it"
        ),
    )
}

fn no_ids(address: PciAddress) -> Refusal {
    Refusal::new(
        "device-does-not-answer",
        format!("the ids of {address} could not be read: it may be asleep or dead; `lspci -s {address}` shows it"),
    )
}

fn not_ready(host: &Host, member: &Member) -> Refusal {
    let address = member.address;
    if member.standing == Standing::NextBoot {
        let number = member.operation.unwrap_or_default();
        let message = format!("{address} is ceded by operation {number}, which the next boot carries out: reboot, then `cede verify`");
        return Refusal::new("reboot-first", message);
    }
    let driver = host.device(address).and_then(PciDevice::driver_name);
    let now = driver.map_or("has no driver".to_owned(), |driver| format!("is on {driver}"));
    Refusal::new(
        "not-ceded",
        format!(
            "{address} {now} and not on vfio-pci, so no guest can be given its group: `sudo cede bind {address}` until the next start, or `sudo cede apply {address}` and the reboot, come first"
        ),
    )
}

/// What the host would lose when a guest takes what is not ceded yet. The boot configuration is not touched here.
fn losses(host: &Host, members: &[Member]) -> Vec<Refusal> {
    let taken: Vec<Identity> = members
        .iter()
        .filter(|member| member.standing == Standing::Host)
        .filter_map(|member| Identity::of(host.device(member.address)?))
        .collect();
    if taken.is_empty() { Vec::new() } else { guard::refusals(host, &taken, &[]) }
}
