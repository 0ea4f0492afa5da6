//! Disks of a volume group besides those that a volume is on. A group that is not whole is not brought up on its own at the start
//! (lvm2: `pvscan --checkcomplete`, which udev's rules call), so its volumes need them too.

use super::block_names::BlockNames;
use super::graph::{Graph, Kind};
use std::collections::BTreeSet;

/// A file for each physical volume (lvm2 `online_pvid_file_create`): `major:minor`, `vg:NAME`, `dev:PATH`.
pub const ONLINE: &str = "/run/lvm/pvs_online";

/// A file for each group, by its name, as lvm2 last saw or made it (lvm.conf(5) `backup/backup_dir`). Volumes that were made or joined since the
/// start are nowhere else but on the disks: udev's rules look at a disk when it is added.
pub const BACKUP: &str = "/etc/lvm/backup";

/// A physical volume.
pub struct Member<'a> {
    device: String,
    group: &'a str,
}

/// The groups of the volumes that a thing rests on, each with its members that it does not rest on, by `major:minor`.
pub fn besides(members: &[Member<'_>], graph: &Graph, key: &str) -> Vec<(String, Vec<String>)> {
    let reached = graph.reach(key);
    let volumes = reached.iter().filter_map(|key| graph.get(key)).filter(|node| node.kind == Kind::Lvm);
    let groups: BTreeSet<&str> = volumes.filter_map(|node| Some(node.name.split_once('/')?.0)).collect();
    let others = |group: &str| {
        let own = members.iter().filter(|member| member.group == group).map(|member| member.device.clone());
        own.filter(|name| !reached.contains(name.as_str())).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    groups.into_iter().map(|group| (group.to_owned(), others(group))).filter(|(_, others)| !others.is_empty()).collect()
}

/// Every physical volume whose group is known.
pub fn members<'a>(names: &BlockNames<'a>) -> Vec<Member<'a>> {
    let capture = names.capture;
    let online = |name: &str| {
        let mut lines = capture.attribute(&format!("{ONLINE}/{name}"))?.lines();
        Some(Member { device: names.by_number(lines.next()?)?, group: lines.find_map(|line| line.strip_prefix("vg:"))? })
    };
    let kept = |group: &'a str| {
        let ids = ids(capture.attribute(&format!("{BACKUP}/{group}")).unwrap_or_default());
        let devices = ids.into_iter().flat_map(|id| names.by_source(&format!("UUID={id}"))).collect::<Vec<_>>();
        devices.into_iter().map(move |device| Member { device, group })
    };
    capture.names_in(ONLINE).filter_map(online).chain(capture.names_in(BACKUP).flat_map(kept)).collect()
}

/// The UUIDs of the physical volumes in the text of a group (lvm2: lib/format_text/export.c `_print_pvs`).
fn ids(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let mut ids = Vec::new();
    for line in text.lines().map(str::trim).skip_while(|line| *line != PHYSICAL) {
        match line {
            "}" if depth <= 1 => break,
            "}" => depth -= 1,
            _ if line.ends_with('{') => depth += 1,
            _ => ids.extend(line.strip_prefix("id = \"").and_then(|rest| rest.strip_suffix('"'))),
        }
    }
    ids
}

/// How the part with the physical volumes begins.
const PHYSICAL: &str = "physical_volumes {";

/// The text of a group without what is not looked at.
pub fn reduced(text: &str) -> String {
    let ids: String = ids(text).iter().map(|id| format!("id = \"{id}\"\n")).collect();
    format!("{PHYSICAL}\n{ids}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_physical_volumes_of_a_group_are_kept() {
        let text = "vault {\n\tid = \"group\"\n\tphysical_volumes {\n\n\t\tpv0 {\n\t\t\tid = \"65jAjl-ovuR\"\n\t\t\tdevice = \"/dev/sda\"\t# Hint only\n\t\t}\n\t\tpv1 {\n\t\t\tid = \"dAMGcJ-aXjP\"\n\t\t}\n\t}\n\tlogical_volumes {\n\t\tdata {\n\t\t\tid = \"volume\"\n";
        assert_eq!(ids(text), ["65jAjl-ovuR", "dAMGcJ-aXjP"]);
        assert_eq!(reduced(text), "physical_volumes {\nid = \"65jAjl-ovuR\"\nid = \"dAMGcJ-aXjP\"\n}\n");
        assert_eq!((ids(&reduced(text)), ids("}\nid = \"x\""), ids("physical_volumes {")), (ids(text), vec![], vec![]));
    }
}
