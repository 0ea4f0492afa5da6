//! What lies over the driver of the only display: taken off before a guest starts, put back when it has ended.

use crate::plan::step::MODPROBE;
use crate::runtime::{OVER_NVIDIA, over_nvidia};
use cede_model::Host;
use cede_model::kernel::installed::ModuleForm;
use cede_model::pci::{PciAddress, PciDevice};

/// Removes one module. `modprobe -r` would remove nvidia along with the last one over it, and then no driver has the card to be given back to.
const RMMOD: &str = "/sbin/rmmod";

/// A text console that is drawn through a driver's frame buffer holds the driver's module (Documentation/driver-api/console.rst).
const CONSOLES: &str = r#"for console in /sys/class/vtconsole/*; do
    if grep -qs 'frame buffer' "$console/name"; then echo "$1" >"$console/bind"; fi
done"#;

/// The tools to run, in their order, before these functions can be taken from their drivers. None where nothing lies over those.
pub fn taken_off(host: &Host, functions: &[PciAddress]) -> Vec<Vec<String>> {
    let loaded = functions.iter().filter_map(|address| host.device(*address)).map(|device| over_nvidia(host, device));
    let Some(loaded) = loaded.into_iter().find(|modules| !modules.is_empty()) else { return Vec::new() };
    let modules = loaded.into_iter().map(|module| words(&[RMMOD, module]));
    std::iter::once(consoles("0")).chain(modules).collect()
}

/// The tools to run once the functions are with their drivers again.
pub fn put_back(host: &Host, functions: &[PciAddress]) -> Vec<Vec<String>> {
    let is_nvidia = |address: &PciAddress| host.device(*address).and_then(PciDevice::driver_name) == Some("nvidia");
    if !functions.iter().any(is_nvidia) {
        return Vec::new();
    }
    let is_there = |module: &&&str| host.running_kernel().is_some_and(|kernel| kernel.form(module) == ModuleForm::Loadable);
    let modules = OVER_NVIDIA.iter().rev().filter(is_there).map(|module| words(&[MODPROBE, "--", module]));
    modules.chain(std::iter::once(consoles("1"))).collect()
}

fn consoles(bound: &str) -> Vec<String> {
    words(&["/bin/sh", "-c", CONSOLES, "sh", bound])
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}
