//! Boot partitions of a mounted system: where one is not mounted too, files would be written beside it, and never be seen at the start.

use crate::files::root::Root;
use crate::read_host::{FILE_LIMIT, ReadHost};
use cede_model::Capture;
use cede_model::uses::mounts::{Listed, listed};
use rustix::fs::{AtFlags, OFlags, StatxAttributes, StatxFlags};
use std::path::Path;

const PLACES: [&str; 3] = ["/boot", "/boot/efi", "/efi"];

/// The boot partitions that the system's `/etc/fstab` lists and that are not mounted below the root. Nothing for the running system.
pub fn missing(root: &Root) -> Vec<Listed> {
    if root.is_live() {
        return Vec::new();
    }
    let mut capture = Capture::new();
    capture.insert("/etc/fstab", ReadHost::read(root, "/etc/fstab", FILE_LIMIT));
    let lines = listed(&capture).into_iter();
    lines.filter(|line| PLACES.contains(&line.place.as_str()) && !line.may_fail && !is_mount(root, &line.place)).collect()
}

/// True for the root of a mount (statx(2), `STATX_ATTR_MOUNT_ROOT`, Linux 5.8).
fn is_mount(root: &Root, path: &str) -> bool {
    let Ok(place) = root.open_raw(Path::new(path), OFlags::PATH | OFlags::CLOEXEC) else { return false };
    let found = rustix::fs::statx(&place, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE);
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
