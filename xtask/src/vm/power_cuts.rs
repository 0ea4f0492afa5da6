//! Power cuts: the emulator stopped dead at many instants of an operation, and the disk that each leaves started again.
//!
//! The disk is a fresh qcow2 overlay with `cache=writeback`: what the guest has not flushed is in its own memory, or in the emulator's tables of
//! new clusters, and both are lost; what it overwrote in old clusters stays, so writes are lost out of order too. The emulator is stopped by a
//! signal and the file copied as it then is, which is what a kill leaves; then it goes on, so that one run gives every instant.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Outcome;
use super::facts::{self, Card};
use super::machine::{Disk, Machine};
use super::manifest::Manifest;
use super::progress::Progress;
use super::qemu;
use super::recipe::Model;

/// At first this often, and at each line that the operation prints.
const GAP: Duration = Duration::from_secs(4);
/// Starts that must fail before a host is said not to start.
const STARTS: usize = 3;

/// One cut.
struct Cut {
    verb: &'static str,
    at: Duration,
    /// The operation had just printed something.
    at_line: bool,
    disk: PathBuf,
}

/// Where the host was after the next start and `cede recover`.
enum Landed {
    Old,
    New,
    Lost(String),
}

/// How many landed where.
#[derive(Default)]
struct Tally {
    old: usize,
    new: usize,
    lost: Vec<String>,
}

/// Where the machines are.
pub(super) struct Campaign<'a> {
    pub(super) model: Model,
    pub(super) binary: &'a Path,
    /// Of the machine that is cut; those that are started from what is left are beside it.
    pub(super) directory: &'a Path,
    pub(super) progress: &'a Rc<Progress>,
}

impl Campaign<'_> {
    /// Cuts `count` times in an `apply`, a quarter as often in its `undo`.
    pub(super) fn run(&self, base: &Path, count: usize) -> Outcome<()> {
        let images = self.directory.with_extension("cuts");
        let _ = fs::remove_dir_all(&images);
        fs::create_dir_all(&images).map_err(|error| format!("{}: {error}", images.display()))?;
        let disk = Disk::base(base).durable();
        let mut machine = Machine::start(self.model, &disk, self.directory, Some(self.binary), self.progress)?;
        let address = prepare(&mut machine, self.binary)?;
        let mut series = Series { machine: &mut machine, images: &images, progress: self.progress };
        let before = Manifest::everything(series.machine)?;
        let apply = series.cut("apply", &format!("apply {address} --bind cmdline --yes"), count)?;
        let applied = Manifest::everything(series.machine)?;
        let undo = series.cut("undo", "undo --yes", count.div_ceil(4))?;
        let undone = Manifest::everything(series.machine)?;
        drop(machine);
        let lost = [self.judge_all(&apply, &before, &applied)?, self.judge_all(&undo, &applied, &undone)?].concat();
        if lost.is_empty() { Ok(()) } else { Err(lost.join("\n")) }
    }

    /// Gives what was lost.
    fn judge_all(&self, cuts: &[Cut], old: &Manifest, new: &Manifest) -> Outcome<Vec<String>> {
        let mut tally = Tally::default();
        for (number, cut) in (1..).zip(cuts) {
            let landed = self.judge(cut, old, new)?;
            tally.add(cut, landed, &format!("{} cut {number} of {}", cut.verb, cuts.len()), self.progress);
        }
        self.progress.say(&tally.line(cuts));
        Ok(tally.lost)
    }

    /// Starts what a cut left, lets `cede` recover, and compares every file of the boot configuration and every image.
    fn judge(&self, cut: &Cut, old: &Manifest, new: &Manifest) -> Outcome<Landed> {
        let mut machine = match self.start(cut) {
            Ok(machine) => machine,
            Err(error) => return Ok(Landed::Lost(format!("it does not start: {error}"))),
        };
        let recovered = machine.run("cede recover 2>&1")?;
        let now = Manifest::everything(&mut machine)?;
        let (from_old, from_new) = (old.differences(&now), new.differences(&now));
        let said = String::from_utf8_lossy(&recovered.stdout).into_owned();
        let rolled_back = said.contains("rolled back");
        Ok(match (recovered.status, from_old.is_empty(), from_new.is_empty()) {
            (0, true, _) => Landed::Old,
            (0, _, true) if !rolled_back => Landed::New,
            (status, ..) => Landed::Lost(format!(
                "cede recover: exit code {status}\n{said}\nagainst the old state:\n{}\nagainst the new state:\n{}",
                from_old.join("\n"),
                from_new.join("\n")
            )),
        })
    }

    /// What a cut left is the same each time; the emulated timer of a busy host is not.
    fn start(&self, cut: &Cut) -> Outcome<Machine> {
        let place = self.directory.with_extension("cut");
        let mut failed = String::new();
        for _ in 0..STARTS {
            match Machine::start(self.model, &Disk::overlaid(&cut.disk), &place, None, self.progress) {
                Ok(machine) => return Ok(machine),
                Err(error) => failed = format!("{error}\n{}", qemu::tail(&place.join("console.log"))),
            }
        }
        Err(failed)
    }
}

/// Puts the binary there, waits until the machine is at rest, and gives the address of the card.
fn prepare(machine: &mut Machine, binary: &Path) -> Outcome<String> {
    let bytes = binary.metadata().map_err(|error| format!("{}: {error}", binary.display()))?.len();
    machine.output(&format!(
        "set -e
head -c {bytes} /dev/vdb >/usr/local/bin/cede
chmod 755 /usr/local/bin/cede
systemctl is-system-running --wait || true
udevadm settle
sync"
    ))?;
    Ok(Card::find(&facts::functions(machine)?)?.display.address)
}

/// The machine on which operations run, and where its disks are kept.
struct Series<'a> {
    machine: &'a mut Machine,
    images: &'a Path,
    progress: &'a Progress,
}

impl Series<'_> {
    /// Runs an operation of `cede` and cuts it, at last `count` times.
    fn cut(&mut self, verb: &'static str, arguments: &str, count: usize) -> Outcome<Vec<Cut>> {
        let images = self.images;
        let (start, mut last, mut gap) = (Instant::now(), Instant::now(), GAP);
        let mut seen = self.machine.console_length();
        let mut cuts: Vec<Cut> = Vec::new();
        // The lines go to the console, where they are seen as they come.
        let script = format!("set -o pipefail; cede {arguments} 2>&1 | tee /dev/ttyS0");
        let answer = self.machine.watch(&script, &mut |machine| {
            let length = machine.console_length();
            let at_line = length != seen;
            if !at_line && last.elapsed() < gap {
                return Ok(());
            }
            let disk = images.join(format!("{verb}-{:07}.qcow2", start.elapsed().as_millis()));
            machine.copy_disk(&disk)?;
            cuts.push(Cut { verb, at: start.elapsed(), at_line, disk });
            if cuts.iter().filter(|cut| !cut.at_line).count() > 2 * count {
                thin(&mut cuts);
                gap *= 2;
            }
            (seen, last) = (length, Instant::now());
            Ok(())
        })?;
        let taken = cuts.len();
        let cuts = spread(cuts, count);
        let seconds = start.elapsed().as_secs_f64();
        self.progress.say(&format!("cede {verb}: exit code {}, {seconds:.0} s, {taken} cuts, {} kept", answer.status, cuts.len()));
        if answer.status != 8 || cuts.len() < count {
            return Err(format!("cede {verb} was to end with exit code 8:\n{}", String::from_utf8_lossy(&answer.stdout)));
        }
        Ok(cuts)
    }
}

/// Drops every second of the cuts that were made by the clock.
fn thin(cuts: &mut Vec<Cut>) {
    let mut odd = false;
    cuts.retain(|cut| {
        odd ^= !cut.at_line;
        let keep = cut.at_line || odd;
        if !keep {
            let _ = fs::remove_file(&cut.disk);
        }
        keep
    });
}

/// As many as wanted, the first and the last among them.
fn spread(cuts: Vec<Cut>, count: usize) -> Vec<Cut> {
    let all = cuts.len();
    let wanted: Vec<usize> = (0..count).map(|index| index * all.saturating_sub(1) / count.saturating_sub(1).max(1)).collect();
    let (kept, rest): (Vec<_>, Vec<_>) = cuts.into_iter().enumerate().partition(|(index, _)| wanted.contains(index));
    for (_, cut) in rest {
        let _ = fs::remove_file(cut.disk);
    }
    kept.into_iter().map(|(_, cut)| cut).collect()
}

impl Tally {
    /// Counts one; the disk of one that is lost stays for a look.
    fn add(&mut self, cut: &Cut, landed: Landed, name: &str, progress: &Progress) {
        let at = format!("{name}, {:.1} s{}", cut.at.as_secs_f64(), if cut.at_line { " (at a line)" } else { "" });
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
                self.lost.push(format!("{at}: {}: {why}", cut.disk.display()));
                format!("LOST: {why}")
            }
        };
        progress.say(&format!("{at}: {word}"));
        if !word.starts_with("LOST") {
            let _ = fs::remove_file(&cut.disk);
        }
    }

    fn line(&self, cuts: &[Cut]) -> String {
        let verb = cuts.first().map_or("", |cut| cut.verb);
        format!("power cuts in {verb}: {} instants, landed old {}, landed new {}, lost {}", cuts.len(), self.old, self.new, self.lost.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(lines: &[bool]) -> Vec<Cut> {
        let cut =
            |(index, &at_line)| Cut { verb: "apply", at: Duration::from_secs(index), at_line, disk: PathBuf::from("/nonexistent/cut") };
        (0..).zip(lines).map(cut).collect()
    }

    fn seconds(cuts: &[Cut]) -> Vec<u64> {
        cuts.iter().map(|cut| cut.at.as_secs()).collect()
    }

    #[test]
    fn cuts_at_lines_stay_when_others_are_thinned() {
        let mut list = cuts(&[false, true, false, false, true, false]);
        thin(&mut list);
        assert_eq!(seconds(&list), [0, 1, 3, 4]);
    }

    #[test]
    fn first_and_last_are_among_those_kept() {
        for (all, count, expected) in [(9, 3, &[0, 4, 8][..]), (3, 3, &[0, 1, 2]), (5, 1, &[0]), (2, 4, &[0, 1])] {
            assert_eq!(seconds(&spread(cuts(&vec![false; all]), count)), expected, "{count} of {all}");
        }
    }
}
