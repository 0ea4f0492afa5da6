//! Undo is the next operation: a plan made from what the journal says that we did, and from the host as it is now.

use crate::bootloader;
use crate::digest::sha256;
use crate::journal::Operation;
use crate::parameter;
use crate::plan::{Condition, Expectation, Plan, RestsOn, Step, When};
use crate::verify::carries;
use cede_model::{Entry, Host};

/// A file that someone else changed since: three versions, and nothing is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The file.
    pub path: String,
    /// Before our change.
    pub before: Option<Vec<u8>>,
    /// As we left it.
    pub ours: Option<Vec<u8>>,
    /// As it is now.
    pub now: Option<Vec<u8>>,
}

/// The plan that takes an operation back. The host's capture must hold the files of its steps.
///
/// # Errors
/// Files that someone else changed since, or that cannot be read.
pub fn undo(host: &Host, operation: &Operation) -> Result<Plan, Vec<Conflict>> {
    let mut conflicts = Vec::new();
    let mut steps = Vec::new();
    let mut after_host = host.capture.clone();
    for step in operation.plan.steps.iter().rev() {
        let Step::ReplaceFile { path, before, after } = step else { continue };
        let now = host.capture.file(path).map(<[u8]>::to_vec);
        let unreadable = matches!(host.capture.get(path), Some(Entry::Unreadable(_) | Entry::Dir));
        if now == *before && !unreadable {
            continue;
        }
        if now != *after || unreadable {
            conflicts.push(Conflict { path: path.clone(), before: before.clone(), ours: after.clone(), now });
            continue;
        }
        after_host.insert(path.as_str(), before.clone().map_or(Entry::Absent, Entry::File));
        steps.push(Step::ReplaceFile { path: path.clone(), before: now, after: before.clone() });
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    // Also where the files are back already: images and menu may still hold what they said.
    steps.extend(operation.plan.steps.iter().filter(|step| step.path().is_none()).cloned());
    let files: Vec<Condition> = operation.plan.steps.iter().filter_map(file_condition).collect();
    let rests_on = files_rest_on(host, &steps);
    let mut expects: Vec<Expectation> = files.into_iter().map(Expectation::now).collect();
    expects.extend(images(operation).into_iter().map(|image| Expectation::now(Condition::ImageOpens { image })));
    expects.extend(crate::planner::menu_condition(host, &steps).map(Expectation::now));
    expects.extend(boot_conditions(&Host::from_capture(after_host), operation));
    expects.extend(
        operation
            .plan
            .devices
            .iter()
            .map(|device| Expectation::after_reboot(Condition::NotOn { device: device.clone(), driver: "vfio-pci".to_owned() })),
    );
    Ok(Plan { devices: operation.plan.devices.clone(), bind: operation.plan.bind, steps, expects, rests_on, ..Plan::default() })
}

/// The images that the operation's tools make.
fn images(operation: &Operation) -> Vec<String> {
    let mut list: Vec<String> =
        operation.plan.expects.iter().filter_map(|expectation| expectation.what.image().map(str::to_owned)).collect();
    list.dedup();
    list
}

/// Each file is to be as it was before the operation.
fn file_condition(step: &Step) -> Option<Condition> {
    match step {
        Step::ReplaceFile { path, before, .. } => Some(Condition::FileIs { path: path.clone(), sha256: before.as_deref().map(sha256) }),
        Step::RunTool { .. } => None,
    }
}

fn files_rest_on(host: &Host, steps: &[Step]) -> Vec<RestsOn> {
    let paths = steps.iter().filter_map(Step::path);
    paths.map(|path| RestsOn { path: path.to_owned(), sha256: host.capture.file(path).map(sha256) }).collect()
}

/// What the operation wanted of the boot entries, turned to what the files say once they are back: the user may have had a parameter all along.
fn boot_conditions(after: &Host, operation: &Operation) -> Vec<Expectation> {
    let words: Vec<String> =
        bootloader::find(after).map(|loader| loader.configured(after).into_iter().map(|word| word.text).collect()).unwrap_or_default();
    let turned = operation.plan.expects.iter().filter(|expectation| expectation.when == When::Now).filter_map(|expectation| {
        match &expectation.what {
            Condition::EntriesCarry { parameter } if words.iter().any(|word| carries(word, parameter)) => None,
            Condition::EntriesCarry { parameter } => Some(Condition::EntriesLack { parameter: parameter.clone() }),
            Condition::EntriesLack { parameter } if words.iter().any(|word| parameter::same(word, parameter)) => {
                Some(Condition::EntriesCarry { parameter: parameter.clone() })
            }
            _ => None,
        }
    });
    turned.map(Expectation::now).collect()
}
