//! What a check has to say.

use cede_model::Evidence;
use cede_model::pci::PciAddress;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// Works, but could be better or is clutter.
    Advice,
    /// The facts do not suffice.
    CannotTell,
    /// Stands in the way.
    Problem,
}

impl Verdict {
    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Advice => "advice",
            Self::Problem => "problem",
            Self::CannotTell => "cannot_tell",
        }
    }
}

/// One answer of one check. A finding without evidence does not exist: the constructor asks for the first piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable name of the matter (`iommu-off`).
    pub id: &'static str,
    /// How serious it is.
    pub verdict: Verdict,
    /// One sentence.
    pub summary: String,
    /// Where it was seen; never empty.
    pub evidence: Vec<Evidence>,
    /// What to do, ending in something to type where there is something.
    pub remedy: Option<String>,
    /// The functions it is about.
    pub devices: Vec<PciAddress>,
}

impl Finding {
    /// A finding with its first piece of evidence.
    pub fn new(id: &'static str, verdict: Verdict, summary: impl Into<String>, evidence: Evidence) -> Self {
        Self { id, verdict, summary: summary.into(), evidence: vec![evidence], remedy: None, devices: Vec::new() }
    }

    /// Adds more evidence.
    #[must_use]
    pub fn also(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = Some(text.into());
        self
    }

    /// Names the functions it is about.
    #[must_use]
    pub fn about(mut self, devices: impl IntoIterator<Item = PciAddress>) -> Self {
        self.devices.extend(devices);
        self
    }
}
