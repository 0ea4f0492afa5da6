//! `cede groups`.

use super::devices::short_vendor;
use super::print_json;
use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::table::{Table, clean, wrapped};
use crate::source;
use crate::ui::{BAD, FAINT, GOOD, HEADING, Ui, WARN, paint};
use crate::view::groups::GroupsView;
use cede_host::Scope;
use cede_model::Host;
use cede_model::iommu::foretell::GroupOrigin;
use cede_model::iommu::{GroupTable, IommuState};
use cede_model::pci::{PciAddress, PciDevice, PciNames};
use cede_plan::group_choice;
use std::collections::HashSet;

/// Lists the groups.
///
/// # Errors
/// The host cannot be read, or an address is not there.
pub fn run(addresses: &[PciAddress], global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let mut host = source::load(global, if global.json { Scope::Groups } else { Scope::NamedGroups })?;
    if host.iommu != IommuState::On && global.host.is_none() {
        host = source::load(global, Scope::Full)?;
    }
    source::require_functions(&host)?;
    if let Some(missing) = addresses.iter().find(|address| host.device(**address).is_none()) {
        return Err(CommandError::usage(format!("there is no PCI function at {missing}")).hint("`cede devices` lists them"));
    }
    show(&host, addresses, global.json, ui)?;
    // The process ends here: taking a large host apart would only cost time.
    std::mem::forget(host);
    Ok(Exit::Fine)
}

/// Shows a host's groups, or those of some functions.
///
/// # Errors
/// Those of the stream.
pub fn show(host: &Host, addresses: &[PciAddress], json: bool, ui: &mut Ui) -> Result<(), CommandError> {
    let table = GroupTable::of(host);
    if json {
        return print_json(ui, &GroupsView::new(host, &table, addresses));
    }
    head(ui, host, &table)?;
    let names = PciNames::of_devices(&host.capture, &host.devices);
    let mut lines = Table::new(2, 2);
    for row in table.rows.iter().filter(|row| addresses.is_empty() || row.devices.iter().any(|device| addresses.contains(device))) {
        let title = paint(HEADING, format_args!("group {}", row.id));
        lines.heading(format!("{title}{}", row.kind.as_ref().map(|kind| format!("  {}", clean(kind))).unwrap_or_default()));
        members(&mut lines, row.devices.iter().filter_map(|address| host.device(*address)), &names);
    }
    let grouped: HashSet<&PciAddress> = table.rows.iter().flat_map(|row| &row.devices).collect();
    let lone: Vec<&PciDevice> = host.devices.iter().filter(|device| !grouped.contains(&device.address)).collect();
    if table.origin == GroupOrigin::Kernel && !lone.is_empty() && addresses.is_empty() {
        lines.heading(paint(WARN, "in no group: behind no IOMMU"));
        members(&mut lines, lone.into_iter(), &names);
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
    let count = table.rows.len();
    let text = match table.origin {
        GroupOrigin::Kernel => format!("{count} groups, read from the kernel"),
        GroupOrigin::Predicted => format!(
            "{count} groups, foretold from configuration space: the kernel makes them once the IOMMU is on. `cede check` tells why it is off"
        ),
        GroupOrigin::Bounds => {
            "the kernel has no groups, and configuration space is not readable enough to foretell them: run as root. Certain in any case:"
                .to_owned()
        }
    };
    Ok(wrapped(ui.out(), &format!("IOMMU {}: ", paint(style, state)), &text, width)?)
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

/// The device's name with its maker, else its class.
pub fn describe(device: &PciDevice, names: &PciNames) -> String {
    let class = device.class.and_then(|class| names.class(class));
    let vendor = device.id.and_then(|id| names.vendor(id)).map(short_vendor);
    match (vendor, device.id.and_then(|id| names.device(id))) {
        (Some(vendor), Some(name)) => format!("{vendor} {name}"),
        (Some(vendor), None) => format!("{vendor} {}", class.unwrap_or("device")),
        (None, _) => class.unwrap_or("device").to_owned(),
    }
}
