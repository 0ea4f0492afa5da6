//! `cede.devices/1`.

use super::shown::Shown;
use cede_model::Host;
use cede_model::pci::{PciAddress, PciClass, PciDevice, PciNames};
use serde::Serialize;
use std::collections::HashMap;

/// Every PCI function.
#[derive(Debug, Serialize)]
pub struct DevicesView<'a> {
    format: &'static str,
    /// The functions, in the order of their addresses.
    pub devices: Vec<DeviceView<'a>>,
}

/// One function. Ids are lower-case hexadecimal; absent facts are `null`.
#[derive(Debug, Serialize)]
pub struct DeviceView<'a> {
    /// `domain:bus:device.function`.
    pub address: Shown<PciAddress>,
    /// Vendor id.
    pub vendor: Option<Shown<Hex<4>>>,
    /// Device id.
    pub device: Option<Shown<Hex<4>>>,
    /// Subsystem vendor id.
    pub subsystem_vendor: Option<Shown<Hex<4>>>,
    /// Subsystem device id.
    pub subsystem_device: Option<Shown<Hex<4>>>,
    /// Class code, six digits.
    pub class: Option<Shown<PciClass>>,
    /// Revision, two digits.
    pub revision: Option<Shown<Hex<2>>>,
    /// Bound driver.
    pub driver: Option<&'a str>,
    /// Modules that could drive it.
    pub modules: Vec<&'a str>,
    /// Number of its IOMMU group.
    pub iommu_group: Option<u32>,
    /// NUMA node.
    pub numa_node: Option<u32>,
    /// Whether it is the display that the firmware used.
    pub boot_vga: Option<bool>,
    /// Ways to reset it.
    pub reset_methods: Option<&'a [String]>,
    /// Names, for people.
    pub name: NameView<'a>,
}

/// Names from pci.ids.
#[derive(Debug, Serialize)]
pub struct NameView<'a> {
    /// Of the vendor.
    pub vendor: Option<&'a str>,
    /// Of the device.
    pub device: Option<&'a str>,
    /// Of the class.
    pub class: Option<&'a str>,
}

/// A number as so many digits.
#[derive(Debug)]
pub struct Hex<const DIGITS: usize>(u16);

impl<const DIGITS: usize> std::fmt::Display for Hex<DIGITS> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:0DIGITS$x}", self.0)
    }
}

impl<'a> DevicesView<'a> {
    /// The view of a host.
    pub fn new(host: &'a Host, names: &'a PciNames) -> Self {
        let aliases = host.reference_kernel().map(|kernel| kernel.aliases(&host.capture, &host.devices));
        // Functions of one model have one modalias, and large hosts have many of a model.
        let mut known: HashMap<_, Vec<&str>> = HashMap::new();
        let devices = host.devices.iter().map(|device| {
            let modules = aliases.as_ref().map(|aliases| {
                let key = (device.modalias.as_deref(), device.id, device.subsystem, device.class);
                known.entry(key).or_insert_with(|| aliases.matching(&device.modalias_text().unwrap_or_default())).clone()
            });
            DeviceView::new(device, modules.unwrap_or_default(), names)
        });
        let devices = devices.collect();
        Self { format: "cede.devices/1", devices }
    }
}

impl<'a> DeviceView<'a> {
    fn new(device: &'a PciDevice, modules: Vec<&'a str>, names: &'a PciNames) -> Self {
        let hex = |value: u16| Shown(Hex(value));
        Self {
            address: Shown(device.address),
            vendor: device.id.map(|id| hex(id.vendor)),
            device: device.id.map(|id| hex(id.device)),
            subsystem_vendor: device.subsystem.map(|id| hex(id.vendor)),
            subsystem_device: device.subsystem.map(|id| hex(id.device)),
            class: device.class.map(Shown),
            revision: device.revision.map(|revision| Shown(Hex(revision.into()))),
            driver: device.driver_name(),
            modules,
            iommu_group: device.iommu_group,
            numa_node: device.numa_node,
            boot_vga: device.boot_vga,
            reset_methods: device.reset_methods.as_deref(),
            name: NameView::new(device, names),
        }
    }
}

impl<'a> NameView<'a> {
    fn new(device: &PciDevice, names: &'a PciNames) -> Self {
        Self {
            vendor: device.id.and_then(|id| names.vendor(id)),
            device: device.id.and_then(|id| names.device(id)),
            class: device.class.and_then(|class| names.class(class)),
        }
    }
}
