//! Where the kernel speaks to people: its consoles, and the screens that are plugged in.

use super::graph::{Chain, Link, functions_on};
use crate::capture::Capture;
use crate::pci::PciAddress;

/// The consoles that take the kernel's messages (Documentation/ABI/testing/sysfs-tty).
pub const ACTIVE: &str = "/sys/class/tty/console/active";

/// The connectors of displays.
pub const DRM: &str = "/sys/class/drm";

/// Names of the consoles in use, such as `tty0` and `ttyS0`.
pub fn active(capture: &Capture) -> Vec<&str> {
    capture.attribute(ACTIVE).unwrap_or_default().split_whitespace().collect()
}

/// The consoles on functions that go.
pub fn lost(capture: &Capture, gone: &dyn Fn(PciAddress) -> bool) -> Vec<Chain> {
    let chain = |name: &&str| {
        let link = capture.link(&format!("/sys/class/tty/{name}"))?;
        let function = functions_on(link).into_iter().find(|function| gone(*function))?;
        let links = vec![Link { name: (*name).to_owned(), ..Link::default() }];
        Some(Chain { function, links, over_network: false })
    };
    active(capture).iter().filter_map(chain).collect()
}

/// Whether a screen is plugged into a display; `None` where its connectors were not seen.
pub fn has_screen(capture: &Capture, display: PciAddress) -> Option<bool> {
    let is_of = |name: &&str| {
        name.contains('-') && capture.link(&format!("{DRM}/{name}")).is_some_and(|link| functions_on(link).last() == Some(&display))
    };
    let states: Vec<Option<&str>> =
        capture.names_in(DRM).filter(is_of).map(|name| capture.attribute(&format!("{DRM}/{name}/status"))).collect();
    if states.is_empty() || states.contains(&None) { None } else { Some(states.iter().any(|state| *state != Some("disconnected"))) }
}
