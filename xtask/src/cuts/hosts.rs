//! The hosts that are cut: one for each pair of boot loader and initramfs generator.

use super::Result;
use cede_host::SimHost;
use cede_host::apply::apply;
use cede_host::{Scope, observe};
use cede_model::{Capture, Entry, Host, capture_text};
use cede_plan::BindMethod;
use cede_plan::journal::Verb;
use cede_plan::trial::{TrialWish, env_block, once, plan};

const LAPTOP: &str = include_str!("../../../fixtures/hosts/arch-gtx1650-laptop/host.capture");

/// The graphics card of the laptop.
pub(super) const CARD: &str = "01:00.0";

/// Names, and what is changed of the laptop.
pub(super) const HOSTS: [(&str, Option<&str>); 4] = [
    ("grub-mkinitcpio", None),
    ("grub-initramfs-tools", Some(include_str!("../../../fixtures/boot/grub-initramfs-tools.capture"))),
    ("systemd-boot-mkinitcpio", Some(include_str!("../../../fixtures/boot/systemd-boot-mkinitcpio.capture"))),
    ("systemd-boot-initramfs-tools", Some(include_str!("../../../fixtures/boot/systemd-boot-initramfs-tools.capture"))),
];

/// A host before and after it is started anew for trial.
pub(super) struct Started {
    /// As it is at first, its images and menu made.
    pub(super) first: Capture,
    /// What the start for trial changes of it: paths with what is there then.
    pub(super) by_trial: Vec<(String, Entry)>,
}

/// A host with its images and menu made, and what it is in the trial of the card.
pub(super) fn host(changes: Option<&str>) -> Result<Started> {
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
    // What a trial asks for: GRUB's place for the choice, and the programs that its units start.
    if capture.is_there("/etc/default/grub") {
        capture.insert(once::ENV_BLOCK, Entry::File(env_block::empty()));
    }
    for tool in ["/usr/bin/systemctl", "/usr/bin/flock", "/usr/bin/test"] {
        capture.insert(tool, Entry::Present(1));
    }
    let sim = SimHost::new(capture);
    let first = sim.snapshot();
    let plan = plan::plan(&Host::from_capture(observe(&sim, Scope::Full)), &[CARD.parse()?], BindMethod::Cmdline, &TrialWish::default());
    apply(&sim, &plan, Verb::Trial, &mut |_| {})?;
    let waiting = sim.snapshot();
    if sim.restart() != 0 {
        return Err("the start for trial fails even undisturbed".into());
    }
    Ok(Started { first, by_trial: difference(&waiting, &sim.snapshot()) })
}

/// What is another in the second capture.
fn difference(one: &Capture, other: &Capture) -> Vec<(String, Entry)> {
    let gone = one.entries().filter(|(path, _)| other.get(path).is_none()).map(|(path, _)| (path.to_owned(), Entry::Absent));
    let new = other.entries().filter(|(path, entry)| one.get(path) != Some(*entry)).map(|(path, entry)| (path.to_owned(), entry.clone()));
    gone.chain(new).collect()
}
