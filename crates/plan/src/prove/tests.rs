//! Tables of answers and what they mean.

use super::report::Outcome;
use super::*;
use cede_model::capture::Entry;
use cede_model::pci::PciAddress;
use cede_model::{Capture, Host};
use std::time::Duration;

const CARD: &str = "0000:01:00.0";
const SISTER: &str = "0000:01:00.1";

fn at(text: &str) -> PciAddress {
    text.parse().unwrap()
}

fn put(capture: &mut Capture, address: &str, driver: Option<&str>, group: u32) {
    let dir = format!("/sys/bus/pci/devices/{address}");
    let driver = driver.map(|driver| format!("DRIVER={driver}\n")).unwrap_or_default();
    capture.insert(format!("{dir}/uevent"), Entry::File(format!("{driver}PCI_CLASS=20000\nPCI_ID=8086:10D3\n").into_bytes()));
    if driver.is_empty() {
        capture.insert(format!("{dir}/driver"), Entry::Absent);
    }
    capture.insert(format!("{dir}/iommu_group"), Entry::Link(format!("../../../kernel/iommu_groups/{group}")));
}

fn capture(sister: Option<&str>, reserved: &str) -> Capture {
    let mut capture = Capture::new();
    put(&mut capture, CARD, Some("vfio-pci"), 7);
    put(&mut capture, SISTER, sister, 7);
    capture.insert("/sys/class/iommu/dmar0", Entry::Dir);
    capture.insert("/sys/kernel/iommu_groups/7/reserved_regions", Entry::File(reserved.as_bytes().to_vec()));
    capture
}

fn nodes(capture: &mut Capture, address: &str, number: u32) {
    capture.insert("/dev/iommu", Entry::Present(0));
    capture.insert(
        format!("/sys/class/vfio-dev/vfio{number}"),
        Entry::Link(format!("../../devices/pci0000:00/0000:00:01.0/{address}/vfio-dev/vfio{number}")),
    );
}

fn record(step: Step, subject: Subject, answer: Result<Seen, Errno>) -> Record {
    Record { step, subject, answer, took: Duration::from_millis(1) }
}

fn card() -> Subject {
    Subject::Device(at(CARD))
}

const NODE: Subject = Subject::Node("/dev/vfio/vfio");
const IOMMUFD: Subject = Subject::Node("/dev/iommu");

#[test]
fn what_is_the_hosts_is_refused() {
    let host = Host::from_capture(capture(Some("e1000e"), ""));
    for (address, id) in [(SISTER, "not-on-vfio"), ("0000:09:00.0", "no-such-device")] {
        let refusals = wish(&host, &[at(address)], Depth::Open, None).unwrap_err();
        assert_eq!(refusals.iter().map(|refusal| refusal.id).collect::<Vec<_>>(), [id]);
        assert_eq!(refusals[0].message.contains("`sudo cede bind 0000:01:00.1`"), address == SISTER);
    }
    // Its sister on the host's driver is never among what is opened.
    let wish = wish(&host, &[at(CARD)], Depth::Open, None).unwrap();
    assert_eq!(wish.targets.iter().map(|target| target.address).collect::<Vec<_>>(), [at(CARD)]);
}

#[test]
fn the_usual_way_is_the_guests_and_attaching_needs_a_container() {
    let mut with_nodes = capture(None, "");
    nodes(&mut with_nodes, CARD, 0);
    let only_nodes = Host::from_capture(with_nodes.clone());
    with_nodes.insert("/dev/vfio/vfio", Entry::Present(0));
    let both = Host::from_capture(with_nodes);
    let neither = Host::from_capture(capture(None, ""));
    for (host, depth, asked, way) in [
        (&neither, Depth::Open, None, Some(Interface::Container)),
        (&neither, Depth::Open, Some(Interface::Iommufd), None),
        (&both, Depth::Attach, None, Some(Interface::Container)),
        (&both, Depth::Open, None, Some(Interface::Iommufd)),
        (&both, Depth::Open, Some(Interface::Container), Some(Interface::Container)),
        (&only_nodes, Depth::Attach, None, Some(Interface::Iommufd)),
    ] {
        let found = wish(host, &[at(CARD)], depth, asked).map(|wish| wish.interface);
        assert_eq!(found.as_ref().ok(), way.as_ref(), "{depth:?} {asked:?}");
        assert!(found.is_ok() || found.unwrap_err()[0].id == "no-iommufd");
    }
}

#[test]
fn each_error_says_what_it_means_on_this_host() {
    let plain = capture(None, "0xfee00000 0xfeefffff msi\n");
    let foreign = capture(Some("snd_hda_intel"), "");
    let direct = capture(None, "0x9d800000 0x9fffffff direct\n0xfee00000 0xfeefffff msi\n");
    let mut cdev = capture(None, "");
    nodes(&mut cdev, CARD, 0);
    let remapped = Surroundings { interrupts: Some(b"  24:  1  IR-PCI-MSI  eth0\n".to_vec()), is_root: true, ..Default::default() };
    let bare = Surroundings { interrupts: Some(b"  0:  1  IO-APIC  2-edge timer\n".to_vec()), memlock: Some(65536), ..Default::default() };
    let held = Surroundings {
        holders: vec![Holder { path: "/dev/vfio/7".into(), pid: 42, name: "qemu".into() }],
        is_root: true,
        ..Default::default()
    };
    let node_held = Surroundings {
        holders: vec![Holder { path: "/dev/vfio/devices/vfio0".into(), pid: 43, name: "vmm".into() }],
        is_root: true,
        ..Default::default()
    };
    let group = Subject::Group(7);
    for (capture, around, step, subject, errno, why, remedy) in [
        (&plain, &remapped, Step::Container, &NODE, Errno::ENOENT, "not loaded", "modprobe vfio-pci"),
        (&plain, &bare, Step::Group, &group, Errno::EACCES, "you may not open /dev/vfio/7", "sudo cede prove 0000:01:00.0"),
        (&plain, &remapped, Step::Group, &group, Errno::EACCES, "root may not", "outside of containers"),
        (&plain, &held, Step::Group, &group, Errno::EBUSY, "qemu (process 42)", "shut that guest down"),
        (&plain, &bare, Step::Group, &group, Errno::EBUSY, "a process of somebody else", "shut"),
        (&plain, &bare, Step::Group, &group, Errno::ENOENT, "no /dev/vfio/7", "cede devices"),
        (&cdev, &bare, Step::Group, &group, Errno::ENOENT, "no CONFIG_VFIO_GROUP", "--interface iommufd"),
        (&foreign, &remapped, Step::SetContainer, &group, Errno::EPERM, "0000:01:00.1 (snd_hda_intel)", "sudo cede bind 0000:01:00.1"),
        (&direct, &remapped, Step::SetContainer, &group, Errno::EINVAL, "0x9d800000-0x9fffffff", "Pre-boot DMA"),
        (&direct, &remapped, Step::SetIommu, &NODE, Errno::EPERM, "one to one", "Pre-boot DMA"),
        (&plain, &bare, Step::SetIommu, &NODE, Errno::EPERM, "not remapped", "vfio_iommu_type1/parameters"),
        (&plain, &remapped, Step::SetIommu, &NODE, Errno::EPERM, "not among the answers", "dmesg"),
        (&plain, &remapped, Step::SetIommu, &NODE, Errno::ENODEV, "not loaded", "modprobe vfio_iommu_type1"),
        (&cdev, &bare, Step::Iommufd, &IOMMUFD, Errno::EACCES, "you may not open /dev/iommu", "KERNEL==\"iommu\", GROUP=\"kvm\""),
        (&cdev, &bare, Step::Iommufd, &IOMMUFD, Errno::ENOENT, "CONFIG_IOMMUFD", "modprobe iommufd"),
        (&cdev, &bare, Step::Node, &card(), Errno::EACCES, "you may not open /dev/vfio/devices/vfio0", "SUBSYSTEM==\"vfio-dev\", GROUP"),
        (&cdev, &held, Step::Bind, &card(), Errno::EBUSY, "0000:01:00.0 is in use by qemu (process 42)", "shut that guest down"),
        (&cdev, &held, Step::Bind, &card(), Errno::EINVAL, "qemu (process 42)", "shut that guest down"),
        (&cdev, &remapped, Step::Bind, &card(), Errno::EINVAL, "caches", "--interface container"),
        (&cdev, &remapped, Step::Bind, &card(), Errno::EPERM, "in use by another process", "shut"),
        (&foreign, &remapped, Step::Bind, &card(), Errno::EPERM, "0000:01:00.1 (snd_hda_intel)", "sudo cede bind 0000:01:00.1"),
        (&cdev, &node_held, Step::Group, &group, Errno::EBUSY, "/dev/vfio/7 is in use by vmm (process 43)", "shut"),
        (&cdev, &bare, Step::Bind, &card(), Errno::EPERM, "not remapped", "iommufd/parameters"),
        (&direct, &remapped, Step::AttachIoas, &card(), Errno::EINVAL, "one to one", "firmware"),
        (&plain, &remapped, Step::GetDevice, &card(), Errno::EBUSY, "framebuffer", "/proc/iomem"),
        (&plain, &remapped, Step::GetDevice, &card(), Errno::ETIMEDOUT, "did not wake up", "power_state"),
        (&plain, &bare, Step::Map, &NODE, Errno::ENOMEM, "the limit is 64 KiB", "ulimit -l"),
        (&plain, &remapped, Step::Map, &NODE, Errno::ENOMEM, "no memory", "free memory"),
        (&plain, &remapped, Step::Reset, &card(), Errno::ENOTTY, "cannot be reset alone", "reset_method"),
        (&plain, &remapped, Step::Reset, &card(), Errno(999), "not among the answers", "dmesg"),
    ] {
        let host = Host::from_capture(capture.clone());
        let wish = Wish { depth: Depth::Open, ..wish(&host, &[at(CARD)], Depth::Open, None).unwrap() };
        let report = judge(&wish, &[record(step, subject.clone(), Err(errno))], Facts { host: &host, around });
        let item = report.failure().unwrap();
        assert!(!report.passed() && item.errno == Some(errno) && item.step == step);
        let said = item.remedy.clone().unwrap();
        assert!(item.text.contains(why) && said.contains(remedy), "{step:?} {errno}: {} / {said}", item.text);
    }
}

/// Configuration space of a function with MSI (8 messages) and MSI-X (5), INTA and a capability of the maker.
fn config() -> Vec<u8> {
    let mut bytes = vec![0; 256];
    bytes[..4].copy_from_slice(&[0x86, 0x80, 0xd3, 0x10]);
    bytes[0x06] = 0x10;
    bytes[0x0b] = 2;
    bytes[0x34] = 0x40;
    bytes[0x3d] = 1;
    bytes[0x40..0x44].copy_from_slice(&[5, 0x50, 0x86, 0]);
    bytes[0x50..0x54].copy_from_slice(&[0x11, 0x60, 4, 0]);
    bytes[0x60..0x64].copy_from_slice(&[9, 0, 8, 0]);
    bytes
}

#[test]
fn interrupts_are_those_of_configuration_space() {
    assert_eq!(compare::interrupts_of(&config()), [Some(1), Some(8), Some(5)]);
    // Without the right to see more than the header.
    assert_eq!(compare::interrupts_of(&config()[..64]), [Some(1), None, None]);
    assert_eq!(compare::interrupts_of(&[]), [None, None, None]);
    for (seen, config, outcome, text) in [
        ([1, 8, 5], Some(config()), Outcome::Good, "1 INTx, 8 MSI, 5 MSI-X"),
        ([0, 8, 5], Some(config()), Outcome::Notice, "VFIO shows 0 INTx and the device has 1"),
        ([1, 8, 0], Some(config()), Outcome::Bad, "VFIO shows 0 MSI-X and the device has 5"),
        ([0, 0, 0], None, Outcome::Notice, "no interrupts"),
        ([1, 0, 0], None, Outcome::Good, "1 INTx"),
    ] {
        let (found, words) = compare::interrupts(seen, config.as_deref());
        assert!(found == outcome && words.contains(text), "{found:?} {words}");
    }
}

#[test]
fn configuration_space_must_be_the_same_devices() {
    let id = Some(cede_model::pci::PciId { vendor: 0x8086, device: 0x10d3 });
    let (mut other, mut class, mut short) = (config(), config(), config());
    other[2] = 0xd4;
    class[0x0b] = 3;
    short[0x51] = 0;
    let mut of_virtual = config();
    of_virtual[..4].copy_from_slice(&[0xff; 4]);
    for (seen, sysfs, outcome, text) in [
        (config(), Some(config()), Outcome::Good, "header as in sysfs"),
        (config(), Some(config()[..64].to_vec()), Outcome::Good, "header as in sysfs"),
        (config(), None, Outcome::Good, "ids as in sysfs"),
        (config(), Some(of_virtual), Outcome::Good, "header as in sysfs"),
        (short, Some(config()), Outcome::Good, "hides: 0x09"),
        (class, Some(config()), Outcome::Bad, "revision and class differ"),
        (other, Some(config()), Outcome::Bad, "says that it is 8086:10d4"),
        (vec![0xff; 256], Some(config()), Outcome::Bad, "does not answer"),
        (vec![], Some(config()), Outcome::Bad, "does not answer"),
    ] {
        let (found, words) = compare::config(&seen, sysfs.as_deref(), id);
        assert!(found == outcome && words.contains(text), "{found:?} {words}");
    }
}

const RESOURCE: &[u8] = b"0x00000000fd000000 0x00000000fd01ffff 0x0000000000040200
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x000000000000c000 0x000000000000c01f 0x0000000000040101
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x00000000fd040000 0x00000000fd07ffff 0x0000000000046200
0x0000000000000000 0x0000000000000000 0x0000000000000000
";

#[test]
fn regions_are_as_large_as_the_kernel_says() {
    let region = |index, size, can_map| Region { index, size, can_map };
    let config = region(7, 4096, false);
    for (list, resource, outcome, text) in [
        (
            vec![region(0, 0x20000, true), region(2, 32, false), region(6, 0x40000, false), config],
            RESOURCE,
            Outcome::Good,
            "BAR 0 128 KiB, BAR 2 32 bytes, ROM 256 KiB",
        ),
        (vec![region(0, 0x20000, true), region(6, 0, false), config], RESOURCE, Outcome::Good, "sizes as in sysfs"),
        (vec![region(0, 0x10000, true), config], RESOURCE, Outcome::Bad, "BAR 0 has 64 KiB through VFIO and 128 KiB in sysfs"),
        (vec![region(0, 0x20000, false), config], RESOURCE, Outcome::Notice, "slows the guest"),
        (vec![region(0, 0x20000, true)], RESOURCE, Outcome::Bad, "configuration space is not among"),
        (vec![region(0, 5, false), config], b"torn", Outcome::Bad, "0 bytes in sysfs"),
    ] {
        let (found, words) = compare::regions(&list, Some(resource));
        assert!(found == outcome && words.contains(text), "{found:?} {words}");
    }
    let torn: [&[u8]; 3] = [b"0x5 0x1 0\n", b"0x0 0xffffffffffffffff 0\n", b"\xff\n\n"];
    assert!(torn.iter().all(|text| compare::resource_sizes(text).iter().all(|size| *size == 0)));
}

fn whole(depth: Depth) -> Vec<Record> {
    let group = Subject::Group(7);
    let mut list = vec![
        record(Step::Container, NODE, Ok(Seen::Done)),
        record(Step::Version, NODE, Ok(Seen::Number(0))),
        record(Step::Type1, NODE, Ok(Seen::Number(1))),
        record(Step::Group, group.clone(), Ok(Seen::Done)),
        record(Step::Status, group.clone(), Ok(Seen::Viable(true))),
        record(Step::SetContainer, group, Ok(Seen::Done)),
        record(Step::SetIommu, NODE, Ok(Seen::Done)),
    ];
    if depth == Depth::Open {
        let alive = Seen::Alive(Some([0x86, 0x80, 0xd3, 0x10]));
        list.extend([
            record(Step::Info, card(), Ok(Seen::Info { is_pci: true, can_reset: true })),
            record(Step::Reset, card(), Ok(alive.clone())),
            record(Step::Close, card(), Ok(alive)),
        ]);
    }
    list
}

#[test]
fn nothing_is_proved_that_was_not_done() {
    let host = Host::from_capture(capture(None, ""));
    let around = Surroundings { is_root: true, ..Default::default() };
    let facts = Facts { host: &host, around: &around };
    for depth in [Depth::Attach, Depth::Open] {
        let wish = wish(&host, &[at(CARD)], depth, None).unwrap();
        let records = whole(depth);
        assert!(judge(&wish, &records, facts).passed(), "{depth:?}");
        assert!(!judge(&wish, &[], facts).passed());
        assert!(!judge(&wish, &records[..records.len() - 1], facts).passed());
    }
    let deep = wish(&host, &[at(CARD)], Depth::Open, None).unwrap();
    assert!(!judge(&deep, &whole(Depth::Attach), facts).passed());
}

#[test]
fn answers_that_are_no_errors_and_wrong_all_the_same() {
    let host = Host::from_capture(capture(Some("snd_hda_intel"), ""));
    let around = Surroundings { is_root: true, ..Default::default() };
    let facts = Facts { host: &host, around: &around };
    let wish = wish(&host, &[at(CARD)], Depth::Open, None).unwrap();
    for (step, subject, seen, text) in [
        (Step::Version, NODE, Seen::Number(1), "version 1"),
        (Step::Type1, NODE, Seen::Number(0), "no type 1 IOMMU"),
        (Step::Status, Subject::Group(7), Seen::Viable(false), "0000:01:00.1 (snd_hda_intel)"),
        (Step::Unmap, NODE, Seen::Unmapped(0, 4096), "0 of 4096 bytes"),
        (Step::Info, card(), Seen::Info { is_pci: false, can_reset: true }, "no PCI device"),
        (Step::Reset, card(), Seen::Alive(Some([0xff; 4])), "lost in a reset"),
        (Step::Reset, card(), Seen::Alive(None), "lost in a reset"),
        (Step::Close, card(), Seen::Alive(Some([0x86, 0x80, 0, 0])), "other ids"),
        (Step::Reset, card(), Seen::NoAnswer, "does not answer"),
    ] {
        let report = judge(&wish, &[record(step, subject, Ok(seen))], facts);
        let item = report.failure().unwrap();
        assert!(item.text.contains(text) && item.remedy.is_some(), "{}", item.text);
    }
}

#[test]
fn a_device_that_cannot_be_reset_is_no_failure_and_is_told() {
    let host = Host::from_capture(capture(None, ""));
    let around = Surroundings { is_root: true, ..Default::default() };
    let wish = wish(&host, &[at(CARD)], Depth::Open, None).unwrap();
    let mut records = whole(Depth::Open);
    records[7].answer = Ok(Seen::Info { is_pci: true, can_reset: false });
    records[8].answer = Err(Errno::EINVAL);
    let report = judge(&wish, &records, Facts { host: &host, around: &around });
    let reset = report.items.iter().find(|item| item.step == Step::Reset).unwrap();
    assert!(report.passed() && reset.outcome == Outcome::Notice && reset.text.contains("cannot be reset alone"));
    records[7].answer = Ok(Seen::Info { is_pci: true, can_reset: true });
    assert!(!judge(&wish, &records, Facts { host: &host, around: &around }).passed());
}

#[test]
fn remapping_is_told_by_the_chips_names() {
    for (text, remapped) in [
        (&b"   0:  5  IR-IO-APIC   2-edge  timer\n 24: 0 IR-PCI-MSI 0-edge eth0\n"[..], Some(true)),
        (b" 24: 0 IR-PCI-MSIX-0000:01:00.0 0-edge nvme0q0\n", Some(true)),
        (b"   0:  5  IO-APIC   2-edge  timer\n", Some(false)),
        (b" 11:  5  GICv3  27 Level  arch_timer\n", None),
        (b"\xff\xfe", None),
    ] {
        assert_eq!(Surroundings { interrupts: Some(text.to_vec()), ..Default::default() }.remapping(), remapped);
    }
}
