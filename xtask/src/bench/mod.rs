//! How long reading a host takes, beside other tools and beside the least that any program has to do.

mod contestants;
mod floor;
mod functions;
mod listing;
mod measure;
mod namespace;
mod report;
mod rounds;
mod tree;

use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Runs the benchmark, or the part of it that the arguments name.
pub(crate) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    match rounds::run(&arguments.collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask bench: {error}");
            ExitCode::FAILURE
        }
    }
}
