//! Mounted systems, some with more mounted in them, through the built binary.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::capture_text;
use cede_model::uses::mounts::mounts;
use std::fs;
use std::process::{Command, Output};
use support::{Dir, code, flat, laptop, manifest, unpack};

fn may_mount() -> bool {
    let may = Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success());
    if !may {
        eprintln!("skipped: this machine allows no mount namespace");
    }
    may
}

/// Runs a shell script in a mount namespace of its own; `$1` is the root, `$2` the binary.
fn script(dir: &Dir, text: &str) -> Output {
    let arguments = ["-m", "sh", "-c", text, "sh", dir.0.to_str().unwrap(), env!("CARGO_BIN_EXE_cede")];
    Command::new("unshare").args(arguments).output().unwrap()
}

#[test]
fn a_file_that_is_a_mount_of_its_own_is_left_and_so_is_all_else() {
    if !may_mount() {
        return;
    }
    let dir = Dir::new("bound");
    unpack(&laptop(), &dir.0);
    let before = manifest(&dir.0.join("etc"));
    let bind = "mount --bind \"$1/etc/default/grub\" \"$1/etc/default/grub\"";
    for remount in ["true", "mount -o remount,bind,ro \"$1/etc/default/grub\""] {
        let output = script(&dir, &format!("{bind} && {remount} && exec \"$2\" --root \"$1\" apply 01:00.0 --yes"));
        let said = flat(&String::from_utf8_lossy(&output.stderr));
        assert!(code(&output) == 6 && said.contains("/etc/default/grub: is a mount of its own") && said.contains("`umount`"), "{said}");
        assert_eq!(manifest(&dir.0.join("etc")), before);
    }
    let read_only = "mount --bind \"$1/etc\" \"$1/etc\" && mount -o remount,bind,ro \"$1/etc\"";
    let output = script(&dir, &format!("{read_only} && exec \"$2\" --root \"$1\" apply 01:00.0 --yes"));
    let said = flat(&String::from_utf8_lossy(&output.stderr));
    assert!(code(&output) == 6 && said.contains("`mount -o remount,rw`"), "{said}");
    assert_eq!(manifest(&dir.0.join("etc")), before);
}

#[test]
fn what_is_mounted_is_told_as_from_inside() {
    if !may_mount() {
        return;
    }
    let dir = Dir::new("inside");
    unpack(&laptop(), &dir.0);
    fs::remove_dir_all(dir.0.join("proc")).unwrap();
    fs::create_dir(dir.0.join("proc")).unwrap();
    let output = script(&dir, "mount -t tmpfs own \"$1/boot\" && mount --rbind /proc \"$1/proc\" && exec \"$2\" --root \"$1\" capture");
    let capture = capture_text::parse(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let seen: Vec<(String, String)> = mounts(&capture).unwrap().into_iter().map(|mount| (mount.place, mount.source)).collect();
    assert_eq!((seen[0].0.as_str(), &seen[1]), ("/", &("/boot".to_owned(), "own".to_owned())), "{seen:?}");
    assert!(seen[2..].iter().all(|(place, _)| place.starts_with("/proc")), "{seen:?}");
}
