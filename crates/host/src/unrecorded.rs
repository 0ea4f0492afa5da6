//! What an operation did and its journal does not tell any more.

use crate::machine::{Machine, content};
use cede_plan::journal::Operation;
use cede_plan::plan::Step;

/// The operation with the steps that it has done though its journal does not say so: no run leaves such a journal, but a disk may lose the end of
/// one. A file that is to the byte what was planned was written by it; which tools ran cannot be told then, so they run again.
pub(crate) fn added(machine: &dyn Machine, operation: &Operation) -> Operation {
    let is_written = |step: &Step| match step {
        Step::ReplaceFile { path, before, after } => before != after && content(machine, path) == *after,
        _ => false,
    };
    let steps = || operation.plan.steps.iter().enumerate().filter(|(index, _)| !operation.started.contains(index));
    let mut whole = operation.clone();
    let files = steps().filter(|(_, step)| is_written(step)).map(|(index, _)| index);
    whole.started.extend(files);
    if whole.started.len() > operation.started.len() {
        whole.started.extend(steps().filter(|(_, step)| step.argv().is_some()).map(|(index, _)| index));
    }
    whole
}
