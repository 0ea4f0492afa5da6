//! All states of the disk that an operation goes through, looked at without a start: as the boot loader reads them, and as `cede recover` finds them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::recording::{Recording, Replay, copy};
use super::tally::Tally;
use super::{Campaign, Found, Landed, log::Rest};
use crate::vm::Outcome;
use crate::vm::image;
use crate::vm::manifest::Manifest;
use crate::vm::recipe::Model;

const SCRIPT: &str = include_str!("states.sh");

/// What is on a disk.
struct Sight {
    /// What the boot loader reads, and whether it could.
    loader: Manifest,
    found: Found,
}

/// Where disks are looked at.
struct Bench<'a> {
    campaign: &'a Campaign<'a>,
    work: PathBuf,
}

/// Looks at every state of an `apply` and of its `undo`, of the recording made last or of a new one.
pub(super) fn run(campaign: &Campaign<'_>, base: &Path, is_recorded: bool) -> Outcome<Vec<Tally>> {
    let recording = match is_recorded {
        true => Recording::last(campaign)?,
        false => Recording::make(campaign, base)?.0,
    };
    let work = std::env::temp_dir().join(format!("power-{}-{}", std::process::id(), campaign.model));
    fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    let bench = Bench { campaign, work };
    let tallies = bench.judge(base, &recording);
    let _ = fs::remove_dir_all(&bench.work);
    tallies
}

impl Bench<'_> {
    fn judge(&self, base: &Path, recording: &Recording) -> Outcome<Vec<Tally>> {
        let mut settled = Vec::new();
        let mut whole = Replay::new(base, &recording.log, &self.work.join("state"))?;
        for requests in recording.marks {
            whole.to(requests, Rest::All)?;
            settled.push(self.look(&whole.path)?);
        }
        let mut replay = Replay::new(base, &recording.log, &whole.path)?;
        let mut tallies = Vec::new();
        for ((verb, requests), sights) in recording.operations().into_iter().zip(settled.windows(2)) {
            let mut tally = Tally::new(verb, "state");
            let states = replay.log.states(requests);
            for (number, (requests, rest)) in (1..).zip(&states) {
                let what = replay.to(*requests, *rest)?;
                let landed = self.look(&replay.path).map_or_else(Landed::Lost, |sight| sight.landed(sights));
                tally.add(landed, &format!("state {number} of {}, {what}", states.len()), self.campaign.progress);
            }
            tallies.push(tally);
        }
        Ok(tallies)
    }

    fn look(&self, disk: &Path) -> Outcome<Sight> {
        let copied = self.work.join("copy");
        copy(disk, &copied)?;
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "bash", "-c", SCRIPT, "states"])
            .arg(&copied)
            .args(partitions(self.campaign.model))
            .args([&self.work, self.campaign.binary])
            .output()
            .map_err(|error| format!("unshare: {error}"))?;
        let (said, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match (output.status.success(), Sight::read(&said)) {
            (true, Some(sight)) => Ok(sight),
            _ => Err(format!("{}\n{talk}\n{said}", output.status)),
        }
    }
}

impl Sight {
    fn read(said: &str) -> Option<Self> {
        let (loader, rest) = said.strip_prefix("== loader\n")?.split_once("== recover\n")?;
        let (said, system) = rest.split_once("== system\n")?;
        let found = Found { status: 0, said: said.to_owned(), now: Manifest::of(system) };
        Some(Self { loader: Manifest::of(loader), found })
    }

    /// Each file that is there before and after is one of the two for the boot loader, too; and then as after a start.
    fn landed(&self, settled: &[Self]) -> Landed {
        let [old, new] = settled else { return Landed::Lost("nothing to compare with".to_owned()) };
        let torn = self.loader.torn(&old.loader, &new.loader);
        match torn.is_empty() {
            true => self.found.landed(&old.found.now.differences(&self.found.now), &new.found.now.differences(&self.found.now)),
            false => Landed::Lost(format!("the boot loader finds neither the old nor the new\n{}", torn.join("\n"))),
        }
    }
}

/// Start and size of the root's partition, then of the EFI system partition, in bytes.
fn partitions(model: Model) -> [String; 4] {
    let [root, esp] = image::partitions(model);
    let words = |part: Option<(u64, u64)>| part.map_or_else(Default::default, |(start, size)| [start.to_string(), size.to_string()]);
    let ([start, size], [esp_start, esp_size]) = (words(root), words(esp));
    [start, size, esp_start, esp_size]
}
