//! What is to be proved, how deep, and through which interface.

use crate::handoff::{advice, group};
use crate::plan::Refusal;
use cede_model::Host;
use cede_model::pci::{PciAddress, PciDevice};
use std::collections::BTreeSet;

/// How deep a proof goes. Later ones do all that the former do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Depth {
    /// Container, group and IOMMU domain: no device is opened.
    #[default]
    Attach,
    /// Each device is opened, read and reset.
    Open,
    /// A guest of firmware alone gets them, and gives them back.
    Guest,
}

impl Depth {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Open => "open",
            Self::Guest => "guest",
        }
    }

    /// What it does to the devices. Opening resets by itself (drivers/vfio/pci/vfio_pci_core.c `vfio_pci_core_enable`), and so does closing.
    pub fn touches(self) -> &'static str {
        match self {
            Self::Attach => "their group is attached to an IOMMU domain of its own and let go; no device is opened, reset or written to",
            Self::Open => {
                "each is opened, read, and reset four times (by the kernel when it opens and closes it, twice by cede); one that does not come back from a reset stays away until the host is restarted"
            }
            Self::Guest => {
                "each is opened, read and reset; then QEMU starts with them and with firmware alone (no disk, no image), which maps them and runs their option ROMs, but starts no system from them; then they are opened and reset again. One that does not come back from a reset stays away until the host is restarted"
            }
        }
    }

    /// The next one.
    pub fn deeper(self) -> Option<Self> {
        match self {
            Self::Attach => Some(Self::Open),
            Self::Open => Some(Self::Guest),
            Self::Guest => None,
        }
    }
}

/// The kernel's two ways to VFIO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// Containers and groups: `/dev/vfio/vfio`, `/dev/vfio/N`.
    Container,
    /// `/dev/iommu` and a node for each device, `/dev/vfio/devices/vfioN` (since Linux 6.6).
    Iommufd,
}

impl Interface {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Iommufd => "iommufd",
        }
    }
}

/// A function to be proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub address: PciAddress,
    /// Its group.
    pub group: u32,
    /// Its own node, where the kernel has them.
    pub node: Option<String>,
}

/// What is to be proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// How deep.
    pub depth: Depth,
    /// By which way.
    pub interface: Interface,
    /// Every function of the groups that is on a VFIO driver.
    pub targets: Vec<Target>,
}

impl Wish {
    /// The groups, each once.
    pub fn groups(&self) -> BTreeSet<u32> {
        self.targets.iter().map(|target| target.group).collect()
    }
}

/// Completes the addresses to groups.
///
/// # Errors
/// A function that is not there, in no group, or not on a VFIO driver: that one is the host's, and is not touched.
pub fn wish(host: &Host, wanted: &[PciAddress], depth: Depth, asked: Option<Interface>) -> Result<Wish, Vec<Refusal>> {
    let refusals: Vec<Refusal> = wanted.iter().filter_map(|address| refuse(host, *address)).collect();
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let groups: BTreeSet<u32> = wanted.iter().filter_map(|address| host.device(*address)?.iommu_group).collect();
    let targets: Vec<Target> = host.devices.iter().filter(|device| device.is_on_vfio()).filter_map(|device| target(host, device)).collect();
    let targets: Vec<Target> = targets.into_iter().filter(|target| groups.contains(&target.group)).collect();
    let interface = asked.unwrap_or_else(|| usual(host, depth, &targets));
    let missing = targets.iter().filter(|target| interface == Interface::Iommufd && target.node.is_none()).map(no_node);
    let refusals: Vec<Refusal> = missing.chain(too_many(depth, &targets)).collect();
    if refusals.is_empty() { Ok(Wish { depth, interface, targets }) } else { Err(refusals) }
}

/// Through iommufd nothing can be attached without opening the device. Else that way is taken which `cede handoff` gives to a guest.
fn usual(host: &Host, depth: Depth, targets: &[Target]) -> Interface {
    let has_container = host.capture.is_there("/dev/vfio/vfio") || !host.capture.is_there("/dev/iommu");
    let has_nodes = targets.iter().all(|target| target.node.is_some());
    if !has_nodes || (depth == Depth::Attach && has_container) { Interface::Container } else { Interface::Iommufd }
}

fn target(host: &Host, device: &PciDevice) -> Option<Target> {
    let node = advice::device_node(host, device.address);
    Some(Target { address: device.address, group: device.iommu_group?, node })
}

fn refuse(host: &Host, address: PciAddress) -> Option<Refusal> {
    if let Some(refusal) = group::refuse(host, address) {
        return Some(refusal);
    }
    let device = host.device(address).filter(|device| !device.is_on_vfio())?;
    let now = device.driver_name().map_or("has no driver".to_owned(), |driver| format!("is on {driver}"));
    let message = format!(
        "{address} {now} and not on vfio-pci, so it is still the host's and is not touched: `sudo cede bind {address}` until the next start, or `sudo cede apply {address}` and the reboot, come first"
    );
    Some(Refusal::new("not-on-vfio", message))
}

fn too_many(depth: Depth, targets: &[Target]) -> Option<Refusal> {
    let slots = super::guest::slots(targets).len();
    (depth == Depth::Guest && slots > super::guest::PORTS).then(|| {
        let message = format!(
            "the groups have functions of {slots} slots, and the guest has ports for {}: name fewer devices with `--depth guest`",
            super::guest::PORTS
        );
        Refusal::new("too-many", message)
    })
}

fn no_node(target: &Target) -> Refusal {
    let message = format!(
        "{} has no node below /dev/vfio/devices, or there is no /dev/iommu: this kernel is without CONFIG_VFIO_DEVICE_CDEV or CONFIG_IOMMUFD, or `sudo modprobe iommufd` was not run; `--interface container` is the other way",
        target.address
    );
    Refusal::new("no-iommufd", message)
}
