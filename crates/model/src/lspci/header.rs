//! The first line of a function: `00:01.0 PCI bridge [0604]: Intel Corporation … [8086:1901] (rev 0c)`, with or without the numbers.

use crate::pci::{PciAddress, PciClass, PciId, id};

/// What the first line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) address: PciAddress,
    /// Class and subclass, where the numbers were shown.
    pub(super) class: Option<PciClass>,
    /// The class's name, where there is one.
    pub(super) class_name: String,
    pub(super) id: Option<PciId>,
    /// Maker and device by name.
    pub(super) name: String,
    pub(super) revision: Option<u8>,
    pub(super) interface: Option<u8>,
    pub(super) is_dead: bool,
    /// Number of the group, in listings that go group by group.
    pub(super) group: Option<u32>,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            address: PciAddress { domain: 0, bus: 0, devfn: 0 },
            class: None,
            class_name: String::new(),
            id: None,
            name: String::new(),
            revision: None,
            interface: None,
            is_dead: false,
            group: None,
        }
    }
}

/// The number in `IOMMU Group 12`, and what follows it: scripts that go group by group print such a line, or begin each line so. In small
/// letters it is lspci's own word about one function, and may stand alone where mail wrapped the line.
pub(super) fn group_title(line: &str) -> Option<(u32, &str)> {
    let rest = line.strip_prefix("IOMMU").or_else(|| line.strip_prefix("iommu"))?.trim_start();
    let name = rest.get(..5)?;
    let rest = rest.get(5..).filter(|_| name.eq_ignore_ascii_case("group"))?.trim_start_matches([' ', ':']);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let number = rest.get(..digits)?.parse().ok()?;
    let rest = rest.get(digits..)?.trim_start_matches([' ', ':', '-']);
    (name != "group" || address(rest).is_some()).then_some((number, rest))
}

/// The address at the start of a line, and what follows it.
pub(super) fn address(line: &str) -> Option<(PciAddress, &str)> {
    let (word, rest) = line.split_once(char::is_whitespace)?;
    let digits = word.split([':', '.']).map(str::len);
    let shape: Vec<usize> = digits.collect();
    let is_whole = matches!(shape.as_slice(), [2, 2, 1] | [4..=8, 2, 2, 1]);
    let address = word.parse().ok().filter(|_| is_whole)?;
    Some((address, rest.trim_start()))
}

/// Reads the line after the address; `None` where it is no function's, such as a kernel message about one.
pub(super) fn read(address: PciAddress, rest: &str) -> Option<Header> {
    let (class_text, name) = rest.split_once(": ").or_else(|| Some((rest.strip_suffix(':')?, "")))?;
    let class_text = class_text.strip_prefix("Class ").unwrap_or(class_text);
    let (class_name, number) = match class_text.rsplit_once(" [") {
        Some((name, number)) => (name, number.strip_suffix(']')),
        None if is_hex(class_text, 4) => ("", Some(class_text)),
        None => (class_text, None),
    };
    // With the class's number behind it, a name may be in any language.
    let is_numbered = number.is_some_and(|number| is_hex(number, 4));
    let letter = |c: char| c.is_ascii_alphanumeric() || is_numbered && c.is_alphanumeric();
    let plain = |c: char| letter(c) || " -/.,()&'".contains(c);
    if class_name.len() > 64 || !class_name.chars().all(plain) {
        return None;
    }
    let class = number.filter(|number| is_hex(number, 4)).and_then(|number| u32::from_str_radix(number, 16).ok());
    let (name, interface) = cut(name, " (prog-if ");
    let (name, revision) = cut(name, " (rev ");
    let (name, id) = numbers(name);
    Some(Header {
        address,
        class: class.map(|class| PciClass(class << 8 | u32::from(interface.unwrap_or(0)))),
        class_name: class_name.to_owned(),
        id: id.filter(|id| id.vendor != 0xffff),
        name: name.trim().to_owned(),
        revision,
        interface,
        is_dead: revision == Some(0xff) && interface == Some(0xff),
        group: None,
    })
}

/// True where a first line has all that may stand there up to its numbers, so that a following line is no rest of it but in parentheses.
pub(super) fn is_whole(address: PciAddress, rest: &str) -> bool {
    rest.ends_with(']') && read(address, rest).is_some_and(|header| header.class.is_some() && header.id.is_some())
}

/// `text` up to the last `mark`, and the number of two digits after it.
fn cut<'a>(text: &'a str, mark: &str) -> (&'a str, Option<u8>) {
    match text.rsplit_once(mark) {
        Some((before, after)) => (before, after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok())),
        None => (text, None),
    }
}

/// `NAME [10de:1f91]`, or the bare numbers of `lspci -n`.
fn numbers(name: &str) -> (&str, Option<PciId>) {
    let name = name.trim_end();
    if let Some(id) = id::parse(name) {
        return ("", Some(id));
    }
    match name.rsplit_once('[').and_then(|(name, id)| Some((name, id::parse(id.split(']').next()?)?))) {
        Some((name, id)) => (name, Some(id)),
        None => (name, None),
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// True for a line that starts something else than the rest of a header that was wrapped.
pub(super) fn is_key(line: &str) -> bool {
    const KEYS: [&str; 25] = [
        "Subsystem",
        "DeviceName",
        "Control:",
        "Status:",
        "Flags:",
        "Latency:",
        "Interrupt:",
        "Region ",
        "Memory at",
        "Memory behind",
        "I/O ports",
        "I/O behind",
        "Prefetchable memory",
        "Expansion ROM",
        "Capabilities:",
        "Kernel driver",
        "Kernel modules",
        "Bus:",
        "NUMA node",
        "IOMMU group",
        "BIST",
        "Physical Slot",
        "!!!",
        "Power budget",
        "00:",
    ];
    KEYS.iter().any(|key| line.starts_with(key))
}

impl Header {
    /// Adds what another listing's line says; false where it is about something else.
    pub(super) fn merge(&mut self, other: &Self) -> bool {
        let differ = self.id.zip(other.id).is_some_and(|(one, two)| one != two)
            || self.class.zip(other.class).is_some_and(|(one, two)| one.base_and_sub() != two.base_and_sub())
            || ![&self.name, &other.name].iter().any(|name| name.is_empty()) && self.name != other.name;
        if differ {
            return false;
        }
        self.id = self.id.or(other.id);
        self.class = self.class.max(other.class);
        self.revision = self.revision.or(other.revision);
        self.interface = self.interface.or(other.interface);
        self.group = self.group.or(other.group);
        for (own, new) in [(&mut self.name, &other.name), (&mut self.class_name, &other.class_name)] {
            if own.is_empty() {
                own.clone_from(new);
            }
        }
        true
    }
}
