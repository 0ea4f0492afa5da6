//! How many landed where.

use std::fmt;

use super::Landed;
use crate::results;
use crate::vm::Outcome;
use crate::vm::progress::Progress;
use crate::vm::recipe::Model;

/// Where the counts of long runs are kept.
const RESULTS: &str = "xtask/power-results.md";

const HEAD: &str = "# Power cuts, and where the machines landed

Written by `cargo xtask vm --power-cuts N`, `--power-kills N` and `--power-states`, each with `--keep`. Intel starts by BIOS and GRUB from ext4, efi by
UEFI and systemd-boot from a FAT. *Killed*: QEMU by SIGKILL in the middle, the machine started again from what that left, `cede recover`,
every file compared. *Cut*: the disk of an instant made from the log of all writes, without some or all that was not flushed, then
the same. *State*: such a disk at each flush and between them, looked at without a start: what the boot loader reads, then `cede recover --root`.

| machine | operation | how | instants | landed old | landed new | lost |
|---|---|---|---|---|---|---|
";

/// Counts of the cuts in one operation.
pub(super) struct Tally {
    verb: &'static str,
    how: &'static str,
    old: usize,
    new: usize,
    pub(super) lost: Vec<String>,
}

impl Tally {
    pub(super) fn new(verb: &'static str, how: &'static str) -> Self {
        Self { verb, how, old: 0, new: 0, lost: Vec::new() }
    }

    /// Counts one, and says so.
    pub(super) fn add(&mut self, landed: Landed, name: &str, progress: &Progress) {
        let word = match landed {
            Landed::Old => {
                self.old += 1;
                "landed old".to_owned()
            }
            Landed::New => {
                self.new += 1;
                "landed new".to_owned()
            }
            Landed::Lost(why) => {
                self.lost.push(format!("{}, {name}: {why}", self.verb));
                format!("LOST: {why}")
            }
        };
        progress.say(&format!("{}, {name}: {word}", self.verb));
    }

    fn all(&self) -> usize {
        self.old + self.new + self.lost.len()
    }

    /// Adds a line to the file of results.
    pub(super) fn keep(&self, model: Model) -> Outcome<()> {
        let Self { verb, how, old, new, lost } = self;
        let line = format!("| {model} | {verb} | {how} | {} | {old} | {new} | {} |\n", self.all(), lost.len());
        results::keep(RESULTS, HEAD, &line)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, how, old, new, lost } = self;
        write!(f, "{verb}, {how}: {} instants, landed old {old}, landed new {new}, lost {}", self.all(), lost.len())
    }
}
