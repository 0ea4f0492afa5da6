//! One PCI function as sysfs shows it.

use crate::capture::{Capture, Entry};
use crate::escape::misleads;
use crate::observed::Observed;
use crate::pci::{ConfigSpace, PciAddress, PciClass, PciId, SerialNumber, SlotPath, Upstream};
use std::borrow::Cow;

/// Where the functions stand in a capture.
pub const PCI_DEVICES: &str = "/sys/bus/pci/devices/";

/// One PCI function: what it is, who drives it, where it hangs. `None` is a fact that this function does not have or that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciDevice {
    /// Where it is.
    pub address: PciAddress,
    /// Vendor and device.
    pub id: Option<PciId>,
    /// Subsystem vendor and device; absent on bridges.
    pub subsystem: Option<PciId>,
    /// What it is called where it was seen: the name in a listing, or firmware's (attribute `label`).
    pub label: Option<String>,
    /// Class code.
    pub class: Option<PciClass>,
    /// Revision.
    pub revision: Option<u8>,
    /// The bound driver; `Absent` where none is bound.
    pub driver: Observed<String>,
    /// `driver_override`, where one is set.
    pub driver_override: Option<String>,
    /// The text by which udev finds modules.
    pub modalias: Option<String>,
    /// IOMMU group number, from the `iommu_group` link.
    pub iommu_group: Option<u32>,
    /// NUMA node; `None` where the firmware names none (-1 in sysfs).
    pub numa_node: Option<u32>,
    /// True for the display that the firmware used; only VGA functions have it.
    pub boot_vga: Option<bool>,
    /// Ways to reset it, in the order in which the kernel tries them (since Linux 5.15).
    pub reset_methods: Option<Vec<String>>,
    /// Virtual functions that it could have (`sriov_totalvfs`).
    pub sriov_total: Option<u32>,
    /// Virtual functions that it has now (`sriov_numvfs`).
    pub sriov_active: Option<u32>,
    /// The physical function, where this is a virtual one.
    pub physical_function: Option<PciAddress>,
    /// What it hangs from.
    pub upstream: Upstream,
    /// Where it is plugged in, which stays when buses are numbered anew.
    pub slot: Option<SlotPath>,
    /// The card's serial number, where it has one and configuration space was read whole.
    pub serial: Option<SerialNumber>,
}

/// No name in pci.ids is longer than 130 bytes.
const LONGEST_LABEL: usize = 200;

impl PciDevice {
    /// True for bridges and ports, which stay with their driver and never go to a guest (header type 1 or 2).
    pub fn is_bridge(&self) -> bool {
        self.class.is_some_and(PciClass::is_pci_bridge)
    }

    /// True for display controllers.
    pub fn is_display(&self) -> bool {
        self.class.is_some_and(PciClass::is_display)
    }

    /// The text by which udev finds modules: as the kernel shows it, else from the ids (drivers/pci/pci-sysfs.c `modalias_show`).
    pub fn modalias_text(&self) -> Option<Cow<'_, str>> {
        if let Some(text) = &self.modalias {
            return Some(Cow::Borrowed(text));
        }
        let (id, class) = (self.id?, self.class?);
        let (sv, sd) = self.subsystem.map_or((0, 0), |s| (s.vendor, s.device));
        let [_, base, sub, interface] = class.0.to_be_bytes();
        Some(Cow::Owned(format!("pci:v{:08X}d{:08X}sv{sv:08X}sd{sd:08X}bc{base:02X}sc{sub:02X}i{interface:02X}", id.vendor, id.device)))
    }

    /// The driver's name, where one is known to be bound.
    pub fn driver_name(&self) -> Option<&str> {
        self.driver.known().map(String::as_str)
    }

    /// True where the bound driver is vfio-pci or one of its variants (`mlx5_vfio_pci`, `nvgrace-gpu-vfio-pci`).
    pub fn is_on_vfio(&self) -> bool {
        self.driver_name().is_some_and(|name| name.replace('_', "-").ends_with("vfio-pci"))
    }
}

/// Reads every PCI function that the capture holds, in the order of their addresses.
pub fn read_devices(capture: &Capture) -> Vec<PciDevice> {
    let mut devices = Vec::new();
    let mut open = Attributes { name: "", list: Vec::with_capacity(32) };
    for (path, entry) in capture.below(PCI_DEVICES) {
        let Some(rest) = path.get(PCI_DEVICES.len()..) else { continue };
        let (name, attribute) = rest.split_once('/').unwrap_or((rest, ""));
        if open.name != name {
            devices.extend(open.read());
            open.name = name;
            open.list.clear();
        }
        open.list.push((attribute, entry));
    }
    devices.extend(open.read());
    devices.sort_by_key(|device: &PciDevice| device.address);
    devices
}

/// All that was seen of one function.
struct Attributes<'a> {
    name: &'a str,
    list: Vec<(&'a str, &'a Entry)>,
}

impl<'a> Attributes<'a> {
    fn entry(&self, name: &str) -> Option<&'a Entry> {
        self.list.iter().find(|(n, _)| *n == name).map(|(_, entry)| *entry)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        match self.entry(name)? {
            Entry::File(bytes) => std::str::from_utf8(bytes).ok().map(|text| text.trim_end_matches(['\n', '\0'])),
            _ => None,
        }
    }

    fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        match self.entry(name)? {
            Entry::File(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn link_name(&self, name: &str) -> Option<&'a str> {
        match self.entry(name)? {
            Entry::Link(target) => target.trim_end_matches('/').rsplit('/').next(),
            _ => None,
        }
    }

    fn hex(&self, name: &str) -> Option<u32> {
        let text = self.text(name)?.trim();
        u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
    }

    fn hex16(&self, name: &str) -> Option<u16> {
        self.hex(name).and_then(|value| value.try_into().ok())
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.text(name)?.trim().parse().ok()
    }

    fn read(&self) -> Option<PciDevice> {
        let address: PciAddress = self.name.parse().ok()?;
        let uevent = Uevent::read(self.bytes("uevent").unwrap_or_default());
        let id = uevent.id.and_then(pair).or_else(|| self.id("vendor", "device")).or_else(|| self.config_id(0));
        // No vendor has the number ffff: all ones is what a read gets where nothing answers (PCIe 6.0, 7.5.1.1.1). All noughts say nothing
        // either (drivers/pci/probe.c, `pci_bus_generic_read_dev_vendor_id`).
        let id = id.filter(|id| id.vendor != 0xffff && (id.vendor, id.device) != (0, 0));
        let class = uevent.class.and_then(class_code).or_else(|| self.hex("class").map(PciClass)).or_else(|| self.config_class());
        let has_subsystem = !class.is_some_and(PciClass::is_pci_bridge);
        let subsystem = uevent.subsystem.and_then(pair).or_else(|| self.id("subsystem_vendor", "subsystem_device"));
        let subsystem = subsystem.or_else(|| has_subsystem.then(|| self.config_id(0x2c))?);
        Some(PciDevice {
            address,
            id,
            subsystem: subsystem.filter(|s| (s.vendor, s.device) != (0, 0)),
            label: self.text("label").filter(|text| is_label(text)).map(str::to_owned),
            class,
            revision: self.hex("revision").and_then(|r| u8::try_from(r).ok()).or_else(|| self.bytes("config")?.get(8).copied()),
            driver: self.driver(&uevent),
            driver_override: self.text("driver_override").filter(|text| !text.is_empty() && *text != "(null)").map(str::to_owned),
            modalias: uevent.modalias.or_else(|| self.text("modalias")).map(str::to_owned),
            iommu_group: self.link_name("iommu_group").and_then(|name| name.parse().ok()),
            numa_node: self.number("numa_node"),
            boot_vga: self.number("boot_vga").map(|value| value == 1),
            reset_methods: self.text("reset_method").map(|text| text.split_whitespace().map(str::to_owned).collect()),
            sriov_total: self.number("sriov_totalvfs"),
            sriov_active: self.number("sriov_numvfs"),
            physical_function: self.link_name("physfn").and_then(|name| name.parse().ok()),
            upstream: self.upstream(),
            slot: self.link_target().and_then(SlotPath::from_device_link),
            serial: self.bytes("config").and_then(|bytes| ConfigSpace::from_sysfs(bytes).serial_number().known()),
        })
    }

    fn id(&self, vendor: &str, device: &str) -> Option<PciId> {
        Some(PciId { vendor: self.hex16(vendor)?, device: self.hex16(device)? })
    }

    /// Two little-endian words of the configuration header; all ones is a device that does not answer.
    fn config_id(&self, at: usize) -> Option<PciId> {
        let word = |at| Some(u16::from_le_bytes([*self.bytes("config")?.get(at)?, *self.bytes("config")?.get(at + 1)?]));
        let id = PciId { vendor: word(at)?, device: word(at + 2)? };
        (id.vendor != 0xffff).then_some(id)
    }

    fn config_class(&self) -> Option<PciClass> {
        let byte = |at| Some(u32::from(*self.bytes("config")?.get(at)?));
        self.config_id(0)?;
        Some(PciClass(byte(11)? << 16 | byte(10)? << 8 | byte(9)?))
    }

    fn driver(&self, uevent: &Uevent<'_>) -> Observed<String> {
        if let Some(name) = self.link_name("driver").or(uevent.driver) {
            return Observed::Known(name.to_owned());
        }
        match self.entry("driver") {
            Some(Entry::Unreadable(why)) => Observed::Unknown(why.clone()),
            _ if uevent.odd_driver => Observed::Unknown("its name is not UTF-8".to_owned()),
            _ => Observed::Absent,
        }
    }

    fn upstream(&self) -> Upstream {
        self.link_target().map_or(Upstream::Unknown, Upstream::from_device_link)
    }

    /// The link of the function itself, into `/sys/devices`.
    fn link_target(&self) -> Option<&'a str> {
        match self.entry("")? {
            Entry::Link(target) => Some(target),
            _ => None,
        }
    }
}

/// The `uevent` attribute: one `KEY=value` a line (drivers/pci/pci-driver.c `pci_uevent`). One read instead of six.
#[derive(Default)]
struct Uevent<'a> {
    driver: Option<&'a str>,
    /// There is a driver, of a name that is no text.
    odd_driver: bool,
    class: Option<&'a str>,
    id: Option<&'a str>,
    subsystem: Option<&'a str>,
    modalias: Option<&'a str>,
}

impl<'a> Uevent<'a> {
    /// A line that is no text hides itself alone.
    fn read(bytes: &'a [u8]) -> Self {
        let mut uevent = Self::default();
        for line in bytes.split(|byte| matches!(byte, b'\n' | b'\0')) {
            uevent.odd_driver |= line.starts_with(b"DRIVER=");
            let Some((key, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once('=')) else { continue };
            let slot = match key {
                "DRIVER" => &mut uevent.driver,
                "PCI_CLASS" => &mut uevent.class,
                "PCI_ID" => &mut uevent.id,
                "PCI_SUBSYS_ID" => &mut uevent.subsystem,
                "MODALIAS" => &mut uevent.modalias,
                _ => continue,
            };
            slot.get_or_insert(value);
        }
        uevent
    }
}

/// Labels come from whoever wrote the listing or the firmware, and are shown to people.
fn is_label(text: &str) -> bool {
    (1..=LONGEST_LABEL).contains(&text.len()) && !text.contains(misleads)
}

fn pair(text: &str) -> Option<PciId> {
    let (vendor, device) = text.split_once(':')?;
    Some(PciId { vendor: u16::from_str_radix(vendor, 16).ok()?, device: u16::from_str_radix(device, 16).ok()? })
}

fn class_code(text: &str) -> Option<PciClass> {
    u32::from_str_radix(text, 16).ok().map(PciClass)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(entries: &[(&str, &str)]) -> Capture {
        let mut capture = Capture::new();
        for (path, text) in entries {
            let path = format!("{PCI_DEVICES}{path}");
            let entry = match text.strip_prefix("-> ") {
                Some(target) => Entry::Link(target.into()),
                None => Entry::File(text.as_bytes().to_vec()),
            };
            capture.insert(path, entry);
        }
        capture
    }

    #[test]
    fn uevent_and_single_attributes_and_configuration_space_say_the_same() {
        let uevent = capture(&[
            (
                "0000:01:00.0/uevent",
                "DRIVER=nouveau\nPCI_CLASS=30000\nPCI_ID=10DE:1F91\nPCI_SUBSYS_ID=1043:109F\nPCI_SLOT_NAME=0000:01:00.0\n",
            ),
            ("0000:01:00.0/revision", "0xa1\n"),
        ]);
        let single = capture(&[
            ("0000:01:00.0/vendor", "0x10de\n"),
            ("0000:01:00.0/device", "0x1f91\n"),
            ("0000:01:00.0/class", "0x030000\n"),
            ("0000:01:00.0/revision", "0xa1\n"),
            ("0000:01:00.0/subsystem_vendor", "0x1043\n"),
            ("0000:01:00.0/subsystem_device", "0x109f\n"),
            ("0000:01:00.0/driver", "-> ../../../../bus/pci/drivers/nouveau"),
        ]);
        let mut bytes = vec![0xde, 0x10, 0x91, 0x1f, 0, 0, 0, 0, 0xa1, 0, 0, 3];
        bytes.resize(64, 0);
        bytes.splice(0x2c..0x30, [0x43, 0x10, 0x9f, 0x10]);
        let mut config = capture(&[("0000:01:00.0/driver", "-> ../../../../bus/pci/drivers/nouveau")]);
        config.insert(format!("{PCI_DEVICES}0000:01:00.0/config"), Entry::File(bytes));
        assert_eq!(read_devices(&uevent), read_devices(&single));
        assert_eq!(read_devices(&single), read_devices(&config));
        let device = &read_devices(&uevent)[0];
        assert_eq!(device.id.unwrap().to_string(), "10de:1f91");
        assert_eq!(device.driver_name(), Some("nouveau"));
        assert!(device.is_display());
    }

    #[test]
    fn a_line_of_uevent_that_is_no_text_hides_itself_alone() {
        let mut capture = Capture::new();
        let function = |address: &str, bytes: &[u8], capture: &mut Capture| {
            capture.insert(format!("{PCI_DEVICES}{address}/uevent"), Entry::File(bytes.to_vec()));
        };
        function("0000:01:00.0", b"DRIVER=nouveau\nOF_NAME=caf\xe9\nPCI_ID=10DE:1F91\n", &mut capture);
        function("0000:02:00.0", b"DRIVER=caf\xe9\nPCI_ID=10DE:1F91\n", &mut capture);
        function("0000:03:00.0", b"PCI_ID=10DE:1F91\nMODALIAS=\xff\n", &mut capture);
        let devices = read_devices(&capture);
        assert!(devices.iter().all(|device| device.id.is_some()));
        assert_eq!(
            (devices[0].driver_name(), devices[1].driver.is_unknown(), devices[2].driver.is_absent()),
            (Some("nouveau"), true, true)
        );
    }

    #[test]
    fn the_way_to_the_root_is_in_the_link() {
        let capture = capture(&[
            ("0000:00:01.0", "-> ../../../devices/pci0000:00/0000:00:01.0"),
            ("0000:01:00.0", "-> ../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0"),
            ("10000:e0:06.0", "-> ../../../devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0"),
            ("0000:02:00.0/vendor", "0x8086\n"),
        ]);
        let upstream: Vec<_> = read_devices(&capture).into_iter().map(|d| d.upstream).collect();
        let bridge = Upstream::Bridge("00:01.0".parse().unwrap());
        assert_eq!(upstream, [Upstream::RootBus, bridge, Upstream::Unknown, Upstream::Vmd("00:0e.0".parse().unwrap())]);
    }

    #[test]
    fn a_vendor_of_all_ones_is_no_id_whoever_says_it() {
        let mut capture = capture(&[
            ("0000:01:00.0/uevent", "PCI_CLASS=FFFFFF\nPCI_ID=FFFF:FFFF\n"),
            ("0000:02:00.0/vendor", "0xffff\n"),
            ("0000:02:00.0/device", "0x1f91\n"),
            // The kernel keeps the ids of a function that fell asleep.
            ("0000:04:00.0/uevent", "PCI_ID=10DE:1F91\n"),
        ]);
        for address in ["0000:03:00.0", "0000:04:00.0"] {
            capture.insert(format!("{PCI_DEVICES}{address}/config"), Entry::File(vec![0xff; 64]));
        }
        let ids: Vec<_> = read_devices(&capture).into_iter().map(|device| device.id.map(|id| id.to_string())).collect();
        assert_eq!(ids, [None, None, None, Some("10de:1f91".to_owned())]);
    }

    #[test]
    fn a_dead_function_and_a_stranger_in_the_directory_are_no_panic() {
        let mut capture = capture(&[
            ("not-an-address/vendor", "x"),
            ("0000:03:00.0/vendor", "nonsense"),
            ("0000:03:00.0/numa_node", "-1\n"),
            ("0000:03:00.0/driver_override", "(null)\n"),
        ]);
        capture.insert(format!("{PCI_DEVICES}0000:03:00.0/config"), Entry::File(vec![0xff; 64]));
        let devices = read_devices(&capture);
        assert_eq!(devices.len(), 1);
        assert_eq!((devices[0].id, devices[0].class, devices[0].numa_node, &devices[0].driver_override), (None, None, None, &None));
    }
}
