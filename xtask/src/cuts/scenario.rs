//! An operation to be cut, and what must be true afterwards.

use super::Result;
use super::hosts::CARD;
use super::stage::{Stage, Tree, without_state};
use cede_model::Entry;
use cede_plan::initramfs::mkinitcpio::builds::LENT;
use std::collections::BTreeMap;
use std::process::Output;

/// One operation on a host: where it begins, and how it ends undisturbed.
pub(super) struct Script {
    /// Its name.
    pub(super) name: &'static str,
    arguments: &'static [&'static str],
    /// What was done before it; nothing for a host as it is at first.
    after: Option<&'static str>,
    /// The machine was started for trial since.
    started: bool,
    /// Everything that boots is as it was at first in the end.
    comes_back: bool,
    /// It runs tools.
    pub(super) tools: bool,
    done: i32,
}

/// What is cut. Those that need a start come last: it is not taken back.
pub(super) const SCRIPTS: [Script; 6] = [
    script("apply", &["apply", CARD, "--yes"], 8),
    Script { after: Some("apply"), comes_back: true, ..script("undo", &["undo", "--yes"], 8) },
    script("trial", &["apply", CARD, "--trial", "--yes"], 8),
    Script { after: Some("trial"), comes_back: true, tools: false, ..script("undo of a trial", &["undo", "--yes"], 0) },
    Script { after: Some("trial"), started: true, comes_back: true, tools: false, ..script("undo in the trial", &["undo", "--yes"], 0) },
    Script { after: Some("trial"), started: true, ..script("confirm", &["confirm", "--yes"], 0) },
];

const fn script(name: &'static str, arguments: &'static [&'static str], done: i32) -> Script {
    Script { name, arguments, after: None, started: false, comes_back: false, tools: true, done }
}

/// An operation, and all that is to be known of its host.
pub(super) struct Scenario {
    /// Its name.
    pub(super) name: &'static str,
    /// Its command line.
    pub(super) arguments: &'static [&'static str],
    /// Its exit status where it works.
    pub(super) done: i32,
    /// Everything that may change, before it.
    pub(super) start: Tree,
    /// What boots, before it.
    old: Tree,
    /// What boots, after it.
    new: Tree,
    /// Operations in the journal before it.
    operations: usize,
}

/// Where the host landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landed {
    /// Exactly as before.
    Old,
    /// Exactly as wished.
    New,
}

/// A host, and what it was after each operation that was learned.
pub(super) struct Past<'a> {
    stage: &'a Stage,
    by_trial: &'a [(String, Entry)],
    first: Tree,
    ends: BTreeMap<&'static str, Tree>,
}

impl<'a> Past<'a> {
    /// The host as it is at first, and what a start for trial changes of it.
    pub(super) fn new(stage: &'a Stage, by_trial: &'a [(String, Entry)]) -> Result<Self> {
        Ok(Self { stage, by_trial, first: stage.tree()?, ends: BTreeMap::new() })
    }

    /// Lets an operation run undisturbed once, to know its end.
    pub(super) fn learn(&mut self, script: &Script) -> Result<Scenario> {
        let (stage, name) = (self.stage, script.name);
        stage.restore(script.after.map_or(Some(&self.first), |before| self.ends.get(before)).ok_or("scripts in a wrong order")?)?;
        if script.started {
            stage.put(self.by_trial)?;
        }
        let start = stage.tree()?;
        let operations = states(stage)?.len();
        let output = stage.cede(script.arguments)?;
        if output.status.code() != Some(script.done) {
            return Err(format!("{name} does not work even undisturbed: {}: {}", output.status, said(&output)).into());
        }
        let end = stage.tree()?;
        let (old, new) = (without_state(&start), without_state(&end));
        if old == new {
            return Err(format!("{name} changes nothing").into());
        }
        let first = without_state(&self.first);
        if script.comes_back && new != first {
            return Err(format!("{name} does not bring everything back: {}", difference(&first, &new)).into());
        }
        self.ends.insert(name, end);
        Ok(Scenario { name, arguments: script.arguments, done: script.done, start, old, new, operations })
    }
}

impl Scenario {
    /// Recovers, and tells where the host is; an error where that is neither old nor new, or not what was said.
    pub(super) fn recover(&self, stage: &Stage) -> std::result::Result<Landed, String> {
        let text = |error: Box<dyn std::error::Error>| error.to_string();
        let recovered = stage.cede(&["recover", "--yes"]).map_err(text)?;
        let words = said(&recovered);
        if recovered.status.code() != Some(0) {
            return Err(format!("recover ended with {}: {words}", recovered.status));
        }
        let landed = self.landed_clean(stage)?;
        let states = states(stage)?;
        let last = states.last().map(String::as_str).unwrap_or_default();
        let begun = states.len() > self.operations;
        let right = match landed {
            // A confirmation by half is carried to its end.
            Landed::New => begun && matches!(last, "in force" | "done") && (words.contains("nothing to do") || words.contains("confirmed")),
            Landed::Old if begun => last == "rolled back",
            Landed::Old => words.contains("nothing to do"),
        };
        if right { Ok(landed) } else { Err(format!("{landed:?}, but recover says: {words}; the journal: {states:?}")) }
    }

    /// Where the host is. Nothing of ours may be left over, also not among our own state.
    fn landed_clean(&self, stage: &Stage) -> std::result::Result<Landed, String> {
        let tree = stage.tree().map_err(|error| error.to_string())?;
        let left = |path: &std::path::Path| {
            let ours = ["cede/kept", LENT.trim_start_matches('/')];
            path.to_string_lossy().contains("/.cede-") || path.parent().is_some_and(|dir| ours.iter().any(|ours| dir.ends_with(ours)))
        };
        match tree.iter().find(|(path, ..)| left(path)) {
            Some((path, ..)) => Err(format!("{} is left over", path.display())),
            None => self.landed(stage),
        }
    }

    /// Where the host is, by what boots.
    pub(super) fn landed(&self, stage: &Stage) -> std::result::Result<Landed, String> {
        let boots = without_state(&stage.tree().map_err(|error| error.to_string())?);
        match (boots == self.old, boots == self.new) {
            (true, _) => Ok(Landed::Old),
            (_, true) => Ok(Landed::New),
            _ => Err(format!("neither old ({}) nor new ({})", difference(&self.old, &boots), difference(&self.new, &boots))),
        }
    }
}

/// How the operations of the journal stand.
fn states(stage: &Stage) -> std::result::Result<Vec<String>, String> {
    let log = stage.cede(&["log", "--json"]).map_err(|error| error.to_string())?;
    let json: serde_json::Value = serde_json::from_slice(&log.stdout).map_err(|error| format!("log: {error}: {}", said(&log)))?;
    let list = json.get("operations").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    Ok(list.iter().filter_map(|operation| Some(operation.get("state")?.as_str()?.to_owned())).collect())
}

/// Both streams of a command.
pub(super) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)).trim().to_owned()
}

/// Paths that differ, a few of them.
fn difference(left: &Tree, right: &Tree) -> String {
    let mut paths: Vec<String> = left
        .iter()
        .filter(|entry| !right.contains(entry))
        .chain(right.iter().filter(|entry| !left.contains(entry)))
        .map(|(path, mode, _)| format!("{} {mode:o}", path.display()))
        .collect();
    paths.sort();
    paths.truncate(6);
    paths.join(", ")
}
