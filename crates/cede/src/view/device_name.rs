//! What a device is called in a line of text.

use cede_model::pci::{PciDevice, PciNames};

/// The device's name with its maker, else its class.
pub fn describe(device: &PciDevice, names: &PciNames) -> String {
    let class = device.class.and_then(|class| names.class(class));
    let vendor = device.id.and_then(|id| names.vendor(id)).map(short_vendor);
    match (vendor, device.id.and_then(|id| names.device(id))) {
        (Some(vendor), Some(name)) => [vendor, " ", name].concat(),
        (Some(vendor), None) => [vendor, " ", class.unwrap_or("device")].concat(),
        (None, _) => class.unwrap_or("device").to_owned(),
    }
}

/// Makers' names without their legal forms, so that the device's name fits the line.
pub fn short_vendor(vendor: &str) -> &str {
    if let Some((_, short)) = vendor.trim_end_matches(']').rsplit_once('[') {
        return short;
    }
    vendor.split(" Corporation").next().and_then(|name| name.split([',', '(']).next()).map_or(vendor, str::trim)
}
