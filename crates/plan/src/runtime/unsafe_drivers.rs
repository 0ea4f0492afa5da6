//! Drivers that are known not to let go of a function without harm.

use crate::plan::Refusal;
use cede_model::Host;
use cede_model::pci::PciDevice;

/// Modules that hold the NVIDIA driver: while one is used, its `unbind` waits for ever (nvidia-modeset, nvidia-drm and nvidia-uvm take
/// references to every GPU). In an order in which they can be removed.
pub const OVER_NVIDIA: [&str; 3] = ["nvidia_drm", "nvidia_modeset", "nvidia_uvm"];

/// The id of the refusal.
pub const UNSAFE: &str = "unsafe-driver";

/// The modules that hold the driver of this function.
pub fn over_nvidia(host: &Host, device: &PciDevice) -> Vec<&'static str> {
    let is_loaded = |module: &&&str| host.capture.is_there(&format!("/sys/module/{module}"));
    if device.driver_name() == Some("nvidia") { OVER_NVIDIA.iter().filter(is_loaded).copied().collect() } else { Vec::new() }
}

/// Why a function must not be taken from its driver now.
pub(super) fn refuse(host: &Host, device: &PciDevice) -> Option<Refusal> {
    let (address, driver) = (device.address, device.driver_name()?);
    if driver == "nvidia" {
        let loaded = over_nvidia(host, device);
        return (!loaded.is_empty()).then(|| {
            Refusal::new(
                UNSAFE,
                // Not `modprobe -r`: it removes nvidia too, and then no driver is there to give the card back to.
                format!(
                    "{address} {driver} → {}: with them loaded the driver never lets go of a card, and the write hangs: end what uses the card, then `sudo rmmod {}`; or `cede apply {address}`, which takes it from the next start on",
                    loaded.join(", "),
                    loaded.join(" ")
                ),
            )
        });
    }
    let unbind = super::Attribute::Unbind(driver.to_owned()).to_string();
    (!host.capture.is_there(&unbind)).then(|| {
        Refusal::new(
            "driver-keeps-it",
            format!(
                "{driver} has no `unbind` ({unbind}) and keeps {address} until the next start: `cede apply {address}` takes it from then on"
            ),
        )
    })
}

/// What may go wrong with a driver that lets go as a rule.
pub(super) fn note(device: &PciDevice) -> Option<String> {
    let (address, driver) = (device.address, device.driver_name()?);
    let why = match driver {
        "amdgpu" | "radeon" => {
            "on some generations it fails in the kernel when it is unbound, and some cards do not come back from a guest without a reboot"
        }
        "i915" | "xe" => "it was not made to be unbound while it draws the console",
        "nouveau" => "on some cards it fails in the kernel when it is unbound",
        _ => return None,
    };
    Some(format!("{address} {driver}: {why}; `cede apply {address}` takes it before any driver does"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cede_model::{Capture, Entry};

    fn host(driver: &str, more: &[&str]) -> Host {
        let mut capture = Capture::new();
        let uevent = format!("DRIVER={driver}\nPCI_CLASS=30000\nPCI_ID=10DE:1F91\n");
        capture.insert("/sys/bus/pci/devices/0000:01:00.0/uevent", Entry::File(uevent.into_bytes()));
        more.iter().for_each(|path| capture.insert(*path, Entry::Dir));
        Host::from_capture(capture)
    }

    #[test]
    fn nvidia_lets_go_only_without_what_is_over_it() {
        for (driver, there, id) in [
            ("nvidia", &["/sys/module/nvidia_drm", "/sys/bus/pci/drivers/nvidia/unbind"][..], Some("unsafe-driver")),
            ("nvidia", &["/sys/bus/pci/drivers/nvidia/unbind"], None),
            ("amdgpu", &["/sys/bus/pci/drivers/amdgpu/unbind"], None),
            ("amdgpu", &[], Some("driver-keeps-it")),
        ] {
            let host = host(driver, there);
            assert_eq!(refuse(&host, &host.devices[0]).map(|refusal| refusal.id), id, "{driver} {there:?}");
        }
        assert!(note(&host("amdgpu", &[]).devices[0]).is_some() && note(&host("nvme", &[]).devices[0]).is_none());
    }
}
