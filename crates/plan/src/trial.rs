//! The trial boot: one start by an entry and with images of our own. The default entry, its image and its command line stay as they are, to
//! the byte, and so does modprobe.d: what the trial needs of it is in a small archive that only the trial's entry loads.

pub mod env_block;
pub mod once;
pub mod plan;
mod settings;
mod units;

use crate::guard::Loss;
use crate::iommu_cause;
use crate::journal::{self, Operation, Verb};
use crate::plan::{Condition, Plan, Step};
use cede_model::Host;
use std::num::NonZeroU16;

/// The kernel parameter that marks the trial's start, with the operation's number; the kernel hands on what has a dot and knows no module
/// of that name without a word (kernel/params.c `unknown_bootoption`).
pub const PARAMETER: &str = "cede.trial";

/// Our image, in the directory of the image that the default entry starts.
pub const IMAGE: &str = "cede-trial.img";

/// The archive of modprobe.d files, beside it.
pub const SETTINGS: &str = "cede-trial-modprobe.img";

/// The entry's id in GRUB's menu.
pub const ENTRY: &str = "cede-trial";

/// The entry's file, whose name is its id to systemd-boot. It begins with the character that sorts last where that orders entries by their ids,
/// newest first (boot loader specification, version format).
pub const ENTRY_FILE: &str = "-cede-trial.conf";

/// Where the configuration of the generator for the trial's image is kept.
pub const STATE: &str = "/var/lib/cede/trial";

/// What the user wants of a trial beyond its devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrialWish {
    /// What the user gives up, by name.
    pub accepted: Vec<Loss>,
    /// Only the entry: a person chooses it in the menu.
    pub by_hand: bool,
    /// The program that confirms the trial once it has come up and is verified; `None` where a person does.
    pub confirm_by: Option<String>,
    /// Minutes after which an unconfirmed trial starts the machine anew.
    pub watchdog: Option<NonZeroU16>,
}

/// How a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The machine was not started anew since.
    Pending,
    /// This start is the trial.
    Running,
    /// This start is another one: the trial did not come up, or was left without being confirmed.
    Over,
    /// The kernel command line or the boot is not known here.
    Unknown,
}

impl State {
    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Over => "over",
            Self::Unknown => "unknown",
        }
    }
}

/// The trial that is in force, if there is one.
pub fn in_force(operations: &[Operation]) -> Option<&Operation> {
    operations.iter().rev().find(|operation| operation.verb == Verb::Trial && journal::in_force(operations, operation))
}

/// The trial of a confirmation that did not come to its end: the change is the default already, and the trial was not taken back.
pub fn half_confirmed(operations: &[Operation]) -> Option<&Operation> {
    let trial = in_force(operations)?;
    let confirms = |later: &&Operation| later.number > trial.number && later.plan.devices == trial.plan.devices;
    operations.iter().filter(confirms).any(|later| journal::in_force(operations, later)).then_some(trial)
}

/// How a trial stands on this host.
pub fn state(host: &Host, trial: &Operation) -> State {
    let mark = parameter(trial.number);
    let words = iommu_cause::running_words(host);
    let boot_id = host.capture.attribute("/proc/sys/kernel/random/boot_id");
    match (words.is_empty(), trial.boot_id.as_deref(), boot_id) {
        (false, _, _) if words.contains(&mark) => State::Running,
        (_, Some(then), Some(now)) if then == now => State::Pending,
        (false, Some(_), Some(_)) => State::Over,
        _ => State::Unknown,
    }
}

/// The title of a trial's entry in the loader's menu.
pub fn title(number: u32) -> String {
    format!("cede trial {number}")
}

/// True where nothing chooses the trial: a person does, in the menu.
pub fn is_by_hand(trial: &Plan) -> bool {
    !trial.steps.iter().filter_map(Step::path).any(once::is_choice)
}

/// What is known of a trial that is over: whether the loader has taken the one-time choice.
pub fn why_over(host: &Host, trial: &Operation) -> &'static str {
    if is_by_hand(&trial.plan) {
        return "nobody picked its entry in the menu, or it did not come up, or was left unconfirmed";
    }
    if once::is_ours_still(host) {
        "the boot loader has not tried its entry yet: another one was chosen, or the loader cannot read the choice"
    } else {
        "its entry was started or chosen once, and it did not come up, or was left unconfirmed"
    }
}

/// The mark on the command line of the trial of this number.
pub fn parameter(number: u32) -> String {
    format!("{PARAMETER}={number}")
}

/// The images that the trial's tool made: those that it proves and did not write itself.
pub fn made(trial: &Operation) -> Vec<String> {
    let mut list: Vec<String> = trial.plan.expects.iter().filter_map(|expectation| expectation.what.image().map(str::to_owned)).collect();
    list.retain(|path| !trial.plan.steps.iter().any(|step| step.path() == Some(path)));
    list.sort();
    list.dedup();
    list
}

/// The number that a plan was made for, where it is a trial's.
pub fn number_of(plan: &Plan) -> Option<u32> {
    plan.expects.iter().find_map(|expectation| match &expectation.what {
        Condition::RunningWith { parameter } => parameter.strip_prefix(PARAMETER)?.strip_prefix('=')?.parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cede_model::{Capture, Entry};

    fn host(boot_id: Option<&str>, cmdline: Option<&str>) -> Host {
        let mut capture = Capture::new();
        for (path, text) in [("/proc/sys/kernel/random/boot_id", boot_id), ("/proc/cmdline", cmdline)] {
            if let Some(text) = text {
                capture.insert(path, Entry::File(text.as_bytes().to_vec()));
            }
        }
        Host::from_capture(capture)
    }

    #[test]
    fn the_start_is_told_by_boot_id_and_mark() {
        let trial = Operation {
            number: 3,
            verb: Verb::Trial,
            time: 0,
            boot_id: Some("one".into()),
            plan: Plan::default(),
            started: Vec::new(),
            kept: Vec::new(),
            made: Vec::new(),
            end: Some(journal::End::Applied),
        };
        for (boot_id, cmdline, expected) in [
            (Some("one\n"), Some("quiet\n"), State::Pending),
            (Some("two\n"), Some("quiet cede.trial=3\n"), State::Running),
            (Some("two\n"), Some("quiet cede.trial=30\n"), State::Over),
            (Some("two\n"), Some("quiet\n"), State::Over),
            (None, Some("quiet\n"), State::Unknown),
            (Some("two\n"), None, State::Unknown),
        ] {
            assert_eq!(state(&host(boot_id, cmdline), &trial), expected, "{boot_id:?} {cmdline:?}");
        }
    }
}
