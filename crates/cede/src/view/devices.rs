//! `cede.devices/1`.

use cede_model::Host;
use cede_model::pci::{PciDevice, PciNames};
use serde::Serialize;
use std::collections::HashMap;

/// Every PCI function.
#[derive(Debug, Serialize)]
pub struct DevicesView {
    format: &'static str,
    /// The functions, in the order of their addresses.
    pub devices: Vec<DeviceView>,
}

/// One function. Ids are lower-case hexadecimal; absent facts are `null`.
#[derive(Debug, Serialize)]
pub struct DeviceView {
    /// `domain:bus:device.function`.
    pub address: String,
    /// Vendor id.
    pub vendor: Option<String>,
    /// Device id.
    pub device: Option<String>,
    /// Subsystem vendor id.
    pub subsystem_vendor: Option<String>,
    /// Subsystem device id.
    pub subsystem_device: Option<String>,
    /// Class code, six digits.
    pub class: Option<String>,
    /// Revision, two digits.
    pub revision: Option<String>,
    /// Bound driver.
    pub driver: Option<String>,
    /// Modules that could drive it.
    pub modules: Vec<String>,
    /// Number of its IOMMU group.
    pub iommu_group: Option<u32>,
    /// NUMA node.
    pub numa_node: Option<u32>,
    /// Whether it is the display that the firmware used.
    pub boot_vga: Option<bool>,
    /// Ways to reset it.
    pub reset_methods: Option<Vec<String>>,
    /// Names, for people.
    pub name: NameView,
}

/// Names from pci.ids.
#[derive(Debug, Serialize)]
pub struct NameView {
    /// Of the vendor.
    pub vendor: Option<String>,
    /// Of the device.
    pub device: Option<String>,
    /// Of the class.
    pub class: Option<String>,
}

impl DevicesView {
    /// The view of a host.
    pub fn new(host: &Host, names: &PciNames) -> Self {
        let aliases = host.reference_kernel().map(|kernel| kernel.aliases(&host.capture, &host.devices));
        // Functions of one model have one modalias, and large hosts have many of a model.
        let mut known: HashMap<_, Vec<String>> = HashMap::new();
        let devices = host.devices.iter().map(|device| {
            let modules = aliases.as_ref().map(|aliases| {
                let key = (device.modalias.as_deref(), device.id, device.subsystem, device.class);
                known.entry(key).or_insert_with(|| host.candidates(device, aliases)).clone()
            });
            DeviceView::new(device, modules.unwrap_or_default(), names)
        });
        let devices = devices.collect();
        Self { format: "cede.devices/1", devices }
    }
}

impl DeviceView {
    fn new(device: &PciDevice, modules: Vec<String>, names: &PciNames) -> Self {
        let hex = |value: u16| format!("{value:04x}");
        Self {
            address: device.address.to_string(),
            vendor: device.id.map(|id| hex(id.vendor)),
            device: device.id.map(|id| hex(id.device)),
            subsystem_vendor: device.subsystem.map(|id| hex(id.vendor)),
            subsystem_device: device.subsystem.map(|id| hex(id.device)),
            class: device.class.map(|class| class.to_string()),
            revision: device.revision.map(|revision| format!("{revision:02x}")),
            driver: device.driver_name().map(str::to_owned),
            modules,
            iommu_group: device.iommu_group,
            numa_node: device.numa_node,
            boot_vga: device.boot_vga,
            reset_methods: device.reset_methods.clone(),
            name: NameView::new(device, names),
        }
    }
}

impl NameView {
    fn new(device: &PciDevice, names: &PciNames) -> Self {
        Self {
            vendor: device.id.and_then(|id| names.vendor(id)).map(str::to_owned),
            device: device.id.and_then(|id| names.device(id)).map(str::to_owned),
            class: device.class.and_then(|class| names.class(class)).map(str::to_owned),
        }
    }
}
