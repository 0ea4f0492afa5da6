//! The PCI functions of an invented host of any size, laid out as real hosts are.

use std::fmt::Write;

/// One invented function.
pub(super) struct Function {
    /// `domain:bus:device.function`.
    pub(super) address: String,
    /// Its directory below `/sys`.
    pub(super) dir: String,
    /// What it is.
    pub(super) kind: &'static Kind,
    /// Number of its IOMMU group.
    pub(super) group: u32,
    /// NUMA node, as text.
    pub(super) numa_node: &'static str,
}

/// What a function can be.
pub(super) struct Kind {
    pub(super) vendor: u16,
    pub(super) device: u16,
    pub(super) subsystem: (u16, u16),
    pub(super) class: u32,
    pub(super) driver: Option<&'static str>,
    /// Bytes of configuration space that can be read.
    pub(super) config: usize,
}

impl Kind {
    const fn new(id: (u16, u16), subsystem: (u16, u16), class: u32, driver: Option<&'static str>, config: usize) -> Self {
        Self { vendor: id.0, device: id.1, subsystem, class, driver, config }
    }

    pub(super) fn is_bridge(&self) -> bool {
        self.class >> 8 == 0x0604
    }

    /// The text by which udev finds modules (Linux `pci_uevent`).
    pub(super) fn modalias(&self) -> String {
        let [_, base, sub, interface] = self.class.to_be_bytes();
        let (sv, sd) = self.subsystem;
        let mut text = format!("pci:v{:08X}d{:08X}sv{sv:08X}sd{sd:08X}", self.vendor, self.device);
        // Writing to a string cannot fail.
        let _ = write!(text, "bc{base:02X}sc{sub:02X}i{interface:02X}");
        text
    }
}

const HOST_BRIDGE: Kind = Kind::new((0x8086, 0x3ec2), (0x1028, 0x0869), 0x06_0000, Some("skl_uncore"), 256);
const LPC: Kind = Kind::new((0x8086, 0xa305), (0x1028, 0x0869), 0x06_0100, None, 256);
const PORT: Kind = Kind::new((0x8086, 0x1901), (0, 0), 0x06_0400, Some("pcieport"), 4096);

/// What hangs from ports, in turn.
const ENDPOINTS: [Kind; 9] = [
    Kind::new((0x10de, 0x1f91), (0x1028, 0x0869), 0x03_0000, Some("nouveau"), 4096),
    Kind::new((0x10de, 0x10fa), (0x1028, 0x0869), 0x04_0300, Some("snd_hda_intel"), 4096),
    Kind::new((0x10de, 0x1ad8), (0x1028, 0x0869), 0x0c_0330, Some("xhci_hcd"), 256),
    Kind::new((0x144d, 0xa808), (0x144d, 0xa801), 0x01_0802, Some("nvme"), 4096),
    Kind::new((0x8086, 0x1572), (0x8086, 0x0007), 0x02_0000, Some("i40e"), 4096),
    Kind::new((0x8086, 0x154c), (0x8086, 0x0000), 0x02_0000, Some("iavf"), 4096),
    Kind::new((0x15b3, 0x1017), (0x15b3, 0x0020), 0x02_0000, Some("mlx5_core"), 4096),
    Kind::new((0x1000, 0x005d), (0x1028, 0x1f49), 0x01_0400, Some("megaraid_sas"), 64),
    Kind::new((0x1b21, 0x1242), (0x1043, 0x8675), 0x0c_0330, Some("vfio-pci"), 256),
];

/// Functions behind one port, and ports of one domain.
const BEHIND_PORT: usize = 7;
const PORTS: usize = 60;
/// Two of the chipset, then ports and what is behind them.
const DOMAIN: usize = 2 + PORTS * (1 + BEHIND_PORT);

/// The first `count` functions. Domains follow each other; from the third on they lie where Intel VMD puts its own (0x10000 and up).
pub(super) fn functions(count: usize) -> Vec<Function> {
    let mut group = 0;
    (0..count).map(|index| function(index / DOMAIN, index % DOMAIN, &mut group)).collect()
}

fn function(domain: usize, index: usize, group: &mut u32) -> Function {
    let number = if domain < 3 { domain } else { 0x10000 + domain - 3 };
    let root = format!("devices/pci{number:04x}:00");
    let numa_node = ["-1\n", "0\n", "1\n"].get(domain % 3).copied().unwrap_or("-1\n");
    let (port, member) = (index.saturating_sub(2) / (1 + BEHIND_PORT), index.saturating_sub(2) % (1 + BEHIND_PORT));
    let port_address = format!("{number:04x}:00:{:02x}.{}", 1 + port % 30, port / 30);
    let (address, dir, kind) = match (index, member) {
        (0, _) => (format!("{number:04x}:00:00.0"), root, &HOST_BRIDGE),
        (1, _) => (format!("{number:04x}:00:1f.0"), root, &LPC),
        (_, 0) => (port_address, root, &PORT),
        _ => {
            let address = format!("{number:04x}:{:02x}:00.{}", port + 1, member - 1);
            let kind = ENDPOINTS.get((port * BEHIND_PORT + member - 1) % ENDPOINTS.len()).unwrap_or(&PORT);
            (address, format!("{root}/{port_address}"), kind)
        }
    };
    // Every second port has functions that do not isolate from each other. Numbers have holes, as after hot unplug.
    if member < 2 || port % 2 == 1 {
        *group += if index.is_multiple_of(11) { 4 } else { 1 };
    }
    Function { dir: format!("{dir}/{address}"), address, kind, group: *group, numa_node }
}

#[cfg(test)]
mod tests {
    use super::functions;
    use std::collections::HashSet;

    #[test]
    fn addresses_are_distinct_and_groups_hold_neighbours_only() {
        let list = functions(10_000);
        assert_eq!(list.iter().map(|f| f.address.as_str()).collect::<HashSet<_>>().len(), 10_000);
        assert!(list.iter().any(|f| f.address.starts_with("10000:")));
        let mut sizes = std::collections::HashMap::<u32, usize>::new();
        for function in &list {
            *sizes.entry(function.group).or_default() += 1;
        }
        assert!(sizes.values().all(|size| *size <= 7) && sizes.values().any(|size| *size == 7));
        assert!(list.last().is_some_and(|f| f.group as usize > sizes.len()), "numbers are sparse");
    }
}
