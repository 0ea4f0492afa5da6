//! File systems of a mounted system: where one is not mounted too, files would be written beside it, and never be seen at the start, and the
//! journal that is on it would look as if there were none.

use crate::files::root::Root;
use crate::read_host::{FILE_LIMIT, ReadHost};
use cede_model::Capture;
use cede_model::uses::mounts::{Listed, listed};
use rustix::fs::{AtFlags, OFlags, StatxAttributes, StatxFlags};
use std::path::Path;

/// What the start, its tools and cede itself need.
const PLACES: [&str; 7] = ["/boot", "/boot/efi", "/efi", "/etc", "/usr", "/var", "/var/lib"];

/// Of these, the ones that the running system may be without: it was started, but perhaps into an emergency shell.
const STATE: [&str; 2] = ["/var", "/var/lib"];

/// What the system's `/etc/fstab` lists of these and is not mounted below the root; of the running system only what our own state is on.
pub fn missing(root: &Root) -> Vec<Listed> {
    let mut capture = Capture::new();
    capture.insert("/etc/fstab", ReadHost::read(root, "/etc/fstab", FILE_LIMIT));
    let is_needed = |line: &Listed| match line.place.as_str() {
        place if root.is_live() => STATE.contains(&place) && line.at_start,
        place => PLACES.contains(&place),
    };
    let lines = listed(&capture).into_iter();
    lines.filter(|line| is_needed(line) && !line.may_fail && !is_mount(root, &line.place)).collect()
}

/// The first that our own state is on.
pub fn of_state(missing: &[Listed]) -> Option<&Listed> {
    missing.iter().find(|line| STATE.contains(&line.place.as_str()))
}

/// True for the root of a mount (statx(2), `STATX_ATTR_MOUNT_ROOT`, Linux 5.8).
fn is_mount(root: &Root, path: &str) -> bool {
    let Ok(place) = root.open_raw(Path::new(path), OFlags::PATH | OFlags::CLOEXEC) else { return false };
    let found = rustix::fs::statx(&place, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE);
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
