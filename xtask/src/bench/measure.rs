//! Running programs in turn and taking their time.

use super::Result;
use super::contestants::Contestant;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Part of the address of the function at place 7 of every invented host, a network card: whoever has read the host shows it.
const SHOWN: &[u8] = b"01:00.4";

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// Rounds; in each, everybody runs once, so that all suffer the same from what else the machine does.
    pub(super) rounds: usize,
    /// Who would take longer than this for one run is left out.
    pub(super) limit: Duration,
}

/// What came out for one contestant at one size.
pub(super) enum Outcome {
    /// Wall-clock time of each round. Those who are slow have fewer.
    Times(Vec<Duration>),
    /// Why there is none.
    Skipped(String),
}

/// By name of the contestant.
pub(super) type Outcomes = BTreeMap<String, Outcome>;

/// Measures everybody on one host. `former` are the outcomes of a smaller one, `growth` times smaller.
pub(super) fn measure(list: &[Contestant], own_sys: bool, effort: Effort, former: Option<(&Outcomes, f64)>) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let mut running = Vec::new();
    for contestant in list {
        match admit(contestant, own_sys, effort, former) {
            Ok(()) => running.push(contestant),
            Err(reason) => {
                outcomes.insert(contestant.name.clone(), Outcome::Skipped(reason));
            }
        }
    }
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for _ in 0..effort.rounds {
        for contestant in &running {
            let list = times.entry(&contestant.name).or_default();
            if list.iter().sum::<Duration>() > effort.limit {
                continue;
            }
            match time(contestant) {
                Ok(time) => list.push(time),
                Err(error) => {
                    outcomes.insert(contestant.name.clone(), Outcome::Skipped(error.to_string()));
                }
            }
        }
    }
    for (name, list) in times {
        outcomes.entry(name.to_owned()).or_insert(Outcome::Times(list));
    }
    outcomes
}

/// Leaves out who cannot run or would take too long, and warms the caches.
fn admit(contestant: &Contestant, own_sys: bool, effort: Effort, former: Option<(&Outcomes, f64)>) -> std::result::Result<(), String> {
    if contestant.fixed_sys && !own_sys {
        return Err("reads /sys only, and no private mount namespace could be made".to_owned());
    }
    match former.and_then(|(outcomes, growth)| Some((outcomes.get(&contestant.name)?, growth))) {
        Some((Outcome::Skipped(reason), _)) => return Err(reason.clone()),
        Some((Outcome::Times(times), growth)) => {
            let expected = median(times.iter().map(Duration::as_secs_f64).collect()) * growth;
            if expected > effort.limit.as_secs_f64() {
                return Err(format!("one run would take more than {:.0} s", effort.limit.as_secs_f64()));
            }
            // Seen to work, and too slow to run once more for nothing.
            if expected > 2.0 {
                return Ok(());
            }
        }
        None => {}
    }
    let output = contestant.command().stdin(Stdio::null()).output().map_err(|error| format!("does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("failed: {}", String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default()));
    }
    let is_floor = contestant.name.starts_with("floor");
    if !is_floor && !output.stdout.windows(SHOWN.len()).any(|text| text == SHOWN) {
        return Err("did not read the invented host".to_owned());
    }
    Ok(())
}

fn time(contestant: &Contestant) -> Result<Duration> {
    let mut command = contestant.command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status()?;
    let time = start.elapsed();
    if status.success() { Ok(time) } else { Err(format!("ended with {status}").into()) }
}

/// The median; not a number where there is nothing.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    (at(values.len().saturating_sub(1) / 2) + at(values.len() / 2)) / 2.0
}

/// Median over the rounds of how many times longer `one` took than `other` in the same round.
pub(super) fn ratio(outcomes: &Outcomes, one: &str, other: &str) -> Option<f64> {
    match (outcomes.get(one)?, outcomes.get(other)?) {
        (Outcome::Times(a), Outcome::Times(b)) if !a.is_empty() && !b.is_empty() => {
            Some(median(a.iter().zip(b).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let times = |list: &[u64]| Outcome::Times(list.iter().map(|ms| Duration::from_millis(*ms)).collect());
        let outcomes = Outcomes::from([("a".to_owned(), times(&[10, 400, 20])), ("b".to_owned(), times(&[5, 200, 10, 1]))]);
        assert_eq!(ratio(&outcomes, "a", "b"), Some(2.0));
        assert_eq!(ratio(&outcomes, "a", "c"), None);
        assert!((median(vec![3.0, 1.0, 2.0, 10.0]) - 2.5).abs() < 1e-9);
    }
}
