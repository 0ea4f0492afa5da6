//! What programs have of a function: interfaces, disks, displays, sound.

use crate::plan::condition::Service;
use cede_model::Capture;
use cede_model::pci::PciAddress;
use cede_model::uses::block_names::BLOCK;
use cede_model::uses::graph::functions_on;
use cede_model::uses::net::NET;
use cede_model::uses::nodes::nodes_on;

/// The names in a class whose links lead over a function.
pub(super) fn names_on(capture: &Capture, class: &str, address: PciAddress) -> Vec<String> {
    let is_on = |name: &&str| functions_on(capture.link(&format!("{class}/{name}")).unwrap_or_default()).contains(&address);
    capture.names_in(class).filter(is_on).map(str::to_owned).collect()
}

/// The nodes of the disks on a function, partitions included.
pub fn disks(capture: &Capture, address: PciAddress) -> Vec<String> {
    names_on(capture, BLOCK, address).into_iter().map(|name| format!("/dev/{name}")).collect()
}

/// Everything that a function serves now.
pub fn of(capture: &Capture, address: PciAddress) -> Vec<Service> {
    let nodes = nodes_on(capture, address);
    let has = |service: &Service| match service {
        Service::Network => !names_on(capture, NET, address).is_empty(),
        Service::Disk => !names_on(capture, BLOCK, address).is_empty(),
        Service::Display => nodes.iter().any(|node| node.starts_with("/dev/dri/card")),
        Service::Sound => nodes.iter().any(|node| node.starts_with("/dev/snd/control")),
    };
    Service::ALL.into_iter().filter(has).collect()
}
