//! The result as tables in Markdown.

use super::contestants::{FORETOLD, VERBS, cede_name, floor_name};
use super::measure::{Outcome, Outcomes, median, ratio};
use std::collections::BTreeSet;
use std::time::Duration;

/// Functions and what came out.
pub(super) type Sizes = Vec<(usize, Outcomes)>;

const TOOLS: [&str; 4] = ["lspci -nnk", "driverctl list-devices", "dpdk-devbind.py --status", "shell loop of the wikis"];

/// All tables.
pub(super) fn report(sizes: &Sizes) -> String {
    let mut text = table("time ÷ floor", sizes, &VERBS.map(cede_name), |name, outcomes| {
        let verb = VERBS.into_iter().find(|verb| cede_name(verb) == name)?;
        Some(format!("{:.2}", ratio(outcomes, name, &floor_name(verb))?))
    });
    text += &table("time ÷ cede, from its slowest verb to its fastest", sizes, &TOOLS.map(str::to_owned), |name, outcomes| {
        let ratios: Vec<f64> = VERBS.iter().filter_map(|verb| ratio(outcomes, name, &cede_name(verb))).collect();
        let (low, high) = (ratios.iter().copied().reduce(f64::min)?, ratios.iter().copied().reduce(f64::max)?);
        Some(format!("{} – {}", short(low), short(high)))
    });
    let everybody: Vec<String> = VERBS
        .iter()
        .flat_map(|verb| [cede_name(verb), floor_name(verb)])
        .chain(FORETOLD.iter().chain(&TOOLS).map(|name| (*name).to_owned()))
        .collect();
    text += &table("median milliseconds on the machine of this run", sizes, &everybody, |name, outcomes| match outcomes.get(name)? {
        Outcome::Times(times) => Some(short(1000.0 * median(times.iter().map(Duration::as_secs_f64).collect()))),
        Outcome::Skipped(_) => None,
    });
    for (size, outcomes) in sizes {
        let reasons: BTreeSet<_> = outcomes.iter().filter_map(|(name, outcome)| reason(name, outcome)).collect();
        for (name, why) in reasons {
            text += &format!("- {name}, {size} functions: not measured: {why}.\n");
        }
    }
    text
}

fn reason<'a>(name: &'a str, outcome: &'a Outcome) -> Option<(&'a str, &'a str)> {
    match outcome {
        Outcome::Skipped(why) => Some((name, why)),
        Outcome::Times(_) => None,
    }
}

fn table(title: &str, sizes: &Sizes, rows: &[String], cell: impl Fn(&str, &Outcomes) -> Option<String>) -> String {
    let mut text = format!("| {title} |");
    text.extend(sizes.iter().map(|(size, _)| format!(" {size} |")));
    text += &format!("\n|---|{}\n", "--:|".repeat(sizes.len()));
    for row in rows {
        text += &format!("| {row} |");
        text.extend(sizes.iter().map(|(_, outcomes)| format!(" {} |", cell(row, outcomes).unwrap_or_else(|| "–".to_owned()))));
        text.push('\n');
    }
    text + "\n"
}

/// Three digits or so.
fn short(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}
