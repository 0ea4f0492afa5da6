//! A plan: the whole change as one immutable object, with nothing left to decide when it is carried out.

pub mod condition;
pub mod format;
pub mod step;

pub use condition::{Condition, Expectation, When};
pub use step::Step;

use crate::guard::Loss;
use crate::intent::{BindMethod, Identity};
use cede_model::pci::PciAddress;

/// Why something is not planned. A plan with refusals has no steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable name of the reason (`group-has-foreign-device`).
    pub id: &'static str,
    /// What is in the way, and what to type or do.
    pub message: String,
}

impl Refusal {
    /// A refusal and its reason.
    pub fn new(id: &'static str, message: impl Into<String>) -> Self {
        Self { id, message: message.into() }
    }
}

impl From<Refusal> for Vec<Refusal> {
    fn from(refusal: Refusal) -> Self {
        vec![refusal]
    }
}

/// A fact that the plan used: a file and the digest of its bytes when the plan was made, or none where there was no such file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RestsOn {
    /// Path as seen from inside the root.
    pub path: String,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: Option<String>,
}

/// The change as one reviewable object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The functions that go to vfio-pci, by address.
    pub devices: Vec<Identity>,
    /// How their ids reach vfio-pci.
    pub bind: BindMethod,
    /// What the host loses by it and its owner gives up.
    pub accepted: Vec<Loss>,
    /// Group members that stay with their drivers: bridges and ports.
    pub stays: Vec<PciAddress>,
    /// What is done, in this order.
    pub steps: Vec<Step>,
    /// What must hold now and after the reboot.
    pub expects: Vec<Expectation>,
    /// Why nothing is planned.
    pub refused: Vec<Refusal>,
    /// What the reader should know and nothing depends on.
    pub notes: Vec<String>,
    /// The files that the plan was made from; when they changed, it is not carried out.
    pub rests_on: Vec<RestsOn>,
}

impl Plan {
    /// True where there is nothing to do and nothing in the way.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.refused.is_empty()
    }

    /// True where it is about the running system alone, and nothing is left of it after the next start.
    pub fn is_runtime(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::WriteAttribute { .. }))
    }
}
