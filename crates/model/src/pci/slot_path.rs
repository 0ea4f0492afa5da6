//! The way from the root bus down to a function, by device and function numbers.

use super::address::PciAddress;
use super::upstream::is_root_bus;

/// Where a function is plugged in, as `lspci -DP` writes it: `0000:00:01.0/00.0`. Bus numbers further down are left out, because firmware
/// gives them out anew whenever a card comes or goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotPath(String);

impl SlotPath {
    /// Reads the link of `/sys/bus/pci/devices/ADDRESS`; `None` where it does not lead through a root bus.
    pub fn from_device_link(target: &str) -> Option<Self> {
        let mut below = Vec::new();
        for part in target.trim_end_matches('/').rsplit('/') {
            if is_root_bus(part) {
                let mut path = below.pop().map(str::to_owned)?;
                below.iter().rev().filter_map(|part| part.rsplit(':').next()).for_each(|part| path.extend(["/", part]));
                return Some(Self(path));
            }
            part.parse::<PciAddress>().ok()?;
            below.push(part);
        }
        None
    }

    /// Takes the text that [`std::fmt::Display`] gives.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Display for SlotPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bus_numbers_do_not_count() {
        for (link, path) in [
            ("../../../devices/pci0000:00/0000:00:1f.3", Some("0000:00:1f.3")),
            ("../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0", Some("0000:00:01.0/00.0")),
            ("../../../devices/pci0000:00/0000:00:01.0/0000:05:00.0/", Some("0000:00:01.0/00.0")),
            ("../../../devices/pci0000:40/0000:40:01.1/0000:41:00.0/0000:42:02.0/0000:43:00.1", Some("0000:40:01.1/00.0/02.0/00.1")),
            ("../../../devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0", Some("10000:e0:06.0/00.0")),
            ("../../../devices/platform/soc/fd500000.pcie/pci0000:00/0000:00:00.0", Some("0000:00:00.0")),
            ("../../../devices/pci0000:00/x/0000:01:00.0", None),
            ("../../../devices/0000:01:00.0", None),
            ("pci0000:00", None),
            ("", None),
        ] {
            assert_eq!(SlotPath::from_device_link(link).map(|path| path.to_string()).as_deref(), path, "{link}");
        }
    }
}
