//! `cede groups`.

use super::{print_json, what_if};
use crate::cli::{Global, GroupsArgs};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::{
    self,
    table::{Table, clean, wrapped},
};
use crate::source;
use crate::ui::{BAD, FAINT, GOOD, HEADING, Ui, WARN, paint};
use crate::view::device_name::describe;
use crate::view::groups::{GroupsView, origin, perhaps};
use crate::view::tree::{TreeView, worth_asking};
use cede_host::Scope;
use cede_model::Host;
use cede_model::iommu::foretell::GroupOrigin;
use cede_model::iommu::{GroupTable, IommuState};
use cede_model::pci::{PciAddress, PciDevice, PciNames};
use cede_plan::group_choice;

/// Lists the groups.
///
/// # Errors
/// The host cannot be read, or an address is not there.
pub fn run(args: &GroupsArgs, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let host = load(args, global)?;
    source::require_functions(&host)?;
    require_addresses(&host, &args.addresses, global)?;
    if !args.what_if.is_empty() {
        return what_if::show(&host, &args.what_if, global, ui);
    }
    let table = if args.predict { GroupTable::foretold(&host) } else { GroupTable::of(&host) };
    if args.tree {
        show_tree(&host, &table, global, ui)?;
    } else {
        show_table(&host, &table, &args.addresses, global.json, ui)?;
    }
    // The process ends here: taking a large host apart would only cost time.
    std::mem::forget((host, table));
    Ok(Exit::Fine)
}

/// Reads no more than is shown: foretelling needs configuration space, which is read only where the kernel has no groups, or on request.
fn load(args: &GroupsArgs, global: &Global) -> Result<Host, CommandError> {
    if args.predict || args.tree || !args.what_if.is_empty() {
        return source::load(global, Scope::Wiring);
    }
    let host = source::load(global, if global.json { Scope::Groups } else { Scope::NamedGroups })?;
    let is_read_again = host.iommu != IommuState::On && global.host.is_none() && global.lspci.is_none();
    if is_read_again { source::load(global, Scope::Wiring) } else { Ok(host) }
}

/// Fails where an address is not there.
///
/// # Errors
/// The first that is not.
pub fn require_addresses(host: &Host, addresses: &[PciAddress], global: &Global) -> Result<(), CommandError> {
    match addresses.iter().find(|address| host.device(**address).is_none()) {
        Some(missing) => {
            let lister = if global.lspci.is_some() { "groups" } else { "devices" };
            let hint = format!("`{}` lists them", global.command(lister, false));
            Err(CommandError::usage(format!("there is no PCI function at {missing}")).hint(hint))
        }
        None => Ok(()),
    }
}

/// Shows a host's groups, or those of some functions.
///
/// # Errors
/// Those of the stream.
pub fn show(host: &Host, addresses: &[PciAddress], json: bool, ui: &mut Ui) -> Result<(), CommandError> {
    show_table(host, &GroupTable::of(host), addresses, json, ui)
}

fn show_tree(host: &Host, table: &GroupTable, global: &Global, ui: &mut Ui) -> Result<(), CommandError> {
    let names = PciNames::of_devices(&host.capture, &host.devices);
    let view = TreeView::new(host, table, &names);
    if global.json {
        return print_json(ui, &view);
    }
    head(ui, host, table)?;
    render::tree::print(ui, &view, global.verbose)?;
    if table.rows.iter().any(|row| row.devices.len() > 1) {
        writeln!(ui.out(), "\n[N]: several functions are in group N, which go together or not at all")?;
    }
    if let Some(address) = worth_asking(host, table) {
        writeln!(ui.out(), "\n{} {}", paint(HEADING, "next:"), global.command(&format!("explain {address}"), false))?;
    }
    Ok(())
}

fn show_table(host: &Host, table: &GroupTable, addresses: &[PciAddress], json: bool, ui: &mut Ui) -> Result<(), CommandError> {
    if json {
        return print_json(ui, &GroupsView::new(host, table, addresses));
    }
    head(ui, host, table)?;
    let names = PciNames::of_devices(&host.capture, &host.devices);
    let mut lines = Table::new(2, 2);
    for row in table.rows.iter().filter(|row| addresses.is_empty() || row.devices.iter().any(|device| addresses.contains(device))) {
        let title = paint(HEADING, format_args!("group {}", row.id));
        lines.heading(format!("{title}{}", row.kind.as_ref().map(|kind| format!("  {}", clean(kind))).unwrap_or_default()));
        members(&mut lines, row.devices.iter().filter_map(|address| host.device(*address)), &names);
        if let Some(perhaps) = perhaps(table, row) {
            lines.row(["", "", &perhaps, ""]);
            lines.style_row(FAINT);
        }
    }
    let mut lone = host.devices.iter().filter(|device| host.group_of(device.address).is_none()).peekable();
    if table.origin == GroupOrigin::Kernel && addresses.is_empty() && lone.peek().is_some() {
        lines.heading(paint(WARN, "in no group: behind no IOMMU"));
        members(&mut lines, lone, &names);
    }
    let width = ui.width();
    Ok(lines.print(ui.out(), width)?)
}

fn head(ui: &mut Ui, host: &Host, table: &GroupTable) -> Result<(), CommandError> {
    let width = ui.width();
    let (style, state) = match host.iommu {
        IommuState::On => (GOOD, "on"),
        IommuState::Off => (BAD, "off"),
        IommuState::Unknown => (WARN, "not seen"),
    };
    wrapped(ui.out(), &format!("IOMMU {}: ", paint(style, state)), &origin(host, table), width)?;
    source::print_notes(host, ui)
}

fn members<'a>(table: &mut Table, devices: impl Iterator<Item = &'a PciDevice>, names: &PciNames) {
    for device in devices {
        let id = device.id.map_or_else(|| "????:????".to_owned(), |id| id.to_string());
        let driver = device.driver_name().unwrap_or("-");
        let role = if group_choice::stays(device) { "stays" } else { driver };
        table.row([&device.address.to_string(), &id, &describe(device, names), role]);
        if group_choice::stays(device) {
            table.style_last(FAINT);
        } else if device.is_on_vfio() {
            table.style_last(GOOD);
        }
    }
}
