//! Taking back what has files of its own: a hook and a unit theirs, a trial also its image, and the choice for the next start where it still waits. No
//! tool makes anything anew.

use super::{Conflict, history};
use crate::digest::sha256;
use crate::journal::{Operation, Verb};
use crate::plan::{Condition, Expectation, Plan, RestsOn, Step};
use crate::trial::{self, once};
use cede_model::{Entry, Host};

/// First the choice, so that no start finds half of the rest.
pub(super) fn undo(host: &Host, operation: &Operation) -> Result<Plan, Vec<Conflict>> {
    // The files of a hook or a unit go whatever became of the functions.
    let devices = if operation.verb == Verb::Trial { operation.plan.devices.clone() } else { Vec::new() };
    let mut plan = Plan { devices, bind: operation.plan.bind, ..Plan::default() };
    let steps = || operation.plan.steps.iter().rev();
    plan.steps.extend(steps().filter_map(|step| match step {
        Step::ReplaceFile { path, before, .. } if once::is_choice(path) => once::back(path, host.capture.file(path), before.as_deref()),
        _ => None,
    }));
    let mut conflicts = Vec::new();
    for path in steps().filter_map(Step::path).filter(|path| !once::is_choice(path)) {
        match file_back(host, operation, path) {
            Ok(step) => {
                let digest = step.as_ref().map_or_else(|| host.capture.file(path), |step| after(step)).map(sha256);
                plan.expects.push(Expectation::now(Condition::FileIs { path: path.to_owned(), sha256: digest }));
                plan.steps.extend(step);
            }
            Err(conflict) => conflicts.push(*conflict),
        }
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    let rests_on = |path: &str| RestsOn { path: path.to_owned(), sha256: host.capture.file(path).map(sha256) };
    plan.rests_on = plan.steps.iter().filter_map(Step::path).map(rests_on).collect();
    let chosen = plan.steps.iter().filter(|step| step.path().is_some_and(once::is_choice));
    let chosen: Vec<Condition> =
        chosen.filter_map(|step| Some(Condition::FileIs { path: step.path()?.to_owned(), sha256: after(step).map(sha256) })).collect();
    plan.expects.extend(chosen.into_iter().map(Expectation::now));
    for path in trial::made(operation) {
        plan.expects.push(Expectation::now(Condition::FileIs { path: path.clone(), sha256: None }));
        if host.capture.is_there(&path) {
            plan.steps.push(Step::RemoveImage { path });
        }
    }
    Ok(plan)
}

/// The step that leaves of a file what others made of it.
fn file_back(host: &Host, operation: &Operation, path: &str) -> Result<Option<Step>, Box<Conflict>> {
    let changes = history::changes(&[operation], path);
    let now = host.capture.file(path).map(<[u8]>::to_vec);
    let ours = changes.last().and_then(|change| change.after).map(<[u8]>::to_vec);
    let conflict =
        |before, clash, trouble| Box::new(Conflict { path: path.to_owned(), before, ours: ours.clone(), now: now.clone(), clash, trouble });
    if let Some(Entry::Unreadable(why)) = host.capture.get(path) {
        return Err(conflict(None, None, Some(format!("it cannot be read ({why})"))));
    }
    let after = history::without(path, &changes, now.as_deref()).map_err(|trouble| conflict(trouble.clean, Some(trouble.clash), None))?;
    Ok((now != after).then(|| Step::ReplaceFile { path: path.to_owned(), before: now.clone(), after }))
}

fn after(step: &Step) -> Option<&[u8]> {
    if let Step::ReplaceFile { after, .. } = step { after.as_deref() } else { None }
}
