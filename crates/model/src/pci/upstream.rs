//! What stands above a function.

use super::address::PciAddress;

/// What the bus of a function hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Upstream {
    /// A root bus, made by a host bridge.
    RootBus,
    /// The root bus of a domain that Intel Volume Management Device makes; this is the address of the VMD endpoint, for which the
    /// IOMMU takes all functions of that domain (arch/x86/pci/common.c, `pci_real_dma_dev`).
    Vmd(PciAddress),
    /// A bridge or port.
    Bridge(PciAddress),
    /// Nobody said; bus numbers of the bridges may tell.
    #[default]
    Unknown,
}

impl Upstream {
    /// Reads the link of `/sys/bus/pci/devices/ADDRESS`, such as `../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0`: the directory
    /// above a function is its bridge, or `pciDOMAIN:BUS` for a root bus.
    pub fn from_device_link(target: &str) -> Self {
        let mut parts = target.trim_end_matches('/').rsplit('/').skip(1);
        let Some(parent) = parts.next() else { return Self::Unknown };
        if let Ok(bridge) = parent.parse() {
            return Self::Bridge(bridge);
        }
        if !is_root_bus(parent) {
            return Self::Unknown;
        }
        match parts.next().map(str::parse) {
            Some(Ok(endpoint)) => Self::Vmd(endpoint),
            _ => Self::RootBus,
        }
    }
}

pub(super) fn is_root_bus(name: &str) -> bool {
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    name.strip_prefix("pci").and_then(|rest| rest.split_once(':')).is_some_and(|(domain, bus)| hex(domain) && hex(bus))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_above_tells() {
        let at = |text: &str| text.parse().unwrap();
        let cases = [
            ("../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0", Upstream::Bridge(at("00:01.0"))),
            ("../../../devices/pci0000:00/0000:00:1f.3", Upstream::RootBus),
            ("../../../devices/pci10000:e0/10000:e0:06.0", Upstream::RootBus),
            ("../../../devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0", Upstream::Vmd(at("00:0e.0"))),
            ("../../../devices/platform/soc/fd500000.pcie/pci0000:00/0000:00:00.0", Upstream::RootBus),
            ("0000:00:1f.3", Upstream::Unknown),
            ("../../../devices/pci-bus/0000:00:1f.3", Upstream::Unknown),
            ("", Upstream::Unknown),
        ];
        for (target, expected) in cases {
            assert_eq!(Upstream::from_device_link(target), expected, "{target}");
        }
    }
}
