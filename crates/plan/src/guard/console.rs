//! Serial consoles on cards.

use super::gone::Gone;
use super::loss::{Loss, Lost};
use super::stakes::Stakes;
use cede_model::Host;
use cede_model::pci::PciDevice;
use cede_model::uses::consoles;
use cede_model::uses::graph::{Chain, Link};

/// A console that takes the kernel's messages goes.
pub(super) fn look(stakes: &Stakes<'_>, gone: &Gone<'_>) -> Vec<Lost> {
    let mut lost = consoles::lost(&stakes.host.capture, &|address| gone.has(address));
    lost.extend(paravirtual(stakes.host, gone));
    let advice = "the kernel's messages and the login there end; take `console=` of it out of the kernel command line first, or choose another device";
    lost.iter().map(|chain| Lost::new(Loss::Console, format!("{} → the kernel's console", gone.shown(chain)), advice)).collect()
}

/// Consoles `hvc0` are shown on no function; on a guest that is a host itself they are virtio's (Virtual I/O Device 1.2, 4.1.2.1 and 5).
fn paravirtual(host: &Host, gone: &Gone<'_>) -> Option<Chain> {
    let name = consoles::active(&host.capture).into_iter().find(|name| name.starts_with("hvc"))?;
    let is_virtio = |device: &PciDevice| device.id.is_some_and(|id| matches!(id.to_string().as_str(), "1af4:1003" | "1af4:1043"));
    let function = gone.first(is_virtio)?.address;
    Some(Chain { function, links: vec![Link { name: name.to_owned(), ..Link::default() }], over_network: false })
}
