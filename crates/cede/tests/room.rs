//! Full disks and read-only ones, real mounts of a mount namespace of our own, through the built binary.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use std::process::Command;
use support::{Dir, laptop, manifest, unpack};

/// Applies below a root on which something is mounted first; what of it is in a mount goes with the namespace.
fn applied(dir: &Dir, mount: &str) -> (i32, String) {
    let script = format!("set -e; cd \"$ROOT\"; {mount}; exec \"$CEDE\" --root \"$ROOT\" apply 01:00.0 --yes");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]).env("ROOT", &dir.0).env("CEDE", env!("CARGO_BIN_EXE_cede"));
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), said)
}

#[test]
fn too_little_room_is_said_before_anything_is_written() {
    let full = "mkdir -p var/lib && mount -t tmpfs -o size=64k none var/lib";
    let full_etc = "cp -a etc etc.old && mount -t tmpfs -o size=400k none etc && cp -a etc.old/. etc";
    for (mount, place) in [(full, "/var/lib has too little room"), (full_etc, "/etc has too little room")] {
        let dir = Dir::new("room");
        unpack(&laptop(), &dir.0);
        let before = manifest(&dir.0.join("etc"));
        let (code, said) = applied(&dir, mount);
        assert!(code == 4 && said.contains(place) && said.contains("nothing was changed"), "{code} {said}");
        assert!(said.contains("0 MiB free, up to 2 MiB needed"), "{said}");
        assert_eq!(manifest(&dir.0.join("etc")), before);
        assert!(!dir.0.join("var/lib/cede/operations/0001.jsonl").exists());
    }
}

#[test]
fn a_read_only_disk_costs_nothing() {
    for (place, wanted) in [("etc", 6), ("var", 4)] {
        let dir = Dir::new("readonly");
        unpack(&laptop(), &dir.0);
        std::fs::create_dir_all(dir.0.join("var/lib")).unwrap();
        let before = manifest(&dir.0.join("etc"));
        let (code, said) = applied(&dir, &format!("mount --bind {place} {place} && mount -o remount,bind,ro {place}"));
        assert!(code == wanted && said.contains("read-only"), "{place}: {code} {said}");
        assert_eq!(manifest(&dir.0.join("etc")), before);
    }
}

/// A run with limits of its own, and what the journal directory holds after it.
fn limited(dir: &Dir, limits: &[&str], verb: &[&str]) -> (i32, String) {
    let mut command = Command::new("prlimit");
    command.args(limits).arg(env!("CARGO_BIN_EXE_cede")).args(["--root", dir.0.to_str().unwrap()]).args(verb);
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), said)
}

#[test]
fn a_limit_on_the_size_of_files_ends_no_run_in_its_middle() {
    let apply = ["apply", "01:00.0", "--yes"];
    let mut codes = std::collections::BTreeSet::new();
    for limit in [0, 1, 100, 1000, 4096, 6500, 6600, 6700, 6800, 6900, 7000] {
        let dir = Dir::new("fsize");
        unpack(&laptop(), &dir.0);
        let before = manifest(&dir.0.join("etc"));
        let (code, said) = limited(&dir, &[&format!("--fsize={limit}")], &apply);
        codes.insert(code);
        match code {
            4 | 6 => assert_eq!(manifest(&dir.0.join("etc")), before, "{limit}: {said}"),
            1 => assert!(said.contains("not finished"), "{said}"),
            _ => assert!(code == 7 && said.contains("recover"), "{limit}: {code} {said}"),
        }
        if code != 1 {
            assert_eq!(limited(&dir, &[], &["recover"]).0, 0);
            assert_eq!(manifest(&dir.0.join("etc")), before, "{limit}");
        }
    }
    assert!(codes.contains(&4) && codes.len() > 1, "{codes:?}");
}

#[test]
fn too_few_open_files_are_no_missing_files() {
    let dir = Dir::new("nofile");
    unpack(&laptop(), &dir.0);
    for limit in ["--nofile=8", "--nofile=20"] {
        for verb in [&["status"][..], &["check"], &["apply", "01:00.0", "--yes"], &["recover"]] {
            let (code, said) = limited(&dir, &[limit], verb);
            assert!(code == 3 && said.contains("may open") && said.contains("ulimit -n"), "{verb:?}: {code} {said}");
        }
    }
    assert_eq!(limited(&dir, &["--nofile=8:1024"], &["status"]).0, 0, "a soft limit is raised");
}
