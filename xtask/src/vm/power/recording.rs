//! An `apply` and its `undo`, with all that the machine wrote.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::log::{Log, Rest};
use super::{Campaign, operate};
use crate::vm::Outcome;
use crate::vm::manifest::Manifest;

/// Beside the log: what [`Recording::marks`] holds.
const MARKS: &str = "marks";

/// What was recorded.
pub(super) struct Recording {
    pub(super) log: PathBuf,
    /// Requests before the `apply`, after it, and after the `undo`.
    pub(super) marks: [usize; 3],
}

impl Recording {
    /// Starts a machine, lets it do both, and cuts it off; with what was there at each mark.
    pub(super) fn make(campaign: &Campaign<'_>, base: &Path) -> Outcome<(Self, [Manifest; 3])> {
        let (mut machine, address) = campaign.prepared(base)?;
        let (before, start) = (Manifest::everything(&mut machine)?, machine.log().1);
        operate(&mut machine, &format!("apply {address} --bind cmdline --yes"))?;
        let (applied, middle) = (Manifest::everything(&mut machine)?, machine.log().1);
        operate(&mut machine, "undo --yes")?;
        let (undone, (written, end)) = (Manifest::everything(&mut machine)?, machine.log());
        drop(machine);
        let place = place(campaign);
        let log = place.join("writes.log");
        let failed = |error: io::Error| format!("{}: {error}", place.display());
        fs::create_dir_all(&place).and_then(|()| fs::rename(&written, &log)).map_err(failed)?;
        let requests = Log::open(&log).map_err(failed)?;
        let recording = Self { log, marks: [start, middle, end].map(|length| requests.requests(length)) };
        fs::write(place.join(MARKS), recording.marks.map(|mark| mark.to_string()).join(" ")).map_err(failed)?;
        for (verb, requests) in recording.operations() {
            campaign.progress.say(&format!("{verb} recorded: {} requests", requests.len()));
        }
        Ok((recording, [before, applied, undone]))
    }

    /// The one that was made last.
    pub(super) fn last(campaign: &Campaign<'_>) -> Outcome<Self> {
        let (log, path) = (place(campaign).join("writes.log"), place(campaign).join(MARKS));
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}; leave --recorded out", path.display()))?;
        let marks: Vec<usize> = text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        let marks = marks.try_into().map_err(|_| format!("{}: not three numbers", path.display()))?;
        Ok(Self { log, marks })
    }

    /// The requests of each operation.
    pub(super) fn operations(&self) -> [(&'static str, Range<usize>); 2] {
        let [start, middle, end] = self.marks;
        [("apply", start..middle), ("undo", middle..end)]
    }
}

fn place(campaign: &Campaign<'_>) -> PathBuf {
    campaign.directory.with_extension("recording")
}

/// A disk that goes through the log, from one instant to a later one.
pub(super) struct Replay {
    pub(super) log: Log,
    pub(super) path: PathBuf,
    disk: File,
    done: usize,
    /// What stands under the requests that were not flushed.
    under: Vec<(u64, Vec<u8>)>,
}

impl Replay {
    pub(super) fn new(base: &Path, log: &Path, path: &Path) -> Outcome<Self> {
        copy(base, path)?;
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let disk = File::options().read(true).write(true).open(path).map_err(failed)?;
        let log = Log::open(log).map_err(|error| format!("{}: {error}", log.display()))?;
        Ok(Self { log, path: path.to_owned(), disk, done: 0, under: Vec::new() })
    }

    /// Makes the disk what it is after a cut behind so many requests, and says what was lost.
    pub(super) fn to(&mut self, requests: usize, rest: Rest) -> Outcome<String> {
        let flushed = self.log.flushed(requests);
        let made = || -> io::Result<Vec<_>> {
            self.under.iter().try_for_each(|(at, bytes)| self.disk.write_all_at(bytes, *at))?;
            self.log.replay(self.done..flushed, &self.disk)?;
            self.log.replay_rest(flushed..requests, rest, &self.disk)
        };
        self.under = made().map_err(|error| format!("{}: {error}", self.path.display()))?;
        self.done = flushed;
        Ok(format!("behind request {requests}, with {} of {} since the last flush", self.under.len(), requests - flushed))
    }
}

/// Copies a disk with its holes.
pub(super) fn copy(from: &Path, to: &Path) -> Outcome<()> {
    let copied =
        Command::new("cp").args(["--reflink=auto", "--sparse=auto"]).args([from, to]).status().map_err(|error| format!("cp: {error}"))?;
    if copied.success() { Ok(()) } else { Err(format!("cp {} {}: {copied}", from.display(), to.display())) }
}
