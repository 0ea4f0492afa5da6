//! The regenerators of the stage: those of the simulated host, writing as real ones do: in place, piece by piece.

use super::Result;
use cede_host::sim::tools;
use cede_host::{Root, Scope, observe};
use cede_model::Entry;
use std::fs;
use std::io::Write;

/// Pieces in which a file is written.
const PIECES: usize = 3;

/// Runs as the tool at `path`, in the stage.
pub(super) fn run(path: &str, arguments: impl Iterator<Item = String>) -> Result<bool> {
    let argv: Vec<String> = std::iter::once(path.to_owned()).chain(arguments).collect();
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let root = Root::open("/")?;
    let mut state = observe(&root, Scope::Full);
    let old = state.clone();
    let success = tools::run(&mut state, &words, &mut |line| println!("{line}")).ok_or("there is no such tool")?;
    for (path, entry) in state.entries() {
        if let Entry::File(bytes) = entry
            && old.file(path) != Some(bytes)
        {
            fs::create_dir_all(std::path::Path::new(path).parent().ok_or("a path without a parent")?)?;
            let mut file = fs::File::create(path)?;
            for piece in bytes.chunks(bytes.len().div_ceil(PIECES).max(1)) {
                file.write_all(piece)?;
            }
        }
    }
    Ok(success)
}
