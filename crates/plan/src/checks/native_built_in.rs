//! Is the native driver part of the kernel, so that it comes before any module?

use crate::finding::{Finding, Verdict};
use cede_model::kernel::installed::{ModuleForm, module_name};
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::{Evidence, Host};

/// `native-driver-built-in` for named functions.
pub fn check(host: &Host, devices: &[PciAddress]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let slot_or_group = |device: &&PciDevice| {
        devices.iter().any(|address| {
            device.address.same_slot(*address) || host.group_of(*address).is_some_and(|group| group.devices.contains(&device.address))
        })
    };
    let meant: Vec<&PciDevice> = host.devices.iter().filter(slot_or_group).filter(|device| !crate::group_choice::stays(device)).collect();
    for kernel in host.kernels.iter().filter(|_| !meant.is_empty()) {
        if kernel.form("vfio_pci") == ModuleForm::BuiltIn {
            continue;
        }
        let aliases = kernel.aliases(&host.capture, &host.devices);
        for device in &meant {
            for name in host
                .candidates(device, &aliases)
                .into_iter()
                .map(|name| module_name(&name))
                .filter(|name| kernel.form(name) == ModuleForm::BuiltIn && name != "pci_stub")
            {
                let evidence = Evidence::new(format!("{}/modules.builtin", kernel.modules_dir), name.as_str());
                let summary = format!("{name} is built into kernel {} and takes {} before any module can", kernel.release, device.address);
                findings.push(
                    Finding::new("native-driver-built-in", Verdict::Problem, summary, evidence)
                        .remedy("use a kernel that has it as a module, or cede another device")
                        .about([device.address]),
                );
            }
        }
    }
    findings
}
