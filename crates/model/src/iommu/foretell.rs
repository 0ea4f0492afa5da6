//! The groups of a host: the kernel's where it has made them, else those that it will make.

use super::{Origin, PredictInput, PredictOptions, Prediction, predict};
use crate::host::Host;
use crate::iommu::IommuState;
use crate::pci::device::PCI_DEVICES;
use crate::pci::{ConfigSpace, PciAddress, PciDevice};

/// By what right groups are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupOrigin {
    /// Read from the kernel.
    Kernel,
    /// Computed from configuration space: the kernel will form just these.
    Predicted,
    /// Only what is certain either way.
    Bounds,
}

impl GroupOrigin {
    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Predicted => "predicted",
            Self::Bounds => "bounds",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRow {
    /// The kernel's number, or the place in the foretold order.
    pub id: u32,
    /// Type of the default domain, for the kernel's groups.
    pub kind: Option<String>,
    /// Members, sorted.
    pub devices: Vec<PciAddress>,
}

/// Groups, and by what right they are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTable {
    /// By what right.
    pub origin: GroupOrigin,
    /// The groups.
    pub rows: Vec<GroupRow>,
}

impl GroupTable {
    /// The table of a host. Where only bounds are known, the rows are the sets of functions that will be together in every case.
    pub fn of(host: &Host) -> Self {
        if host.iommu == IommuState::On {
            let rows = host.groups.iter().map(|group| GroupRow { id: group.id, kind: group.kind.clone(), devices: group.devices.clone() });
            return Self { origin: GroupOrigin::Kernel, rows: rows.collect() };
        }
        let prediction = foretell(host);
        let origin = match prediction.origin() {
            Origin::Predicted if !host.devices.is_empty() => GroupOrigin::Predicted,
            _ => GroupOrigin::Bounds,
        };
        let told = |set: &&Vec<PciAddress>| origin == GroupOrigin::Predicted || set.len() > 1;
        let rows = prediction.certain().iter().filter(told).zip(0..).map(|(set, id)| {
            let mut devices = set.clone();
            devices.sort();
            GroupRow { id, kind: None, devices }
        });
        Self { origin, rows: rows.collect() }
    }
}

/// What Linux will make of this host's functions.
pub fn foretell(host: &Host) -> Prediction {
    let inputs: Vec<PredictInput<'_>> = host.devices.iter().filter_map(|device| input(host, device)).collect();
    predict(&inputs, PredictOptions { ivrs: host.acpi.ivrs.known().is_some() })
}

fn input<'a>(host: &'a Host, device: &PciDevice) -> Option<PredictInput<'a>> {
    let dir = format!("{PCI_DEVICES}{}", device.address);
    Some(PredictInput {
        address: device.address,
        id: device.id?,
        subsystem: device.subsystem,
        class: device.class?,
        config: ConfigSpace::from_sysfs(host.capture.file(&format!("{dir}/config")).unwrap_or_default()),
        upstream: device.upstream,
        physical_function: device.physical_function,
        is_express: host.capture.exists(&format!("{dir}/max_link_speed")).then_some(true),
    })
}
