//! Sequences of operations through the built binary, to the byte.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Entry, capture_text};
use std::fs;
use std::process::{Command, Stdio};
use support::{Dir, cede, code, fixture, flat, laptop, manifest, unpack};

#[test]
fn a_directory_that_one_operation_made_goes_with_the_last_file_of_another_one_in_it() {
    let dir = Dir::new("turns");
    unpack(&laptop(), &dir.0);
    fs::remove_dir(dir.0.join("etc/mkinitcpio.conf.d")).unwrap();
    let before = manifest(&dir.0.join("etc"));
    let run = |arguments: &[&str]| cede(&[&["--root", dir.0.to_str().unwrap(), "--yes"], arguments].concat());
    let written = || dir.0.join("etc/mkinitcpio.conf.d/95-cede.conf").exists();
    run(&["apply", "01:00.0"]);
    run(&["apply", "00:02.0", "--accept-loss", "only-display"]);
    // What the other one loses has another name by then, and is lost already.
    assert_eq!(code(&run(&["undo", "1"])), 1, "only the tools are left");
    assert!(written(), "the other operation needs it");
    run(&["undo", "2"]);
    assert!(!written());
    assert_eq!(manifest(&dir.0.join("etc")), before);
    run(&["apply", "01:00.0"]);
    fs::write(dir.0.join("etc/mkinitcpio.conf.d/mine.conf"), "").unwrap();
    run(&["undo"]);
    assert!(!written() && dir.0.join("etc/mkinitcpio.conf.d/mine.conf").exists());
}

#[test]
fn what_nobody_reads_any_more_has_not_come_to_a_good_end() {
    let dir = Dir::new("unread");
    unpack(&laptop(), &dir.0);
    let before = manifest(&dir.0.join("etc"));
    let unread = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cede"));
        command.args(["--root", dir.0.to_str().unwrap(), "--yes"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        drop(child.stdout.take());
        child.wait().unwrap().code().unwrap()
    };
    assert_eq!((unread(&["devices"]), unread(&["log"])), (0, 0), "lists may be cut off");
    assert_eq!((unread(&["apply", "01:00.0"]), unread(&["plan", "01:00.0"]), unread(&["verify"])), (1, 1, 1));
    assert_eq!(manifest(&dir.0.join("etc")), before);
}

#[test]
fn what_others_moved_away_is_not_called_undone() {
    let dir = Dir::new("moved");
    unpack(&laptop(), &dir.0);
    let run = |arguments: &[&str]| cede(&[&["--root", dir.0.to_str().unwrap(), "--yes"], arguments].concat());
    let undone = |from: &str, to: &str| {
        fs::rename(dir.0.join(from), dir.0.join(to)).unwrap();
        flat(&String::from_utf8_lossy(&run(&["undo"]).stdout))
    };
    run(&["apply", "01:00.0", "--bind", "modprobe"]);
    let said = undone("etc/modprobe.d/00-cede.conf", "etc/modprobe.d/vfio.conf");
    let still = "0000:01:00.0 [10de:1f91] goes to vfio-pci at the next start all the same: /etc/modprobe.d/vfio.conf:4 says so";
    assert!(said.contains(still) && said.contains("0000:01:00.1 [10de:10fa] goes"), "{said}");
    fs::remove_file(dir.0.join("etc/modprobe.d/vfio.conf")).unwrap();
    for bind in ["cmdline", "override", "modprobe"] {
        run(&["apply", "01:00.0", "--bind", bind]);
        let said = flat(&String::from_utf8_lossy(&run(&["undo"]).stdout));
        assert!(said.contains("Undo operation") && !said.contains("all the same"), "{said}");
    }
    run(&["apply", "01:00.0", "--bind", "override"]);
    assert!(undone("etc/modprobe.d/00-cede.conf", "etc/modprobe.d/vfio.conf").contains("/etc/modprobe.d/vfio.conf:5 says so"));
}

/// The laptop with systemd-boot, and a command line for its entries.
fn with_entries(name: &str) -> Dir {
    let dir = Dir::new(name);
    unpack(&laptop(), &dir.0);
    let other = fixture("boot/systemd-boot-mkinitcpio.capture");
    let changes = capture_text::parse(&fs::read_to_string(&other).unwrap()).unwrap();
    for (path, _) in changes.entries().filter(|(_, entry)| **entry == Entry::Absent) {
        let place = dir.0.join(path.trim_start_matches('/'));
        let _ = fs::remove_file(&place).or_else(|_| fs::remove_dir_all(&place));
    }
    unpack(other.as_ref(), &dir.0);
    dir
}

const NEW: &str = "boot/loader/entries/new.conf";

/// As kernel-install does for a new kernel.
fn add_kernel(dir: &Dir) {
    let text = format!("title New\nlinux /vmlinuz-linux\ninitrd /initramfs-linux.img\noptions {}\n", last_line(dir, "etc/kernel/cmdline"));
    fs::write(dir.0.join(NEW), text).unwrap();
}

fn last_line(dir: &Dir, path: &str) -> String {
    fs::read_to_string(dir.0.join(path)).unwrap().lines().last().unwrap().to_owned()
}

#[test]
fn an_entry_made_from_what_two_operations_wrote_loses_both_in_turn() {
    let dir = with_entries("entry");
    let run = |arguments: &[&str]| code(&cede(&[&["--root", dir.0.to_str().unwrap(), "--yes"], arguments].concat()));
    let before = last_line(&dir, "etc/kernel/cmdline");
    assert_eq!(
        (run(&["apply", "00:02.0", "--accept-loss", "boot-display"]), run(&["apply", "01:00.0", "--accept-loss", "only-display"])),
        (1, 1)
    );
    add_kernel(&dir);
    assert_eq!(run(&["undo"]), 1);
    assert_eq!(last_line(&dir, NEW), format!("options {}", last_line(&dir, "etc/kernel/cmdline")));
    assert_eq!(run(&["undo"]), 1);
    assert_eq!((last_line(&dir, "etc/kernel/cmdline"), last_line(&dir, NEW)), (before.clone(), format!("options {before}")));
}

#[test]
fn an_entry_whose_words_an_undo_put_into_another_order_loses_them_too() {
    let dir = with_entries("order");
    let run = |arguments: &[&str]| code(&cede(&[&["--root", dir.0.to_str().unwrap(), "--yes"], arguments].concat()));
    let before = last_line(&dir, "etc/kernel/cmdline");
    assert_eq!((run(&["apply", "01:00.0"]), run(&["apply", "00:02.0", "--accept-loss", "only-display"]), run(&["undo", "1"])), (1, 1, 1));
    assert!(last_line(&dir, "etc/kernel/cmdline").ends_with("vfio-pci.ids=8086:3e9b intel_iommu=on"));
    add_kernel(&dir);
    assert_eq!(run(&["undo"]), 1);
    assert_eq!((last_line(&dir, "etc/kernel/cmdline"), last_line(&dir, NEW)), (before.clone(), format!("options {before}")));
}

#[test]
fn names_of_entries_stay_in_their_line() {
    let dir = with_entries("names");
    let entries = dir.0.join("boot/loader/entries");
    fs::rename(entries.join("linux.conf"), entries.join("x\nproved\u{202e}\u{1b}[2J.conf")).unwrap();
    for verb in [&["apply", "01:00.0"][..], &["undo"]] {
        let output = cede(&[&["--root", dir.0.to_str().unwrap(), "--yes"], verb].concat());
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("entries/x?proved??[2J.conf") && !said.contains("\nproved") && !said.contains('\u{202e}'), "{said}");
    }
}
