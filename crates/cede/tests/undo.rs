//! Sequences of operations through the built binary, to the byte.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use std::fs;
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
