//! `cede.prove/1`.

use super::handoff::RefusalView;
use cede_plan::Refusal;
use cede_plan::prove::{Item, Report};
use serde::Serialize;

/// What a proof came to.
#[derive(Debug, Serialize)]
pub struct ProveView {
    format: &'static str,
    /// `attach`, `open` or `guest`.
    pub depth: &'static str,
    /// `container` or `iommufd`; `null` where it was refused.
    pub interface: Option<&'static str>,
    /// The functions, of whole groups.
    pub devices: Vec<String>,
    /// True only where everything was done and nothing failed.
    pub passed: bool,
    /// What was done, in order.
    pub steps: Vec<StepView>,
    /// Why nothing was done.
    pub refused: Vec<RefusalView>,
}

/// One step.
#[derive(Debug, Serialize)]
pub struct StepView {
    /// Stable name.
    pub step: &'static str,
    /// The system call, as strace and documentation show it.
    pub call: &'static str,
    /// A node, `group N`, an address, `the guest`, or an address with `, returned`: once more, after the guest had it.
    pub subject: String,
    /// `met`, `notice` or `not_met`.
    pub outcome: &'static str,
    /// What was seen, or what the failure means.
    pub text: String,
    /// `EPERM`…; the number where it has no name here; `null` where the kernel did not refuse.
    pub errno: Option<String>,
    /// What to type or do.
    pub remedy: Option<String>,
    /// How long it took.
    pub milliseconds: f64,
}

impl ProveView {
    /// The view of a report.
    pub fn new(report: &Report) -> Self {
        Self {
            format: "cede.prove/1",
            depth: report.wish.depth.name(),
            interface: Some(report.wish.interface.name()),
            devices: report.wish.targets.iter().map(|target| target.address.to_string()).collect(),
            passed: report.passed(),
            steps: report.items.iter().map(step).collect(),
            refused: Vec::new(),
        }
    }

    /// The view of a refusal.
    pub fn refused(depth: &'static str, refusals: &[Refusal]) -> Self {
        let refused = refusals.iter().map(RefusalView::new).collect();
        Self { format: "cede.prove/1", depth, interface: None, devices: Vec::new(), passed: false, steps: Vec::new(), refused }
    }
}

fn step(item: &Item) -> StepView {
    StepView {
        step: item.step.id(),
        call: item.step.call(),
        subject: item.subject.to_string(),
        outcome: item.outcome.id(),
        text: item.text.clone(),
        errno: item.errno.map(|errno| errno.symbol().map_or_else(|| errno.0.to_string(), str::to_owned)),
        remedy: item.remedy.clone(),
        milliseconds: (item.took.as_secs_f64() * 1e6).round() / 1e3,
    }
}
