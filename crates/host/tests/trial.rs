//! The trial boot on the simulated host: what it changes, how it ends well, how it ends badly, and what is left where it is cut off at any effect.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_host::SimHost;
use cede_host::apply::{ApplyError, apply, look_at_files, recover};
use cede_host::machine::Machine;
use cede_model::pci::PciDevice;
use cede_model::{Entry, Host, capture_text};
use cede_plan::journal::{self, End, Operation, Verb};
use cede_plan::plan::When;
use cede_plan::trial::{self, State, TrialWish, env_block, once};
use cede_plan::undo::undo as undo_plan;
use cede_plan::{BindMethod, Plan, planner, verify};
use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::faulty::{Faulty, persistent};
use support::host;

const LAPTOP: &str = include_str!("../../../fixtures/hosts/arch-gtx1650-laptop/host.capture");
const CUSTOM: &str = "/boot/grub/custom.cfg";

/// The laptop with each pair of boot loader and initramfs generator, and the file of its entry for a trial.
const HOSTS: [(&str, Option<&str>, &str); 4] = [
    ("grub-mkinitcpio", None, CUSTOM),
    ("grub-initramfs-tools", Some(include_str!("../../../fixtures/boot/grub-initramfs-tools.capture")), CUSTOM),
    ("systemd-boot-mkinitcpio", Some(include_str!("../../../fixtures/boot/systemd-boot-mkinitcpio.capture")), ENTRY),
    ("systemd-boot-initramfs-tools", Some(include_str!("../../../fixtures/boot/systemd-boot-initramfs-tools.capture")), ENTRY),
];
const ENTRY: &str = "/boot/loader/entries/-cede-trial.conf";

fn sim() -> SimHost {
    sim_of(None)
}

/// With what a machine has that starts by GRUB and systemd.
fn sim_of(changes: Option<&str>) -> SimHost {
    let mut capture = capture_text::parse(LAPTOP).unwrap();
    for (path, entry) in changes.map(|text| capture_text::parse(text).unwrap()).unwrap_or_default().entries() {
        if *entry == Entry::Absent {
            capture.remove(path);
        } else {
            capture.insert(path, entry.clone());
        }
    }
    capture.insert(once::ENV_BLOCK, Entry::File(env_block::empty()));
    for tool in ["/usr/bin/systemctl", "/usr/bin/flock", "/usr/bin/test"] {
        capture.insert(tool, Entry::Present(1));
    }
    SimHost::new(capture)
}

fn wish() -> TrialWish {
    TrialWish { confirm_by: Some("/usr/local/bin/cede".into()), watchdog: NonZeroU16::new(10), ..TrialWish::default() }
}

fn plan_for(machine: &dyn Machine, bind: BindMethod) -> Plan {
    let plan = trial::plan::plan(&host(machine), &["01:00.0".parse().unwrap()], bind, &wish());
    assert!(plan.refused.is_empty() && !plan.steps.is_empty(), "{:?}", plan.refused);
    plan
}

fn operations(machine: &dyn Machine) -> Vec<Operation> {
    journal::operations(&host(machine).capture).unwrap()
}

fn the_trial(sim: &SimHost) -> Operation {
    trial::in_force(&operations(sim)).unwrap().clone()
}

fn state(sim: &SimHost) -> State {
    trial::state(&host(sim), &the_trial(sim))
}

fn undo(machine: &dyn Machine) {
    let list = operations(machine);
    let operation = trial::in_force(&list).unwrap();
    let plan = undo_plan(&look_at_files(machine, &list), &list, operation).unwrap();
    apply(machine, &plan, Verb::Undo(operation.number), &mut |_| {}).unwrap();
}

fn on_vfio(sim: &SimHost) -> Vec<String> {
    host(sim).devices.iter().filter(|device| device.is_on_vfio()).map(|device| device.address.to_string()).collect()
}

fn map(sim: &SimHost) -> BTreeMap<String, Vec<u8>> {
    persistent(sim).into_iter().collect()
}

#[test]
fn a_trial_only_adds_files_of_its_own() {
    for ((_, changes, entry), bind) in HOSTS.into_iter().flat_map(|host| [(host, BindMethod::Cmdline), (host, BindMethod::Modprobe)]) {
        let sim = sim_of(changes);
        let old = map(&sim);
        apply(&sim, &plan_for(&sim, bind), Verb::Trial, &mut |_| {}).unwrap();
        let new = map(&sim);
        for (path, bytes) in &old {
            assert!(path == once::ENV_BLOCK || new.get(path) == Some(bytes), "{path} changed");
        }
        let added: Vec<&str> = new.keys().filter(|path| !old.contains_key(*path)).map(String::as_str).collect();
        let expected = [
            "/boot/cede-trial-modprobe.img",
            "/boot/cede-trial.img",
            entry,
            "/etc/systemd/system/cede-confirm.service",
            "/etc/systemd/system/cede-trial-watchdog.service",
            "/etc/systemd/system/cede-trial-watchdog.timer",
        ];
        assert_eq!(added, expected);
    }
}

#[test]
fn a_good_trial_is_confirmed_and_all_of_it_undone() {
    for ((name, changes, entry), bind) in HOSTS.into_iter().flat_map(|host| [(host, BindMethod::Cmdline), (host, BindMethod::Modprobe)]) {
        let sim = sim_of(changes);
        let old = persistent(&sim);
        let cmdline = sim.snapshot().attribute("/proc/cmdline").unwrap().to_owned();
        apply(&sim, &plan_for(&sim, bind), Verb::Trial, &mut |_| {}).unwrap();
        assert_eq!(state(&sim), State::Pending);
        assert_eq!(sim.restart(), 0);
        assert_eq!(state(&sim), State::Running, "{name}");
        assert_eq!(on_vfio(&sim), ["0000:01:00.0", "0000:01:00.1"]);
        let list = operations(&sim);
        let report = verify::verify(&host(&sim), &list[0].plan.expects, When::AfterReboot);
        assert!(report.passed(), "{report:?}");
        let words = sim.snapshot().attribute("/proc/cmdline").unwrap().to_owned();
        for word in ["cede.trial=1", "panic=60", "systemd.wants=cede-confirm.service", "systemd.wants=cede-trial-watchdog.timer"] {
            assert!(words.split_whitespace().any(|have| have == word), "{word} is not in {words}");
        }

        // What `cede confirm` does.
        let plan = planner::plan(&host(&sim), &["01:00.0".parse().unwrap()], bind);
        assert!(trial::half_confirmed(&operations(&sim)).is_none());
        apply(&sim, &plan, Verb::Apply, &mut |_| {}).unwrap();
        assert_eq!(trial::half_confirmed(&operations(&sim)).map(|trial| trial.number), Some(1), "what recover carries to its end");
        undo(&sim);
        assert!(trial::half_confirmed(&operations(&sim)).is_none());
        assert!(!sim.snapshot().is_there(entry) && !sim.snapshot().is_there("/boot/cede-trial.img"));
        assert_eq!(sim.restart(), 0);
        assert!(!sim.snapshot().attribute("/proc/cmdline").unwrap().contains("trial"));
        assert_eq!(on_vfio(&sim), ["0000:01:00.0", "0000:01:00.1"]);

        let list = operations(&sim);
        assert!(trial::in_force(&list).is_none());
        let confirmed = list.iter().find(|operation| journal::in_force(&list, operation)).unwrap();
        let back = undo_plan(&look_at_files(&sim, &list), &list, confirmed).unwrap();
        apply(&sim, &back, Verb::Undo(confirmed.number), &mut |_| {}).unwrap();
        sim.reboot();
        assert_eq!(persistent(&sim), old);
        assert_eq!(sim.snapshot().attribute("/proc/cmdline").unwrap(), cmdline);
    }
}

#[test]
fn a_trial_that_does_not_come_up_is_followed_by_the_old_entry() {
    for (name, changes, entry) in HOSTS {
        let sim = sim_of(changes);
        let old = persistent(&sim);
        let cmdline = sim.snapshot().attribute("/proc/cmdline").unwrap().to_owned();
        apply(&sim, &plan_for(&sim, BindMethod::Cmdline), Verb::Trial, &mut |_| {}).unwrap();
        let good = String::from_utf8(sim.snapshot().file(entry).unwrap().to_vec()).unwrap();
        let bad = good.replace("root=/dev/nvme0n1p2", "root=/dev/nvme0n1p9");
        assert_ne!(good, bad);
        sim.replace(entry, Some(good.as_bytes()), Some(bad.as_bytes())).unwrap();
        assert_eq!(sim.restart(), 1, "{name}: the trial fails, the start after it is the old one");
        assert_eq!(state(&sim), State::Over);
        assert!(trial::why_over(&host(&sim), &the_trial(&sim)).contains("and it did not come up"));
        assert_eq!(sim.snapshot().attribute("/proc/cmdline").unwrap(), cmdline);
        assert!(!host(&sim).devices.iter().any(PciDevice::is_on_vfio));
        sim.replace(entry, Some(bad.as_bytes()), Some(good.as_bytes())).unwrap();
        undo(&sim);
        assert_eq!(persistent(&sim), old, "{name}");
    }
}

#[test]
fn a_trial_by_hand_chooses_nothing() {
    let sim = sim();
    let by_hand = TrialWish { by_hand: true, ..TrialWish::default() };
    let plan = trial::plan::plan(&host(&sim), &["01:00.0".parse().unwrap()], BindMethod::Cmdline, &by_hand);
    apply(&sim, &plan, Verb::Trial, &mut |_| {}).unwrap();
    assert_eq!(sim.snapshot().file(once::ENV_BLOCK), Some(env_block::empty().as_slice()));
    assert!(plan.notes.iter().any(|note| note.contains("pick `cede trial 1` in the menu of GRUB")), "{:?}", plan.notes);
    assert!(trial::is_by_hand(&the_trial(&sim).plan));
    sim.reboot();
    assert_eq!(state(&sim), State::Over);
    assert!(trial::why_over(&host(&sim), &the_trial(&sim)).contains("nobody picked its entry"));
}

/// GRUB would start the trial again and again where it cannot take the choice away; a person can still choose it.
#[test]
fn where_grub_cannot_write_nothing_is_chosen() {
    let mounts = "25 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw\n";
    let boot = "40 25 259:1 / /boot rw,relatime shared:20 - vfat /dev/nvme0n1p1 rw\n";
    let cases = [
        (format!("{mounts}{}", boot.replace("vfat", "btrfs")), "GRUB cannot write to btrfs"),
        (format!("{mounts}{}", boot.replace("vfat", "zfs")), "GRUB cannot write to zfs"),
        (format!("{mounts}{}", boot.replace("259:1", "253:0")), "GRUB cannot write through dm-0 (vg0-boot)"),
        (format!("{mounts}{}", boot.replace("259:1", "0:50")), "the block device 0:50 of /boot/grub is not known"),
        (String::new(), "cannot be told"),
    ];
    for (text, why) in cases {
        let mut capture = sim().snapshot();
        capture.insert("/proc/self/mountinfo", Entry::File(text.into_bytes()));
        capture.insert("/sys/class/block/dm-0", Entry::Dir);
        capture.insert("/sys/class/block/dm-0/dev", Entry::File(b"253:0\n".to_vec()));
        capture.insert("/sys/class/block/dm-0/dm/name", Entry::File(b"vg0-boot\n".to_vec()));
        let host = Host::from_capture(capture);
        let plan = |by_hand| {
            let wish = TrialWish { by_hand, ..TrialWish::default() };
            trial::plan::plan(&host, &["01:00.0".parse().unwrap()], BindMethod::Cmdline, &wish)
        };
        let refused = plan(false).refused;
        assert!(refused.iter().any(|refusal| refusal.message.contains(why) && refusal.message.contains("--by-hand")), "{why}: {refused:?}");
        let by_hand = plan(true);
        let odd = by_hand.refused.iter().find(|refusal| refusal.id.starts_with("trial"));
        assert!(odd.is_none() && !by_hand.steps.iter().any(|step| step.path() == Some(once::ENV_BLOCK)), "{why}: {odd:?}");
    }
}

/// The block is written by GRUB where it finds it, which is not where Linux follows a link to.
#[test]
fn the_environment_block_is_judged_where_it_is() {
    type Case<'a> = (Vec<(String, Entry)>, Option<&'a str>);
    let mounts =
        "25 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw\n40 25 259:1 / /efi rw - vfat /dev/nvme0n1p1 rw\n41 25 0:50 / /data rw - btrfs x rw\n";
    let link = |place: &str| Entry::Link(place.to_owned());
    let block = |bytes: &[u8]| (once::ENV_BLOCK.to_owned(), Entry::File(bytes.to_vec()));
    let place = |path: &str, found: Entry| (format!("{path}@"), found);
    let cases: [Case<'_>; 8] = [
        (vec![place(once::GRUB, link("/efi/grub")), place(once::ENV_BLOCK, link("/efi/grub/grubenv"))], None),
        (
            vec![place(once::GRUB, link("/data/grub")), place(once::ENV_BLOCK, link("/data/grub/grubenv"))],
            Some("GRUB cannot write to btrfs"),
        ),
        (
            vec![place(once::ENV_BLOCK, link("/efi/EFI/debian/grubenv"))],
            Some("is a link to /efi/EFI/debian/grubenv, where GRUB may not find it"),
        ),
        (vec![place(once::ENV_BLOCK, Entry::Unreadable("ELOOP".to_owned()))], Some("cannot be told (ELOOP)")),
        (vec![block(&env_block::empty()[..1023])], Some("it has 1023 bytes, not 1024 as `grub-editenv /boot/grub/grubenv create`")),
        (vec![block(&[b'x'; 1024])], Some("it is no environment block of GRUB")),
        (vec![block(&env_block::set(&env_block::empty(), "env_block", "512+1").unwrap())], Some("takes the choice away in 512+1")),
        (vec![block(b"")], None),
    ];
    for (entries, why) in cases {
        let mut capture = sim().snapshot();
        capture.insert("/proc/self/mountinfo", Entry::File(mounts.as_bytes().to_vec()));
        capture.extend(entries.clone());
        let plan = trial::plan::plan(&Host::from_capture(capture), &["01:00.0".parse().unwrap()], BindMethod::Cmdline, &wish());
        let refused = plan.refused.iter().find(|refusal| refusal.id == "trial-not-once").map(|refusal| refusal.message.as_str());
        assert_eq!(refused.is_some(), why.is_some(), "{entries:?}: {refused:?}");
        assert!(why.is_none_or(|why| refused.unwrap().contains(why)), "{why:?}: {refused:?}");
    }
}

#[test]
fn only_one_trial_at_a_time_and_only_under_its_own_number() {
    let sim = sim();
    let plan = plan_for(&sim, BindMethod::Cmdline);
    apply(&sim, &plan, Verb::Trial, &mut |_| {}).unwrap();
    let again = trial::plan::plan(&host(&sim), &["01:00.0".parse().unwrap()], BindMethod::Cmdline, &wish());
    assert!(again.steps.is_empty() && again.refused[0].message.contains("operation 1 is a trial already"), "{:?}", again.refused);
    undo(&sim);
    let error = apply(&sim, &plan, Verb::Trial, &mut |_| {}).unwrap_err();
    assert!(matches!(error, ApplyError::HostChanged(_)), "{error}");
}

/// Each loader and each generator once.
const CUT: [Option<&str>; 2] = [HOSTS[0].1, HOSTS[3].1];

type Operate = fn(&Faulty) -> Result<(), ApplyError>;
type Prepare = fn(&SimHost);

fn faulty(changes: Option<&str>, (at, done_first, cut): (usize, bool, bool)) -> Faulty {
    Faulty { sim: sim_of(changes), count: AtomicUsize::new(0), at, cut, done_first }
}

/// Number of effects of an operation on a trial.
fn effects(changes: Option<&str>, what: Operate, prepare: Prepare) -> usize {
    let machine = faulty(changes, (usize::MAX, false, false));
    prepare(&machine.sim);
    what(&machine).unwrap();
    machine.count.load(Ordering::SeqCst)
}

fn make(machine: &Faulty) -> Result<(), ApplyError> {
    apply(machine, &plan_for(&machine.sim, BindMethod::Cmdline), Verb::Trial, &mut |_| {}).map(|_| ())
}

fn take_back(machine: &Faulty) -> Result<(), ApplyError> {
    let list = operations(&machine.sim);
    let operation = trial::in_force(&list).unwrap();
    let plan = undo_plan(&look_at_files(&machine.sim, &list), &list, operation).unwrap();
    apply(machine, &plan, Verb::Undo(operation.number), &mut |_| {}).map(|_| ())
}

fn made(sim: &SimHost) {
    apply(sim, &plan_for(sim, BindMethod::Cmdline), Verb::Trial, &mut |_| {}).unwrap();
}

#[test]
fn one_failure_anywhere_rolls_back_to_the_byte() {
    let cases: [(Operate, Prepare); 2] = [(make, |_| {}), (take_back, made)];
    for (changes, (what, prepare)) in CUT.into_iter().flat_map(|changes| cases.map(|case| (changes, case))) {
        let count = effects(changes, what, prepare);
        assert!(count > 12, "{count}");
        for (at, done_first) in (0..count).flat_map(|at| [(at, false), (at, true)]) {
            let machine = faulty(changes, (at, done_first, false));
            prepare(&machine.sim);
            let old = persistent(&machine.sim);
            // What comes after the last record is tidying up.
            let Err(error) = what(&machine) else { continue };
            assert!(matches!(error, ApplyError::Unchanged(_) | ApplyError::RolledBack(_)), "effect {at}: {error}");
            assert_eq!(differences(&old, &persistent(&machine.sim)), Vec::<String>::new(), "effect {at}: {error}");
        }
    }
}

/// The power fails at every effect; the machine is started again, which may take the choice away and start the trial; then `recover`.
#[test]
fn a_power_cut_anywhere_leaves_a_machine_that_starts_and_is_recovered() {
    let cases: [(Operate, Prepare); 2] = [(make, |_| {}), (take_back, made)];
    for (changes, (what, prepare)) in CUT.into_iter().flat_map(|changes| cases.map(|case| (changes, case))) {
        let count = effects(changes, what, prepare);
        let (mut old_count, mut new_count) = (0, 0);
        for (at, done_first, restart) in
            (0..count).flat_map(|at| [(at, false, true), (at, true, true), (at, false, false), (at, true, false)])
        {
            let machine = faulty(changes, (at, done_first, true));
            prepare(&machine.sim);
            let old = persistent(&machine.sim);
            let _ = what(&machine);
            if restart {
                assert_eq!(machine.sim.restart(), 0, "cut at {at}: it does not start");
            }
            recover(&machine.sim, &mut |_| {}).unwrap();
            let list = operations(&machine.sim);
            assert!(journal::interrupted(&list, None).is_none(), "cut at {at}");
            if list.last().is_some_and(|operation| operation.end == Some(End::Applied)) && list.len() == old_operations(prepare) + 1 {
                new_count += 1;
                continue;
            }
            old_count += 1;
            // The loader may have taken the choice away before, which is as it should be.
            let mut different = differences(&old, &persistent(&machine.sim));
            different.retain(|path| !(restart && once::is_choice(path)));
            assert_eq!(different, Vec::<String>::new(), "cut at {at}, {restart}");
            assert_eq!(machine.sim.restart(), 0);
        }
        println!("{old_count} old, {new_count} new of {}", 4 * count);
        assert!(old_count > 40 && new_count < 20, "{old_count} old, {new_count} new");
    }
}

fn differences(old: &[(String, Vec<u8>)], new: &[(String, Vec<u8>)]) -> Vec<String> {
    let only = |one: &[(String, Vec<u8>)], other: &[(String, Vec<u8>)]| {
        one.iter().filter(|file| !other.contains(file)).map(|(path, _)| path.clone()).collect::<Vec<_>>()
    };
    let mut list = [only(old, new), only(new, old)].concat();
    list.dedup();
    list
}

fn old_operations(prepare: Prepare) -> usize {
    let sim = sim();
    prepare(&sim);
    operations(&sim).len()
}
