//! What is bound at every start, on the simulated host: the unit, what a start does with it, strangers, and its end.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

use cede_host::apply::{ApplyError, apply, look_at_files};
use cede_host::{Machine, Scope, SimHost, observe};
use cede_model::pci::PciAddress;
use cede_model::{Entry, Host, capture_text};
use cede_plan::journal::{self, Operation, Verb};
use cede_plan::persist::{self, Intent, SYSTEMD, Wish, unit};
use cede_plan::plan::When;
use cede_plan::runtime::{self, Draft};
use cede_plan::undo::undo;
use cede_plan::verify::verify;
use cede_plan::{Plan, whereabouts};

const LAPTOP: &str = include_str!("../../../fixtures/hosts/arch-gtx1650-laptop/host.capture");
const GPU: &str = "0000:01:00.0";
const PHYSICAL: &str = "0000:02:00.0";

/// The laptop with its IOMMU on, systemd at work, and a disk controller with SR-IOV.
fn laptop() -> SimHost {
    let mut capture = capture_text::parse(LAPTOP).unwrap();
    let grub = String::from_utf8(capture.file("/etc/default/grub").unwrap().to_vec()).unwrap();
    capture.insert("/etc/default/grub", Entry::File(grub.replace("quiet", "quiet intel_iommu=on").into_bytes()));
    for (name, text) in [("sriov_totalvfs", "8\n"), ("sriov_numvfs", "0\n"), ("sriov_drivers_autoprobe", "1\n")] {
        capture.insert(format!("/sys/bus/pci/devices/{PHYSICAL}/{name}"), Entry::File(text.into()));
    }
    SimHost::new(capture)
}

fn seen(machine: &dyn Machine) -> Host {
    let mut capture = observe(machine, Scope::Runtime);
    capture.insert(SYSTEMD, Entry::Dir);
    Host::from_capture(capture)
}

fn operations(machine: &dyn Machine) -> Vec<Operation> {
    journal::operations(&seen(machine).capture).unwrap()
}

fn at(text: &str) -> PciAddress {
    text.parse().unwrap()
}

fn carry_out(sim: &SimHost, plan: &Plan, verb: Verb) {
    assert!(plan.refused.is_empty() && !plan.steps.is_empty(), "{:?}", plan.refused);
    apply(sim, plan, verb, &mut |_| {}).unwrap();
}

fn wish() -> Wish {
    Wish { addresses: vec![at(GPU)], program: "/usr/local/bin/cede".to_owned(), ..Wish::default() }
}

fn virtual_wish(sim: &SimHost) -> Wish {
    let addresses = runtime::virtual_of(&seen(sim), at(PHYSICAL)).map(|device| device.address).collect();
    Wish { addresses, virtual_of: Some((at(PHYSICAL), 3)), ..wish() }
}

/// Bound now and at every start.
fn persisting() -> SimHost {
    let sim = laptop();
    carry_out(&sim, &runtime::bind(&seen(&sim), &[at(GPU)], &[]).plan, Verb::Bind);
    carry_out(&sim, &persist::plan(&seen(&sim), &operations(&sim), &wish()), Verb::Persist);
    sim
}

/// As the unit does at a start.
fn draft_at_start(sim: &SimHost, intent: Intent<'_>) -> Draft {
    let addresses: Vec<PciAddress> = intent.devices().iter().map(|device| device.address).collect();
    intent.only_meant(&seen(sim), runtime::bind(&seen(sim), &addresses, &intent.operation.plan.accepted))
}

/// As the kernel does with what it finds.
fn give_groups(sim: &SimHost) {
    let found: Vec<PciAddress> = runtime::virtual_of(&seen(sim), at(PHYSICAL)).map(|device| device.address).collect();
    sim.others(|capture| {
        for (address, group) in found.iter().zip(90..) {
            capture.insert(format!("/sys/bus/pci/devices/{address}/iommu_group"), Entry::Link(format!("../x/iommu_groups/{group}")));
            capture.insert(format!("/sys/kernel/iommu_groups/{group}/devices/{address}"), Entry::Link("x".into()));
        }
    });
}

fn drivers(sim: &SimHost) -> Vec<String> {
    let host = seen(sim);
    ["0000:01:00.0", "0000:01:00.1"].map(|address| host.device(at(address)).unwrap().driver_name().unwrap_or("-").to_owned()).into()
}

fn said(draft: &Draft) -> Vec<&str> {
    draft.plan.refused.iter().map(|refusal| refusal.message.as_str()).collect()
}

#[test]
fn a_start_binds_what_was_bound_and_undo_ends_it() {
    let sim = persisting();
    let text = String::from_utf8(sim.snapshot().file(&unit(at(GPU))).unwrap().to_vec()).unwrap();
    assert!(
        text.contains("\nExecStart=/usr/local/bin/cede at-start 0000:01:00.0\n") && text.contains("\nBefore=network-pre.target "),
        "{text}"
    );
    assert!(persist::plan(&seen(&sim), &operations(&sim), &wish()).is_empty(), "nothing to do");
    sim.reboot();
    assert_eq!(drivers(&sim), ["nouveau", "snd_hda_intel"]);
    let list = operations(&sim);
    let intent = persist::of(&list, at(GPU)).unwrap();
    let later = |sim: &SimHost| verify(&seen(sim), &intent.operation.plan.expects, When::AfterReboot);
    assert!(!later(&sim).passed());
    assert_eq!(intent.awaited(&seen(&sim)), []);
    carry_out(&sim, &draft_at_start(&sim, intent).plan, Verb::Bind);
    assert_eq!(drivers(&sim), ["vfio-pci", "vfio-pci"]);
    assert!(later(&sim).passed() && later(&sim).outcomes.len() == 2);
    assert!(whereabouts::troubles(&seen(&sim), &operations(&sim)).is_empty());
    let plan = undo(&look_at_files(&sim, &list), &list, intent.operation).unwrap();
    carry_out(&sim, &plan, Verb::Undo(intent.operation.number));
    assert!(sim.snapshot().names_in("/etc/systemd/system").all(|name| !name.contains("cede")));
    assert!(persist::of(&operations(&sim), at(GPU)).is_none());
}

#[test]
fn a_driver_that_comes_late_is_waited_for() {
    let sim = persisting();
    sim.reboot();
    sim.others(|capture| {
        let path = "/sys/bus/pci/devices/0000:01:00.0/uevent";
        let text = String::from_utf8(capture.file(path).unwrap().to_vec()).unwrap().replace("DRIVER=nouveau\n", "");
        capture.insert(path, Entry::File(text.into_bytes()));
        capture.insert("/sys/bus/pci/devices/0000:01:00.0/driver", Entry::Absent);
    });
    let list = operations(&sim);
    assert_eq!(persist::of(&list, at(GPU)).unwrap().awaited(&seen(&sim)), [at(GPU)]);
}

#[test]
fn nothing_is_bound_to_a_stranger_and_undo_works_all_the_same() {
    let sim = persisting();
    sim.reboot();
    let list = operations(&sim);
    let intent = persist::of(&list, at(GPU)).unwrap();
    // Another card came to the address.
    sim.others(|capture| {
        for name in ["uevent", "device"] {
            let path = format!("/sys/bus/pci/devices/{GPU}/{name}");
            let Some(bytes) = capture.file(&path) else { continue };
            let text = String::from_utf8(bytes.to_vec()).unwrap().replace("1F91", "1F92").replace("1f91", "1f92");
            capture.insert(path, Entry::File(text.into_bytes()));
        }
    });
    let draft = draft_at_start(&sim, intent);
    assert!(draft.plan.steps.is_empty() && draft.plan.refused.iter().all(|refusal| refusal.id == "another-device"), "{:?}", said(&draft));
    assert!(said(&draft)[0].starts_with("0000:01:00.0 was the TU117M") && said(&draft)[0].contains("it is gone"), "{:?}", said(&draft));
    assert_eq!(whereabouts::troubles(&seen(&sim), &list), [intent.moved(&seen(&sim))[0].message.clone()]);
    let plan = undo(&look_at_files(&sim, &list), &list, intent.operation).unwrap();
    carry_out(&sim, &plan, Verb::Undo(intent.operation.number));
    assert!(!sim.snapshot().is_there(&unit(at(GPU))));
}

#[test]
fn what_joined_the_group_since_stops_it() {
    let sim = persisting();
    sim.reboot();
    let list = operations(&sim);
    let intent = persist::of(&list, at(GPU)).unwrap();
    let group = seen(&sim).device(at(GPU)).unwrap().iommu_group.unwrap();
    sim.others(|capture| {
        let uevent = "PCI_CLASS=20000\nPCI_ID=8086:10D3\nPCI_SUBSYS_ID=8086:0000\n";
        capture.insert("/sys/bus/pci/devices/0000:01:00.2/uevent", Entry::File(uevent.into()));
        capture.insert("/sys/bus/pci/devices/0000:01:00.2/iommu_group", Entry::Link(format!("../x/iommu_groups/{group}")));
        capture.insert(format!("/sys/kernel/iommu_groups/{group}/devices/0000:01:00.2"), Entry::Link("x".into()));
    });
    let draft = draft_at_start(&sim, intent);
    let wanted = format!(
        "0000:01:00.2 [8086:10d3] was not among what is bound at every start: `sudo cede undo {}`, then `sudo cede bind 0000:01:00.2 --persist`",
        intent.operation.number
    );
    assert!(draft.plan.steps.is_empty() && said(&draft) == [wanted.as_str()], "{:?}", said(&draft));
}

#[test]
fn virtual_functions_are_made_and_bound_again() {
    let sim = laptop();
    let make = |sim: &SimHost| runtime::make_virtual(&seen(sim), at(PHYSICAL), 3).plan;
    carry_out(&sim, &make(&sim), Verb::Bind);
    give_groups(&sim);
    carry_out(&sim, &runtime::bind(&seen(&sim), &virtual_wish(&sim).addresses, &[]).plan, Verb::Bind);
    carry_out(&sim, &persist::plan(&seen(&sim), &operations(&sim), &virtual_wish(&sim)), Verb::Persist);
    sim.reboot();
    sim.others(|capture| {
        for (name, text) in [("sriov_numvfs", "0\n"), ("sriov_drivers_autoprobe", "1\n")] {
            capture.insert(format!("/sys/bus/pci/devices/{PHYSICAL}/{name}"), Entry::File(text.into()));
        }
    });
    let list = operations(&sim);
    let intent = persist::of(&list, at(PHYSICAL)).unwrap();
    assert_eq!(intent.virtual_of().map(|(physical, count)| (physical.address, count)), Some((at(PHYSICAL), 3)));
    assert!(intent.is_within(&[at(PHYSICAL)]) && !intent.is_within(&[intent.devices()[0].address]));
    assert!(whereabouts::troubles(&seen(&sim), &list).is_empty(), "virtual functions that are not made yet are no trouble");
    let made = intent.only_meant(&seen(&sim), runtime::make_virtual(&seen(&sim), at(PHYSICAL), 3)).plan;
    carry_out(&sim, &made, Verb::Bind);
    give_groups(&sim);
    carry_out(&sim, &draft_at_start(&sim, intent).plan, Verb::Bind);
    assert!(verify(&seen(&sim), &intent.operation.plan.expects, When::AfterReboot).passed());
    // A disk of the same kind as none of them.
    let other = runtime::bind(&seen(&sim), &[at(GPU)], &[]);
    assert!(intent.only_meant(&seen(&sim), other).plan.steps.is_empty());
}

#[test]
fn a_unit_that_could_not_do_it_is_not_written() {
    let sim = laptop();
    let refused = |host: &Host, list: &[Operation], wish: &Wish| {
        let plan = persist::plan(host, list, wish);
        assert!(plan.steps.is_empty());
        plan.refused.first().unwrap_or_else(|| panic!("not refused")).id
    };
    assert_eq!(refused(&seen(&sim), &[], &wish()), "not-bound");
    carry_out(&sim, &runtime::bind(&seen(&sim), &[at(GPU)], &[]).plan, Verb::Bind);
    for program in ["cede", "/home/a b/cede", "/usr/bin/ce%de", "/usr/bin/$cede"] {
        assert_eq!(refused(&seen(&sim), &[], &Wish { program: program.to_owned(), ..wish() }), "unit-program");
    }
    assert_eq!(refused(&Host::from_capture(observe(&sim, Scope::Runtime)), &[], &wish()), "no-systemd");
    for entry in [Entry::File(b"[Unit]\n".to_vec()), Entry::Unreadable("EACCES".to_owned()), Entry::Dir] {
        let mut host = seen(&sim);
        host.capture.insert(unit(at(GPU)), entry);
        assert_eq!(refused(&host, &operations(&sim), &wish()), "unit-there");
    }
    // Files of ours that no operation in force wrote.
    let plan = persist::plan(&seen(&sim), &operations(&sim), &wish());
    let mut host = seen(&sim);
    for step in &plan.steps {
        let cede_plan::Step::ReplaceFile { path, after: Some(text), .. } = step else { panic!("{step:?}") };
        host.capture.insert(path.clone(), Entry::File(text.clone()));
    }
    assert_eq!(refused(&host, &operations(&sim), &wish()), "unit-there");
    carry_out(&sim, &plan, Verb::Persist);
    let audio = Wish { program: "/usr/bin/cede".to_owned(), ..wish() };
    assert_eq!(refused(&seen(&sim), &operations(&sim), &audio), "unit-there");
}

#[test]
fn files_that_came_meanwhile_stop_it() {
    let sim = laptop();
    carry_out(&sim, &runtime::bind(&seen(&sim), &[at(GPU)], &[]).plan, Verb::Bind);
    let plan = persist::plan(&seen(&sim), &operations(&sim), &wish());
    sim.others(|capture| capture.insert(unit(at(GPU)), Entry::File(b"mine\n".to_vec())));
    assert!(matches!(apply(&sim, &plan, Verb::Persist, &mut |_| {}), Err(ApplyError::HostChanged(_))));
    assert_eq!(sim.snapshot().file(&unit(at(GPU))), Some(b"mine\n".as_slice()));
}
