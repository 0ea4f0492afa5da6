//! `cede devices`.

use super::print_json;
use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::table::Table;
use crate::source;
use crate::ui::{FAINT, GOOD, Ui};
use crate::view::device_name::short_vendor;
use crate::view::devices::DevicesView;
use cede_host::Scope;
use cede_model::Host;
use cede_model::pci::{PciDevice, PciNames};

/// Lists every PCI function.
///
/// # Errors
/// The host cannot be read.
pub fn run(global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let host = source::load(global, if global.json { Scope::Devices } else { Scope::List })?;
    source::require_functions(&host)?;
    let names = PciNames::of_devices(&host.capture, &host.devices);
    if global.json {
        print_json(ui, &DevicesView::new(&host, &names))?;
    } else {
        show_table(&host, &names, ui)?;
    }
    // The process ends soon: taking a large host apart would only cost time.
    std::mem::forget(host);
    Ok(Exit::Fine)
}

fn show_table(host: &Host, names: &PciNames, ui: &mut Ui) -> Result<(), CommandError> {
    let mut table = Table::new(0, 3);
    table.row(["address", "id", "group", "what", "driver"]);
    table.style_row(FAINT);
    for device in &host.devices {
        table.row([
            &device.address.to_string(),
            &device.id.map_or_else(|| "????:????".to_owned(), |id| id.to_string()),
            &device.iommu_group.map_or_else(|| "-".to_owned(), |group| group.to_string()),
            &what(device, names),
            device.driver_name().unwrap_or("-"),
        ]);
        if device.driver_name() == Some("vfio-pci") {
            table.style_last(GOOD);
        }
    }
    let width = ui.width();
    Ok(table.print(ui.out(), width)?)
}

/// The device's name with its maker, else what class it is.
fn what(device: &PciDevice, names: &PciNames) -> String {
    let vendor = device.id.and_then(|id| names.vendor(id)).map(short_vendor);
    let class = device.class.and_then(|class| names.class(class));
    match (vendor, device.id.and_then(|id| names.device(id)), class) {
        (Some(vendor), Some(name), _) => [vendor, " ", name].concat(),
        (Some(vendor), None, Some(class)) => [vendor, " ", class].concat(),
        (None, _, Some(class)) => class.to_owned(),
        _ => device.class.map_or_else(String::new, |class| format!("class {class}")),
    }
}
