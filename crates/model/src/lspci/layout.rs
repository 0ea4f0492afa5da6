//! Lays a listing out as a capture, so that everything else reads it as it reads a host.
//!
//! Text has no configuration bytes; those that decide about groups are written anew from what it says: header, PCI Express capability at
//! 0x40, ACS at 0x100. What the text does not say is left out, and so stays unknown.

use super::numbers::Numbers;
use super::record::{Record, Told};
use crate::capture::{Capture, Entry};
use crate::iommu::group::IOMMU_GROUPS;
use crate::pci::capability::ExpressType;
use crate::pci::config_space::{ConfigSpace, Field};
use crate::pci::device::PCI_DEVICES;
use crate::pci::{PciAddress, PciClass, PciId, id};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A class that says nothing: PCI Code and ID Assignment Specification, base class FFh, "does not fit in any defined class".
const NO_CLASS: PciClass = PciClass(0xff_0000);

const HEADER: usize = 0x40;
const EXPRESS_AT: u8 = 0x40;
const CONVENTIONAL: usize = 0x100;
const STATUS: usize = 0x06;
const STATUS_CAPABILITY_LIST: u8 = 0x10;
const CAPABILITY_POINTER: usize = 0x34;
const MULTIFUNCTION: u8 = 0x80;

/// The capture of one machine.
pub(super) fn capture(records: &BTreeMap<PciAddress, Record>) -> Capture {
    let names = records.values().flat_map(|record| [record.header.name.as_str(), record.header.class_name.as_str()]);
    let numbers = Numbers::of(names.filter(|name| !name.is_empty()));
    let mut slots: HashMap<PciAddress, usize> = HashMap::new();
    for address in records.keys() {
        *slots.entry(PciAddress { devfn: address.devfn & !7, ..*address }).or_default() += 1;
    }
    let physical = physical_functions(records);
    let mut capture = Capture::new();
    capture.notes.push("made from a listing of lspci".to_owned());
    capture.insert(PCI_DEVICES.trim_end_matches('/'), Entry::Dir);
    capture.insert(IOMMU_GROUPS, Entry::Unreadable("not part of a listing".to_owned()));
    capture.extend(records.iter().flat_map(|(address, record)| {
        let siblings = slots.get(&PciAddress { devfn: address.devfn & !7, ..*address }).copied().unwrap_or(1);
        Function::of(record, &numbers, siblings > 1).entries(record, physical.get(address))
    }));
    capture
}

/// Virtual function → the physical one that made it.
fn physical_functions(records: &BTreeMap<PciAddress, Record>) -> HashMap<PciAddress, PciAddress> {
    let listed: HashSet<&PciAddress> = records.keys().collect();
    let of = |(address, record): (&PciAddress, &Record)| {
        let made: Vec<_> = made_by(record).into_iter().filter(|made| made != address && listed.contains(made)).collect();
        made.into_iter().map(|made| (made, *address)).collect::<Vec<_>>()
    };
    records.iter().flat_map(of).collect()
}

/// The virtual functions of a physical one: as the text says, else as the bytes do (SR-IOV 1.1, 3.3.8 to 3.3.10).
fn made_by(record: &Record) -> Vec<PciAddress> {
    let from_text = record.virtual_functions();
    if !from_text.is_empty() {
        return from_text;
    }
    ConfigSpace::from_dump(&record.bytes).virtual_functions(record.header.address)
}

struct Function {
    id: Option<PciId>,
    /// Its name, where the table of names does not have it.
    label: Option<String>,
    class: PciClass,
    subsystem: Option<PciId>,
    has_siblings: bool,
}

impl Function {
    fn of(record: &Record, numbers: &Numbers, has_siblings: bool) -> Self {
        let header = &record.header;
        let config = ConfigSpace::from_dump(&record.bytes);
        let read_id = config.id().filter(|id| id.vendor != 0xffff);
        let read_class = config.class().filter(|_| read_id.is_some());
        let subsystem = record.subsystem().and_then(|text| {
            let number = text.rsplit_once('[').map_or(text, |(_, number)| number.trim_end_matches(']'));
            id::parse(number)
        });
        Self {
            id: header.id.or(read_id).or_else(|| numbers.id(&header.name)),
            label: (!header.name.is_empty() && numbers.id(&header.name).is_none()).then(|| header.name.clone()),
            class: header.class.or(read_class).or_else(|| numbers.class(&header.class_name, header.interface)).unwrap_or(NO_CLASS),
            subsystem: subsystem.or(config.subsystem().known()),
            has_siblings,
        }
    }

    fn entries(&self, record: &Record, physical: Option<&PciAddress>) -> Vec<(String, Entry)> {
        let dir = format!("{PCI_DEVICES}{}", record.header.address);
        let mut entries = vec![(dir.clone(), Entry::Dir)];
        let mut file = |name: &str, bytes: Vec<u8>| entries.push((format!("{dir}/{name}"), Entry::File(bytes)));
        for (id, vendor, device) in [(self.id, "vendor", "device"), (self.subsystem, "subsystem_vendor", "subsystem_device")] {
            if let Some(id) = id {
                file(vendor, format!("0x{:04x}\n", id.vendor).into_bytes());
                file(device, format!("0x{:04x}\n", id.device).into_bytes());
            }
        }
        file("class", format!("0x{}\n", self.class).into_bytes());
        if let Some(label) = &self.label {
            file("label", format!("{label}\n").into_bytes());
        }
        if let Some(revision) = record.header.revision {
            file("revision", format!("0x{revision:02x}\n").into_bytes());
        }
        if let Some(node) = record.number("NUMA node") {
            file("numa_node", format!("{node}\n").into_bytes());
        }
        file("config", self.config(record));
        let mut link = |name: &str, target: String| entries.push((format!("{dir}/{name}"), Entry::Link(target)));
        if let Some(driver) = record.word("Kernel driver in use:").filter(|name| !name.contains('/')) {
            link("driver", format!("../../../bus/pci/drivers/{driver}"));
        }
        let group = record.number("IOMMU group").or(record.header.group);
        if let Some(group) = group {
            link("iommu_group", format!("../../../kernel/iommu_groups/{group}"));
        }
        if let Some(physical) = physical {
            link("physfn", format!("../{physical}"));
        }
        entries
    }

    /// The bytes of the dump, completed by what the text tells.
    fn config(&self, record: &Record) -> Vec<u8> {
        if record.is_dead() {
            return Vec::new();
        }
        let mut bytes = record.bytes.clone();
        if bytes.len() < HEADER {
            if !record.is_verbose() {
                return Vec::new();
            }
            bytes = self.header(record);
        }
        if bytes.len() < CONVENTIONAL {
            put_express(&mut bytes, record);
        }
        if bytes.len() == CONVENTIONAL {
            put_acs(&mut bytes, record);
        }
        bytes
    }

    fn header(&self, record: &Record) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        let mut put = |at: usize, value: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + value.len()) {
                place.copy_from_slice(value);
            }
        };
        let id = self.id.unwrap_or(PciId { vendor: 0, device: 0 });
        put(0x00, &id.vendor.to_le_bytes());
        put(0x02, &id.device.to_le_bytes());
        let [_, class @ ..] = self.class.0.to_be_bytes();
        let [base, sub, interface] = class;
        put(0x08, &[record.header.revision.unwrap_or(0), interface, sub, base]);
        let mut kind = if self.has_siblings { MULTIFUNCTION } else { 0 };
        if let Some(buses) = record.buses() {
            kind |= if self.class.base_and_sub() == 0x0607 { 2 } else { 1 };
            put(0x18, &[buses.primary, buses.secondary, buses.subordinate]);
        }
        put(0x0e, &[kind]);
        // A list of which nothing was seen, until the text tells.
        put(STATUS, &[STATUS_CAPABILITY_LIST]);
        put(CAPABILITY_POINTER, &[EXPRESS_AT]);
        bytes
    }
}

/// The first list: PCI Express or nothing, where the text says so.
fn put_express(bytes: &mut Vec<u8>, record: &Record) {
    let kind = match record.express() {
        Told::Is(kind) => Some(kind),
        Told::Not => None,
        Told::Unsaid => return,
    };
    bytes.truncate(HEADER);
    let mut set = |at: usize, value: u8| {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
    };
    set(STATUS, kind.map_or(0, |_| STATUS_CAPABILITY_LIST));
    set(CAPABILITY_POINTER, EXPRESS_AT);
    let capability = kind.map_or([0; 4], |kind| [0x10, 0, kind.number() << 4 | 2, u8::from(record.has_slot())]);
    bytes.extend(capability);
    bytes.resize(CONVENTIONAL, 0);
}

/// The second list: ACS, nothing, or cut off where the text does not say.
fn put_acs(bytes: &mut Vec<u8>, record: &Record) {
    let is_express = !matches!(ConfigSpace::from_dump(bytes).express(), Field::Absent);
    match record.acs() {
        Told::Is(acs) => {
            bytes.extend([0x0d, 0, 1, 0]);
            bytes.extend(acs.capability.to_le_bytes());
            bytes.extend(acs.control.to_le_bytes());
            bytes.extend([0; 4]);
        }
        Told::Not if is_express => bytes.extend([0; 4]),
        // One byte of more: whoever reads on sees that something is missing, where 256 bytes would say that there is no more.
        Told::Unsaid if is_express => bytes.push(0),
        Told::Not | Told::Unsaid => {}
    }
}

impl ExpressType {
    /// The number in the register.
    fn number(self) -> u8 {
        match self {
            Self::Endpoint => 0,
            Self::LegacyEndpoint => 1,
            Self::RootPort => 4,
            Self::UpstreamPort => 5,
            Self::DownstreamPort => 6,
            Self::PcieToPciBridge => 7,
            Self::PciToPcieBridge => 8,
            Self::RootComplexEndpoint => 9,
            Self::EventCollector => 10,
            Self::Other(number) => number & 0xf,
        }
    }
}
