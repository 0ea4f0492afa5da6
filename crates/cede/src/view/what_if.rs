//! `cede.what-if/1`: groups as they would be, and what differs from today.

use crate::view::explain::list;
use cede_model::iommu::scenario::{Regrouping, Scenario};
use cede_model::iommu::{Change, GroupTable, Origin};
use cede_model::pci::PciAddress;
use serde::Serialize;

/// The answer.
#[derive(Debug, Serialize)]
pub struct WhatIfView {
    format: &'static str,
    /// The changes, as understood.
    pub changes: Vec<String>,
    /// What today's groups are: `kernel`, `predicted` or `bounds`.
    pub today: &'static str,
    /// `predicted` or `bounds`: what can be said of the groups that would be.
    pub origin: &'static str,
    /// How many groups there are today.
    pub before: usize,
    /// How many there would be.
    pub after: usize,
    /// Functions that would stand elsewhere or be new.
    pub moved: Vec<MovedView>,
    /// What differs; groups that have to do with each other together.
    pub regroupings: Vec<RegroupingView>,
    /// Whether this kernel has the override patch, where it was asked for.
    pub patch: Option<PatchView>,
    /// A kernel that was asked for, of which the rules are not known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_kernel: Option<String>,
    /// All groups as they would be, by new addresses.
    pub groups: Vec<Vec<String>>,
}

/// A function that would stand elsewhere.
#[derive(Debug, Serialize)]
pub struct MovedView {
    /// Where it would be.
    pub address: String,
    /// Where it is; `null` where it is not there yet.
    pub former: Option<String>,
}

/// Groups that differ. Functions that move are named by where they are today.
#[derive(Debug, Serialize)]
pub struct RegroupingView {
    /// Today.
    pub before: Vec<Vec<String>>,
    /// Then.
    pub after: Vec<Vec<String>>,
}

/// What is known of the override patch.
#[derive(Debug, Serialize)]
pub struct PatchView {
    /// `yes`, `no` or `cannot_tell`.
    pub here: &'static str,
    /// By what.
    pub known_by: String,
}

impl WhatIfView {
    /// The view of a scenario.
    pub fn new(changes: &[Change], table: &GroupTable, scenario: &Scenario, regroupings: &[Regrouping]) -> Self {
        let prediction = scenario.topology.prediction();
        let moved = scenario
            .former
            .iter()
            .map(|(address, former)| MovedView { address: address.to_string(), former: former.map(|former| former.to_string()) });
        Self {
            format: "cede.what-if/1",
            changes: changes.iter().map(ToString::to_string).collect(),
            today: table.origin.name(),
            origin: if prediction.origin() == Origin::Predicted { "predicted" } else { "bounds" },
            before: table.rows.len(),
            after: prediction.certain().len(),
            moved: moved.collect(),
            regroupings: regroupings.iter().map(regrouping).collect(),
            patch: None,
            unknown_kernel: changes.iter().find_map(unknown_kernel),
            groups: prediction.certain().iter().map(|group| list(group)).collect(),
        }
    }
}

fn unknown_kernel(change: &Change) -> Option<String> {
    match change {
        Change::Kernel(version) if !version.has_known_rules() => Some(version.to_string()),
        _ => None,
    }
}

fn regrouping(regrouping: &Regrouping) -> RegroupingView {
    let lists = |groups: &[Vec<PciAddress>]| groups.iter().map(|group| list(group)).collect();
    RegroupingView { before: lists(&regrouping.before), after: lists(&regrouping.after) }
}
