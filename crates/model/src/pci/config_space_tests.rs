use super::*;
use crate::pci::capability::{AcsRegisters, Capability, EXPRESS, ExpressType, SriovNumbers};

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

/// A root port of 4096 bytes: subsystem capability at 0x40, PCI Express at 0x50, ACS at 0x100, SR-IOV at 0x140.
fn root_port() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    put(&mut bytes, 0x00, &[0x86, 0x80, 0x01, 0x19, 0, 0, 0x10, 0, 7, 0, 4, 6, 0, 0, 0x81]);
    put(&mut bytes, 0x18, &[0, 2, 5]);
    bytes[0x34] = 0x40;
    put(&mut bytes, 0x40, &[0x0d, 0x50, 0, 0, 0x43, 0x10, 0x94, 0x86]);
    put(&mut bytes, 0x50, &[0x10, 0, 0x42, 0x01]);
    put(&mut bytes, 0x100, &[0x0d, 0, 0x01, 0x14, 0x5f, 0, 0x1d, 0, 0x0f, 0]);
    put(&mut bytes, 0x140, &[0x10, 0, 0x01, 0]);
    put(&mut bytes, 0x14c, &[8, 0, 16, 0, 4, 0]);
    bytes
}

#[test]
fn reads_header_and_capabilities() {
    let bytes = root_port();
    let config = ConfigSpace::from_sysfs(&bytes);
    assert_eq!(config.id(), Some(PciId { vendor: 0x8086, device: 0x1901 }));
    assert_eq!((config.class(), config.revision()), (Some(PciClass(0x060400)), Some(7)));
    assert_eq!((config.header_type(), config.multifunction()), (Some(HeaderType::Bridge), Some(true)));
    assert_eq!(config.bridge_buses(), Field::Known(BridgeBuses { primary: 0, secondary: 2, subordinate: 5 }));
    assert_eq!(config.subsystem(), Field::Known(PciId { vendor: 0x1043, device: 0x8694 }));
    assert_eq!(config.express(), Field::Known(Express { version: 2, kind: ExpressType::RootPort, slot: true }));
    assert_eq!(config.acs(), Field::Known(AcsRegisters { capability: 0x5f, control: 0x1d }));
    assert_eq!(config.acs_of_wide_registers(), Field::Known(AcsRegisters { capability: 0x5f, control: 0x0f }));
    assert_eq!(config.sriov(), Field::Known(SriovNumbers { initial: 8, total: 16, enabled: 4 }));
    let offsets: Vec<_> = config.extended_capabilities().found.iter().map(|entry| (entry.id, entry.version, entry.offset)).collect();
    assert_eq!(offsets, [(0x0d, 1, 0x100), (0x10, 1, 0x140)]);
}

#[test]
fn what_was_not_read_is_hidden_and_not_absent() {
    let bytes = root_port();
    let user = ConfigSpace::from_sysfs(&bytes[..64]);
    assert_eq!(user.bridge_buses(), ConfigSpace::from_sysfs(&bytes).bridge_buses());
    assert_eq!((user.express(), user.acs(), user.subsystem()), (Field::Hidden, Field::Hidden, Field::Hidden));
    let cut = ConfigSpace::from_dump(&bytes[..256]);
    assert_eq!((cut.express().known().map(|e| e.kind), cut.acs()), (Some(ExpressType::RootPort), Field::Hidden));
    assert_eq!(ConfigSpace::from_sysfs(&bytes[..256]).acs(), Field::Absent, "the kernel sees no more either");
    assert_eq!(ConfigSpace::from_sysfs(&bytes[..0x106]).acs(), Field::Hidden, "cut within the registers");
}

#[test]
fn a_function_without_capabilities_says_so_in_its_first_64_bytes() {
    let mut bytes = root_port();
    bytes[0x06] = 0;
    let config = ConfigSpace::from_sysfs(&bytes[..64]);
    assert_eq!((config.express(), config.acs()), (Field::Absent, Field::Absent));
}

#[test]
fn conventional_pci_has_no_extended_space_even_in_a_cut_dump() {
    let mut bytes = root_port();
    bytes[0x41] = 0;
    assert_eq!(ConfigSpace::from_dump(&bytes[..256]).acs(), Field::Absent);
}

#[test]
fn lists_that_run_in_circles_end() {
    let mut bytes = root_port();
    bytes[0x51] = 0x40;
    put(&mut bytes, 0x142, &[0x01, 0x10]);
    let config = ConfigSpace::from_sysfs(&bytes);
    assert_eq!(config.capabilities().found.len(), 2);
    assert_eq!(config.extended_capabilities().found.len(), 2);
    assert_eq!((config.capability(0x05), config.extended_capability(0x0b)), (Field::Absent, Field::Absent));
}

#[test]
fn lists_that_lead_astray_end() {
    let mut bytes = root_port();
    bytes[0x41] = 0x3c;
    assert_eq!(ConfigSpace::from_sysfs(&bytes).express(), Field::Absent, "into the header");
    bytes[0x41] = 0xfc;
    bytes[0xfc] = 0xff;
    assert_eq!(ConfigSpace::from_sysfs(&bytes).express(), Field::Absent, "to what does not answer");
    put(&mut bytes, 0x41, &[0x53]);
    let found = Field::Known(Capability { id: EXPRESS, version: 0, offset: 0x50 });
    assert_eq!(ConfigSpace::from_sysfs(&bytes).capability(EXPRESS), found, "the low two bits do not count");
    put(&mut bytes, 0x100, &[0; 4]);
    assert_eq!(ConfigSpace::from_sysfs(&bytes).acs(), Field::Absent, "an empty extended list");
}

#[test]
fn any_length_is_taken() {
    let mut bytes = root_port();
    bytes.extend([0; 8]);
    for length in (0..300).chain([4095, 4096, 4100]) {
        let config = ConfigSpace::from_sysfs(&bytes[..length]);
        assert_eq!((config.id().is_some(), config.class().is_some()), (length >= 4, length >= 12), "{length}");
        assert_eq!(config.bridge_buses().known().is_some(), length >= 28, "{length}");
        assert_eq!(config.acs().known().is_some(), length >= 0x108, "{length}");
        assert_eq!(config.acs() == Field::Absent, length == 256, "{length}");
    }
}

#[test]
fn set_bits_only_are_no_data() {
    for length in [0, 1, 64, 256, 4096] {
        let bytes = vec![0xff; length];
        let config = ConfigSpace::from_sysfs(&bytes);
        assert!(config.has_no_data());
        assert_eq!((config.id(), config.express(), config.acs()), (None, Field::Hidden, Field::Hidden));
    }
    let mut virtual_function = vec![0; 64];
    put(&mut virtual_function, 0, &[0xff; 4]);
    assert!(!ConfigSpace::from_sysfs(&virtual_function).has_no_data());
}

#[test]
fn cardbus_bridges_have_their_own_places() {
    let mut bytes = vec![0; 128];
    put(&mut bytes, 0x00, &[0x80, 0x11, 0x76, 0x04, 0, 0, 0x10]);
    bytes[0x0e] = 0x82;
    bytes[0x14] = 0x50;
    put(&mut bytes, 0x18, &[3, 4, 7]);
    put(&mut bytes, 0x40, &[0x43, 0x10, 0x64, 0x15]);
    bytes[0x50] = 0x01;
    let config = ConfigSpace::from_sysfs(&bytes);
    assert_eq!(config.subsystem(), Field::Known(PciId { vendor: 0x1043, device: 0x1564 }));
    assert_eq!(config.bridge_buses(), Field::Known(BridgeBuses { primary: 3, secondary: 4, subordinate: 7 }));
    assert_eq!((config.express(), config.acs()), (Field::Absent, Field::Absent));
}
