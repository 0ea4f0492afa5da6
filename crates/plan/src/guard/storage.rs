//! Disks: the way from a controller through partitions, volumes and arrays to what is mounted.

use super::gone::Gone;
use super::loss::{Loss, Lost};
use super::stakes::{Kept, Stakes};
use crate::shell_word::quoted;
use cede_model::pci::PciDevice;
use cede_model::uses::graph::{Chain, Fate, Graph};
use cede_model::uses::storage::{Place, Used};
use std::collections::BTreeMap;

/// What is kept on a chain, by what its going loses.
type Ways<'a> = BTreeMap<(Loss, Chain), Vec<&'a Used>>;

/// How many places of one chain are named.
const NAMED: usize = 4;

/// What of the host's storage goes, what goes on with less, and what cannot be told.
pub(super) fn look(stakes: &Stakes<'_>, gone: &Gone<'_>) -> Vec<Lost> {
    let Kept { storage, rests } = stakes.kept();
    let mut ways: Ways<'_> = BTreeMap::new();
    let mut unseen = storage.unseen.clone();
    for (used, rest) in storage.used.iter().zip(rests) {
        let is_touched = gone.addresses().iter().any(|address| rest.on.contains(address));
        let fate = if is_touched { gone.fate(&storage.graph, &used.key) } else { rest.untouched.clone() };
        match fate {
            Fate::Stays => {}
            Fate::Lost(chain) => ways.entry((loss_of(&used.place, &chain), chain)).or_default().push(used),
            // Other interfaces carry on, and nothing is kept on the one that goes.
            Fate::Degraded(chain) if chain.over_network => {}
            Fate::Degraded(chain) => ways.entry((Loss::Redundancy, chain)).or_default().push(used),
            Fate::Unknown(why) => _ = unseen.get_or_insert(why),
        }
    }
    join_system(&mut ways);
    let mut list: Vec<Lost> = ways.iter().map(|((loss, chain), uses)| lost(gone, &storage.graph, (*loss, chain), uses)).collect();
    list.extend(unseen.and_then(|why| cannot_tell(gone, &storage.graph, &why)));
    list
}

/// What is mounted from the system's own file system besides is lost with it, and no loss of its own.
fn join_system(ways: &mut Ways<'_>) {
    let chains: Vec<Chain> = ways.keys().filter(|(loss, _)| *loss == Loss::RootDisk).map(|(_, chain)| chain.clone()).collect();
    for chain in chains {
        let others = ways.remove(&(Loss::MountedDisk, chain.clone())).unwrap_or_default();
        ways.entry((Loss::RootDisk, chain)).or_default().extend(others);
    }
}

fn loss_of(place: &Place, chain: &Chain) -> Loss {
    match place {
        _ if chain.over_network => Loss::NetworkStorage,
        Place::System(_) => Loss::RootDisk,
        Place::Boot(_) => Loss::BootDisk,
        Place::Mounted(..) => Loss::MountedDisk,
        Place::Swap(..) => Loss::Swap,
    }
}

fn lost(gone: &Gone<'_>, graph: &Graph, (loss, chain): (Loss, &Chain), uses: &[&Used]) -> Lost {
    let places: Vec<&Place> = uses.iter().map(|used| &used.place).collect();
    let others = uses.first().filter(|_| loss != Loss::Redundancy).map(|used| gone.others(graph, &used.key)).unwrap_or_default();
    let names: Vec<&str> = places.iter().map(|place| name(place)).collect();
    let more = names.len().saturating_sub(NAMED);
    let shown = names.get(..NAMED.min(names.len())).unwrap_or_default().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Lost::new(loss, format!("{} → {shown}{more}{others}", gone.shown(chain)), advice(loss, &places))
}

fn name(place: &Place) -> &str {
    match place {
        Place::System(path) | Place::Boot(path) | Place::Mounted(path, _) => path,
        Place::Swap(..) => "swap",
    }
}

fn advice(loss: Loss, places: &[&Place]) -> String {
    let first = quoted(places.first().map(|place| name(place)).unwrap_or_default());
    let waited = places.iter().any(|place| matches!(place, Place::Mounted(_, true)));
    match (loss, places.first()) {
        (Loss::RootDisk, _) => "the host lives on it; move that to another disk first, or choose another device".to_owned(),
        (Loss::BootDisk, _) => "the host starts from it; move that to another disk first, or choose another device".to_owned(),
        (Loss::NetworkStorage, _) => {
            "the host reaches it over that interface; give it another way first, or choose another device".to_owned()
        }
        (Loss::Redundancy, _) => {
            "it goes on without that part, and the next failure loses it; take the part out of it first, or choose another device"
                .to_owned()
        }
        (Loss::Swap, Some(Place::Swap(path, true))) => {
            format!("the host swaps to it; run `swapoff {}` and take it out of /etc/fstab first", quoted(path))
        }
        (Loss::Swap, Some(Place::Swap(path, false))) => format!("the host swaps to it; run `swapoff {}` first", quoted(path)),
        _ if waited => format!(
            "the host uses it, and its start stops in the emergency shell without it; run `umount {first}` and take it out of /etc/fstab first"
        ),
        _ => format!("the host uses it; run `umount {first}` first"),
    }
}

/// Where it cannot be told what the host lives on, no storage controller is given away, and nothing that a disk is plugged in behind.
fn cannot_tell(gone: &Gone<'_>, graph: &Graph, why: &str) -> Option<Lost> {
    // Mass storage controllers, hosts of SD cards and eMMC, Fibre Channel.
    let is_storage =
        |device: &PciDevice| device.class.is_some_and(|class| class.base() == 0x01 || matches!(class.base_and_sub(), 0x0805 | 0x0c04));
    let carries = |device: &PciDevice| graph.iter().any(|(key, node)| !key.starts_with("net/") && node.functions.contains(&device.address));
    let device = gone.first(|device| is_storage(device) || carries(device))?;
    let what = gone.function(device.address);
    Some(Lost::new(
        Loss::UnseenStorage,
        format!("{what} may carry the host"),
        format!("{why}; run on the host itself, as root, or choose another device"),
    ))
}
