//! What the host lives on: mounts, swap, and the chain from block devices to the functions that carry them.

use super::Reader;
use cede_model::Entry;
use cede_model::uses::arrays::{ANA_STATE, WAY_STATE};
use cede_model::uses::block_names::{BLOCK, by_id};
use cede_model::uses::logs::{self, JBD2};
use cede_model::uses::unlock::{self, CRYPTTAB};
use cede_model::uses::volume_groups::{BACKUP, ONLINE};
use cede_model::uses::{firmware_boot, mounts, volume_groups};

/// What is taken of udev's database: by what people name devices, and what is on them. The rest has serial numbers.
const PROPERTIES: [&str; 5] = ["ID_FS_TYPE", "ID_FS_LABEL", "ID_FS_UUID", "ID_PART_ENTRY_UUID", "ID_PART_ENTRY_NAME"];

pub(super) fn observe(reader: &mut Reader<'_>) {
    reader.text("/proc/self/mountinfo");
    reader.text("/proc/swaps");
    for name in reader.list(BLOCK) {
        device(reader, &name);
    }
    // Each btrfs by its UUID; its members are links to block devices.
    for uuid in reader.list("/sys/fs/btrfs") {
        let path = format!("/sys/fs/btrfs/{uuid}");
        reader.names(&format!("{path}/devices"));
        if reader.capture.is_there(&format!("{path}/devices")) {
            reader.text(&format!("{path}/label"));
            ["data", "metadata", "system"].iter().for_each(|kind| reader.names(&format!("{path}/allocation/{kind}")));
        }
    }
    reader.text(CRYPTTAB);
    if let Some(text) = reader.capture.attribute(CRYPTTAB).map(unlock::reduced) {
        reader.capture.insert(CRYPTTAB, Entry::File(text.into_bytes()));
    }
    reader.texts_in(ONLINE, "");
    reader.texts_in(BACKUP, "");
    for path in reader.capture.names_in(BACKUP).map(|name| format!("{BACKUP}/{name}")).collect::<Vec<_>>() {
        if let Some(text) = reader.capture.attribute(&path).map(volume_groups::reduced) {
            reader.capture.insert(path, Entry::File(text.into_bytes()));
        }
    }
    reader.names(JBD2);
    sources(reader);
    reader.text(firmware_boot::LOADER);
    reader.text(&firmware_boot::current());
    if let Some(option) = firmware_boot::option(reader.capture) {
        reader.text(&option);
    }
}

fn device(reader: &mut Reader<'_>, name: &str) {
    let path = format!("{BLOCK}/{name}");
    reader.link(&path);
    reader.text(&format!("{path}/dev"));
    let has = |start: &str| name.starts_with(start);
    let more: &[&str] = match () {
        () if has("dm-") => &["dm/name", "dm/uuid"],
        () if has("md") => &["md/level", "md/raid_disks"],
        () if has("loop") => &["loop/backing_file"],
        () if has("zram") => &["backing_dev"],
        () => &[],
    };
    more.iter().for_each(|attribute| reader.text(&format!("{path}/{attribute}")));
    if is_nvme_way(name) {
        [WAY_STATE, ANA_STATE].iter().for_each(|attribute| reader.text(&format!("{path}/{attribute}")));
    }
    let is_multipath = reader.capture.attribute(&format!("{path}/dm/uuid")).is_some_and(|uuid| uuid.starts_with("mpath-"));
    for slave in reader.host.list(&format!("{path}/slaves")).unwrap_or_default() {
        reader.probe(&format!("{path}/slaves/{slave}"));
        if has("md") {
            reader.text(&format!("{path}/md/dev-{slave}/state"));
        }
        if is_multipath {
            reader.text(&format!("{BLOCK}/{slave}/{WAY_STATE}"));
        }
    }
    if let Some(number) = reader.capture.attribute(&format!("{path}/dev")).map(str::to_owned) {
        properties(reader, &format!("/run/udev/data/b{number}"));
    }
}

/// `nvme0c1n1` is one of several ways to `nvme0n1`.
fn is_nvme_way(name: &str) -> bool {
    name.strip_prefix("nvme").is_some_and(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('c'))
}

fn properties(reader: &mut Reader<'_>, path: &str) {
    reader.text(path);
    let Some(text) = reader.capture.attribute(path) else { return };
    let is_kept =
        |line: &&str| line.strip_prefix("E:").and_then(|line| line.split('=').next()).is_some_and(|key| PROPERTIES.contains(&key));
    let kept: String = text.lines().filter(is_kept).map(|line| format!("{line}\n")).collect();
    reader.capture.insert(path, Entry::File(kept.into_bytes()));
}

/// Names below /dev by which something is mounted, swapped to or unlocked are links to the kernel's names.
fn sources(reader: &mut Reader<'_>) {
    let mounts = mounts::mounts(reader.capture).unwrap_or_default();
    let logs: Vec<String> = mounts.iter().flat_map(logs::named).map(|(_, source)| source.to_owned()).collect();
    let mounted = mounts.into_iter().map(|mount| mount.source);
    let listed = mounts::listed(reader.capture).into_iter().map(|line| line.source);
    let keys = unlock::needed(reader.capture).into_iter().map(|needed| needed.source);
    let all: Vec<String> = mounted.chain(logs).chain(listed).chain(mounts::swaps(reader.capture)).chain(keys).collect();
    let all = all.into_iter().map(|source| source.strip_prefix("ID=").map(by_id).unwrap_or(source)).collect::<Vec<_>>();
    for path in all.iter().filter(|path| path.strip_prefix("/dev/").is_some_and(|name| name.contains('/'))) {
        reader.link(path);
    }
}
