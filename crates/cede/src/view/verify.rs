//! `cede.verify/1`.

use cede_plan::verify::{Outcome, VerifyReport};
use serde::Serialize;

/// The answer of a verification.
#[derive(Debug, Serialize)]
pub struct VerifyView {
    format: &'static str,
    /// True only if something was checked and all of it held.
    pub passed: bool,
    /// What was checked.
    pub outcomes: Vec<OutcomeView>,
}

/// One condition.
#[derive(Debug, Serialize)]
pub struct OutcomeView {
    /// In words.
    pub what: String,
    /// `met`, `not_met` or `cannot_tell`.
    pub outcome: &'static str,
    /// Why not.
    pub cause: Option<String>,
}

impl VerifyView {
    /// The view of a report.
    pub fn new(report: &VerifyReport) -> Self {
        Self { format: "cede.verify/1", passed: report.passed(), outcomes: report.outcomes.iter().map(OutcomeView::new).collect() }
    }
}

impl OutcomeView {
    /// The view of one outcome.
    pub fn new(outcome: &Outcome) -> Self {
        Self { what: outcome.what.clone(), outcome: outcome.result.name(), cause: outcome.cause.clone() }
    }
}
