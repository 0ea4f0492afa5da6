//! `cede apply`.

use super::plan::{acceptance, next_after_refusal, refuse_needless};
use super::verify::settled;
use crate::cli::{Global, WishArgs};
use crate::consent::{confirmed, require_root};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::operation_ui;
use crate::render::plan::print_plan;
use crate::render::table::wrapped;
use crate::source;
use crate::ui::Ui;
use crate::view::operation::OperationView;
use cede_host::apply::{apply, look};
use cede_host::{Machine, Scope, observe};
use cede_model::Host;
use cede_model::pci::PciAddress;
use cede_plan::journal::Verb;
use cede_plan::{Plan, Step, plan::format, planner};
use std::path::Path;

/// A plan holds a few configuration files.
const PLAN_LIMIT: u64 = 64 << 20;

/// Shows the change, asks, carries it out, proves it.
///
/// # Errors
/// See the exit codes.
pub fn run(wish: &WishArgs, file: Option<&Path>, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    operation_ui::answer("apply", global.json, ui, |ui, view| go(wish, file, global, ui, view))
}

fn go(wish: &WishArgs, file: Option<&Path>, global: &Global, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    let root = source::open_to_change(global)?;
    settled(&root, global)?;
    let plan = match file {
        Some(path) => saved(&root, path)?,
        None => make(&root, wish)?,
    };
    if !plan.refused.is_empty() {
        operation_ui::refused(ui, &plan, view)?;
        if let Some(losses) = acceptance(&plan).filter(|_| file.is_none()) {
            next_after_refusal(ui, wish, &losses, global)?;
        }
        return Ok(Exit::Refused);
    }
    view.planned(&plan);
    print_plan(ui, &plan, global.verbose)?;
    if plan.is_empty() {
        if let Some(why) = root.no_tools() {
            wrapped(ui.out(), "The images and the menu were not looked at: ", &why, None)?;
        }
        return Ok(Exit::Fine);
    }
    require_root()?;
    super::trial::refuse_in_force(&root)?;
    if !global.yes && !confirmed(ui, "\nWrite these changes?")? {
        return operation_ui::declined(ui, view);
    }
    carry_out(&root, &plan, ui, view)
}

/// Carries a plan out and shows how it goes.
///
/// # Errors
/// See [`cede_host::apply::ApplyError`].
pub fn carry_out(machine: &dyn Machine, plan: &Plan, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    ui.flush()?;
    let applied =
        apply(machine, plan, Verb::Apply, &mut |event| operation_ui::show(ui, &event)).map_err(|error| operation_ui::failed(&error))?;
    operation_ui::finish(ui, &applied, "reboot, then `cede verify`", view)
}

/// The plan; where no file needs changing, the generated images are opened too, for right files alone are not enough.
///
/// # Errors
/// No address was given.
pub fn make(machine: &dyn Machine, wish: &WishArgs) -> Result<Plan, CommandError> {
    if wish.addresses.is_empty() {
        return Err(CommandError::usage("no device was named").hint("`cede status` shows what can be ceded; then `cede apply ADDR`"));
    }
    let host = Host::from_capture(observe(machine, Scope::Full));
    let plan = planner::plan_accepting(&host, &wish.addresses, wish.bind.into(), &wish.accepted);
    refuse_needless(&plan, wish)?;
    Ok(look_again(machine, plan, &wish.addresses))
}

/// A plan that makes no image anew is made again from a look into the images: they may lack what the files say.
pub fn look_again(machine: &dyn Machine, plan: Plan, addresses: &[PciAddress]) -> Plan {
    let makes_images =
        plan.steps.iter().filter_map(Step::argv).flatten().any(|word| word.contains("initramfs") || word.contains("mkinitcpio"));
    if plan.refused.is_empty() && !makes_images && machine.runs_tools() && rustix::process::geteuid().is_root() {
        return planner::plan_proved(&look(machine, &plan.expects), addresses, plan.bind, &plan.accepted);
    }
    plan
}

/// A saved plan, if this host would still make the same one: a plan from a file is no way around the guards.
fn saved(machine: &dyn Machine, path: &Path) -> Result<Plan, CommandError> {
    let shown = path.display();
    let size = std::fs::metadata(path).map_err(|error| CommandError::usage(format!("{shown}: {error}")))?;
    if !size.is_file() || size.len() > PLAN_LIMIT {
        return Err(CommandError::usage(format!("{shown}: not a plan")).hint("make one with `cede plan ADDR --out FILE`"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| CommandError::usage(format!("{shown}: {error}")))?;
    let plan = format::parse(&text).map_err(|error| CommandError::usage(format!("{shown}: {error}")))?;
    let addresses: Vec<PciAddress> = plan.devices.iter().map(|identity| identity.address).collect();
    let now = planner::plan_accepting(&Host::from_capture(observe(machine, Scope::Full)), &addresses, plan.bind, &plan.accepted);
    if !now.refused.is_empty() {
        return Ok(now);
    }
    let changed = plan.rests_on.iter().find(|fact| now.rests_on.iter().any(|other| other.path == fact.path && other.sha256 != fact.sha256));
    let same = now.devices.len() == plan.devices.len() && now.devices.iter().zip(&plan.devices).all(|(one, other)| one.agrees(other));
    if now.steps != plan.steps || !same {
        let what = changed.map_or_else(
            || format!("{shown} is not the plan that this host needs now"),
            |fact| format!("{} changed since the plan was made", fact.path),
        );
        return Err(
            CommandError::new(Exit::Changed, format!("{what}; nothing was changed")).hint("make a new plan: `cede plan ADDR --out FILE`")
        );
    }
    Ok(now)
}
