//! Shows an operation while it runs.

use crate::commands::print_json;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::plan::{print_refusals, shown};
use crate::render::table::{clean_line, wrapped};
use crate::typed::commands;
use crate::ui::{BAD, FAINT, GOOD, HEADING, Ui, WARN, paint};
use crate::view::operation::OperationView;
use cede_host::apply::{Applied, ApplyError, Event};
use cede_plan::shell_word::quoted;
use cede_plan::{Plan, Step};
use std::io::IsTerminal;

/// Columns of a path, so that what is done stands below one another.
const PATH: usize = 40;

/// Prints an event on standard error.
pub fn show(ui: &mut Ui, event: &Event<'_>) {
    let width = ui.err_width();
    let err = ui.err();
    // Progress that cannot be printed stops nothing: the change itself goes on.
    let _ = match event {
        Event::Step(Step::ReplaceFile { path, after: Some(_), .. }) => write!(err, "write  {:<PATH$}", clean_line(path)),
        Event::Step(Step::ReplaceFile { path, after: None, .. }) => write!(err, "remove {:<PATH$}", clean_line(path)),
        Event::Step(Step::RunTool { argv, .. }) => writeln!(err, "{}    {}", paint(HEADING, "run"), clean_line(&argv.join(" "))),
        Event::Step(Step::CopyImage { to, .. }) => write!(err, "write  {:<PATH$}", clean_line(to)),
        Event::Step(Step::RemoveImage { path }) => write!(err, "remove {:<PATH$}", clean_line(path)),
        Event::Step(Step::WriteAttribute { path, after, .. }) => write!(err, "write  {} > {path} ", shown(after)),
        Event::Output(line) => writeln!(err, "       {}", paint(FAINT, clean_line(line))),
        // On a terminal the line is written over; elsewhere its beginning and its end are enough.
        Event::Beside { done, of } if *done == *of => {
            writeln!(err, "{}write  {of} slots beside one another {}", again(), paint(GOOD, "       done"))
        }
        Event::Beside { done, of } if std::io::stderr().is_terminal() => {
            write!(err, "{}write  slot {done} of {of} ", again()).and_then(|()| err.flush())
        }
        Event::Beside { .. } => Ok(()),
        Event::Done => writeln!(err, "{}", paint(GOOD, "       done")),
        Event::Proving => writeln!(err, "prove  look at the host anew and compare it with the plan"),
        Event::RollingBack(cause) => wrapped(err, &format!("\n\n{} ", paint(BAD, "failed:")), cause, width)
            .and_then(|()| writeln!(err, "{}", paint(WARN, "rolling back"))),
    };
}

/// Back to the beginning of the line, where that is possible.
fn again() -> &'static str {
    if std::io::stderr().is_terminal() { "\r" } else { "" }
}

/// The error of an operation as the user sees it.
pub fn failed(error: &ApplyError) -> CommandError {
    let exit = match error {
        ApplyError::Unchanged(_) | ApplyError::Interrupted(_) => Exit::Refused,
        ApplyError::HostChanged(_) => Exit::Changed,
        ApplyError::RolledBack(_) => Exit::RolledBack,
        ApplyError::PartlyChanged { .. } => Exit::PartlyChanged,
    };
    let error_text = CommandError::new(exit, error.to_string());
    match error {
        ApplyError::Interrupted(_) | ApplyError::PartlyChanged { .. } => error_text.hint("sudo cede recover"),
        _ => error_text,
    }
}

/// Runs a verb that changes something; where JSON is wanted, its answer is the one document.
///
/// # Errors
/// Those of the verb.
pub fn answer(
    verb: &'static str,
    json: bool,
    ui: &mut Ui,
    run: impl FnOnce(&mut Ui, &mut OperationView) -> Result<Exit, CommandError>,
) -> Result<Exit, CommandError> {
    let mut view = OperationView::new(verb);
    let exit = run(ui, &mut view)?;
    if json {
        print_json(ui, &view)?;
    }
    Ok(exit)
}

/// A verb that a safety rule stops.
///
/// # Errors
/// Those of the stream.
pub fn refused(ui: &mut Ui, plan: &Plan, view: &mut OperationView) -> Result<Exit, CommandError> {
    view.refused(&plan.refused);
    print_refusals(ui, plan)?;
    Ok(Exit::Refused)
}

/// The user answered no.
///
/// # Errors
/// Those of the stream.
pub fn declined(ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    view.state = "declined";
    writeln!(ui.out(), "nothing was changed")?;
    Ok(Exit::Fine)
}

/// The end of an operation that worked: what was proved, and what to type next.
///
/// # Errors
/// Those of the stream.
pub fn finish(ui: &mut Ui, applied: &Applied, next: &str, view: &mut OperationView) -> Result<Exit, CommandError> {
    view.applied(applied, next);
    let width = ui.width();
    let out = ui.out();
    if !applied.left_to_run.is_empty() {
        wrapped(
            out,
            &format!("\n{} ", paint(WARN, "not finished:")),
            &format!(
                "the files are written, and the tools could not be run inside the mounted system: {}. Run these there (chroot), then start it:",
                clean_line(applied.why_left.as_deref().unwrap_or("no reason is known"))
            ),
            width,
        )?;
        for argv in &applied.left_to_run {
            let words: Vec<String> = argv.iter().map(|word| quoted(&clean_line(word))).collect();
            writeln!(out, "  {}", words.join(" "))?;
        }
        return Ok(Exit::Problems);
    }
    let told = applied.proof.outcomes.iter().filter(|outcome| outcome.result == cede_plan::verify::Result3::Met).count();
    let open: Vec<_> = applied.proof.outcomes.iter().filter(|outcome| outcome.result != cede_plan::verify::Result3::Met).collect();
    if told == 0 {
        return Err(CommandError::new(Exit::Problems, format!("nothing was proved (operation {})", applied.number)).hint("cede check"));
    }
    writeln!(
        out,
        "\n{}: {} (operation {})",
        paint(GOOD, "proved"),
        if told == 1 { "1 condition holds".to_owned() } else { format!("{told} conditions hold") },
        applied.number
    )?;
    for outcome in open {
        wrapped(out, "  not known: ", &format!("{}: {}", outcome.what, outcome.cause.as_deref().unwrap_or_default()), width)?;
    }
    writeln!(out, "Next: {next}")?;
    Ok(Exit::Reboot)
}

/// The line under an empty plan or undo.
///
/// # Errors
/// Those of the stream.
pub fn nothing(ui: &mut Ui, why: &str) -> Result<Exit, CommandError> {
    writeln!(ui.out(), "{}: {}", paint(GOOD, "nothing to do"), commands(why))?;
    Ok(Exit::Fine)
}
