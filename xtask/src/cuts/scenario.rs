//! An operation to be cut, and what must be true afterwards.

use super::Result;
use super::stage::{Stage, Tree, without_state};
use std::process::Output;

/// The graphics card of the laptop.
const CARD: &str = "01:00.0";

/// One operation on a host.
pub(super) struct Scenario {
    /// Its name.
    pub(super) name: &'static str,
    /// Its command line.
    pub(super) arguments: &'static [&'static str],
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

impl Scenario {
    /// An apply on the host as it is, and an undo of it.
    pub(super) fn both(stage: &Stage) -> Result<[Self; 2]> {
        let apply = Self::learn(stage, "apply", &["apply", CARD, "--yes"], 0)?;
        let undo = Self::learn(stage, "undo", &["undo", "--yes"], 1)?;
        if undo.new != apply.old {
            return Err(format!("undo does not bring everything back: {}", difference(&apply.old, &undo.new)).into());
        }
        Ok([apply, undo])
    }

    /// Lets it run undisturbed once, to know its end.
    fn learn(stage: &Stage, name: &'static str, arguments: &'static [&'static str], operations: usize) -> Result<Self> {
        let start = stage.tree()?;
        let output = stage.cede(arguments)?;
        if output.status.code() != Some(8) {
            return Err(format!("{name} does not work even undisturbed: {}", said(&output)).into());
        }
        let (old, new) = (without_state(&start), without_state(&stage.tree()?));
        if old == new {
            return Err(format!("{name} changes nothing").into());
        }
        Ok(Self { name, arguments, old, new, start, operations })
    }

    /// Recovers, and tells where the host is; an error where that is neither old nor new, or not what was said.
    pub(super) fn recover(&self, stage: &Stage) -> std::result::Result<Landed, String> {
        let text = |error: Box<dyn std::error::Error>| error.to_string();
        let recovered = stage.cede(&["recover", "--yes"]).map_err(text)?;
        let words = said(&recovered);
        if recovered.status.code() != Some(0) {
            return Err(format!("recover ended with {}: {words}", recovered.status));
        }
        let landed = self.landed_clean(stage)?;
        let states = self.states(stage)?;
        let last = states.last().map(String::as_str).unwrap_or_default();
        let begun = states.len() > self.operations;
        let right = match landed {
            Landed::New => begun && matches!(last, "in force" | "done") && words.contains("nothing to do"),
            Landed::Old if begun => last == "rolled back",
            Landed::Old => words.contains("nothing to do"),
        };
        if right { Ok(landed) } else { Err(format!("{landed:?}, but recover says: {words}; the journal: {states:?}")) }
    }

    /// Where the host is. Nothing of ours may be left over, also not among our own state.
    fn landed_clean(&self, stage: &Stage) -> std::result::Result<Landed, String> {
        let tree = stage.tree().map_err(|error| error.to_string())?;
        let left = |path: &std::path::Path| {
            path.to_string_lossy().contains("/.cede-") || path.parent().is_some_and(|dir| dir.ends_with("cede/kept"))
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

    /// How the operations of the journal stand.
    fn states(&self, stage: &Stage) -> std::result::Result<Vec<String>, String> {
        let log = stage.cede(&["log", "--json"]).map_err(|error| error.to_string())?;
        let json: serde_json::Value = serde_json::from_slice(&log.stdout).map_err(|error| format!("log: {error}: {}", said(&log)))?;
        let list = json.get("operations").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
        Ok(list.iter().filter_map(|operation| Some(operation.get("state")?.as_str()?.to_owned())).collect())
    }
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
