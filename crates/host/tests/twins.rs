//! Two cards of the same kind, one for the guest: bound by address, on the simulated host and by a real shell.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_host::SimHost;
use cede_host::apply::apply;
use cede_model::{Capture, Entry, capture_text};
use cede_plan::journal::{self, Verb};
use cede_plan::plan::When;
use cede_plan::verify::{Result3, verify};
use cede_plan::{BindMethod, by_address, planner, undo, whereabouts};
use std::fs;
use std::process::Command;
use support::{Scratch, host};

const LAPTOP: &str = include_str!("../../../fixtures/hosts/arch-gtx1650-laptop/host.capture");
const DEVICES: &str = "/sys/bus/pci/devices";

/// Copies a function to another place, below another bridge.
fn copy(capture: &mut Capture, from: &Capture, function: (&str, &str), above: &str) {
    let (old, new) = (format!("{DEVICES}/{}", function.0), format!("{DEVICES}/{}", function.1));
    for (path, entry) in from.entries().filter(|(path, _)| *path == old || path.starts_with(&format!("{old}/"))) {
        let entry = match entry {
            Entry::Link(_) if path == old => Entry::Link(format!("../../../devices/pci0000:00/{above}{}", function.1)),
            Entry::File(bytes) if path.ends_with("/uevent") => {
                Entry::File(String::from_utf8_lossy(bytes).replace(function.0, function.1).into_bytes())
            }
            other => other.clone(),
        };
        capture.insert(path.replace(&old, &new), entry);
    }
}

fn remove(capture: &mut Capture, address: &str) {
    let paths: Vec<String> = capture.entries().map(|(path, _)| path.to_owned()).filter(|path| path.contains(address)).collect();
    paths.iter().for_each(|path| _ = capture.remove(path));
}

fn laptop() -> Capture {
    capture_text::parse(LAPTOP).unwrap()
}

/// The laptop with another card of the same kind behind a port of its own.
fn with_twin() -> Capture {
    let (base, mut capture) = (laptop(), laptop());
    copy(&mut capture, &base, ("0000:00:1d.0", "0000:00:1b.0"), "");
    let path = format!("{DEVICES}/0000:00:1b.0/config");
    let mut config = capture.file(&path).unwrap().to_vec();
    config[0x19..0x1b].fill(5);
    capture.insert(path, Entry::File(config));
    for function in ["0", "1"] {
        let (from, to) = (format!("0000:01:00.{function}"), format!("0000:05:00.{function}"));
        copy(&mut capture, &base, (&from, &to), "0000:00:1b.0/");
    }
    capture
}

fn drivers(sim: &SimHost) -> Vec<String> {
    let shown = |device: &cede_model::pci::PciDevice| format!("{} {}", device.address, device.driver_name().unwrap_or("-"));
    host(sim).devices.iter().filter(|device| device.id.is_some_and(|id| id.vendor == 0x10de)).map(shown).collect()
}

/// Cedes the first card.
fn ceded() -> SimHost {
    let sim = SimHost::new(with_twin());
    let plan = planner::plan(&host(&sim), &["01:00.0".parse().unwrap()], BindMethod::Cmdline);
    assert_eq!((plan.bind, plan.refused.len()), (BindMethod::Override, 0), "{:?}", plan.refused);
    assert!(plan.notes.iter().any(|note| note.contains("0000:01:00.0 and 0000:05:00.0 are alike")), "{:?}", plan.notes);
    apply(&sim, &plan, Verb::Apply, &mut |_| {}).unwrap();
    sim.reboot();
    sim
}

/// What verification says after the reboot: causes of what does not hold.
fn causes(sim: &SimHost) -> Vec<String> {
    let host = host(sim);
    let operations = journal::operations(&host.capture).unwrap();
    let report = verify(&host, &operations[0].plan.expects, When::AfterReboot);
    assert_eq!(report.passed(), report.outcomes.iter().all(|outcome| outcome.result == Result3::Met));
    report.outcomes.into_iter().filter_map(|outcome| outcome.cause).collect()
}

/// The same disk in a machine with other hardware.
fn rebuilt(sim: &SimHost, hardware: impl Fn(&mut Capture, &Capture)) -> SimHost {
    let (mut capture, cards) = (sim.snapshot(), with_twin());
    for address in ["0000:01:00.0", "0000:01:00.1", "0000:05:00.0", "0000:05:00.1"] {
        remove(&mut capture, address);
    }
    hardware(&mut capture, &cards);
    SimHost::new(capture)
}

#[test]
fn only_the_right_one_of_two_cards_goes_and_all_comes_back() {
    let before = SimHost::new(with_twin()).snapshot();
    let sim = ceded();
    let expected = ["0000:01:00.0 vfio-pci", "0000:01:00.1 vfio-pci", "0000:05:00.0 nouveau", "0000:05:00.1 snd_hda_intel"];
    assert_eq!((drivers(&sim), causes(&sim)), (expected.map(str::to_owned).to_vec(), Vec::new()));
    let line = sim.snapshot().attribute("/proc/cmdline").unwrap().to_owned();
    assert!(!line.contains("vfio"), "no ids anywhere: {line}");
    let again = planner::plan(&host(&sim), &["01:00.0".parse().unwrap()], BindMethod::Cmdline);
    assert!(again.is_empty() && again.bind == BindMethod::Override, "{:?} {:?}", again.steps, again.refused);
    let host = host(&sim);
    let operations = journal::operations(&host.capture).unwrap();
    let back = undo::undo(&host, &operations, &operations[0]).unwrap();
    apply(&sim, &back, Verb::Undo(1), &mut |_| {}).unwrap();
    sim.reboot();
    for (path, entry) in before.entries().filter(|(path, _)| path.starts_with("/etc/") || path.starts_with("/boot/")) {
        assert_eq!(sim.snapshot().get(path), Some(entry), "{path}");
    }
    assert!(sim.snapshot().file(cede_plan::binding::OWN_FILE).is_none());
    assert!(drivers(&sim).iter().all(|driver| !driver.ends_with("vfio-pci")));
}

#[test]
fn a_second_card_joins_the_line_and_the_line_is_never_left_in_pieces() {
    let sim = ceded();
    let plan = planner::plan(&host(&sim), &["05:00.0".parse().unwrap()], BindMethod::Cmdline);
    assert_eq!(plan.bind, BindMethod::Override, "the first card may come back: {:?}", plan.refused);
    apply(&sim, &plan, Verb::Apply, &mut |_| {}).unwrap();
    sim.reboot();
    assert!(drivers(&sim).iter().all(|driver| driver.ends_with("vfio-pci")), "{:?}", drivers(&sim));
    let whole = sim.snapshot().file(cede_plan::binding::OWN_FILE).unwrap().to_vec();
    let host = host(&sim);
    let operations = journal::operations(&host.capture).unwrap();
    // The second one's lines stand inside the first one's: that is a conflict, or the whole line goes right.
    if let Ok(back) = undo::undo(&host, &operations, &operations[0]) {
        apply(&sim, &back, Verb::Undo(1), &mut |_| {}).unwrap();
        sim.reboot();
        let expected = ["0000:01:00.0 nouveau", "0000:01:00.1 snd_hda_intel", "0000:05:00.0 vfio-pci", "0000:05:00.1 vfio-pci"];
        assert_eq!(drivers(&sim), expected, "{}", String::from_utf8_lossy(sim.snapshot().file(cede_plan::binding::OWN_FILE).unwrap()));
    }
    let last = undo::undo(&host, &operations, &operations[1]).unwrap();
    assert!(last.steps.iter().any(|step| step.path() == Some(cede_plan::binding::OWN_FILE)), "{}", String::from_utf8_lossy(&whole));
}

#[test]
fn nothing_is_bound_to_a_stranger() {
    let sim = ceded();
    let both = |capture: &mut Capture, cards: &Capture, to: &str, above: &str| {
        for function in ["0", "1"] {
            copy(capture, cards, (&format!("0000:01:00.{function}"), &format!("{to}.{function}")), above);
        }
    };
    let moved = rebuilt(&sim, |capture, cards| both(capture, cards, "0000:06:00", "0000:00:01.0/"));
    assert!(drivers(&moved).iter().all(|driver| !driver.ends_with("vfio-pci")), "{:?}", drivers(&moved));
    assert!(causes(&moved).iter().any(|cause| cause.contains("it is now at 0000:06:00.0: `sudo cede undo`")), "{:?}", causes(&moved));
    // The first card is out, and the second one's bus has got its number.
    let renumbered = rebuilt(&sim, |capture, cards| both(capture, cards, "0000:01:00", "0000:00:1b.0/"));
    assert!(drivers(&renumbered).iter().all(|driver| !driver.ends_with("vfio-pci")), "{:?}", drivers(&renumbered));
    assert!(causes(&renumbered).iter().any(|cause| cause.contains("another card of its kind is there now")), "{:?}", causes(&renumbered));
    let gone = rebuilt(&sim, |capture, cards| copy(capture, cards, ("0000:00:14.2", "0000:01:00.0"), "0000:00:01.0/"));
    let stranger = host(&gone);
    assert!(!stranger.device("01:00.0".parse().unwrap()).unwrap().is_on_vfio());
    let operations = journal::operations(&stranger.capture).unwrap();
    let said = whereabouts::troubles(&stranger, &operations);
    assert!(said.len() == 2 && said[0].contains("it is gone; its address holds the") && said[1].contains("it is gone"), "{said:?}");
    let swapped_back = rebuilt(&sim, |capture, cards| both(capture, cards, "0000:01:00", "0000:00:01.0/"));
    assert_eq!(causes(&swapped_back), Vec::<String>::new());
}

/// The line of modprobe.d, run by every shell there is here over a made-up sysfs.
#[test]
fn a_real_shell_sets_the_override_of_the_one_that_is_meant() {
    let text = String::from_utf8(ceded().snapshot().file(cede_plan::binding::OWN_FILE).unwrap().to_vec()).unwrap();
    let config = cede_plan::edit::modprobe::ModprobeConfig::from_files([(cede_plan::binding::OWN_FILE, text.as_bytes())]);
    assert_eq!(by_address::told(&config).len(), 2);
    let (command, _) = config.install("vfio-pci").unwrap();
    let shells = ["dash", "bash", "busybox", "sh"].into_iter().filter(|shell| Command::new(shell).args(["-c", "true"]).output().is_ok());
    for shell in shells {
        for (vendor, expected) in [("0x10de", "vfio-pci\n"), ("0x8086", "(null)\n")] {
            let scratch = Scratch::new();
            let card = "devices/pci0000:00/0000:00:01.0/0000:01:00.0";
            let values = [vendor, "0x1f91", "0x1043", "0x109f", "0x030000"];
            for (name, value) in by_address::ATTRIBUTES.iter().zip(values) {
                scratch.write(&format!("{card}/{name}"), format!("{value}\n"));
            }
            scratch.write(&format!("{card}/driver_override"), "(null)\n");
            let log = scratch.write("kmsg", "");
            let command = command.replace("/sys/", &format!("{}/", scratch.path().display()));
            let command = command
                .replace("/dev/kmsg", &format!(">{}", log.display()))
                .replace("/sbin/modprobe", "echo loaded")
                .replace("$CMDLINE_OPTS", "");
            let words: &[&str] = if shell == "busybox" { &["sh", "-c"] } else { &["-c"] };
            let output = Command::new(shell).args(words).arg(&command).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                (String::from_utf8_lossy(&output.stdout).trim(), said.as_ref()),
                ("loaded --ignore-install vfio-pci", ""),
                "{shell}"
            );
            assert_eq!(fs::read_to_string(scratch.at(&format!("{card}/driver_override"))).unwrap(), expected, "{shell}");
            // The second function of the card is not there at all.
            let strangers = fs::read_to_string(&log).unwrap().matches("left alone").count();
            assert_eq!(strangers, if expected == "vfio-pci\n" { 1 } else { 2 }, "{shell}");
        }
    }
}
