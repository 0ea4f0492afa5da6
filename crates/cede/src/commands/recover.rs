//! `cede recover`.

use super::confirm;
use super::verify::{boot_id, operations};
use crate::cli::Global;
use crate::consent::require_root;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::operation_ui;
use crate::operation_ui::nothing;
use crate::source;
use crate::ui::{GOOD, Ui, paint};
use crate::view::operation::OperationView;
use cede_host::apply::{Locked, recover};
use cede_host::observe;
use cede_model::Host;
use cede_plan::{runtime, trial};

/// Takes back what an interrupted operation did; a confirmation whose change is made and proved is carried to its end instead.
///
/// # Errors
/// See the exit codes.
pub fn run(global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    operation_ui::answer("recover", global.json, ui, |ui, view| go(global, ui, view))
}

fn go(global: &Global, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    let root = source::open_to_change(global)?;
    let host = Host::from_capture(observe::journal(&root));
    operations(&host)?;
    require_root()?;
    let rolled_back = recover(&root, &mut |event| operation_ui::show(ui, &event)).map_err(|error| operation_ui::failed(&error))?;
    let list = operations(&Host::from_capture(observe::journal(&root)))?;
    if let Some(trial) = trial::half_confirmed(&list) {
        view.operations.extend(rolled_back);
        let locked = Locked::take(&root).map_err(|error| operation_ui::failed(&error))?;
        return confirm::finish(&locked, &list, trial, ui, view);
    }
    match rolled_back {
        None => match list.iter().rfind(|operation| operation.end.is_none() && runtime::is_void(operation, boot_id(&host))) {
            Some(void) => nothing(ui, &format!("operation {} was interrupted before the reboot, which left nothing of it", void.number)),
            None => nothing(ui, "no operation was interrupted"),
        },
        Some(number) => {
            (view.state, view.operations) = ("rolled_back", vec![number]);
            let was_runtime = list.iter().any(|operation| operation.number == number && operation.plan.is_runtime());
            let what = if was_runtime { "every function has the driver that it had before" } else { "every file is as it was before it" };
            writeln!(ui.out(), "{} operation {number}: {what}", paint(GOOD, "rolled back"))?;
            Ok(Exit::Fine)
        }
    }
}
