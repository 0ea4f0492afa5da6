//! File systems that keep their log, or a part of their data, on another device. Without it they are not mounted.

use super::block_names::BlockNames;
use super::mounts::Mount;

/// A directory for each journal of ext4: `sda1-8` where it is in the file system itself, in inode 8, and `sdb1` where it is a device of its own
/// (fs/jbd2/journal.c `jbd2_journal_init_inode`, `jbd2_journal_init_dev`).
pub const JBD2: &str = "/proc/fs/jbd2";

/// Options of XFS that name devices (fs/xfs/xfs_super.c `xfs_fs_show_options`), and what those hold.
const XFS: [(&str, &str); 2] = [("logdev", "XFS log"), ("rtdev", "XFS realtime data")];

/// What a file system has besides the device that it is on: what that is, and where, as [`BlockNames::by_source`] takes it.
pub fn besides(names: &BlockNames<'_>, mount: &Mount) -> Vec<(&'static str, String)> {
    match mount.kind.as_str() {
        "xfs" => named(mount).into_iter().map(|(what, source)| (what, source.to_owned())).collect(),
        "ext3" | "ext4" => journals(names, mount).map(|name| ("ext4 journal", format!("/dev/{name}"))).collect(),
        _ => Vec::new(),
    }
}

/// Those that the options of a mount name.
pub fn named(mount: &Mount) -> Vec<(&'static str, &str)> {
    let xfs = XFS.iter().filter(|_| mount.kind == "xfs");
    xfs.filter_map(|(option, what)| Some((*what, mount.option(option)?))).collect()
}

/// The devices that are journals. Whose they are is not shown, so one may belong to each file system that has no journal inside.
fn journals<'a>(names: &BlockNames<'a>, mount: &Mount) -> impl Iterator<Item = &'a str> + use<'a> {
    let all = || names.capture.names_in(JBD2);
    let own = names.by_number(&mount.number);
    let is_inside = own.is_none_or(|own| {
        let inode = |name: &str| name.strip_prefix(own.as_str())?.strip_prefix('-')?.parse::<u64>().ok();
        all().any(|name| inode(name).is_some())
    });
    let devices = names.all().to_vec();
    all().filter(move |name| !is_inside && devices.contains(name))
}
