//! Every function of four real boards: a plan that holds together, or a refusal that says what to do.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Capture, Entry, Host, capture_text};
use cede_plan::intent::BindMethod::Cmdline;
use cede_plan::plan::{Plan, format};
use support::machine::{Loader, Machine};
use support::{applied, assert_tells_what_to_do, plan_on};

const BOARDS: [(&str, &str); 4] = [
    ("hp-omen-obelisk-i7-8700", include_str!("../../../fixtures/hosts/hp-omen-obelisk-i7-8700/host.capture")),
    ("gigabyte-x570-aorus-master", include_str!("../../../fixtures/hosts/gigabyte-x570-aorus-master/host.capture")),
    ("asus-wrx80e-sage", include_str!("../../../fixtures/hosts/asus-wrx80e-sage/host.capture")),
    ("acer-alder-lake-vmd", include_str!("../../../fixtures/hosts/acer-alder-lake-vmd/host.capture")),
];

/// The board with the boot configuration of another machine.
fn board(text: &str, machine: Machine, groups: bool) -> Capture {
    let mut capture = capture_text::parse(text).unwrap();
    let is_group = |path: &str| path.ends_with("/iommu_group") || path.starts_with("/sys/kernel/iommu_groups");
    let gone: Vec<String> = capture.entries().map(|(path, _)| path.to_owned()).filter(|path| !groups && is_group(path)).collect();
    for path in gone {
        capture.remove(&path);
    }
    let own =
        machine.capture.entries().filter(|(path, _)| !path.starts_with("/sys/bus/pci/") && !path.starts_with("/sys/kernel/iommu_groups"));
    capture.extend(own.map(|(path, entry)| (path.to_owned(), entry.clone())));
    capture
}

fn assert_sound(name: &str, host: &Host, plan: &Plan, address: &str) {
    assert!(plan.refused.is_empty(), "{name} {address}: {:?}", plan.refused);
    let done = applied(&host.capture, &plan.steps);
    let again = plan_on(&done, &[address], Cmdline);
    assert!(again.is_empty(), "{name} {address}: {:?}", again.refused);
    assert_eq!(format::parse(&format::render(plan)).unwrap(), *plan, "{name} {address}");
    for group in plan.devices.iter().filter_map(|identity| host.group_of(identity.address)) {
        for member in &group.devices {
            let is_noted = plan.notes.iter().any(|note| note.contains("behind Intel VMD") && note.contains(&member.to_string()));
            let known = is_noted || plan.devices.iter().any(|identity| identity.address == *member) || plan.stays.contains(member);
            assert!(known, "{name} {address}: {member} of its group is not spoken of");
        }
    }
}

#[test]
fn what_is_behind_vmd_goes_with_its_endpoint_and_is_not_bound() {
    let mut capture = board(BOARDS[3].1, Machine::arch(Loader::Grub), true);
    let mounted = |text: &str| Entry::File(format!("29 1 {text}\n").into_bytes());
    capture.insert("/proc/self/mountinfo", mounted("0:25 / / rw - tmpfs none rw"));
    let plan = plan_on(&capture, &["00:0e.0"], Cmdline);
    let ceded: Vec<String> = plan.devices.iter().map(|identity| identity.address.to_string()).collect();
    assert_eq!((ceded, plan.stays.len(), plan.refused.len()), (vec!["0000:00:0e.0".to_owned()], 0, 0), "{:?}", plan.refused);
    assert!(plan.notes.iter().any(|note| note.contains("10000:e1:00.0, 10000:e2:00.0")), "{:?}", plan.notes);
    assert!(plan_on(&capture, &["00:0e.0", "10000:e2:00.0"], Cmdline).refused.is_empty());
    let alone = plan_on(&capture, &["10000:e1:00.0"], Cmdline);
    assert_tells_what_to_do(&alone);
    assert!(alone.refused[0].message.contains("name 0000:00:0e.0"), "{:?}", alone.refused);
    let disk = "../../devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0/nvme/nvme0/nvme0n1";
    capture.insert("/sys/class/block/nvme0n1", Entry::Link(disk.to_owned()));
    capture.insert("/sys/class/block/nvme0n1/dev", Entry::File(b"259:0\n".to_vec()));
    capture.insert("/proc/self/mountinfo", mounted("259:0 / / rw - ext4 /dev/nvme0n1 rw"));
    let lost = plan_on(&capture, &["00:0e.0"], Cmdline);
    assert_eq!(lost.refused[0].id, "root-disk");
    assert!(lost.refused[0].message.starts_with("0000:00:0e.0 vmd → nvme0n1 → /"), "{:?}", lost.refused);
}

#[test]
fn every_function_is_planned_or_refused_with_reason() {
    for (name, text) in BOARDS {
        let mut planned = 0;
        for (machine, groups) in
            [(Machine::arch(Loader::Grub), true), (Machine::debian(), false), (Machine::arch(Loader::SystemdBoot), false)]
        {
            let capture = board(text, machine, groups);
            let host = Host::from_capture(capture);
            for device in &host.devices {
                let address = device.address.to_string();
                let plan = plan_on(&host.capture, &[&address], Cmdline);
                if plan.refused.is_empty() {
                    planned += 1;
                    assert_sound(name, &host, &plan, &address);
                } else {
                    assert!(plan.steps.is_empty(), "{name} {address}");
                    assert_tells_what_to_do(&plan);
                }
            }
        }
        // The functions of the Acer have made-up ids, so that most are twins.
        assert!(planned > 5, "{name}: only {planned} plans");
    }
}
