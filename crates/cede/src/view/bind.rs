//! `cede.bind/1`: what `bind` and `release` answer.

use super::handoff::RefusalView;
use super::verify::OutcomeView;
use cede_host::apply::Applied;
use cede_plan::Refusal;
use cede_plan::runtime::{Draft, Holder, HolderKind, Side, may_accept, moves};
use serde::Serialize;

/// What was asked for and what came of it.
#[derive(Debug, Serialize)]
pub struct BindView {
    format: &'static str,
    /// `bind` or `release`.
    pub verb: &'static str,
    /// `done`, `nothing_to_do`, `planned`, `declined` or `refused`; what fails is `cede.error/1`.
    pub result: &'static str,
    /// Its number in the journal, where it was carried out.
    pub operation: Option<u32>,
    /// The functions, each with its way.
    pub devices: Vec<WayView>,
    /// Why it was refused.
    pub refused: Vec<ReasonView>,
    /// Who uses the functions.
    pub holders: Vec<HolderView>,
    /// What the reader should know.
    pub notes: Vec<String>,
    /// What was looked at afterwards.
    pub outcomes: Vec<OutcomeView>,
    /// What becomes of it at every start, where that was asked for or ends.
    pub at_start: Option<AtStartView>,
}

/// What binds at every start.
#[derive(Debug, Serialize)]
pub struct AtStartView {
    /// `in_force`, `declined`, `planned` or `removed`.
    pub state: &'static str,
    /// The operation that wrote or removed it.
    pub operation: Option<u32>,
    /// Its files.
    pub files: Vec<String>,
}

/// A function and its way.
#[derive(Debug, Serialize)]
pub struct WayView {
    /// Which.
    pub address: String,
    /// As it was.
    pub from: SideView,
    /// As it is to be.
    pub to: SideView,
}

/// Who has a function.
#[derive(Debug, Serialize)]
pub struct SideView {
    /// The bound driver.
    pub driver: Option<String>,
    /// `driver_override`, where one is set.
    pub driver_override: Option<String>,
}

/// Why not.
#[derive(Debug, Serialize)]
pub struct ReasonView {
    /// The reason.
    #[serde(flatten)]
    pub reason: RefusalView,
    /// True for a loss that may be accepted by name.
    pub acceptable: bool,
}

/// Who or what uses a function.
#[derive(Debug, Serialize)]
pub struct HolderView {
    /// The function and its driver.
    pub function: String,
    /// `process`, `interface` or `block`.
    pub kind: &'static str,
    /// Of a process, its number.
    pub pid: Option<u32>,
    /// The name of the process, interface or block device.
    pub name: String,
    /// Of a process, the node that it has open.
    pub file: Option<String>,
    /// What to do.
    pub advice: String,
}

impl BindView {
    /// Nothing came of it yet.
    pub fn new(verb: &'static str) -> Self {
        Self {
            format: "cede.bind/1",
            verb,
            result: "nothing_to_do",
            operation: None,
            devices: Vec::new(),
            refused: Vec::new(),
            holders: Vec::new(),
            notes: Vec::new(),
            outcomes: Vec::new(),
            at_start: None,
        }
    }

    /// True where things are as was asked for.
    pub fn is_so(&self) -> bool {
        matches!(self.result, "done" | "nothing_to_do")
    }

    /// What is to be done, or why not.
    pub fn drafted(&mut self, draft: &Draft) {
        self.devices = moves(&draft.plan.steps)
            .into_iter()
            .map(|way| WayView { address: way.address.to_string(), from: side(&way.from), to: side(&way.to) })
            .collect();
        self.refused = draft.plan.refused.iter().map(refusal).collect();
        self.holders = draft.holders.iter().map(holder).collect();
        self.notes.clone_from(&draft.plan.notes);
    }

    /// What was seen afterwards.
    pub fn applied(&mut self, applied: &Applied) {
        self.result = "done";
        self.operation = Some(applied.number);
        self.outcomes = applied.proof.outcomes.iter().map(OutcomeView::new).collect();
    }
}

fn side(side: &Side) -> SideView {
    SideView { driver: side.driver.clone(), driver_override: Some(side.only.clone()).filter(|only| !only.is_empty()) }
}

fn refusal(refusal: &Refusal) -> ReasonView {
    ReasonView { reason: RefusalView::new(refusal), acceptable: may_accept(refusal.id) }
}

fn holder(holder: &Holder) -> HolderView {
    let (kind, pid, name, file) = match &holder.kind {
        HolderKind::Process(one) => ("process", Some(one.pid), one.name.clone(), Some(one.file.clone())),
        HolderKind::Interface(name) => ("interface", None, name.clone(), None),
        HolderKind::Block(name) => ("block", None, name.clone(), None),
    };
    HolderView { function: holder.function.clone(), kind, pid, name, file, advice: holder.advice.clone() }
}
