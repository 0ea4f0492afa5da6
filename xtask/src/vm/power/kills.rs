//! The emulator killed in the middle of an operation, in one machine that lives through all of it.

use std::path::Path;

use super::tally::Tally;
use super::{Campaign, Found, Landed, operate};
use crate::vm::Outcome;
use crate::vm::machine::Machine;
use crate::vm::manifest::Manifest;

/// An operation, and the one that takes it back.
struct Road {
    verb: &'static str,
    there: String,
    back: String,
    /// Bytes that the machine writes meanwhile, as the log counts them.
    bytes: u64,
    /// What it leads to.
    new: Manifest,
}

/// Kills `count` times in an `apply`, and a quarter as often in its `undo`.
pub(super) fn run(campaign: &Campaign<'_>, base: &Path, count: usize) -> Outcome<Vec<Tally>> {
    let (mut machine, address) = campaign.prepared(base)?;
    let (apply, undo) = (format!("apply {address} --bind cmdline --yes"), "undo --yes".to_owned());
    let (bytes, new) = measured(&mut machine, &apply)?;
    let there = Road { verb: "apply", there: apply.clone(), back: undo.clone(), bytes, new };
    let (bytes, new) = measured(&mut machine, &undo)?;
    let back = Road { verb: "undo", there: undo, back: apply.clone(), bytes, new };
    campaign.progress.say(&format!("apply writes {} KiB, undo {} KiB", there.bytes / 1024, back.bytes / 1024));
    let applies = there.kill(campaign, &mut machine, count)?;
    if !applies.lost.is_empty() {
        return Ok(vec![applies]);
    }
    operate(&mut machine, &apply)?;
    let undos = back.kill(campaign, &mut machine, count.div_ceil(4))?;
    Ok(vec![applies, undos])
}

/// Runs an operation whole.
fn measured(machine: &mut Machine, arguments: &str) -> Outcome<(u64, Manifest)> {
    let start = machine.log().1;
    operate(machine, arguments)?;
    Ok((machine.log().1 - start, Manifest::everything(machine)?))
}

impl Road {
    fn kill(&self, campaign: &Campaign<'_>, machine: &mut Machine, count: usize) -> Outcome<Tally> {
        let mut tally = Tally::new(self.verb, "killed");
        let mut old = Manifest::everything(machine)?;
        for number in 1..=count {
            let after = self.bytes * (2 * number as u64 - 1) / (2 * count as u64);
            let line = self.run_until(machine, after)?;
            let name = format!("kill {number} of {count}, {} KiB written, at `{line}`", after / 1024);
            // Nothing can be tried on what does not start.
            if let Err(error) = campaign.power_cycle(machine) {
                tally.add(Landed::Lost(format!("it does not start: {error}")), &name, campaign.progress);
                break;
            }
            let found = Found::after_recovery(machine)?;
            let landed = found.landed(&old.differences(&found.now), &self.unlike_new(machine, &found.now)?);
            let (is_new, is_lost) = (matches!(landed, Landed::New), matches!(landed, Landed::Lost(_)));
            tally.add(landed, &name, campaign.progress);
            if is_lost {
                break;
            }
            old = found.now.without_scratch();
            if is_new {
                operate(machine, &self.back)?;
                old = Manifest::everything(machine)?.without_scratch();
            }
        }
        Ok(tally)
    }

    /// Runs the operation until the machine has written so much, and gives the line at which it is.
    fn run_until(&self, machine: &mut Machine, bytes: u64) -> Outcome<String> {
        let end = machine.log().1 + bytes;
        let mut line = None;
        // The lines go to the console, where they are seen as they come.
        let script = format!("set -o pipefail; cede {} 2>&1 | tee /dev/ttyS0", self.there);
        let ended = machine.watch(&script, &mut |machine| match machine.log().1 < end {
            true => Ok(()),
            false => {
                line = Some(machine.last_line());
                Err("written".to_owned())
            }
        });
        match (line, ended) {
            (Some(line), _) => Ok(line),
            // It wrote less than when it was measured.
            (None, Ok(_)) => Ok("its end".to_owned()),
            (None, Err(error)) => Err(error),
        }
    }

    /// What differs from the new state. Images are never made alike twice: that they are good was seen by the start and is asked of `verify`.
    fn unlike_new(&self, machine: &mut Machine, now: &Manifest) -> Outcome<Vec<String>> {
        let mut differences = self.new.differences(now);
        let is_digest_of_image = |line: &str| line.contains("  /boot/") && line.contains("/initrd.img");
        differences.retain(|line| !is_digest_of_image(line));
        if differences.is_empty() && self.verb == "apply" {
            let verified = machine.run("udevadm settle; cede verify 2>&1")?;
            if verified.status != 0 {
                differences.push(format!("cede verify: exit code {}\n{}", verified.status, String::from_utf8_lossy(&verified.stdout)));
            }
        }
        Ok(differences)
    }
}
