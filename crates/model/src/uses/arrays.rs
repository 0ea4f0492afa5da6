//! How many members an array or a file system of several devices can do without.

use super::block_names::BLOCK;
use super::graph::Needs;
use crate::capture::Capture;

/// The state of a disk, below its block device.
pub const WAY_STATE: &str = "device/state";

/// What an NVMe target says of a way to a namespace, below the way's block device.
pub const ANA_STATE: &str = "ana_state";

/// What an MD array needs of its members, and which of them do not hold its data now (Documentation/admin-guide/md.rst).
pub fn md(capture: &Capture, name: &str, members: &[String]) -> (Needs, Vec<String>) {
    let attribute = |what: &str| capture.attribute(&format!("{BLOCK}/{name}/md/{what}"));
    let disks: Option<usize> = attribute("raid_disks").and_then(|count| count.split_whitespace().next()?.parse().ok());
    let state = |member: &String| attribute(&format!("dev-{member}/state")).unwrap_or_default();
    let has = |member: &String, what: &str| state(member).split(',').any(|word| word == what);
    let needs = match (attribute("level"), disks) {
        // Without its journal an array is not assembled at the start (mdadm(8), `--force`).
        _ if members.iter().any(|member| has(member, "journal")) => Needs::All,
        (Some("raid1"), _) => Needs::Some(1),
        // Which members of a RAID10 mirror each other is not told, so it is taken to bear one loss only.
        (Some("raid4" | "raid5" | "raid10"), Some(disks)) => Needs::Some(disks.saturating_sub(1)),
        (Some("raid6"), Some(disks)) => Needs::Some(disks.saturating_sub(2)),
        _ => Needs::All,
    };
    (needs, members.iter().filter(|member| !has(member, "in_sync")).cloned().collect())
}

/// Of several ways to a disk one is enough, and which of them do not work now: the state of the SCSI device or NVMe controller
/// (drivers/scsi/scsi_sysfs.c `sdev_states`, drivers/nvme/host/sysfs.c `nvme_sysfs_show_state`), and what the target says of the way
/// (drivers/nvme/host/multipath.c `nvme_ana_state_names`).
pub fn ways(capture: &Capture, members: &[String]) -> (Needs, Vec<String>) {
    let attribute = |name: &str, what: &str| capture.attribute(&format!("{BLOCK}/{name}/{what}"));
    let is_idle = |name: &&String| {
        attribute(name, WAY_STATE).is_some_and(|state| !matches!(state, "running" | "live"))
            || attribute(name, ANA_STATE).is_some_and(|state| matches!(state, "inaccessible" | "persistent-loss" | "change"))
    };
    (Needs::Some(1), members.iter().filter(is_idle).cloned().collect())
}

/// Devices that a btrfs needs: all of them, whatever its profile, for it is not mounted at the start with one missing, unless the option
/// `degraded` says so (btrfs(5)). Then the profile that bears least counts (fs/btrfs/volumes.c `btrfs_raid_array`).
pub fn btrfs(capture: &Capture, uuid: &str, members: usize, degraded: bool) -> Needs {
    let profiles = |kind: &str| capture.names_in(&format!("/sys/fs/btrfs/{uuid}/allocation/{kind}")).collect::<Vec<_>>();
    let bears = |profile: &&str| match *profile {
        "raid1" | "raid10" | "raid5" => Some(1),
        "raid1c3" | "raid6" => Some(2),
        "raid1c4" => Some(3),
        "single" | "dup" | "raid0" => Some(0),
        _ => None,
    };
    let least = ["data", "metadata", "system"].iter().map(|kind| profiles(kind).iter().filter_map(bears).min().unwrap_or(0)).min();
    match least {
        Some(count) if degraded && count > 0 => Needs::Some(members.saturating_sub(count)),
        _ => Needs::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;

    #[test]
    fn levels_bear_what_they_bear_and_only_members_in_sync_count() {
        for (level, disks, needs) in [
            ("raid0", "2", Needs::All),
            ("linear", "2", Needs::All),
            ("raid1", "3", Needs::Some(1)),
            ("raid5", "4", Needs::Some(3)),
            ("raid6", "6 (5)", Needs::Some(4)),
            ("raid10", "4", Needs::Some(3)),
            ("raid5", "x", Needs::All),
            ("container", "", Needs::All),
        ] {
            let mut capture = Capture::new();
            let mut text =
                |name: &str, text: &str| capture.insert(format!("{BLOCK}/md0/md/{name}"), Entry::File(format!("{text}\n").into_bytes()));
            text("level", level);
            text("raid_disks", disks);
            text("dev-sda1/state", "in_sync,write_mostly");
            text("dev-sdb1/state", "spare");
            let members = ["sda1", "sdb1", "sdc1"].map(str::to_owned);
            assert_eq!(md(&capture, "md0", &members), (needs, vec!["sdb1".to_owned(), "sdc1".to_owned()]), "{level}");
        }
    }

    #[test]
    fn a_btrfs_wants_all_unless_it_was_mounted_degraded() {
        let mut capture = Capture::new();
        for (kind, profile) in [("data", "raid1c3"), ("metadata", "raid1c4"), ("system", "raid1")] {
            capture.insert(format!("/sys/fs/btrfs/u/allocation/{kind}/{profile}"), Entry::Dir);
            capture.insert(format!("/sys/fs/btrfs/u/allocation/{kind}/total_bytes"), Entry::Present(1));
        }
        assert_eq!((btrfs(&capture, "u", 4, true), btrfs(&capture, "u", 4, false)), (Needs::Some(3), Needs::All));
        assert_eq!(btrfs(&capture, "other", 4, true), Needs::All);
    }
}
