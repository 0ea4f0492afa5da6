//! `cede verify`.

use super::print_json;
use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::table::wrapped;
use crate::source;
use crate::ui::{BAD, GOOD, Ui, WARN, paint};
use crate::view::verify::VerifyView;
use cede_host::apply::open_images;
use cede_host::{Machine, Scope, observe};
use cede_model::Host;
use cede_plan::journal::{self, End, JournalError, Operation, Verb};
use cede_plan::plan::{Expectation, Step, When};
use cede_plan::runtime;
use cede_plan::shell_word::quoted;
use cede_plan::trial::{self, State};
use cede_plan::verify::{self, Outcome, Result3, VerifyReport};
use cede_plan::whereabouts;

/// Compares the recorded intent with a fresh look. Where the start is still to come, what was made for it is opened again.
///
/// # Errors
/// The host or its journal cannot be read.
pub fn run(global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let mut host = source::load(global, Scope::Full)?;
    let list = operations(&host)?;
    if global.host.is_none() {
        host = with_images(host, &list, &source::open_root(global)?);
    }
    report(&host, &list, global, ui)
}

/// The host with the images opened that were made for a start that is still to come.
pub fn with_images(mut host: Host, operations: &[Operation], machine: &dyn Machine) -> Host {
    let waiting = waiting(&host, operations);
    if waiting.is_empty() {
        return host;
    }
    open_images(machine, waiting.into_iter().flat_map(|operation| &operation.plan.expects), &mut host.capture);
    Host::from_capture(host.capture)
}

/// Judges a host by its journal and shows the report.
///
/// # Errors
/// The journal cannot be read.
pub fn show(host: &Host, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    report(host, &operations(host)?, global, ui)
}

fn report(host: &Host, operations: &[Operation], global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    if let Some(open) = journal::interrupted(operations, boot_id(host)) {
        return Err(CommandError::new(Exit::Problems, format!("operation {} is neither done nor taken back", open.number))
            .hint(global.command("recover", true)));
    }
    let report = judge(host, operations);
    if global.json {
        print_json(ui, &VerifyView::new(&report))?;
    } else {
        let waiting = waiting(host, operations);
        print_report(ui, &report, operations, !waiting.is_empty())?;
        match waiting.is_empty() {
            true => next(ui, host, &report, operations)?,
            false => next_before_the_start(ui, &report, &waiting, global)?,
        }
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

/// Every operation that is in force; where all were undone, the last undo.
fn meant<'a>(host: &Host, operations: &'a [Operation]) -> Vec<&'a Operation> {
    let in_force: Vec<&Operation> = operations.iter().filter(|operation| journal::in_force(operations, operation)).collect();
    if !in_force.is_empty() || !runtime::expectations(operations, boot_id(host)).is_empty() {
        return in_force;
    }
    operations.iter().rfind(|operation| operation.end == Some(End::Applied) && !operation.plan.is_runtime()).into_iter().collect()
}

/// True where the start that the operation was for is still to come: it was carried out in this boot, or nothing of the system runs.
fn waits(host: &Host, operation: &Operation) -> bool {
    match boot_id(host) {
        Some(boot_id) => operation.boot_id.as_deref() == Some(boot_id),
        None => host.devices.is_empty() && host.running.is_none(),
    }
}

/// The operations of which the start is still to come.
pub fn waiting<'a>(host: &Host, operations: &'a [Operation]) -> Vec<&'a Operation> {
    let is_waiting = |operation: &&Operation| journal::is_for_a_start(operations, operation) && waits(host, operation);
    meant(host, operations).into_iter().filter(is_waiting).collect()
}

/// True where the start that is still to come would not be what the operation planned, as far as the files tell that were looked at.
pub fn is_unready(host: &Host, operation: &Operation) -> bool {
    verify::made(host, &operation.plan.expects).outcomes.iter().any(|outcome| outcome.result == Result3::NotMet)
}

/// Why nothing can be told of a start that is still to come.
const TO_COME: [&str; 2] = ["the machine was not started anew yet: reboot first", "this system does not run yet"];

/// Something cannot be told that does not wait for the start.
fn has_doubt(report: &VerifyReport) -> bool {
    let waits = |cause: &Option<String>| cause.as_deref().is_some_and(|cause| TO_COME.contains(&cause));
    report.outcomes.iter().any(|outcome| outcome.result == Result3::CannotTell && !waits(&outcome.cause))
}

/// Judges every operation that is meant.
pub fn judge(host: &Host, operations: &[Operation]) -> VerifyReport {
    let now = runtime::expectations(operations, boot_id(host));
    let ceded = whereabouts::ceded(operations);
    let mut report = verify::verify(host, &now, When::Now);
    for operation in meant(host, operations) {
        let beside = |e: &Expectation| Expectation { when: e.when, what: e.what.clone().beside(&ceded) };
        let expects: Vec<Expectation> = operation.plan.expects.iter().map(beside).collect();
        let waits = waits(host, operation);
        let over = operation.verb == Verb::Trial && trial::state(host, operation) == State::Over;
        let part = if operation.verb == Verb::Hook || operation.verb == Verb::Persist && waits {
            verify::verify(host, &expects, When::Now)
        } else if operation.verb == Verb::Persist {
            let [mut files, bound] = [When::Now, When::AfterReboot].map(|when| verify::verify(host, &expects, when));
            files.outcomes.extend(bound.outcomes);
            files
        } else if over {
            VerifyReport { outcomes: vec![came_back(host, operation)] }
        } else if waits {
            let mut made = verify::made(host, &expects);
            let [not_anew, not_at_all] = TO_COME;
            let why = if boot_id(host).is_some() { not_anew } else { not_at_all };
            made.outcomes.extend(verify::not_yet(&expects, When::AfterReboot, why).outcomes);
            made
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

/// Prints a report: the verdict first. The start that it is about may be still to come.
///
/// # Errors
/// Those of the stream.
pub fn print_report(ui: &mut Ui, report: &VerifyReport, operations: &[Operation], is_to_come: bool) -> Result<(), CommandError> {
    let width = ui.width();
    let out = ui.out();
    if report.outcomes.is_empty() {
        let why =
            if operations.is_empty() { "cede has changed nothing on this host yet" } else { "no operation was carried out to its end" };
        wrapped(out, &format!("{} ", paint(WARN, "nothing to verify:")), &format!("{why}. `cede status` shows what can be ceded"), width)?;
        return Ok(());
    }
    let has = |result: Result3| report.outcomes.iter().any(|outcome| outcome.result == result);
    let verdict = match (has(Result3::NotMet), has(Result3::Met)) {
        _ if report.passed() => paint(GOOD, "verified: everything is as planned"),
        (true, _) if is_to_come => paint(BAD, "not ready for the reboot"),
        (false, true) if is_to_come && !has_doubt(report) => paint(WARN, "ready for the reboot, which is still to come"),
        (false, met) if is_to_come || !met => paint(WARN, "cannot tell yet"),
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
        (_, false) => writeln!(out, "\nNext: cede check")?,
    }
    Ok(())
}

/// What to type next while the start is still to come: what makes images and menu, where they are not as planned.
fn next_before_the_start(ui: &mut Ui, report: &VerifyReport, waiting: &[&Operation], global: &Global) -> Result<(), CommandError> {
    let out = ui.out();
    if !report.outcomes.iter().any(|outcome| outcome.result == Result3::NotMet) {
        let is_seen = !has_doubt(report) || global.host.is_some();
        let next = if is_seen { "reboot, then `cede verify`".to_owned() } else { global.command("check", true) };
        return Ok(writeln!(out, "\nNext: {next}")?);
    }
    let mut tools: Vec<String> = Vec::new();
    for tool in waiting.iter().flat_map(|operation| &operation.plan.steps).filter_map(Step::argv) {
        let line = tool.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        if !tools.contains(&line) {
            tools.push(line);
        }
    }
    let (verify, place) = (global.command("verify", true), if global.root.is_some() { " there (chroot)" } else { "" });
    match tools.is_empty() {
        true => writeln!(out, "\nNext: {}", global.command("undo", true))?,
        false => writeln!(out, "\nNext: run these{place}, then `{verify}`")?,
    }
    for tool in tools {
        writeln!(out, "  {tool}")?;
    }
    Ok(())
}
