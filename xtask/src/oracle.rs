//! `cargo xtask oracle`: random machines, whose groups are foretold from what was read with the IOMMU off and then made by a real kernel.
//!
//! Each machine is started twice. The first start has the IOMMU switched off, and its capture is all that the predictor gets; the second
//! has it on, and the kernel's partition of the whole machine must be the one foretold. Firmware and kernel number the buses alike both
//! times, which is checked. A topology is what hangs on one slot of a root bus; a machine has some of them.

use boot::{Bench, Translation};
use cede_model::capture_text;
use compare::{Pair, Verdict};
use kernel::Kernel;
use options::Options;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tally::Tally;
use topology::{Machine, Unit};

mod boot;
mod compare;
mod guest;
mod initramfs;
mod kernel;
mod options;
mod parts;
mod random;
mod tally;
mod topology;

/// What went wrong, as text for the person who reads the log.
type Outcome<T> = Result<T, String>;

/// The first argument of this program inside a machine.
pub(crate) const GUEST: &str = "oracle-guest";

/// Topologies of a machine at most; small runs have as many machines as there are kinds of units.
const TOPOLOGIES: usize = 6;

/// Inside a machine: its only program.
pub(crate) fn guest(modules: impl Iterator<Item = String>) -> ExitCode {
    guest::main(modules);
    ExitCode::FAILURE
}

/// Runs the machines.
pub(crate) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let Some(options) = Options::parse(arguments) else {
        eprintln!("{}", options::USAGE);
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask oracle: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Outcome<bool> {
    let workshop = Workshop::prepare()?;
    if let Some(directory) = &options.captures {
        fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    let mut tally = Tally::new(options.seed, options.captures.clone());
    let sizes = sizes(options.topologies);
    let wanted = |number: &u64| options.only.is_none_or(|only| only == *number);
    for (number, size) in (0..).zip(sizes).filter(|(number, _)| wanted(number)) {
        if tally.topologies >= options.topologies {
            break;
        }
        workshop.one(&topology::machine(options.seed, number, size), &mut tally)?;
    }
    println!("{tally}");
    if options.keep {
        tally.keep()?;
    }
    Ok(tally.passed())
}

/// How many topologies each machine has. There are more machines than are needed: one that does not come up is made up for by another, so
/// that as many topologies are compared as were asked for.
fn sizes(topologies: usize) -> impl Iterator<Item = usize> {
    let most = topologies.div_ceil(Unit::ALL.len()).min(TOPOLOGIES);
    let planned = topologies.div_ceil(most);
    let last = topologies - most * (planned - 1);
    let spare = planned / 4 + 2;
    std::iter::repeat_n(most, planned - 1).chain([last]).chain(std::iter::repeat_n(most, spare))
}

/// What all machines need.
struct Workshop {
    /// Debian's kernel and the backported one, with their initramfs.
    kernels: [(Kernel, PathBuf); 2],
    work: PathBuf,
}

impl Workshop {
    fn prepare() -> Outcome<Self> {
        let disks = crate::vm::disks()?;
        let cache = Path::new(".cache/oracle");
        let work = cache.join(format!("work-{}", std::process::id()));
        fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
        let program = initramfs::program()?;
        let [older, newer] = disks.map(|disk| {
            let kernel = kernel::of_disk(&disk, cache)?;
            let archive = work.join(format!("{}.cpio", kernel.release));
            initramfs::write(&program, &kernel, &archive)?;
            Ok::<_, String>((kernel, archive))
        });
        Ok(Self { kernels: [older?, newer?], work })
    }

    fn one(&self, machine: &Machine, tally: &mut Tally) -> Outcome<()> {
        let start = Instant::now();
        let pair = match self.pair(machine, tally) {
            Ok(pair) => pair,
            Err(error) => {
                println!("{}\n{error}\n", heading(tally.seed, machine));
                tally.failed += 1;
                return Ok(());
            }
        };
        let verdict = pair.judge();
        tally.add(machine, &verdict);
        println!("{}", line(machine, &verdict, start));
        if let Some(difference) = &verdict.difference {
            println!("{}\n{difference}", heading(tally.seed, machine));
            keep(tally.seed, machine, &pair, difference)?;
        }
        Ok(())
    }

    fn pair(&self, machine: &Machine, tally: &mut Tally) -> Outcome<Pair> {
        let [older, newer] = &self.kernels;
        let (kernel, initramfs) = if machine.unit == Unit::Intel { older } else { newer };
        let bench = Bench { kernel, initramfs, work: &self.work };
        let mut capture = |translation| {
            tally.boots += 1;
            let name = format!("{}-{}-{translation:?}.capture", tally.seed, machine.number);
            let kept = tally.captures.as_ref().map(|directory| directory.join(name));
            if let Some(text) = kept.as_ref().and_then(|path| fs::read_to_string(path).ok()) {
                return capture_text::parse(&text).map_err(|error| error.to_string());
            }
            let (capture, starts) = bench.capture(machine, translation)?;
            tally.repeated += starts - 1;
            if let Some(path) = kept {
                fs::write(&path, capture_text::render(&capture)).map_err(|error| format!("{}: {error}", path.display()))?;
            }
            Ok(capture)
        };
        let off = capture(Translation::Off)?;
        Pair::new(machine, off, capture(Translation::On)?)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.work);
    }
}

fn line(machine: &Machine, verdict: &Verdict, start: Instant) -> String {
    let word = if verdict.difference.is_none() { "ok" } else { "DIFFERENT" };
    let functions = machine.functions + machine.virtual_functions;
    format!(
        "machine {:>4} {:<12} {} topologies, {functions:>2} functions, {:>2} groups ... {word} ({:.1} s)",
        machine.number,
        format!("{:?}", machine.unit),
        machine.topologies,
        verdict.groups,
        start.elapsed().as_secs_f64()
    )
}

/// Enough to build the machine again by hand.
fn heading(seed: u64, machine: &Machine) -> String {
    let (number, qemu) = (machine.number, boot::arguments(machine).join(" "));
    let words = boot::command_line(machine, Translation::On);
    format!("seed {seed}, machine {number} ({:?})\nqemu-system-x86_64 {qemu}\n-append \"{words}\"", machine.unit)
}

/// What a difference can be understood from, and made a fixture.
fn keep(seed: u64, machine: &Machine, pair: &Pair, difference: &str) -> Outcome<()> {
    let directory = PathBuf::from(format!(".cache/oracle/different-{seed}-{}", machine.number));
    let write = |name: &str, text: &str| fs::write(directory.join(name), text);
    let all = || {
        fs::create_dir_all(&directory)?;
        write("about.txt", &format!("{}\n{difference}", heading(seed, machine)))?;
        pair.captures().iter().try_for_each(|(name, capture)| write(&format!("{name}.capture"), &capture_text::render(capture)))
    };
    all().map_err(|error: std::io::Error| format!("{}: {error}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_comes_first_and_spare_machines_after_it() {
        for topologies in [1, 3, 4, 5, 12, 23, 24, 25, 500] {
            let sizes: Vec<usize> = sizes(topologies).collect();
            let mut sum = 0;
            let needed = sizes.iter().take_while(|size| {
                let is_short = sum < topologies;
                sum += **size;
                is_short
            });
            let needed = needed.count();
            assert_eq!(sizes.iter().take(needed).sum::<usize>(), topologies, "{sizes:?}");
            assert!(sizes.len() >= needed + 2 && sizes.iter().all(|size| (1..=TOPOLOGIES).contains(size)), "{sizes:?}");
        }
    }
}
