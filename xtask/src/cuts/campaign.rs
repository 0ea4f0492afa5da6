//! What is done at the system calls of an operation, one after the other.

use super::hosts::Started;
use super::scenario::{Landed, Past, SCRIPTS, Scenario, said};
use super::stage::{Stage, Tree};
use super::stepper::{self, Action, Call, Ended, Watch};
use super::{Result, calls, odd, still};
use crate::in_one_line;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Of the calls that change nothing, each of this many is taken.
const STRIDE: usize = 20;

/// Calls before and after the one that is asked for: two runs are not quite alike.
const NEAR: usize = 5;

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Still,
    Kill,
    Orphan,
    Again,
    Fail,
    Persist,
    Signal,
    Odd,
}

/// By name.
pub(super) const KINDS: [(&str, Kind); 8] = [
    ("still", Kind::Still),
    ("kill", Kind::Kill),
    ("orphan", Kind::Orphan),
    ("again", Kind::Again),
    ("fail", Kind::Fail),
    ("persist", Kind::Persist),
    ("signal", Kind::Signal),
    ("odd", Kind::Odd),
];

/// What came of it.
#[derive(Default)]
pub(super) struct Tally {
    /// By operation, then by what came of it.
    counts: BTreeMap<&'static str, BTreeMap<&'static str, usize>>,
    instants: usize,
    /// How many of each operation were lost.
    losses: BTreeMap<&'static str, usize>,
    /// Where the host was neither old nor new, or the words were wrong.
    pub(super) lost: Vec<String>,
}

impl Tally {
    /// Counts an outcome; what is lost is shown at once.
    pub(super) fn add(&mut self, operation: &'static str, result: std::result::Result<&'static str, String>) {
        self.add_all(operation, 1, result);
    }

    /// Counts an outcome of several instants.
    pub(super) fn add_all(&mut self, operation: &'static str, instants: usize, result: std::result::Result<&'static str, String>) {
        self.instants += instants;
        match result {
            Ok(what) => *self.counts.entry(operation).or_default().entry(what).or_default() += instants,
            Err(why) => {
                println!("LOST {why}");
                *self.losses.entry(operation).or_default() += 1;
                self.lost.push(why);
            }
        }
    }
}

impl Tally {
    /// A line of the file of results for each operation.
    pub(super) fn lines(&self, host: &str, kind: &str) -> String {
        let operations: BTreeSet<&str> = self.counts.keys().chain(self.losses.keys()).copied().collect();
        let line = |operation: &str| {
            let counts = self.counts.get(operation).into_iter().flatten();
            let lost = self.losses.get(operation).copied().unwrap_or_default();
            let instants = lost + counts.clone().map(|(_, count)| count).sum::<usize>();
            let outcomes: Vec<String> = counts.map(|(what, count)| format!("{count} {what}")).collect();
            format!("| {host} | {kind} | {operation} | {instants} | {} | {lost} |\n", outcomes.join(", "))
        };
        operations.into_iter().map(line).collect()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} instants, lost {}", self.instants, self.lost.len())?;
        for (operation, counts) in &self.counts {
            let counts: Vec<String> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
            write!(f, "; {operation}: {}", counts.join(", "))?;
        }
        Ok(())
    }
}

/// One kind of disturbance, on one host.
pub(super) struct Campaign<'a> {
    pub(super) host: &'a Started,
    pub(super) cede: &'a Path,
    pub(super) all: bool,
    pub(super) jobs: usize,
    pub(super) at: Option<usize>,
    pub(super) operation: Option<&'a str>,
    pub(super) tally: &'a Mutex<Tally>,
    pub(super) judged: &'a Judged,
}

/// What came of files that a killed run left.
#[derive(Default)]
pub(super) struct Judged(Mutex<HashMap<(&'static str, u64), Landed>>);

impl Judged {
    fn get(&self, operation: &'static str, left: u64) -> Option<Landed> {
        self.0.lock().ok()?.get(&(operation, left)).copied()
    }

    fn put(&self, operation: &'static str, left: u64, landed: Landed) {
        if let Ok(mut known) = self.0.lock() {
            known.insert((operation, left), landed);
        }
    }
}

/// One run to be made: at which call, and what.
#[derive(Debug, Clone, Copy)]
struct Instant {
    call: usize,
    /// Which system call it was in the run that was only watched.
    number: i64,
    done: bool,
    action: Action,
    persists: bool,
}

impl Campaign<'_> {
    /// Goes through all operations.
    pub(super) fn run(&self, kind: Kind) -> Result<()> {
        let next = SCRIPTS.map(|_| AtomicUsize::new(0));
        std::thread::scope(|threads| {
            let work = |number| {
                stay_on(number);
                self.work(kind, &next).map_err(|error| error.to_string())
            };
            let workers: Vec<_> = (0..self.jobs).map(|number| threads.spawn(move || work(number))).collect();
            workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker died".to_owned())?)
        })
        .map_err(Into::into)
    }

    fn work(&self, kind: Kind, next: &[AtomicUsize]) -> Result<()> {
        let stage = Stage::make(&std::env::temp_dir(), &self.host.first, self.cede)?;
        let mut past = Past::new(&stage, &self.host.by_trial)?;
        for (script, next) in SCRIPTS.iter().zip(next) {
            let scenario = &past.learn(script)?;
            if self.operation.is_some_and(|wanted| wanted != script.name) {
                continue;
            }
            if kind == Kind::Still {
                if next.fetch_add(1, Ordering::Relaxed) == 0 {
                    still::run(&stage, scenario, self.tally)?;
                }
                continue;
            }
            if kind == Kind::Odd {
                if script.tools && next.fetch_add(1, Ordering::Relaxed) == 0 {
                    odd::run(&stage, scenario, &mut *self.tally.lock().map_err(|_| "a worker died")?)?;
                }
                continue;
            }
            let instants = self.instants(&stage, scenario, kind)?;
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(instant) = instants.get(at) else { break };
                stage.restore(&scenario.start)?;
                let result = match kind {
                    Kind::Kill => self.killed(&stage, scenario, *instant),
                    Kind::Orphan => orphaned(&stage, scenario, *instant),
                    Kind::Again => self.again(&stage, scenario, *instant),
                    _ => disturbed(&stage, scenario, *instant),
                };
                self.count(scenario, *instant, result);
            }
        }
        Ok(())
    }

    fn count(&self, scenario: &Scenario, instant: Instant, result: std::result::Result<&'static str, String>) {
        if let Ok(mut tally) = self.tally.lock() {
            tally.add(scenario.name, result.map_err(|why| format!("{} {instant:?}: {why}", scenario.name)));
        }
    }

    /// Runs the operation once, to see its calls, and chooses among them.
    fn instants(&self, stage: &Stage, scenario: &Scenario, kind: Kind) -> Result<Vec<Instant>> {
        let mut list = Vec::new();
        stage.restore(&scenario.start)?;
        let mut decide = |call: &Call| {
            let taken = match kind {
                Kind::Again => calls::changes(call) && call.done,
                // A tool that passes over an error of its own tells nothing about cede.
                Kind::Fail => {
                    call.own
                        && !call.done
                        && calls::touches(call)
                        && (self.all || calls::changes(call) || call.index.is_multiple_of(STRIDE))
                }
                Kind::Persist => !call.done && calls::changes(call),
                // Each state of the files between two calls is one instant, before the later call; with `--all` after the earlier one too.
                _ => (self.all || !call.done) && (self.all || calls::matters(call) || call.index.is_multiple_of(STRIDE)),
            };
            if taken && self.at.is_none_or(|at| call.index.abs_diff(at) <= NEAR) {
                list.extend(actions(kind).into_iter().map(|action| Instant {
                    call: call.index,
                    number: call.number,
                    done: call.done,
                    action,
                    persists: kind == Kind::Persist,
                }));
            }
            Action::Go
        };
        stepper::run(stage, scenario.arguments, &mut Watch { decide: &mut decide, orphaned: &mut || {} })?;
        Ok(list)
    }

    /// With `--all` most calls leave the files as the one before left them: what comes of those is known.
    fn killed(&self, stage: &Stage, scenario: &Scenario, instant: Instant) -> std::result::Result<&'static str, String> {
        let text = |error: Box<dyn std::error::Error>| error.to_string();
        disturb(stage, scenario.arguments, instant).map_err(text)?;
        if !self.all {
            return scenario.recover(stage).map(name);
        }
        let left = stage.tree().and_then(|tree| stage.left(&tree)).map_err(text)?;
        if let Some(landed) = self.judged.get(scenario.name, left) {
            return Ok(name(landed));
        }
        let landed = scenario.recover(stage)?;
        self.judged.put(scenario.name, left, landed);
        Ok(name(landed))
    }

    /// Kills the recovery of a killed run, at each of its calls.
    fn again(&self, stage: &Stage, scenario: &Scenario, instant: Instant) -> std::result::Result<&'static str, String> {
        let text = |error: Box<dyn std::error::Error>| error.to_string();
        disturb(stage, scenario.arguments, instant).map_err(text)?;
        let cut: Tree = stage.tree().map_err(text)?;
        let mut second = Vec::new();
        let mut decide = |call: &Call| {
            if !call.done && (self.all || calls::matters(call)) {
                second.push(Instant { call: call.index, number: call.number, ..instant });
            }
            Action::Go
        };
        stepper::run(stage, &["recover", "--yes"], &mut Watch { decide: &mut decide, orphaned: &mut || {} }).map_err(text)?;
        for again in second {
            stage.restore(&cut).map_err(text)?;
            disturb(stage, &["recover", "--yes"], Instant { done: false, ..again }).map_err(text)?;
            let result = scenario.recover(stage).map(name);
            self.count(scenario, again, result.map_err(|why| format!("{why} (the recovery of {instant:?})")));
        }
        stage.restore(&cut).map_err(text)?;
        scenario.recover(stage).map(name)
    }
}

/// A worker and the processes that it steps through take turns: on one processor that costs least. Where that cannot be had, it is slower.
fn stay_on(number: usize) {
    let mut processors = CpuSet::new();
    let there = std::thread::available_parallelism().map_or(1, usize::from);
    if processors.set(number % there).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &processors);
    }
}

fn actions(kind: Kind) -> Vec<Action> {
    let fail = |list: &[Errno]| list.iter().map(|errno| Action::Fail(*errno as i32)).collect();
    match kind {
        Kind::Kill | Kind::Again => vec![Action::KillAll],
        Kind::Orphan => vec![Action::KillOwn],
        Kind::Fail => fail(&[Errno::ENOSPC, Errno::EROFS, Errno::EIO, Errno::EDQUOT, Errno::EACCES, Errno::EINTR]),
        Kind::Persist => fail(&[Errno::ENOSPC, Errno::EROFS, Errno::EIO]),
        Kind::Odd | Kind::Still => Vec::new(),
        Kind::Signal => [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].map(Action::Signal).to_vec(),
    }
}

pub(super) const fn name(landed: Landed) -> &'static str {
    match landed {
        Landed::Old => "old",
        Landed::New => "new",
    }
}

/// A run with the disturbance.
fn disturb(stage: &Stage, arguments: &[&str], instant: Instant) -> Result<Ended> {
    disturb_and(stage, arguments, instant, &mut || {})
}

fn disturb_and(stage: &Stage, arguments: &[&str], instant: Instant, orphaned: &mut dyn FnMut()) -> Result<Ended> {
    let mut pending = true;
    let mut decide = |call: &Call| {
        // Cede and its tool do not always take turns alike: an error is for the call that it was meant for.
        let meant = !matches!(instant.action, Action::Fail(_)) || (call.number == instant.number && (call.own || instant.persists));
        let now = pending && call.index >= instant.call && call.done == instant.done && meant;
        pending &= !now;
        // A full disk still lets files be removed.
        let again = instant.persists && !pending && !call.done && calls::changes(call);
        let spared = instant.action == Action::Fail(Errno::ENOSPC as i32) && calls::removes(call);
        if now || (again && !spared) { instant.action } else { Action::Go }
    };
    stepper::run(stage, arguments, &mut Watch { decide: &mut decide, orphaned })
}

/// While the tool is still there, nobody may work on the host; once it is gone, the host comes back.
fn orphaned(stage: &Stage, scenario: &Scenario, instant: Instant) -> std::result::Result<&'static str, String> {
    let mut meanwhile = Err("never looked".to_owned());
    let mut look = || meanwhile = stage.cede(&["recover", "--yes"]).map_err(|error| error.to_string());
    disturb_and(stage, scenario.arguments, instant, &mut look).map_err(|error| error.to_string())?;
    let refused = match meanwhile {
        Ok(output) if output.status.code() == Some(4) && in_one_line(&said(&output)).contains("at work") => true,
        Ok(output) if output.status.code() == Some(0) => false,
        Ok(output) => return Err(format!("recover beside the tool ended with {}: {}", output.status, said(&output))),
        Err(_) => false,
    };
    let landed = if refused { scenario.recover(stage) } else { scenario.landed(stage) }?;
    Ok(match (refused, landed) {
        (true, Landed::Old) => "old once the tool had ended",
        (true, Landed::New) => "new once the tool had ended",
        (false, landed) => name(landed),
    })
}

/// What was said must be true, and what is left open must be recoverable.
fn disturbed(stage: &Stage, scenario: &Scenario, instant: Instant) -> std::result::Result<&'static str, String> {
    let ended = disturb(stage, scenario.arguments, instant).map_err(|error| error.to_string())?;
    let is = |wanted: Landed| scenario.landed(stage).and_then(|landed| if landed == wanted { Ok(()) } else { Err(format!("{landed:?}")) });
    let told = match ended.code {
        Some(code) if code == scenario.done => is(Landed::New).map(|()| "done"),
        Some(6) => is(Landed::Old).map(|()| "rolled back"),
        Some(2..=5) => is(Landed::Old).map(|()| "refused"),
        Some(7) => Ok("partly changed, recovered later"),
        // The program itself could not be started.
        Some(127) => is(Landed::Old).map(|()| "not started"),
        Some(1) if in_one_line(&ended.said).contains("the change is the default now") => Ok("confirmed by half, to its end later"),
        None if matches!(instant.action, Action::Signal(_)) => Ok("ended by the signal"),
        Some(1) if in_one_line(&ended.said).contains("could not print") => Ok("nobody to tell"),
        other => Err(format!("ended with {other:?}, {:?}", ended.signal)),
    };
    let with_words = |why: String| format!("{why}: {}", ended.said.trim());
    let told = told.map_err(with_words)?;
    scenario.recover(stage).map_err(with_words)?;
    Ok(told)
}
