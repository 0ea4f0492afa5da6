//! Redo brings back the operation that was undone last. It is planned anew for the host as it is now, from the recorded intent.

use crate::journal::{End, Operation, Verb};
use crate::plan::Plan;
use cede_model::Host;
use cede_model::pci::PciAddress;

/// The operation that was undone last and not brought back since.
pub fn last_undone(operations: &[Operation]) -> Option<&Operation> {
    // A trial is made anew, and so is what lasts until the next start; they are not brought back.
    let is_trial =
        |number: u32| operations.iter().any(|other| other.number == number && (other.verb.is_apart() || other.plan.is_runtime()));
    let done = |operation: &&Operation| operation.end == Some(End::Applied);
    let undone = operations.iter().rev().filter(done).find_map(|operation| match operation.verb {
        Verb::Undo(number) if !is_trial(number) && !operations.iter().filter(done).any(|other| other.verb == Verb::Redo(number)) => {
            Some(number)
        }
        _ => None,
    })?;
    operations.iter().find(|operation| operation.number == undone)
}

/// The functions that the operation ceded.
pub fn addresses(operation: &Operation) -> Vec<PciAddress> {
    operation.plan.devices.iter().map(|device| device.address).collect()
}

/// Why the operation cannot come back as it was: another device is there, or its group is another. `plan` is the plan for the same functions now.
pub fn trouble(host: &Host, operation: &Operation, plan: &Plan) -> Option<String> {
    for wanted in &operation.plan.devices {
        match host.device(wanted.address) {
            None => return Some(format!("there is no device at {} any more", wanted.address)),
            Some(device) if !wanted.matches(device) => {
                return Some(format!("{} holds another device now than the one that was ceded ({wanted})", wanted.address));
            }
            Some(_) => {}
        }
    }
    let new = plan.devices.iter().find(|device| !operation.plan.devices.iter().any(|other| other.address == device.address))?;
    Some(format!("{new} is in the same group now and was not ceded before"))
}
