//! The network: the default routes, and the SSH session in which the command was given.

use super::gone::Gone;
use super::loss::{Loss, Lost};
use super::stakes::{Network, Stakes};
use cede_model::uses::graph::{Fate, Graph};
use cede_model::uses::net::{self, Session};
use cede_model::uses::routes::TABLES;

/// What of the host's network goes, and what cannot be told.
pub(super) fn look(stakes: &Stakes<'_>, gone: &Gone<'_>) -> Vec<Lost> {
    let network = stakes.network();
    let mut list = routes(gone, network);
    list.extend(session(gone, network));
    list
}

/// The route that is used now; one that waits behind it is only a note.
fn routes(gone: &Gone<'_>, network: &Network) -> Vec<Lost> {
    let graph = &network.graph;
    let mut list = Vec::new();
    for (best, others) in at_next_start(gone, network) {
        let stays = others.iter().find(|name| matches!(fate(graph, gone, name), Fate::Stays | Fate::Degraded(_)));
        let rest = stays
            .map_or_else(|| "give the host another way first".to_owned(), |name| format!("{name} would take over; make sure that it does"));
        for interface in best {
            list.extend(
                lost(graph, gone, interface, Loss::NetworkRoute, "the default route")
                    .map(|(way, why)| Lost::new(Loss::NetworkRoute, way, format!("{why}; {rest}, or choose another device"))),
            );
        }
    }
    list.dedup();
    if list.is_empty() {
        list.extend(elsewhere(gone, network));
    }
    list
}

/// Of IPv4 and IPv6, the interfaces of the default route and those that would take over; where the first go already, these have taken over.
fn at_next_start<'n>(gone: &Gone<'_>, network: &'n Network) -> [(Vec<&'n str>, Vec<&'n str>); 2] {
    let left = |names: &'n [String]| -> Vec<&'n str> {
        names.iter().map(String::as_str).filter(|name| !gone.was_lost(&network.graph, &net::key(name))).collect()
    };
    network.defaults.each_ref().map(|(best, others)| match (left(best), left(others)) {
        (best, others) if best.is_empty() => (others.clone(), others),
        both => both,
    })
}

/// Without a default route in the main table, one in another table (of a VRF, of a rule) may go over any interface.
fn elsewhere(gone: &Gone<'_>, network: &Network) -> Option<Lost> {
    let has_default = network.defaults.iter().any(|(best, _)| !best.is_empty());
    let table = network.other_defaults.first().filter(|_| !has_default)?;
    let carried = carried(&network.graph, gone)?;
    let advice = format!("which interfaces it goes over is not seen in {TABLES}; look at `ip rule` and `ip route show table all`");
    let advice = format!("{advice}, and give the host another way first, or choose another device");
    Some(Lost::new(Loss::NetworkRoute, format!("{carried} may carry the default route of the table `{table}`"), advice))
}

fn session(gone: &Gone<'_>, network: &Network) -> Vec<Lost> {
    let graph = &network.graph;
    let advice = "run this from the machine's own console, or choose another device";
    match &network.session {
        Session::Local => Vec::new(),
        Session::Over(interfaces) => {
            let found = interfaces.iter().filter_map(|interface| lost(graph, gone, interface, Loss::SshSession, "this SSH session"));
            found.map(|(way, why)| Lost::new(Loss::SshSession, way, format!("{why}; {advice}"))).collect()
        }
        Session::Unseen(why) => {
            let carried = carried(graph, gone);
            carried
                .map(|interface| Lost::new(Loss::SshSession, format!("{interface} may carry this SSH session"), format!("{why}; {advice}")))
                .into_iter()
                .collect()
        }
    }
}

/// The way to a use of an interface that is lost, or may be, and why that matters.
fn lost(graph: &Graph, gone: &Gone<'_>, interface: &str, loss: Loss, what: &str) -> Option<(String, String)> {
    match fate(graph, gone, interface) {
        Fate::Stays | Fate::Degraded(_) => None,
        Fate::Lost(chain) => {
            let why =
                if loss == Loss::SshSession { "the connection over which this is typed ends" } else { "the host is without that network" };
            Some((format!("{} → {what}{}", gone.shown(&chain), gone.others(graph, &net::key(interface))), why.to_owned()))
        }
        Fate::Unknown(why) => carried(graph, gone).map(|carried| (format!("{carried} may carry {interface} → {what}"), why)),
    }
}

/// A ceded function that has an interface: `0000:05:00.0 igb → eth0`.
fn carried(graph: &Graph, gone: &Gone<'_>) -> Option<String> {
    graph.iter().find_map(|(key, node)| match graph.fate(key, &|address| gone.has(address)) {
        Fate::Lost(chain) if !node.functions.is_empty() => Some(gone.shown(&chain)),
        _ => None,
    })
}

fn fate(graph: &Graph, gone: &Gone<'_>, interface: &str) -> Fate {
    gone.fate(graph, &net::key(interface))
}

/// What goes on with less, or was only waiting.
pub(super) fn costs(stakes: &Stakes<'_>, gone: &Gone<'_>) -> Vec<String> {
    let network = stakes.network();
    let mut list = Vec::new();
    for (best, others) in at_next_start(gone, network) {
        for interface in best.iter().chain(&others) {
            let is_best = best.contains(interface);
            match fate(&network.graph, gone, interface) {
                Fate::Degraded(chain) => list.push(format!("{} goes on with the other members", gone.shown(&chain))),
                Fate::Lost(chain) if !is_best => {
                    list.push(format!("{} → a default route that another one is preferred to", gone.shown(&chain)))
                }
                _ => {}
            }
        }
    }
    list.sort();
    list.dedup();
    list
}
