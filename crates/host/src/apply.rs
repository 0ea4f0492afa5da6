//! Carries a plan out: journal, steps, proof; and rolls back what failed.

pub use crate::apply_error::ApplyError;
use crate::attribute;
use crate::generated::{bring_back, copy_image};
use crate::leftovers;
pub use crate::look::{look, look_at_files, open_images};
use crate::machine::{EffectError, Lock, Machine, content};
use crate::observe::{Scope, observe};
use crate::space;
use crate::unrecorded;
use cede_model::{Entry, Host};
use cede_plan::digest::sha256;
use cede_plan::guard;
use cede_plan::journal::{self, End, Operation, Record, Verb};
use cede_plan::merge;
use cede_plan::plan::{Condition, Expectation, Plan, Step, When};
use cede_plan::runtime;
use cede_plan::tool_failure;
use cede_plan::trial;
use cede_plan::verify::{self, VerifyReport};
use std::time::{Duration, Instant};

/// How often it is looked whether what drivers bring is there.
const SETTLE_TICK: Duration = Duration::from_millis(200);

/// What happens while an operation runs, for showing it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step begins.
    Step(&'a Step),
    /// A tool printed a line.
    Output(&'a str),
    /// A step is done.
    Done,
    /// Of many functions that change their drivers beside one another, so many have theirs.
    Beside {
        /// How many slots are done.
        done: usize,
        /// Of how many.
        of: usize,
    },
    /// The generated files are opened and compared with the plan.
    Proving,
    /// Something failed; what was done is taken back.
    RollingBack(&'a str),
}

/// What came of an operation.
#[derive(Debug)]
pub struct Applied {
    /// Its number in the journal.
    pub number: u32,
    /// The proof before the reboot.
    pub proof: VerifyReport,
    /// Tools that are still to be run by hand, inside a mounted system where they could not be run.
    pub left_to_run: Vec<Vec<String>>,
    /// Why they could not.
    pub why_left: Option<String>,
}

/// Carries out a plan.
///
/// # Errors
/// See [`ApplyError`].
pub fn apply(machine: &dyn Machine, plan: &Plan, verb: Verb, tell: &mut dyn FnMut(Event<'_>)) -> Result<Applied, ApplyError> {
    Locked::take(machine)?.apply(plan, verb, tell)
}

/// A machine from which other runs are kept out: nobody comes between two operations under it.
pub struct Locked<'a> {
    machine: &'a dyn Machine,
    _lock: Box<dyn Lock>,
}

impl<'a> Locked<'a> {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`ApplyError::Unchanged`]: another run is at work, or a tool of a killed one.
    pub fn take(machine: &'a dyn Machine) -> Result<Self, ApplyError> {
        let lock = machine.lock().map_err(|error| ApplyError::Unchanged(error.to_string()))?;
        Ok(Self { machine, _lock: lock })
    }

    /// The machine.
    pub fn machine(&self) -> &'a dyn Machine {
        self.machine
    }

    /// As [`apply`].
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn apply(&self, plan: &Plan, verb: Verb, tell: &mut dyn FnMut(Event<'_>)) -> Result<Applied, ApplyError> {
        carry_out(self.machine, plan, verb, tell)
    }
}

/// Carries a plan out, under the lock.
fn carry_out(machine: &dyn Machine, plan: &Plan, verb: Verb, tell: &mut dyn FnMut(Event<'_>)) -> Result<Applied, ApplyError> {
    let unchanged = |error: EffectError| ApplyError::Unchanged(error.to_string());
    let host = Host::from_capture(observe(machine, if plan.is_runtime() { Scope::Runtime } else { Scope::Full }));
    let operations = journal::operations(&host.capture).map_err(|error| ApplyError::Unchanged(error.to_string()))?;
    let boot_id = host.capture.attribute("/proc/sys/kernel/random/boot_id").map(str::to_owned);
    if let Some(open) = journal::interrupted(&operations, boot_id.as_deref()) {
        return Err(ApplyError::Interrupted(open.number));
    }
    leftovers::sweep_state(machine, &operations);
    if plan.is_runtime() {
        attribute::check(machine, &host, plan, verb, &operations)?;
    } else {
        check(machine, &host, plan, verb.adds())?;
    }
    let number = operations
        .last()
        .map_or(0, |operation| operation.number)
        .checked_add(1)
        .ok_or_else(|| ApplyError::Unchanged(format!("{} has no number left: move its files away", journal::OPERATIONS)))?;
    space::check(machine, plan).map_err(ApplyError::Unchanged)?;
    if let Some(meant) = trial::number_of(plan).filter(|meant| *meant != number && verb == Verb::Trial) {
        return Err(ApplyError::HostChanged(format!("the plan is for operation {meant}, and this one is {number}")));
    }
    let begin = journal::begin(verb, machine.time(), boot_id, plan);
    let path = journal::path(number);
    machine.create_private(&path, journal::line(&begin).as_bytes()).map_err(unchanged)?;
    let mut run = Run { machine, plan, number, path, started: Vec::new(), made: Vec::new(), kept: Vec::new(), tell };
    let result = run.steps().and_then(|()| run.prove());
    match result {
        Ok(proof) => {
            if let Verb::Undo(number) = verb {
                // One that stays behind, empty, does no harm.
                let _ = remove_directories(machine, &emptied(&operations, number, plan));
            }
            run.finish(End::Applied).map_err(|error| run.reopen(error))?;
            // Of what could not be removed at once.
            leftovers::sweep_beside(machine, plan, &run.kept);
            leftovers::forget_copies(machine, |copied| copied == number);
            Ok(Applied { number, proof, left_to_run: run.left_to_run(), why_left: machine.no_tools() })
        }
        Err(cause) => Err(run.roll_back(cause)),
    }
}

/// The facts that the plan rests on must still be true.
fn check(machine: &dyn Machine, host: &Host, plan: &Plan, verb_is_apply: bool) -> Result<(), ApplyError> {
    for fact in &plan.rests_on {
        if content(machine, &fact.path).as_deref().map(sha256) != fact.sha256 {
            return Err(ApplyError::HostChanged(format!("{} changed since the plan was made", fact.path)));
        }
    }
    // What is taken back needs no device: it may have been taken out, or moved.
    for identity in plan.devices.iter().filter(|_| verb_is_apply) {
        if !host.devices.is_empty() && !host.device(identity.address).is_some_and(|device| identity.matches(device)) {
            return Err(ApplyError::HostChanged(format!("{identity} is not there any more")));
        }
    }
    if let Some(lost) = guard::refusals(host, &plan.devices, &plan.accepted).into_iter().next().filter(|_| verb_is_apply) {
        return Err(ApplyError::Unchanged(format!("{}: {}", lost.id, lost.message)));
    }
    if machine.runs_tools() && !plan.steps.is_empty() && !plan.expects.iter().any(|expectation| expectation.when == When::Now) {
        return Err(ApplyError::Unchanged("the plan has nothing by which it could be proved: make it with `cede plan`".to_owned()));
    }
    let makes_images =
        plan.steps.iter().filter_map(Step::argv).flatten().any(|word| word.contains("initramfs") || word.contains("mkinitcpio"));
    if machine.runs_tools() && makes_images && verb_is_apply && !plan.expects.iter().any(|expectation| expectation.what.image().is_some()) {
        return Err(ApplyError::Unchanged(
            "no initramfs image of an installed kernel was found in /boot, so nothing could be proved: is /boot mounted?".to_owned(),
        ));
    }
    let tools = plan.steps.iter().filter_map(Step::argv).filter_map(<[String]>::first);
    for tool in tools.filter(|_| machine.runs_tools()) {
        if !matches!(machine.probe(tool), Entry::Present(_)) {
            return Err(ApplyError::Unchanged(format!("{tool} is missing: install the package that brings it")));
        }
    }
    Ok(())
}

/// One operation at work.
struct Run<'a> {
    machine: &'a dyn Machine,
    plan: &'a Plan,
    number: u32,
    path: String,
    started: Vec<usize>,
    made: Vec<String>,
    kept: Vec<(String, Option<String>)>,
    tell: &'a mut dyn FnMut(Event<'_>),
}

impl Run<'_> {
    fn record(&self, record: &Record) -> Result<(), String> {
        self.machine.append(&self.path, journal::line(record).as_bytes()).map_err(|error| error.to_string())
    }

    fn finish(&self, end: End) -> Result<(), String> {
        self.record(&Record::Finished { end })
    }

    /// Between two steps is the time to end where that is asked for.
    fn go_on(&self) -> Result<(), String> {
        self.machine.stop_asked().map_or(Ok(()), |signal| Err(format!("{signal} was received")))
    }

    fn steps(&mut self) -> Result<(), String> {
        let mut beside = 0;
        for (index, step) in self.plan.steps.iter().enumerate() {
            if index < beside {
                continue;
            }
            self.go_on()?;
            beside = index + self.beside_one_another(index)?;
            if index < beside {
                continue;
            }
            if step.path().is_none() {
                if !self.machine.runs_tools() {
                    continue;
                }
                self.keep_generated()?;
            }
            let made = step.path().map(|path| missing_above(self.machine, path)).unwrap_or_default();
            self.record(&Record::Started { step: index, made: made.clone() })?;
            self.started.push(index);
            self.made.splice(0..0, made);
            perform(self.machine, step, self.tell)?;
            if step.argv().is_some() {
                self.make_durable()?;
            }
            self.record(&Record::Done { step: index })?;
        }
        Ok(())
    }

    /// The ways of many functions from this step on, of which none waits for those in other slots; how many steps that were. The journal says first
    /// that all may have been begun.
    fn beside_one_another(&mut self, first: usize) -> Result<usize, String> {
        let steps = self.plan.steps.get(first..).unwrap_or_default();
        let chains = runtime::beside_one_another(steps);
        if chains.len() < 2 {
            return Ok(0);
        }
        let indexes: Vec<usize> = (first..).take(chains.iter().map(Vec::len).sum()).collect();
        self.record_all(indexes.iter().map(|step| Record::Started { step: *step, made: Vec::new() }))?;
        self.started.extend(&indexes);
        let of = chains.len();
        let chains = chains.into_iter().map(|chain| chain.into_iter().filter_map(|index| steps.get(index)).collect()).collect();
        (self.tell)(Event::Beside { done: 0, of });
        attribute::write_beside(self.machine, chains, &mut |done| (self.tell)(Event::Beside { done, of }))?;
        self.record_all(indexes.iter().map(|step| Record::Done { step: *step }))?;
        Ok(indexes.len())
    }

    fn record_all(&self, records: impl Iterator<Item = Record>) -> Result<(), String> {
        let lines: String = records.map(|record| journal::line(&record)).collect();
        self.machine.append(&self.path, lines.as_bytes()).map_err(|error| error.to_string())
    }

    /// A tool may leave half an image, or none: what it replaces is kept aside first, durably, and once.
    fn keep_generated(&mut self) -> Result<(), String> {
        if !self.kept.is_empty() {
            return Ok(());
        }
        for (index, path) in journal::generated(self.plan).into_iter().enumerate() {
            let copy = match self.machine.image(&path) {
                Ok(bytes) => {
                    let copy = format!("{}/{:04}-{index}", journal::KEPT, self.number);
                    self.machine.create_private(&copy, &bytes).map_err(|error| format!("{path} could not be kept aside: {error}"))?;
                    Some(copy)
                }
                Err(Entry::Absent) => None,
                Err(other) => return Err(format!("{path} could not be kept aside: {other}")),
            };
            self.record(&Record::Kept { path: path.clone(), copy: copy.clone() })?;
            self.kept.push((path, copy));
        }
        Ok(())
    }

    /// What a tool made survives a power cut from here on.
    fn make_durable(&self) -> Result<(), String> {
        let made = journal::generated(self.plan);
        made.iter().try_for_each(|path| self.machine.make_durable(path)).map_err(|error| error.to_string())
    }

    fn left_to_run(&self) -> Vec<Vec<String>> {
        let tools = self.plan.steps.iter().filter_map(Step::by_hand);
        tools.filter(|_| !self.machine.runs_tools()).collect()
    }

    /// Looks at the host anew, images opened, and judges what must hold before the reboot.
    fn prove(&mut self) -> Result<VerifyReport, String> {
        (self.tell)(Event::Proving);
        let mut expects = self.plan.expects.clone();
        if !self.machine.runs_tools() {
            expects.retain(|expectation| matches!(expectation.what, Condition::FileIs { .. }));
        }
        let report = self.look_until_met(&expects);
        // What cannot be told is not proved.
        let failed = report.outcomes.iter().find(|outcome| outcome.result != verify::Result3::Met);
        self.go_on()?;
        match failed {
            Some(outcome) => Err(format!("not proved: {}: {}", outcome.what, outcome.cause.as_deref().unwrap_or("it is not so"))),
            None => Ok(report),
        }
    }

    /// What a driver brings may come some time after it has the function.
    fn look_until_met(&self, expects: &[Expectation]) -> VerifyReport {
        let (start, limit) = (Instant::now(), if self.plan.is_runtime() { self.machine.settles_in() } else { Duration::ZERO });
        loop {
            let report = verify::verify(&look(self.machine, expects), expects, When::Now);
            if report.passed() || start.elapsed() >= limit {
                return report;
            }
            std::thread::sleep(SETTLE_TICK);
        }
    }

    /// Everything is done and proved, and that could not be recorded, or only perhaps: before a file goes back the journal must say so.
    fn reopen(&mut self, cause: String) -> ApplyError {
        match self.record(&Record::RollingBack) {
            Ok(()) => self.roll_back(cause),
            Err(_) => ApplyError::PartlyChanged {
                cause,
                rollback: "the journal still cannot be written, so every file was left as planned".to_owned(),
            },
        }
    }

    fn roll_back(&mut self, cause: String) -> ApplyError {
        (self.tell)(Event::RollingBack(&cause));
        let operation = Operation {
            number: 0,
            verb: Verb::Apply,
            time: 0,
            boot_id: None,
            plan: self.plan.clone(),
            started: self.started.clone(),
            kept: self.kept.clone(),
            made: self.made.clone(),
            end: None,
        };
        match take_back(self.machine, &operation, self.tell) {
            Ok(()) => match self.finish(End::RolledBack) {
                Ok(()) => {
                    leftovers::forget_copies(self.machine, |copied| copied == self.number);
                    ApplyError::RolledBack(cause)
                }
                Err(error) => ApplyError::PartlyChanged {
                    cause,
                    rollback: format!("every file is back, but the journal could not be closed: {error}"),
                },
            },
            Err(rollback) => {
                // The journal keeps the operation open where even this record cannot be written: `recover` then tries again.
                let _ = self.finish(End::PartlyChanged);
                ApplyError::PartlyChanged { cause, rollback }
            }
        }
    }
}

/// Does one step.
pub(crate) fn perform(machine: &dyn Machine, step: &Step, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), String> {
    tell(Event::Step(step));
    match step {
        Step::ReplaceFile { path, before, after } => {
            machine.replace(path, before.as_deref(), after.as_deref()).map_err(|error| error.to_string())?
        }
        Step::RunTool { argv, .. } => {
            let end = machine.run(argv, &mut |line| tell(Event::Output(line))).map_err(|error| error.to_string())?;
            if !end.success {
                let cause = tool_failure::explain(&end.output).map(|cause| format!(": {cause}")).unwrap_or_default();
                return Err(format!("{} failed ({}){cause}", argv.join(" "), end.status));
            }
        }
        Step::CopyImage { from, to } => copy_image(machine, from, to)?,
        Step::RemoveImage { path } => bring_back(machine, path, None)?,
        Step::WriteAttribute { path, before, after } => attribute::write(machine, path, before.as_deref(), after)?,
    }
    tell(Event::Done);
    Ok(())
}

/// Brings every file of an operation back, all of them even where one fails, then runs its tools again.
fn take_back(machine: &dyn Machine, operation: &Operation, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), String> {
    if operation.plan.is_runtime() {
        return attribute::take_back(machine, operation, tell);
    }
    let mut problems = Vec::new();
    let (choices, steps): (Vec<Step>, Vec<Step>) =
        journal::roll_back_steps(operation).into_iter().partition(|step| step.path().is_some_and(trial::once::is_choice));
    // Nothing may be started once that is gone by half.
    for step in choices.iter().filter_map(|step| choice_back(machine, step)) {
        if let Err(problem) = perform(machine, &step, tell) {
            problems.push(problem);
        }
    }
    // What tools made first: half an image may fill the disk that the files need.
    for (path, copy) in &operation.kept {
        if let Err(problem) = bring_back(machine, path, copy.as_deref()) {
            problems.push(problem);
        }
    }
    for step in steps {
        if let Step::ReplaceFile { path, after, .. } = &step
            && content(machine, path) == *after
        {
            continue;
        }
        if let (Some(argv), Some(why)) = (step.argv(), machine.no_tools()) {
            problems.push(format!("`{}` is to be run inside the mounted system, and cannot be from here: {why}", argv.join(" ")));
            continue;
        }
        if let Err(problem) = perform(machine, &around_others(machine, step), tell) {
            problems.push(problem);
        }
    }
    leftovers::sweep_beside(machine, &operation.plan, &operation.kept);
    if let Err(error) = remove_directories(machine, &operation.made) {
        problems.push(error.to_string());
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

/// The step, such that what somebody else changed in the file since stays. Where that cannot be told the step stays as it is, and fails.
fn around_others(machine: &dyn Machine, step: Step) -> Step {
    let Step::ReplaceFile { path, before: Some(ours), after: Some(old) } = &step else { return step };
    match content(machine, path).filter(|now| now != ours).map(|now| (merge::take_out(path, old, ours, &now), now)) {
        Some((Ok(merged), now)) => Step::ReplaceFile { path: path.clone(), before: Some(now), after: Some(merged) },
        _ => step,
    }
}

/// The loader may have taken the choice away since.
fn choice_back(machine: &dyn Machine, step: &Step) -> Option<Step> {
    let Step::ReplaceFile { path, after, .. } = step else { return None };
    trial::once::back(path, content(machine, path).as_deref(), after.as_deref())
}

/// Directories above a path that are not there yet, innermost first.
fn missing_above(machine: &dyn Machine, path: &str) -> Vec<String> {
    let above = std::path::Path::new(path).ancestors().skip(1).filter_map(std::path::Path::to_str);
    above.take_while(|dir| machine.probe(dir) == Entry::Absent).map(str::to_owned).collect()
}

/// The directories that the operation made which is undone, and those that other ones made above what goes: who made a directory may be undone
/// long before the last file of ours leaves it. Those inside others come first.
fn emptied(operations: &[Operation], undone: u32, plan: &Plan) -> Vec<String> {
    let goes = |step: &Step| matches!(step, Step::ReplaceFile { after: None, .. });
    let gone: Vec<&str> = plan.steps.iter().filter(|step| goes(step)).filter_map(Step::path).collect();
    let is_above = |dir: &String| gone.iter().any(|path| std::path::Path::new(path).starts_with(dir));
    let made = operations.iter().flat_map(|operation| operation.made.iter().map(move |dir| (operation.number, dir)));
    let mut list: Vec<String> = made.filter(|(number, dir)| *number == undone || is_above(dir)).map(|(_, dir)| dir.clone()).collect();
    list.sort_by_key(|dir| (std::cmp::Reverse(dir.len()), dir.clone()));
    list.dedup();
    list
}

/// Removes directories of ours, those inside others first, as far as nothing is in them.
fn remove_directories(machine: &dyn Machine, made: &[String]) -> Result<(), EffectError> {
    made.iter().try_for_each(|dir| machine.remove_directory(dir))
}

/// Takes back what an interrupted operation did. Returns its number, or `None` where none was interrupted.
///
/// # Errors
/// See [`ApplyError`].
pub fn recover(machine: &dyn Machine, tell: &mut dyn FnMut(Event<'_>)) -> Result<Option<u32>, ApplyError> {
    let unchanged = |error: EffectError| ApplyError::Unchanged(error.to_string());
    let _locked = Locked::take(machine)?;
    let capture = observe(machine, Scope::Full);
    let operations = journal::operations(&capture).map_err(|error| ApplyError::Unchanged(error.to_string()))?;
    leftovers::sweep_state(machine, &operations);
    let Some(open) = journal::interrupted(&operations, capture.attribute("/proc/sys/kernel/random/boot_id")) else { return Ok(None) };
    let finished = |end| machine.append(&journal::path(open.number), journal::line(&Record::Finished { end }).as_bytes());
    match take_back(machine, &unrecorded::added(machine, open), tell) {
        Ok(()) => {
            finished(End::RolledBack).map_err(unchanged)?;
            leftovers::forget_copies(machine, |copied| copied == open.number);
            Ok(Some(open.number))
        }
        Err(rollback) => Err(ApplyError::PartlyChanged { cause: format!("operation {} was interrupted", open.number), rollback }),
    }
}
