//! An explanation in the terminal: verdict, reason, the way, the others, whether it can go, what would change it, what to type.

use super::table::{Table, wrapped};
use crate::cli::Global;
use crate::error::CommandError;
use crate::ui::{BAD, FAINT, GOOD, HEADING, Ui, WARN, paint};
use crate::view::explain::{ExplainView, MemberView, RemedyView};
use std::io::{self, Write};

/// Addresses and ports shown before the rest is only counted.
const SHOWN: usize = 12;

/// Members shown, those first that have to go.
const MEMBERS: usize = 24;

/// What the short names are for; Linux requires these four (drivers/iommu/iommu.c, `REQ_ACS_FLAGS`).
const ACS_LEGEND: &str =
    "of ACS, Linux wants SV (checks who sends) and RR, CR, UF (what goes to peers is sent up to the IOMMU) on, as far as offered";

/// Prints an explanation.
///
/// # Errors
/// Those of the stream.
pub fn print(ui: &mut Ui, view: &ExplainView, global: &Global) -> Result<(), CommandError> {
    let width = Some(ui.width().unwrap_or(80));
    let out = ui.out();
    wrapped(out, &format!("{} ", paint(HEADING, &view.address)), &view.name, width)?;
    wrapped(out, "", &view.summary, width)?;
    section(out, &format!("{}  ", paint(HEADING, "why ")), &view.reason, width)?;
    if !view.as_foretold {
        wrapped(out, "      ", "the kernel's group is not the one foretold here: `cede check` says how to report it", width)?;
    }
    writeln!(out, "\n{}", paint(HEADING, "way to the root"))?;
    way(view).print(out, width)?;
    if view.way.iter().any(|hop| hop.acs.as_ref().is_some_and(|acs| !acs.offers.is_empty())) {
        wrapped(out, "  ", ACS_LEGEND, width)?;
    }
    members(ui, view, global, width)?;
    cession(ui, view, width)?;
    remedies(ui, view, width)?;
    next(ui, view, global)
}

/// A paragraph after an empty line.
fn section(out: &mut dyn Write, first: &str, text: &str, width: Option<usize>) -> io::Result<()> {
    writeln!(out)?;
    wrapped(out, first, text, width)
}

fn way(view: &ExplainView) -> Table {
    let mut table = Table::new(2, 3);
    for hop in &view.way {
        let (word, style) = match hop.isolates {
            Some(true) => ("isolates", GOOD),
            Some(false) => ("open", BAD),
            None => ("?", WARN),
        };
        table.row([&hop.address, hop.kind.unwrap_or("?"), word, &hop.says]);
        table.style_cell(2, style);
    }
    table
}

fn members(ui: &mut Ui, view: &ExplainView, global: &Global, width: Option<usize>) -> Result<(), CommandError> {
    let out = ui.out();
    if !view.members.is_empty() {
        writeln!(out, "\n{}", paint(HEADING, "with it in the group"))?;
        let mut table = Table::new(2, 2);
        let (stay, go): (Vec<&MemberView>, Vec<&MemberView>) = view.members.iter().partition(|member| member.stays);
        let shown = if global.verbose { view.members.len() } else { MEMBERS };
        for member in go.into_iter().chain(stay).take(shown) {
            table.row([&member.address, &member.says, &member.name]);
            if member.stays {
                table.style_row(FAINT);
            }
        }
        table.print(out, width)?;
        if view.members.len() > shown {
            writeln!(out, "  and {} more: --verbose shows them", view.members.len() - shown)?;
        }
    }
    if !view.perhaps.is_empty() {
        section(out, &format!("{}  ", paint(HEADING, "perhaps too")), &shortened(&view.perhaps), width)?;
    }
    Ok(())
}

fn shortened(addresses: &[String]) -> String {
    let shown = addresses.get(..SHOWN).unwrap_or(addresses).join(" ");
    if addresses.len() > SHOWN { format!("{shown} and {} more", addresses.len() - SHOWN) } else { shown }
}

fn cession(ui: &mut Ui, view: &ExplainView, width: Option<usize>) -> Result<(), CommandError> {
    let out = ui.out();
    if view.cede.possible {
        let goes = shortened(&view.cede.goes);
        let (style, verdict, text) = match view.cede.goes.len() {
            _ if !view.perhaps.is_empty() => {
                (WARN, "cannot be told", format!("whether it can go as it is: {goes} would, and what perhaps joins them"))
            }
            0 | 1 => (GOOD, "can be ceded", "as it is".to_owned()),
            _ => (GOOD, "can be ceded", format!("as it is: {goes} go")),
        };
        section(out, &format!("{}  ", paint(style, verdict)), &text, width)?;
        for cost in &view.cede.costs {
            wrapped(out, "  for the host: ", cost, width)?;
        }
        if view.cede.costs.is_empty() && !view.cede.host_unseen {
            writeln!(out, "  the host would lose nothing that it uses now, as far as was seen")?;
        }
        if view.cede.host_unseen {
            wrapped(out, "  ", "what the host would lose (disks, screens, networks) was not seen here", width)?;
        }
    } else {
        for refusal in &view.cede.refused {
            section(out, &format!("{}  ", paint(BAD, "cannot be ceded")), &refusal.message, width)?;
        }
    }
    Ok(())
}

fn remedies(ui: &mut Ui, view: &ExplainView, width: Option<usize>) -> Result<(), CommandError> {
    let out = ui.out();
    if view.remedies.is_empty() && view.is_alone() {
        return Ok(());
    }
    writeln!(out, "\n{}", paint(HEADING, "what would change it"))?;
    if view.remedies.is_empty() {
        let known = if view.perhaps.is_empty() {
            "nothing that is known: no slot, no option of the firmware and no parameter parts them"
        } else {
            "cannot be told before the capabilities are known, which root reads"
        };
        wrapped(out, "  ", known, width)?;
    }
    for remedy in &view.remedies {
        wrapped(out, "  - ", &remedy.says, width)?;
        ports(remedy).print(out, width)?;
        if remedy.ports.len() > SHOWN {
            writeln!(out, "    and {} more", remedy.ports.len() - SHOWN)?;
        }
    }
    Ok(())
}

fn ports(remedy: &RemedyView) -> Table {
    let mut table = Table::new(4, 2);
    for port in remedy.ports.iter().take(SHOWN) {
        let holds = if port.holds.is_empty() { "empty".to_owned() } else { format!("holds {}", port.holds.join(", ")) };
        table.row([&port.port, if port.slot { "slot" } else { "no slot, as it says" }, &holds]);
    }
    table
}

fn next(ui: &mut Ui, view: &ExplainView, global: &Global) -> Result<(), CommandError> {
    let free = view.remedies.iter().flat_map(|remedy| &remedy.ports).next();
    let command = match (free, view.cede.possible && view.separate && !view.cede.host_unseen) {
        (_, true) => global.command(&format!("plan {}", view.address), false),
        (Some(port), _) if port.holds.is_empty() => global.command(&format!("groups --what-if move {} {}", view.address, port.port), false),
        _ => global.command("groups --tree", false),
    };
    Ok(writeln!(ui.out(), "\n{} {command}", paint(HEADING, "next:"))?)
}
