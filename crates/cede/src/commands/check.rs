//! `cede check`.

use super::print_json;
use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::table::{counted, wrapped};
use crate::source;
use crate::ui::{BAD, GOOD, HEADING, Ui, WARN, paint};
use crate::view::check::CheckView;
use cede_host::Scope;
use cede_model::Host;
use cede_model::iommu::IommuState;
use cede_model::pci::PciAddress;
use cede_plan::{Finding, Verdict, checks};

/// Looks for what stands in the way.
///
/// # Errors
/// The host cannot be read, or an address is not there.
pub fn run(addresses: &[PciAddress], global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let host = source::load(global, Scope::Wiring)?;
    if let Some(missing) = addresses.iter().find(|address| host.device(**address).is_none()) {
        return Err(CommandError::usage(format!("there is no PCI function at {missing}")).hint("`cede devices` lists them"));
    }
    show(&host, addresses, global.json, ui)
}

/// Runs the checks on a host and shows what they found.
///
/// # Errors
/// Those of the stream.
pub fn show(host: &Host, addresses: &[PciAddress], json: bool, ui: &mut Ui) -> Result<Exit, CommandError> {
    let findings = checks::check(host, addresses);
    let problems = findings.iter().filter(|finding| finding.verdict == Verdict::Problem).count();
    if json {
        print_json(ui, &CheckView::new(&findings))?;
    } else {
        let verdict = match problems {
            0 => paint(GOOD, "no problem found"),
            count => paint(BAD, counted(count, "problem")),
        };
        let others = findings.len() - problems;
        writeln!(ui.out(), "{verdict}{}", if others > 0 { format!(", {}", counted(others, "other finding")) } else { String::new() })?;
        for finding in &findings {
            print(ui, finding)?;
        }
    }
    if host.devices.is_empty() && host.iommu == IommuState::Unknown {
        return Ok(Exit::Unreadable);
    }
    Ok(if problems > 0 { Exit::Problems } else { Exit::Fine })
}

/// One finding: verdict and sentence, where it was seen, what to do.
///
/// # Errors
/// Those of the stream.
pub fn print(ui: &mut Ui, finding: &Finding) -> Result<(), CommandError> {
    let width = ui.width();
    let (style, word) = match finding.verdict {
        Verdict::Fine => (GOOD, "fine        "),
        Verdict::Advice => (WARN, "advice      "),
        Verdict::Problem => (BAD, "problem     "),
        Verdict::CannotTell => (WARN, "cannot tell "),
    };
    let out = ui.out();
    writeln!(out)?;
    wrapped(out, &paint(style, word), &finding.summary, width)?;
    for evidence in &finding.evidence {
        wrapped(out, "            ", &evidence.to_string(), width)?;
    }
    if let Some(remedy) = &finding.remedy {
        wrapped(out, &format!("          {} ", paint(HEADING, "→")), remedy, width)?;
    }
    Ok(())
}
