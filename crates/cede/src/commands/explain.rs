//! `cede explain`.

use super::groups::require_addresses;
use super::print_json;
use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render;
use crate::source;
use crate::ui::Ui;
use crate::view::explain::ExplainView;
use cede_host::Scope;
use cede_model::pci::{PciAddress, PciNames};
use cede_plan::explain::explain;

/// Says why a function's group is what it is.
///
/// # Errors
/// The host cannot be read, or the address is not there.
pub fn run(address: PciAddress, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let host = source::load(global, Scope::Wiring)?;
    source::require_functions(&host)?;
    require_addresses(&host, &[address], global)?;
    let Some(explained) = explain(&host, address) else { return Ok(Exit::Unreadable) };
    let names = PciNames::of_devices(&host.capture, &host.devices);
    let view = ExplainView::new(&host, &explained, &names);
    if global.json {
        print_json(ui, &view)?;
    } else {
        source::print_notes(&host, ui)?;
        render::explain::print(ui, &view, global)?;
    }
    // The process ends here: taking a large host apart would only cost time.
    std::mem::forget(host);
    Ok(Exit::Fine)
}
