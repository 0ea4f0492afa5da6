//! `cede groups --what-if`.

use super::print_json;
use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render;
use crate::source;
use crate::ui::Ui;
use crate::view::what_if::{PatchView, WhatIfView};
use cede_model::Host;
use cede_model::iommu::scenario::{self, Regrouping, Scenario};
use cede_model::iommu::{Change, GroupTable, Topology};
use cede_model::pci::{PciAddress, PciNames};
use cede_plan::explain::override_patch;
use std::collections::BTreeSet;

/// Shows what would differ from today's groups.
///
/// # Errors
/// The change cannot be understood, or is not possible.
pub fn show(host: &Host, words: &[String], global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let usage = |error: scenario::ScenarioError| CommandError::usage(error.to_string());
    let changes = scenario::parse(words).map_err(usage)?;
    let topology = Topology::of(host);
    let foreseen = topology
        .what_if(&changes)
        .map_err(|error| usage(error).hint(format!("`{}` draws ports and slots", global.command("groups --tree", false))))?;
    let table = GroupTable::of(host);
    let regroupings = scenario::regroupings(&groups_of(&table, &topology), &in_todays_addresses(&foreseen));
    let mut view = WhatIfView::new(&changes, &table, &foreseen, &regroupings);
    if changes.iter().any(|change| matches!(change, Change::Override(_))) {
        let (patch, known_by) = override_patch(host);
        view.patch = Some(PatchView { here: patch.name(), known_by });
    }
    if global.json {
        print_json(ui, &view)?;
    } else {
        source::print_notes(host, ui)?;
        let names = PciNames::of_devices(&host.capture, &host.devices);
        render::what_if::print(ui, &view, host, &names, &next(&regroupings, host, global))?;
    }
    Ok(Exit::Fine)
}

/// Of the first thing that would differ why it is as it is; where nothing does, what could be changed.
fn next(regroupings: &[Regrouping], host: &Host, global: &Global) -> String {
    let is_here = |address: &&PciAddress| host.device(**address).is_some_and(|device| !device.is_bridge());
    match regroupings.iter().flat_map(|one| one.before.iter().flatten()).find(is_here) {
        Some(address) => global.command(&format!("explain {address}"), false),
        None => global.command("groups --tree", false),
    }
}

/// Today's groups, without functions of which nothing can be foretold: they would seem to vanish.
fn groups_of(table: &GroupTable, topology: &Topology) -> Vec<Vec<PciAddress>> {
    let known: BTreeSet<PciAddress> = topology.prediction().certain().iter().flatten().copied().collect();
    table.rows.iter().map(|row| row.devices.iter().copied().filter(|address| known.contains(address)).collect()).collect()
}

/// Groups to come, of which the functions go by the addresses they have today; new ones by their own.
fn in_todays_addresses(foreseen: &Scenario) -> Vec<Vec<PciAddress>> {
    let today = |address: &PciAddress| foreseen.former.get(address).copied().flatten().unwrap_or(*address);
    foreseen.topology.prediction().certain().iter().map(|group| group.iter().map(today).collect()).collect()
}
