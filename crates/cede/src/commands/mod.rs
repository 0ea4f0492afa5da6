//! One file for each verb.

pub mod apply;
pub mod bind;
pub mod capture;
pub mod check;
pub mod confirm;
pub mod demo;
pub mod devices;
pub mod explain;
pub mod groups;
pub mod handoff;
pub mod hook;
pub mod log;
pub mod persist;
pub mod plan;
pub mod prove;
pub mod recover;
pub mod redo;
pub mod report;
pub mod rom;
pub mod status;
pub mod trial;
pub mod undo;
pub mod verify;
pub mod what_if;

use crate::error::CommandError;
use crate::ui::Ui;
use cede_model::escape::misleads;
use serde::Serialize;
use std::io::{self, Write};

/// Prints one JSON document.
///
/// # Errors
/// Those of the stream.
pub fn print_json(ui: &mut Ui, view: &impl Serialize) -> Result<(), CommandError> {
    let out = ui.document();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Escaped);
    view.serialize(&mut serializer).map_err(|error| CommandError::from(io::Error::from(error)))?;
    Ok(writeln!(out)?)
}

/// Compact JSON in which also those control characters are escaped that JSON allows: terminals obey U+009B as they do `ESC [`.
struct Escaped;

impl serde_json::ser::Formatter for Escaped {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| misleads(*c)) {
            let (plain, tail) = rest.split_at(at);
            write!(writer, "{plain}\\u{:04x}", u32::from(c))?;
            rest = tail.get(c.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}
