//! `cede undo`.

use super::verify::{boot_id, settled};
use crate::cli::Global;
use crate::consent::{confirmed, require_root};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::operation_ui;
use crate::operation_ui::nothing;
use crate::render::conflict::print_conflicts;
use crate::render::plan::{print_notes, print_steps};
use crate::source;
use crate::ui::{HEADING, Ui, paint};
use crate::view::operation::OperationView;
use cede_host::Machine;
use cede_host::apply::{apply, look_at_files};
use cede_host::observe;
use cede_model::Host;
use cede_plan::Plan;
use cede_plan::journal::{self, Operation, Verb};
use cede_plan::runtime;
use cede_plan::undo::{CannotUndo, undo};

/// Takes an operation back: shows the diff, asks, brings the files back, regenerates.
///
/// # Errors
/// See the exit codes.
pub fn run(number: Option<u32>, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    operation_ui::answer("undo", global.json, ui, |ui, view| go(number, global, ui, view))
}

fn go(number: Option<u32>, global: &Global, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    let root = source::open_to_change(global)?;
    let list = settled(&root, global)?;
    let host = Host::from_capture(observe::journal(&root));
    let Some(operation) = choose(&list, number, boot_id(&host))? else {
        return nothing(ui, "no operation is in force; `cede log` shows what was done");
    };
    view.of = Some(operation.number);
    if operation.plan.is_runtime() {
        return super::bind::undo(operation, global, ui, view);
    }
    let plan = propose(&root, &list, operation, ui, view)?;
    require_root()?;
    if !global.yes && !confirmed(ui, "\nBring these files back?")? {
        return operation_ui::declined(ui, view);
    }
    carry_out(&root, operation, &plan, ui, view)
}

/// Shows what taking an operation back means.
///
/// # Errors
/// A conflict, after it was shown; those of the stream.
pub fn propose(
    machine: &dyn Machine,
    operations: &[Operation],
    operation: &Operation,
    ui: &mut Ui,
    view: &mut OperationView,
) -> Result<Plan, CommandError> {
    let plan = undo(&look_at_files(machine, operations), operations, operation).map_err(|trouble| refuse(ui, operation, &trouble))?;
    view.planned(&plan);
    writeln!(ui.out(), "{} operation {}", paint(HEADING, "Undo"), operation.number)?;
    print_notes(ui, &plan.notes)?;
    print_steps(ui, &plan.steps)?;
    Ok(plan)
}

/// Carries an undo out and shows how it goes.
///
/// # Errors
/// See [`cede_host::apply::ApplyError`].
pub fn carry_out(
    machine: &dyn Machine,
    operation: &Operation,
    plan: &Plan,
    ui: &mut Ui,
    view: &mut OperationView,
) -> Result<Exit, CommandError> {
    ui.flush()?;
    let applied = apply(machine, plan, Verb::Undo(operation.number), &mut |event| operation_ui::show(ui, &event))
        .map_err(|error| operation_ui::failed(&error))?;
    if operation.verb == Verb::Trial {
        return super::trial::ended(&applied, ui, view);
    }
    if operation.verb == Verb::Hook {
        return super::hook::ended(&applied, ui, view);
    }
    if operation.verb == Verb::Persist {
        return super::persist::ended(operation, &applied, ui, view);
    }
    operation_ui::finish(ui, &applied, "reboot, and the devices are the host's again; `cede verify` tells", view)
}

fn choose<'o>(list: &'o [Operation], number: Option<u32>, boot_id: Option<&str>) -> Result<Option<&'o Operation>, CommandError> {
    let in_force = |operation: &&Operation| journal::in_force(list, operation) || runtime::in_force(list, operation, boot_id);
    let Some(number) = number else { return Ok(list.iter().rev().find(in_force)) };
    match list.iter().find(|operation| operation.number == number) {
        None => Err(CommandError::usage(format!("there is no operation {number}")).hint("`cede log` lists them")),
        Some(operation) if in_force(&operation) => Ok(Some(operation)),
        Some(_) => Err(CommandError::usage(format!(
            "operation {number} is not in force: it was undone, released, rolled back, or is an undo itself"
        ))
        .hint("`cede log` tells")),
    }
}

/// Shows why nothing was written.
fn refuse(ui: &mut Ui, operation: &Operation, trouble: &CannotUndo) -> CommandError {
    match trouble {
        CannotUndo::Conflicts(conflicts) => {
            if let Err(error) = print_conflicts(ui, conflicts) {
                return error;
            }
            let paths = conflicts.iter().map(|conflict| conflict.path.as_str()).collect::<Vec<_>>().join(", ");
            let mut error = CommandError::new(Exit::Refused, format!("{paths}: others changed what cede changed; nothing was written"))
                .hint(format!(
                    "bring those lines by hand to what they are to be without cede, then `cede undo {}` again",
                    operation.number
                ));
            error.conflicts.clone_from(conflicts);
            error
        }
        CannotUndo::Needed { by, why } => {
            let why = why.iter().map(|refusal| refusal.message.as_str()).collect::<Vec<_>>().join("; ");
            let number = operation.number;
            CommandError::new(
                Exit::Refused,
                format!(
                    "operation {by} may rest on operation {number}, and what it needs cannot be planned anew: {why}; nothing was written"
                ),
            )
            .hint(format!("`cede undo {by}` first, then `cede undo {number}`"))
        }
    }
}
