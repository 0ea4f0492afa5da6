//! `cede.error/1`: the answer of a command that could not go on.

use crate::error::CommandError;
use crate::typed::commands;
use cede_plan::undo::Conflict;
use serde::Serialize;
use std::borrow::Cow;

/// What went wrong.
#[derive(Debug, Serialize)]
pub struct ErrorView<'a> {
    format: &'static str,
    /// Names the object.
    pub error: Cow<'a, str>,
    /// What to type or do, one on a line.
    pub hint: Option<String>,
    /// The exit code.
    pub exit: u8,
    /// What others changed where cede did; with `undo` alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictView>,
}

/// Three versions of one place; `null` where there is no file. Bytes that are not UTF-8 are replaced.
#[derive(Debug, Serialize)]
pub struct ConflictView {
    /// The file.
    pub path: String,
    /// The line, from 1, where it can be named; the versions are then of its lines, else of the file.
    pub line: Option<usize>,
    /// Without cede.
    pub before: Option<String>,
    /// As cede wrote it.
    pub ours: Option<String>,
    /// As it is.
    pub now: Option<String>,
    /// What else is in the way.
    pub trouble: Option<String>,
}

impl<'a> ErrorView<'a> {
    /// The view of an error.
    pub fn new(error: &'a CommandError) -> Self {
        Self {
            format: "cede.error/1",
            error: commands(&error.message),
            hint: (!error.hints.is_empty()).then(|| commands(&error.hints.join("\n")).into_owned()),
            exit: error.exit.code(),
            conflicts: error.conflicts.iter().map(ConflictView::new).collect(),
        }
    }
}

impl ConflictView {
    fn new(conflict: &Conflict) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let file = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(text);
        let (path, trouble) = (conflict.path.clone(), conflict.trouble.clone());
        match conflict.clash.as_ref().filter(|clash| clash.line.is_some()) {
            Some(clash) => {
                let [before, ours, now] = [&clash.before, &clash.ours, &clash.now].map(|bytes| Some(text(bytes)));
                Self { path, line: clash.line, before, ours, now, trouble }
            }
            None => {
                let [before, ours, now] = [&conflict.before, &conflict.ours, &conflict.now].map(file);
                Self { path, line: None, before, ours, now, trouble }
            }
        }
    }
}
