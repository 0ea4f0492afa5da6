//! `cede rom` through the built binary: ROMs of Debian's packages, and a tree of sysfs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use support::{Dir, cede, code};

fn package(path: &str) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}: apt-get install ipxe-qemu seabios"))
}

fn check(path: &str) -> (i32, Value) {
    let output = cede(&["rom", "--check", path, "--json"]);
    (code(&output), serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}")))
}

#[test]
fn roms_of_ipxe_and_seabios_are_whole() {
    let mut count = 0;
    for (dir, prefix, images) in [("/usr/lib/ipxe/qemu", "efi-", 2), ("/usr/lib/ipxe/qemu", "pxe-", 1)] {
        for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{dir}: {error}: apt-get install ipxe-qemu")).map(Result::unwrap) {
            if entry.file_name().to_str().unwrap().starts_with(prefix) {
                let (status, view) = check(entry.path().to_str().unwrap());
                assert_eq!(
                    (status, view["images"].as_array().unwrap().len(), &view["images"][0]["checksum"]),
                    (0, images, &Value::Bool(true)),
                    "{view}"
                );
                assert_eq!(view["uefi_driver"], images == 2);
                count += 1;
            }
        }
    }
    assert!(count >= 4, "{count}");
    let (status, view) = check("/usr/share/seabios/vgabios-stdvga.bin");
    assert_eq!((status, &view["images"][0]["vendor"], &view["images"][0]["device"]), (0, &"1234".into(), &"1111".into()));
    // For a display on the ISA bus: no PCI data structure.
    let (status, view) = check("/usr/share/seabios/vgabios-isavga.bin");
    assert_eq!((status, &view["faults"][0]), (1, &"the image at 0x0 has no PCI data structure".into()));
    assert_eq!(check("/usr/share/seabios/bios.bin").0, 1);
}

#[test]
fn a_flash_header_is_cut_off_and_a_file_never_written_over() {
    let dir = Dir::new("header");
    let rom = package("/usr/lib/ipxe/qemu/efi-e1000e.rom");
    let mut dump = b"NVGI".to_vec();
    dump.resize(0x9400, 0);
    dump.extend(&rom);
    fs::write(dir.path("dump"), &dump).unwrap();
    let output = cede(&["rom", "--check", &dir.path("dump")]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(code(&output) == 0 && text.contains("first 37888 bytes") && text.ends_with("-o trimmed.rom\n"), "{text}");
    assert_eq!(code(&cede(&["rom", "--check", &dir.path("dump"), "-o", &dir.path("rom")])), 0);
    assert!(fs::read(dir.path("rom")).unwrap() == rom);
    assert_eq!(code(&cede(&["rom", "--check", "/usr/share/seabios/vgabios-stdvga.bin", "-o", &dir.path("rom")])), 2);
    assert!(fs::read(dir.path("rom")).unwrap() == rom);
    let output = cede(&["rom", "--check", &dir.path("dump"), "-o", "-"]);
    assert!(output.stdout == rom && String::from_utf8_lossy(&output.stderr).contains("whole"));
}

#[test]
fn what_is_no_file_or_cut_off_or_huge_is_told() {
    let dir = Dir::new("bad");
    let rom = package("/usr/lib/ipxe/qemu/pxe-e1000e.rom");
    fs::write(dir.path("cut"), &rom[..rom.len() - 1]).unwrap();
    let (status, view) = check(&dir.path("cut"));
    assert_eq!((status, &view["faults"][0]), (1, &"the image at 0x0 is cut off: 75263 of its 75264 bytes are there".into()));
    fs::File::create(dir.path("huge")).unwrap().set_len((16 << 20) + 1).unwrap();
    fs::write(dir.path("empty"), b"").unwrap();
    assert_eq!(check(&dir.path("empty")).0, 1);
    for (arguments, expected) in [
        (vec!["rom", "--check", &dir.path("huge")], 3),
        (vec!["rom", "--check", &dir.path("none")], 3),
        (vec!["rom", "--check", "/dev/zero"], 3),
        (vec!["rom"], 2),
    ] {
        assert_eq!(code(&cede(&arguments)), expected, "{arguments:?}");
    }
}

#[test]
fn a_short_file_is_called_that_and_no_device_blamed() {
    let dir = Dir::new("short");
    for bytes in [&b""[..], b"\0", b"\xff", b"\x55\xaa\x40", &[0xff; 511]] {
        fs::write(dir.path("short"), bytes).unwrap();
        let output = cede(&["rom", "--check", &dir.path("short")]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(code(&output) == 1 && text.contains("too short") && !text.contains("answer"), "{text}");
    }
}

/// `efi-e1000e.rom` with another vendor in the data structure of one of its two images.
fn with_other_vendor(image: usize) -> Vec<u8> {
    let mut bytes = package("/usr/lib/ipxe/qemu/efi-e1000e.rom");
    let word = |bytes: &[u8], at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let second = word(&bytes, word(&bytes, 0x18) + 0x10) * 512;
    let start = [0, second][image];
    let data = start + word(&bytes, start + 0x18);
    bytes[data + 4] ^= 1;
    if image == 0 {
        // The checksum of the legacy image stays good.
        bytes[second - 1] = bytes[second - 1].wrapping_sub(bytes[data + 4]).wrapping_add(bytes[data + 4] ^ 1);
    }
    bytes
}

#[test]
fn an_image_of_another_device_is_named_with_its_ids() {
    let dir = Dir::new("stranger");
    let tree = Dir::new("stranger-host");
    function(&tree.0, &[], None);
    let check = |bytes: &[u8]| {
        fs::write(dir.path("rom"), bytes).unwrap();
        let output = cede(&["--root", tree.0.to_str().unwrap(), "rom", "0:3.0", "--check", &dir.path("rom")]);
        (code(&output), String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let (status, text) = check(&package("/usr/lib/ipxe/qemu/efi-e1000e.rom"));
    assert!(status == 0 && text.contains("whole"), "{text}");
    for (image, kind) in [(0, "legacy image at 0x0"), (1, "UEFI image at 0x")] {
        let (status, text) = check(&with_other_vendor(image));
        assert!(status == 1 && text.contains("made for another device in part"), "{text}");
        assert!(text.contains(kind) && text.contains("is for 8087:10d3") && text.contains(", and not for 8086:10d3"), "{text}");
    }
}

/// A function in sysfs with these attributes.
fn function(root: &Path, attributes: &[(&str, &[u8])], driver: Option<&str>) {
    let function = root.join("sys/devices/pci0000:00/0000:00:03.0");
    fs::create_dir_all(function.join("power")).unwrap();
    fs::create_dir_all(root.join("sys/bus/pci/devices")).unwrap();
    symlink("../../../devices/pci0000:00/0000:00:03.0", root.join("sys/bus/pci/devices/0000:00:03.0")).unwrap();
    fs::write(function.join("uevent"), "PCI_CLASS=20000\nPCI_ID=8086:10D3\n").unwrap();
    for (name, bytes) in attributes {
        fs::write(function.join(name), bytes).unwrap();
    }
    if let Some(driver) = driver {
        symlink(format!("../../../bus/pci/drivers/{driver}"), function.join("driver")).unwrap();
    }
}

#[test]
fn what_was_written_in_sysfs_is_taken_back() {
    // A plain file keeps what is written to it: a ROM that begins with the last byte written tells that the last one was a zero.
    let dir = Dir::new("tree");
    let rom = package("/usr/lib/ipxe/qemu/pxe-e1000e.rom");
    let attributes: [(&str, &[u8]); 4] = [("rom", &rom), ("enable", b"0"), ("power_state", b"D0\n"), ("power/control", b"auto\n")];
    function(&dir.0, &attributes, None);
    let function = dir.0.join("sys/devices/pci0000:00/0000:00:03.0");
    let output = cede(&["--root", dir.0.to_str().unwrap(), "rom", "0:3.0", "--json"]);
    let view: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!((code(&output), &view["length"]), (1, &75264.into()), "the \"1\" took the place of its first byte");
    assert_eq!(fs::read(function.join("rom")).unwrap()[0], b'0');
    assert_eq!(fs::read(function.join("enable")).unwrap(), b"0");
    assert_eq!(fs::read(function.join("power/control")).unwrap(), b"auto\n");
}

#[test]
fn a_guest_s_device_and_a_sleeping_one_are_left_alone() {
    let rom = package("/usr/lib/ipxe/qemu/pxe-e1000e.rom");
    for (attributes, driver, status, text) in [
        (vec![("rom", rom.as_slice()), ("enable", b"1".as_slice())], Some("vfio-pci"), 4, "in use by a guest"),
        (vec![("rom", rom.as_slice()), ("power_state", b"D3cold\n".as_slice()), ("power/control", b"auto")], None, 3, "asleep (D3cold)"),
        (vec![], None, 3, "no option ROM"),
    ] {
        let dir = Dir::new("left");
        function(&dir.0, &attributes, driver);
        let output = cede(&["--root", dir.0.to_str().unwrap(), "rom", "0:3.0"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(code(&output) == status && errors.contains(text) && errors.contains("hint: "), "{errors}");
        let function = dir.0.join("sys/devices/pci0000:00/0000:00:03.0");
        for (name, bytes) in attributes {
            assert!(fs::read(function.join(name)).unwrap() == bytes, "{name}");
        }
    }
}

#[test]
fn a_capture_has_no_roms() {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/hosts/arch-gtx1650-laptop/host.capture");
    let output = cede(&["--host", capture.to_str().unwrap(), "rom", "01:00.0"]);
    assert!(code(&output) == 2 && String::from_utf8_lossy(&output.stderr).contains("(on that host)"));
    let output = cede(&["--host", capture.to_str().unwrap(), "rom", "01:00.0", "--check", "/usr/lib/ipxe/qemu/efi-e1000e.rom"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(code(&output) == 1 && text.contains("made for another device"), "{text}");
}
