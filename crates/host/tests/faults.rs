//! An operation that fails or is cut off at any effect leaves the host exactly old or exactly new. On the simulated host, at every effect there is.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_host::apply::{ApplyError, apply, look_at_files, recover};
use cede_host::machine::{EffectError, Lock, Machine, ToolEnd};
use cede_host::read_host::ReadHost;
use cede_host::{Scope, SimHost, observe};
use cede_model::{Entry, Host, capture_text};
use cede_plan::journal::{self, End, Verb};
use cede_plan::{BindMethod, Plan, planner, undo};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::faulty::{Faulty, persistent, reads_its_sim};

const LAPTOP: &str = include_str!("../../../fixtures/hosts/arch-gtx1650-laptop/host.capture");

fn sim() -> SimHost {
    SimHost::new(capture_text::parse(LAPTOP).unwrap())
}

fn host(machine: &dyn Machine) -> Host {
    Host::from_capture(observe(machine, Scope::Full))
}

fn plan_for(machine: &dyn Machine) -> Plan {
    let plan = planner::plan(&host(machine), &["01:00.0".parse().unwrap()], BindMethod::Cmdline);
    assert!(plan.refused.is_empty() && !plan.steps.is_empty(), "{:?}", plan.refused);
    plan
}

fn faulty(at: usize, done_first: bool) -> Faulty {
    Faulty { sim: sim(), count: AtomicUsize::new(0), at, cut: false, done_first }
}

/// Number of effects of a whole apply.
fn effects() -> usize {
    let machine = faulty(usize::MAX, false);
    let plan = plan_for(&machine);
    apply(&machine, &plan, Verb::Apply, &mut |_| {}).unwrap();
    machine.count.load(Ordering::SeqCst)
}

#[test]
fn one_failure_anywhere_rolls_back_to_the_byte() {
    let count = effects();
    assert!(count > 12, "{count}");
    for (at, done_first) in (0..count).flat_map(|at| [(at, false), (at, true)]) {
        let machine = faulty(at, done_first);
        let (old, plan) = (persistent(&machine.sim), plan_for(&machine));
        let Err(error) = apply(&machine, &plan, Verb::Apply, &mut |_| {}) else {
            assert!(plan_for_again(&machine.sim).is_empty(), "effect {at}: what comes after the last record is tidying up");
            continue;
        };
        assert!(matches!(error, ApplyError::Unchanged(_) | ApplyError::RolledBack(_)), "effect {at}: {error}");
        assert_eq!(persistent(&machine.sim), old, "effect {at}: {error}");
    }
}

#[test]
fn a_power_cut_anywhere_is_recovered_to_old_or_new() {
    let count = effects();
    let (mut old_count, mut new_count) = (0, 0);
    for (at, done_first) in (0..count).flat_map(|at| [(at, false), (at, true)]) {
        let machine = Faulty { cut: true, ..faulty(at, done_first) };
        let (old, plan) = (persistent(&machine.sim), plan_for(&machine));
        let _ = apply(&machine, &plan, Verb::Apply, &mut |_| {});
        recover(&machine.sim, &mut |_| {}).unwrap();
        let operations = journal::operations(&host(&machine.sim).capture).unwrap();
        assert!(journal::interrupted(&operations).is_none(), "cut at {at}");
        if operations.last().is_some_and(|operation| operation.end == Some(End::Applied)) {
            assert!(plan_for_again(&machine.sim).is_empty(), "cut at {at}: neither old nor new");
            new_count += 1;
        } else {
            assert_eq!(persistent(&machine.sim), old, "cut at {at}");
            old_count += 1;
        }
    }
    assert_eq!(old_count + new_count, 2 * count);
    assert!(old_count > 30 && new_count < 6, "{old_count} old, {new_count} new: only the last record, once written, makes it new");
}

fn plan_for_again(machine: &dyn Machine) -> Plan {
    planner::plan(&host(machine), &["01:00.0".parse().unwrap()], BindMethod::Cmdline)
}

reads_its_sim!(Liar);

/// A tool that says it did its work and left rubbish, or nothing.
struct Liar {
    sim: SimHost,
    leaves: Option<Vec<u8>>,
    path: &'static str,
}

impl Machine for Liar {
    fn replace(&self, path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> Result<(), EffectError> {
        self.sim.replace(path, before, after)
    }
    fn create_private(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError> {
        self.sim.create_private(path, bytes)
    }
    fn append(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError> {
        self.sim.append(path, bytes)
    }
    fn run(&self, _: &[String], _: &mut dyn FnMut(&str)) -> Result<ToolEnd, EffectError> {
        let now = self.sim.image(self.path).ok();
        self.sim.replace(self.path, now.as_deref(), self.leaves.as_deref())?;
        Ok(ToolEnd { success: true, status: "exit status: 0".to_owned(), output: String::new() })
    }
    fn runs_tools(&self) -> bool {
        true
    }
    fn lock(&self) -> Result<Box<dyn Lock>, EffectError> {
        self.sim.lock()
    }
    fn time(&self) -> u64 {
        self.sim.time()
    }
    fn image(&self, path: &str) -> Result<Vec<u8>, Entry> {
        self.sim.image(path)
    }
}

#[test]
fn a_tool_that_lies_costs_no_byte_of_image_or_menu() {
    const IMAGE: &str = "/boot/initramfs-linux.img";
    const MENU: &str = "/boot/grub/grub.cfg";
    let gone = b"### BEGIN /etc/grub.d/10_linux ###\nmenuentry 'x' { linux /vmlinuz-gone intel_iommu=on vfio-pci.ids=10de:1f91,10de:10fa\n initrd /no.img\n}\n";
    let cases: [(&'static str, Option<&[u8]>); 6] = [
        (IMAGE, None),
        (IMAGE, Some(b"")),
        (IMAGE, Some(b"rubbish")),
        (MENU, None),
        (MENU, Some(b"# nothing found\n")),
        (MENU, Some(gone)),
    ];
    for (path, leaves) in cases {
        let machine = Liar { sim: sim(), leaves: leaves.map(<[u8]>::to_vec), path };
        let (old, plan) = (persistent(&machine.sim), plan_for(&machine));
        let error = apply(&machine, &plan, Verb::Apply, &mut |_| {}).unwrap_err();
        assert!(matches!(error, ApplyError::RolledBack(_)), "{path} {leaves:?}: {error}");
        assert_eq!(persistent(&machine.sim), old, "{path} {leaves:?}");
        let kept: Vec<String> = machine.sim.snapshot().names_in(journal::KEPT).map(str::to_owned).collect();
        assert!(kept.is_empty(), "{kept:?}");
    }
}

#[test]
fn apply_reboot_undo_reboot_is_the_identity() {
    for bind in [BindMethod::Cmdline, BindMethod::Modprobe] {
        let sim = sim();
        let old = persistent(&sim);
        let plan = planner::plan(&host(&sim), &["01:00.1".parse().unwrap()], bind);
        apply(&sim, &plan, Verb::Apply, &mut |_| {}).unwrap();
        assert_eq!(sim.snapshot().names_in(journal::KEPT).count(), 0, "copies of what was replaced are not left behind");
        assert!(planner::plan(&host(&sim), &["01:00.0".parse().unwrap()], bind).is_empty(), "a second plan is empty");
        sim.reboot();
        let on_vfio: Vec<String> =
            host(&sim).devices.iter().filter(|device| device.is_on_vfio()).map(|device| device.address.to_string()).collect();
        assert_eq!(on_vfio, ["0000:01:00.0", "0000:01:00.1"]);
        let operations = journal::operations(&host(&sim).capture).unwrap();
        let back = undo::undo(&look_at_files(&sim, &operations), &operations, &operations[0]).unwrap();
        apply(&sim, &back, Verb::Undo(1), &mut |_| {}).unwrap();
        sim.reboot();
        assert_eq!(persistent(&sim), old);
        assert!(!host(&sim).devices.iter().any(cede_model::pci::PciDevice::is_on_vfio));
    }
}

#[test]
fn a_plan_made_before_the_host_changed_is_not_carried_out() {
    let sim = sim();
    let plan = plan_for(&sim);
    let grub = sim.snapshot().file("/etc/default/grub").unwrap().to_vec();
    sim.replace("/etc/default/grub", Some(&grub), Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet mine\"\n")).unwrap();
    let old = persistent(&sim);
    let error = apply(&sim, &plan, Verb::Apply, &mut |_| {}).unwrap_err();
    assert!(matches!(error, ApplyError::HostChanged(_)), "{error}");
    assert_eq!(persistent(&sim), old);
}

#[test]
fn undo_over_someone_elses_change_is_a_conflict() {
    let sim = sim();
    apply(&sim, &plan_for(&sim), Verb::Apply, &mut |_| {}).unwrap();
    let grub = sim.snapshot().file("/etc/default/grub").unwrap().to_vec();
    let changed = String::from_utf8(grub.clone()).unwrap().replace("intel_iommu=on", "intel_iommu=on,sm_on");
    sim.replace("/etc/default/grub", Some(&grub), Some(changed.as_bytes())).unwrap();
    let operations = journal::operations(&host(&sim).capture).unwrap();
    let trouble = undo::undo(&look_at_files(&sim, &operations), &operations, &operations[0]).unwrap_err();
    let undo::CannotUndo::Conflicts(conflicts) = trouble else { panic!("{trouble:?}") };
    assert_eq!(conflicts.len(), 1);
    assert_eq!((conflicts[0].path.as_str(), conflicts[0].now.as_deref()), ("/etc/default/grub", Some(changed.as_bytes())));
}
