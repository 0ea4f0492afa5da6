//! A what-if in the terminal: verdict, then each group that would differ, before and after.

use super::table::{Table, counted, wrapped};
use crate::error::CommandError;
use crate::ui::{BAD, FAINT, GOOD, HEADING, Ui, WARN, paint};
use crate::view::device_name::describe;
use crate::view::what_if::WhatIfView;
use cede_model::Host;
use cede_model::iommu::KernelVersion;
use cede_model::pci::PciNames;

/// Prints a what-if.
///
/// # Errors
/// Those of the stream.
pub fn print(ui: &mut Ui, view: &WhatIfView, host: &Host, names: &PciNames, next: &str) -> Result<(), CommandError> {
    let width = Some(ui.width().unwrap_or(80));
    let out = ui.out();
    if view.regroupings.is_empty() {
        wrapped(out, "", "no group would change", width)?;
    } else {
        let counts = format!("{} would become {}", counted(view.before, "group"), view.after);
        wrapped(out, "", &format!("{counts}; what differs is shown below"), width)?;
    }
    wrapped(out, &format!("{} ", paint(HEADING, "with")), &view.changes.join(", "), width)?;
    if view.origin == "bounds" {
        wrapped(out, &format!("{} ", paint(WARN, "note")), "capabilities could not all be read: only what is certain is compared", width)?;
    }
    if let Some(version) = &view.unknown_kernel {
        let (oldest, newest) = (KernelVersion::OLDEST_KNOWN, KernelVersion::NEWEST_KNOWN);
        let text = format!("the rules known here are those of Linux {oldest} to {newest}; {version} may do otherwise");
        wrapped(out, &format!("{} ", paint(WARN, "note")), &text, width)?;
    }
    if let Some(patch) = &view.patch {
        let has = match patch.here {
            "yes" => "this kernel has the override patch",
            "no" => "this kernel lacks the override patch, so the parameter does nothing",
            _ => "whether this kernel has the override patch cannot be told",
        };
        wrapped(out, &format!("{} ", paint(WARN, "note")), &format!("{has}: {}", patch.known_by), width)?;
        wrapped(
            out,
            "     ",
            "it isolates nothing, it only says so: what is parted by it can still reach each other past the IOMMU",
            width,
        )?;
    }
    for moved in &view.moved {
        match &moved.former {
            Some(former) => writeln!(out, "     {former} would be {}", moved.address)?,
            None => writeln!(out, "     {} would be new", moved.address)?,
        }
    }
    let mut table = Table::new(2, 2);
    for regrouping in &view.regroupings {
        table.heading(String::new());
        for (sign, style, groups) in [("-", BAD, &regrouping.before), ("+", GOOD, &regrouping.after)] {
            for group in groups {
                for (index, address) in group.iter().enumerate() {
                    let name = address.parse().ok().and_then(|at| host.device(at)).map(|device| describe(device, names));
                    table.row([if index == 0 { sign } else { " " }, address, &name.unwrap_or_else(|| "new".to_owned())]);
                    table.style_cell(0, style);
                    table.style_last(FAINT);
                }
            }
        }
    }
    table.print(out, width)?;
    Ok(writeln!(out, "\n{} {next}", paint(HEADING, "next:"))?)
}
