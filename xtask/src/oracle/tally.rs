//! What was counted over all machines.

use super::Outcome;
use super::compare::Verdict;
use super::topology::{Machine, Unit};
use crate::results;
use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

/// Where the counts of long runs are kept.
const RESULTS: &str = "xtask/oracle-results.md";

const HEAD: &str = "# Groups foretold, beside those that kernels made

Written by `cargo xtask oracle N SEED --keep`: random machines in QEMU, each started with the IOMMU off, for the predictor, and on, for the
kernel's answer. The last two columns say of how many machines a predictor would have been wrong that does not see ACS, or not that a slot
has several functions.

| seed | topologies | machines (VT-d 6.1, AMD-Vi, virtio, VT-d 6.12) | starts (repeated) | functions (virtual) | groups | together | different | failed | seconds | no ACS | no slots |
|---|---|---|---|---|---|---|---|---|---|---|---|
";

/// Counts of a run.
pub(super) struct Tally {
    pub(super) seed: u64,
    /// Where captures are kept, and taken from instead of starting a machine again.
    pub(super) captures: Option<PathBuf>,
    start: Instant,
    pub(super) topologies: usize,
    machines: [usize; 4],
    pub(super) boots: usize,
    pub(super) repeated: usize,
    functions: usize,
    virtuals: usize,
    groups: usize,
    together: usize,
    asleep: usize,
    different: usize,
    /// Machines that did not come up as asked for.
    pub(super) failed: usize,
    needs_acs: usize,
    needs_multifunction: usize,
}

impl Tally {
    pub(super) fn new(seed: u64, captures: Option<PathBuf>) -> Self {
        Self {
            seed,
            captures,
            start: Instant::now(),
            topologies: 0,
            machines: [0; 4],
            boots: 0,
            repeated: 0,
            functions: 0,
            virtuals: 0,
            groups: 0,
            together: 0,
            asleep: 0,
            different: 0,
            failed: 0,
            needs_acs: 0,
            needs_multifunction: 0,
        }
    }

    pub(super) fn add(&mut self, machine: &Machine, verdict: &Verdict) {
        for (count, _) in self.machines.iter_mut().zip(Unit::ALL).filter(|(_, unit)| *unit == machine.unit) {
            *count += 1;
        }
        self.topologies += machine.topologies;
        self.functions += machine.functions + machine.virtual_functions;
        self.virtuals += machine.virtual_functions;
        self.groups += verdict.groups;
        self.together += verdict.together;
        self.asleep += verdict.asleep;
        self.different += usize::from(verdict.difference.is_some());
        self.needs_acs += usize::from(verdict.needs_acs);
        self.needs_multifunction += usize::from(verdict.needs_multifunction);
    }

    /// Nothing differs, nothing failed, and the machines could have shown a predictor that is wrong.
    pub(super) fn passed(&self) -> bool {
        self.different == 0 && self.failed == 0 && self.needs_acs > 0 && self.asleep > 0
    }

    /// Adds a line to the file of results.
    pub(super) fn keep(&self) -> Outcome<()> {
        let machines = self.machines.map(|count| count.to_string()).join(", ");
        let line = format!(
            "| {} | {} | {} ({machines}) | {} ({}) | {} ({}) | {} | {} | {} | {} | {} | {} | {} |\n",
            self.seed,
            self.topologies,
            self.machines.iter().sum::<usize>(),
            self.boots,
            self.repeated,
            self.functions,
            self.virtuals,
            self.groups,
            self.together,
            self.different,
            self.failed,
            self.start.elapsed().as_secs(),
            self.needs_acs,
            self.needs_multifunction
        );
        results::keep(RESULTS, HEAD, &line)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machines: usize = self.machines.iter().sum();
        writeln!(f, "{} topologies in {machines} machines, {} starts, {} s", self.topologies, self.boots, self.start.elapsed().as_secs())?;
        writeln!(
            f,
            "{} functions ({} virtual), {} groups, {} functions share one",
            self.functions, self.virtuals, self.groups, self.together
        )?;
        writeln!(f, "{} functions had ACS that was not switched on when they were read", self.asleep)?;
        writeln!(f, "a predictor without ACS is wrong on {} machines, without slots on {}", self.needs_acs, self.needs_multifunction)?;
        if self.passed() {
            return f.write_str("no difference");
        }
        write!(f, "FAILED: {} different, {} did not come up as asked for", self.different, self.failed)
    }
}
