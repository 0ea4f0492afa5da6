//! The arguments.

use std::path::PathBuf;

/// How it is called.
pub(super) const USAGE: &str = "usage: cargo xtask oracle N SEED [--machine NUMBER] [--captures DIR] [--keep]

Builds N random topologies in QEMU, up to six to a machine, and compares the groups that a kernel makes of each machine with those foretold
from its configuration space as it is with the IOMMU off. The same N and SEED are the same machines. One that does not come up counts as
failed, and a further one is made in its place.

  --machine NUMBER  only this one
  --captures DIR    keeps what was read of each machine, or takes it from there instead of starting the machine again: for another predictor
  --keep            writes the counts into xtask/oracle-results.md

What differs is kept in .cache/oracle/different-SEED-NUMBER.";

/// What is to be done.
pub(super) struct Options {
    pub(super) topologies: usize,
    pub(super) seed: u64,
    pub(super) only: Option<u64>,
    pub(super) captures: Option<PathBuf>,
    pub(super) keep: bool,
}

impl Options {
    /// `None` where they are not as the usage says.
    pub(super) fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let topologies = arguments.next()?.parse().ok().filter(|count| *count > 0)?;
        let mut options = Self { topologies, seed: arguments.next()?.parse().ok()?, only: None, captures: None, keep: false };
        while let Some(word) = arguments.next() {
            match word.as_str() {
                "--machine" => options.only = Some(arguments.next()?.parse().ok()?),
                "--captures" => options.captures = Some(arguments.next()?.into()),
                "--keep" => options.keep = true,
                _ => return None,
            }
        }
        Some(options)
    }
}
