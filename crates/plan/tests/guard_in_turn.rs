//! Functions given away one after the other, without a start in between: what the later one is judged by is what the next start will find.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Entry, Host};
use cede_plan::guard::{Loss, costs, losses};
use cede_plan::intent::{BindMethod, Identity};
use cede_plan::planner::plan_accepting;
use cede_plan::{Plan, Step};
use support::at;
use support::machine::{Loader, Machine};
use support::pci::Function;
use support::stack::{NVME, Stack};

const USB: &str = "00:14.0";
const FIRST: &str = "05:00.0";
const SECOND: &str = "06:00.0";

/// The laptop with two cards of a kind, each with ids of its own.
fn cards(class: u32, driver: &'static str) -> Machine {
    let card = |address: &'static str, device| Function::new(address, "pci0000:00/0000:00:1d.1", (0x8086, device), class).driver(driver);
    let machine = Machine::arch(Loader::Grub).functions(&[card("0000:05:00.0", 0x1533), card("0000:06:00.0", 0x1539)]);
    machine.text("/proc/self/mountinfo", "28 1 0:20 / / rw - tmpfs x rw\n").text("/proc/swaps", "")
}

/// The machine once a function is to go at the next start.
fn after(machine: &Machine, address: &str, bind: BindMethod) -> Machine {
    let plan = plan_accepting(&Host::from_capture(machine.capture.clone()), &[at(address)], bind, &Loss::ALL);
    assert!(plan.refused.is_empty() && !plan.steps.is_empty(), "{:?}", plan.refused);
    written(machine, &plan)
}

fn written(machine: &Machine, plan: &Plan) -> Machine {
    let mut machine = machine.clone();
    for step in &plan.steps {
        if let Step::ReplaceFile { path, after, .. } = step {
            machine.capture.insert(path.as_str(), after.clone().map_or(Entry::Absent, Entry::File));
        }
    }
    machine
}

fn identity(host: &Host, address: &str) -> Identity {
    Identity::of(host.device(at(address)).unwrap()).unwrap()
}

fn lost(machine: &Machine, address: &str) -> Vec<String> {
    let host = Host::from_capture(machine.capture.clone());
    losses(&host, &[identity(&host, address)]).into_iter().map(|lost| format!("{} {}", lost.loss.id(), lost.way)).collect()
}

fn notes(machine: &Machine, address: &str) -> Vec<String> {
    let host = Host::from_capture(machine.capture.clone());
    costs(&host, &[identity(&host, address)])
}

const BINDS: [BindMethod; 3] = [BindMethod::Cmdline, BindMethod::Modprobe, BindMethod::Override];

#[test]
fn the_second_half_of_a_mirror_is_the_whole_of_it() {
    let root = "28 1 9:0 / / rw - ext4 /dev/md0 rw";
    let mirror = || Stack::new().md("md0", "9:0", "raid1", &["nvme0n1p2", "sda1"]).mounted(&[root]).0;
    assert_eq!(lost(&mirror(), NVME), ["redundancy 0000:02:00.0 nvme → nvme0n1p2 → RAID md0 → /"]);
    for bind in BINDS {
        let told = after(&mirror(), "00:17.0", bind);
        let whole = "root-disk 0000:02:00.0 nvme → nvme0n1p2 → RAID md0 → / (0000:00:17.0 ahci goes at the next start already)";
        assert_eq!(lost(&told, NVME), [whole], "{bind:?}");
        assert_eq!(lost(&told, USB), Vec::<String>::new(), "what goes already is not asked for again");
    }
    let three = Stack::new().md("md0", "9:0", "raid1", &["nvme0n1p2", "sda1", "sdu1"]).disk("sdu1", "65:65", support::stack::USB_PATH);
    let three = after(&three.mounted(&[root]).0, "00:17.0", BindMethod::Cmdline);
    assert_eq!(lost(&three, NVME), ["redundancy 0000:02:00.0 nvme → nvme0n1p2 → RAID md0 → /"]);
}

/// A bond of both cards, or each card alone, and these default routes.
fn network(bond: bool, routes: &[(&str, u32)]) -> Machine {
    let mut machine = cards(0x02_0000, "igb");
    for (name, address) in [("eth0", FIRST), ("eth1", SECOND)] {
        let path = format!("../../devices/pci0000:00/0000:00:1d.1/0000:{address}/net/{name}");
        machine = machine.link(&format!("/sys/class/net/{name}"), &path).text(&format!("/sys/class/net/{name}/operstate"), "up\n");
        if bond {
            machine = machine.link(&format!("/sys/class/net/bond0/lower_{name}"), "x");
        }
    }
    if bond {
        machine = machine.link("/sys/class/net/bond0", "../../devices/virtual/net/bond0");
        machine = machine.text("/sys/class/net/bond0/uevent", "DEVTYPE=bond\n");
    }
    let lines: String =
        routes.iter().map(|(name, metric)| format!("{name}\t00000000\t0101A8C0\t0003\t0\t0\t{metric}\t00000000\t0\n")).collect();
    machine.text("/proc/net/route", &format!("Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n{lines}"))
}

#[test]
fn the_last_way_to_the_network_is_lost_however_many_there_were() {
    let bonded = network(true, &[("bond0", 0)]);
    assert_eq!(lost(&bonded, FIRST), Vec::<String>::new());
    let told = after(&bonded, SECOND, BindMethod::Cmdline);
    let goes = "(0000:06:00.0 igb goes at the next start already)";
    assert_eq!(lost(&told, FIRST), [format!("network-route 0000:05:00.0 igb → eth0 → bond bond0 → the default route {goes}")]);
    assert_eq!((notes(&told, FIRST), lost(&told, USB)), (vec![], vec![]));
    let two = network(false, &[("eth0", 100), ("eth1", 600)]);
    assert_eq!(lost(&two, SECOND), Vec::<String>::new());
    let told = after(&two, FIRST, BindMethod::Cmdline);
    assert_eq!(lost(&told, SECOND), ["network-route 0000:06:00.0 igb → eth1 → the default route"]);
    assert_eq!(lost(&told, USB), Vec::<String>::new());
    let host = Host::from_capture(after(&two, SECOND, BindMethod::Cmdline).capture);
    let first = losses(&host, &[identity(&host, FIRST)]);
    assert!(first[0].advice.contains("give the host another way first"), "{}", first[0].advice);
}

#[test]
fn the_keyboard_that_goes_already_is_no_other_keyboard() {
    let keys = "1000000000007 ff9f207ac14057ff febeffdfffefffff fffffffffffffffe";
    let block = |path: &str| format!("I: Bus=0003\nN: Name=\"Model M\"\nS: Sysfs=/devices/{path}/input/input5\nB: KEY={keys}\n\n");
    let paths = ["pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0", "pci0000:00/0000:00:1d.1/0000:05:00.0/usb3/3-1/3-1:1.0"];
    let machine = cards(0x0c_0330, "xhci_hcd").text("/proc/bus/input/devices", &paths.map(block).concat());
    assert_eq!(lost(&machine, USB), Vec::<String>::new());
    // Kernels here have the driver built in, so nothing of cede's tells vfio-pci.
    let by_owner = |machine: &Machine, ids: &str| {
        machine.clone().text("/etc/default/grub", &format!("GRUB_CMDLINE_LINUX_DEFAULT=\"quiet vfio-pci.ids={ids}\"\n"))
    };
    let told = by_owner(&machine, "8086:1533");
    assert_eq!(lost(&told, USB), ["last-keyboard 0000:00:14.0 xhci_hcd → Model M → the last keyboard"]);
    assert_eq!(lost(&told, SECOND), Vec::<String>::new());
    let bare = by_owner(&cards(0x0c_0330, "xhci_hcd"), "8086:1533,8086:1539");
    assert!(notes(&bare, USB)[0].contains("0000:00:14.0 xhci_hcd is the last USB controller"), "{:?}", notes(&bare, USB));
}

#[test]
fn a_display_that_goes_by_its_address_does_not_stay() {
    let machine = after(&cards(0x02_0000, "igb"), "01:00.0", BindMethod::Override);
    assert_eq!(lost(&machine, "00:02.0"), ["only-display 0000:00:02.0 i915 → the only display of this host"]);
}
