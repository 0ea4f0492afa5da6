//! From names back to numbers: listings without `-n` or `-nn` have names only, and the kernel's quirks go by numbers.

use crate::lines::records;
use crate::pci::names::EMBEDDED;
use crate::pci::{PciClass, PciId};
use std::collections::{HashMap, HashSet};

/// The numbers of the names that were asked for.
pub(super) struct Numbers {
    vendors: HashMap<&'static [u8], u16>,
    devices: HashMap<(u16, &'static [u8]), u16>,
    classes: HashMap<&'static [u8], u16>,
}

impl Numbers {
    /// Looks up all names of a listing in the embedded table. Of several devices with one name the first is taken: such names are
    /// given to series, of which the kernel treats all alike.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let wanted: HashSet<&[u8]> = names.map(str::as_bytes).collect();
        let mut numbers = Self { vendors: HashMap::new(), devices: HashMap::new(), classes: HashMap::new() };
        if wanted.is_empty() {
            return numbers;
        }
        numbers.read_heads();
        let pairs: HashSet<(u16, &[u8])> = wanted.iter().filter_map(|name| numbers.split(name)).collect();
        let mut section = None;
        for line in records(EMBEDDED, b'\n') {
            match line.first() {
                Some(b'\t') => {
                    let found = section.zip(line.get(1..).and_then(entry));
                    if let Some((vendor, (device, name))) = found.filter(|(vendor, (_, name))| pairs.contains(&(*vendor, *name))) {
                        numbers.devices.entry((vendor, name)).or_insert(device);
                    }
                }
                None | Some(b'#') => {}
                Some(_) => section = entry(line).map(|(vendor, _)| vendor),
            }
        }
        numbers
    }

    /// Makers and classes.
    fn read_heads(&mut self) {
        let mut base = None;
        for line in records(EMBEDDED, b'\n') {
            match (line, base) {
                ([b'C', b' ', rest @ ..], _) => base = class(rest).map(|(base, _)| base << 8),
                ([b'\t', rest @ ..], Some(base)) => {
                    if let Some((sub, name)) = class(rest) {
                        self.classes.entry(name).or_insert(base | sub);
                    }
                }
                ([b'\t' | b'#', ..] | [], _) => {}
                (line, _) => {
                    if let Some((vendor, name)) = entry(line) {
                        self.vendors.entry(name).or_insert(vendor);
                    }
                }
            }
        }
    }

    /// Maker and the rest of a name; the longest maker that fits counts.
    fn split<'a>(&self, name: &'a [u8]) -> Option<(u16, &'a [u8])> {
        let blanks = (0..name.len()).rev().filter(|at| name.get(*at) == Some(&b' '));
        let found = |at: usize| Some((*self.vendors.get(name.get(..at)?)?, name.get(at + 1..)?));
        blanks.map(found).find(Option::is_some).flatten()
    }

    /// The numbers of `Intel Corporation Sunrise Point-LP PCI Express Root Port #1`, or of `Intel Corporation Device 4637`.
    pub(super) fn id(&self, name: &str) -> Option<PciId> {
        let (vendor, rest) = self.split(name.as_bytes())?;
        let unnamed = || {
            let digits = std::str::from_utf8(rest.strip_prefix(b"Device ")?).ok().filter(|digits| digits.len() == 4)?;
            u16::from_str_radix(digits, 16).ok()
        };
        let device = self.devices.get(&(vendor, rest)).copied().or_else(unnamed)?;
        Some(PciId { vendor, device })
    }

    /// The class of `VGA compatible controller`.
    pub(super) fn class(&self, name: &str, interface: Option<u8>) -> Option<PciClass> {
        let class = *self.classes.get(name.as_bytes())?;
        Some(PciClass(u32::from(class) << 8 | u32::from(interface.unwrap_or(0))))
    }
}

/// `1901  NAME`.
fn entry(line: &'static [u8]) -> Option<(u16, &'static [u8])> {
    let number = std::str::from_utf8(line.get(..4)?).ok().and_then(|digits| u16::from_str_radix(digits, 16).ok())?;
    Some((number, line.get(4..)?.trim_ascii()))
}

/// `04  NAME`.
fn class(line: &'static [u8]) -> Option<(u16, &'static [u8])> {
    let number = std::str::from_utf8(line.get(..2)?).ok().and_then(|digits| u16::from_str_radix(digits, 16).ok())?;
    Some((number, line.get(2..)?.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_numbers() {
        let cases = [
            ("Intel Corporation Sunrise Point-LP PCI Express Root Port #1", Some("8086:9d10")),
            ("Intel Corporation Device 4637", Some("8086:4637")),
            ("Advanced Micro Devices, Inc. [AMD] Starship/Matisse GPP Bridge", Some("1022:1483")),
            ("Intel Corporation no such thing", None),
            ("Nobody Ltd. Card", None),
            ("", None),
        ];
        let numbers = Numbers::of(cases.iter().map(|(name, _)| *name));
        for (name, id) in cases {
            assert_eq!(numbers.id(name).map(|id| id.to_string()).as_deref(), id, "{name}");
        }
        assert_eq!(numbers.class("VGA compatible controller", Some(0)), Some(PciClass(0x030000)));
        assert_eq!(numbers.class("PCI bridge", None), Some(PciClass(0x060400)));
        assert_eq!(numbers.class("Talking bridge", None), None);
    }
}
