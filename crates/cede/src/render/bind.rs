//! What is done to the running system, for people: each function with its way, who is in the way, what came of it.

use super::plan::{print_notes, print_steps};
use super::table::{Table, counted, wrapped};
use crate::error::CommandError;
use crate::ui::{BAD, GOOD, HEADING, Ui, paint};
use cede_plan::Plan;
use cede_plan::plan::Condition;
use cede_plan::runtime::{Draft, Move, moves, virtual_wanted};

/// Prints each function with its way; with `verbose` every write.
///
/// # Errors
/// Those of the stream.
pub fn print_ways(ui: &mut Ui, title: &str, plan: &Plan, verbose: bool) -> Result<(), CommandError> {
    let width = ui.width();
    writeln!(ui.out(), "{} {}, without a reboot", paint(HEADING, title), counted(plan.devices.len(), "function"))?;
    let mut table = Table::new(2, 1);
    let ways = moves(&plan.steps);
    let virtuals = virtual_wanted(plan);
    for device in &plan.devices {
        let way = ways.iter().find(|way| way.address == device.address);
        let what = match (way, virtuals) {
            (Some(way), _) => arrow(way),
            (None, Some((physical, count))) if physical == device.address => {
                counted(usize::try_from(count).unwrap_or(usize::MAX), "virtual function")
            }
            (None, Some(_)) => "goes away".to_owned(),
            (None, None) => "stays as it is".to_owned(),
        };
        table.row([&device.address.to_string(), &device.id.to_string(), &what]);
    }
    table.print(ui.out(), width)?;
    print_notes(ui, &plan.notes)?;
    if verbose {
        print_steps(ui, &plan.steps)?;
    }
    Ok(())
}

fn arrow(way: &Move) -> String {
    let name = |driver: &Option<String>| driver.clone().unwrap_or_else(|| "no driver".to_owned());
    format!("{} → {}", name(&way.from.driver), name(&way.to.driver))
}

/// Prints what is in the way.
///
/// # Errors
/// Those of the stream.
pub fn print_refused(ui: &mut Ui, draft: &Draft) -> Result<(), CommandError> {
    let width = ui.width();
    let out = ui.out();
    writeln!(out, "{}", paint(BAD, "refused: nothing was changed"))?;
    for refusal in &draft.plan.refused {
        wrapped(out, "  ", &refusal.message, width)?;
    }
    Ok(())
}

/// Prints what came of it: the verdict, then what each function has again.
///
/// # Errors
/// Those of the stream.
pub fn print_done(ui: &mut Ui, verdict: &str, plan: &Plan, operation: u32) -> Result<(), CommandError> {
    let width = ui.width();
    let out = ui.out();
    writeln!(out, "{} (operation {operation})", paint(GOOD, verdict))?;
    for expectation in &plan.expects {
        if matches!(expectation.what, Condition::BoundTo { .. } | Condition::Serves { .. } | Condition::HasVirtualFunctions { .. })
            && expectation.when == cede_plan::plan::When::Now
        {
            wrapped(out, "  ", &expectation.what.to_string(), width)?;
        }
    }
    Ok(())
}
