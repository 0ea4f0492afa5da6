//! What VFIO shows of a device beside what sysfs shows.

use super::record::Region;
use super::report::Outcome;
use cede_model::pci::{ConfigSpace, Field, PciId};

/// An outcome and its words.
pub type Finding = (Outcome, String);

/// Names of the regions by their index (include/uapi/linux/vfio.h `VFIO_PCI_BAR0_REGION_INDEX` and following).
const ROM: u32 = 6;
const CONFIG: u32 = 7;
const VGA: u32 = 8;

/// A page, below which a BAR cannot be given to the guest directly.
const PAGE: u64 = 4096;

/// The sizes of `resource`: a line for each of the six BARs and the ROM, `start end flags` (drivers/pci/pci-sysfs.c `resource_show`).
pub fn resource_sizes(text: &[u8]) -> Vec<u64> {
    let number = |word: Option<&str>| u64::from_str_radix(word?.trim_start_matches("0x"), 16).ok();
    let text = String::from_utf8_lossy(text);
    let size = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, end) = (number(words.next())?, number(words.next())?);
        if (start, end) == (0, 0) { Some(0) } else { end.checked_sub(start)?.checked_add(1) }
    };
    text.lines().take(7).map(|line| size(line).unwrap_or(0)).collect()
}

/// BARs must be as large as the kernel says; a ROM may be hidden.
pub fn regions(regions: &[Region], resource: Option<&[u8]>) -> Finding {
    let sizes = resource.map(resource_sizes);
    for region in regions.iter().filter(|region| region.index < ROM) {
        let expected = sizes.as_ref().and_then(|sizes| sizes.get(region.index as usize)).copied();
        if let Some(expected) = expected.filter(|expected| *expected != region.size) {
            let text = format!("BAR {} has {} through VFIO and {} in sysfs", region.index, bytes(region.size), bytes(expected));
            return (Outcome::Bad, text);
        }
    }
    let present: Vec<&Region> = regions.iter().filter(|region| region.size > 0 && region.index <= VGA).collect();
    if !present.iter().any(|region| region.index == CONFIG) {
        return (Outcome::Bad, "configuration space is not among the regions".to_owned());
    }
    let words: Vec<String> = present.iter().map(|region| named(region)).collect();
    let trapped = present.iter().any(|region| region.index < ROM && !region.can_map && region.size >= PAGE);
    let sizes = if sizes.is_some() { ", sizes as in sysfs" } else { "" };
    let text = format!("{}{sizes}", words.join(", "));
    // Ports are always trapped, and are small.
    if trapped { (Outcome::Notice, format!("{text}; not every BAR can be mapped, which slows the guest")) } else { (Outcome::Good, text) }
}

fn named(region: &Region) -> String {
    let size = bytes(region.size);
    match region.index {
        ROM => format!("ROM {size}"),
        CONFIG => format!("configuration space {size}"),
        VGA => "legacy VGA".to_owned(),
        bar => format!("BAR {bar} {size}"),
    }
}

/// A size for people.
pub fn bytes(count: u64) -> String {
    let (unit, name) = match count {
        0x4000_0000.. => (0x4000_0000, "GiB"),
        0x10_0000.. => (0x10_0000, "MiB"),
        0x400.. => (0x400, "KiB"),
        _ => return format!("{count} bytes"),
    };
    if count.is_multiple_of(unit) { format!("{} {name}", count / unit) } else { format!("{count} bytes") }
}

/// The capabilities that count interrupts (`PCI_CAP_ID_MSI`, `PCI_CAP_ID_MSIX`).
const MSI: u16 = 0x05;
const MSIX: u16 = 0x11;

/// The numbers of interrupts that configuration space tells: INTx by the pin, MSI, MSI-X (PCI Local Bus Specification 3.0, 6.8). `None`
/// where the bytes that tell were not read.
pub fn interrupts_of(config: &[u8]) -> [Option<u32>; 3] {
    let space = ConfigSpace::from_sysfs(config);
    let control = |id: u16| match space.capability(id) {
        Field::Known(found) => config.get(usize::from(found.offset) + 2..usize::from(found.offset) + 4).map(|pair| {
            let [low, high] = <[u8; 2]>::try_from(pair).unwrap_or_default();
            Some(u16::from_le_bytes([low, high]))
        }),
        Field::Absent => Some(None),
        Field::Hidden => None,
    };
    let pin = config.get(0x3d).map(|pin| u32::from(*pin != 0));
    let msi = control(MSI).map(|control| control.map_or(0, |control| 1 << (control >> 1 & 7).min(5)));
    let msix = control(MSIX).map(|control| control.map_or(0, |control| u32::from(control & 0x7ff) + 1));
    [pin, msi, msix]
}

/// Interrupts as VFIO counts them must be those that the device has. A broken INTx is hidden on purpose (drivers/vfio/pci/vfio_pci.c
/// `nointx`), which is all right where there is another kind.
pub fn interrupts(seen: [u32; 3], config: Option<&[u8]>) -> Finding {
    let names = ["INTx", "MSI", "MSI-X"];
    let words: Vec<String> =
        names.iter().zip(seen).filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect();
    if words.is_empty() {
        return (Outcome::Notice, "the device has no interrupts".to_owned());
    }
    let expected = config.map(interrupts_of).unwrap_or_default();
    for ((name, seen), expected) in names.iter().zip(seen).zip(expected) {
        let Some(expected) = expected.filter(|expected| *expected != seen) else { continue };
        let outcome = if *name == "INTx" && seen == 0 { Outcome::Notice } else { Outcome::Bad };
        return (outcome, format!("{}; VFIO shows {seen} {name} and the device has {expected}", words.join(", ")));
    }
    (Outcome::Good, words.join(", "))
}

/// Parts of the header that nobody virtualises: ids, revision and class, layout, subsystem.
const FIXED: [(usize, usize, &str); 4] =
    [(0x00, 4, "ids"), (0x08, 4, "revision and class"), (0x0e, 1, "header type"), (0x2c, 4, "subsystem")];

/// Configuration space through VFIO beside sysfs's. `id` is the function's: a virtual function has none of its own there.
pub fn config(seen: &[u8], sysfs: Option<&[u8]>, id: Option<PciId>) -> Finding {
    let space = ConfigSpace::from_sysfs(seen);
    if space.has_no_data() {
        return (Outcome::Bad, "every byte is 0xff: the device does not answer".to_owned());
    }
    if let (Some(id), Some(found)) = (id, space.id())
        && id != found
    {
        return (Outcome::Bad, format!("the device says that it is {found}, and sysfs says {id}"));
    }
    let Some(sysfs) = sysfs.filter(|bytes| bytes.len() >= 64) else {
        return (Outcome::Good, format!("{} bytes, ids as in sysfs", seen.len()));
    };
    let is_virtual = sysfs.starts_with(&[0xff; 4]);
    for (at, length, name) in FIXED.iter().filter(|(at, ..)| !(is_virtual && *at == 0)) {
        if seen.get(*at..at + length) != sysfs.get(*at..at + length) {
            return (Outcome::Bad, format!("{name} differ from those in sysfs"));
        }
    }
    let hidden = hidden_capabilities(&space, &ConfigSpace::from_sysfs(sysfs));
    let text = format!("{} bytes, header as in sysfs", seen.len());
    if hidden.is_empty() {
        (Outcome::Good, text)
    } else {
        (Outcome::Good, format!("{text}; capabilities that VFIO hides: {}", hidden.join(", ")))
    }
}

/// Capabilities that VFIO takes out of the list, as it does with those it does not know (drivers/vfio/pci/vfio_pci_config.c `vfio_cap_init`).
fn hidden_capabilities(seen: &ConfigSpace<'_>, sysfs: &ConfigSpace<'_>) -> Vec<String> {
    let shown: Vec<u16> = seen.capabilities().found.iter().map(|found| found.id).collect();
    let all = sysfs.capabilities();
    all.found.iter().filter(|found| !shown.contains(&found.id)).map(|found| format!("{:#04x}", found.id)).collect()
}
