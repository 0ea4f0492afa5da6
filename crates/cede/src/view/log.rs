//! `cede.log/1`.

use cede_plan::Step;
use cede_plan::journal::{Operation, Verb, standing};
use serde::Serialize;

/// The operations, oldest first.
#[derive(Debug, Serialize)]
pub struct LogView {
    format: &'static str,
    /// The operations.
    pub operations: Vec<OperationView>,
}

/// One operation.
#[derive(Debug, Serialize)]
pub struct OperationView {
    /// Its number.
    pub number: u32,
    /// `apply`, `trial`, `undo`, `redo`, `bind` or `release`.
    pub verb: &'static str,
    /// The operation that an undo takes back, or a redo brings back.
    pub of: Option<u32>,
    /// Seconds since 1970.
    pub time: u64,
    /// How it stands, in words.
    pub state: &'static str,
    /// Functions that it is about.
    pub devices: Vec<String>,
    /// Files that it wrote.
    pub files: Vec<String>,
}

impl LogView {
    /// The view of a journal.
    pub fn new(list: &[Operation], boot_id: Option<&str>) -> Self {
        let view = |operation: &Operation| OperationView {
            number: operation.number,
            verb: match operation.verb {
                Verb::Apply => "apply",
                Verb::Trial => "trial",
                Verb::Undo(_) => "undo",
                Verb::Redo(_) => "redo",
                Verb::Bind => "bind",
                Verb::Hook => "hook",
                Verb::Release => "release",
                Verb::Persist => "persist",
            },
            of: match operation.verb {
                Verb::Apply | Verb::Trial | Verb::Bind | Verb::Release | Verb::Hook | Verb::Persist => None,
                Verb::Undo(of) | Verb::Redo(of) => Some(of),
            },
            time: operation.time,
            state: standing(list, operation, boot_id),
            devices: operation.plan.devices.iter().map(|device| device.address.to_string()).collect(),
            files: operation.plan.steps.iter().filter_map(Step::path).map(str::to_owned).collect(),
        };
        Self { format: "cede.log/1", operations: list.iter().map(view).collect() }
    }
}
