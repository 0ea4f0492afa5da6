//! `cede apply --trial`.

use super::verify::operations;
use crate::cli::{Global, TrialArgs, WishArgs};
use crate::consent::{confirmed, require_root};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::operation_ui;
use crate::render::plan::print_plan;
use crate::source;
use crate::ui::{GOOD, Ui, paint};
use crate::view::operation::OperationView;
use cede_host::apply::{Applied, apply};
use cede_host::{Machine, Scope, observe};
use cede_model::Host;
use cede_plan::Plan;
use cede_plan::journal::Verb;
use cede_plan::trial::{self, TrialWish};

/// Shows the change for one start, asks, carries it out, proves it.
///
/// # Errors
/// See the exit codes.
pub fn run(wish: &WishArgs, args: &TrialArgs, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    operation_ui::answer("trial", global.json, ui, |ui, view| go(wish, args, global, ui, view))
}

fn go(wish: &WishArgs, args: &TrialArgs, global: &Global, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    if global.host.is_some() || global.root.is_some() {
        return Err(CommandError::usage("a trial is for the machine that it is asked on").hint("`cede plan ADDR` shows the whole change"));
    }
    if wish.addresses.is_empty() {
        return Err(
            CommandError::usage("no device was named").hint("`cede status` shows what can be ceded; then `cede apply ADDR --trial`")
        );
    }
    let root = source::open_root(global)?;
    // The trial bears its number, which is in the journal, for root alone.
    require_root()?;
    let host = Host::from_capture(observe(&root, Scope::Full));
    let plan = trial::plan::plan(&host, &wish.addresses, wish.bind.into(), &wishes(wish, args)?);
    if !plan.refused.is_empty() {
        return operation_ui::refused(ui, &plan, view);
    }
    view.planned(&plan);
    print_plan(ui, &plan, global.verbose)?;
    if !global.yes && !confirmed(ui, "\nWrite these changes?")? {
        return operation_ui::declined(ui, view);
    }
    carry_out(&root, &plan, ui, view)
}

fn wishes(wish: &WishArgs, args: &TrialArgs) -> Result<TrialWish, CommandError> {
    let program = || {
        let path = std::env::current_exe().map_err(|error| CommandError::unreadable(format!("the path of cede itself: {error}")))?;
        Ok::<_, CommandError>(path.to_string_lossy().into_owned())
    };
    let confirm_by = args.confirm_service.then(program).transpose()?;
    Ok(TrialWish { accepted: wish.accepted.clone(), by_hand: args.by_hand, confirm_by, watchdog: args.watchdog })
}

/// Carries the plan of a trial out and shows how it goes.
///
/// # Errors
/// See [`cede_host::apply::ApplyError`].
fn carry_out(machine: &dyn Machine, plan: &Plan, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    ui.flush()?;
    let applied =
        apply(machine, plan, Verb::Trial, &mut |event| operation_ui::show(ui, &event)).map_err(|error| operation_ui::failed(&error))?;
    let next = match trial::is_by_hand(plan) {
        true => format!("reboot, pick `{}` in the menu, then `cede verify` and `cede confirm`", trial::title(applied.number)),
        false => "reboot into the trial, then `cede verify` and `cede confirm`".to_owned(),
    };
    operation_ui::finish(ui, &applied, &next, view)
}

/// The end of an operation that took a trial back.
///
/// # Errors
/// Those of the stream.
pub fn ended(applied: &Applied, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    view.applied(applied, "nothing more: no trial is left");
    let number = applied.number;
    writeln!(
        ui.out(),
        "\n{} (operation {number}): its entry, its images and the choice for the next start are gone",
        paint(GOOD, "no trial is left")
    )?;
    Ok(Exit::Fine)
}

/// Only one of a trial and another change is under way.
///
/// # Errors
/// A trial is in force.
pub fn refuse_in_force(machine: &dyn Machine) -> Result<(), CommandError> {
    let list = operations(&Host::from_capture(observe(machine, Scope::Full)))?;
    match trial::in_force(&list) {
        None => Ok(()),
        Some(trial) => Err(CommandError::new(
            Exit::Refused,
            format!("operation {} is a trial that is neither confirmed nor taken back; nothing was changed", trial.number),
        )
        .hint("`cede confirm` makes it the default, `cede undo` takes it back")),
    }
}
