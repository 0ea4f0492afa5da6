//! Whether an IOMMU is at work, judged by sysfs alone: never by the command line's text, never by a log line.

use crate::capture::{Capture, Entry};
use crate::iommu::{IommuGroup, group::IOMMU_GROUPS};
use crate::observed::Observed;

/// Where active IOMMU units show up (drivers/iommu/iommu-sysfs.c).
pub const IOMMU_CLASS: &str = "/sys/class/iommu";

/// Where the firmware's tables show up by name; their content is for root.
pub const ACPI_TABLES: &str = "/sys/firmware/acpi/tables";

/// AMD's table of what its IOMMUs translate for.
pub const IVRS: &str = "/sys/firmware/acpi/tables/IVRS";

/// Whether devices are behind a working IOMMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IommuState {
    /// PCI functions are in groups of a real IOMMU.
    On,
    /// They are not.
    Off,
    /// The capture does not tell.
    Unknown,
}

impl IommuState {
    /// On where functions have real groups; off where the functions were seen and have none. A listing of lspci may not show groups at all.
    pub fn judge(capture: &Capture, groups: &[IommuGroup], functions: usize) -> Self {
        if groups.iter().any(|group| !group.is_made_up()) {
            Self::On
        } else if capture.unreadable(IOMMU_GROUPS).is_some() {
            Self::Unknown
        } else if functions > 0 || capture.exists("/sys/bus/pci/devices") || capture.exists("/sys/bus") {
            Self::Off
        } else {
            Self::Unknown
        }
    }
}

/// Names of the active units: `dmar0` (Intel), `ivhd0` (AMD), `smmu3.0x…` (Arm), a virtio device.
pub fn units(capture: &Capture) -> Vec<String> {
    capture.names_in(IOMMU_CLASS).map(str::to_owned).collect()
}

/// ACPI tables by which firmware offers an IOMMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcpiTables {
    /// `DMAR`: Intel VT-d.
    pub dmar: Observed<()>,
    /// `IVRS`: AMD-Vi.
    pub ivrs: Observed<()>,
    /// `IORT`: Arm's SMMUs (drivers/acpi/arm64/iort.c).
    pub iort: Observed<()>,
}

impl AcpiTables {
    /// Reads the tables' presence. A table that cannot be read is there all the same.
    pub fn read(capture: &Capture) -> Self {
        Self { dmar: presence(capture, "DMAR"), ivrs: presence(capture, "IVRS"), iort: presence(capture, "IORT") }
    }

    /// True where the tables were seen and none of them describes an IOMMU.
    pub fn offer_none(&self) -> bool {
        self.dmar.is_absent() && self.ivrs.is_absent() && self.iort.is_absent()
    }
}

fn presence(capture: &Capture, table: &str) -> Observed<()> {
    let path = format!("{ACPI_TABLES}/{table}");
    match (capture.get(&path), capture.get(ACPI_TABLES)) {
        (Some(Entry::Absent), Some(Entry::Dir)) => Observed::Absent,
        (Some(entry), _) if *entry != Entry::Absent => Observed::Known(()),
        (None, Some(Entry::Dir)) => Observed::Absent,
        _ => Observed::Unknown(format!("{ACPI_TABLES} was not seen")),
    }
}
