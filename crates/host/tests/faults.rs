//! Tools that lie, plans that are out of date, and the whole road there and back, on the simulated host.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_host::SimHost;
use cede_host::apply::{ApplyError, apply, look_at_files};
use cede_host::machine::{EffectError, Lock, Machine, ToolEnd};
use cede_host::read_host::ReadHost;
use cede_model::{Entry, capture_text};
use cede_plan::journal::{self, Verb};
use cede_plan::{BindMethod, Plan, planner, undo};
use support::faulty::{is_otherwise_its_sim, persistent, reads_its_sim};
use support::host;

const LAPTOP: &str = include_str!("../../../fixtures/hosts/arch-gtx1650-laptop/host.capture");

fn sim() -> SimHost {
    SimHost::new(capture_text::parse(LAPTOP).unwrap())
}

fn plan_for(machine: &dyn Machine) -> Plan {
    let plan = planner::plan(&host(machine), &["01:00.0".parse().unwrap()], BindMethod::Cmdline);
    assert!(plan.refused.is_empty() && !plan.steps.is_empty(), "{:?}", plan.refused);
    plan
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
    is_otherwise_its_sim!();
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
