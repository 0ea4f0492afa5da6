//! Names from a `pci.ids` file. Names are for people; nothing is decided by them.

use crate::capture::Capture;
use crate::lines::records;
use crate::pci::{PciClass, PciDevice, PciId};
use std::collections::{BTreeMap, BTreeSet};

/// The copy that is used where the host has none: pci.ids as packaged by Debian, under the 3-clause BSD licence.
pub static EMBEDDED: &[u8] = include_bytes!("../../data/pci.ids");

/// Where distributions keep the file.
pub const PCI_IDS_PATHS: [&str; 4] =
    ["/usr/share/hwdata/pci.ids", "/usr/share/misc/pci.ids", "/var/lib/pciutils/pci.ids", "/run/current-system/sw/share/pci.ids"];

/// Names of the ids that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PciNames {
    vendors: BTreeMap<u16, String>,
    devices: BTreeMap<PciId, String>,
    classes: BTreeMap<u16, String>,
}

impl PciNames {
    /// Looks all `ids` and `classes` up in one pass over the file.
    pub fn look_up(file: &[u8], ids: impl IntoIterator<Item = PciId>, classes: impl IntoIterator<Item = PciClass>) -> Self {
        let ids: BTreeSet<PciId> = ids.into_iter().collect();
        let wanted = Wanted { ids: ids.into_iter().collect(), classes: classes.into_iter().map(PciClass::base_and_sub).collect() };
        let mut names = Self::default();
        let mut section = Section::Other;
        for line in records(file, b'\n') {
            match line {
                [] | [b'#', ..] | [b'\t', b'\t', ..] => {}
                [b'\t', rest @ ..] => names.below(&section, rest, &wanted),
                [b'C', b' ', rest @ ..] => section = names.class_head(rest, &wanted),
                _ => section = names.vendor_head(line, &wanted),
            }
        }
        names
    }

    fn vendor_head<'w>(&mut self, line: &[u8], wanted: &'w Wanted) -> Section<'w> {
        let Some((vendor, name)) = split(line, 4) else { return Section::Other };
        let ids = wanted.of_vendor(vendor);
        if ids.is_empty() {
            return Section::Other;
        }
        self.vendors.insert(vendor, text(name));
        Section::Vendor(ids)
    }

    fn class_head(&mut self, line: &[u8], wanted: &Wanted) -> Section<'static> {
        let Some((base, name)) = split(line, 2) else { return Section::Other };
        self.keep_class(base << 8, name, wanted);
        Section::Class(base)
    }

    fn below(&mut self, section: &Section<'_>, line: &[u8], wanted: &Wanted) {
        match section {
            Section::Vendor(ids) => {
                let Some((device, name)) = split(line, 4) else { return };
                if let Some(id) = ids.iter().find(|id| id.device == device) {
                    self.devices.insert(*id, text(name));
                }
            }
            Section::Class(base) => {
                let Some((sub, name)) = split(line, 2) else { return };
                self.keep_class(base << 8 | sub, name, wanted);
            }
            Section::Other => {}
        }
    }

    fn keep_class(&mut self, class: u16, name: &[u8], wanted: &Wanted) {
        if wanted.classes.contains(&class) {
            self.classes.insert(class, text(name));
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

/// What is looked up. A table has 40 000 lines, so each of them is judged by comparing numbers in short sorted lists.
struct Wanted {
    /// Sorted.
    ids: Vec<PciId>,
    classes: BTreeSet<u16>,
}

impl Wanted {
    fn of_vendor(&self, vendor: u16) -> &[PciId] {
        let rest = self.ids.get(self.ids.partition_point(|id| id.vendor < vendor)..).unwrap_or_default();
        rest.get(..rest.partition_point(|id| id.vendor == vendor)).unwrap_or_default()
    }
}

/// Which block of the table a line is in.
enum Section<'w> {
    /// The ids that are wanted of it.
    Vendor(&'w [PciId]),
    Class(u16),
    Other,
}

/// `digits` hexadecimal digits, blanks, then the name.
fn split(line: &[u8], digits: usize) -> Option<(u16, &[u8])> {
    let (id, name) = line.split_at_checked(digits).filter(|(_, name)| name.first() == Some(&b' '))?;
    let id = id.iter().try_fold(0, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?))?;
    Some((u16::try_from(id).ok()?, name))
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
