//! `cede recover`.

use super::confirm;
use super::verify::operations;
use crate::cli::Global;
use crate::consent::require_root;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::operation_ui;
use crate::operation_ui::nothing;
use crate::source;
use crate::ui::{GOOD, Ui, paint};
use crate::view::operation::OperationView;
use cede_host::apply::recover;
use cede_host::observe;
use cede_model::Host;
use cede_plan::trial;

/// Takes back what an interrupted operation did; a confirmation whose change is made and proved is carried to its end instead.
///
/// # Errors
/// See the exit codes.
pub fn run(global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    operation_ui::answer("recover", global.json, ui, |ui, view| go(global, ui, view))
}

fn go(global: &Global, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    let root = source::open_to_change(global)?;
    operations(&Host::from_capture(observe::journal(&root)))?;
    require_root()?;
    let rolled_back = recover(&root, &mut |event| operation_ui::show(ui, &event)).map_err(|error| operation_ui::failed(&error))?;
    let list = operations(&Host::from_capture(observe::journal(&root)))?;
    if let Some(trial) = trial::half_confirmed(&list) {
        view.operations.extend(rolled_back);
        return confirm::finish(&root, &list, trial, ui, view);
    }
    match rolled_back {
        None => nothing(ui, "no operation was interrupted"),
        Some(number) => {
            (view.state, view.operations) = ("rolled_back", vec![number]);
            writeln!(ui.out(), "{} operation {number}: every file is as it was before it", paint(GOOD, "rolled back"))?;
            Ok(Exit::Fine)
        }
    }
}
