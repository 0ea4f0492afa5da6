//! Displays: the last one, and the one that the firmware uses.

use super::gone::Gone;
use super::loss::{Loss, Lost};
use super::stakes::Stakes;
use crate::binding;
use crate::bootloader;
use crate::parameter;
use cede_model::Host;
use cede_model::pci::PciDevice;
use cede_model::uses::consoles;

/// The boot display is lost. Where no other one with a connector of its own stays with the host, it is the last one. Displays that the
/// firmware did not use are no loss by themselves: a host without any is looked after over the network or a serial line.
pub(super) fn look(stakes: &Stakes<'_>, gone: &Gone<'_>) -> Vec<Lost> {
    let screens = stakes.screens();
    let lost = screens.iter().filter(|device| gone.takes(device));
    let shows = |device: &PciDevice| consoles::has_screen(&stakes.host.capture, device.address) == Some(true);
    let Some(lost) = lost.max_by_key(|device| (device.boot_vga == Some(true), shows(device))) else { return Vec::new() };
    let goes = |device: &PciDevice| gone.takes(device) || device.is_on_vfio() || gone.had_gone(device.address);
    // The kernel says it of VGA controllers only (drivers/pci/pci-sysfs.c `boot_vga_show`), and laptops have displays of another class.
    if !screens.iter().any(|device| device.boot_vga == Some(true)) && !shows(lost) {
        return Vec::new();
    }
    let what = gone.function(lost.address);
    match screens.iter().find(|device| !goes(device)) {
        None => vec![Lost::new(
            Loss::OnlyDisplay,
            format!("{what} → the only display of this host"),
            "nothing could be repaired without a screen; add a second one, or switch the processor's own graphics on in the firmware's setup",
        )],
        Some(other) if lost.boot_vga == Some(true) => vec![Lost::new(
            Loss::BootDisplay,
            format!("{what} → the display of the firmware and the boot menu"),
            format!(
                "it stays black once vfio-pci has it, and {} stays{}: set that one as the primary display in the firmware's setup first",
                other.address,
                if consoles::has_screen(&stakes.host.capture, other.address) == Some(false) {
                    ", into which no screen is plugged"
                } else {
                    ""
                }
            ),
        )],
        Some(_) => Vec::new(),
    }
}

/// Of the displays, 3D controllers (class 03 02) draw for another one.
pub(super) fn has_connectors(device: &PciDevice) -> bool {
    device.is_display() && device.class.is_some_and(|class| class.base_and_sub() != 0x0302)
}

/// Ids that vfio-pci will get at the next start as things stand.
pub(crate) fn ids_told(host: &Host) -> Vec<String> {
    ids_told_at(host).0
}

/// As [`ids_told`], with the file and line that say so.
pub(super) fn ids_told_at(host: &Host) -> (Vec<String>, String) {
    let words = bootloader::find(host).map(|loader| loader.configured(host)).unwrap_or_default();
    let on_line = words.into_iter().rev().find(|word| parameter::split(&word.text).0 == parameter::VFIO_IDS);
    let (value, place) = match on_line {
        Some(word) => {
            let place = word.source.map_or_else(
                || "the kernel command line".to_owned(),
                |source| {
                    let line = source.line.map(|line| format!(":{line}")).unwrap_or_default();
                    format!("{}{line}", source.source)
                },
            );
            (parameter::split(&word.text).1.map(str::to_owned).unwrap_or_default(), place)
        }
        None => binding::modprobe_config(host)
            .option("vfio_pci", "ids")
            .map_or_else(Default::default, |(value, source)| (value, format!("{}:{}", source.path, source.line))),
    };
    (value.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect(), place)
}
