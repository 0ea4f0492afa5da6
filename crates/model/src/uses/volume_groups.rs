//! Disks of a volume group besides those that a volume is on. A group that is not whole is not brought up on its own at the start
//! (lvm2: `pvscan --checkcomplete`, which udev's rules call), so its volumes need them too.

use super::block_names::BlockNames;
use super::graph::{Graph, Kind};
use crate::capture::Capture;
use std::collections::BTreeSet;

/// A file for each physical volume (lvm2 `online_pvid_file_create`): `major:minor`, `vg:NAME`, `dev:PATH`.
pub const ONLINE: &str = "/run/lvm/pvs_online";

/// A physical volume.
pub struct Member<'a> {
    number: &'a str,
    group: &'a str,
}

/// The groups of the volumes that a thing rests on, each with its members that it does not rest on, by `major:minor`.
pub fn besides(members: &[Member<'_>], graph: &Graph, key: &str, names: &BlockNames<'_>) -> Vec<(String, Vec<String>)> {
    let reached = graph.reach(key);
    let volumes = reached.iter().filter_map(|key| graph.get(key)).filter(|node| node.kind == Kind::Lvm);
    let groups: BTreeSet<&str> = volumes.filter_map(|node| Some(node.name.split_once('/')?.0)).collect();
    let others = |group: &str| {
        let own = members.iter().filter(|member| member.group == group).filter_map(|member| names.by_number(member.number));
        own.filter(|name| !reached.contains(name.as_str())).collect::<Vec<_>>()
    };
    groups.into_iter().map(|group| (group.to_owned(), others(group))).filter(|(_, others)| !others.is_empty()).collect()
}

/// Every physical volume that was found at the start.
pub fn members(capture: &Capture) -> Vec<Member<'_>> {
    let member = |name: &str| {
        let mut lines = capture.attribute(&format!("{ONLINE}/{name}"))?.lines();
        Some(Member { number: lines.next()?, group: lines.find_map(|line| line.strip_prefix("vg:"))? })
    };
    capture.names_in(ONLINE).filter_map(member).collect()
}
