//! What the host keeps on its block devices: the system, what it starts from, other file systems, swap.

use super::block;
use super::block_names::{BLOCK, BlockNames};
use super::graph::{Graph, Kind, Node};
use super::mounts::{self, Listed, Mount, mount_of};
use super::{firmware_boot, logs, net, remote, unlock, volume_groups};
use crate::capture::Capture;

/// What a block device is used for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A directory without which the system does not run.
    System(String),
    /// Where the kernel, its initramfs or the boot loader are.
    Boot(String),
    /// Another mounted file system, and whether the start waits for it and fails without it.
    Mounted(String, bool),
    /// Swap, by its path, and whether fstab(5) lists it.
    Swap(String, bool),
}

/// A use and the node that it rests on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Used {
    /// Key in [`Storage::graph`].
    pub key: String,
    /// What for.
    pub place: Place,
}

/// The block devices of a host and their uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Storage {
    /// What rests on what.
    pub graph: Graph,
    /// What is used.
    pub used: Vec<Used>,
    /// Why it cannot be told what the system is on, where that is so.
    pub unseen: Option<String>,
}

/// Directories without which the system does not run. `/nix`, `/gnu` and ostree's `/sysroot` hold whole systems.
const SYSTEM: [&str; 11] = ["/", "/usr", "/etc", "/var", "/bin", "/sbin", "/lib", "/lib64", "/nix", "/gnu", "/sysroot"];

/// Where a boot partition is mounted (systemd: bootctl(1)).
pub const BOOT: [&str; 3] = ["/boot", "/efi", "/boot/efi"];

/// Media that were put in by hand are no concern of the next start, where fstab(5) does not list them.
const BY_HAND: [&str; 2] = ["/run/media/", "/media/"];

/// What a file system rests on.
enum Carrier {
    Node(String),
    Memory,
    /// Made by the kernel, or not known.
    Other,
}

impl Storage {
    /// Reads what the capture has of mounts, swap and block devices.
    pub fn read(capture: &Capture) -> Self {
        let (names, mounts) = (BlockNames::of(capture), mounts::mounts(capture).unwrap_or_default());
        // Until a root is seen.
        let unseen = Some("which disks carry / could not be seen (/proc/self/mountinfo)".to_owned());
        let mut storage = Self { graph: block::graph(&names, &mounts), unseen, ..Self::default() };
        storage.graph.extend(net::graph(capture));
        for (key, node) in remote::firmware(capture) {
            storage.used.push(Used { key: key.clone(), place: Place::Boot("the disk that the firmware starts from".to_owned()) });
            storage.graph.insert(key, node);
        }
        let listed = mounts::listed(capture);
        storage.add_loops(&names, &mounts);
        let is_listed = |mount: &Mount| listed.iter().any(|line| line.place == mount.place);
        let by_hand = |mount: &Mount| BY_HAND.iter().any(|place| mount.place.starts_with(place)) && !is_listed(mount);
        for mount in mounts.iter().filter(|mount| !by_hand(mount)) {
            storage.add_mount(&names, mount, &mounts, &listed);
        }
        for swap in mounts::swaps(capture) {
            storage.add_swap(&names, swap, &mounts, &listed);
        }
        storage.add_listed(&names, &listed, &mounts);
        storage.add_started(&names, &mounts);
        storage.add_keys(&names);
        storage.add_groups(&names);
        storage.used.sort();
        storage.used.dedup();
        storage
    }

    fn add_mount(&mut self, names: &BlockNames<'_>, mount: &Mount, mounts: &[Mount], listed: &[Listed]) {
        let is_root = mount.place == "/";
        match self.carrier(names, mount, mounts) {
            Carrier::Node(key) if self.is_file_elsewhere(&key, &mount.place) => {}
            Carrier::Node(key) => {
                let waited = listed.iter().any(|line| line.place == mount.place && line.at_start && !line.may_fail);
                let place = place(&mount.place, waited);
                self.add_logs(names, mount, &place);
                self.used.push(Used { key, place });
                // A later mount of the same place hides the earlier one.
                self.unseen = self.unseen.take().filter(|_| !is_root);
            }
            Carrier::Memory if is_root => self.unseen = None,
            Carrier::Other if is_root => {
                self.unseen = Some(format!("what / is on could not be seen (it is a {} of {})", mount.kind, mount.source));
            }
            Carrier::Memory | Carrier::Other => {}
        }
    }

    /// What a file system keeps on other devices.
    fn add_logs(&mut self, names: &BlockNames<'_>, mount: &Mount, place: &Place) {
        for (what, source) in logs::besides(names, mount) {
            let key = format!("{what} of {}, {source}", mount.place);
            let below = names.by_source(&source);
            let unseen = below.is_empty().then(|| format!("where the {what} of {} is could not be seen ({source})", mount.place));
            self.graph.insert(key.as_str(), Node { name: what.to_owned(), below, unseen, ..Node::default() });
            self.used.push(Used { key, place: place.clone() });
        }
    }

    /// A mounted image, such as a snap: the file system that its file is on speaks for it.
    fn is_file_elsewhere(&self, key: &str, at: &str) -> bool {
        let is_file = self.graph.get(key).is_some_and(|node| node.kind == Kind::Loop && !node.below.is_empty());
        is_file && matches!(place(at, false), Place::Mounted(..))
    }

    fn add_swap(&mut self, names: &BlockNames<'_>, swap: String, mounts: &[Mount], listed: &[Listed]) {
        let key = if swap.starts_with("/dev/") {
            self.key_of(names, &swap)
        } else {
            mount_of(mounts, &swap).and_then(|mount| match self.carrier(names, mount, mounts) {
                Carrier::Node(key) => Some(key),
                _ => None,
            })
        };
        let is_it = |line: &Listed| line.source == swap || names.by_source(&line.source).iter().any(|name| swap == format!("/dev/{name}"));
        let is_listed = listed.iter().any(|line| line.kind == "swap" && is_it(line));
        self.used.extend(key.map(|key| Used { key, place: Place::Swap(swap, is_listed) }));
    }

    /// What the start will look for and is not mounted now: boot partitions that are mounted on the first access, data disks.
    fn add_listed(&mut self, names: &BlockNames<'_>, listed: &[Listed], mounts: &[Mount]) {
        // Until the first access there is only a trap of automount's.
        let is_mounted = |place: &str| mounts.iter().any(|mount| mount.place == place && mount.kind != "autofs");
        for line in listed.iter().filter(|line| !is_mounted(&line.place)) {
            let wanted = BOOT.contains(&line.place.as_str()) || (line.at_start && !line.may_fail && line.place.starts_with('/'));
            for key in names.by_source(&line.source).into_iter().filter(|_| wanted) {
                if self.graph.get(&key).is_some() {
                    self.used.push(Used { key, place: place(&line.place, true) });
                }
            }
            if wanted && !line.source.starts_with("/dev/") && names.by_source(&line.source).is_empty() && !names.has_database() {
                let (place, source) = (&line.place, &line.source);
                self.unseen.get_or_insert_with(|| format!("which disk {place} is on could not be seen ({source}, /run/udev/data)"));
            }
        }
    }

    /// What the firmware started from. Partitions are known by udev's database alone, unless one is mounted.
    fn add_started(&mut self, names: &BlockNames<'_>, mounts: &[Mount]) {
        let sources: Vec<String> = firmware_boot::partitions(names.capture).iter().map(|uuid| format!("PARTUUID={uuid}")).collect();
        let keys = sources.iter().flat_map(|source| names.by_source(source));
        self.used.extend(keys.map(|key| Used { key, place: Place::Boot("the firmware's boot partition".to_owned()) }));
        let is_mounted = || mounts.iter().any(|mount| BOOT.contains(&mount.place.as_str()) && mount.kind == "vfat");
        if !sources.is_empty() && !names.has_database() && !is_mounted() {
            self.unseen.get_or_insert_with(|| "which disk has the firmware's boot partition could not be seen (/run/udev/data)".to_owned());
        }
    }

    /// What unlocks a volume is part of the start.
    fn add_keys(&mut self, names: &BlockNames<'_>) {
        for needed in unlock::needed(names.capture) {
            let volume = needed.volume.unwrap_or_else(|| "the system".to_owned());
            let place = Place::Boot(format!("what unlocks {volume}"));
            let keys = names.by_source(&needed.source).into_iter().filter(|key| self.graph.get(key).is_some());
            self.used.extend(keys.map(|key| Used { key, place: place.clone() }).collect::<Vec<_>>());
        }
    }

    /// What the next start needs of a volume group, though nothing is kept on it.
    fn add_groups(&mut self, names: &BlockNames<'_>) {
        let members = volume_groups::members(names);
        if members.is_empty() {
            return;
        }
        for used in self.used.clone() {
            if matches!(used.place, Place::Swap(..) | Place::Mounted(_, false)) {
                continue;
            }
            for (group, below) in volume_groups::besides(&members, &self.graph, &used.key) {
                let (key, name) = (format!("{group} of {}", used.key), format!("{group} (not whole without it)"));
                self.graph.insert(key.as_str(), Node { kind: Kind::Lvm, name, below, ..Node::default() });
                self.used.push(Used { key, place: used.place.clone() });
            }
        }
    }

    fn carrier(&mut self, names: &BlockNames<'_>, mount: &Mount, mounts: &[Mount]) -> Carrier {
        match mount.kind.as_str() {
            "tmpfs" | "ramfs" | "rootfs" => return Carrier::Memory,
            _ if remote::is_remote(mount) => {
                let key = format!("remote/{}", mount.place);
                self.graph.insert(key.as_str(), remote::file_system(names.capture, mount));
                return Carrier::Node(key);
            }
            "zfs" => return Carrier::Node(format!("zfs/{}", mount.source.split('/').next().unwrap_or_default())),
            "overlay" if mount.place == "/" => return Carrier::Node(self.overlay(names, mount, mounts)),
            "bcachefs" => return Carrier::Node(self.bcachefs(names, &mount.source)),
            _ => {}
        }
        let by_number = names.by_number(&mount.number);
        match by_number.or_else(|| self.key_of(names, &mount.source)) {
            Some(name) => Carrier::Node(self.with_members(name)),
            None => Carrier::Other,
        }
    }

    /// The node of a source; one over all of them where it may mean several.
    fn key_of(&mut self, names: &BlockNames<'_>, source: &str) -> Option<String> {
        let mut names = names.by_source(source);
        if names.len() > 1 {
            self.graph.insert(source, Node { name: source.to_owned(), below: names, ..Node::default() });
            return Some(source.to_owned());
        }
        names.pop()
    }

    /// A btrfs is mounted by one of its devices and needs them all.
    fn with_members(&self, name: String) -> String {
        let holds = |node: &Node| node.kind == Kind::Btrfs && node.below.len() > 1 && node.below.contains(&name);
        let whole = self.graph.iter().find(|(_, node)| holds(node)).map(|(key, _)| key.to_owned());
        whole.unwrap_or(name)
    }

    /// `/dev/sda1:/dev/sdb1` (fs/bcachefs/fs.c `bch2_show_devname`).
    fn bcachefs(&mut self, names: &BlockNames<'_>, source: &str) -> String {
        let key = format!("bcachefs/{source}");
        let member = |path: &str| names.by_source(path).pop().unwrap_or_else(|| path.trim_start_matches("/dev/").to_owned());
        let below = source.split(':').map(member).collect();
        self.graph.insert(key.as_str(), Node { kind: Kind::Bcachefs, below, ..Node::default() });
        key
    }

    /// Layers of directories, each on a mount of its own; those below `/` itself are hidden by it and cannot be told. Newer kernels show
    /// each lower one by itself (fs/overlayfs/params.c `ovl_show_options`).
    fn overlay(&mut self, names: &BlockNames<'_>, mount: &Mount, mounts: &[Mount]) -> String {
        let lower = mount.option("lowerdir").unwrap_or_default().split(':').filter(|path| !path.is_empty());
        let single = ["lowerdir+", "datadir+", "upperdir"].into_iter().flat_map(|name| mount.options_named(name));
        let mut node = Node { kind: Kind::Overlay, ..Node::default() };
        for path in lower.chain(single) {
            let layer = mount_of(mounts, path).filter(|layer| layer.place != "/");
            match layer.map(|layer| self.carrier(names, layer, mounts)) {
                Some(Carrier::Node(key)) => node.below.push(key),
                Some(Carrier::Memory) => {}
                Some(Carrier::Other) | None => node.unseen = Some(format!("what the layer {path} of / is on could not be seen")),
            }
        }
        self.graph.insert("overlay", node);
        "overlay".to_owned()
    }

    /// A loop device rests on what its file is on.
    fn add_loops(&mut self, names: &BlockNames<'_>, mounts: &[Mount]) {
        for name in names.starting_with("loop") {
            let Some(file) = names.capture.attribute(&format!("{BLOCK}/{name}/loop/backing_file")) else { continue };
            let file = file.trim_end_matches(" (deleted)");
            let Some(node) = self.graph.get(name).cloned() else { continue };
            let (kind, name_shown) = (Kind::Loop, file.rsplit('/').next().unwrap_or(file).to_owned());
            let mount = mount_of(mounts, file).filter(|mount| mount.kind != "overlay" && !is_on(names, mount, name));
            let found = mount.map(|mount| self.carrier(names, mount, mounts));
            let (below, unseen) = match found {
                Some(Carrier::Node(key)) => (vec![key], None),
                Some(Carrier::Memory) => (Vec::new(), None),
                Some(Carrier::Other) | None => (Vec::new(), Some(format!("where {file}, the file of {name}, is could not be seen"))),
            };
            self.graph.insert(name, Node { kind, name: name_shown, below, unseen, ..node });
        }
    }
}

/// True where the mount is of the loop device itself.
fn is_on(names: &BlockNames<'_>, mount: &Mount, name: &str) -> bool {
    names.by_number(&mount.number).as_deref() == Some(name)
}

fn place(place: &str, waited: bool) -> Place {
    let below_boot = |path: &str| BOOT.contains(&path) || path.starts_with("/boot/");
    match place {
        system if SYSTEM.contains(&system) => Place::System(place.to_owned()),
        boot if below_boot(boot) => Place::Boot(place.to_owned()),
        _ => Place::Mounted(place.to_owned(), waited),
    }
}
