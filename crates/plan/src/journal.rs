//! The journal of operations: its format on disk (`cede.journal/1`), and what it says was done.
//!
//! One file for each operation, one JSON record a line. The first record holds the whole plan and is durable before any other byte of the host
//! changes. A last line without its line end was cut off by a crash and does not count. Each record ends with a sum of itself: `undo` writes
//! what stands here into the boot configuration, and no disk's flipped bit may come back as a byte of it.

use crate::digest::sha256;
use crate::plan::format::{NotAPlan, PlanFile};
use crate::plan::step::may_write;
use crate::plan::{Condition, Plan, Step};
use crate::runtime;
use cede_model::{Capture, Entry};
use serde::{Deserialize, Serialize};

/// Where the operations are kept.
pub const OPERATIONS: &str = "/var/lib/cede/operations";

/// The format's name and version.
pub const JOURNAL_FORMAT: &str = "cede.journal/1";

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Carries out a plan.
    Apply,
    /// Carries out a plan for one start.
    Trial,
    /// Takes back the operation of this number.
    Undo(u32),
    /// Brings the operation of this number, which was undone, back.
    Redo(u32),
    /// Gives functions to VFIO now, until the next start.
    Bind,
    /// Gives functions back to their drivers now.
    Release,
    /// Has libvirt give functions to a guest when it starts.
    Hook,
    /// Has systemd give functions to VFIO at every start.
    Persist,
}

impl Verb {
    /// True where the operation adds something, which can be undone.
    pub fn adds(self) -> bool {
        matches!(self, Self::Apply | Self::Trial | Self::Redo(_) | Self::Bind | Self::Hook | Self::Persist)
    }

    /// True where the files are the operation's own, which no other one writes: it is taken back apart from all others.
    pub fn is_apart(self) -> bool {
        matches!(self, Self::Trial | Self::Hook | Self::Persist)
    }
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Every step was done and proved.
    Applied,
    /// It failed and every file is as it was.
    RolledBack,
    /// It failed and not everything could be brought back.
    PartlyChanged,
}

/// One line of an operation's file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// What is going to be done.
    Begin {
        /// [`JOURNAL_FORMAT`].
        format: String,
        /// What kind of operation.
        verb: Verb,
        /// Seconds since 1970.
        time: u64,
        /// `/proc/sys/kernel/random/boot_id` of the boot in which it ran.
        boot_id: Option<String>,
        /// The plan.
        plan: Box<PlanFile>,
    },
    /// A generated file was kept aside before a tool makes it anew.
    Kept {
        /// The generated file.
        path: String,
        /// Its copy; `None` where there was no such file.
        copy: Option<String>,
    },
    /// The step of this index may have changed something.
    Started {
        /// Index into the plan's steps.
        step: usize,
        /// Directories that are made for its file, innermost first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        made: Vec<String>,
    },
    /// The step of this index is done.
    Done {
        /// Index into the plan's steps.
        step: usize,
    },
    /// What was done is taken back: whatever a record before said, the operation is open again.
    RollingBack,
    /// Nothing more happens.
    Finished {
        /// How it ended.
        end: End,
    },
}

/// One operation as its file tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its number, from 1.
    pub number: u32,
    /// What it does.
    pub verb: Verb,
    /// Seconds since 1970.
    pub time: u64,
    /// The boot in which it ran.
    pub boot_id: Option<String>,
    /// What it does in detail.
    pub plan: Plan,
    /// Steps that may have changed something, in order.
    pub started: Vec<usize>,
    /// Generated files as they were, and their copies.
    pub kept: Vec<(String, Option<String>)>,
    /// Directories that it made, those inside others first.
    pub made: Vec<String>,
    /// How it ended; `None` where it was interrupted.
    pub end: Option<End>,
}

impl Operation {
    /// One of which nothing but its beginning is known.
    fn begun(number: u32, verb: Verb, time: u64, boot_id: Option<String>, plan: Plan) -> Self {
        Self { number, verb, time, boot_id, plan, started: Vec::new(), kept: Vec::new(), made: Vec::new(), end: None }
    }
}

/// Why an operation's file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A line is no record.
    #[error("{path}:{line}: {source}")]
    Record {
        /// The file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The plan in it cannot be read.
    #[error("{path}: {source}")]
    Plan {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: NotAPlan,
    },
    /// The first record is missing, or there are two.
    #[error("{path}: it does not begin with one record of {JOURNAL_FORMAT}: it is damaged")]
    NoBegin {
        /// The file.
        path: String,
    },
    /// The file is of another format.
    #[error("{path}: its format is {format}, not {JOURNAL_FORMAT}: another version of cede made it; use that one")]
    OtherFormat {
        /// The file.
        path: String,
        /// What it says.
        format: String,
    },
    /// A record cannot be true.
    #[error("{path}:{line}: {why}: it is damaged")]
    Untrue {
        /// The file.
        path: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file in the directory has a number and not the name that goes with it, so it cannot be told which operation it was.
    #[error("{path}: its name is none that cede gives (`0001.jsonl` and on)")]
    OtherName {
        /// The file.
        path: String,
    },
    /// The journal is there and what stands there is no file to be read.
    #[error("{path}: {why}")]
    NoFile {
        /// The file.
        path: String,
        /// What it is.
        why: String,
    },
    /// The journal is there and may not be read.
    #[error("{path}: {why}: run as root")]
    Unreadable {
        /// The file or directory.
        path: String,
        /// The error's name.
        why: String,
    },
}

/// Where generated files are kept while an operation runs.
pub const KEPT: &str = "/var/lib/cede/kept";

/// The path of an operation's file.
pub fn path(number: u32) -> String {
    format!("{OPERATIONS}/{number:04}.jsonl")
}

/// A record as its line. Those that may follow a line that a failure cut off begin with a line end of their own.
pub fn line(record: &Record) -> String {
    let text = serde_json::to_string(record).unwrap_or_default();
    let cut = if matches!(record, Record::RollingBack | Record::Finished { .. }) { "\n" } else { "" };
    format!("{cut}{}\n", sealed(&text))
}

/// A record that was read and changed, with the sum of what it is now.
pub(crate) fn resealed(mut record: serde_json::Value) -> String {
    record.as_object_mut().map(|fields| fields.remove("sum"));
    sealed(&record.to_string())
}

/// The text of a record, and its sum.
fn sealed(text: &str) -> String {
    let body = text.strip_suffix('}').unwrap_or(text);
    format!("{body}{SUM}{}\"}}", sum(body.as_bytes()))
}

/// What comes before a record's sum.
const SUM: &str = ",\"sum\":\"";

/// The beginning of the SHA-256 of what comes before: enough against accidents, and who can write the journal can write the sum too.
fn sum(body: &[u8]) -> String {
    sha256(body).chars().take(16).collect()
}

/// Whether a record is as it was written; `None` where it has no sum.
pub(crate) fn is_whole(text: &[u8]) -> Option<bool> {
    let at = text.windows(SUM.len()).rposition(|window| window == SUM.as_bytes())?;
    let (body, rest) = text.split_at_checked(at)?;
    let told = rest.get(SUM.len()..)?.strip_suffix(b"\"}")?;
    Some(told == sum(body).as_bytes())
}

/// The first record of an operation.
pub fn begin(verb: Verb, time: u64, boot_id: Option<String>, plan: &Plan) -> Record {
    Record::Begin { format: JOURNAL_FORMAT.to_owned(), verb, time, boot_id, plan: Box::new(PlanFile::from(plan)) }
}

/// Every operation of a host, oldest first.
///
/// # Errors
/// The journal cannot be read, or a file in it is damaged.
pub fn operations(capture: &Capture) -> Result<Vec<Operation>, JournalError> {
    match capture.get(OPERATIONS) {
        Some(Entry::Unreadable(why)) => return Err(unreadable(OPERATIONS, why)),
        Some(Entry::File(_) | Entry::Present(_) | Entry::Link(_)) => return Err(unreadable(OPERATIONS, "not a directory")),
        _ => {}
    }
    let mut list = Vec::new();
    for name in capture.names_in(OPERATIONS) {
        let Some(stem) = name.strip_suffix(".jsonl").filter(|stem| !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit()))
        else {
            continue;
        };
        let file = format!("{OPERATIONS}/{name}");
        // A copy under another number would be an operation that nobody carried out.
        let Some(number) = stem.parse().ok().filter(|number| *number > 0 && path(*number) == file) else {
            return Err(JournalError::OtherName { path: file });
        };
        match capture.get(&file) {
            Some(Entry::File(bytes)) => list.push(read(number, &file, bytes)?),
            Some(Entry::Unreadable(why)) => return Err(unreadable(&file, why)),
            _ => return Err(unreadable(&file, "not a regular file")),
        }
    }
    list.sort_by_key(|operation: &Operation| operation.number);
    Ok(list)
}

/// The gaps between the numbers that are there, which come in order. Operations are numbered one after the other, so their files were taken away.
/// Each gap as `FILE is` with `operation N`, or `FILE to FILE are` with `operations N to M`; a stranger's journal may have a gap of any length.
pub fn missing(operations: &[Operation]) -> Vec<(String, String)> {
    let numbers = operations.iter().map(|operation| operation.number);
    let gaps = std::iter::once(0).chain(numbers.clone()).zip(numbers).filter(|(one, next)| next.saturating_sub(*one) > 1);
    let told = |(before, after): (u32, u32)| match (before + 1, after - 1) {
        (first, last) if first == last => (format!("{} is", path(first)), format!("operation {first}")),
        (first, last) => (format!("{} to {} are", path(first), path(last)), format!("operations {first} to {last}")),
    };
    gaps.map(told).collect()
}

fn unreadable(path: &str, why: &str) -> JournalError {
    let (path, why) = (path.to_owned(), why.to_owned());
    if matches!(why.as_str(), "EACCES" | "EPERM") { JournalError::Unreadable { path, why } } else { JournalError::NoFile { path, why } }
}

/// Why a record that can be read cannot be true of this operation, of which these steps are done.
fn untrue(record: &Record, operation: &Operation, done: &[usize]) -> Option<&'static str> {
    let started = |step: &usize| operation.started.contains(step);
    match record {
        Record::Started { step, .. } | Record::Done { step } if *step >= operation.plan.steps.len() => Some("the plan has no such step"),
        Record::Started { made, .. } if !made.iter().all(|dir| may_write(dir) || dir == crate::trial::STATE) => {
            Some("cede makes no such directory")
        }
        Record::Kept { path, .. } if !may_write(path) => Some("cede keeps no such file"),
        Record::Kept { copy: Some(copy), .. }
            if copy.strip_prefix(KEPT).and_then(|rest| rest.strip_prefix('/')).is_none_or(|name| name.contains('/')) =>
        {
            Some("cede keeps no file there")
        }
        Record::Started { .. } | Record::Done { .. } | Record::Kept { .. } if operation.end.is_some() => {
            Some("it follows the operation's end")
        }
        Record::Started { step, .. } if started(step) => Some("the step was begun before"),
        Record::Done { step } if !started(step) || done.contains(step) => Some("the step was not begun, or is done already"),
        Record::Kept { path, .. } if operation.kept.iter().any(|(kept, _)| kept == path) => Some("the file was kept before"),
        // Tools that cannot be run are left to a person; files are not.
        Record::Finished { end: End::Applied } => {
            let is_file = |index: usize| operation.plan.steps.get(index).is_some_and(|step| step.path().is_some());
            let is_left = |index: usize| !done.contains(&index) && (started(&index) || is_file(index));
            (0..operation.plan.steps.len()).any(is_left).then_some("it says that all is done, and no record says so of each step")
        }
        _ => None,
    }
}

/// Reads one operation's file.
///
/// # Errors
/// It is damaged.
pub fn read(number: u32, path: &str, bytes: &[u8]) -> Result<Operation, JournalError> {
    let mut operation: Option<Operation> = None;
    let mut done: Vec<usize> = Vec::new();
    let mut torn: Option<JournalError> = None;
    let mut has_sums = false;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    for (index, text) in
        bytes.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n').enumerate().filter(|(_, text)| !text.is_empty())
    {
        let damage = |why| JournalError::Untrue { path: path.to_owned(), line: index + 1, why };
        let record = match serde_json::from_slice(text) {
            Ok(record) => record,
            // A crash may cut a line off, and another one what `recover` writes behind it; in the end it is closed. Anything else is damage.
            Err(source) if operation.is_some() => {
                torn.get_or_insert(JournalError::Record { path: path.to_owned(), line: index + 1, source });
                continue;
            }
            Err(source) => return Err(JournalError::Record { path: path.to_owned(), line: index + 1, source }),
        };
        if let Some(why) = operation.as_ref().filter(|_| torn.is_none()).and_then(|operation| untrue(&record, operation, &done)) {
            return Err(damage(why));
        }
        let is_whole = is_whole(text);
        match (record, &mut operation) {
            (Record::Begin { format, .. }, None) if format != JOURNAL_FORMAT => {
                return Err(JournalError::OtherFormat { path: path.to_owned(), format });
            }
            (Record::Begin { verb, time, boot_id, plan, .. }, None) => {
                let plan = Plan::try_from(*plan).map_err(|source| JournalError::Plan { path: path.to_owned(), source })?;
                operation = Some(Operation::begun(number, verb, time, boot_id, plan));
                has_sums = is_whole.is_some();
            }
            (Record::Finished { end }, Some(operation)) if end != End::Applied || torn.is_none() => operation.end = Some(end),
            (Record::RollingBack, Some(operation)) => operation.end = None,
            (Record::Kept { path, copy }, Some(operation)) if torn.is_none() => operation.kept.push((path, copy)),
            (Record::Started { step, made }, Some(operation)) if torn.is_none() => {
                operation.started.push(step);
                operation.made.splice(0..0, made);
            }
            (Record::Done { step }, Some(_)) if torn.is_none() => done.push(step),
            _ => return Err(torn.unwrap_or_else(|| JournalError::NoBegin { path: path.to_owned() })),
        }
        // Earlier versions wrote none; this one may close what they left open.
        if is_whole == Some(false) || (has_sums && is_whole.is_none()) {
            return Err(damage("it is not what was written (its sum says so)"));
        }
    }
    operation.ok_or_else(|| JournalError::NoBegin { path: path.to_owned() })
}

/// The operations but for those with files of their own, what took them back, and what was about the running system alone.
pub fn lasting(operations: &[Operation]) -> Vec<Operation> {
    let is_apart = |number: u32| operations.iter().any(|other| other.number == number && other.verb.is_apart());
    let ends_one = |operation: &&Operation| matches!(operation.verb, Verb::Undo(number) if is_apart(number));
    let is_lasting = |operation: &&Operation| !operation.verb.is_apart() && !ends_one(operation) && !operation.plan.is_runtime();
    operations.iter().filter(is_lasting).cloned().collect()
}

/// True where a start is needed for the machine to be what the operation wrote: not where it was about the running system, about guests, or about
/// what is so already and is to be so again.
pub fn is_for_a_start(operations: &[Operation], operation: &Operation) -> bool {
    let is_now = |verb: Verb| matches!(verb, Verb::Hook | Verb::Persist);
    let was_now = |number: u32| operations.iter().any(|other| other.number == number && is_now(other.verb));
    !operation.plan.is_runtime() && !is_now(operation.verb) && !matches!(operation.verb, Verb::Undo(number) if was_now(number))
}

/// True where the operation's changes are in the host's files: it was applied, and no later operation took it back. What is about the running
/// system alone is never so: see [`crate::runtime::in_force`].
pub fn in_force(operations: &[Operation], operation: &Operation) -> bool {
    let undone = operations.iter().any(|other| other.verb == Verb::Undo(operation.number) && other.end == Some(End::Applied));
    operation.verb.adds() && !operation.plan.is_runtime() && operation.end == Some(End::Applied) && !undone
}

/// How an operation stands, in words, in the boot of this id.
pub fn standing(operations: &[Operation], operation: &Operation, boot_id: Option<&str>) -> &'static str {
    match operation.end {
        _ if runtime::is_void(operation, boot_id) => "over since the reboot",
        None => "interrupted",
        Some(End::RolledBack) => "rolled back",
        Some(End::PartlyChanged) => "partly rolled back",
        Some(End::Applied) if !operation.verb.adds() => "done",
        Some(End::Applied) if runtime::in_force(operations, operation, boot_id) => "until the reboot",
        Some(End::Applied) if operation.verb == Verb::Bind => "released",
        Some(End::Applied) if in_force(operations, operation) => "in force",
        Some(End::Applied) => "undone",
    }
}

/// The operation that is neither done nor taken back: it was interrupted, or its roll-back failed, and no start of the machine since then made
/// it void. Without an id of the boot none is void.
pub fn interrupted<'o>(operations: &'o [Operation], boot_id: Option<&str>) -> Option<&'o Operation> {
    let is_open = |operation: &&Operation| matches!(operation.end, None | Some(End::PartlyChanged));
    operations.iter().filter(is_open).find(|operation| !runtime::is_void(operation, boot_id))
}

/// The file steps of an operation that may have changed something, last first, as steps that take them back. Its tools follow where one was
/// started and what they make was not kept.
pub fn roll_back_steps(operation: &Operation) -> Vec<Step> {
    let started: Vec<Step> = operation.started.iter().filter_map(|index| operation.plan.steps.get(*index).cloned()).collect();
    let mut steps = crate::plan::step::inverse(&started);
    let ran_tool = steps.iter().any(|step| step.path().is_none());
    steps.retain(|step| step.path().is_some());
    if ran_tool && operation.kept.is_empty() {
        steps.extend(operation.plan.steps.iter().filter(|step| step.path().is_none()).cloned());
    }
    steps
}

/// Files that the tools of a plan make, and images that it takes away: what it proves of images without writing them itself, and GRUB's menu.
pub fn generated(plan: &Plan) -> Vec<String> {
    let removed = |step: &Step| if let Step::RemoveImage { path } = step { Some(path.clone()) } else { None };
    let mut list: Vec<String> = plan.steps.iter().filter_map(removed).collect();
    for expectation in &plan.expects {
        let menu = matches!(expectation.what, Condition::MenuStarts { .. }).then_some(crate::bootloader::entries::GRUB_CFG);
        let Some(path) = expectation.what.image().or(menu) else { continue };
        let is_written = plan.steps.iter().any(|step| step.path() == Some(path));
        if !is_written && !list.iter().any(|other| other == path) {
            list.push(path.to_owned());
        }
    }
    list
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
