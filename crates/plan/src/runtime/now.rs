//! What the host would lose this instant, and may not by anybody's leave: a disk in use is first to be let go of.

use crate::group_choice::Choice;
use crate::guard::{self, Loss};
use crate::plan::{Plan, Refusal};
use cede_model::uses::storage::BOOT;
use cede_model::{Entry, Host};

/// What a plan for the next start may give up, but no driver is taken from while it is used.
const IN_USE: [Loss; 7] =
    [Loss::RootDisk, Loss::BootDisk, Loss::MountedDisk, Loss::Swap, Loss::Redundancy, Loss::UnseenStorage, Loss::NetworkStorage];

/// True for a refusal that its owner may take upon himself by name.
pub fn may_accept(id: &str) -> bool {
    Loss::parse(id).is_some_and(|loss| !IN_USE.contains(&loss))
}

/// Refuses what is lost and was not, or cannot be, accepted; of what was accepted, the plan keeps what is lost, and says so.
pub(super) fn guard(host: &Host, choice: &Choice, plan: &mut Plan) -> Vec<Refusal> {
    let losses = guard::losses_now(&without_later_mounts(host), &choice.ceded);
    plan.accepted.retain(|loss| !IN_USE.contains(loss) && losses.iter().any(|lost| lost.loss == *loss));
    let (given_up, open): (Vec<_>, Vec<_>) = losses.into_iter().partition(|lost| plan.accepted.contains(&lost.loss));
    plan.notes.extend(given_up.into_iter().map(|lost| format!("lost, as accepted ({}): {}", lost.loss.id(), lost.way)));
    open.into_iter().map(Refusal::from).collect()
}

/// What the next start mounts is there again by then.
fn without_later_mounts(host: &Host) -> Host {
    const TABLE: &str = "/etc/fstab";
    let Some(text) = host.capture.file(TABLE) else { return host.clone() };
    let is_boot = |line: &&[u8]| {
        let place = String::from_utf8_lossy(line).split_whitespace().nth(1).unwrap_or_default().trim_end_matches('/').to_owned();
        BOOT.contains(&place.as_str())
    };
    let kept: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').filter(is_boot).collect();
    let mut host = host.clone();
    host.capture.insert(TABLE, Entry::File(kept.concat()));
    host
}
