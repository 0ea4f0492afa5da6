//! Chains made byte by byte, the broken ones first. Real ROMs are read through the binary (crates/cede/tests/rom.rs).

use super::*;

const ID: PciId = PciId { vendor: 0x10de, device: 0x1f91 };

/// An image of some units with its data structure at 0x40 and a good checksum.
fn image(units: u8, code: u8, last: bool) -> Vec<u8> {
    let mut bytes = vec![0; usize::from(units) * UNIT];
    bytes[..3].copy_from_slice(&[0x55, 0xaa, units]);
    bytes[0x18] = 0x40;
    bytes[0x40..0x44].copy_from_slice(b"PCIR");
    bytes[0x44..0x48].copy_from_slice(&[0xde, 0x10, 0x91, 0x1f]);
    bytes[0x4c] = 3;
    bytes[0x50] = units;
    bytes[0x54] = code;
    bytes[0x55] = if last { 0x80 } else { 0 };
    if code == 3 {
        bytes[4..8].copy_from_slice(&EFI_SIGNATURE);
        bytes[0xa..0xe].copy_from_slice(&[0x64, 0x86, 1, 0]);
    }
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    *bytes.last_mut().unwrap() = sum.wrapping_neg();
    bytes
}

#[test]
fn every_cut_of_a_chain_is_told_and_none_is_taken_for_whole() {
    let whole = [image(2, 0, false), image(1, 3, true)].concat();
    assert_eq!(OptionRom::read(&whole).faults, []);
    for length in 0..whole.len() {
        let rom = OptionRom::read(&whole[..length]);
        assert!(!rom.faults.is_empty(), "{length}");
        assert!(rom.end() <= length);
    }
}

#[test]
fn every_byte_turned_is_survived() {
    let whole = [image(1, 0, false), image(1, 3, true)].concat();
    for at in 0..whole.len() {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let rom = OptionRom::read(&bytes);
            assert!(rom.end() <= bytes.len() && rom.images.len() <= 2);
        }
    }
}

#[test]
fn hostile_chains_end() {
    let mut none = image(1, 0, false);
    none[0x50] = 0;
    assert_eq!(OptionRom::read(&none).faults, [Fault::NoLength { at: 0 }]);
    let endless: Vec<u8> = std::iter::repeat_n(image(1, 0, false), 100).flatten().collect();
    assert_eq!(OptionRom::read(&endless).faults, [Fault::Endless]);
    assert_eq!(OptionRom::read(&image(1, 0, false)).faults, [Fault::NotLast { at: 512 }]);
    let mut far = image(1, 0, true);
    far[0x18..0x1a].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(OptionRom::read(&far).faults, [Fault::NoData { at: 0 }]);
    let mut list = image(1, 0, true);
    list[0x48..0x4a].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(OptionRom::read(&list).images[0].also, []);
    for short in [&b""[..], b"\xff", b"\0\0", b"<!DOCTYPE html>", &image(1, 0, true)[..UNIT - 1]] {
        assert_eq!(OptionRom::read(short).faults, [Fault::Short], "{short:?}");
    }
    assert_eq!(OptionRom::read(&[0xff; 4096]).faults, [Fault::Blank(0xff)]);
    assert_eq!(OptionRom::read(&b"<!DOCTYPE html>".repeat(40)).faults, [Fault::NoImage]);
    assert_eq!(OptionRom::read(&[0x55, 0xaa].repeat(HEADER_LIMIT)).faults, [Fault::NoData { at: 0 }]);
}

#[test]
fn checksum_and_uefi_signature_are_looked_at() {
    let mut bytes = image(1, 0, true);
    bytes[0x100] ^= 1;
    let rom = OptionRom::read(&bytes);
    assert_eq!(
        (rom.faults.as_slice(), rom.images[0].code),
        ([Fault::Checksum { at: 0 }].as_slice(), Code::Legacy { checksum: Some(false) })
    );
    let mut bytes = image(1, 3, true);
    bytes[4] = 0;
    assert_eq!(OptionRom::read(&bytes).faults, [Fault::NoEfi { at: 0 }]);
}

#[test]
fn images_have_their_kind_and_ids() {
    let mut legacy = image(2, 0, false);
    legacy[0x48] = 0x20;
    legacy[0x60..0x66].copy_from_slice(&[0x92, 0x1f, 0x93, 0x1f, 0, 0]);
    *legacy.last_mut().unwrap() = 0;
    let sum = legacy.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    *legacy.last_mut().unwrap() = sum.wrapping_neg();
    let rom = OptionRom::read(&[legacy, image(1, 3, true), vec![0xff; 100]].concat());
    assert_eq!((rom.faults.as_slice(), rom.trailing, rom.end()), ([].as_slice(), 100, 3 * UNIT));
    assert_eq!(rom.images[1].code, Code::Efi { machine: 0x8664, compression: 1 });
    assert!(rom.has_uefi_driver() && rom.is_for(ID) && rom.is_for(PciId { vendor: 0x10de, device: 0x1f93 }));
    assert!(!rom.is_for(PciId { vendor: 0x1002, device: 0x1f93 }));
}

#[test]
fn images_of_other_devices_are_found() {
    let of = |code, id: [u8; 4], last| {
        let mut bytes = image(1, code, last);
        bytes[0x44..0x48].copy_from_slice(&id);
        bytes
    };
    let other = |id: [u8; 4], machine: [u8; 2]| {
        let mut efi = of(3, id, true);
        efi[0xa..0xc].copy_from_slice(&machine);
        OptionRom::read(&[image(1, 0, false), efi].concat()).strangers(ID).map(|image| image.offset).collect::<Vec<_>>()
    };
    let (own, device, vendor) = ([0xde, 0x10, 0x91, 0x1f], [0xde, 0x10, 0x92, 0x1f], [0x02, 0x10, 0x91, 0x1f]);
    let (x64, ia32, bytecode, arm64) = ([0x64, 0x86], [0x4c, 0x01], [0xbc, 0x0e], [0x64, 0xaa]);
    assert_eq!(other(own, x64), [0; 0]);
    for (id, machine) in [(device, x64), (vendor, x64), (device, ia32), (device, bytecode)] {
        assert_eq!(other(id, machine), [UNIT]);
    }
    assert_eq!(other(device, arm64), [0; 0], "no PC runs it");
    let legacy = OptionRom::read(&[of(0, device, false), image(1, 3, true)].concat());
    assert_eq!(legacy.strangers(ID).map(|image| image.offset).collect::<Vec<_>>(), [0]);
    let mut listed = of(3, device, true);
    listed[0x48] = 0x20;
    listed[0x60..0x66].copy_from_slice(&[0x90, 0x1f, 0x91, 0x1f, 0, 0]);
    assert_eq!(OptionRom::read(&listed).strangers(ID).count(), 0);
    listed[0x4c] = 0;
    assert_eq!(OptionRom::read(&listed).strangers(ID).count(), 1, "the list came with revision 3");
}

#[test]
fn a_flash_header_is_told_and_where_the_rom_begins() {
    let mut header = b"NVGI".to_vec();
    header.resize(0x600, 0);
    // A signature by chance in the header, without a data structure.
    header[0x80..0x82].copy_from_slice(&SIGNATURE);
    let rom = OptionRom::read(&[header, image(1, 0, true)].concat());
    assert_eq!((rom.start, rom.header, rom.images.len(), rom.faults.len()), (0x600, Header::NvidiaFlash, 1, 0));
}

#[test]
fn the_seventh_line_tells_of_the_shadow_copy() {
    let line = |text: &str| format!("{}{text}\n", "0x0000000000000000 0x0000000000000000 0x0000000000000000\n".repeat(6));
    let shadow = RomResource::read(&line("0x00000000000c0000 0x00000000000dffff 0x0000000000000212"));
    assert_eq!(shadow, Some(RomResource { length: 0x20000, is_shadow: true }));
    let own = RomResource::read(&line("0x00000000f7000000 0x00000000f707ffff 0x0000000000046200"));
    assert_eq!(own, Some(RomResource { length: 0x80000, is_shadow: false }));
    assert_eq!(RomResource::read(&line("0x0 0x0 0x0")), Some(RomResource { length: 0, is_shadow: false }));
    assert_eq!(RomResource::read(&line("x")), None);
    assert_eq!(RomResource::read(""), None);
}
