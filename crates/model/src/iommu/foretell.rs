//! The groups of a host: the kernel's where it has made them, else those that it will make.

use super::acs_parameters::AcsParameters;
use super::options::{AcsOverride, KernelVersion, PredictOptions};
use super::placement::{self, Placement};
use super::predict::predict_placed;
use super::{Origin, PredictInput, Prediction};
use crate::host::Host;
use crate::iommu::state::IVRS;
use crate::iommu::{IommuGroup, IommuState, Ivrs};
use crate::kernel::acs_override::{self, OverridePatch};
use crate::pci::device::PCI_DEVICES;
use crate::pci::{ConfigSpace, PciAddress, PciDevice};
use std::collections::HashMap;

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
    /// Of bounds, the set in [`GroupTable::possible`] beyond which it cannot grow, where it may be larger than shown.
    pub within: Option<usize>,
}

/// Groups, and by what right they are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupTable {
    /// By what right.
    pub origin: GroupOrigin,
    /// The groups. Of bounds: the sets of functions that will be together in every case.
    pub rows: Vec<GroupRow>,
    /// Of bounds, the largest groups that may come of it.
    pub possible: Vec<Vec<PciAddress>>,
}

impl GroupTable {
    /// The table of a host: the kernel's where it has groups, else foretold.
    pub fn of(host: &Host) -> Self {
        if host.iommu != IommuState::On {
            return Self::foretold(host);
        }
        let row = |group: &IommuGroup| GroupRow { id: group.id, kind: group.kind.clone(), devices: group.devices.clone(), within: None };
        Self { origin: GroupOrigin::Kernel, rows: host.groups.iter().map(row).collect(), possible: Vec::new() }
    }

    /// What the kernel will make of this host, whatever it made.
    pub fn foretold(host: &Host) -> Self {
        let prediction = foretell(host);
        let mut table = Self::of_prediction(&prediction);
        if host.devices.is_empty() {
            table.origin = GroupOrigin::Bounds;
        }
        table
    }

    /// The table of a prediction.
    pub fn of_prediction(prediction: &Prediction) -> Self {
        let origin = match prediction.origin() {
            Origin::Predicted => GroupOrigin::Predicted,
            Origin::Bounds => GroupOrigin::Bounds,
        };
        let row = |(set, id): (&Vec<PciAddress>, u32)| {
            let mut devices = set.clone();
            devices.sort();
            let largest = devices.first().and_then(|first| prediction.possible_set(*first));
            let is_larger = |at: &usize| prediction.possible_sets().get(*at).is_some_and(|possible| possible.len() > devices.len());
            GroupRow { id, kind: None, within: largest.filter(is_larger), devices }
        };
        let rows = prediction.certain().iter().zip(0..).map(row).collect();
        let possible = if origin == GroupOrigin::Bounds { prediction.possible_sets().to_vec() } else { Vec::new() };
        Self { origin, rows, possible }
    }

    /// Functions that may come to a row, in the order of the set it is within.
    pub fn perhaps<'a>(&'a self, row: &'a GroupRow) -> impl Iterator<Item = PciAddress> + use<'a> {
        let set = row.within.and_then(|at| self.possible.get(at)).map_or(&[][..], Vec::as_slice);
        set.iter().copied().filter(|address| row.devices.binary_search(address).is_err())
    }
}

/// True where the kernel's groups are those that are foretold, as far as both speak of a function; of bounds, where they lie between.
pub fn agrees(kernels: &GroupTable, prediction: &Prediction) -> bool {
    differences(kernels, prediction).is_empty()
}

/// The kernel's groups that are not as foretold. Functions that only one of the two knows are left out: behind another IOMMU, or none.
pub fn differences<'a>(kernels: &'a GroupTable, prediction: &Prediction) -> Vec<&'a GroupRow> {
    let holder: HashMap<PciAddress, usize> =
        kernels.rows.iter().zip(0..).flat_map(|(row, index)| row.devices.iter().map(move |address| (*address, index))).collect();
    let differs = |(index, row): &(usize, &GroupRow)| {
        let Some(known) = row.devices.iter().find(|address| prediction.possible_set(**address).is_some()) else { return false };
        let certain = prediction.certain_with(*known);
        let is_torn = certain.iter().any(|other| holder.get(other).is_some_and(|group| group != index));
        let set = prediction.possible_set(*known);
        is_torn || row.devices.iter().any(|other| prediction.possible_set(*other).is_some_and(|other| Some(other) != set))
    };
    kernels.rows.iter().enumerate().filter(differs).map(|(_, row)| row).collect()
}

/// What Linux will make of this host's functions.
pub fn foretell(host: &Host) -> Prediction {
    predict_placed(&placed(host), &options(host))
}

/// The functions of a host in their places.
pub(super) fn placed(host: &Host) -> Placement {
    let inputs: Vec<PredictInput<'_>> = host.devices.iter().filter_map(|device| input(host, device)).collect();
    let mut placement = placement::place(&inputs);
    if let Some(table) = host.capture.file(IVRS).and_then(Ivrs::parse) {
        placement.apply(&table);
    }
    placement
}

/// What else decides on this host: its kernel, its command line, its firmware.
pub fn options(host: &Host) -> PredictOptions {
    let cmdline = host.running_cmdline().known().copied().unwrap_or_default();
    let release = host.running.as_deref().unwrap_or_default();
    let declared = || AcsOverride::from_cmdline(cmdline).filter(|_| acs_override::of_release(release) == OverridePatch::Has);
    PredictOptions {
        ivrs: host.acpi.ivrs.known().is_some() || host.devices.iter().any(is_amd_iommu),
        kernel: host.running.as_deref().and_then(KernelVersion::of_release),
        parameters: AcsParameters::from_cmdline(cmdline),
        acs_override: declared().unwrap_or_default(),
    }
}

/// AMD's IOMMU is a PCI function, and shows that there is an IVRS table where nobody could look for one.
fn is_amd_iommu(device: &PciDevice) -> bool {
    device.class.is_some_and(|class| class.base_and_sub() == 0x0806) && device.id.is_some_and(|id| matches!(id.vendor, 0x1002 | 0x1022))
}

fn input<'a>(host: &'a Host, device: &PciDevice) -> Option<PredictInput<'a>> {
    let dir = format!("{PCI_DEVICES}{}", device.address);
    let config = ConfigSpace::from_sysfs(host.capture.file(&format!("{dir}/config")).unwrap_or_default());
    // Noughts stand in a listing's bytes for a name that is not in the table of names. What the kernel has quirks for is there, and what
    // has no name is listed by number: such a function is taken to be none of those.
    let unnamed = || config.id().filter(|id| (id.vendor, id.device) == (0, 0));
    Some(PredictInput {
        address: device.address,
        id: device.id.or_else(unnamed),
        subsystem: device.subsystem,
        class: device.class?,
        config,
        upstream: device.upstream,
        physical_function: device.physical_function,
        is_express: host.capture.exists(&format!("{dir}/max_link_speed")).then_some(true),
    })
}
