//! A mounted system that was given the running kernel's /proc, as for chroot(1), through the built binary.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::capture_text;
use cede_model::uses::mounts::mounts;
use std::fs;
use std::process::Command;
use support::{Dir, laptop, unpack};

#[test]
fn what_is_mounted_is_told_as_from_inside() {
    if !Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: this machine allows no mount namespace");
        return;
    }
    let dir = Dir::new("inside");
    unpack(&laptop(), &dir.0);
    fs::remove_dir_all(dir.0.join("proc")).unwrap();
    fs::create_dir(dir.0.join("proc")).unwrap();
    let root = dir.0.to_str().unwrap();
    let script = "mount -t tmpfs own \"$1/boot\" && mount --rbind /proc \"$1/proc\" && exec \"$2\" --root \"$1\" capture";
    let output = Command::new("unshare").args(["-m", "sh", "-c", script, "sh", root, env!("CARGO_BIN_EXE_cede")]).output().unwrap();
    let capture = capture_text::parse(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let seen: Vec<(String, String)> = mounts(&capture).unwrap().into_iter().map(|mount| (mount.place, mount.source)).collect();
    assert_eq!((seen[0].0.as_str(), &seen[1]), ("/", &("/boot".to_owned(), "own".to_owned())), "{seen:?}");
    assert!(seen[2..].iter().all(|(place, _)| place.starts_with("/proc")), "{seen:?}");
}
