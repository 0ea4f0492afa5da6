//! `cede.check/1`.

use cede_plan::{Finding, Verdict};
use serde::Serialize;

/// The findings.
#[derive(Debug, Serialize)]
pub struct CheckView {
    format: &'static str,
    /// The findings, problems first.
    pub findings: Vec<FindingView>,
}

/// One finding.
#[derive(Debug, Serialize)]
pub struct FindingView {
    /// Stable name of the matter.
    pub id: &'static str,
    /// The verdict.
    #[serde(skip)]
    pub grade: Verdict,
    /// `fine`, `advice`, `problem` or `cannot_tell`.
    pub verdict: &'static str,
    /// One sentence.
    pub summary: String,
    /// Where it was seen.
    pub evidence: Vec<EvidenceView>,
    /// What to do.
    pub remedy: Option<String>,
    /// The functions it is about.
    pub devices: Vec<String>,
}

/// Where a fact is from.
#[derive(Debug, Serialize)]
pub struct EvidenceView {
    /// Path, or another source.
    pub source: String,
    /// Line, from 1.
    pub line: Option<u32>,
    /// What stands there.
    pub text: String,
}

impl CheckView {
    /// The view of findings.
    pub fn new(findings: &[Finding]) -> Self {
        Self { format: "cede.check/1", findings: findings.iter().map(FindingView::new).collect() }
    }
}

impl FindingView {
    fn new(finding: &Finding) -> Self {
        let evidence = finding.evidence.iter().map(|e| EvidenceView { source: e.source.clone(), line: e.line, text: e.text.clone() });
        Self {
            id: finding.id,
            grade: finding.verdict,
            verdict: finding.verdict.name(),
            summary: finding.summary.clone(),
            evidence: evidence.collect(),
            remedy: finding.remedy.clone(),
            devices: finding.devices.iter().map(ToString::to_string).collect(),
        }
    }
}
