//! What a guest's firmware said, recorded whole, and what a proof makes of it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

use cede_model::capture::Entry;
use cede_model::{Capture, Host};
use cede_plan::prove::{
    Depth, End, Errno, Facts, Interface, Item, Outcome, Record, Region, Report, Seen, Step, Subject, Surroundings, judge, seabios, wish,
};
use std::time::Duration;

const ROM: &str = include_str!("../../../fixtures/prove/seabios-rom.txt");
const STRICT: &str = include_str!("../../../fixtures/prove/seabios-strict.txt");
const LARGE: &str = include_str!("../../../fixtures/prove/seabios-large.txt");
const NO_ROOM: &str = include_str!("../../../fixtures/prove/seabios-no-room.txt");

/// A function on vfio-pci: address, ids, and its regions by index and size.
type Function<'a> = (&'a str, &'a str, &'a [(u32, u64)]);

const CARD: Function<'_> = ("0000:01:00.0", "8086:10D3", &[(0, 0x20000), (1, 0x20000), (2, 32), (3, 0x4000), (6, 0x40000), (7, 4096)]);
const DISK: Function<'_> = ("0000:02:00.0", "1B36:0010", &[(0, 0x4000), (7, 4096)]);

fn host(functions: &[Function<'_>]) -> Host {
    let mut capture = Capture::new();
    for (number, (address, id, _)) in functions.iter().enumerate() {
        let dir = format!("/sys/bus/pci/devices/{address}");
        let uevent = format!("DRIVER=vfio-pci\nPCI_CLASS=20000\nPCI_ID={id}\n");
        capture.insert(format!("{dir}/uevent"), Entry::File(uevent.into_bytes()));
        capture.insert(format!("{dir}/iommu_group"), Entry::Link(format!("../../../kernel/iommu_groups/{number}")));
    }
    capture.insert("/sys/class/iommu/dmar0", Entry::Dir);
    Host::from_capture(capture)
}

fn record(step: Step, subject: Subject, answer: Seen) -> Record {
    Record { step, subject, answer: Ok(answer), took: Duration::from_millis(1) }
}

fn alive(id: &str) -> Seen {
    let (vendor, device) = id.split_once(':').unwrap();
    let pair = |text: &str| u16::from_str_radix(text, 16).unwrap().to_le_bytes();
    let ([a, b], [c, d]) = (pair(vendor), pair(device));
    Seen::Alive(Some([a, b, c, d]))
}

/// Everything that matters of a proof that goes well but for what the guest says.
fn records(functions: &[Function<'_>], end: End, text: &str) -> Vec<Record> {
    let mut list = Vec::new();
    for (address, _, regions) in functions {
        let regions = regions.iter().map(|(index, size)| Region { index: *index, size: *size, can_map: true }).collect();
        list.push(record(Step::Regions, Subject::Device(address.parse().unwrap()), Seen::Regions(regions, None)));
    }
    list.push(record(Step::FindQemu, Subject::Guest, Seen::Qemu("/usr/bin/qemu-system-x86_64".into(), Some((7, 2)))));
    list.push(record(Step::Guest, Subject::Guest, Seen::Guest(end, text.to_owned())));
    for (address, id, _) in functions {
        list.push(record(Step::Close, Subject::Returned(address.parse().unwrap()), alive(id)));
    }
    list
}

fn proved(functions: &[Function<'_>], end: End, text: &str, around: &Surroundings) -> Report {
    let host = host(functions);
    let addresses: Vec<_> = functions.iter().map(|(address, ..)| address.parse().unwrap()).collect();
    let wish = wish(&host, &addresses, Depth::Guest, None).unwrap();
    judge(&wish, &records(functions, end, text), Facts { host: &host, around })
}

fn root() -> Surroundings {
    Surroundings { is_root: true, ..Default::default() }
}

fn texts(report: &Report, step: Step) -> Vec<&str> {
    report.items.iter().filter(|item| item.step == step).map(|item| item.text.as_str()).collect()
}

#[test]
fn a_guest_that_saw_everything_is_a_proof() {
    for (functions, log, ids, bars, rom) in [
        (
            [CARD, DISK],
            STRICT,
            ["8086:10d3 at 01:00.0", "1b36:0010 at 02:00.0"],
            ["BAR 0 128 KiB, BAR 1 128 KiB, BAR 2 32 bytes, BAR 3 16 KiB", "BAR 0 16 KiB"],
            "its code ran",
        ),
        (
            // A slot that is another one in the guest.
            [("0000:65:00.0", "1AF4:1110", &[(0, 0x1000), (2, 8 << 30), (7, 4096)]), ("0000:65:00.1", CARD.1, CARD.2)],
            LARGE,
            ["1af4:1110 at 01:00.0", "8086:10d3 at 01:00.1"],
            ["BAR 0 4 KiB, BAR 2 8 GiB", "BAR 0 128 KiB, BAR 1 128 KiB, BAR 2 32 bytes, BAR 3 16 KiB"],
            "its code ran",
        ),
    ] {
        let report = proved(&functions, End::Done, log, &root());
        assert!(report.passed(), "{:?}", report.failure());
        assert_eq!(texts(&report, Step::GuestIds), ids);
        assert_eq!(texts(&report, Step::GuestBars), bars);
        assert_eq!(texts(&report, Step::GuestRom), [rom]);
    }
}

#[test]
fn what_the_guest_saw_otherwise_is_none() {
    let card = |id, regions| [(CARD.0, id, regions), DISK];
    for (functions, step, text) in [
        (card("8086:10D4", CARD.2), Step::GuestIds, "8086:10d3 in the guest and 8086:10d4 here"),
        (card(CARD.1, &[(0, 0x40000), (7, 4096)]), Step::GuestBars, "BAR 0 has 128 KiB in the guest and 256 KiB here"),
        (card(CARD.1, &[(0, 0x20000), (4, 16 << 30), (7, 4096)]), Step::GuestBars, "BAR 4 (16 GiB) found no room"),
        // It stands behind a third port, where the guest saw nothing.
        ([CARD, ("0000:01:00.1", DISK.1, DISK.2)], Step::GuestIds, "does not see it"),
    ] {
        let report = proved(&functions, End::Done, STRICT, &root());
        let item = report.failure().unwrap();
        assert!(item.step == step && item.text.contains(text) && item.remedy.is_some(), "{text}: {item:?}");
    }
}

#[test]
fn roms_that_did_not_run_are_told() {
    let with_rom: Function<'_> = (DISK.0, DISK.1, &[(0, 0x4000), (6, 0x10000), (7, 4096)]);
    let without: Function<'_> = (CARD.0, CARD.1, &[(0, 0x20000), (7, 4096)]);
    let no_rom = STRICT.replace("Running option rom", "Not running option rom");
    for (functions, log, texts_of_rom) in [
        ([CARD, with_rom], STRICT, &["1 of 2 option ROMs ran: some have no part for a BIOS"][..]),
        ([CARD, DISK], &no_rom, &["no option ROM ran: what is there has no part for a BIOS, or hides it"]),
        ([without, DISK], &no_rom, &[]),
    ] {
        let report = proved(&functions, End::Done, log, &root());
        assert!(report.passed());
        assert_eq!(texts(&report, Step::GuestRom), texts_of_rom);
        assert!(report.items.iter().filter(|item| item.step == Step::GuestRom).all(|item| item.outcome == Outcome::Notice));
    }
}

/// The words of QEMU 7.2 (hw/vfio/common.c, hw/vfio/pci.c, hw/i386/x86.c).
fn qemu(words: &str) -> String {
    format!("qemu-system-x86_64: warning: nic virtio-net-pci.0 has no peer\nqemu-system-x86_64: {words}\n")
}

#[test]
fn a_guest_that_failed_says_how_and_what_to_do() {
    let half = STRICT.split_inclusive("Running option rom at c000:0003\n").next().unwrap().to_owned();
    let exited = || End::Exited("exit status: 1".into());
    let locked = Surroundings { memlock: Some(8 << 20), ..Default::default() };
    for (end, text, around, why, remedy) in [
        (End::Done, NO_ROOM.to_owned(), root(), "gave up: PCI: out of 32bit address space", "a guest with OVMF"),
        (End::TimedOut(60), half.clone(), root(), "did not come to its end in 60 s", "romfile="),
        (End::TimedOut(60), qemu("falling back to tcg"), root(), "did not begin within 60 s: falling back to tcg", "--seconds 600"),
        (End::Done, half, root(), "QEMU ended before SeaBIOS did", "run it again"),
        (
            exited(),
            qemu(
                "-device vfio-pci,host=0000:01:00.0,bus=port1: vfio 0000:01:00.0: failed to setup container for group 5: memory listener initialization failed: Region pc.ram: vfio_dma_map(0x5581, 0x0, 0xa0000, 0x7f0a) = -12 (Cannot allocate memory)",
            ),
            locked,
            "QEMU ended (exit status: 1): -device vfio-pci,host=0000:01:00.0",
            "locks 64 MiB, and 8 MiB are allowed",
        ),
        (
            exited(),
            qemu("-device vfio-pci,host=0000:01:00.0,bus=port1: vfio 0000:01:00.0: group 5 is not viable"),
            root(),
            "group 5 is not viable",
            "dmesg",
        ),
        (
            exited(),
            qemu("vfio: Cannot reset device 0000:01:00.0, depends on group 6 which is not owned."),
            root(),
            "depends on group 6",
            "name those too",
        ),
        (exited(), qemu("could not load PC BIOS 'bios-256k.bin'"), root(), "could not load PC BIOS", "seabios"),
        (exited(), String::new(), root(), "QEMU ended (exit status: 1)", "dmesg"),
    ] {
        let report = proved(&[CARD, DISK], end, &text, &around);
        let item = report.failure().unwrap();
        let said = item.remedy.clone().unwrap();
        assert_eq!(item.step, Step::Guest);
        assert!(item.text.contains(why) && said.contains(remedy), "{} / {said}", item.text);
    }
}

#[test]
fn a_guest_is_no_proof_before_the_devices_are_back() {
    let host = host(&[CARD, DISK]);
    let around = root();
    let facts = Facts { host: &host, around: &around };
    let addresses = [CARD.0, DISK.0].map(|address| address.parse().unwrap());
    let wish = wish(&host, &addresses, Depth::Guest, None).unwrap();
    let whole = records(&[CARD, DISK], End::Done, STRICT);
    let without_last = whole.split_last().unwrap().1.to_vec();
    let mut lost = whole.clone();
    lost.last_mut().unwrap().answer = Ok(Seen::Alive(Some([0xff; 4])));
    let mut stuck = whole.clone();
    stuck.last_mut().unwrap().answer = Err(Errno::ETIMEDOUT);
    let mut no_qemu = without_last.clone();
    no_qemu.truncate(3);
    no_qemu[2].answer = Err(Errno::ENOENT);
    for (records, step, text) in [
        (without_last, Step::Close, "nothing is proved"),
        (lost, Step::Close, "lost in a reset"),
        (stuck, Step::Close, "did not wake up"),
        (no_qemu, Step::FindQemu, "no qemu-system-x86_64"),
    ] {
        let report = judge(&wish, &records, facts);
        let item: &Item = report.failure().unwrap();
        assert!(item.step == step && item.text.contains(text), "{item:?}");
    }
}

#[test]
fn an_older_qemu_takes_another_way_and_that_is_told() {
    let host = host(&[CARD, DISK]);
    let around = root();
    let addresses = [CARD.0, DISK.0].map(|address| address.parse().unwrap());
    let mut wish = wish(&host, &addresses, Depth::Guest, None).unwrap();
    let mut said = |interface, version| {
        wish.interface = interface;
        let mut records = records(&[CARD, DISK], End::Done, STRICT);
        records[2].answer = Ok(Seen::Qemu("qemu".into(), version));
        let report = judge(&wish, &records, Facts { host: &host, around: &around });
        texts(&report, Step::Guest).concat()
    };
    assert!(said(Interface::Iommufd, Some((7, 2))).ends_with("through the container only"));
    assert_eq!(said(Interface::Iommufd, Some((10, 0))), "SeaBIOS came to its end");
    assert_eq!(said(Interface::Container, Some((7, 2))), "SeaBIOS came to its end");
}

#[test]
fn recorded_starts_are_read_whole_and_torn_ones_are_no_end() {
    for (log, functions, bars, roms, end) in [
        (ROM, 8, 6, 1, "Booting from"),
        (STRICT, 9, 6, 1, "No bootable device"),
        (LARGE, 8, 7, 1, "No bootable device"),
        (NO_ROOM, 0, 0, 0, "PCI: out of"),
    ] {
        let boot = seabios::read(log);
        let of_cards = boot.bars.iter().filter(|bar| bar.place.0 > 0).count();
        assert_eq!((boot.functions.len(), of_cards, boot.roms), (functions, bars, roms), "{end}");
        assert!(boot.began && boot.complaints.is_empty() && boot.done == boot.gave_up.is_none(), "{boot:?}");
        let at = log.find(end).unwrap();
        for (cut, _) in log.match_indices('\n') {
            let boot = seabios::read(&log[..cut]);
            assert_eq!(boot.done || boot.gave_up.is_some(), cut > at);
        }
        let ends: Vec<&str> = log.lines().filter(|line| seabios::is_end(line)).collect();
        assert!(ends.first().unwrap().starts_with(end));
    }
    // With the arguments that are given nothing is ever started.
    assert!(!STRICT.contains("Booting from") && !LARGE.contains("Booting from"));
}

#[test]
fn lines_that_say_something_else_are_left_out() {
    for line in [
        "PCI: init bdf=",
        "PCI: init bdf=1:2 id=1:2",
        "PCI: init bdf=zz:00.0 id=8086:10d3",
        "PCI: init bdf=01:00.0 id=18086:10d3",
        "PCI: map device bdf=01:00.0  bar x, addr 1, size",
        "PCI: map device bdf=01:00.0  bar 0, addr 0, size 10000000000000000 [mem]",
        "\u{fffd}\u{fffd}",
    ] {
        assert_eq!(seabios::read(line), seabios::Boot::default(), "{line}");
    }
}
