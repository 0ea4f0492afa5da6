//! What `lspci` printed, pasted by somebody: with `-x` to `-xxxx`, `-v` to `-vvv`, `-n`, `-nn`, `-k`, `-D`, in any combination, quoted and
//! wrapped by mail, marked up by forums, cut off, several in one file. Formats: pciutils 2.2 to 3.14, lspci.c, ls-caps.c, ls-ecaps.c.

mod header;
mod layout;
mod numbers;
mod paste;
mod record;

use crate::capture::Capture;
use crate::pci::PciAddress;
use record::{Record, Told};
use std::collections::BTreeMap;

/// One machine of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// What the listing says, laid out as if it had been read from the machine. Capabilities that it does not tell are unknown.
    pub capture: Capture,
    /// How many functions it has.
    pub functions: usize,
    /// How many of them show their capabilities, or bytes enough to find them: those that were listed by root.
    pub detailed: usize,
    /// How many of those name their ACS and not its flags: one `v`.
    pub flagless: usize,
}

/// The machines of a file, in its order; empty where no line is one of lspci's. A function that is listed a second time with other
/// details (`lspci -nn`, then `lspci -vv`) is one function; with the same kind of details, another machine begins, or the same at
/// another time.
pub fn read(bytes: &[u8]) -> Vec<Listing> {
    let mut machines: Vec<BTreeMap<PciAddress, Record>> = Vec::new();
    for record in records(bytes) {
        let address = record.header.address;
        let known = machines.last_mut().and_then(|machine| machine.get_mut(&address));
        let is_merged = known.map(|known| known.merge(&record));
        match machines.last_mut() {
            Some(_) if is_merged == Some(true) => {}
            Some(machine) if is_merged.is_none() => {
                machine.insert(address, record);
            }
            _ => machines.push(BTreeMap::from([(address, record)])),
        }
    }
    machines.iter().map(listing).collect()
}

fn listing(records: &BTreeMap<PciAddress, Record>) -> Listing {
    let detailed = records.values().filter(|record| record.tells_capabilities()).count();
    let flagless = records.values().filter(|record| record.tells_capabilities() && record.acs() == Told::Unsaid && !record.cut).count();
    Listing { capture: layout::capture(records), functions: records.len(), detailed, flagless }
}

/// Cuts the text into functions.
fn records(bytes: &[u8]) -> Vec<Record> {
    let lines = paste::lines(bytes);
    let mut reader = Reader::default();
    for (index, line) in lines.iter().enumerate() {
        reader.take(line, lines.get(index + 1).map_or("", String::as_str));
    }
    reader.close();
    if let Some(last) = reader.records.last_mut() {
        last.cut = lines.last().is_some_and(|line| !line.is_empty()) && last.word("Kernel driver in use:").is_none();
    }
    reader.records
}

#[derive(Default)]
struct Reader {
    records: Vec<Record>,
    /// A first line, and what of it mail put on the next ones.
    head: Option<(PciAddress, String)>,
    /// The group under whose title we are.
    group: Option<u32>,
    /// The group that stood before the address.
    own_group: Option<u32>,
}

impl Reader {
    /// `next` tells whether a line that begins with an address is a first line of which the class was wrapped.
    fn take(&mut self, line: &str, next: &str) {
        let (line, own_group) = match header::group_title(line) {
            Some((group, "")) => {
                self.close();
                self.group = Some(group);
                return;
            }
            Some((group, rest)) => (rest, Some(group)),
            None => (line.trim_start_matches(['*', '-', '•']).trim_start(), None),
        };
        // `(12) 00:01.0 …` below a title.
        let line = line
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(") "))
            .filter(|(_, rest)| header::address(rest).is_some())
            .map_or(line, |(_, rest)| rest);
        let is_header = |(address, rest): &(PciAddress, &str)| {
            header::read(*address, rest).or_else(|| header::read(*address, &format!("{rest} {next}"))).is_some()
        };
        if let Some((address, rest)) = header::address(line).filter(is_header) {
            self.close();
            self.own_group = own_group.or(self.group);
            self.head = Some((address, rest.to_owned()));
        } else if line.is_empty() {
            self.close();
        } else if let Some((_, head)) = self
            .head
            .as_mut()
            .filter(|(address, head)| !header::is_key(line) && (line.starts_with('(') || !header::is_whole(*address, head)))
        {
            head.push(' ');
            head.push_str(line);
        } else {
            self.close();
            if let Some(record) = self.records.last_mut() {
                record.take(line);
            }
        }
    }

    fn close(&mut self) {
        let Some((address, rest)) = self.head.take() else { return };
        if let Some(mut header) = header::read(address, &rest) {
            header.group = self.own_group;
            self.records.push(Record::new(header));
        }
    }
}

#[cfg(test)]
#[path = "lspci/tests.rs"]
mod tests;
