//! `cede devices`.

use super::print_json;
use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::table::Table;
use crate::source;
use crate::ui::{FAINT, GOOD, Ui};
use crate::view::device_name::short_vendor;
use crate::view::devices::{DeviceView, DevicesView};
use cede_host::Scope;
use cede_model::pci::PciNames;

/// Lists every PCI function.
///
/// # Errors
/// The host cannot be read.
pub fn run(global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let host = source::load(global, if global.json { Scope::Devices } else { Scope::List })?;
    source::require_functions(&host)?;
    let names = PciNames::of_devices(&host.capture, &host.devices);
    let view = DevicesView::new(&host, &names);
    // The process ends soon: taking a large host apart would only cost time.
    std::mem::forget(host);
    if global.json {
        print_json(ui, &view)?;
        return Ok(Exit::Fine);
    }
    let mut table = Table::new(0, 3);
    table.row(["address", "id", "group", "what", "driver"]);
    table.style_row(FAINT);
    for device in &view.devices {
        table.row([
            &device.address,
            &ids(device),
            &device.iommu_group.map_or("-".into(), |group| group.to_string()),
            &what(device),
            device.driver.as_deref().unwrap_or("-"),
        ]);
        if device.driver.as_deref() == Some("vfio-pci") {
            table.style_last(GOOD);
        }
    }
    let width = ui.width();
    table.print(ui.out(), width)?;
    Ok(Exit::Fine)
}

fn ids(device: &DeviceView) -> String {
    format!("{}:{}", device.vendor.as_deref().unwrap_or("????"), device.device.as_deref().unwrap_or("????"))
}

/// The device's name with its maker, else what class it is.
pub fn what(device: &DeviceView) -> String {
    let name = &device.name;
    match (&name.vendor, &name.device, &name.class) {
        (Some(vendor), Some(device), _) => format!("{} {device}", short_vendor(vendor)),
        (Some(vendor), None, Some(class)) => format!("{} {class}", short_vendor(vendor)),
        (None, _, Some(class)) => class.clone(),
        _ => device.class.as_ref().map_or_else(String::new, |class| format!("class {class}")),
    }
}
