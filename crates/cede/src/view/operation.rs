//! `cede.operation/1`: the answer of the verbs that change something.

use super::handoff::RefusalView;
use super::verify::OutcomeView;
use cede_host::apply::Applied;
use cede_plan::{Plan, Refusal, Step};
use serde::Serialize;

/// What came of it.
#[derive(Debug, Serialize)]
pub struct OperationView {
    format: &'static str,
    /// `apply`, `trial`, `confirm`, `undo`, `redo` or `recover`.
    pub verb: &'static str,
    /// `done`, `unfinished` (tools of a mounted system are left to be run), `rolled_back` (by `recover`), `nothing_to_do`, `declined` or `refused`.
    pub state: &'static str,
    /// Numbers in the journal of what was carried out, or rolled back, in this order.
    pub operations: Vec<u32>,
    /// The operation that is taken back, brought back or confirmed.
    pub of: Option<u32>,
    /// Functions that it is about.
    pub devices: Vec<String>,
    /// Files to be written or removed.
    pub files: Vec<String>,
    /// Tools to be run.
    pub tools: Vec<Vec<String>>,
    /// What was checked before the reboot.
    pub proof: Vec<OutcomeView>,
    /// Tools that are still to be run by hand.
    pub left_to_run: Vec<Vec<String>>,
    /// Why they could not be run.
    pub why_left: Option<String>,
    /// Why nothing is planned.
    pub refused: Vec<RefusalView>,
    /// What to do next.
    pub next: Option<String>,
}

impl OperationView {
    /// Nothing came of it yet.
    pub fn new(verb: &'static str) -> Self {
        Self {
            format: "cede.operation/1",
            verb,
            state: "nothing_to_do",
            operations: Vec::new(),
            of: None,
            devices: Vec::new(),
            files: Vec::new(),
            tools: Vec::new(),
            proof: Vec::new(),
            left_to_run: Vec::new(),
            why_left: None,
            refused: Vec::new(),
            next: None,
        }
    }

    /// A change that was planned; several are told one after the other.
    pub fn planned(&mut self, plan: &Plan) {
        if self.devices.is_empty() {
            self.devices = plan.devices.iter().map(|device| device.address.to_string()).collect();
        }
        self.files.extend(plan.steps.iter().filter_map(Step::path).map(str::to_owned));
        self.tools.extend(plan.steps.iter().filter_map(Step::argv).map(<[String]>::to_vec));
    }

    /// A plan that is none.
    pub fn refused(&mut self, refusals: &[Refusal]) {
        self.state = "refused";
        self.refused = refusals.iter().map(RefusalView::new).collect();
    }

    /// A change that was carried out.
    pub fn applied(&mut self, applied: &Applied, next: &str) {
        self.state = if applied.left_to_run.is_empty() { "done" } else { "unfinished" };
        self.operations.push(applied.number);
        self.proof.extend(applied.proof.outcomes.iter().map(OutcomeView::new));
        self.left_to_run.extend(applied.left_to_run.iter().cloned());
        self.why_left.clone_from(&applied.why_left);
        self.next = Some(next.to_owned());
    }
}
