//! Routing tables as /proc shows them, and which interfaces lead to an address.

use crate::capture::Capture;
use core::net::IpAddr;

/// One route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// True for IPv6.
    pub v6: bool,
    /// The network's address, as a number of 32 or 128 bits.
    pub network: u128,
    /// How many leading bits of it count; 0 for a default route.
    pub prefix: u32,
    /// The lower one wins.
    pub metric: u32,
    /// The interface.
    pub interface: String,
}

/// Routes that reject (include/uapi/linux/route.h `RTF_REJECT`).
const REJECT: u32 = 0x200;

/// Every route in use of `/proc/net/route` and `/proc/net/ipv6_route` but those of the loopback.
pub fn routes(capture: &Capture) -> Vec<Route> {
    let v4 = capture.attribute("/proc/net/route").unwrap_or_default().lines().skip(1).filter_map(v4);
    let v6 = capture.attribute("/proc/net/ipv6_route").unwrap_or_default().lines().filter_map(v6);
    v4.chain(v6).filter(|route| route.interface != "lo").collect()
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask …`; addresses are in the byte order of the network, printed as numbers of the
/// machine (net/ipv4/fib_trie.c `fib_route_seq_show`).
fn v4(line: &str) -> Option<Route> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [interface, destination, _, flags, _, _, metric, mask, ..] = words.as_slice() else { return None };
    let number = |text: &str| u32::from_str_radix(text, 16).ok();
    let is_used = number(flags)? & REJECT == 0;
    is_used.then_some(Route {
        v6: false,
        network: u128::from(number(destination)?.swap_bytes()),
        prefix: number(mask)?.count_ones(),
        metric: metric.parse().ok()?,
        interface: (*interface).to_owned(),
    })
}

/// `destination length source length gateway metric refcount use flags interface`, all hexadecimal (net/ipv6/route.c `rt6_info_route`).
fn v6(line: &str) -> Option<Route> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [destination, length, _, _, _, metric, _, _, flags, interface] = words.as_slice() else { return None };
    let number = |text: &str| u32::from_str_radix(text, 16).ok();
    let is_used = number(flags)? & REJECT == 0;
    is_used.then_some(Route {
        v6: true,
        network: u128::from_str_radix(destination, 16).ok()?,
        prefix: number(length)?,
        metric: number(metric)?,
        interface: (*interface).to_owned(),
    })
}

/// The default routes of one family, best first.
pub fn default_routes(routes: &[Route], v6: bool) -> Vec<&Route> {
    let mut list: Vec<&Route> = routes.iter().filter(|route| route.v6 == v6 && route.prefix == 0).collect();
    list.sort_by_key(|route| route.metric);
    list
}

/// The interfaces with the most special route to an address: several where networks overlap.
pub fn interfaces_to(routes: &[Route], address: IpAddr) -> Vec<&Route> {
    let (v6, bits, number) = match address.to_canonical() {
        IpAddr::V4(v4) => (false, 32, u128::from(u32::from(v4))),
        IpAddr::V6(v6) => (true, 128, u128::from(v6)),
    };
    let head = |value: u128, prefix: u32| value.checked_shr(bits - prefix.min(bits)).unwrap_or(0);
    let holds = |route: &&Route| route.v6 == v6 && head(route.network, route.prefix) == head(number, route.prefix);
    let best = routes.iter().filter(holds).map(|route| route.prefix).max();
    routes.iter().filter(holds).filter(|route| Some(route.prefix) == best).collect()
}

/// Of routes to the same address those of the lowest metric, which are the ones in use.
pub fn preferred(mut routes: Vec<&Route>) -> Vec<&Route> {
    let best = routes.iter().map(|route| route.metric).min();
    routes.retain(|route| Some(route.metric) == best);
    routes
}

/// Where the kernel shows the tables of IPv4 besides the main one: their networks, and not the interfaces (net/ipv4/fib_trie.c
/// `fib_trie_seq_show`).
pub const TABLES: &str = "/proc/net/fib_trie";

/// Names of the tables besides the main one that have a default route.
pub fn other_defaults(capture: &Capture) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut table, mut leaf) = ("", "");
    for line in capture.attribute(TABLES).unwrap_or_default().lines() {
        match line.trim_start() {
            text if text.len() == line.len() => table = text.trim_end_matches(':'),
            text if text.starts_with("|-- ") => leaf = text,
            text if text.starts_with("/0 ") && text.ends_with(" UNICAST") && leaf == "|-- 0.0.0.0" => found.push(table),
            _ => {}
        }
    }
    found.retain(|table| !matches!(*table, "Main" | "Local"));
    found
}

/// The tables with nothing in them but default routes.
pub fn tables_reduced(capture: &Capture) -> String {
    other_defaults(capture).iter().map(|table| format!("{table}:\n  |-- 0.0.0.0\n     /0 universe UNICAST\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;

    const V4: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\nwlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\neth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\neth0\t0002A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\nblack\t0000000A\t00000000\t0201\t0\t0\t0\t000000FF\t0\nshort line\n";
    const V6: &str = "fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000002 00000000 00000003     wlan0\n00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n20010db8000000000000000000000002 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000004 00000000 80200001     eth1\n";

    #[test]
    fn the_most_special_route_leads() {
        let mut capture = Capture::new();
        capture.insert("/proc/net/route", Entry::File(V4.into()));
        capture.insert("/proc/net/ipv6_route", Entry::File(V6.into()));
        let routes = routes(&capture);
        let to = |address: &str| interfaces_to(&routes, address.parse().unwrap()).iter().map(|r| r.interface.clone()).collect::<Vec<_>>();
        assert_eq!(to("192.168.2.7"), ["eth0"]);
        assert_eq!(to("10.1.1.1"), ["wlan0", "eth0"]);
        assert_eq!(to("::ffff:192.168.2.7"), ["eth0"]);
        assert_eq!(to("2001:db8::2"), ["eth1"]);
        assert_eq!(to("2001:db8::3"), ["wlan0"]);
        let defaults = |v6| default_routes(&routes, v6).iter().map(|r| r.interface.clone()).collect::<Vec<_>>();
        assert_eq!((defaults(false), defaults(true)), (vec!["eth0".to_owned(), "wlan0".into()], vec!["wlan0".to_owned()]));
    }
}
