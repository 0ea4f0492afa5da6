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
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use support::Scratch;

/// A system of a shell and `true`, with the libraries that they need here.
fn system(scratch: &Scratch) -> Root {
    for dir in ["proc", "sys", "dev", "run", "usr/bin", "usr/sbin", "etc"] {
        fs::create_dir_all(scratch.at(dir)).unwrap();
    }
    for program in ["/bin/sh", "/usr/bin/true"] {
        let to = if program == "/bin/sh" { "usr/bin/sh" } else { "usr/bin/true" };
        fs::copy(program, scratch.at(to)).unwrap();
        let libraries = Command::new("ldd").arg(program).output().unwrap();
        for word in String::from_utf8(libraries.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/')) {
            let place = scratch.at(word.trim_start_matches('/'));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(word, place).unwrap();
        }
    }
    symlink("usr/bin", scratch.at("bin")).unwrap();
    Root::open(scratch.path()).unwrap()
}

fn script(scratch: &Scratch, name: &str, text: &str) {
    let path = scratch.write(&format!("usr/sbin/{name}"), format!("#!/bin/sh\n{text}"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// Root may be without the right to mount, as in a container.
fn may_mount() -> bool {
    rustix::process::geteuid().is_root() && Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success())
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

/// As of Debian 12 where it makes an image.
const UPDATE: &str = "if test; then\n\tif mkinitramfs ${OPTS} \"${initramfs}.new\" \"${version}\"; then\n\t\tmv -f \"${initramfs}.new\" \"${initramfs}\"\n\tfi\nfi\nrun_bootloader()\n{\n\tif [ -d /etc/initramfs/post-update.d/ ]; then\n\t\trun-parts --arg=\"${version}\" \\\n\t\t\t/etc/initramfs/post-update.d/\n\tfi\n}\n";

/// A system with two kernels, of which one has an image, and a generator that says what it was asked for.
fn debian(scratch: &Scratch) -> Root {
    let root = system(scratch);
    for (path, text) in [("boot/vmlinuz-1", "k"), ("boot/initrd.img-1", "old"), ("boot/vmlinuz-2", "k"), ("boot/initrd.img-9", "stale")] {
        scratch.write(path, text);
    }
    script(scratch, "update-initramfs", &format!("echo as it is; exit 0\n{UPDATE}"));
    script(scratch, "mkinitramfs", "test ! -e /fails || { echo half > \"$2\"; exit 4; }\necho \"new for $3\" > \"$2\"\n");
    root
}

fn update(root: &Root) -> (bool, Vec<String>) {
    let mut lines = Vec::new();
    let argv = ["/usr/sbin/update-initramfs", "-u", "-k", "all"].map(str::to_owned);
    let end = root.run(&argv, &mut |line| lines.push(line.to_owned())).unwrap();
    (end.success, lines)
}

#[test]
fn an_image_is_made_aside_and_put_in_place_whole() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let root = debian(&scratch);
    fs::set_permissions(scratch.at("boot/initrd.img-1"), fs::Permissions::from_mode(0o600)).unwrap();
    let names = scratch.names("boot");
    let (success, lines) = update(&root);
    assert!(success && lines.len() == 1 && lines[0].starts_with("/usr/sbin/mkinitramfs -o /boot/.cede-"), "{lines:?}");
    assert_eq!(fs::read_to_string(scratch.at("boot/initrd.img-1")).unwrap(), "new for 1\n");
    assert_eq!(fs::metadata(scratch.at("boot/initrd.img-1")).unwrap().permissions().mode() & 0o777, 0o644, "the mode is the generator's");
    assert_eq!(scratch.names("boot"), names, "kernel 2 still has no image, and nothing is left behind");
    scratch.write("fails", "");
    assert!(!update(&root).0);
    assert_eq!((fs::read_to_string(scratch.at("boot/initrd.img-1")).unwrap().as_str(), scratch.names("boot")), ("new for 1\n", names));
}

/// Where update-initramfs would do anything else, it does all of it itself.
#[test]
fn what_is_not_known_of_update_initramfs_is_left_to_it() {
    if !may_mount() {
        return;
    }
    type Change = fn(&Scratch);
    let cases: [(&str, Change); 9] = [
        ("another script", |scratch| script(scratch, "update-initramfs", "echo as it is\n")),
        ("sums", |scratch| script(scratch, "update-initramfs", &format!("echo as it is; exit 0\n{UPDATE}sha1sum x\n"))),
        ("hooks of packages", |scratch| drop(scratch.write("usr/share/initramfs/post-update.d/x", ""))),
        ("hooks elsewhere", |scratch| {
            let elsewhere = UPDATE.replace("if [ -d /etc/", "if [ -d /usr/lib/");
            script(scratch, "update-initramfs", &format!("echo as it is; exit 0\n{elsewhere}"));
        }),
        ("hooks", |scratch| drop(scratch.write("etc/initramfs/post-update.d/flash-kernel", ""))),
        ("switched off", |scratch| drop(scratch.write("etc/initramfs-tools/update-initramfs.conf", "# x\nupdate_initramfs=no\n"))),
        ("backups", |scratch| drop(scratch.write("etc/initramfs-tools/update-initramfs.conf", "backup_initramfs=yes\n"))),
        ("a link", |scratch| {
            fs::rename(scratch.at("boot/initrd.img-1"), scratch.at("boot/other")).unwrap();
            symlink("other", scratch.at("boot/initrd.img-1")).unwrap();
        }),
        ("no kernel", |scratch| fs::rename(scratch.at("boot/vmlinuz-1"), scratch.at("boot/vmlinuz-9.sig")).unwrap()),
    ];
    for (name, change) in cases {
        let scratch = Scratch::new();
        let root = debian(&scratch);
        change(&scratch);
        assert_eq!(update(&root), (true, vec!["as it is".to_owned()]), "{name}");
    }
}
