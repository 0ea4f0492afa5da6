//! `cede confirm`: what a trial showed to work becomes the default, by the change that `cede apply` makes; then the trial is taken back.

use super::undo;
use super::verify::{boot_id, judge, operations, print_report};
use crate::cli::Global;
use crate::consent::{confirmed, require_root};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::operation_ui;
use crate::render::plan::print_plan;
use crate::source;
use crate::ui::{GOOD, Ui, paint};
use crate::view::operation::OperationView;
use cede_host::apply::Locked;
use cede_host::{Machine, Scope, observe};
use cede_model::Host;
use cede_model::pci::PciAddress;
use cede_plan::journal::{self, Operation, Verb};
use cede_plan::trial::{self, State};
use cede_plan::{Plan, planner};

/// Confirms the trial that is running.
///
/// # Errors
/// See the exit codes.
pub fn run(global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    if global.host.is_some() || global.root.is_some() {
        return Err(CommandError::usage("a trial is confirmed on the machine that runs it").hint("`sudo cede confirm` there"));
    }
    let root = source::open_root(global)?;
    require_root()?;
    operation_ui::answer("confirm", global.json, ui, |ui, view| show(&root, global.yes, ui, view))
}

/// Confirms the trial that a machine runs.
///
/// # Errors
/// See the exit codes.
fn show(machine: &dyn Machine, yes: bool, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    let host = Host::from_capture(observe(machine, Scope::Full));
    let list = operations(&host)?;
    if let Some(open) = journal::interrupted(&list, boot_id(&host)) {
        return Err(
            CommandError::new(Exit::Refused, format!("operation {} is neither done nor taken back", open.number)).hint("sudo cede recover")
        );
    }
    if let Some(trial) = trial::half_confirmed(&list) {
        let what = format!("operation {} is confirmed already, and its own files are still there", trial.number);
        return Err(CommandError::new(Exit::Refused, what).hint("sudo cede recover"));
    }
    let running = running(&host, &list)?;
    view.of = Some(running.number);
    let report = judge(&host, &list);
    if !report.passed() {
        print_report(ui, &report, &list, false)?;
        return Err(CommandError::new(Exit::Problems, format!("operation {} is not verified; nothing was changed", running.number))
            .hint("`cede check` looks for the cause; `cede undo` takes the trial back"));
    }
    let addresses: Vec<PciAddress> = running.plan.devices.iter().map(|device| device.address).collect();
    let plan = planner::plan_accepting(&host, &addresses, running.plan.bind, &running.plan.accepted);
    if !plan.refused.is_empty() {
        return operation_ui::refused(ui, &plan, view);
    }
    writeln!(ui.out(), "{}: operation {} did what was planned", paint(GOOD, "verified"), running.number)?;
    view.planned(&plan);
    print_plan(ui, &plan, false)?;
    if !yes && !confirmed(ui, "\nMake this the default, and take the trial's entry away?")? {
        return operation_ui::declined(ui, view);
    }
    let locked = Locked::take(machine).map_err(|error| operation_ui::failed(&error))?;
    make_default(&locked, &plan, ui, view)?;
    finish(&locked, &list, running, ui, view).map_err(|error| if plan.is_empty() { error } else { half(&error) })
}

/// Takes the trial back, once the change is the default.
///
/// # Errors
/// Those of an undo.
pub fn finish(
    locked: &Locked<'_>,
    list: &[Operation],
    trial: &Operation,
    ui: &mut Ui,
    view: &mut OperationView,
) -> Result<Exit, CommandError> {
    let back = undo::propose(locked.machine(), list, trial, ui, view)?;
    ui.flush()?;
    let applied = locked
        .apply(&back, Verb::Undo(trial.number), &mut |event| operation_ui::show(ui, &event))
        .map_err(|error| operation_ui::failed(&error))?;
    super::trial::ended(&applied, ui, view)?;
    writeln!(
        ui.out(),
        "{}: every start from now on is by the default entry, with the change\nNext: at the next start, `cede verify`",
        paint(GOOD, "confirmed")
    )?;
    view.next = Some("at the next start, `cede verify`".to_owned());
    Ok(Exit::Fine)
}

/// The first of the two operations stands, whatever became of the second.
fn half(error: &CommandError) -> CommandError {
    let what = format!("the change is the default now, and the trial's own files are still there: {}", error.message);
    let exit = if error.exit == Exit::PartlyChanged { error.exit } else { Exit::Problems };
    CommandError::new(exit, what).hint("sudo cede recover")
}

fn running<'a>(host: &Host, list: &'a [Operation]) -> Result<&'a Operation, CommandError> {
    let trial = trial::in_force(list).ok_or_else(|| {
        CommandError::new(Exit::Refused, "there is no trial to confirm")
            .hint("`cede apply ADDR --trial` makes one; `cede log` tells what was done")
    })?;
    let number = trial.number;
    let refused = |why: String, hint: &str| Err(CommandError::new(Exit::Refused, why).hint(hint));
    match trial::state(host, trial) {
        State::Running => Ok(trial),
        State::Pending if trial::is_by_hand(&trial.plan) => refused(
            format!("operation {number} waits to be picked as `{}` in the boot menu", trial::title(number)),
            "reboot, pick it there, then `cede verify`",
        ),
        State::Pending => refused(format!("operation {number} waits for the next start"), "reboot, then `cede verify`"),
        State::Over => refused(
            format!("this start is not the trial of operation {number}: {}", trial::why_over(host, trial)),
            "`cede undo` takes it back; then `cede apply ADDR --trial` tries again",
        ),
        State::Unknown => refused(format!("whether this start is the trial of operation {number} cannot be told"), "cat /proc/cmdline"),
    }
}

/// The change of the default entry, proved as always; while it is under way the trial stays as the way to this very start.
fn make_default(locked: &Locked<'_>, plan: &Plan, ui: &mut Ui, view: &mut OperationView) -> Result<(), CommandError> {
    if plan.is_empty() {
        return Ok(());
    }
    ui.flush()?;
    let applied =
        locked.apply(plan, Verb::Apply, &mut |event| operation_ui::show(ui, &event)).map_err(|error| operation_ui::failed(&error))?;
    operation_ui::finish(ui, &applied, "the trial's own files go", view).map(drop)
}
