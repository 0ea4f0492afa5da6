//! What a device is called in a line of text.

use cede_model::pci::{PciDevice, PciNames};

/// The device's name with its maker, else its class.
pub fn describe(device: &PciDevice, names: &PciNames) -> String {
    let class = device.class.and_then(|class| names.class(class));
    let vendor = device.id.and_then(|id| names.vendor(id)).map(short_vendor);
    match (vendor, device.id.and_then(|id| names.device(id))) {
        (Some(vendor), Some(name)) => [vendor, " ", name].concat(),
        (_, None) if device.label.is_some() => device.label.as_deref().map(short_label).unwrap_or_default(),
        (Some(vendor), None) => [vendor, " ", class.unwrap_or("device")].concat(),
        (None, _) => class.unwrap_or("device").to_owned(),
    }
}

/// The same of a name in one piece.
fn short_label(label: &str) -> String {
    let short = label.split_once("] ").and_then(|(maker, rest)| {
        let (legal, short) = maker.rsplit_once('[')?;
        legal.trim_end().ends_with("Inc.").then(|| [short, " ", rest].concat())
    });
    short.unwrap_or_else(|| label.replacen(" Corporation", "", 1))
}

/// Makers' names without their legal forms, so that the device's name fits the line.
pub fn short_vendor(vendor: &str) -> &str {
    if let Some((_, short)) = vendor.trim_end_matches(']').rsplit_once('[') {
        return short;
    }
    vendor.split(" Corporation").next().and_then(|name| name.split([',', '(']).next()).map_or(vendor, str::trim)
}

#[cfg(test)]
mod tests {
    use super::short_label;

    #[test]
    fn labels_lose_the_makers_legal_form() {
        let cases = [
            ("Advanced Micro Devices, Inc. [AMD/ATI] Renoir", "AMD/ATI Renoir"),
            ("NVIDIA Corporation GA199 [GeForce RTX 9090]", "NVIDIA GA199 [GeForce RTX 9090]"),
            ("Realtek Semiconductor Co., Ltd. RTL9999 [x] y", "Realtek Semiconductor Co., Ltd. RTL9999 [x] y"),
        ];
        for (label, short) in cases {
            assert_eq!(short_label(label), short);
        }
    }
}
