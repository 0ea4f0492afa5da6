//! What a killed run leaves behind: files under temporary names, and copies that nobody needs any more.

use crate::machine::Machine;
use cede_plan::initramfs::mkinitcpio::builds::LENT;
use cede_plan::journal::{self, Operation};
use cede_plan::plan::{Plan, Step};

/// Takes away what lies among our own files: nobody else works on the host while the lock is held.
pub(crate) fn sweep_state(machine: &dyn Machine, operations: &[Operation]) {
    machine.sweep(&journal::path(0));
    machine.sweep(&format!("{}/0", journal::KEPT));
    remove(machine, LENT, |_| true);
    forget_copies(machine, |number| journal::interrupted(operations, None).is_none_or(|open| open.number != number));
}

/// Takes away what lies beside the files of a plan and beside those that its tools replaced.
pub(crate) fn sweep_beside(machine: &dyn Machine, plan: &Plan, kept: &[(String, Option<String>)]) {
    let files = plan.steps.iter().filter_map(Step::path);
    for path in files.chain(kept.iter().map(|(path, _)| path.as_str())) {
        machine.sweep(path);
    }
}

/// Removes the copies that were made for operations with such numbers. One that stays behind does no harm.
pub(crate) fn forget_copies(machine: &dyn Machine, of: impl Fn(u32) -> bool) {
    remove(machine, journal::KEPT, |name| name.split('-').next().and_then(|number| number.parse().ok()).is_some_and(&of));
}

/// Removes files of ours from a directory of ours.
fn remove(machine: &dyn Machine, directory: &str, which: impl Fn(&str) -> bool) {
    for name in machine.list(directory).unwrap_or_default().into_iter().filter(|name| which(name)) {
        let path = format!("{directory}/{name}");
        if let Ok(bytes) = machine.image(&path) {
            let _ = machine.replace(&path, Some(&bytes), None);
        }
    }
}
