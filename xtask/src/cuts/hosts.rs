//! The hosts that are cut: one for each pair of boot loader and initramfs generator.

use super::Result;
use cede_host::SimHost;
use cede_model::{Capture, Entry, capture_text};

const LAPTOP: &str = include_str!("../../../fixtures/hosts/arch-gtx1650-laptop/host.capture");

/// Names, and what is changed of the laptop.
pub(super) const HOSTS: [(&str, Option<&str>); 4] = [
    ("grub-mkinitcpio", None),
    ("grub-initramfs-tools", Some(include_str!("../../../fixtures/boot/grub-initramfs-tools.capture"))),
    ("systemd-boot-mkinitcpio", Some(include_str!("../../../fixtures/boot/systemd-boot-mkinitcpio.capture"))),
    ("systemd-boot-initramfs-tools", Some(include_str!("../../../fixtures/boot/systemd-boot-initramfs-tools.capture"))),
];

/// A host with its images and menu made.
pub(super) fn host(changes: Option<&str>) -> Result<Capture> {
    let mut capture = capture_text::parse(LAPTOP)?;
    if let Some(changes) = changes {
        for (path, entry) in capture_text::parse(changes)?.entries() {
            if *entry == Entry::Absent {
                capture.remove(path);
            } else {
                capture.insert(path, entry.clone());
            }
        }
    }
    Ok(SimHost::new(capture).snapshot())
}
