//! A libvirt domain: what of it matters for host devices, and new elements put into it. Only insertion: every byte that was there
//! stays, but for the `/>` of an empty `<devices/>`.

use cede_model::pci::PciAddress;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use std::collections::BTreeSet;
use std::ops::Range;
use std::str::FromStr;

/// Domains are a few pages long; virsh reads no more than this (tools/vsh.h `VSH_MAX_XML_FILE`).
const LIMIT: usize = 10 << 20;

/// Elements of a domain are nested a handful deep.
const DEEPEST: usize = 64;

/// What kind of machine a guest is, by its PCI buses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Machine {
    /// PCI Express: devices stand behind root ports.
    Express,
    /// Conventional: devices stand on the one bus.
    Conventional,
    /// Another, or none is named.
    Other(String),
}

/// A domain's XML and what of it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// The whole text.
    pub text: String,
    /// Its name.
    pub name: String,
    /// Its machine type.
    pub machine: Machine,
    /// Numbers of its PCI controllers.
    pub controllers: BTreeSet<u32>,
    /// Slots of bus 0 that are taken.
    pub slots: BTreeSet<u32>,
    /// Functions of the host that it has already.
    pub devices: Vec<PciAddress>,
    gap: Gap,
    indent: String,
}

/// Where new elements go, and what comes with them there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gap {
    /// The bytes that they take the place of: none, or the `/>` of an empty `<devices/>`.
    replaces: Range<usize>,
    before: String,
    after: String,
    /// True where elements have lines of their own.
    has_lines: bool,
}

impl Gap {
    /// `tag` is the end tag of `<devices>`, or an empty `<devices/>`.
    fn at(text: &str, tag: Range<usize>) -> Self {
        let before = text.get(..tag.start).unwrap_or_default();
        let line = before.trim_end_matches([' ', '\t']).len();
        let has_lines = before.get(..line).is_some_and(|head| head.ends_with('\n'));
        if !text.get(tag.clone()).is_some_and(|tag| tag.ends_with("/>")) {
            let at = if has_lines { line } else { tag.start };
            return Self { replaces: at..at, before: String::new(), after: String::new(), has_lines };
        }
        let (newline, indent) = if has_lines { (newline(text), before.get(line..).unwrap_or_default()) } else { ("", "") };
        Self { replaces: tag.end - 2..tag.end, before: format!(">{newline}"), after: format!("{indent}</devices>"), has_lines }
    }
}

fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

/// Why a text is no domain that could be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotADomain(String);

impl Domain {
    /// Reads a domain's XML.
    ///
    /// # Errors
    /// It is no well-formed domain, or one that is not edited safely.
    pub fn read(bytes: &[u8]) -> Result<Self, NotADomain> {
        let wrong = |why: &str| NotADomain(why.to_owned());
        if bytes.len() > LIMIT {
            return Err(wrong("it is larger than any domain"));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| NotADomain(format!("it is not UTF-8 (byte {})", error.valid_up_to())))?;
        let mut scan = Scan::default();
        // The reader does not count a byte order mark.
        let body = text.strip_prefix('\u{feff}').unwrap_or(text);
        scan.run(body)?;
        let mark = text.len() - body.len();
        let tag = scan.devices_end.ok_or_else(|| wrong("it has no <devices>"))?;
        let tag = tag.start + mark..tag.end + mark;
        let before = text.get(..tag.start).unwrap_or_default();
        let own = before.get(before.trim_end_matches([' ', '\t']).len()..).unwrap_or_default();
        Ok(Self {
            text: text.to_owned(),
            name: scan.name.filter(|name| !name.is_empty()).ok_or_else(|| wrong("it has no <name>"))?,
            machine: scan.machine.unwrap_or(Machine::Other(String::new())),
            controllers: scan.controllers,
            slots: scan.slots,
            devices: scan.devices,
            gap: Gap::at(text, tag),
            indent: scan.indent.unwrap_or_else(|| format!("{own}  ")),
        })
    }

    /// The text with elements put behind the last one in `<devices>`, as deeply indented and with the line ends of the text.
    ///
    /// # Errors
    /// The new text does not read as it should; nothing is to be done with it then.
    pub fn with(&self, elements: &[String], devices: &[PciAddress]) -> Result<String, NotADomain> {
        if elements.is_empty() {
            return Ok(self.text.clone());
        }
        let newline = newline(&self.text);
        let lines = elements.iter().flat_map(|element| element.lines()).map(|line| format!("{}{line}{newline}", self.indent));
        let block: String = if self.gap.has_lines {
            lines.collect()
        } else {
            elements.iter().map(|element| element.lines().map(str::trim).collect::<String>()).collect()
        };
        let Gap { replaces, before, after, .. } = &self.gap;
        let (head, tail) = (self.text.get(..replaces.start).unwrap_or_default(), self.text.get(replaces.end..).unwrap_or_default());
        let text = [head, before, &block, after, tail].concat();
        let read = Self::read(text.as_bytes())?;
        let has_all =
            devices.iter().all(|device| read.devices.contains(device)) && read.devices.len() == self.devices.len() + devices.len();
        if has_all && read.name == self.name && read.machine == self.machine {
            Ok(text)
        } else {
            Err(NotADomain("the devices cannot be put into it: the result does not read as it should".to_owned()))
        }
    }
}

/// One pass over the text.
#[derive(Default)]
struct Scan {
    path: Vec<String>,
    name: Option<String>,
    /// Where the text of the element begins that was opened last.
    name_start: usize,
    machine: Option<Machine>,
    controllers: BTreeSet<u32>,
    slots: BTreeSet<u32>,
    devices: Vec<PciAddress>,
    devices_end: Option<Range<usize>>,
    indent: Option<String>,
    blank: String,
}

impl Scan {
    fn run(&mut self, text: &str) -> Result<(), NotADomain> {
        let mut reader = Reader::from_str(text);
        loop {
            let start = position(&reader);
            let event = reader.read_event().map_err(|error| NotADomain(format!("byte {}: {error}", reader.error_position())))?;
            match event {
                Event::Start(element) => {
                    self.open(&element)?;
                    self.name_start = position(&reader);
                }
                Event::Empty(element) => {
                    self.open(&element)?;
                    self.close(start..position(&reader))?;
                }
                Event::End(_) => {
                    if self.at("domain/name") {
                        let raw = text.get(self.name_start..start).unwrap_or_default().trim();
                        let name = quick_xml::escape::unescape(raw).map_err(|error| NotADomain(format!("<name>: {error}")))?;
                        self.name.get_or_insert(name.into_owned());
                    }
                    self.close(start..position(&reader))?;
                }
                Event::Text(text) => self.text(&text),
                Event::DocType(_) => return Err(NotADomain("it has a document type, with which its text is not what it seems".to_owned())),
                Event::Eof if self.path.is_empty() => return Ok(()),
                Event::Eof => return Err(NotADomain(format!("it ends inside <{}>", self.path.join("/")))),
                Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::GeneralRef(_) => {}
            }
        }
    }

    /// `tag` is what ends the element that is open: its end tag, or the whole of an empty one.
    fn close(&mut self, tag: Range<usize>) -> Result<(), NotADomain> {
        if self.at("domain/devices") && self.devices_end.replace(tag).is_some() {
            return Err(NotADomain("it has two <devices>".to_owned()));
        }
        self.path.pop();
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.blank = text.rsplit('\n').next().filter(|_| text.contains('\n')).unwrap_or_default().to_owned();
    }

    fn at(&self, path: &str) -> bool {
        path.split('/').eq(self.path.iter().map(String::as_str))
    }

    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), NotADomain> {
        if self.path.len() >= DEEPEST {
            return Err(NotADomain(format!("it is nested more than {DEEPEST} deep")));
        }
        let name = element.name().into_inner();
        if self.path.is_empty() && name != "domain" {
            return Err(NotADomain(format!("it is a <{name}> and not a <domain>")));
        }
        if self.at("domain/devices") && self.indent.is_none() && self.blank.chars().all(|c| c == ' ' || c == '\t') && !self.blank.is_empty()
        {
            self.indent = Some(self.blank.clone());
        }
        self.path.push(name.to_owned());
        if self.at("domain/os/type") {
            self.machine = Some(machine(attribute(element, "machine")?.as_deref()));
        } else if self.at("domain/devices/controller") && attribute(element, "type")?.as_deref() == Some("pci") {
            self.controllers.extend(number(element, "index")?);
        } else if self.path.last().is_some_and(|last| last == "address") {
            self.address(element)?;
        }
        Ok(())
    }

    /// The address of a device of the host stands in its source, that in the guest beside it.
    fn address(&mut self, element: &BytesStart<'_>) -> Result<(), NotADomain> {
        let is_source = self.at("domain/devices/hostdev/source/address") || self.at("domain/devices/interface/source/address");
        let part = |name| number(element, name);
        if is_source {
            let (Some(bus), Some(slot), Some(function)) = (part("bus")?, part("slot")?, part("function")?) else { return Ok(()) };
            let narrow = |value: u32| u8::try_from(value).ok();
            let domain = part("domain")?.unwrap_or(0);
            let address = narrow(bus).zip(narrow(slot)).zip(narrow(function)).and_then(|((b, s), f)| PciAddress::new(domain, b, s, f));
            // A USB device has a bus and no slot.
            self.devices.extend(address);
        } else if attribute(element, "type")?.as_deref() == Some("pci") && part("bus")?.unwrap_or(0) == 0 {
            self.slots.extend(part("slot")?);
        }
        Ok(())
    }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, NotADomain> {
    let wrong = |error: &dyn std::fmt::Display| NotADomain(format!("<{}>: {error}", element.name().into_inner()));
    let found = element.try_get_attribute(name).map_err(|error| wrong(&error))?;
    found
        .map(|attribute| {
            attribute.normalized_value(XmlVersion::Implicit1_0).map(std::borrow::Cow::into_owned).map_err(|error| wrong(&error))
        })
        .transpose()
}

/// libvirt takes numbers as C writes them: `0x10`, `020` and 16 are the same (`virXMLPropUInt`, base 0).
fn number(element: &BytesStart<'_>, name: &str) -> Result<Option<u32>, NotADomain> {
    let Some(text) = attribute(element, name)? else { return Ok(None) };
    let value = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => match text.strip_prefix('0').filter(|rest| !rest.is_empty()) {
            Some(octal) => u32::from_str_radix(octal, 8).ok(),
            None => u32::from_str(&text).ok(),
        },
    };
    value.map(Some).ok_or_else(|| NotADomain(format!("<{}>: {name}='{text}' is no number", element.name().into_inner())))
}

fn machine(name: Option<&str>) -> Machine {
    match name {
        Some(name) if name == "q35" || name.starts_with("pc-q35") || name == "virt" || name.starts_with("virt-") => Machine::Express,
        Some(name) if name == "pc" || name.starts_with("pc-i440fx") => Machine::Conventional,
        other => Machine::Other(other.unwrap_or_default().to_owned()),
    }
}
