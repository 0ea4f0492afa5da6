//! PCI functions as sysfs shows them.

use cede_model::{Capture, Entry};

const DEVICES: &str = "/sys/bus/pci/devices";

/// One function to be laid out.
#[derive(Clone)]
pub struct Function {
    pub address: &'static str,
    /// Directory above it in `/sys/devices`, such as `pci0000:00/0000:00:01.0`.
    pub above: &'static str,
    pub id: (u16, u16),
    pub subsystem: (u16, u16),
    pub class: u32,
    pub driver: Option<&'static str>,
    pub boot_vga: Option<bool>,
    /// PCI Express port type (PCIe 6.0, 7.5.3.2): 0 endpoint, 4 root port, 9 root complex integrated endpoint; `None` for a conventional function.
    pub express: Option<u8>,
    /// Secondary bus, for bridges.
    pub secondary: Option<u8>,
    pub group: Option<u32>,
}

impl Function {
    pub const fn new(address: &'static str, above: &'static str, id: (u16, u16), class: u32) -> Self {
        let subsystem = (0x1043, 0x109f);
        Self { address, above, id, subsystem, class, driver: None, boot_vga: None, express: Some(0), secondary: None, group: None }
    }

    pub const fn driver(mut self, name: &'static str) -> Self {
        self.driver = Some(name);
        self
    }

    pub const fn express(mut self, kind: Option<u8>) -> Self {
        self.express = kind;
        self
    }

    pub const fn bridge_to(mut self, bus: u8) -> Self {
        self.secondary = Some(bus);
        self
    }

    pub const fn vga(mut self, boots: bool) -> Self {
        self.boot_vga = Some(boots);
        self
    }

    pub const fn subsystem(mut self, id: (u16, u16)) -> Self {
        self.subsystem = id;
        self
    }

    pub const fn group(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// Records the function.
    pub fn put(&self, capture: &mut Capture) {
        let dir = format!("{DEVICES}/{}", self.address);
        capture.insert(dir.clone(), Entry::Link(format!("../../../devices/{}/{}", self.above, self.address)));
        let mut text = |name: &str, value: String| capture.insert(format!("{dir}/{name}"), Entry::File(value.into_bytes()));
        text("vendor", format!("{:#06x}\n", self.id.0));
        text("device", format!("{:#06x}\n", self.id.1));
        text("class", format!("{:#08x}\n", self.class));
        if self.secondary.is_none() {
            text("subsystem_vendor", format!("{:#06x}\n", self.subsystem.0));
            text("subsystem_device", format!("{:#06x}\n", self.subsystem.1));
        }
        match self.boot_vga {
            Some(boots) => text("boot_vga", format!("{}\n", u8::from(boots))),
            None => _ = capture.remove(&format!("{dir}/boot_vga")),
        }
        capture.insert(format!("{dir}/config"), Entry::File(self.config()));
        match self.driver {
            Some(name) => capture.insert(format!("{dir}/driver"), Entry::Link(format!("../../../../bus/pci/drivers/{name}"))),
            None => capture.insert(format!("{dir}/driver"), Entry::Absent),
        }
        if let Some(group) = self.group {
            capture.insert(format!("{dir}/iommu_group"), Entry::Link(format!("../../../../kernel/iommu_groups/{group}")));
            capture.insert(format!("/sys/kernel/iommu_groups/{group}/devices/{}", self.address), Entry::Link(String::new()));
            capture.insert(format!("/sys/kernel/iommu_groups/{group}/type"), Entry::File(b"DMA-FQ\n".to_vec()));
        }
    }

    /// 4096 bytes without extended capabilities, or 256 for a conventional function.
    fn config(&self) -> Vec<u8> {
        let mut bytes = vec![0; if self.express.is_some() { 4096 } else { 256 }];
        let mut put = |at: usize, value: &[u8]| bytes.iter_mut().skip(at).zip(value).for_each(|(byte, new)| *byte = *new);
        put(0x00, &self.id.0.to_le_bytes());
        put(0x02, &self.id.1.to_le_bytes());
        put(0x09, &self.class.to_le_bytes()[..3]);
        put(0x0e, &[u8::from(self.secondary.is_some()) | if self.address.ends_with(".0") { 0x80 } else { 0 }]);
        match self.secondary {
            Some(bus) => put(0x18, &[0, bus, bus]),
            None => {
                put(0x2c, &self.subsystem.0.to_le_bytes());
                put(0x2e, &self.subsystem.1.to_le_bytes());
            }
        }
        if let Some(kind) = self.express {
            put(0x06, &[0x10]);
            put(0x34, &[0x40]);
            put(0x40, &[0x10, 0x00, 2 | kind << 4, 0]);
        }
        bytes
    }
}
