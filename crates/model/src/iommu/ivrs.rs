//! AMD's ACPI table IVRS: which functions its IOMMUs translate for, and in whose name some of them do DMA.
//!
//! Read as Linux does (6.12, drivers/iommu/amd/init.c: `get_highest_supported_ivhd_type`, `init_iommu_from_acpi`, `ivhd_entry_length`); the
//! layout is chapter 5 of AMD I/O Virtualization Technology (IOMMU) Specification 3.10.

use crate::pci::PciAddress;

/// The blocks begin behind this (`IVRS_HEADER_LENGTH`).
const HEADER: usize = 48;

/// The last type of a block that describes an IOMMU (`ACPI_IVHD_TYPE_MAX_SUPPORTED`).
const LAST_UNIT: u8 = 0x40;

/// What the table says of functions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ivrs {
    ranges: Vec<Range>,
    /// Segment and requester id of each IOMMU.
    units: Vec<(u16, u16)>,
}

/// Functions by their requester ids (bus, device and function), both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    segment: u16,
    first: u16,
    last: u16,
    /// In whose name they do DMA.
    alias: Option<u16>,
}

impl Ivrs {
    /// Reads the table; `None` where it is not whole, or not one that Linux would take.
    pub fn parse(table: &[u8]) -> Option<Self> {
        let length = usize::try_from(u32_at(table, 4)?).ok()?;
        let table = table.get(..length).filter(|table| table.starts_with(b"IVRS"))?;
        let mut blocks = Vec::new();
        let mut rest = table.get(HEADER..)?;
        while !rest.is_empty() {
            let length = usize::from(u16_at(rest, 2)?);
            // Shorter than any block is: Linux would go round in circles.
            let (block, behind) = rest.split_at_checked(length).filter(|(block, _)| block.len() >= 8)?;
            blocks.push(block);
            rest = behind;
        }
        let kind = unit_kind(&blocks)?;
        let mut ivrs = Self::default();
        for block in blocks.iter().filter(|block| block.first() == Some(&kind)) {
            ivrs.unit(block)?;
        }
        Some(ivrs)
    }

    /// Whether an IOMMU translates for the function.
    pub fn covers(&self, address: PciAddress) -> bool {
        let Some((segment, id)) = requester(address) else { return false };
        !self.units.contains(&(segment, id)) && self.of(segment, id).next().is_some()
    }

    /// The device and function number in whose name the function does DMA, where that is another one of its bus. The kernel leaves other
    /// buses to what it knows of bridges (drivers/iommu/amd/iommu.c, `setup_aliases`).
    pub fn alias(&self, address: PciAddress) -> Option<u8> {
        let (segment, id) = requester(address)?;
        let [bus, devfn] = self.of(segment, id).filter_map(|range| range.alias).last()?.to_be_bytes();
        (bus == address.bus && devfn != address.devfn).then_some(devfn)
    }

    fn of(&self, segment: u16, id: u16) -> impl Iterator<Item = &Range> {
        self.ranges.iter().filter(move |range| range.segment == segment && (range.first..=range.last).contains(&id))
    }

    /// One IOMMU and its entries.
    fn unit(&mut self, block: &[u8]) -> Option<()> {
        let kind = block.first()?;
        let segment = u16_at(block, 16)?;
        self.units.push((segment, u16_at(block, 4)?));
        let mut rest = block.get(if *kind == 0x10 { 24 } else { 40 }..)?;
        let mut open = Open::default();
        while let Some(kind) = rest.first() {
            let (entry, behind) = rest.split_at_checked(entry_length(*kind, rest)?)?;
            if let Some(range) = open.entry(entry)? {
                self.ranges.push(Range { segment, ..range });
                // What stands for others is translated for as well.
                self.ranges.extend(range.alias.map(|alias| Range { segment, first: alias, last: alias, alias: None }));
            }
            rest = behind;
        }
        Some(())
    }
}

/// The beginning of a range, until its end is read.
#[derive(Default)]
struct Open {
    first: u16,
    alias: Option<u16>,
}

impl Open {
    /// What one entry says; types that are not known here say nothing, as to Linux.
    fn entry(&mut self, entry: &[u8]) -> Option<Option<Range>> {
        let kind = *entry.first()?;
        let id = || u16_at(entry, 1);
        // The alias, or what a special device is known by: the second and third byte of the second word.
        let other = || u16_at(entry, 5);
        let single = |id, alias| Some(Range { segment: 0, first: id, last: id, alias });
        Some(match kind {
            0x01 => Some(Range { segment: 0, first: 0, last: u16::MAX, alias: None }),
            0x02 | 0x46 | 0xf0 => single(id()?, None),
            0x42 => single(id()?, Some(other()?)),
            0x48 => single(other()?, None),
            0x03 | 0x47 => {
                *self = Self { first: id()?, alias: None };
                None
            }
            0x43 => {
                *self = Self { first: id()?, alias: Some(other()?) };
                None
            }
            0x04 => Some(Range { segment: 0, first: self.first, last: id()?, alias: self.alias }),
            _ => None,
        })
    }
}

/// Firmware describes an IOMMU by blocks of several types, for older and newer systems; the last that is for the first IOMMU counts for all.
fn unit_kind(blocks: &[&[u8]]) -> Option<u8> {
    let unit = |block: &&[u8]| block.first().copied().filter(|kind| *kind <= LAST_UNIT).zip(u16_at(block, 4));
    let known: Vec<(u8, u16)> = blocks.iter().map_while(unit).collect();
    let (_, first) = known.first()?;
    let (kind, _) = known.iter().rfind(|(_, id)| id == first)?;
    matches!(kind, 0x10 | 0x11 | 0x40).then_some(*kind)
}

/// By the highest bits of the type; an entry with a name has the length of the name in it.
fn entry_length(kind: u8, entry: &[u8]) -> Option<usize> {
    match kind {
        0..0x80 => Some(4 << (kind >> 6)),
        0xf0 => entry.get(21).map(|name| usize::from(*name) + 22),
        _ => None,
    }
}

fn requester(address: PciAddress) -> Option<(u16, u16)> {
    Some((u16::try_from(address.domain).ok()?, u16::from_be_bytes([address.bus, address.devfn])))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> PciAddress {
        address.parse().unwrap()
    }

    fn block(kind: u8, unit: u16, entries: &[&[u8]]) -> Vec<u8> {
        let mut block = vec![0; if kind == 0x10 { 24 } else { 40 }];
        block.extend(entries.concat());
        block[0] = kind;
        let length = u16::try_from(block.len()).unwrap();
        block[2..4].copy_from_slice(&length.to_le_bytes());
        block[4..6].copy_from_slice(&unit.to_le_bytes());
        block
    }

    fn table(blocks: &[Vec<u8>]) -> Vec<u8> {
        let mut table = vec![0; HEADER];
        table.extend(blocks.concat());
        table[..4].copy_from_slice(b"IVRS");
        let length = u32::try_from(table.len()).unwrap();
        table[4..8].copy_from_slice(&length.to_le_bytes());
        table
    }

    /// As firmware of Ryzen boards has it: all from 00:00.3 on, the unit at 00:00.2, and an old bridge at 00:14.4.
    const BOARD: [&[u8]; 6] = [
        &[0x03, 0x03, 0x00, 0],
        &[0x04, 0xfe, 0xff, 0],
        &[0x43, 0x00, 0x02, 0, 0, 0xa4, 0x00, 0],
        &[0x04, 0xff, 0x02, 0],
        &[0x42, 0x19, 0x03, 0, 0, 0x18, 0x03, 0],
        &[0x48, 0, 0, 0, 0xd7, 0xa0, 0x00, 0x01],
    ];

    #[test]
    fn ranges_and_aliases() {
        let ivrs = Ivrs::parse(&table(&[block(0x10, 2, &BOARD)])).unwrap();
        let covered: Vec<bool> = ["00:00.0", "00:00.2", "00:00.3", "ff:1f.6", "ff:1f.7"].map(|text| ivrs.covers(at(text))).into();
        assert_eq!(covered, [false, false, true, true, false]);
        assert!(!ivrs.covers(at("0001:02:00.0")) && !ivrs.covers(at("10000:02:00.0")));
        assert_eq!(ivrs.alias(at("03:03.1")), Some(0x18));
        assert_eq!(["03:03.0", "02:05.0", "00:14.4"].map(|text| ivrs.alias(at(text))), [None; 3], "itself, another bus, none");
    }

    #[test]
    fn the_newest_description_of_the_first_unit_counts() {
        let all: &[u8] = &[0x01, 0, 0, 0];
        let one: &[u8] = &[0x02, 0x10, 0x00, 0];
        let named = [&[0xf0, 0x20, 0x00, 0][..], &[0; 17], &[3], b"abc"].concat();
        let memory = [&[0x21, 0x00, 32, 0, 0x10, 0][..], &[0; 26]].concat();
        let ivrs = Ivrs::parse(&table(&[block(0x10, 2, &[all]), block(0x11, 2, &[one, &named]), memory])).unwrap();
        assert_eq!(["00:02.0", "00:04.0", "00:03.0"].map(|text| ivrs.covers(at(text))), [true, true, false]);
        let ivrs = Ivrs::parse(&table(&[block(0x10, 2, &[all]), block(0x11, 3, &[one])])).unwrap();
        assert!(ivrs.covers(at("00:03.0")) && !ivrs.covers(at("00:00.2")) && ivrs.covers(at("00:00.3")));
    }

    #[test]
    fn what_is_not_whole_says_nothing() {
        let whole = table(&[block(0x10, 2, &BOARD)]);
        assert!((0..whole.len()).all(|length| Ivrs::parse(&whole[..length]).is_none()));
        let mut endless = whole.clone();
        endless[50..52].copy_from_slice(&[0, 0]);
        assert_eq!(Ivrs::parse(&endless), None);
        let mut short = whole.clone();
        short[0x4..0x8].copy_from_slice(&(u32::try_from(whole.len()).unwrap() - 4).to_le_bytes());
        assert_eq!(Ivrs::parse(&short), None);
        assert_eq!(Ivrs::parse(&table(&[])), None);
        assert_eq!(Ivrs::parse(&table(&[block(0x22, 2, &BOARD)])), None);
    }
}
