//! Cards that were moved, swapped, taken out or replaced after they were ceded.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::pci::{PciAddress, SerialNumber};
use cede_model::{Capture, Entry, Host};
use cede_plan::intent::Identity;
use cede_plan::plan::{Condition, Expectation, When};
use cede_plan::verify::{Result3, verify};
use cede_plan::whereabouts;
use support::machine::{Loader, Machine};
use support::pci::Function;

const ROOT: &str = "pci0000:00";
const FIRST: &str = "pci0000:00/0000:00:1c.0";
const SECOND: &str = "pci0000:00/0000:00:1c.4";

fn card(address: &'static str, above: &'static str) -> Function {
    Function::new(address, above, (0x10de, 0x1f91), 0x03_0000).driver("vfio-pci")
}

fn network(address: &'static str, above: &'static str) -> Function {
    Function::new(address, above, (0x8086, 0x1533), 0x02_0000).driver("igb")
}

/// A host with two ports and these functions; each may have a serial number.
fn host(functions: &[(Function, Option<u64>)]) -> Host {
    let mut capture = Capture::new();
    for (address, bus) in [("0000:00:1c.0", 1), ("0000:00:1c.4", 2)] {
        Function::new(address, ROOT, (0x8086, 0xa110), 0x06_0400).express(Some(4)).bridge_to(bus).driver("pcieport").put(&mut capture);
    }
    for (function, serial) in functions {
        function.put(&mut capture);
        let path = format!("/sys/bus/pci/devices/{}/config", function.address);
        let Some(Entry::File(mut bytes)) = capture.get(&path).cloned() else { panic!("no {path}") };
        if let Some(serial) = serial {
            bytes[0x100..0x104].copy_from_slice(&0x0001_0003_u32.to_le_bytes());
            bytes[0x104..0x10c].copy_from_slice(&serial.to_le_bytes());
        }
        capture.insert(path, Entry::File(bytes));
    }
    Host::from_capture(capture)
}

fn meant(host: &Host, address: &str) -> Identity {
    Identity::of(host.device(address.parse().unwrap()).unwrap()).unwrap()
}

fn said(now: &Host, meant: &Identity) -> String {
    let expects = [Expectation::after_reboot(Condition::BoundTo { device: meant.clone(), driver: "vfio-pci".into() })];
    let outcome = verify(now, &expects, When::AfterReboot).outcomes.remove(0);
    assert_eq!(outcome.result == Result3::Met, whereabouts::trouble(now, meant).is_none());
    outcome.cause.unwrap_or_default()
}

#[test]
fn what_became_of_a_card_is_said() {
    let a = |above| (card("0000:01:00.0", above), Some(0xa));
    let before = host(&[a(FIRST), (network("0000:02:00.0", SECOND), None)]);
    let one = meant(&before, "01:00.0");
    assert_eq!((one.serial, one.slot.as_ref().unwrap().to_string()), (SerialNumber::from_register(0xa), "0000:00:1c.0/00.0".to_owned()));
    assert_eq!(said(&before, &one), "");
    let name = "0000:01:00.0 was the TU117M [GeForce GTX 1650 Mobile / Max-Q] [10de:1f91]; ";
    let cases: [(&str, Host, &str); 7] = [
        (
            "moved, and the network card came to its address",
            host(&[(card("0000:02:00.0", SECOND), Some(0xa)), (network("0000:01:00.0", FIRST), None)]),
            "it is now at 0000:02:00.0, and its address holds the I210 Gigabit Network Connection [8086:1533] now: `sudo cede undo`, then `cede plan 0000:02:00.0`",
        ),
        (
            "moved by firmware, which numbered buses anew",
            host(&[(card("0000:05:00.0", FIRST), None)]),
            "it is now at 0000:05:00.0: `sudo cede undo`, then `cede plan 0000:05:00.0`",
        ),
        (
            "swapped with one of its kind",
            host(&[(card("0000:01:00.0", FIRST), Some(0xb)), (card("0000:02:00.0", SECOND), Some(0xa))]),
            "it was swapped with another card of its kind and is now at 0000:02:00.0: `sudo cede undo`, then `cede plan 0000:02:00.0`",
        ),
        (
            "replaced by one of its kind",
            host(&[(card("0000:01:00.0", FIRST), Some(0xb))]),
            "another card of its kind is there now (serial number 00-00-00-00-00-00-00-0b, not 00-00-00-00-00-00-00-0a): `sudo cede undo`, then `cede plan 0000:01:00.0`",
        ),
        ("taken out", host(&[(network("0000:02:00.0", SECOND), None)]), "it is gone: put it back, or `sudo cede undo`"),
        (
            "taken out, and vfio-pci has what came to its address",
            host(&[(network("0000:01:00.0", FIRST).driver("vfio-pci"), None)]),
            "it is gone; its address holds the I210 Gigabit Network Connection [8086:1533] now, which vfio-pci has: put it back, or `sudo cede undo`",
        ),
        (
            "taken out, and one of its kind is elsewhere",
            host(&[(card("0000:02:00.0", SECOND), None)]),
            "it is gone; 0000:02:00.0 is of the same kind and may be it or another one: `sudo cede undo`, then `cede plan 0000:02:00.0`",
        ),
    ];
    for (what, now, expected) in cases {
        assert_eq!(said(&now, &one), format!("{name}{expected}"), "{what}");
    }
}

#[test]
fn without_serial_numbers_the_slot_tells_a_twin_that_came_to_the_address() {
    let before = host(&[(card("0000:01:00.0", FIRST), None), (card("0000:02:00.0", SECOND), None)]);
    // The first card is out, its port is hidden, and the second one's bus got number 1.
    let now = host(&[(card("0000:01:00.0", SECOND), None)]);
    let cause = said(&now, &meant(&before, "01:00.0"));
    assert!(cause.contains("another card of its kind is there now (in slot 0000:00:1c.4/00.0, not 0000:00:1c.0/00.0)"), "{cause}");
    assert!(said(&now, &meant(&before, "02:00.0")).contains("it is now at 0000:01:00.0: "));
}

#[test]
fn a_card_in_another_slot_is_the_same_by_its_serial_number() {
    let before = host(&[(card("0000:01:00.0", FIRST), Some(0xa))]);
    assert_eq!(said(&host(&[(card("0000:01:00.0", SECOND), Some(0xa))]), &meant(&before, "01:00.0")), "");
}

#[test]
fn what_root_did_not_see_does_not_count() {
    let rich = meant(&host(&[(card("0000:01:00.0", FIRST), Some(0xa))]), "01:00.0");
    let poor = Identity { serial: None, slot: None, ..rich.clone() };
    assert!(rich.agrees(&poor) && poor.agrees(&rich));
    assert!(!rich.agrees(&Identity { serial: SerialNumber::from_register(0xb), ..rich.clone() }));
    assert_eq!(said(&host(&[(card("0000:01:00.0", SECOND), Some(0xb))]), &poor), "");
}

#[test]
fn what_another_operation_ceded_is_no_twin_taken() {
    let both = host(&[(card("0000:01:00.0", FIRST), None), (card("0000:02:00.0", SECOND), None)]);
    let addresses: Vec<PciAddress> = both.devices.iter().filter(|device| device.is_on_vfio()).map(|device| device.address).collect();
    assert_eq!(addresses.len(), 2);
    let (one, two) = (meant(&both, "01:00.0"), meant(&both, "02:00.0"));
    let condition = Condition::NoTwinTaken { devices: vec![one] };
    let judged = |what: Condition| verify(&both, &[Expectation::after_reboot(what)], When::AfterReboot).outcomes.remove(0);
    let alone = judged(condition.clone());
    assert!(alone.result == Result3::NotMet && alone.cause.unwrap().contains("0000:02:00.0 was not meant"));
    assert_eq!(judged(condition.beside(&[two])).result, Result3::Met);
}

#[test]
fn a_stranger_of_another_kind_is_named_on_a_whole_machine() {
    let before = Host::from_capture(Machine::arch(Loader::Grub).capture);
    let one = meant(&before, "01:00.0");
    let now = Machine::arch(Loader::Grub).functions(&[network("0000:01:00.0", "pci0000:00/0000:00:01.0")]);
    assert!(said(&Host::from_capture(now.capture), &one).contains("its address holds the I210"));
}
