//! Cuts of a recorded operation, each started again.

use std::ops::Range;
use std::path::Path;

use super::log::Rest;
use super::recording::{Recording, Replay};
use super::tally::Tally;
use super::{Campaign, Found, Landed};
use crate::vm::Outcome;
use crate::vm::machine::Disk;
use crate::vm::manifest::Manifest;

/// Cuts `count` times in an `apply`, and a quarter as often in its `undo`.
pub(super) fn run(campaign: &Campaign<'_>, base: &Path, count: usize) -> Outcome<Vec<Tally>> {
    let (recording, manifests) = Recording::make(campaign, base)?;
    let mut replay = Replay::new(base, &recording.log, &campaign.directory.with_extension("state"))?;
    let mut tallies = Vec::new();
    for (((verb, requests), count), states) in recording.operations().into_iter().zip([count, count.div_ceil(4)]).zip(manifests.windows(2))
    {
        let mut tally = Tally::new(verb, "cut");
        for (number, requests) in (1..).zip(spread(&requests, count)) {
            let what = replay.to(requests, rest(number))?;
            let landed = judge(campaign, &replay.path, states)?;
            tally.add(landed, &format!("cut {number} of {count}, {what}"), campaign.progress);
        }
        tallies.push(tally);
    }
    Ok(tallies)
}

/// Starts what a cut left.
fn judge(campaign: &Campaign<'_>, disk: &Path, states: &[Manifest]) -> Outcome<Landed> {
    let [old, new] = states else { return Err("no states to compare with".to_owned()) };
    let place = campaign.directory.with_extension("cut");
    let mut machine = match campaign.start(&Disk::base(disk), &place, None) {
        Ok(machine) => machine,
        Err(error) => return Ok(Landed::Lost(format!("it does not start: {error}"))),
    };
    let found = Found::after_recovery(&mut machine)?;
    Ok(found.landed(&old.differences(&found.now), &new.differences(&found.now)))
}

/// What becomes of the writes that were not flushed, in turn.
fn rest(number: usize) -> Rest {
    match number % 3 {
        1 => Rest::Nothing,
        2 => Rest::Some(number as u64),
        _ => Rest::All,
    }
}

/// As many instants as wanted, the first behind the first request and the last behind the last.
fn spread(requests: &Range<usize>, count: usize) -> Vec<usize> {
    let (first, length) = (requests.start + 1, requests.len().saturating_sub(1));
    let mut wanted: Vec<usize> = (0..count).map(|index| first + index * length / count.saturating_sub(1).max(1)).collect();
    wanted.dedup();
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_last_are_among_those_kept() {
        for (requests, count, expected) in [(0..9, 3, &[1, 5, 9][..]), (4..7, 3, &[5, 6, 7]), (0..5, 1, &[1]), (0..2, 4, &[1, 2])] {
            assert_eq!(spread(&requests, count), expected, "{count} of {requests:?}");
        }
    }
}
