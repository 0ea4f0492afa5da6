//! `cede verify`.

use super::print_json;
use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::table::wrapped;
use crate::source;
use crate::ui::{BAD, GOOD, Ui, WARN, paint};
use crate::view::verify::VerifyView;
use cede_host::{Machine, Scope, observe};
use cede_model::Host;
use cede_plan::journal::{self, End, JournalError, Operation, Verb};
use cede_plan::plan::{Expectation, When};
use cede_plan::runtime;
use cede_plan::trial::{self, State};
use cede_plan::verify::{self, Outcome, Result3, VerifyReport};
use cede_plan::whereabouts;

/// Compares the recorded intent with a fresh look.
///
/// # Errors
/// The host or its journal cannot be read.
pub fn run(global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let host = source::load(global, Scope::Full)?;
    show(&host, global.json, ui)
}

/// Judges a host by its journal and shows the report.
///
/// # Errors
/// The journal cannot be read.
pub fn show(host: &Host, json: bool, ui: &mut Ui) -> Result<Exit, CommandError> {
    let operations = operations(host)?;
    if let Some(open) = journal::interrupted(&operations, boot_id(host)) {
        return Err(CommandError::new(Exit::Problems, format!("operation {} is neither done nor taken back", open.number))
            .hint("sudo cede recover"));
    }
    let report = judge(host, &operations);
    if json {
        print_json(ui, &VerifyView::new(&report))?;
    } else {
        print_report(ui, &report, &operations)?;
        next(ui, host, &report, &operations)?;
    }
    Ok(if report.passed() { Exit::Fine } else { Exit::Problems })
}

/// The boot that a host is in, where that is known.
pub fn boot_id(host: &Host) -> Option<&str> {
    host.capture.attribute("/proc/sys/kernel/random/boot_id")
}

/// The journal as an error that the user understands.
///
/// # Errors
/// It cannot be read.
pub fn operations(host: &Host) -> Result<Vec<Operation>, CommandError> {
    journal::operations(&host.capture).map_err(|error| match error {
        JournalError::Unreadable { .. } => {
            CommandError::unreadable(format!("the journal is for root alone: {error}")).hint("run the same command with sudo")
        }
        JournalError::OtherFormat { .. } => CommandError::unreadable(error.to_string()),
        JournalError::NoFile { ref path, .. } if path == journal::OPERATIONS => CommandError::unreadable(error.to_string())
            .hint("what cede did on this host cannot be told without it, so nothing is changed: bring that directory back first"),
        other => CommandError::unreadable(other.to_string()).hint(
            "what that operation did cannot be told from it: look at the file and at the boot configuration, then move it out of that directory",
        ),
    })
}

/// The operations, before something is changed: all of them readable, none of them interrupted.
///
/// # Errors
/// With what to type.
pub fn settled(machine: &dyn Machine, global: &Global) -> Result<Vec<Operation>, CommandError> {
    let host = Host::from_capture(observe::journal(machine));
    let list = operations(&host)?;
    match journal::interrupted(&list, boot_id(&host)) {
        None => Ok(list),
        Some(open) => {
            let what = format!("operation {} is neither done nor taken back, so nothing else is begun", open.number);
            Err(CommandError::new(Exit::Refused, what).hint(global.command("recover", true)))
        }
    }
}

/// Judges every operation that is in force; where all were undone, the last undo.
pub fn judge(host: &Host, operations: &[Operation]) -> VerifyReport {
    let mut meant: Vec<&Operation> = operations.iter().filter(|operation| journal::in_force(operations, operation)).collect();
    let boot_id = boot_id(host);
    let now = runtime::expectations(operations, boot_id);
    if meant.is_empty() && now.is_empty() {
        meant.extend(operations.iter().rev().find(|operation| operation.end == Some(End::Applied) && !operation.plan.is_runtime()));
    }
    let ceded = whereabouts::ceded(operations);
    let mut report = verify::verify(host, &now, When::Now);
    for operation in meant {
        let beside = |e: &Expectation| Expectation { when: e.when, what: e.what.clone().beside(&ceded) };
        let expects: Vec<Expectation> = operation.plan.expects.iter().map(beside).collect();
        let same_boot = operation.boot_id.is_some() && operation.boot_id.as_deref() == boot_id;
        let over = operation.verb == Verb::Trial && trial::state(host, operation) == State::Over;
        let part = if operation.verb == Verb::Hook || operation.verb == Verb::Persist && same_boot {
            verify::verify(host, &expects, When::Now)
        } else if operation.verb == Verb::Persist {
            let [mut files, bound] = [When::Now, When::AfterReboot].map(|when| verify::verify(host, &expects, when));
            files.outcomes.extend(bound.outcomes);
            files
        } else if over {
            VerifyReport { outcomes: vec![came_back(host, operation)] }
        } else if same_boot {
            verify::not_yet(&expects, When::AfterReboot, "the machine was not started anew yet: reboot first")
        } else {
            verify::verify(host, &expects, When::AfterReboot)
        };
        for outcome in part.outcomes {
            if !report.outcomes.contains(&outcome) {
                report.outcomes.push(outcome);
            }
        }
    }
    report
}

/// A trial of which this start shows nothing.
fn came_back(host: &Host, trial: &Operation) -> Outcome {
    Outcome {
        what: format!("this start is the trial (operation {})", trial.number),
        result: Result3::NotMet,
        cause: Some(format!("it is by another entry: {}", trial::why_over(host, trial))),
    }
}

/// Prints a report: the verdict first.
///
/// # Errors
/// Those of the stream.
pub fn print_report(ui: &mut Ui, report: &VerifyReport, operations: &[Operation]) -> Result<(), CommandError> {
    let width = ui.width();
    let out = ui.out();
    if report.outcomes.is_empty() {
        let why =
            if operations.is_empty() { "cede has changed nothing on this host yet" } else { "no operation was carried out to its end" };
        wrapped(out, &format!("{} ", paint(WARN, "nothing to verify:")), &format!("{why}. `cede status` shows what can be ceded"), width)?;
        return Ok(());
    }
    let waiting = report.outcomes.iter().all(|outcome| outcome.result == Result3::CannotTell);
    let verdict = match (report.passed(), waiting) {
        (true, _) => paint(GOOD, "verified: everything is as planned"),
        (_, true) => paint(WARN, "cannot tell yet"),
        _ => paint(BAD, "not verified"),
    };
    writeln!(out, "{verdict}")?;
    let mut told = None;
    for outcome in &report.outcomes {
        let mark = match outcome.result {
            Result3::Met => paint(GOOD, "met        "),
            Result3::NotMet => paint(BAD, "not met    "),
            Result3::CannotTell => paint(WARN, "cannot tell"),
        };
        wrapped(out, &format!("  {mark} "), &outcome.what, width)?;
        // Where all wait for the same thing, it is said once.
        if let Some(cause) = outcome.cause.as_ref().filter(|cause| told != Some(*cause)) {
            wrapped(out, "              ", cause, width)?;
            told = Some(cause);
        }
    }
    Ok(())
}

/// What to type next: a trial wants to be ended either way.
fn next(ui: &mut Ui, host: &Host, report: &VerifyReport, operations: &[Operation]) -> Result<(), CommandError> {
    let waiting = report.outcomes.iter().all(|outcome| outcome.result == Result3::CannotTell);
    let state = trial::in_force(operations).map(|trial| trial::state(host, trial));
    let out = ui.out();
    match (state, report.passed()) {
        _ if report.outcomes.is_empty() => {}
        (Some(State::Running), true) => writeln!(out, "\nNext: sudo cede confirm")?,
        (Some(State::Running), false) => {
            writeln!(out, "\nNext: cede check; any other start is by the default entry, `sudo cede undo` ends the trial")?
        }
        (Some(State::Over), _) => writeln!(out, "\nNext: sudo cede undo")?,
        (_, true) => {}
        (_, false) if waiting => writeln!(out, "\nNext: reboot, then `cede verify`")?,
        (_, false) => writeln!(out, "\nNext: cede check")?,
    }
    Ok(())
}
