//! Which functions go together: the whole group, or nothing. Bridges stay with their drivers.

use crate::intent::Identity;
use crate::plan::Refusal;
use cede_model::Host;
use cede_model::iommu::{IommuState, Origin, Prediction, foretell::foretell};
use cede_model::pci::{PciAddress, PciDevice, Upstream};
use std::cell::OnceCell;
use std::collections::BTreeSet;

/// The functions that go, those that stay, and what is to be said of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Go to vfio-pci.
    pub ceded: Vec<Identity>,
    /// Group members that stay: bridges and ports.
    pub stays: Vec<PciAddress>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// Drivers that leave a group usable: vfio drivers, and those with `driver_managed_dma` (drivers/pci/pcie/portdrv.c, drivers/pci/pci-stub.c).
const TOLERATED: [&str; 2] = ["pcieport", "pci-stub"];

/// Bridges of any kind (base class 06), IOMMUs (08 06) and the chipset stay: they cannot be bound to vfio-pci, or the machine runs on them.
pub fn stays(device: &PciDevice) -> bool {
    device.is_bridge() || device.class.is_some_and(|class| class.base() == 0x06 || class.base_and_sub() == 0x0806) || is_chipset(device)
}

/// What the machine runs on, on a root bus: memory of the chipset, its SMBus, interrupt controllers, DMA, timers and clock (PCI Code and ID
/// Assignment Specification 1.11, 1.6, 1.9, 1.13), and Intel's SPI controller with the firmware's flash.
fn is_chipset(device: &PciDevice) -> bool {
    let Some(class) = device.class.filter(|_| device.upstream == Upstream::RootBus) else { return false };
    let is_intel = device.id.is_some_and(|id| id.vendor == 0x8086);
    match class.base_and_sub() {
        0x0500 | 0x0580 | 0x0800..=0x0803 | 0x0c05 => true,
        0x0c80 => is_intel,
        _ => false,
    }
}

/// True for a member that keeps its group from being used by VFIO unless it is ceded too (drivers/iommu/iommu.c `iommu_group_claim_dma_owner`).
pub fn blocks(device: &PciDevice) -> bool {
    let driver = device.driver_name();
    if stays(device) {
        return driver.is_some_and(|driver| !TOLERATED.contains(&driver) && !device.is_bridge());
    }
    !device.is_on_vfio() && !driver.is_some_and(|driver| TOLERATED.contains(&driver))
}

/// The VMD endpoint in whose domain a function is. Its driver makes that domain and takes it away, so there is nothing in it to be bound once
/// vfio-pci has the endpoint (drivers/pci/controller/vmd.c `vmd_enable_domain`, `vmd_remove`).
pub fn vmd_endpoint(host: &Host, device: &PciDevice) -> Option<PciAddress> {
    // Buses are at most 256 deep.
    let mut upstream = device.upstream;
    for _ in 0..256 {
        match upstream {
            Upstream::Vmd(endpoint) => return Some(endpoint),
            Upstream::Bridge(bridge) => upstream = host.device(bridge)?.upstream,
            Upstream::RootBus | Upstream::Unknown => return None,
        }
    }
    None
}

/// From when on functions are to be ceded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The next start, at which there are no virtual functions yet.
    Start,
    /// Now.
    Now,
}

/// Completes the wish to whole groups, from the next start on.
///
/// # Errors
/// Every reason why it cannot be fulfilled.
pub fn choose(host: &Host, wanted: &[PciAddress]) -> Result<Choice, Vec<Refusal>> {
    choose_from(host, wanted, From::Start)
}

/// Completes the wish to whole groups.
///
/// # Errors
/// Every reason why it cannot be fulfilled.
pub fn choose_from(host: &Host, wanted: &[PciAddress], from: From) -> Result<Choice, Vec<Refusal>> {
    Chooser::new(host, from).choose(wanted)
}

/// Completes one wish after another: where the kernel has no groups they are foretold once for all.
pub struct Chooser<'a> {
    host: &'a Host,
    from: From,
    foretold: OnceCell<Prediction>,
}

impl<'a> Chooser<'a> {
    /// For the groups of a host.
    pub fn new(host: &'a Host, from: From) -> Self {
        Self { host, from, foretold: OnceCell::new() }
    }

    /// As [`choose`].
    ///
    /// # Errors
    /// Every reason why it cannot be fulfilled.
    pub fn choose(&self, wanted: &[PciAddress]) -> Result<Choice, Vec<Refusal>> {
        let host = self.host;
        let refusals: Vec<Refusal> =
            wanted.iter().filter_map(|address| behind_vmd(host, *address, wanted).or_else(|| refuse(host, *address, self.from))).collect();
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let mut together: BTreeSet<PciAddress> = wanted.iter().copied().collect();
        let mut choice = Choice::default();
        if host.iommu == IommuState::On {
            for address in wanted {
                together.extend(host.group_of(*address).into_iter().flat_map(|group| group.devices.iter().copied()));
            }
        } else {
            self.add_foretold(wanted, &mut together, &mut choice);
        }
        divide(host, wanted, together, choice, self.from)
    }

    fn add_foretold(&self, wanted: &[PciAddress], together: &mut BTreeSet<PciAddress>, choice: &mut Choice) {
        let prediction = self.foretold.get_or_init(|| foretell(self.host));
        for address in wanted {
            together.extend(self.host.slot(*address).map(|device| device.address));
            together.extend(prediction.inseparable(*address).into_iter().flat_map(|set| set.companions).map(|companion| companion.address));
        }
        choice.notes.push(match prediction.origin() {
            Origin::Predicted => "the group is foretold from configuration space, not read: the kernel makes groups once the IOMMU is on, and `cede verify` compares".to_owned(),
            Origin::Bounds => "the group is foretold and not read, and configuration space could not be seen whole (run as root): it holds at least this slot; `cede verify` compares it with the kernel's".to_owned(),
        });
    }
}

fn refuse(host: &Host, address: PciAddress, from: From) -> Option<Refusal> {
    let Some(device) = host.device(address) else {
        return Some(Refusal::new("no-such-device", format!("there is no PCI function at {address}: `cede devices` lists them")));
    };
    if stays(device) {
        return Some(Refusal::new(
            "bridge",
            format!(
                "{address} is a bridge or part of the chipset: it stays with its driver; name the device behind it, `cede groups` shows it"
            ),
        ));
    }
    if let Some(refusal) = virtual_functions(device, from) {
        return Some(refusal);
    }
    if host.iommu == IommuState::On && host.group_of(address).is_none() {
        return Some(Refusal::new(
            "no-group",
            format!("{address} is behind no IOMMU although one is on: a guest cannot be given it; `cede groups` shows what can"),
        ));
    }
    None
}

/// What is in the domain of a VMD endpoint does DMA in its name and goes with it, not alone.
fn behind_vmd(host: &Host, address: PciAddress, wanted: &[PciAddress]) -> Option<Refusal> {
    let endpoint = vmd_endpoint(host, host.device(address)?).filter(|endpoint| !wanted.contains(endpoint))?;
    let message = format!(
        "{address} is behind Intel VMD, which does its DMA: name {endpoint} to give that with everything behind it, or switch VMD off in the firmware's setup and look again with `cede groups`"
    );
    Some(Refusal::new("behind-vmd", message))
}

/// A virtual function is made by its physical function's driver, long after modprobe.d and the command line have had their say; and it is
/// gone with that driver (drivers/pci/iov.c `sriov_enable`).
fn virtual_functions(device: &PciDevice, from: From) -> Option<Refusal> {
    let address = device.address;
    if let Some(physical) = device.physical_function {
        if from == From::Now {
            return None;
        }
        let message = format!(
            "{address} is a virtual function of {physical}: it does not exist yet when the host starts, so it cannot be bound then; leave it to libvirt (`managed='yes'`), or give {physical} as a whole with `echo 0 > /sys/bus/pci/devices/{physical}/sriov_numvfs` first"
        );
        return Some(Refusal::new("virtual-function", message));
    }
    let active = device.sriov_active.filter(|count| *count > 0 && !device.is_on_vfio())?;
    let message = format!(
        "{address} has {active} virtual functions in use, which go with its driver: run `echo 0 > /sys/bus/pci/devices/{address}/sriov_numvfs`, and take away what makes them at the start"
    );
    Some(Refusal::new("virtual-functions-in-use", message))
}

fn divide(
    host: &Host,
    wanted: &[PciAddress],
    together: BTreeSet<PciAddress>,
    mut choice: Choice,
    from: From,
) -> Result<Choice, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let (behind, members): (Vec<&PciDevice>, Vec<&PciDevice>) =
        together.iter().filter_map(|address| host.device(*address)).partition(|device| vmd_endpoint(host, device).is_some());
    if !behind.is_empty() {
        let names = behind.iter().map(|device| device.address.to_string()).collect::<Vec<_>>().join(", ");
        choice.notes.push(format!("behind Intel VMD, and seen by the guest alone once that is ceded: {names}"));
    }
    for device in members {
        if stays(device) {
            if blocks(device) {
                let driver = device.driver_name().unwrap_or_default();
                refusals.push(Refusal::new("group-has-chipset-device", format!("{} ({driver}) is in the same group and belongs to the chipset: the group cannot be given away; `cede groups {}` shows it", device.address, device.address)));
            }
            choice.stays.push(device.address);
            continue;
        }
        match Identity::of(device) {
            Some(_) if let Some(refusal) = virtual_functions(device, from) => refusals.push(refusal),
            Some(identity) => choice.ceded.push(identity),
            None => refusals.push(Refusal::new(
                "device-does-not-answer",
                format!(
                    "the ids of {} could not be read: it may be asleep or dead; `lspci -s {}` shows it",
                    device.address, device.address
                ),
            )),
        }
    }
    let along: Vec<String> = choice
        .ceded
        .iter()
        .map(|identity| identity.address)
        .filter(|address| !wanted.contains(address))
        .map(|address| address.to_string())
        .collect();
    if !along.is_empty() {
        choice.notes.insert(0, format!("{} goes along: a group goes as a whole", along.join(", ")));
    }
    if refusals.is_empty() { Ok(choice) } else { Err(refusals) }
}
