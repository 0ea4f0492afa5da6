//! Things that rest on others, down to PCI functions, and what becomes of them when functions go.

use crate::pci::PciAddress;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How a thing is made of those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Kind {
    /// A disk, a partition, an interface: what its kernel name says.
    #[default]
    Plain,
    /// An opened LUKS or plain dm-crypt volume.
    Luks,
    /// Checked against a tree of sums (dm-verity).
    Verity,
    /// Sectors with sums beside them (dm-integrity).
    Integrity,
    /// An opened BitLocker volume.
    BitLocker,
    /// A logical volume, as `group/volume`.
    Lvm,
    /// Several ways to one disk.
    Multipath,
    /// Another device-mapper target.
    Mapped,
    /// An MD array.
    Md,
    /// A disk with a cache before it.
    Bcache,
    /// A file used as a disk.
    Loop,
    /// A file system over several devices.
    Btrfs,
    /// As [`Self::Btrfs`].
    Bcachefs,
    /// A pool; its name is that of the pool.
    Zfs,
    /// Layers of several directories.
    Overlay,
    /// A file system of another machine; its name is the type.
    Remote,
    /// Interfaces taken together, of which one is enough.
    Bond,
    /// A software switch.
    Bridge,
    /// A tagged network on another interface.
    Vlan,
}

impl Kind {
    /// The word before the name.
    fn word(self) -> &'static str {
        match self {
            Self::Plain | Self::Remote => "",
            Self::Luks => "LUKS ",
            Self::Verity => "verity ",
            Self::Integrity => "integrity ",
            Self::BitLocker => "BitLocker ",
            Self::Lvm => "LVM ",
            Self::Multipath => "multipath ",
            Self::Mapped => "dm ",
            Self::Md => "RAID ",
            Self::Bcache => "cached ",
            Self::Loop => "loop ",
            Self::Btrfs => "btrfs ",
            Self::Bcachefs => "bcachefs ",
            Self::Zfs => "ZFS ",
            Self::Overlay => "overlay ",
            Self::Bond => "bond ",
            Self::Bridge => "bridge ",
            Self::Vlan => "VLAN ",
        }
    }
}

/// One thing on the way from a function to its use.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Link {
    /// What it is.
    pub kind: Kind,
    /// Its name, as people know it.
    pub name: String,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(format!("{}{}", self.kind.word(), self.name).trim_end())
    }
}

/// The way from a function up to the thing that rests on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Chain {
    /// The function whose going is felt.
    pub function: PciAddress,
    /// What rests on it, lowest first.
    pub links: Vec<Link>,
    /// True where it goes over the network; of a thing that goes on with less, where it is the network that does.
    pub over_network: bool,
}

/// How many of the things below are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Needs {
    /// Every one.
    #[default]
    All,
    /// That many of those which work.
    Some(usize),
}

/// A thing, where it sits, and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its name, as people know it.
    pub name: String,
    /// The functions on its way in `/sys/devices`; without any of them it is gone.
    pub functions: Vec<PciAddress>,
    /// Names of the nodes that it is made of.
    pub below: Vec<String>,
    /// Of those, the ones that do not work now and so cannot stand in for others.
    pub idle: Vec<String>,
    /// How many of them it needs.
    pub needs: Needs,
    /// Why it cannot be told what it is made of.
    pub unseen: Option<String>,
}

/// What becomes of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nothing that it rests on goes.
    Stays,
    /// It goes on with what is left of it.
    Degraded(Chain),
    /// It is gone.
    Lost(Chain),
    /// It cannot be told; the reason.
    Unknown(String),
}

/// Deepest stack that is followed; block devices cannot be stacked as deep (drivers/md/dm.c, fs/Kconfig limits are lower).
const DEEPEST: usize = 32;

/// Nodes by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graph {
    nodes: BTreeMap<String, Node>,
}

impl Graph {
    /// Adds a node.
    pub fn insert(&mut self, key: impl Into<String>, node: Node) {
        self.nodes.insert(key.into(), node);
    }

    /// Takes the nodes of another graph in.
    pub fn extend(&mut self, other: Self) {
        self.nodes.extend(other.nodes);
    }

    /// The node of a name.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.nodes.get(key)
    }

    /// Every node with its key, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(key, node)| (key.as_str(), node))
    }

    /// Every function that a thing rests on, through whatever is between.
    pub fn functions_below(&self, key: &str) -> BTreeSet<PciAddress> {
        self.reach(key).iter().filter_map(|key| self.nodes.get(*key)).flat_map(|node| node.functions.iter().copied()).collect()
    }

    /// What becomes of a thing when the functions go for which `gone` is true.
    pub fn fate(&self, key: &str, gone: &dyn Fn(PciAddress) -> bool) -> Fate {
        self.follow(key, gone, 0, &mut BTreeMap::new())
    }

    /// A thing and all that it rests on.
    pub fn reach<'a>(&'a self, key: &'a str) -> BTreeSet<&'a str> {
        let mut seen = BTreeSet::new();
        let mut next = vec![key];
        while let Some(key) = next.pop() {
            if seen.insert(key) {
                next.extend(self.nodes.get(key).into_iter().flat_map(|node| node.below.iter().map(String::as_str)));
            }
        }
        seen
    }

    /// Each node is judged once, however many ways lead to it; one that rests on itself is unknown.
    fn follow<'a>(&'a self, key: &'a str, gone: &dyn Fn(PciAddress) -> bool, depth: usize, known: &mut BTreeMap<&'a str, Fate>) -> Fate {
        if let Some(fate) = known.get(key) {
            return fate.clone();
        }
        known.insert(key, Fate::Unknown(format!("what {key} is made of was not seen")));
        let fate = self.judge(key, gone, depth, known);
        known.insert(key, fate.clone());
        fate
    }

    fn judge<'a>(&'a self, key: &'a str, gone: &dyn Fn(PciAddress) -> bool, depth: usize, known: &mut BTreeMap<&'a str, Fate>) -> Fate {
        let Some(node) = self.nodes.get(key).filter(|_| depth < DEEPEST) else {
            return Fate::Unknown(format!("what {key} is made of was not seen"));
        };
        let link = Link { kind: node.kind, name: node.name.clone() };
        if let Some(function) = node.functions.iter().find(|function| gone(**function)) {
            return Fate::Lost(Chain { function: *function, links: vec![link], over_network: key.starts_with("net/") });
        }
        let fates: Vec<(&String, Fate)> = node.below.iter().map(|below| (below, self.follow(below, gone, depth + 1, known))).collect();
        let with = |chain: &Chain| Chain { links: chain.links.iter().cloned().chain([link.clone()]).collect(), ..chain.clone() };
        let lost = fates.iter().find_map(|(_, fate)| if let Fate::Lost(chain) = fate { Some(with(chain)) } else { None });
        let staying =
            fates.iter().filter(|(key, fate)| matches!(fate, Fate::Stays | Fate::Degraded(_)) && !node.idle.contains(key)).count();
        let unknown = fates.iter().find_map(|(_, fate)| if let Fate::Unknown(why) = fate { Some(why.clone()) } else { None });
        let degraded = fates.iter().find_map(|(_, fate)| if let Fate::Degraded(chain) = fate { Some(with(chain)) } else { None });
        match (lost, node.needs) {
            (Some(chain), Needs::Some(count)) if staying >= count => {
                Fate::Degraded(Chain { over_network: key.starts_with("net/"), ..chain })
            }
            (Some(chain), _) => Fate::Lost(chain),
            (None, _) => match (node.unseen.clone().or(unknown), degraded) {
                (Some(why), _) => Fate::Unknown(why),
                (None, Some(chain)) => Fate::Degraded(chain),
                (None, None) => Fate::Stays,
            },
        }
    }
}

/// The functions on a way in `/sys/devices`, such as `../../devices/pci0000:00/0000:00:1d.0/0000:02:00.0/nvme/nvme0/nvme0n1`, top first.
pub fn functions_on(path: &str) -> Vec<PciAddress> {
    // A short form such as `1:2.0` would be a USB interface, not an address.
    let whole = |part: &&str| part.split(':').count() == 3;
    path.split('/').filter(whole).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> PciAddress {
        text.parse().unwrap()
    }

    fn disk(name: &str, function: &str) -> Node {
        Node { name: name.into(), functions: vec![at(function)], ..Node::default() }
    }

    fn above(name: &str, below: &[&str], needs: Needs) -> Node {
        Node { name: name.into(), below: below.iter().map(ToString::to_string).collect(), needs, kind: Kind::Md, ..Node::default() }
    }

    fn shown(fate: &Fate) -> String {
        let chain = |chain: &Chain| chain.links.iter().map(ToString::to_string).collect::<Vec<_>>().join(" → ");
        match fate {
            Fate::Stays => "stays".into(),
            Fate::Degraded(c) => format!("degraded {}", chain(c)),
            Fate::Lost(c) => format!("lost {}", chain(c)),
            Fate::Unknown(why) => format!("unknown {why}"),
        }
    }

    #[test]
    fn what_needs_all_is_lost_with_one_and_what_needs_some_goes_on() {
        let mut graph = Graph::default();
        graph.insert("sda", disk("sda", "00:17.0"));
        graph.insert("sdb", disk("sdb", "02:00.0"));
        graph.insert("md0", above("md0", &["sda", "sdb"], Needs::All));
        graph.insert("md1", above("md1", &["sda", "sdb"], Needs::Some(1)));
        graph.insert("md2", Node { idle: vec!["sda".into()], ..above("md2", &["sda", "sdb"], Needs::Some(1)) });
        graph.insert("top", above("top", &["md1"], Needs::All));
        graph.insert("blind", Node { unseen: Some("why".into()), ..above("blind", &["md1"], Needs::All) });
        graph.insert("circle", above("circle", &["circle"], Needs::All));
        let fate = |key: &str, list: &[&str]| {
            let list: Vec<PciAddress> = list.iter().map(|text| at(text)).collect();
            shown(&graph.fate(key, &|function| list.contains(&function)))
        };
        assert_eq!(fate("md0", &["02:00.0"]), "lost sdb → RAID md0");
        assert_eq!(fate("md0", &["03:00.0"]), "stays");
        assert_eq!(fate("md1", &["02:00.0"]), "degraded sdb → RAID md1");
        assert_eq!(fate("md1", &["02:00.0", "00:17.0"]), "lost sda → RAID md1");
        assert_eq!(fate("md2", &["02:00.0"]), "lost sdb → RAID md2");
        assert_eq!(fate("top", &["02:00.0"]), "degraded sdb → RAID md1 → RAID top");
        assert_eq!(fate("blind", &["02:00.0"]), "unknown why");
        assert_eq!(graph.functions_below("top"), ["00:17.0", "02:00.0"].map(at).into());
        assert!(graph.functions_below("circle").is_empty() && graph.functions_below("none").is_empty());
        assert!(fate("circle", &["02:00.0"]).starts_with("unknown") && fate("none", &[]).starts_with("unknown"));
    }

    #[test]
    fn many_ways_to_one_thing_are_followed_once() {
        let mut graph = Graph::default();
        graph.insert("0a", disk("0a", "02:00.0"));
        graph.insert("0b", disk("0b", "02:00.0"));
        for level in 1..30 {
            let below = [format!("{}a", level - 1), format!("{}b", level - 1)];
            for name in ["a", "b"] {
                graph.insert(format!("{level}{name}"), above(name, &[&below[0], &below[1]], Needs::Some(1)));
            }
        }
        assert!(matches!(graph.fate("29a", &|_| false), Fate::Stays));
        assert!(matches!(graph.fate("29a", &|_| true), Fate::Lost(_)));
    }

    #[test]
    fn functions_are_told_from_other_numbers_on_the_way() {
        let disk = "../../devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0/nvme/nvme0/nvme0n1";
        let names = |path: &str| functions_on(path).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(disk), ["0000:00:0e.0", "10000:e0:06.0", "10000:e1:00.0"]);
        let usb = "../../devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block/sda";
        assert_eq!(names(usb), ["0000:00:14.0"]);
        assert!(names("/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/0003:046D:C31C.0001/input/input5").len() == 1);
        assert!(names("../../devices/pnp0/00:04/tty/ttyS0").is_empty());
    }
}
