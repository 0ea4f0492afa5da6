//! Tools inside a mounted system: what they see, that nothing of it is left, and the reasons where they cannot be run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_host::{Machine, Root, boot_mounts};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use support::Scratch;
use support::system::{may_mount, script, system};

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

#[test]
fn a_tool_sees_its_system_and_the_running_kernel() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let root = system(&scratch);
    let before = mounts();
    assert_eq!(root.no_tools(), None);
    assert!(root.runs_tools());
    // Where it is, what it was given, and that `/` is a mount point for it.
    script(
        &scratch,
        "update-grub",
        "test -e /proc/self/stat && test -e /dev/null && test -d /sys/bus && pwd\nwhile read a b c d e f; do test \"$e\" = / && echo root; done < /proc/self/mountinfo\nset | while read line; do case $line in USER=*|CARGO*) echo dirty;; esac; done\necho here > /etc/made\nexit 3\n",
    );
    let mut lines = Vec::new();
    let end = root.run(&["/usr/sbin/update-grub".to_owned()], &mut |line| lines.push(line.to_owned())).unwrap();
    assert!(!end.success && end.status.contains('3'), "{end:?}");
    assert_eq!(lines.first().map(String::as_str), Some("/"), "{lines:?}");
    assert!(lines.contains(&"root".to_owned()) && !lines.contains(&"dirty".to_owned()), "{lines:?}");
    assert_eq!(fs::read(scratch.at("etc/made")).unwrap(), b"here\n");
    assert_eq!(mounts(), before, "nobody else sees the mounts");
    assert!(!Path::new("/etc/made").exists());
}

#[test]
fn what_cannot_be_run_is_told_with_the_reason() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let empty = Root::open(scratch.path()).unwrap();
    assert!(empty.no_tools().unwrap().contains("no whole system"));
    let scratch = Scratch::new();
    let root = system(&scratch);
    // An executable of another machine: an ELF header with e_machine 22, s390 (elf.h).
    let mut header = fs::read("/usr/bin/true").unwrap();
    (header[18], header[19]) = (22, 0);
    fs::write(scratch.at("usr/bin/true"), header).unwrap();
    assert!(root.no_tools().unwrap().contains("another architecture"), "{:?}", root.no_tools());
    let scratch = Scratch::new();
    let root = system(&scratch);
    fs::remove_dir(scratch.at("proc")).unwrap();
    symlink("/etc", scratch.at("proc")).unwrap();
    assert!(root.no_tools().unwrap().contains("/proc"), "a link may lead anywhere: {:?}", root.no_tools());
}

#[test]
fn file_systems_that_are_not_mounted_are_named() {
    let scratch = Scratch::new();
    scratch.write("etc/fstab", "UUID=1b7a / ext4 defaults 0 1\nUUID=2 /boot ext4 defaults 0 2\n\"UUID=3\" /boot/efi vfat umask=0077 0 1\nUUID=4 /efi vfat nofail 0 0\n# UUID=5 /boot/x\nUUID=6 /home ext4 defaults\nUUID=1b7a /var btrfs defaults,subvol=@var 0 0\n");
    fs::create_dir_all(scratch.at("boot/efi")).unwrap();
    let missing = boot_mounts::missing(&Root::open(scratch.path()).unwrap());
    let named: Vec<(&str, &str)> = missing.iter().map(|line| (line.source.as_str(), line.place.as_str())).collect();
    assert_eq!(named, [("UUID=2", "/boot"), ("UUID=3", "/boot/efi"), ("UUID=1b7a", "/var")]);
    assert_eq!(boot_mounts::of_state(&missing).and_then(|line| line.subvolume.as_deref()), Some("@var"));
    assert!(boot_mounts::missing(&Root::open("/").unwrap()).is_empty());
}
