//! The interfaces of a host, what each goes over, and what depends on them: default routes, the SSH session, remote storage.

use super::graph::{Graph, Kind, Needs, Node, functions_on};
use super::routes::{Route, default_routes, interfaces_to, preferred, routes};
use crate::capture::{Capture, Entry};
use core::net::IpAddr;
use std::collections::BTreeSet;

/// Where interfaces stand, each a link into `/sys/devices`.
pub const NET: &str = "/sys/class/net";

/// Where the observer keeps `SSH_CONNECTION`, of this process or of the nearest one above it that has one. Nothing else of the environment
/// is taken.
pub const SESSION: &str = "/proc/self/environ";

/// The variable of sshd(8): client's address and port, server's address and port.
pub const SSH_CONNECTION: &str = "SSH_CONNECTION=";

/// The node of an interface.
pub fn key(interface: &str) -> String {
    format!("net/{interface}")
}

/// Every interface as `net/NAME`.
pub fn graph(capture: &Capture) -> Graph {
    let mut graph = Graph::default();
    for name in capture.names_in(NET) {
        if let Some(link) = capture.link(&format!("{NET}/{name}")) {
            graph.insert(key(name), interface(capture, name, link));
        }
    }
    graph
}

fn interface(capture: &Capture, name: &str, link: &str) -> Node {
    let kind = kind_of(capture, name);
    let lower = |name: &str| {
        capture.names_in(&format!("{NET}/{name}")).filter_map(|entry| entry.strip_prefix("lower_")).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut members = lower(name);
    let mut node = Node { name: name.to_owned(), functions: functions_on(link), ..Node::default() };
    match kind {
        "bond" => {
            (node.kind, node.needs) = (Kind::Bond, Needs::Some(1));
            let is_up = |member: &String| capture.attribute(&format!("{NET}/{member}/operstate")) == Some("up");
            node.idle = members.iter().filter(|member| !is_up(member)).map(|member| key(member)).collect();
        }
        "bridge" => {
            node.kind = Kind::Bridge;
            // Ports of guests and containers, which have no type, lead nowhere outside.
            let is_outside = |port: &String| {
                let link = capture.link(&format!("{NET}/{port}")).unwrap_or_default();
                !functions_on(link).is_empty() || !lower(port).is_empty() || !kind_of(capture, port).is_empty()
            };
            members.retain(is_outside);
        }
        "vlan" => node.kind = Kind::Vlan,
        _ => {}
    }
    node.below = members.iter().map(|member| key(member)).collect();
    let goes_inside = matches!(kind, "bridge") || name == "lo";
    if node.functions.is_empty() && node.below.is_empty() && link.contains("/virtual/") && !goes_inside {
        node.unseen = Some(format!("what {name} goes over is not shown by the kernel"));
    }
    node
}

fn kind_of<'a>(capture: &'a Capture, name: &str) -> &'a str {
    let uevent = capture.attribute(&format!("{NET}/{name}/uevent")).unwrap_or_default();
    uevent.lines().find_map(|line| line.strip_prefix("DEVTYPE=")).unwrap_or_default()
}

/// The interfaces of the best default routes of a family, and those that would take over.
pub fn defaults(capture: &Capture, v6: bool) -> (Vec<String>, Vec<String>) {
    let routes = routes(capture);
    let list = default_routes(&routes, v6);
    let best = list.first().map(|route| route.metric);
    let (first, other): (Vec<&Route>, Vec<&Route>) = list.into_iter().partition(|route| Some(route.metric) == best);
    let names =
        |routes: Vec<&Route>| routes.into_iter().map(|route| route.interface.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    (names(first), names(other))
}

/// Over what the command was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    /// Not over SSH, or from this host itself.
    Local,
    /// Over these interfaces.
    Over(Vec<String>),
    /// Over SSH, and it cannot be told how; the reason.
    Unseen(String),
}

/// The session in which the capture was made.
pub fn session(capture: &Capture) -> Session {
    let text = match capture.get(SESSION) {
        Some(Entry::File(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(Entry::Unreadable(why)) => {
            return Session::Unseen(format!("this is an SSH session, and its connection could not be read ({why})"));
        }
        _ => return Session::Local,
    };
    let Some(value) = text.lines().find_map(|line| line.strip_prefix(SSH_CONNECTION)) else { return Session::Local };
    let words: Vec<&str> = value.split_whitespace().collect();
    let (Some(client), Some(server)) = (words.first(), words.get(2)) else {
        return Session::Unseen(format!("{SSH_CONNECTION}{value} could not be understood"));
    };
    let Some(interfaces) = over(capture, client, server) else {
        return Session::Unseen("the interface of this SSH session could not be told from the routes".to_owned());
    };
    if interfaces.is_empty() { Session::Local } else { Session::Over(interfaces) }
}

/// The interfaces that have the server's address or lead to the client; none for a connection from the host itself.
fn over(capture: &Capture, client: &str, server: &str) -> Option<Vec<String>> {
    let routes = routes(capture);
    let parts = |text: &str| {
        let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone.to_owned())));
        (address.parse::<IpAddr>().ok().map(|address| address.to_canonical()), zone)
    };
    let ((client, zone), (server, server_zone)) = (parts(client), parts(server));
    if [client, server].iter().flatten().any(IpAddr::is_loopback) || (client.is_some() && client == server) {
        return Some(Vec::new());
    }
    let mut near = server.map(|address| interfaces_to(&routes, address)).unwrap_or_default();
    near.retain(|route| route.prefix > 0);
    let far = preferred(client.map(|address| interfaces_to(&routes, address)).unwrap_or_default());
    let zones: Vec<String> = zone.into_iter().chain(server_zone).collect();
    // An address of which no network is in the main table may be in another one, where other routes hold.
    if near.is_empty() && zones.is_empty() && far.iter().all(|route| route.prefix == 0) {
        return None;
    }
    let by_route = near.into_iter().chain(far).map(|route| route.interface.clone());
    Some(zones.into_iter().chain(by_route).collect::<BTreeSet<_>>().into_iter().collect())
}

/// The nodes of the interfaces that lead to an address; where that is not known, those of the default routes; where there are none, every
/// interface that is up.
pub fn leading_to(capture: &Capture, address: Option<IpAddr>) -> Vec<String> {
    if address.is_some_and(|address| address.to_canonical().is_loopback()) {
        return Vec::new();
    }
    let routes = routes(capture);
    let mut found = preferred(address.map(|address| interfaces_to(&routes, address)).unwrap_or_default());
    if found.is_empty() {
        found = [false, true].into_iter().flat_map(|v6| preferred(default_routes(&routes, v6))).collect();
    }
    let names: BTreeSet<&str> = found.iter().map(|route| route.interface.as_str()).collect();
    if names.is_empty() { up(capture) } else { names.into_iter().map(key).collect() }
}

/// The nodes of the interfaces on functions but those that are down.
pub fn up(capture: &Capture) -> Vec<String> {
    let has_function = |name: &&str| !functions_on(capture.link(&format!("{NET}/{name}")).unwrap_or_default()).is_empty();
    let is_up = |name: &&str| capture.attribute(&format!("{NET}/{name}/operstate")) != Some("down");
    capture.names_in(NET).filter(has_function).filter(is_up).map(key).collect()
}
