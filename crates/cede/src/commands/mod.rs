//! One file for each verb.

pub mod apply;
pub mod capture;
pub mod check;
pub mod demo;
pub mod devices;
pub mod explain;
pub mod groups;
pub mod log;
pub mod plan;
pub mod recover;
pub mod redo;
pub mod rom;
pub mod status;
pub mod undo;
pub mod verify;
pub mod what_if;

use crate::error::CommandError;
use crate::ui::Ui;
use serde::Serialize;

/// Prints one JSON document.
///
/// # Errors
/// Those of the stream.
pub fn print_json(ui: &mut Ui, view: &impl Serialize) -> Result<(), CommandError> {
    let out = ui.out();
    serde_json::to_writer(&mut *out, view).map_err(|error| CommandError::from(std::io::Error::from(error)))?;
    Ok(writeln!(out)?)
}
