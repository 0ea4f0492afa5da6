//! The verdict and what it rests on.

use super::errno::Errno;
use super::record::Subject;
use super::step::Step;
use super::wish::Wish;
use std::time::Duration;

/// How a step came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it must be.
    Good,
    /// It works, and there is something to know.
    Notice,
    /// A guest could not use the device like this.
    Bad,
}

impl Outcome {
    /// Its stable name, for JSON.
    pub fn id(self) -> &'static str {
        match self {
            Self::Good => "met",
            Self::Notice => "notice",
            Self::Bad => "not_met",
        }
    }
}

/// What is to be said of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Which.
    pub step: Step,
    /// On what.
    pub subject: Subject,
    /// How it came out.
    pub outcome: Outcome,
    /// What was seen, or what the failure means.
    pub text: String,
    /// The kernel's answer, where it was an error.
    pub errno: Option<Errno>,
    /// What to type or do.
    pub remedy: Option<String>,
    /// How long the step took.
    pub took: Duration,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was to be proved.
    pub wish: Wish,
    /// The steps, in their order.
    pub items: Vec<Item>,
}

impl Report {
    /// True only where something was done and nothing of it failed.
    pub fn passed(&self) -> bool {
        !self.items.is_empty() && self.failure().is_none()
    }

    /// The first thing that failed: the others may only follow from it.
    pub fn failure(&self) -> Option<&Item> {
        self.items.iter().find(|item| item.outcome == Outcome::Bad)
    }
}
