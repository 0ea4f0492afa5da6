//! `cede plan`.

use crate::cli::{BindArg, Global, WishArgs, quoted};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::plan::{print_plan, print_refusals};
use crate::source;
use crate::ui::Ui;
use cede_host::Scope;
use cede_plan::{Plan, plan::format, planner};
use std::path::Path;

/// Shows the change; saves it where asked.
///
/// # Errors
/// The host cannot be read, or the plan cannot be saved.
pub fn run(wish: &WishArgs, file: Option<&Path>, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let plan = make(wish, global)?;
    if let Some(path) = file.filter(|_| plan.refused.is_empty()) {
        std::fs::write(path, format::render(&plan)).map_err(|error| CommandError::usage(format!("{}: {error}", path.display())))?;
    }
    if global.json {
        ui.out().write_all(format::render(&plan).as_bytes())?;
    } else if plan.refused.is_empty() {
        print_plan(ui, &plan, global.verbose)?;
        next(ui, &plan, wish, file, global)?;
    } else {
        print_refusals(ui, &plan)?;
    }
    Ok(if plan.refused.is_empty() { Exit::Fine } else { Exit::Refused })
}

/// Makes the plan from the arguments.
///
/// # Errors
/// No address was given, or the host cannot be read.
pub fn make(wish: &WishArgs, global: &Global) -> Result<Plan, CommandError> {
    if wish.addresses.is_empty() {
        return Err(CommandError::usage("no device was named").hint("`cede status` shows what can be ceded; then `cede plan ADDR`"));
    }
    let host = source::load(global, Scope::Full)?;
    Ok(planner::plan(&host, &wish.addresses, wish.bind.into()))
}

fn next(ui: &mut Ui, plan: &Plan, wish: &WishArgs, file: Option<&Path>, global: &Global) -> Result<(), CommandError> {
    if plan.is_empty() {
        return Ok(());
    }
    let verb = match file {
        Some(path) => format!("apply --plan {}", quoted(&path.to_string_lossy())),
        None => {
            let mut addresses: Vec<String> = wish.addresses.iter().map(ToString::to_string).collect();
            addresses.dedup();
            let bind = if matches!(wish.bind, BindArg::Modprobe) { " --bind modprobe" } else { "" };
            format!("apply {}{bind}", addresses.join(" "))
        }
    };
    Ok(writeln!(ui.out(), "\nNext: {}", global.command(&verb, true))?)
}
