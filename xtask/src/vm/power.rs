//! Power cuts: a machine that stops dead at many instants of an operation, and is started again.
//!
//! Two ways. SIGKILL to the emulator leaves what the guest wrote, flushed or not, but for clusters that are new in the overlay, whose tables are
//! written at a flush. A cut of a real disk leaves less, and without order: so every request is kept in a log, and the disk of an instant made
//! from it: what was flushed until then, and of the rest nothing, about half, or all.

use std::path::Path;
use std::rc::Rc;

use super::Outcome;
use super::facts::{self, Card};
use super::machine::{Disk, Machine};
use super::manifest::Manifest;
use super::progress::Progress;
use super::qemu;
use super::recipe::Model;

mod cuts;
mod kills;
mod log;
mod recording;
mod states;
mod tally;

/// Starts that fail for the emulator's sake before the machine is given up.
const STARTS: usize = 4;
/// Where a busy host was too slow for the emulator: the panic of a timer that Linux 6.1 tries once, before it reads any disk, and systemd's patience.
const EMULATOR: [&str; 2] = ["timer doesn't work through Interrupt-remapped IO-APIC", "Timed out waiting for device"];
const PANIC: &str = "Kernel panic";
/// What `apply` and `undo` end with when all is done and a reboot is due.
const REBOOT_DUE: i32 = 8;

/// How the machine is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// At so many instants of a recorded operation, each started again.
    Cuts(usize),
    /// The emulator killed so often.
    Kills(usize),
    /// At every flush of a recorded operation, and between them, looked at without a start.
    States {
        /// The recording made last is taken.
        recorded: bool,
    },
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
    /// Cuts, and fails where one landed neither on the old nor on the new state.
    pub(super) fn run(&self, base: &Path, way: Way, keep: bool) -> Outcome<()> {
        let tallies = match way {
            Way::Cuts(count) => cuts::run(self, base, count)?,
            Way::Kills(count) => kills::run(self, base, count)?,
            Way::States { recorded } => states::run(self, base, recorded)?,
        };
        let mut lost = Vec::new();
        for tally in tallies {
            self.progress.say(&tally.to_string());
            if keep {
                tally.keep(self.model)?;
            }
            lost.extend(tally.lost);
        }
        if lost.is_empty() { Ok(()) } else { Err(lost.join("\n")) }
    }

    /// Starts a machine, again where the emulator alone failed.
    fn start(&self, disk: &Disk, directory: &Path, upload: Option<&Path>) -> Outcome<Machine> {
        let mut start = Machine::start(self.model, disk, directory, upload, self.progress);
        for _ in 1..STARTS {
            if start.is_ok() || !self.is_emulators(directory) {
                break;
            }
            start = Machine::start(self.model, disk, directory, upload, self.progress);
        }
        start.map_err(|error| format!("{error}\n{}", qemu::tail(&directory.join("console.log"))))
    }

    /// Kills the emulator and starts the machine from what that left, again where the emulator alone failed.
    fn power_cycle(&self, machine: &mut Machine) -> Outcome<()> {
        let mut start = machine.power_cycle();
        for _ in 1..STARTS {
            if start.is_ok() || !self.is_emulators(self.directory) {
                break;
            }
            start = machine.power_cycle();
        }
        start.map_err(|error| format!("{error}\n{}", qemu::tail(&self.directory.join("console.log"))))
    }

    /// The emulator was too slow, and nothing else made the kernel panic. What is wrong on the disk is wrong in the next start, too.
    fn is_emulators(&self, directory: &Path) -> bool {
        let console = std::fs::read(directory.join("console.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&console);
        let is_slow = |line: &str| EMULATOR.iter().any(|words| line.contains(words));
        let is = text.lines().any(is_slow) && text.lines().filter(|line| line.contains(PANIC)).all(is_slow);
        if is {
            self.progress.say("the emulator was too slow on a busy host: this start is repeated with the same disk");
        }
        is
    }

    /// A machine at rest that keeps all that it writes, and the address of its card.
    fn prepared(&self, base: &Path) -> Outcome<(Machine, String)> {
        let mut machine = self.start(&Disk::base(base).logged(), self.directory, Some(self.binary))?;
        let bytes = self.binary.metadata().map_err(|error| format!("{}: {error}", self.binary.display()))?.len();
        machine.output(&format!(
            "set -e
head -c {bytes} /dev/vdb >/usr/local/bin/cede
chmod 755 /usr/local/bin/cede
systemctl is-system-running --wait || true
udevadm settle
sync"
        ))?;
        let address = Card::find(&facts::functions(&mut machine)?)?.display.address;
        Ok((machine, address))
    }
}

/// Runs an operation to its end.
fn operate(machine: &mut Machine, arguments: &str) -> Outcome<()> {
    let answer = machine.run(&format!("cede {arguments} 2>&1; status=$?; sync; exit $status"))?;
    match answer.status {
        REBOOT_DUE => Ok(()),
        status => Err(format!("cede {arguments}: exit code {status}\n{}", String::from_utf8_lossy(&answer.stdout))),
    }
}

/// Where the host was after the next start and `cede recover`.
enum Landed {
    Old,
    New,
    Lost(String),
}

/// What the next start found.
struct Found {
    status: i32,
    said: String,
    now: Manifest,
}

impl Found {
    /// Lets `cede` recover, and reads every file of the boot configuration and every image.
    fn after_recovery(machine: &mut Machine) -> Outcome<Self> {
        let recovered = machine.run("cede recover 2>&1")?;
        let said = String::from_utf8_lossy(&recovered.stdout).into_owned();
        Ok(Self { status: recovered.status, said, now: Manifest::everything(machine)? })
    }

    /// Told by what differs from the old state and from the new one.
    fn landed(&self, from_old: &[String], from_new: &[String]) -> Landed {
        match (self.status, from_old.is_empty(), from_new.is_empty()) {
            (0, true, _) => Landed::Old,
            (0, _, true) if !self.said.contains("rolled back") => Landed::New,
            (status, ..) => Landed::Lost(format!(
                "cede recover: exit code {status}\n{}\nagainst the old state:\n{}\nagainst the new state:\n{}",
                self.said,
                from_old.join("\n"),
                from_new.join("\n")
            )),
        }
    }
}
