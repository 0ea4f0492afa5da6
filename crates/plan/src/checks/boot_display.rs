//! Is a function that is to be ceded the display that the machine boots on?

use crate::finding::{Finding, Verdict};
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::{Evidence, Host};

/// `boot-display` for named or ceded functions that are the boot display: a problem where it is the only one.
pub fn check(host: &Host, devices: &[PciAddress]) -> Vec<Finding> {
    let group = |device: &PciDevice| host.group_of(device.address).map(|group| group.devices.clone()).unwrap_or_default();
    let meant = |device: &&PciDevice| {
        device.is_on_vfio() || devices.contains(&device.address) || group(device).iter().any(|address| devices.contains(address))
    };
    host.devices.iter().filter(|device| device.boot_vga == Some(true)).filter(meant).map(|device| judge(host, device)).collect()
}

fn judge(host: &Host, device: &PciDevice) -> Finding {
    let evidence = Evidence::new(format!("/sys/bus/pci/devices/{}/boot_vga", device.address), "1");
    let other = host.devices.iter().find(|other| other.is_display() && other.address != device.address && !other.is_on_vfio());
    match other {
        Some(other) => Finding::new(
            "boot-display",
            Verdict::Advice,
            format!("{} is the display that the firmware boots on: the screen on it stays black once vfio-pci has it", device.address),
            evidence,
        )
        .also([Evidence::new(format!("/sys/bus/pci/devices/{}", other.address), "another display")])
        .remedy(format!("choose {} as primary display in the firmware's setup", other.address)),
        None => Finding::new(
            "boot-display",
            Verdict::Problem,
            format!("{} is the only display of this host: without it there is no screen to repair anything from", device.address),
            evidence,
        )
        .remedy("add a second display, or make sure that you reach this host over the network"),
    }
    .about([device.address])
}
