//! `cede.status/1`.

use serde::Serialize;

/// How the host stands.
#[derive(Debug, Serialize)]
pub struct StatusView {
    /// Name and version of the format.
    pub format: &'static str,
    /// `on`, `off` or `unknown`.
    pub iommu: &'static str,
    /// Release of the running kernel.
    pub kernel: Option<String>,
    /// Boot loader, also one that cede does not change.
    pub boot_loader: String,
    /// Initramfs generator, also one that cede does not set up.
    pub initramfs: String,
    /// Functions on vfio-pci.
    pub ceded: Vec<String>,
    /// Of those, the ones that `bind` gave away until the next start.
    pub until_reboot: Vec<String>,
    /// Functions that `bind --persist` gives away at every start, or whose virtual functions it makes.
    pub at_every_start: Vec<String>,
    /// Ceded functions that were moved, swapped or taken out, in words.
    pub displaced: Vec<String>,
    /// Functions that could go.
    pub candidates: Vec<String>,
    /// True where a change waits for the next start.
    pub reboot_pending: bool,
    /// A trial that is in force.
    pub trial: Option<TrialView>,
    /// What to type.
    pub next: String,
}

/// A trial that was neither confirmed nor taken back.
#[derive(Debug, Serialize)]
pub struct TrialView {
    /// Its operation.
    pub operation: u32,
    /// `pending`, `running`, `over` or `unknown`.
    pub state: &'static str,
}
