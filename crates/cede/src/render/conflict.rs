//! A conflict for people: what it was, what cede wrote, what is there now.

use super::plan::colour;
use super::table::{clean, clean_line, wrapped};
use crate::error::CommandError;
use crate::ui::{BAD, HEADING, Ui, paint};
use cede_plan::diff;
use cede_plan::merge::Clash;
use cede_plan::undo::Conflict;
use std::io::Write;

/// Prints what cannot be told apart.
///
/// # Errors
/// Those of the stream.
pub fn print_conflicts(ui: &mut Ui, conflicts: &[Conflict]) -> Result<(), CommandError> {
    let width = ui.width();
    for conflict in conflicts {
        let place = conflict.clash.as_ref().and_then(|clash| clash.line).map(|line| format!(":{line}")).unwrap_or_default();
        let what = conflict.trouble.as_deref().unwrap_or("others changed what cede changed");
        let head = format!("{} ", paint(BAD, "conflict:"));
        wrapped(ui.out(), &head, &clean(&format!("{}{place}: {what}", conflict.path)), width)?;
        match &conflict.clash {
            Some(clash) if clash.line.is_some() => lines(ui.out(), clash)?,
            Some(_) => diffs(ui.out(), conflict)?,
            None => {}
        }
    }
    Ok(())
}

fn lines(out: &mut dyn Write, clash: &Clash) -> Result<(), CommandError> {
    for (name, text) in [("it was", &clash.before), ("cede wrote", &clash.ours), ("it is now", &clash.now)] {
        writeln!(out, "  {}", paint(HEADING, name))?;
        let text = String::from_utf8_lossy(text);
        for line in text.lines() {
            writeln!(out, "    {}", clean_line(line))?;
        }
        if text.is_empty() {
            writeln!(out, "    (nothing)")?;
        }
    }
    Ok(())
}

/// Where no one place can be named, the two changes.
fn diffs(out: &mut dyn Write, conflict: &Conflict) -> Result<(), CommandError> {
    let versions = [("cede's change was", &conflict.before, &conflict.ours), ("since then", &conflict.ours, &conflict.now)];
    for (name, old, new) in versions {
        writeln!(out, "  {}", paint(HEADING, name))?;
        for line in diff::unified(&conflict.path, old.as_deref(), new.as_deref()).lines() {
            writeln!(out, "    {}", colour(line))?;
        }
    }
    Ok(())
}
