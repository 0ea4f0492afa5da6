//! Which driver takes a function for VFIO: vfio-pci, or the variant that the kernel has for it.

use super::attribute::PCI_DRIVERS;
use crate::plan::Refusal;
use cede_model::Host;
use cede_model::kernel::installed::ModuleForm;
use cede_model::kernel::{module_alias::vfio_module, module_name};
use cede_model::pci::PciDevice;

/// A driver and the module that brings it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VfioDriver {
    /// As its directory below `/sys/bus/pci/drivers` is called.
    pub(super) driver: String,
    /// The module.
    pub(super) module: String,
    /// True where it is to be loaded first.
    pub(super) to_load: bool,
}

/// Modules whose drivers are called otherwise (drivers/vfio/pci/vfio_pci.c, drivers/vfio/pci/xe/main.c); the others are called as their modules.
const OTHERWISE: [(&str, &str); 2] = [("vfio_pci", "vfio-pci"), ("xe_vfio_pci", "xe-vfio-pci")];

/// The driver for a function in the running kernel.
///
/// # Errors
/// The kernel has none.
pub(super) fn of(host: &Host, device: &PciDevice) -> Result<VfioDriver, Refusal> {
    let kernel = host.running_kernel();
    let file = |name: &str| kernel.and_then(|kernel| host.capture.file(&format!("{}/{name}", kernel.modules_dir))).unwrap_or_default();
    let modalias = device.modalias_text().unwrap_or_default();
    let module = module_name(&vfio_module(file("modules.alias"), file("modules.builtin.modinfo"), &modalias));
    let driver = OTHERWISE.iter().find(|(other, _)| *other == module).map_or(module.as_str(), |(_, driver)| driver).to_owned();
    let is_registered = host.capture.is_there(&format!("{PCI_DRIVERS}{driver}"));
    let form = kernel.map_or(ModuleForm::Missing, |kernel| kernel.form(&module));
    if form == ModuleForm::Missing && !is_registered {
        let release = host.running.as_deref().unwrap_or("that runs");
        return Err(Refusal::new(
            "no-vfio-pci",
            format!(
                "the kernel {release} has no module {module} for {}: install the package with all of its modules; after an update of the kernel, reboot first",
                device.address
            ),
        ));
    }
    Ok(VfioDriver { driver, module, to_load: !is_registered })
}
