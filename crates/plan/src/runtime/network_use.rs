//! What an interface is used for: addresses with their networks, and others that are made of it.

use super::services::names_on;
use cede_model::pci::PciAddress;
use cede_model::pci::device::PCI_DEVICES;
use cede_model::uses::net::NET;
use cede_model::uses::routes::{Route, routes};
use cede_model::{Capture, Entry};
use core::net::{Ipv4Addr, Ipv6Addr};

/// An interface in use, what for, and how to end that.
pub(super) struct Use {
    pub(super) interface: String,
    pub(super) what: String,
    pub(super) advice: String,
}

/// The interfaces of a function that are in use.
pub(super) fn of(capture: &Capture, address: PciAddress) -> Vec<Use> {
    let routes = routes(capture);
    let mut list = Vec::new();
    if matches!(capture.get(&format!("{PCI_DEVICES}{address}/net")), Some(Entry::Dir)) {
        list.push(Use {
            interface: "its interface".to_owned(),
            what: "is in another network namespace (`lsns -t net`), perhaps a container's".to_owned(),
            advice: "nsenter -t PID -n ip link set NAME netns 1".to_owned(),
        });
    }
    for interface in names_on(capture, NET, address) {
        let lower = format!("lower_{interface}");
        let above = capture.names_in(NET).find(|other| capture.exists(&format!("{NET}/{other}/{lower}")));
        if let Some(above) = above {
            let what = format!("is a part of {above}");
            list.push(Use { advice: format!("ip link set {interface} nomaster"), what, interface: interface.clone() });
        }
        let own = routes.iter().filter(|route| route.interface == interface && is_own(route));
        if let Some(route) = own.min_by_key(|route| route.prefix == 0) {
            list.push(Use {
                what: format!("has an address ({})", shown(route)),
                advice: format!("ip link set {interface} down"),
                interface,
            });
        }
    }
    list
}

/// Every interface that is up has a link-local and multicast routes of IPv6 (net/ipv6/addrconf.c `addrconf_add_dev`).
fn is_own(route: &Route) -> bool {
    !route.v6 || !matches!(route.network >> 118, 0x3fa) && route.network >> 120 != 0xff
}

fn shown(route: &Route) -> String {
    let network = if route.v6 {
        Ipv6Addr::from_bits(route.network).to_string()
    } else {
        u32::try_from(route.network).map_or_else(|_| String::new(), |bits| Ipv4Addr::from_bits(bits).to_string())
    };
    match route.prefix {
        0 => "default route".to_owned(),
        prefix => format!("{network}/{prefix}"),
    }
}
