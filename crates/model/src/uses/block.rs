//! The block devices of a host and what each is made of.

use super::arrays;
use super::block_names::{BLOCK, BlockNames, alike, property, volume};
use super::graph::{Graph, Kind, Node, functions_on};
use super::mounts::Mount;
use super::remote;
use crate::capture::Capture;
use std::collections::BTreeSet;

/// Every block device by its kernel name, every btrfs as `btrfs/UUID`, every ZFS pool as `zfs/NAME`. What loop devices rest on is added by
/// [`super::storage`], which knows where their files are.
pub fn graph(names: &BlockNames<'_>, mounts: &[Mount]) -> Graph {
    let capture = names.capture;
    let mut graph = Graph::default();
    let found = pools(names);
    for name in names.all() {
        if let Some(link) = capture.link(&format!("{BLOCK}/{name}")) {
            graph.insert(*name, device(names, name, link, &found));
        }
    }
    for uuid in capture.names_in("/sys/fs/btrfs") {
        let members: Vec<String> = capture.names_in(&format!("/sys/fs/btrfs/{uuid}/devices")).map(str::to_owned).collect();
        if !members.is_empty() {
            graph.insert(format!("btrfs/{uuid}"), btrfs(capture, uuid, members, mounts));
        }
    }
    let mounted = mounts.iter().filter(|mount| mount.kind == "zfs").filter_map(|mount| mount.source.split('/').next());
    for pool in mounted.chain(found.iter().copied()).collect::<BTreeSet<_>>() {
        graph.insert(format!("zfs/{pool}"), zfs(names, pool));
    }
    graph
}

fn device(names: &BlockNames<'_>, name: &str, link: &str, pools: &BTreeSet<&str>) -> Node {
    let capture = names.capture;
    let below = |what: &str| capture.names_in(&format!("{BLOCK}/{name}/{what}")).map(str::to_owned).collect::<Vec<_>>();
    let mut node = Node { name: name.to_owned(), functions: functions_on(link), below: below("slaves"), ..Node::default() };
    if name.starts_with("dm-") {
        (node.kind, node.name) = mapped(capture, name);
        if node.kind == Kind::Multipath {
            (node.needs, node.idle) = arrays::ways(capture, &node.below);
        }
    } else if name.starts_with("md") && capture.attribute(&format!("{BLOCK}/{name}/md/level")).is_some() {
        node.kind = Kind::Md;
        (node.needs, node.idle) = arrays::md(capture, name, &node.below);
    } else if name.starts_with("bcache") && whole(capture, link).is_none() {
        node.kind = Kind::Bcache;
    }
    if let Some(carried) = remote::carriers(capture, name, link) {
        node.name.push_str(carried.note);
        node.below.extend(carried.below);
        node.unseen = carried.unseen;
    } else if node.functions.is_empty() && node.below.is_empty() {
        on_virtual(names, name, link, pools, &mut node);
    }
    node
}

/// A mapped device by its UUID, which says who made it (`CRYPT-LUKS2-…`, `LVM-…`, `mpath-…`), and for cryptsetup of what type
/// (`dm_prepare_uuid`).
fn mapped(capture: &Capture, name: &str) -> (Kind, String) {
    let attribute = |what: &str| capture.attribute(&format!("{BLOCK}/{name}/dm/{what}"));
    let label = attribute("name").unwrap_or(name);
    let mut words = attribute("uuid").unwrap_or_default().split('-');
    match (words.next(), words.next()) {
        (Some("CRYPT"), Some("VERITY")) => (Kind::Verity, label.to_owned()),
        (Some("CRYPT"), Some("INTEGRITY" | "SUBDEV")) => (Kind::Integrity, label.to_owned()),
        (Some("CRYPT"), Some("BITLK")) => (Kind::BitLocker, label.to_owned()),
        (Some("CRYPT"), _) => (Kind::Luks, label.to_owned()),
        (Some("LVM"), _) => (Kind::Lvm, volume(label)),
        (Some("mpath"), _) => (Kind::Multipath, label.to_owned()),
        _ => (Kind::Mapped, label.to_owned()),
    }
}

/// The device that one is a partition of.
fn whole<'a>(capture: &Capture, link: &'a str) -> Option<&'a str> {
    link.rsplit('/').nth(1).filter(|parent| capture.link(&format!("{BLOCK}/{parent}")).is_some())
}

/// A device without a function of its own: a partition of one, a way over several controllers, or something whose carrier is not seen.
fn on_virtual(names: &BlockNames<'_>, name: &str, link: &str, pools: &BTreeSet<&str>, node: &mut Node) {
    let capture = names.capture;
    if let Some(whole) = whole(capture, link) {
        node.below = vec![whole.to_owned()];
    } else if link.contains("/nvme-subsystem/") {
        node.below = nvme_paths(names, name);
        (node.needs, node.idle) = arrays::ways(capture, &node.below);
    } else if let Some(backing) = capture.attribute(&format!("{BLOCK}/{name}/backing_dev")).and_then(|path| path.strip_prefix("/dev/")) {
        // zram that writes what does not compress to a disk (Documentation/admin-guide/blockdev/zram.rst).
        node.below = vec![backing.to_owned()];
    } else if name.starts_with("zd") {
        node.below = pools.iter().map(|pool| format!("zfs/{pool}")).collect();
    }
    let in_memory = ["ram", "zram", "loop"].iter().any(|start| name.starts_with(start));
    if node.below.is_empty() && link.contains("/devices/virtual/") && !in_memory {
        node.unseen = Some(format!("what {name} rests on could not be seen ({BLOCK}/{name}/slaves)"));
    }
}

/// With native multipath a namespace `nvme0n1` is virtual, and `nvme0c1n1` is its way over controller 1 (drivers/nvme/host/multipath.c
/// `nvme_mpath_set_disk_name`).
fn nvme_paths(names: &BlockNames<'_>, name: &str) -> Vec<String> {
    let Some((subsystem, rest)) = name.strip_prefix("nvme").and_then(|rest| rest.split_once('n')) else { return Vec::new() };
    let (head, tail) = (format!("nvme{subsystem}c"), format!("n{rest}"));
    let is_path = |candidate: &&str| {
        let number = candidate.strip_prefix(head.as_str()).and_then(|rest| rest.strip_suffix(tail.as_str()));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    names.starting_with(&head).filter(is_path).map(str::to_owned).collect()
}

fn btrfs(capture: &Capture, uuid: &str, members: Vec<String>, mounts: &[Mount]) -> Node {
    let is_member = |mount: &&Mount| mount.kind == "btrfs" && members.iter().any(|member| mount.source == format!("/dev/{member}"));
    let degraded = mounts.iter().find(is_member).is_some_and(|mount| mount.has_option("degraded"));
    let needs = arrays::btrfs(capture, uuid, members.len(), degraded);
    let label = capture.attribute(&format!("/sys/fs/btrfs/{uuid}/label")).filter(|label| !label.is_empty());
    let name = label.map_or_else(|| uuid.chars().take(8).collect(), str::to_owned);
    Node { kind: Kind::Btrfs, name, below: members, needs, ..Node::default() }
}

/// The pools whose members udev found.
fn pools<'a>(names: &BlockNames<'a>) -> BTreeSet<&'a str> {
    let capture = names.capture;
    let members = names.all().iter().filter(|name| is_zfs_member(capture, name));
    members.filter_map(|name| property(capture, name, "ID_FS_LABEL")).collect()
}

fn is_zfs_member(capture: &Capture, name: &str) -> bool {
    property(capture, name, "ID_FS_TYPE") == Some("zfs_member")
}

/// ZFS shows its members nowhere in /proc or /sys; udev recognises them by their labels. How many losses a pool bears is not seen, so it is
/// taken to need them all.
fn zfs(names: &BlockNames<'_>, pool: &str) -> Node {
    let capture = names.capture;
    let has_label = |name: &str| property(capture, name, "ID_FS_LABEL").is_some_and(|label| alike(label, pool));
    let is_member = |name: &&str| is_zfs_member(capture, name) && has_label(name);
    let below: Vec<String> = names.all().iter().filter(|name| is_member(name)).map(|name| (*name).to_owned()).collect();
    let unseen = below.is_empty().then(|| format!("the disks of the ZFS pool {pool} could not be told (udev's database names none)"));
    Node { kind: Kind::Zfs, name: pool.to_owned(), below, unseen, ..Node::default() }
}
