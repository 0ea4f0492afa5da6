//! Names from a `pci.ids` file. Names are for people; nothing is decided by them.

use crate::capture::Capture;
use crate::lines::records;
use crate::pci::{PciClass, PciDevice, PciId};
use std::collections::{HashMap, HashSet};

/// The copy that is used where the host has none: pci.ids as packaged by Debian, under the 3-clause BSD licence.
pub static EMBEDDED: &[u8] = include_bytes!("../../data/pci.ids");

/// Where distributions keep the file.
pub const PCI_IDS_PATHS: [&str; 4] =
    ["/usr/share/hwdata/pci.ids", "/usr/share/misc/pci.ids", "/var/lib/pciutils/pci.ids", "/run/current-system/sw/share/pci.ids"];

/// Names of the ids that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PciNames {
    vendors: HashMap<u16, String>,
    devices: HashMap<PciId, String>,
    classes: HashMap<u16, String>,
}

impl PciNames {
    /// Looks all `ids` and `classes` up in one pass over the file.
    pub fn look_up(file: &[u8], ids: impl IntoIterator<Item = PciId>, classes: impl IntoIterator<Item = PciClass>) -> Self {
        let mut wanted: HashMap<u16, HashSet<u16>> = HashMap::new();
        for id in ids {
            wanted.entry(id.vendor).or_default().insert(id.device);
        }
        let mut names = Self::default();
        let mut section = Section::Other;
        for line in records(file, b'\n') {
            match line.first() {
                None | Some(b'#') => {}
                Some(b'\t') => names.below(&section, line, &wanted),
                Some(b'C') if line.get(1) == Some(&b' ') => section = names.class_head(line),
                Some(_) => section = names.vendor_head(line, &wanted),
            }
        }
        let wanted_classes: HashSet<u16> = classes.into_iter().map(PciClass::base_and_sub).collect();
        names.classes.retain(|class, _| wanted_classes.contains(class));
        names
    }

    fn vendor_head(&mut self, line: &[u8], wanted: &HashMap<u16, HashSet<u16>>) -> Section {
        match split(line, 4) {
            Some((id, name)) if wanted.contains_key(&id) => {
                self.vendors.insert(id, text(name));
                Section::Vendor(id)
            }
            _ => Section::Other,
        }
    }

    fn class_head(&mut self, line: &[u8]) -> Section {
        match line.get(2..).and_then(|rest| split(rest, 2)) {
            Some((base, name)) => {
                self.classes.insert(base << 8, text(name));
                Section::Class(base)
            }
            None => Section::Other,
        }
    }

    fn below(&mut self, section: &Section, line: &[u8], wanted: &HashMap<u16, HashSet<u16>>) {
        let Some(rest) = line.get(1..).filter(|rest| rest.first() != Some(&b'\t')) else { return };
        match section {
            Section::Vendor(vendor) => {
                let found = split(rest, 4).filter(|(device, _)| wanted.get(vendor).is_some_and(|list| list.contains(device)));
                self.devices.extend(found.map(|(device, name)| (PciId { vendor: *vendor, device }, text(name))));
            }
            Section::Class(base) => {
                self.classes.extend(split(rest, 2).map(|(sub, name)| (base << 8 | sub, text(name))));
            }
            Section::Other => {}
        }
    }

    /// The names of all functions of a capture, from its own table where it has one.
    pub fn of_devices(capture: &Capture, devices: &[PciDevice]) -> Self {
        let file = PCI_IDS_PATHS.iter().find_map(|path| capture.file(path)).unwrap_or(EMBEDDED);
        Self::look_up(file, devices.iter().filter_map(|device| device.id), devices.iter().filter_map(|device| device.class))
    }

    /// The names of these ids, from the capture's own table where it has one.
    pub fn of_ids(capture: &Capture, ids: impl IntoIterator<Item = PciId>) -> Self {
        let file = PCI_IDS_PATHS.iter().find_map(|path| capture.file(path)).unwrap_or(EMBEDDED);
        Self::look_up(file, ids, [])
    }

    /// The vendor's name.
    pub fn vendor(&self, id: PciId) -> Option<&str> {
        self.vendors.get(&id.vendor).map(String::as_str)
    }

    /// The device's name.
    pub fn device(&self, id: PciId) -> Option<&str> {
        self.devices.get(&id).map(String::as_str)
    }

    /// The subclass's name, else the base class's.
    pub fn class(&self, class: PciClass) -> Option<&str> {
        self.classes.get(&class.base_and_sub()).map(String::as_str)
    }
}

enum Section {
    Vendor(u16),
    Class(u16),
    Other,
}

/// `digits` hexadecimal digits, blanks, then the name.
fn split(line: &[u8], digits: usize) -> Option<(u16, &[u8])> {
    let id = std::str::from_utf8(line.get(..digits)?).ok().and_then(|text| u16::from_str_radix(text, 16).ok())?;
    let name = line.get(digits..).filter(|rest| rest.first() == Some(&b' '))?;
    Some((id, name))
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name.trim_ascii()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendor_device_and_class_come_from_one_pass() {
        let file = b"# list\n8086  Intel Corporation\n\t1901  PEG\n10de  NVIDIA Corporation\n\t1f91  TU117M\n\t\t1043 109f  board\n\t1f92  other\nC 03  Display controller\n\t00  VGA compatible controller\n\t\t00  VGA controller\nC 0c  Serial bus\n";
        let id = PciId { vendor: 0x10de, device: 0x1f91 };
        let names = PciNames::look_up(file, [id], [PciClass(0x030000)]);
        assert_eq!(
            (names.vendor(id), names.device(id), names.class(PciClass(0x030000))),
            (Some("NVIDIA Corporation"), Some("TU117M"), Some("VGA compatible controller"))
        );
        assert_eq!(names.device(PciId { vendor: 0x10de, device: 0x1f92 }), None);
    }

    #[test]
    fn the_embedded_copy_knows_common_cards_and_noise_is_ignored() {
        let id = PciId { vendor: 0x10de, device: 0x1f91 };
        assert!(PciNames::look_up(EMBEDDED, [id], []).device(id).is_some_and(|name| name.contains("1650")));
        assert_eq!(PciNames::look_up(b"\xff\xfe\n\t\nzzzz name\n10de\n", [id], []).vendor(id), None);
    }
}
