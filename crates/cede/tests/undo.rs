//! Sequences of operations through the built binary, to the byte.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use std::fs;
use std::process::{Command, Stdio};
use support::{Dir, cede, code, laptop, manifest, unpack};

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
