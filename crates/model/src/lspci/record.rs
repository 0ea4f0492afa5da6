//! One function of a listing: what its lines say.

use super::header::Header;
use crate::pci::PciAddress;
use crate::pci::capability::{AcsRegisters, ExpressType, virtual_functions};
use crate::pci::config_space::BridgeBuses;

/// Everything that stands between one header line and the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) header: Header,
    /// The lines, joined by blanks, so that a line that mail wrapped reads as before.
    text: String,
    subsystem: Option<String>,
    /// Configuration bytes by offset, as far as the dump has them without a gap.
    pub(super) bytes: Vec<u8>,
    last_row: usize,
    /// The text ends here because the file does.
    pub(super) cut: bool,
}

/// What a listing tells of one capability, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told<T> {
    /// It says so.
    Is(T),
    /// The list of capabilities is there, and this is not in it.
    Not,
    /// It does not say: no root, too few `v`, or cut off.
    Unsaid,
}

/// Flags of `ACSCap:` and `ACSCtl:`, in the order of their bits (pciutils, ls-ecaps.c `cap_acs`).
const ACS_FLAGS: [&str; 7] = ["SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans"];

/// Device/port types as pciutils names them (ls-caps.c `cap_express`), longer names first.
const EXPRESS_TYPES: [(&str, ExpressType); 9] = [
    ("Legacy Endpoint", ExpressType::LegacyEndpoint),
    ("Endpoint", ExpressType::Endpoint),
    ("Root Port", ExpressType::RootPort),
    ("Upstream Port", ExpressType::UpstreamPort),
    ("Downstream Port", ExpressType::DownstreamPort),
    ("PCI-Express to PCI/PCI-X Bridge", ExpressType::PcieToPciBridge),
    ("PCI/PCI-X to PCI-Express Bridge", ExpressType::PciToPcieBridge),
    ("Root Complex Integrated Endpoint", ExpressType::RootComplexEndpoint),
    ("Root Complex Event Collector", ExpressType::EventCollector),
];

/// Configuration space has no more bytes.
const MOST_BYTES: usize = 4096;

impl Record {
    pub(super) fn new(header: Header) -> Self {
        Self { header, ..Self::default() }
    }

    /// Takes one line, which is not empty.
    pub(super) fn take(&mut self, line: &str) {
        if let Some((offset, row)) = hex_row(line) {
            self.put(offset, &row);
            self.last_row = offset + row.len();
        } else if let Some(rest) = hex_bytes(line).filter(|_| !self.last_row.is_multiple_of(16)) {
            self.put(self.last_row, &rest);
            self.last_row += rest.len();
        } else {
            self.last_row = 0;
            if let Some(name) = line.strip_prefix("Subsystem:") {
                self.subsystem = Some(name.trim().to_owned());
            }
            self.text.push_str(line);
            self.text.push(' ');
        }
    }

    /// Bytes after a gap are of no use: lists of capabilities lead through everything.
    fn put(&mut self, offset: usize, row: &[u8]) {
        let end = offset + row.len();
        if offset <= self.bytes.len() && end <= MOST_BYTES {
            self.bytes.truncate(offset.max(self.bytes.len()));
            self.bytes.resize(self.bytes.len().max(end), 0);
            if let Some(place) = self.bytes.get_mut(offset..end) {
                place.copy_from_slice(row);
            }
        }
    }

    /// True where more than the header line is there: `-v` or more.
    pub(super) fn is_verbose(&self) -> bool {
        ["Control: I/O", "Flags: ", "Status: Cap"].iter().any(|word| self.text.contains(word))
    }

    /// True where the list of capabilities was shown, or would have been if there were one.
    fn shows_capabilities(&self) -> bool {
        self.is_verbose() && !self.text.contains("<access denied>") && !self.is_dead()
    }

    /// All ones where the header should be: asleep, or gone from the bus.
    pub(super) fn is_dead(&self) -> bool {
        self.text.contains("!!! Unknown header type") || self.header.is_dead
    }

    pub(super) fn express(&self) -> Told<ExpressType> {
        let list = self.text.find("Capabilities:").and_then(|at| self.text.get(at..)).unwrap_or_default();
        let Some(place) = list.split("] Express ").nth(1) else { return self.missing() };
        let name = place.strip_prefix("(v").and_then(|rest| rest.split_once(") ")).map_or(place, |(_, rest)| rest);
        EXPRESS_TYPES.iter().find(|(text, _)| name.starts_with(text)).map_or(Told::Unsaid, |(_, kind)| Told::Is(*kind))
    }

    /// `Slot+` or `Slot-` of a port.
    pub(super) fn has_slot(&self) -> bool {
        self.text.contains("Port (Slot+)")
    }

    /// ACS words. With one `v` the capability is named and its words are not.
    pub(super) fn acs(&self) -> Told<AcsRegisters> {
        let words = self.flags("ACSCap:").zip(self.flags("ACSCtl:").or(Some(0)));
        match words {
            Some((capability, control)) => Told::Is(AcsRegisters { capability, control }),
            None if self.text.contains("Access Control Services") || self.text.contains("ACSCap:") => Told::Unsaid,
            None => self.missing(),
        }
    }

    fn missing<T>(&self) -> Told<T> {
        if self.shows_capabilities() && !self.cut { Told::Not } else { Told::Unsaid }
    }

    /// The flags after a key. A word that was broken in two is put together again. `None` where they are not all there.
    fn flags(&self, key: &str) -> Option<u16> {
        let at = self.text.find(key)?;
        let mut words = self.text.get(at + key.len()..)?.split_whitespace().peekable();
        let (mut bits, mut seen) = (0, 0);
        while let Some(word) = words.next() {
            let flag = flag(word).or_else(|| {
                let whole = flag(&[word, words.peek()?].concat())?;
                words.next();
                Some(whole)
            });
            let Some((bit, is_on)) = flag else { break };
            seen |= bit;
            bits |= if is_on { bit } else { 0 };
        }
        (seen & 0x1d == 0x1d).then_some(bits)
    }

    /// Bus numbers of a bridge.
    pub(super) fn buses(&self) -> Option<BridgeBuses> {
        let at = self.text.find("primary=")?;
        let text = self.text.get(at..)?;
        let number = |key: &str| {
            let rest = text.split(key).nth(1)?;
            u8::from_str_radix(rest.get(..2)?, 16).ok()
        };
        Some(BridgeBuses { primary: number("primary=")?, secondary: number("secondary=")?, subordinate: number("subordinate=")? })
    }

    /// `[10de:1f91]` at the end of the subsystem's line.
    pub(super) fn subsystem(&self) -> Option<&str> {
        self.subsystem.as_deref()
    }

    /// One word after a key of its own line.
    pub(super) fn word(&self, key: &str) -> Option<&str> {
        self.text.split(key).nth(1)?.split_whitespace().next()
    }

    /// A number after a key, with a colon of `-vv` or without, as `-v` has it among the flags.
    pub(super) fn number(&self, key: &str) -> Option<u32> {
        let rest = self.text.split(key).nth(1)?.trim_start_matches([':', ' ']);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest.get(..digits)?.parse().ok()
    }

    /// The virtual functions that there are (pciutils, ls-ecaps.c `cap_sriov`).
    pub(super) fn virtual_functions(&self) -> Vec<PciAddress> {
        let number = |key: &str| self.word(key)?.trim_end_matches(',').parse::<u16>().ok();
        let told = || Some((number("Number of VFs:")?, number("VF offset:")?, number("stride:")?));
        told().map_or_else(Vec::new, |(count, first, stride)| virtual_functions(self.header.address, count, first, stride))
    }

    /// True where root listed it with `-v` or more, or the bytes reach far enough.
    pub(super) fn tells_capabilities(&self) -> bool {
        self.shows_capabilities() || self.bytes.len() >= 256
    }

    /// Adds what another listing of the same machine says of the function. False where the two are not of one function, or tell the
    /// same kind of thing twice: then they are two machines, or one at two times.
    pub(super) fn merge(&mut self, other: &Self) -> bool {
        let twice = self.is_verbose() && other.is_verbose() || !self.bytes.is_empty() && !other.bytes.is_empty();
        if twice || !self.header.merge(&other.header) {
            return false;
        }
        self.text.push_str(&other.text);
        self.subsystem = self.subsystem.take().or_else(|| other.subsystem.clone());
        if self.bytes.is_empty() {
            self.bytes.clone_from(&other.bytes);
        }
        true
    }
}

fn flag(word: &str) -> Option<(u16, bool)> {
    let word = word.trim_end_matches(',');
    let (name, is_on) = word.strip_suffix('+').map(|name| (name, true)).or_else(|| Some((word.strip_suffix('-')?, false)))?;
    ACS_FLAGS.iter().zip(0..).find(|(flag, _)| **flag == name).map(|(_, shift)| (1 << shift, is_on))
}

/// `OFFSET: BYTE …`, up to 16 bytes; the offset has two or three digits.
fn hex_row(line: &str) -> Option<(usize, Vec<u8>)> {
    let (offset, row) = line.split_once(':')?;
    let is_offset = (2..=3).contains(&offset.len());
    let offset = usize::from_str_radix(offset, 16).ok().filter(|offset| is_offset && offset % 16 == 0)?;
    Some((offset, hex_bytes(row)?))
}

fn hex_bytes(row: &str) -> Option<Vec<u8>> {
    let byte = |word: &str| (word.len() == 2).then(|| u8::from_str_radix(word, 16).ok())?;
    let row: Vec<u8> = row.split_whitespace().map(byte).collect::<Option<_>>()?;
    (1..=16).contains(&row.len()).then_some(row)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
