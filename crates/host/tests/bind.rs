//! Functions change their drivers on the simulated host: there and back, with every effect failing, with others at work meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_host::apply::{Applied, ApplyError, apply, recover};
use cede_host::{Machine, ReadHost, Scope, SimHost, observe};
use cede_model::pci::PciAddress;
use cede_model::{Capture, Entry, Host, capture_text};
use cede_plan::Plan;
use cede_plan::guard::Loss;
use cede_plan::handoff::{Options, TARGETS, handoff};
use cede_plan::hook::{self, HookWish};
use cede_plan::journal::{self, End, Operation, Verb};
use cede_plan::runtime::{self, Draft};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::faulty::Faulty;

const LAPTOP: &str = include_str!("../../../fixtures/hosts/arch-gtx1650-laptop/host.capture");
const GPU: &str = "0000:01:00.0";
const PHYSICAL: &str = "0000:02:00.0";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The laptop with its IOMMU on, and what the drivers of its card show.
fn laptop() -> SimHost {
    let mut capture = capture_text::parse(LAPTOP).unwrap();
    let grub = String::from_utf8(capture.file("/etc/default/grub").unwrap().to_vec()).unwrap();
    capture.insert("/etc/default/grub", Entry::File(grub.replace("quiet", "quiet intel_iommu=on").into_bytes()));
    let way = "../../devices/pci0000:00/0000:00:01.0/0000:01:00";
    for (number, target, name) in [("226:1", ".0/drm/card1", "dri/card1"), ("116:9", ".1/sound/card1/controlC1", "snd/controlC1")] {
        capture.insert(format!("/sys/dev/char/{number}"), Entry::Link(format!("{way}{target}")));
        capture.insert(format!("/sys/dev/char/{number}/uevent"), Entry::File(format!("DEVNAME={name}\n").into_bytes()));
    }
    for (name, text) in [("sriov_totalvfs", "8\n"), ("sriov_numvfs", "0\n"), ("sriov_drivers_autoprobe", "1\n")] {
        capture.insert(format!("/sys/bus/pci/devices/{PHYSICAL}/{name}"), Entry::File(text.into()));
    }
    SimHost::new(capture)
}

fn seen(machine: &dyn Machine) -> Host {
    Host::from_capture(observe(machine, Scope::Runtime))
}

fn operations(machine: &dyn Machine) -> Vec<Operation> {
    journal::operations(&seen(machine).capture).unwrap()
}

fn at(text: &str) -> PciAddress {
    text.parse().unwrap()
}

fn draft(machine: &dyn Machine, verb: Verb) -> Draft {
    match verb {
        Verb::Bind if makes(machine) => runtime::make_virtual(&seen(machine), at(PHYSICAL), 3),
        Verb::Undo(_) if makes(machine) => runtime::make_virtual(&seen(machine), at(PHYSICAL), 0),
        Verb::Bind => runtime::bind(&seen(machine), &[at(GPU)], &[]),
        _ => runtime::release(&seen(machine), &[at(GPU)], &operations(machine)),
    }
}

/// Of a host with this mark, virtual functions are spoken of.
fn makes(machine: &dyn Machine) -> bool {
    matches!(machine.read("/run/makes", 1), Entry::File(_))
}

fn carry_out(machine: &dyn Machine, verb: Verb) -> Result<Applied, ApplyError> {
    let Draft { plan, .. } = draft(machine, verb);
    assert!(plan.refused.is_empty() && !plan.steps.is_empty(), "{:?}", plan.refused);
    apply(machine, &plan, verb, &mut |_| {})
}

/// Everything but our own state, and whether vfio-pci is loaded.
fn state(sim: &SimHost) -> Capture {
    let mut capture = Capture::new();
    let all = sim.snapshot();
    let ours = |path: &str| path.starts_with("/var/lib/cede/") || path.starts_with("/sys/bus/pci/drivers/vfio-pci") || path == BOOT_ID;
    all.entries().filter(|(path, _)| !ours(path)).for_each(|(path, entry)| capture.insert(path, entry.clone()));
    capture
}

fn drivers(sim: &SimHost) -> Vec<(String, Option<String>)> {
    let host = seen(sim);
    let of = |address: &str| {
        host.device(at(address)).map(|device| (device.driver_name().unwrap_or("-").to_owned(), device.driver_override.clone()))
    };
    ["0000:01:00.0", "0000:01:00.1"].iter().filter_map(|address| of(address)).collect()
}

fn on_vfio() -> Vec<(String, Option<String>)> {
    vec![("vfio-pci".to_owned(), Some("vfio-pci".to_owned())); 2]
}

#[test]
fn the_whole_group_goes_and_comes_back() {
    let sim = laptop();
    let before = state(&sim);
    let plan = draft(&sim, Verb::Bind).plan;
    let writes: Vec<String> = plan
        .steps
        .iter()
        .map(|step| match step {
            cede_plan::Step::WriteAttribute { path, after, .. } => format!("{after} > {}", path.trim_start_matches("/sys/bus/pci/")),
            other => other.argv().unwrap().join(" "),
        })
        .collect();
    assert_eq!(
        writes,
        [
            "/sbin/modprobe -- vfio_pci",
            "vfio-pci > devices/0000:01:00.0/driver_override",
            "0000:01:00.0 > drivers/nouveau/unbind",
            "0000:01:00.0 > drivers/vfio-pci/bind",
            "vfio-pci > devices/0000:01:00.1/driver_override",
            "0000:01:00.1 > drivers/snd_hda_intel/unbind",
            "0000:01:00.1 > drivers/vfio-pci/bind",
        ]
    );
    let bound = carry_out(&sim, Verb::Bind).unwrap();
    assert_eq!((bound.number, drivers(&sim)), (1, on_vfio()));
    assert!(draft(&sim, Verb::Bind).plan.is_empty(), "nothing to do");
    let list = operations(&sim);
    let boot_id = seen(&sim).capture.attribute(BOOT_ID).map(str::to_owned);
    assert_eq!(journal::standing(&list, &list[0], boot_id.as_deref()), "until the reboot");
    let released = carry_out(&sim, Verb::Release).unwrap();
    assert!(released.proof.passed());
    let proved: Vec<&str> = released.proof.outcomes.iter().map(|outcome| outcome.what.as_str()).collect();
    assert!(proved.contains(&"0000:01:00.0 [10de:1f91] has a card below /dev/dri"), "{proved:?}");
    assert!(proved.contains(&"0000:01:00.1 [10de:10fa] has a sound card"), "{proved:?}");
    assert!(state(&sim) == before, "everything is as it was");
    let list = operations(&sim);
    assert_eq!(journal::standing(&list, &list[0], boot_id.as_deref()), "released");
    assert!(draft(&sim, Verb::Release).plan.is_empty(), "nothing to do");
}

#[test]
fn an_undo_is_a_release_and_a_reboot_leaves_nothing() {
    let sim = laptop();
    let before = state(&sim);
    carry_out(&sim, Verb::Bind).unwrap();
    carry_out(&sim, Verb::Undo(1)).unwrap();
    assert!(state(&sim) == before);
    carry_out(&sim, Verb::Bind).unwrap();
    sim.reboot();
    assert!(state(&sim) == before, "the kernel forgets overrides");
    let (list, host) = (operations(&sim), seen(&sim));
    let boot_id = host.capture.attribute(BOOT_ID);
    assert_eq!(journal::standing(&list, &list[2], boot_id), "over since the reboot");
    assert!(runtime::held(&list, boot_id).is_empty() && journal::interrupted(&list, boot_id).is_none());
    carry_out(&sim, Verb::Bind).unwrap();
}

#[test]
fn holders_are_named_and_nothing_is_written() {
    let sim = laptop();
    let open = |pid: u32, name: &str, file: &str| {
        sim.others(|capture| {
            capture.insert(format!("/proc/{pid}/fd/7"), Entry::Link(file.to_owned()));
            capture.insert(format!("/proc/{pid}/comm"), Entry::File(format!("{name}\n").into_bytes()));
        });
    };
    open(901, "Xorg", "/dev/dri/card1");
    open(77, "pipewire", "/dev/snd/controlC1");
    open(5, "editor", "/home/x/notes");
    let Draft { plan, holders } = draft(&sim, Verb::Bind);
    let said: Vec<&str> = plan.refused.iter().map(|refusal| refusal.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "0000:01:00.0 nouveau → /dev/dri/card1: open in Xorg (pid 901): `systemctl stop display-manager` ends the desktop first",
            "0000:01:00.1 snd_hda_intel → /dev/snd/controlC1: open in pipewire (pid 77): `systemctl --user stop pipewire.socket pipewire wireplumber` as its user first",
        ]
    );
    assert!(holders.len() == 2 && plan.steps.is_empty());
    for pid in [901, 77] {
        sim.others(|capture| _ = capture.remove(&format!("/proc/{pid}/fd/7")));
    }
    // A guest has the group now: nothing goes back, and nothing hangs.
    let plan = draft(&sim, Verb::Bind).plan;
    apply(&sim, &plan, Verb::Bind, &mut |_| {}).unwrap();
    let group = seen(&sim).device(at(GPU)).unwrap().iommu_group.unwrap();
    open(4242, "qemu-system-x86", &format!("/dev/vfio/{group}"));
    let said = draft(&sim, Verb::Release).plan.refused[0].message.clone();
    assert!(said.contains(&format!("/dev/vfio/{group}: open in qemu-system-x86 (pid 4242): shut its guest down first")), "{said}");
    assert_eq!(drivers(&sim), on_vfio());
}

/// A machine on which a process in a container has the card open by a name of the container's own.
struct Container(SimHost);

impl ReadHost for Container {
    fn read(&self, path: &str, limit: usize) -> Entry {
        self.0.read(path, limit)
    }
    fn read_head(&self, path: &str, limit: usize) -> Entry {
        self.0.read_head(path, limit)
    }
    fn probe(&self, path: &str) -> Entry {
        self.0.probe(path)
    }
    fn read_link(&self, path: &str) -> Entry {
        self.0.read_link(path)
    }
    fn list(&self, path: &str) -> Result<Vec<String>, Entry> {
        self.0.list(path)
    }
    fn device_number(&self, path: &str) -> Option<String> {
        (path == "/proc/901/fd/7").then(|| "char/226:1".to_owned())
    }
}

#[test]
fn a_holder_in_a_container_is_known_by_the_number_of_the_node() {
    let sim = laptop();
    sim.others(|capture| {
        capture.insert("/proc/901/fd/7", Entry::Link("/gpu/render".to_owned()));
        capture.insert("/proc/901/fd/8", Entry::Link("/gpu/other".to_owned()));
        capture.insert("/proc/901/comm", Entry::File(b"miner\n".to_vec()));
    });
    assert_eq!(draft(&sim, Verb::Bind).plan.refused, [], "its name says nothing");
    let host = Host::from_capture(observe(&Container(sim), Scope::Runtime));
    let refused = runtime::bind(&host, &[at(GPU)], &[]).plan.refused;
    assert!(refused.len() == 1 && refused[0].message.contains("/dev/dri/card1: open in miner (pid 901)"), "{refused:?}");
}

#[test]
fn an_interface_that_a_container_has_is_in_use() {
    let sim = laptop();
    sim.others(|capture| capture.insert(format!("/sys/bus/pci/devices/{GPU}/net"), Entry::Dir));
    let refused = draft(&sim, Verb::Bind).plan.refused;
    assert!(refused.len() == 1 && refused[0].message.contains("in another network namespace"), "{refused:?}");
    sim.others(|capture| {
        capture.insert(format!("/sys/bus/pci/devices/{GPU}/net/enp1s0"), Entry::Dir);
        capture.insert("/sys/class/net/enp1s0", Entry::Link("../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/net/enp1s0".into()));
    });
    assert_eq!(draft(&sim, Verb::Bind).plan.refused, [], "here it has no address");
}

#[test]
fn a_disk_in_use_is_not_given_away_whatever_is_accepted() {
    let sim = laptop();
    let disk = at("0000:02:00.0");
    let plan = runtime::bind(&seen(&sim), &[disk], &[Loss::RootDisk, Loss::BootDisk]).plan;
    let said: Vec<(&str, &str)> = plan.refused.iter().map(|refusal| (refusal.id, refusal.message.as_str())).collect();
    assert!(said.iter().any(|(id, message)| *id == "root-disk" && message.starts_with("0000:02:00.0 nvme → nvme0n1")), "{said:?}");
}

#[test]
fn what_changed_since_the_plan_stops_it() {
    let plan_of = |sim: &SimHost| draft(sim, Verb::Bind).plan;
    let refused = |sim: &SimHost, plan: &Plan| {
        let before = state(sim);
        let error = apply(sim, plan, Verb::Bind, &mut |_| {}).unwrap_err();
        assert!(state(sim) == before && operations(sim).is_empty(), "{error}");
        error
    };
    // A device joins the group, with a driver of its own.
    let sim = laptop();
    let plan = plan_of(&sim);
    let group = seen(&sim).device(at(GPU)).unwrap().iommu_group.unwrap();
    sim.others(|capture| {
        let uevent = "DRIVER=e1000e\nPCI_CLASS=20000\nPCI_ID=8086:10D3\nPCI_SUBSYS_ID=8086:0000\n";
        capture.insert("/sys/bus/pci/devices/0000:01:00.2/uevent", Entry::File(uevent.into()));
        capture.insert("/sys/bus/pci/devices/0000:01:00.2/iommu_group", Entry::Link(format!("../x/iommu_groups/{group}")));
        capture.insert(format!("/sys/kernel/iommu_groups/{group}/devices/0000:01:00.2"), Entry::Link("x".into()));
        ["bind", "unbind"].iter().for_each(|name| capture.insert(format!("/sys/bus/pci/drivers/e1000e/{name}"), Entry::Present(1)));
    });
    assert!(matches!(refused(&sim, &plan), ApplyError::HostChanged(_)));
    // Somebody comes to use it.
    let sim = laptop();
    let plan = plan_of(&sim);
    sim.others(|capture| capture.insert("/proc/9/fd/1", Entry::Link("/dev/dri/card1".into())));
    assert!(matches!(refused(&sim, &plan), ApplyError::Unchanged(_)));
    // Its driver is another one by now.
    let sim = laptop();
    let plan = plan_of(&sim);
    sim.write_attribute("/sys/bus/pci/drivers/nouveau/unbind", GPU).unwrap();
    assert!(matches!(refused(&sim, &plan), ApplyError::HostChanged(_)));
}

#[test]
fn a_guest_that_has_a_hook_is_handed_the_devices_without_a_reboot() {
    let sim = laptop();
    let mut capture = observe(&sim, Scope::Runtime);
    capture.insert(hook::LIBVIRT, Entry::Dir);
    let wish = HookWish { domain: "win 11".into(), addresses: vec![at(GPU)], program: "/usr/bin/cede".into(), ..HookWish::default() };
    let plan = hook::plan(&Host::from_capture(capture), &wish);
    assert!(plan.refused.is_empty(), "{:?}", plan.refused);
    apply(&sim, &plan, Verb::Hook, &mut |_| {}).unwrap();
    let to = |name: &str| {
        let target = TARGETS.iter().find(|target| target.name() == name).unwrap();
        handoff(&seen(&sim), &[at(GPU)], *target, &Options::default())
    };
    let text = to("libvirt").unwrap().text;
    assert!(text.text.contains("managed='yes'") && !text.notes.concat().contains("reboot"), "{text:?}");
    let refused = to("qemu").unwrap_err();
    assert!(refused.iter().all(|refusal| refusal.id == "not-ceded"), "nothing is bound at the next start: {refused:?}");
}

/// An operation, and the host before and after it.
struct Story {
    start: fn() -> SimHost,
    verb: Verb,
    old: Capture,
    new: Capture,
    effects: usize,
}

impl Story {
    fn new(start: fn() -> SimHost, verb: Verb) -> Self {
        let sim = start();
        let old = state(&sim);
        let machine = Faulty { sim, count: AtomicUsize::new(0), at: usize::MAX, cut: false, done_first: false };
        carry_out(&machine, verb).unwrap();
        let effects = machine.count.load(Ordering::SeqCst);
        let new = state(&machine.sim);
        assert!(effects > 8 && old != new);
        Self { start, verb, old, new, effects }
    }

    fn landed(&self, sim: &SimHost, about: &str) -> bool {
        let now = state(sim);
        assert!(now == self.old || now == self.new, "{about}: neither old nor new: {:?}", drivers(sim));
        now == self.new
    }

    fn try_one(&self, at: usize, (cut, done_first): (bool, bool)) -> bool {
        let about = format!("{:?} at {at}, cut: {cut}, done first: {done_first}", self.verb);
        let machine = Faulty { sim: (self.start)(), count: AtomicUsize::new(0), at, cut, done_first };
        let result = carry_out(&machine, self.verb);
        match &result {
            Ok(_) => assert!(self.landed(&machine.sim, &about), "{about}"),
            Err(ApplyError::PartlyChanged { .. }) => assert!(cut, "{about}: {result:?}"),
            Err(_) => assert!(!self.landed(&machine.sim, &about), "{about}: {result:?}"),
        }
        // Instead of recovering, the machine may be started anew.
        let rebooted = SimHost::new(machine.sim.snapshot());
        rebooted.reboot();
        let host = seen(&rebooted);
        let list = journal::operations(&host.capture).unwrap();
        assert!(journal::interrupted(&list, host.capture.attribute(BOOT_ID)).is_none(), "{about}");
        recover(&machine.sim, &mut |_| {}).unwrap();
        let list = operations(&machine.sim);
        assert!(journal::interrupted(&list, None).is_none(), "{about}");
        let new = self.landed(&machine.sim, &about);
        let says_new = list.last().is_some_and(|operation| operation.verb == self.verb && operation.end == Some(End::Applied));
        assert_eq!(says_new, new, "{about}: the journal says otherwise");
        new
    }

    fn try_all(&self) {
        let mut landed = [0; 2];
        for fault in [(false, false), (false, true), (true, false), (true, true)] {
            for at in 0..self.effects {
                landed[usize::from(self.try_one(at, fault))] += 1;
            }
        }
        assert!(landed[1] > 0 && landed[1] < landed[0] / 3, "{landed:?}");
    }
}

fn bound() -> SimHost {
    let sim = laptop();
    carry_out(&sim, Verb::Bind).unwrap();
    sim
}

#[test]
fn every_failure_of_a_bind_lands_on_old_or_new() {
    Story::new(laptop, Verb::Bind).try_all();
}

#[test]
fn every_failure_of_a_release_lands_on_old_or_new() {
    Story::new(bound, Verb::Release).try_all();
}

fn maker() -> SimHost {
    let sim = laptop();
    sim.others(|capture| capture.insert("/run/makes", Entry::File(Vec::new())));
    sim
}

fn with_virtual() -> SimHost {
    let sim = maker();
    carry_out(&sim, Verb::Bind).unwrap();
    sim
}

#[test]
fn virtual_functions_are_made_given_away_and_taken_back() {
    let sim = with_virtual();
    let before = state(&maker());
    let host = seen(&sim);
    let made: Vec<PciAddress> = runtime::virtual_of(&host, at(PHYSICAL)).map(|device| device.address).collect();
    assert_eq!(made, ["0000:02:00.1", "0000:02:00.2", "0000:02:00.3"].map(at));
    assert!(made.iter().all(|address| host.device(*address).unwrap().driver_name().is_none()), "no driver of the host takes them");
    let plan = runtime::bind(&host, &made, &[]).plan;
    assert!(plan.refused.is_empty(), "{:?}", plan.refused);
    apply(&sim, &plan, Verb::Bind, &mut |_| {}).unwrap();
    let host = seen(&sim);
    assert!(made.iter().all(|address| host.device(*address).unwrap().is_on_vfio()));
    let list = operations(&sim);
    let boot_id = host.capture.attribute(BOOT_ID);
    assert!(runtime::in_force(&list, &list[0], boot_id) && runtime::in_force(&list, &list[1], boot_id));
    for (count, words) in [(9, "8 virtual functions at most"), (2, "only once these are gone")] {
        let refused = runtime::make_virtual(&host, at(PHYSICAL), count).plan.refused;
        assert!(refused[0].message.contains(words), "{refused:?}");
    }
    // A guest has one: none goes.
    let group = host.device(made[1]).unwrap().iommu_group.unwrap();
    sim.others(|capture| capture.insert("/proc/9/fd/3", Entry::Link(format!("/dev/vfio/{group}"))));
    assert!(runtime::make_virtual(&seen(&sim), at(PHYSICAL), 0).may_wait());
    sim.others(|capture| _ = capture.remove("/proc/9/fd/3"));
    carry_out(&sim, Verb::Undo(1)).unwrap();
    assert!(state(&sim) == before, "all of them are gone");
    let list = operations(&sim);
    assert!(!runtime::in_force(&list, &list[0], boot_id) && !runtime::in_force(&list, &list[1], boot_id));
    assert!(runtime::held(&list, boot_id).is_empty() && runtime::expectations(&list, boot_id).is_empty(), "nobody waits for them");
    let none = runtime::make_virtual(&seen(&sim), at(GPU), 1).plan.refused;
    assert!(none[0].message.contains("no SR-IOV"), "{none:?}");
}

#[test]
fn every_failure_of_making_virtual_functions_lands_on_old_or_new() {
    Story::new(maker, Verb::Bind).try_all();
}
