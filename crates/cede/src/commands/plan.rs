//! `cede plan`.

use crate::cli::{Global, WishArgs};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::plan::{print_plan, print_refusals};
use crate::source;
use crate::ui::Ui;
use cede_host::Scope;
use cede_plan::guard::Loss;
use cede_plan::shell_word::quoted;
use cede_plan::{Plan, plan::format, planner};
use std::collections::BTreeSet;
use std::io::Write;
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
        ui.document().write_all(format::render(&plan).as_bytes())?;
    } else if plan.refused.is_empty() {
        print_plan(ui, &plan, global.verbose)?;
        next(ui, &plan, wish, file, global)?;
    } else {
        print_refusals(ui, &plan)?;
        if let Some(losses) = acceptance(&plan) {
            next_after_refusal(ui, wish, &losses, global)?;
        }
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
    let plan = planner::plan_accepting(&host, &wish.addresses, wish.bind.into(), &wish.accepted);
    refuse_needless(&plan, wish)?;
    Ok(plan)
}

/// Who accepts a loss must know what is lost: a name of something that stays is a mistake.
///
/// # Errors
/// Something was accepted that the plan does not lose.
pub fn refuse_needless(plan: &Plan, wish: &WishArgs) -> Result<(), CommandError> {
    let needless: Vec<&str> = wish.accepted.iter().copied().filter(|loss| !plan.accepted.contains(loss)).map(Loss::id).collect();
    let is_judged = !plan.is_empty() && plan.refused.iter().all(|refusal| Loss::parse(refusal.id).is_some());
    if needless.is_empty() || !is_judged {
        return Ok(());
    }
    let real: Vec<&str> = plan.accepted.iter().map(|loss| loss.id()).chain(plan.refused.iter().map(|refusal| refusal.id)).collect();
    let lost = if real.is_empty() { "nothing is lost with it".to_owned() } else { format!("what is lost: {}", real.join(", ")) };
    Err(CommandError::usage(format!("--accept-loss {}: the host does not lose that with this plan", needless.join(", ")))
        .hint(format!("{lost}; leave the name out")))
}

/// The same command with what it was refused for accepted, where all of it can be.
pub fn acceptance(plan: &Plan) -> Option<String> {
    let refused: BTreeSet<Loss> = plan.refused.iter().map(|refusal| Loss::parse(refusal.id)).collect::<Option<_>>()?;
    let all: BTreeSet<Loss> = refused.into_iter().chain(plan.accepted.iter().copied()).collect();
    Some(all.into_iter().map(|loss| format!(" --accept-loss {}", loss.id())).collect())
}

/// There is a way on for those who give up exactly that.
///
/// # Errors
/// Those of the stream.
pub fn next_after_refusal(ui: &mut Ui, wish: &WishArgs, losses: &str, global: &Global) -> Result<(), CommandError> {
    let command = global.command(&format!("plan {}{losses}", wish.words()), false);
    Ok(writeln!(ui.out(), "\nNext: choose another device; or, to lose exactly this:\n  {command}")?)
}

fn next(ui: &mut Ui, plan: &Plan, wish: &WishArgs, file: Option<&Path>, global: &Global) -> Result<(), CommandError> {
    if plan.is_empty() {
        // The files were looked at, and not what was made of them.
        return Ok(writeln!(ui.out(), "\nNext: {}", global.command("verify", true))?);
    }
    let verb = match file {
        Some(path) => format!("apply --plan {}", quoted(&path.to_string_lossy())),
        None => format!("apply {}{}", wish.words(), acceptance(plan).unwrap_or_default()),
    };
    Ok(writeln!(ui.out(), "\nNext: {}", global.command(&verb, true))?)
}
