//! A boot partition that is not mounted: nothing that is written would reach what the host starts from.

use crate::plan::Refusal;
use cede_model::Host;
use cede_model::uses::mounts::{listed, mounts};
use cede_model::uses::storage::BOOT;

/// A boot partition of `/etc/fstab` that is not mounted. Nothing is said where the mounts could not be seen.
pub fn boot_not_mounted(host: &Host) -> Option<Refusal> {
    let mounts = mounts(&host.capture)?;
    let is_mounted = |place: &str| mounts.iter().any(|mount| mount.place == place);
    let listed = listed(&host.capture);
    let is_listed = |place: &str| listed.iter().any(|line| line.place == place && line.at_start);
    let place = BOOT.into_iter().find(|place| is_listed(place) && !is_mounted(place)).filter(|_| is_mounted("/"))?;
    Some(Refusal::new(
        "boot-not-mounted",
        format!(
            "{place} is listed in /etc/fstab and not mounted, so the boot configuration seen is not the one that is used: run `mount {place}`, then plan again"
        ),
    ))
}
