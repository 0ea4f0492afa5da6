//! `cede.rom/1`.

use cede_model::pci::option_rom::{Code, Fault, Header, Image, UNIT};
use cede_model::pci::{OptionRom, PciDevice, PciId};
use serde::Serialize;

/// What an option ROM holds and what is wrong with it.
#[derive(Debug, Serialize)]
pub struct RomView {
    format: &'static str,
    /// The function it is of, or is to be for.
    pub device: Option<String>,
    /// Bytes read.
    pub length: usize,
    /// Bytes before the first image.
    pub start: usize,
    /// `none`, `nvidia_flash` or `other`.
    pub header: &'static str,
    /// True where it is the copy in memory that firmware made; `null` for a file.
    pub shadow: Option<bool>,
    /// True where an image is made for the device; `null` where none was named or its ids are not known.
    pub for_device: Option<bool>,
    /// True where a UEFI driver for x86-64 is in it.
    pub uefi_driver: bool,
    /// The images, in order.
    pub images: Vec<ImageView>,
    /// Bytes behind the last image.
    pub trailing: usize,
    /// Images for PCs that are made for other devices than this one.
    pub strangers: Vec<String>,
    /// What is wrong; empty where all is well.
    pub faults: Vec<String>,
}

/// One image.
#[derive(Debug, Serialize)]
pub struct ImageView {
    /// Where it begins.
    pub offset: usize,
    /// Bytes.
    pub length: usize,
    /// `legacy`, `uefi`, or the code type's number.
    pub code: String,
    /// `x86-64`, `aa64`… of a UEFI image.
    pub machine: Option<String>,
    /// Whether a UEFI image is compressed.
    pub compressed: Option<bool>,
    /// Whether a legacy image sums up to zero.
    pub checksum: Option<bool>,
    /// Vendor.
    pub vendor: String,
    /// Device.
    pub device: String,
    /// Other devices of that vendor that it is made for.
    pub also: Vec<String>,
}

impl RomView {
    /// The view of a ROM of some length.
    pub fn new(rom: &OptionRom, length: usize) -> Self {
        Self {
            format: "cede.rom/1",
            device: None,
            length,
            start: rom.start,
            header: match rom.header {
                Header::None => "none",
                Header::NvidiaFlash => "nvidia_flash",
                Header::Other => "other",
            },
            shadow: None,
            for_device: None,
            uefi_driver: rom.has_uefi_driver(),
            images: rom.images.iter().map(image).collect(),
            trailing: rom.trailing,
            strangers: Vec::new(),
            faults: rom.faults.iter().map(fault).collect(),
        }
    }

    /// Says whether it is for a device.
    pub fn compare(&mut self, rom: &OptionRom, device: &PciDevice) {
        self.device = Some(device.address.to_string());
        let Some(id) = device.id.filter(|_| !rom.images.is_empty()) else { return };
        self.for_device = Some(rom.is_for(id));
        self.strangers = rom.strangers(id).map(|image| stranger(image, id)).collect();
    }
}

fn stranger(image: &Image, id: PciId) -> String {
    let what = if matches!(image.code, Code::Efi { .. }) { "UEFI" } else { "legacy" };
    let more = image.also.iter().filter(|device| **device != image.id.device).count();
    let more = if more == 0 { String::new() } else { format!(" and {more} more of that vendor") };
    format!("the {what} image at {:#x} is for {}{more}, and not for {id}: is it the ROM of this very card?", image.offset, image.id)
}

fn numbers(devices: &[u16]) -> Vec<String> {
    devices.iter().map(|device| format!("{device:04x}")).collect()
}

fn image(image: &Image) -> ImageView {
    let (code, machine, compressed, checksum) = match image.code {
        Code::Legacy { checksum } => ("legacy".to_owned(), None, None, checksum),
        Code::Efi { machine, compression } => ("uefi".to_owned(), Some(machine_name(machine)), Some(compression != 0), None),
        Code::Other(code) => (code.to_string(), None, None, None),
    };
    ImageView {
        offset: image.offset,
        length: image.length,
        code,
        machine,
        compressed,
        checksum,
        vendor: format!("{:04x}", image.id.vendor),
        device: format!("{:04x}", image.id.device),
        also: numbers(&image.also),
    }
}

/// PE machine types (Microsoft PE format, "Machine Types").
fn machine_name(machine: u16) -> String {
    match machine {
        0x8664 => "x86-64".to_owned(),
        0x014c => "x86".to_owned(),
        0xaa64 => "arm64".to_owned(),
        0x0ebc => "efi-bytecode".to_owned(),
        other => format!("{other:#06x}"),
    }
}

fn fault(fault: &Fault) -> String {
    match fault {
        Fault::Short => format!("it is too short: an option ROM has {UNIT} bytes at least"),
        Fault::NoImage => "no image begins in it: it is no option ROM".to_owned(),
        Fault::Blank(value) => format!("every byte is {value:#04x}: the device did not answer, or its ROM is empty"),
        Fault::NoData { at } => format!("the image at {at:#x} has no PCI data structure"),
        Fault::Cut { at, needs, has } => format!("the image at {at:#x} is cut off: {has} of its {needs} bytes are there"),
        Fault::NoLength { at } => format!("the image at {at:#x} has no length"),
        Fault::NotLast { at } => format!("another image should begin at {at:#x}, and none does"),
        Fault::Endless => "the chain of images does not end".to_owned(),
        Fault::Checksum { at } => format!("the checksum of the image at {at:#x} is wrong: it was changed or is damaged"),
        Fault::NoEfi { at } => format!("the image at {at:#x} says that it is one for UEFI, and is not"),
    }
}
