//! What SeaBIOS says on its debug console (port 0x402), in the words of its src/fw/pciinit.c, src/optionroms.c and src/boot.c, version 1.16.

use cede_model::pci::PciId;

/// A BAR that was given an address in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// Bus, device and function.
    pub place: (u8, u8, u8),
    /// Number; 6 is the ROM.
    pub bar: u32,
    /// Bytes.
    pub size: u64,
}

/// How far the firmware came, and what it met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boot {
    /// True where SeaBIOS was at work at all.
    pub began: bool,
    /// True where it came to where it would start a system.
    pub done: bool,
    /// Functions that it set up.
    pub functions: Vec<((u8, u8, u8), PciId)>,
    /// BARs that it mapped.
    pub bars: Vec<Mapped>,
    /// Option ROMs of PCI functions that it ran.
    pub roms: usize,
    /// Where it gave up, in its words.
    pub gave_up: Option<String>,
    /// What QEMU itself said that is of interest.
    pub complaints: Vec<String>,
}

/// True for the line after which nothing more comes.
pub fn is_end(line: &str) -> bool {
    is_success(line) || has_no_room(line)
}

fn is_success(line: &str) -> bool {
    line.starts_with("No bootable device") || line.starts_with("Booting from ")
}

/// Where BARs find no room it stops for good (src/fw/pciinit.c `pci_bios_map_devices`).
fn has_no_room(line: &str) -> bool {
    line.starts_with("PCI: out of ")
}

/// Reads it. Lines that say something else are left out.
pub fn read(text: &str) -> Boot {
    let mut boot = Boot::default();
    let mut of_pci = true;
    for line in text.lines().map(str::trim_end) {
        boot.began |= line.starts_with("SeaBIOS (version ");
        boot.done |= is_success(line);
        boot.gave_up = boot.gave_up.or_else(|| has_no_room(line).then(|| line.to_owned()));
        // After those of functions come those that QEMU brings itself.
        of_pci &= !line.starts_with("Searching bootorder for: /rom@genroms/");
        boot.roms += usize::from(of_pci && line.starts_with("Running option rom at "));
        boot.functions.extend(function(line));
        boot.bars.extend(bar(line));
        boot.complaints.extend(complaint(line));
    }
    boot
}

/// Cards without a network, a QEMU without software emulation, and the end that is put to it are as they should be.
fn complaint(line: &str) -> Option<String> {
    let (program, complaint) = line.split_once(": ")?;
    let name = program.rsplit('/').next().filter(|name| name.starts_with("qemu-system-") || *name == "qemu-kvm");
    let is_usual = ["warning: nic ", "invalid accelerator ", "terminating on signal "].iter().any(|start| complaint.starts_with(start));
    name.filter(|_| !is_usual).map(|_| complaint.to_owned())
}

/// `PCI: init bdf=01:00.0 id=8086:10d3`.
fn function(line: &str) -> Option<((u8, u8, u8), PciId)> {
    let (at, id) = line.strip_prefix("PCI: init bdf=")?.split_once(" id=")?;
    let (vendor, device) = id.split_once(':')?;
    let hex = |text: &str| u16::from_str_radix(text, 16).ok();
    Some((place(at)?, PciId { vendor: hex(vendor)?, device: hex(device)? }))
}

/// `PCI: map device bdf=01:00.0  bar 0, addr fe440000, size 00020000 [mem]`.
fn bar(line: &str) -> Option<Mapped> {
    let (at, rest) = line.strip_prefix("PCI: map device bdf=")?.split_once("  bar ")?;
    let (bar, rest) = rest.split_once(", addr ")?;
    let (_, rest) = rest.split_once(", size ")?;
    let size = u64::from_str_radix(rest.split(' ').next()?, 16).ok()?;
    Some(Mapped { place: place(at)?, bar: bar.parse().ok()?, size })
}

fn place(text: &str) -> Option<(u8, u8, u8)> {
    let (bus, rest) = text.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let hex = |text: &str| u8::from_str_radix(text, 16).ok();
    Some((hex(bus)?, hex(device)?, hex(function)?))
}
