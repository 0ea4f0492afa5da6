//! A proof as text: the verdict, why, the steps, what to type next.

use super::table::{Table, wrapped};
use crate::cli::Global;
use crate::ui::{BAD, GOOD, Ui, WARN, paint};
use cede_plan::prove::{Item, Outcome, Report, Step};
use std::io::{self, Write};
use std::time::Duration;

/// Prints it.
///
/// # Errors
/// Those of the stream.
pub fn print(ui: &mut Ui, report: &Report, global: &Global) -> io::Result<()> {
    let width = ui.width();
    let names: Vec<String> = report.wish.targets.iter().map(|target| target.address.to_string()).collect();
    let names = names.join(" ");
    let out = ui.out();
    let how = format!("depth {}, through {}", report.wish.depth.name(), report.wish.interface.name());
    match report.failure() {
        None => wrapped(out, &paint(GOOD, "proved: "), &format!("VFIO gives {names} to a guest ({how})"), width)?,
        Some(item) => failure(out, item, &names, width)?,
    }
    steps(out, report, width)?;
    for notice in report.items.iter().filter(|item| item.outcome == Outcome::Notice) {
        let remedy = notice.remedy.as_ref().map(|remedy| format!(": {remedy}")).unwrap_or_default();
        let errno = notice.errno.map(|errno| format!(" {errno}")).unwrap_or_default();
        wrapped(out, &paint(WARN, "note: "), &format!("{}{errno}: {}{remedy}", notice.subject, notice.text), width)?;
    }
    match (report.failure(), report.wish.depth.deeper()) {
        (Some(item), _) => {
            if let Some(remedy) = &item.remedy {
                writeln!(out)?;
                wrapped(out, "Next: ", remedy, width)?;
            }
        }
        (None, Some(deeper)) => writeln!(out, "\nNext: {}", global.command(&format!("prove {names} --depth {}", deeper.name()), true))?,
        (None, None) => writeln!(out, "\nNext: {}", global.command(&format!("handoff {names} --to libvirt"), false))?,
    }
    Ok(())
}

fn failure(out: &mut dyn Write, item: &Item, names: &str, width: Option<usize>) -> io::Result<()> {
    let errno = item.errno.map(|errno| format!(" failed with {errno}")).unwrap_or_default();
    let head = format!("VFIO does not give {names} to a guest: {} ({}){errno}", item.step.call(), item.subject);
    wrapped(out, &paint(BAD, "not proved: "), &head, width)?;
    wrapped(out, "  ", &item.text, width)
}

fn steps(out: &mut dyn Write, report: &Report, width: Option<usize>) -> io::Result<()> {
    let mut table = Table::new(2, 4);
    for item in report.items.iter().filter(|item| item.took > Duration::ZERO || item.outcome == Outcome::Bad || is_sight(item)) {
        let (word, style) = match item.outcome {
            Outcome::Good => ("ok", GOOD),
            Outcome::Notice => ("note", WARN),
            Outcome::Bad => ("FAILED", BAD),
        };
        let text = item.errno.and_then(|errno| errno.symbol()).unwrap_or(&item.text);
        table.row([word, &time(item.took), &item.subject.to_string(), short(item.step.call()), text]);
        table.style_cell(0, style);
    }
    table.print(out, width)
}

/// What a guest saw has no time of its own.
fn is_sight(item: &Item) -> bool {
    matches!(item.step, Step::GuestIds | Step::GuestBars | Step::GuestRom)
}

/// Without what every request's name begins with.
fn short(call: &str) -> &str {
    let call = call.strip_prefix("VFIO_").unwrap_or(call);
    call.strip_prefix("DEVICE_").or(call.strip_prefix("GROUP_")).unwrap_or(call)
}

fn time(took: Duration) -> String {
    if took == Duration::ZERO {
        return String::new();
    }
    let millis = took.as_secs_f64() * 1e3;
    if millis >= 10.0 { format!("{millis:>4.0} ms") } else { format!("{millis:>4.1} ms") }
}
