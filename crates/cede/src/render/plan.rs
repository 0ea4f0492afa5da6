//! A plan for people: one line of summary, a diff for each file, the tools to run, what is checked.

use super::table::{clean_line, counted, wrapped};
use crate::error::CommandError;
use crate::ui::{BAD, FAINT, GOOD, HEADING, Ui, WARN, paint};
use cede_plan::plan::{Expectation, When};
use cede_plan::trial::once;
use cede_plan::{Plan, Step, diff};

/// Prints a plan.
///
/// # Errors
/// Those of the stream.
pub fn print_plan(ui: &mut Ui, plan: &Plan, verbose: bool) -> Result<(), CommandError> {
    let width = ui.width();
    let devices = plan.devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let out = ui.out();
    if plan.is_empty() {
        wrapped(
            out,
            &format!("{}: ", paint(GOOD, "nothing to do")),
            &format!("the configuration gives {devices} to vfio-pci already"),
            width,
        )?;
        return Ok(());
    }
    let tools = plan.steps.iter().filter(|step| step.argv().is_some()).count();
    let files = plan.steps.len() - tools;
    wrapped(out, &format!("{} ", paint(HEADING, "Cede")), &devices, width)?;
    if !plan.stays.is_empty() {
        let stays = plan.stays.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        wrapped(out, "     ", &format!("in the same group, stays with its driver: {stays}"), width)?;
    }
    writeln!(out, "     {} to write, {} to run, then a reboot", counted(files, "file"), counted(tools, "tool"))?;
    print_notes(ui, &plan.notes)?;
    print_steps(ui, &plan.steps)?;
    print_expectations(ui, &plan.expects, verbose)
}

/// Prints what the reader should know.
///
/// # Errors
/// Those of the stream.
pub fn print_notes(ui: &mut Ui, notes: &[String]) -> Result<(), CommandError> {
    let width = ui.width();
    for note in notes {
        wrapped(ui.out(), &format!("{} ", paint(WARN, "note")), note, width)?;
    }
    Ok(())
}

/// Prints what stands in the way.
///
/// # Errors
/// Those of the stream.
pub fn print_refusals(ui: &mut Ui, plan: &Plan) -> Result<(), CommandError> {
    let width = ui.width();
    let out = ui.out();
    writeln!(out, "{}", paint(BAD, "refused: nothing is planned"))?;
    for refusal in &plan.refused {
        wrapped(out, "  ", &refusal.message, width)?;
    }
    Ok(())
}

/// Prints the diffs and the tools.
///
/// # Errors
/// Those of the stream.
pub fn print_steps(ui: &mut Ui, steps: &[Step]) -> Result<(), CommandError> {
    let width = ui.width();
    let out = ui.out();
    for step in steps {
        match step {
            Step::ReplaceFile { path, after, .. } if once::is_choice(path) => {
                let what = if after.as_deref().is_some_and(|bytes| bytes.windows(5).any(|part| part == b"trial" || part == b"t\0r\0i")) {
                    "choose the trial for the next start, once"
                } else {
                    "the next start is by the default entry"
                };
                wrapped(out, &format!("\n{} ", paint(HEADING, what)), &format!("({path})"), width)?;
            }
            Step::ReplaceFile { path, before, after } if is_binary(before) || is_binary(after) => {
                let size =
                    |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or_else(|| "no file".to_owned(), |bytes| counted(bytes.len(), "byte"));
                wrapped(out, &format!("\n{} ", paint(HEADING, path)), &format!("{} → {}, not text", size(before), size(after)), width)?;
            }
            Step::ReplaceFile { path, before, after } => {
                writeln!(out)?;
                for line in diff::unified(path, before.as_deref(), after.as_deref()).lines() {
                    writeln!(out, "{}", colour(line))?;
                }
            }
            Step::RunTool { argv, why } => {
                wrapped(out, &format!("\n{} ", paint(HEADING, "run")), &format!("{}  ({why})", argv.join(" ")), width)?
            }
            Step::CopyImage { from, to } => wrapped(
                out,
                &format!("\n{} ", paint(HEADING, "copy")),
                &format!("{from} to {to}  (the boot loader starts it there)"),
                width,
            )?,
            Step::WriteAttribute { path, after, .. } => writeln!(out, "{} {} > {path}", paint(HEADING, "write"), shown(after))?,
            Step::RemoveImage { path } => wrapped(out, &format!("\n{} ", paint(HEADING, "remove")), path, width)?,
        }
    }
    Ok(())
}

fn is_binary(bytes: &Option<Vec<u8>>) -> bool {
    bytes.as_ref().is_some_and(|bytes| bytes.contains(&0))
}

/// A line of a diff.
pub fn colour(line: &str) -> String {
    let line = super::table::clean_line(line);
    match line.as_bytes().first() {
        _ if line.starts_with("+++") || line.starts_with("---") => paint(HEADING, line),
        Some(b'+') => paint(GOOD, line),
        Some(b'-') => paint(BAD, line),
        Some(b'@' | b'\\') => paint(FAINT, line),
        _ => line,
    }
}

fn print_expectations(ui: &mut Ui, expects: &[Expectation], verbose: bool) -> Result<(), CommandError> {
    let width = ui.width();
    let count = |when: When| expects.iter().filter(|expectation| expectation.when == when).count();
    let (now, later) = (count(When::Now), count(When::AfterReboot));
    let out = ui.out();
    writeln!(out)?;
    if !verbose {
        wrapped(
            out,
            &format!("{} ", paint(HEADING, "to be proved:")),
            &format!("{} before the reboot, {later} after it (`-v` lists them)", counted(now, "condition")),
            width,
        )?;
        return Ok(());
    }
    for (when, title) in [(When::Now, "before the reboot"), (When::AfterReboot, "after the reboot")] {
        writeln!(out, "{} {title}:", paint(HEADING, "to be proved"))?;
        for expectation in expects.iter().filter(|expectation| expectation.when == when) {
            wrapped(out, "  - ", &expectation.what.to_string(), width)?;
        }
    }
    Ok(())
}

/// A value as a shell would write it.
pub fn shown(value: &str) -> String {
    if value.is_empty() { "''".to_owned() } else { clean_line(value) }
}
