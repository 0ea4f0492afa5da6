//! `cede redo`.

use super::apply::look_again;
use super::verify::settled;
use crate::cli::Global;
use crate::consent::{confirmed, require_root};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::operation_ui;
use crate::operation_ui::nothing;
use crate::render::plan::print_plan;
use crate::source;
use crate::ui::Ui;
use crate::view::operation::OperationView;
use cede_host::apply::apply;
use cede_host::{Machine, Scope, observe};
use cede_model::Host;
use cede_plan::journal::{Operation, Verb};
use cede_plan::{Plan, planner, redo};

/// Brings the operation that was undone last back: shows the diff, asks, writes, regenerates, proves.
///
/// # Errors
/// See the exit codes.
pub fn run(global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    operation_ui::answer("redo", global.json, ui, |ui, view| go(global, ui, view))
}

fn go(global: &Global, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    let root = source::open_to_change(global)?;
    let list = settled(&root, global)?;
    let host = Host::from_capture(observe(&root, Scope::Full));
    let Some(operation) = redo::last_undone(&list) else {
        return nothing(ui, "no operation was undone; `cede log` shows what was done");
    };
    let addresses = redo::addresses(operation);
    let plan = planner::plan_accepting(&host, &addresses, operation.plan.bind, &operation.plan.accepted);
    let plan = look_again(&root, plan, &addresses);
    if !plan.refused.is_empty() {
        return operation_ui::refused(ui, &plan, view);
    }
    if let Some(trouble) = redo::trouble(&host, operation, &plan) {
        return Err(CommandError::new(Exit::Refused, format!("operation {} cannot come back: {trouble}", operation.number))
            .hint("plan it anew: `cede status` shows what can be ceded"));
    }
    view.of = Some(operation.number);
    view.planned(&plan);
    print_plan(ui, &plan, global.verbose)?;
    if plan.is_empty() {
        return Ok(Exit::Fine);
    }
    require_root()?;
    super::trial::refuse_in_force(&root)?;
    if !global.yes && !confirmed(ui, "\nWrite these changes?")? {
        return operation_ui::declined(ui, view);
    }
    carry_out(&root, operation, &plan, ui, view)
}

/// Carries a redo out and shows how it goes.
fn carry_out(
    machine: &dyn Machine,
    operation: &Operation,
    plan: &Plan,
    ui: &mut Ui,
    view: &mut OperationView,
) -> Result<Exit, CommandError> {
    ui.flush()?;
    let applied = apply(machine, plan, Verb::Redo(operation.number), &mut |event| operation_ui::show(ui, &event))
        .map_err(|error| operation_ui::failed(&error))?;
    operation_ui::finish(ui, &applied, "reboot, then `cede verify`", view)
}
