//! Option ROMs: the chain of images that a function carries, as the PCI Firmware Specification 3.3, section 5 lays it out, and what is
//! wrong with it. Input from a card, a dump or a download: nothing in it is trusted, and every offset is looked up.

use crate::pci::PciId;

/// What begins an image (PCI Firmware Specification 3.3, 5.1.1).
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

/// Lengths are in units of this many bytes.
pub const UNIT: usize = 512;

/// More images than this are no chain of a real card: the largest known have six.
const MOST_IMAGES: usize = 64;

/// How far into a file a ROM is looked for: NVIDIA's flash header is a few KiB long.
const HEADER_LIMIT: usize = 128 << 10;

/// The first bytes of NVIDIA's flash image, before the ROM itself (NVIDIA open-gpu-doc, `NV_PBUS_IFR_FMT_FIXED0_SIGNATURE_VALUE`).
const NVIDIA_FLASH: &[u8] = b"NVGI";

/// An option ROM as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionRom {
    /// Bytes before the first image.
    pub start: usize,
    /// What those bytes are.
    pub header: Header,
    /// Its images, in order.
    pub images: Vec<Image>,
    /// Bytes behind the last image.
    pub trailing: usize,
    /// What is wrong with it; empty where it is whole.
    pub faults: Vec<Fault>,
}

/// What stands before the first image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// Nothing: the file is the ROM.
    None,
    /// The header of NVIDIA's flash image, which `nvflash --save` keeps.
    NvidiaFlash,
    /// Something else.
    Other,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Where it begins, from the first byte of the input.
    pub offset: usize,
    /// Its length in bytes, as its data structure says.
    pub length: usize,
    /// What it is for.
    pub code: Code,
    /// Vendor and device it is made for.
    pub id: PciId,
    /// Other devices of that vendor that it is made for (since revision 3 of its data structure).
    pub also: Vec<u16>,
}

/// What an image is for (PCI Firmware Specification 3.3, 5.1.2, code type).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// PC-AT: legacy firmware runs it.
    Legacy {
        /// Whether the bytes that firmware runs sum up to zero; `None` where their number is not told.
        checksum: Option<bool>,
    },
    /// UEFI (UEFI Specification 2.10, 14.4).
    Efi {
        /// PE machine type: 0x8664 x86-64, 0xaa64 Arm 64.
        machine: u16,
        /// 0 not compressed, 1 the UEFI algorithm.
        compression: u16,
    },
    /// Open Firmware, PA-RISC, or a maker's own.
    Other(u8),
}

/// What is wrong with a ROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No image begins anywhere near the start.
    NoImage,
    /// The input is shorter than any image.
    Short,
    /// The input is nothing but bytes of this value: the card did not answer.
    Blank(u8),
    /// An image's data structure is missing.
    NoData {
        /// Where the image begins.
        at: usize,
    },
    /// The input ends before the image does.
    Cut {
        /// Where the image begins.
        at: usize,
        /// How long it is.
        needs: usize,
        /// How many bytes of it are there.
        has: usize,
    },
    /// An image has no length.
    NoLength {
        /// Where the image begins.
        at: usize,
    },
    /// Another image should follow, and none does.
    NotLast {
        /// Where it should begin.
        at: usize,
    },
    /// The chain does not end.
    Endless,
    /// The bytes that legacy firmware runs do not sum up to zero: it would not run them.
    Checksum {
        /// Where the image begins.
        at: usize,
    },
    /// An image says that it is one for UEFI and lacks its signature.
    NoEfi {
        /// Where the image begins.
        at: usize,
    },
}

impl OptionRom {
    /// Reads a ROM, or a dump with a flash header before it.
    pub fn read(bytes: &[u8]) -> Self {
        let mut rom = Self { start: 0, header: Header::None, images: Vec::new(), trailing: 0, faults: Vec::new() };
        if bytes.len() < UNIT {
            rom.faults.push(Fault::Short);
            return rom;
        }
        let Some(start) = find(bytes) else {
            rom.faults.push(no_image(bytes));
            return rom;
        };
        rom.start = start;
        rom.header = match start {
            0 => Header::None,
            _ if bytes.starts_with(NVIDIA_FLASH) => Header::NvidiaFlash,
            _ => Header::Other,
        };
        rom.trailing = bytes.len().saturating_sub(rom.walk(bytes, start));
        rom
    }

    /// Follows the chain; tells where it ends.
    fn walk(&mut self, bytes: &[u8], start: usize) -> usize {
        let mut at = start;
        while self.images.len() < MOST_IMAGES {
            let rest = bytes.get(at..).unwrap_or_default();
            if !rest.starts_with(&SIGNATURE) {
                self.faults.push(Fault::NotLast { at });
                return at;
            }
            let Some(data) = Data::of(rest) else {
                self.faults.push(Fault::NoData { at });
                return at;
            };
            if data.length == 0 {
                self.faults.push(Fault::NoLength { at });
                return at;
            }
            if data.length > rest.len() {
                self.faults.push(Fault::Cut { at, needs: data.length, has: rest.len() });
                return bytes.len();
            }
            self.add(at, rest.get(..data.length).unwrap_or_default(), &data);
            at += data.length;
            if data.is_last {
                return at;
            }
        }
        self.faults.push(Fault::Endless);
        at
    }

    fn add(&mut self, at: usize, image: &[u8], data: &Data) {
        let code = match data.code {
            0 => Code::Legacy { checksum: checksum(image) },
            3 if image.get(4..8) == Some(&EFI_SIGNATURE) => {
                Code::Efi { machine: word(image, 0xa).unwrap_or_default(), compression: word(image, 0xc).unwrap_or_default() }
            }
            other => Code::Other(other),
        };
        match code {
            Code::Legacy { checksum: Some(false) } => self.faults.push(Fault::Checksum { at }),
            Code::Other(3) => self.faults.push(Fault::NoEfi { at }),
            _ => {}
        }
        self.images.push(Image { offset: at, length: data.length, code, id: data.id, also: data.also.clone() });
    }

    /// Where the last image ends.
    pub fn end(&self) -> usize {
        self.images.last().map_or(self.start, |image| image.offset + image.length)
    }

    /// True where UEFI firmware finds a driver for x86-64 in it.
    pub fn has_uefi_driver(&self) -> bool {
        self.images.iter().any(|image| matches!(image.code, Code::Efi { machine: 0x8664, .. }))
    }

    /// True where some image is made for this device.
    pub fn is_for(&self, id: PciId) -> bool {
        self.images.iter().any(|image| image.is_for(id))
    }

    /// Images that firmware of a PC runs and that are made for other devices than this one.
    pub fn strangers(&self, id: PciId) -> impl Iterator<Item = &Image> {
        self.images.iter().filter(move |image| image.code.is_for_pc() && !image.is_for(id))
    }
}

impl Image {
    /// True where it is made for this device: by its own number, or by the list that revision 3 of its data structure has.
    pub fn is_for(&self, id: PciId) -> bool {
        self.id.vendor == id.vendor && (self.id.device == id.device || self.also.contains(&id.device))
    }
}

impl Code {
    /// True for legacy code and for UEFI drivers of x86-64, x86 and EFI byte code (Microsoft PE format, "Machine Types").
    fn is_for_pc(self) -> bool {
        matches!(self, Self::Legacy { .. } | Self::Efi { machine: 0x8664 | 0x014c | 0x0ebc, .. })
    }
}

/// UEFI Specification 2.10, 14.4.2: 0x0ef1, little-endian.
const EFI_SIGNATURE: [u8; 4] = [0xf1, 0x0e, 0, 0];

/// The first place where an image with its data structure begins; where there is none, the first signature at the very start.
fn find(bytes: &[u8]) -> Option<usize> {
    let limit = bytes.len().min(HEADER_LIMIT);
    let places = memchr::memmem::find_iter(bytes.get(..limit)?, &SIGNATURE);
    places
        .into_iter()
        .find(|at| bytes.get(*at..).is_some_and(|rest| Data::of(rest).is_some()))
        .or(bytes.starts_with(&SIGNATURE).then_some(0))
}

fn no_image(bytes: &[u8]) -> Fault {
    match bytes.first() {
        Some(first) if bytes.iter().all(|byte| byte == first) => Fault::Blank(*first),
        _ => Fault::NoImage,
    }
}

/// The PCI data structure of an image (PCI Firmware Specification 3.3, 5.1.2).
struct Data {
    id: PciId,
    also: Vec<u16>,
    length: usize,
    code: u8,
    is_last: bool,
}

impl Data {
    /// `rest` begins with the image.
    fn of(rest: &[u8]) -> Option<Self> {
        let data = rest.get(usize::from(word(rest, 0x18)?)..)?;
        if !data.starts_with(b"PCIR") {
            return None;
        }
        let list = if *data.get(0xc)? >= 3 { usize::from(word(data, 8)?) } else { 0 };
        Some(Self {
            id: PciId { vendor: word(data, 4)?, device: word(data, 6)? },
            also: data.get(list..).filter(|_| list != 0).map(device_list).unwrap_or_default(),
            length: usize::from(word(data, 0x10)?) * UNIT,
            code: *data.get(0x14)?,
            is_last: data.get(0x15)? & 0x80 != 0,
        })
    }
}

/// Device numbers up to a zero; a list that does not end within a page is none.
fn device_list(bytes: &[u8]) -> Vec<u16> {
    let words = bytes.chunks_exact(2).take(4096).map(|pair| word(pair, 0).unwrap_or_default());
    let list: Vec<u16> = words.clone().take_while(|device| *device != 0).collect();
    if words.count() > list.len() { list } else { Vec::new() }
}

/// Whether the bytes that legacy firmware runs sum up to zero (PCI Firmware Specification 3.3, 5.2.1.1): as many units as the header says.
fn checksum(image: &[u8]) -> Option<bool> {
    let length = usize::from(*image.get(2)?) * UNIT;
    let run = image.get(..length).filter(|run| !run.is_empty())?;
    Some(run.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Flag of a `resource` line: the ROM is a copy in memory that firmware made (include/linux/ioport.h `IORESOURCE_ROM_SHADOW`).
const ROM_SHADOW: u64 = 1 << 1;

/// What the kernel's `resource` attribute says of a function's ROM: its seventh line (drivers/pci/pci-sysfs.c `resource_show`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RomResource {
    /// Length of the window in bytes; 0 where there is none.
    pub length: u64,
    /// True where what is read is the copy of the boot display's ROM at 0xc0000 and not the card's own: firmware and its code may have
    /// changed it (arch/x86/pci/fixup.c `pci_fixup_video`).
    pub is_shadow: bool,
}

impl RomResource {
    /// Reads the attribute; `None` where it has no such line.
    pub fn read(resource: &str) -> Option<Self> {
        let mut words = resource.lines().nth(6)?.split_whitespace().map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
        let (start, end, flags) = (words.next()??, words.next()??, words.next()??);
        let length = if end > start { (end - start).saturating_add(1) } else { 0 };
        Some(Self { length, is_shadow: flags & ROM_SHADOW != 0 })
    }
}

#[cfg(test)]
#[path = "option_rom_tests.rs"]
mod tests;
