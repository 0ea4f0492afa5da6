//! Replacing files: everything about a file but its content is kept, and on any error nothing is changed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use cede_host::files::file_error::{Change, FileError, FileKind};
use cede_host::files::replace_file::{remove_dir_if_empty, remove_file, replace_file};
use cede_host::files::root::Root;
use rustix::fs::{Mode, XattrFlags};
use support::Scratch;

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    let result = rustix::fs::setxattr(path, name, value, XattrFlags::empty());
    result.unwrap_or_else(|error| panic!("{}: {name}: {error}; set CEDE_TEST_DIR to a file system with user attributes", path.display()));
}

fn get_xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 65536];
    let count = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(count);
    Some(value)
}

fn changed(error: FileError) -> Change {
    match error {
        FileError::Changed { change, .. } => change,
        other => panic!("{other:?}"),
    }
}

#[test]
fn mode_owner_and_attributes_stay() {
    let scratch = Scratch::new();
    let path = scratch.write("etc/conf", "old");
    if is_root() {
        chown(&path, Some(1000), Some(1001)).unwrap();
    } else {
        eprintln!("not root: another owner not tried");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4640)).unwrap();
    set_xattr(&path, "user.empty", b"");
    set_xattr(&path, "user.test", &[0xff; 1000]);
    let before = fs::metadata(&path).unwrap();
    let root = Root::open(scratch.path()).unwrap();
    let report = replace_file(&root, "/etc/conf", Some(b"old"), b"new\n", 0o600).unwrap();
    assert!(!report.created);
    assert_eq!((report.hard_links, report.real_path.as_path()), (0, Path::new("/etc/conf")));
    let after = fs::metadata(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new\n");
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert_ne!(after.ino(), before.ino());
    assert_eq!(get_xattr(&path, "user.test").unwrap(), [0xff; 1000]);
    assert_eq!(get_xattr(&path, "user.empty").unwrap(), b"");
    assert_eq!(scratch.names("etc"), ["conf"]);
}

/// POSIX ACL version 2: owner rw, user 1234 r, group r, mask r, other none.
const ACL: &[u8] = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x04\0\xd2\x04\0\0\x04\0\x04\0\xff\xff\xff\xff\
    \x10\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";

#[test]
fn access_lists_stay_and_inherited_ones_are_not_added() {
    let scratch = Scratch::new();
    let with = scratch.write("with", "x");
    set_xattr(&with, "system.posix_acl_access", ACL);
    let without = scratch.write("without", "x");
    fs::set_permissions(&without, fs::Permissions::from_mode(0o640)).unwrap();
    set_xattr(scratch.path(), "system.posix_acl_default", ACL);
    let root = Root::open(scratch.path()).unwrap();
    for name in ["with", "without"] {
        replace_file(&root, name, Some(b"x"), b"y", 0o644).unwrap();
        assert_eq!(fs::metadata(scratch.at(name)).unwrap().mode() & 0o7777, 0o640, "{name}");
    }
    assert_eq!(get_xattr(&with, "system.posix_acl_access").as_deref(), Some(ACL));
    assert_eq!(get_xattr(&without, "system.posix_acl_access"), None);
}

#[test]
fn what_a_boot_loader_reads_leaves_no_old_name_behind() {
    let scratch = Scratch::new();
    let path = scratch.write("boot/grub/grub.cfg", "old");
    let before = fs::metadata(&path).unwrap().ino();
    let open = fs::File::open(&path).unwrap();
    let report = replace_file(&Root::open(scratch.at("")).unwrap(), "/boot/grub/grub.cfg", Some(b"old"), b"new", 0o644).unwrap();
    assert!(!report.created);
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_ne!(fs::metadata(&path).unwrap().ino(), before);
    assert_eq!(open.metadata().unwrap().nlink(), 0, "the old file has no name any more");
    assert_eq!(fs::read_dir(scratch.at("boot/grub")).unwrap().count(), 1);
}

#[test]
fn links_stay_links_and_lead_inside_the_root() {
    let outer = Scratch::new();
    outer.write("etc/real", "outside");
    outer.write("root/etc/real", "inside");
    let at = |name: &str| outer.at("root").join(name);
    symlink("/etc/real", at("absolute")).unwrap();
    symlink("../../../etc/real", at("etc/dots")).unwrap();
    fs::create_dir(at("deep")).unwrap();
    symlink("../absolute", at("deep/chain")).unwrap();
    symlink("/deep", at("way")).unwrap();
    symlink("/etc/made", at("dangling")).unwrap();
    symlink("loop", at("loop")).unwrap();
    let root = Root::open(outer.at("root")).unwrap();
    let mut now = b"inside".to_vec();
    for path in ["absolute", "etc/dots", "/way/chain", "way/../../../absolute"] {
        let report = replace_file(&root, path, Some(&now), path.as_bytes(), 0o644).unwrap();
        assert!(!report.created);
        now = path.as_bytes().to_vec();
        assert_eq!(fs::read(at("etc/real")).unwrap(), now);
    }
    assert!(fs::symlink_metadata(at("absolute")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(at("deep/chain")).unwrap().is_symlink());
    assert_eq!(fs::read(outer.at("etc/real")).unwrap(), b"outside");
    let report = replace_file(&root, "dangling", None, b"made", 0o600).unwrap();
    assert_eq!((report.created, report.real_path.as_path()), (true, Path::new("/etc/made")));
    assert_eq!(fs::read(at("etc/made")).unwrap(), b"made");
    remove_file(&root, "dangling", b"made").unwrap();
    assert!(!at("etc/made").exists() && fs::symlink_metadata(at("dangling")).is_ok());
    let looped = replace_file(&root, "loop", None, b"", 0o644).unwrap_err();
    assert_eq!(looped.io().unwrap().raw_os_error(), Some(40));
}

#[test]
fn new_files_have_exactly_the_mode() {
    let scratch = Scratch::new();
    let root = Root::open(scratch.path()).unwrap();
    for mode in [0o644, 0o600, 0o666, 0o755] {
        let name = format!("new-{mode:o}");
        let report = replace_file(&root, &name, None, b"x", mode).unwrap();
        assert!(report.created);
        assert_eq!(fs::metadata(scratch.at(&name)).unwrap().mode() & 0o7777, mode);
    }
    assert!(replace_file(&root, "absent/new", None, b"x", 0o644).unwrap_err().is_not_found());
    let large = vec![3; 3_000_000];
    replace_file(&root, "large", None, &large, 0o644).unwrap();
    assert_eq!(fs::read(scratch.at("large")).unwrap(), large);
}

#[test]
fn refuses_what_changed() {
    let scratch = Scratch::new();
    scratch.write("file", "now");
    let root = Root::open(scratch.path()).unwrap();
    let attempt = |name: &str, expected: Option<&[u8]>| changed(replace_file(&root, name, expected, b"new", 0o644).unwrap_err());
    assert_eq!(attempt("file", None), Change::Appeared);
    for other in [&b"no"[..], b"no!", b"now ", b""] {
        assert_eq!(attempt("file", Some(other)), Change::Content);
        assert_eq!(changed(remove_file(&root, "file", other).unwrap_err()), Change::Content);
    }
    assert_eq!(attempt("absent", Some(b"")), Change::Gone);
    assert_eq!(changed(remove_file(&root, "absent", b"").unwrap_err()), Change::Gone);
    assert_eq!(fs::read(scratch.at("file")).unwrap(), b"now");
    assert_eq!(scratch.names(""), ["file"]);
}

#[test]
fn refuses_what_is_no_regular_file() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.at("dir")).unwrap();
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, scratch.at("fifo"), mode).unwrap();
    let root = Root::open(scratch.path()).unwrap();
    for (name, expected) in [("dir", FileKind::Directory), ("fifo", FileKind::Fifo)] {
        for error in [
            replace_file(&root, name, Some(b""), b"x", 0o644).unwrap_err(),
            replace_file(&root, name, None, b"x", 0o644).unwrap_err(),
            remove_file(&root, name, b"").unwrap_err(),
        ] {
            assert!(matches!(error, FileError::WrongKind { kind, .. } if kind == expected), "{error}");
        }
    }
    for name in ["/", "", "..", "dir/..", "dir/"] {
        let error = replace_file(&root, name, None, b"x", 0o644).unwrap_err();
        assert!(matches!(error, FileError::Name { .. }), "{name:?}: {error}");
    }
    assert_eq!(scratch.names(""), ["dir", "fifo"]);
}

#[test]
fn hard_links_are_parted_and_told() {
    let scratch = Scratch::new();
    let path = scratch.write("a", "old");
    fs::hard_link(&path, scratch.at("b")).unwrap();
    fs::hard_link(&path, scratch.at("c")).unwrap();
    let root = Root::open(scratch.path()).unwrap();
    let report = replace_file(&root, "a", Some(b"old"), b"new", 0o644).unwrap();
    assert_eq!(report.hard_links, 2);
    assert_eq!(fs::read(scratch.at("b")).unwrap(), b"old");
    assert_eq!(fs::metadata(scratch.at("a")).unwrap().nlink(), 1);
}

#[test]
fn removes_files_and_empty_directories() {
    let scratch = Scratch::new();
    scratch.write("dir/file", "x");
    symlink("dir", scratch.at("link")).unwrap();
    let root = Root::open(scratch.path()).unwrap();
    assert!(!remove_dir_if_empty(&root, "dir").unwrap());
    remove_file(&root, "link/file", b"x").unwrap();
    assert!(matches!(remove_dir_if_empty(&root, "link"), Err(FileError::WrongKind { .. })));
    assert!(remove_dir_if_empty(&root, "dir").unwrap());
    assert!(!remove_dir_if_empty(&root, "dir").unwrap());
    assert_eq!(scratch.names(""), ["link"]);
}

#[test]
fn immutable_files_and_directories_are_named() {
    let scratch = Scratch::new();
    let path = scratch.write("dir/file", "x");
    let chattr = |flag: &str, path: &Path| {
        let status = Command::new("chattr").arg(flag).arg(path).status();
        status.is_ok_and(|status| status.success())
    };
    if !chattr("+i", &path) {
        eprintln!("skipped: chattr +i is refused here (not root, no e2fsprogs, or no such file system)");
        return;
    }
    let root = Root::open(scratch.path()).unwrap();
    let replaced = replace_file(&root, "dir/file", Some(b"x"), b"y", 0o644);
    let removed = remove_file(&root, "dir/file", b"x");
    assert!(chattr("-i", &path) && chattr("+i", &scratch.at("dir")));
    let in_dir = replace_file(&root, "dir/file", Some(b"x"), b"y", 0o644);
    assert!(chattr("-i", &scratch.at("dir")));
    assert!(matches!(replaced, Err(FileError::Immutable { path }) if path == Path::new("dir/file")));
    assert!(matches!(removed, Err(FileError::Immutable { .. })));
    assert!(matches!(in_dir, Err(FileError::Immutable { path }) if path == Path::new("dir")));
    assert_eq!(scratch.names("dir"), ["file"]);
}

#[test]
fn many_writers_leave_one_whole_file() {
    let scratch = Scratch::new();
    scratch.write("file", "start");
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let path = scratch.path();
            scope.spawn(move || {
                let root = Root::open(path).unwrap();
                for _ in 0..20 {
                    let now = root.read("file", 1 << 20).unwrap();
                    match replace_file(&root, "file", Some(&now), &vec![thread; 50_000], 0o644) {
                        Ok(_) | Err(FileError::Changed { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
    let last = fs::read(scratch.at("file")).unwrap();
    assert!(last.len() == 50_000 && last.iter().all(|byte| *byte == last[0]));
    assert_eq!(scratch.names(""), ["file"]);
}

/// Runs one test of this file again in a mount namespace of its own, with `script` run before in a directory `$DIR`.
/// `false`, with the reason printed, where mounts are not allowed.
fn in_namespace(test: &str, script: &str) -> bool {
    if std::env::var_os("CEDE_IN_NAMESPACE").is_some() {
        return true;
    }
    let probe = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !probe.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped {test}: mounting in a namespace is refused here (needs root): {probe:?}");
        return false;
    }
    let scratch = Scratch::new();
    let run = format!("set -e; {script}; exec \"$SELF\" --exact {test} --nocapture");
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &run])
        .env("CEDE_IN_NAMESPACE", "1")
        .env("DIR", scratch.path())
        .env("SELF", std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    match told.lines().find(|line| line.starts_with("skipped")) {
        Some(why) => eprintln!("{test}: {why}"),
        None => assert!(told.contains("1 passed"), "{told}"),
    }
    false
}

fn namespace_root() -> Root {
    Root::open(std::env::var_os("DIR").unwrap()).unwrap()
}

fn names_in_namespace() -> Vec<String> {
    let entries = fs::read_dir(std::env::var_os("DIR").unwrap()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_full_file_system() {
    if !in_namespace("a_full_file_system", "mount -t tmpfs -o size=64k none $DIR; echo old >$DIR/file") {
        return;
    }
    let root = namespace_root();
    let error = replace_file(&root, "file", Some(b"old\n"), &[1; 200_000], 0o644).unwrap_err();
    assert!(matches!(&error, FileError::NoSpace { path } if path == Path::new("file")), "{error}");
    assert_eq!(root.read("file", 10).unwrap(), b"old\n");
    assert_eq!(names_in_namespace(), ["file"]);
    replace_file(&root, "file", Some(b"old\n"), b"small", 0o644).unwrap();
}

#[test]
fn a_read_only_file_system() {
    let script = "mount -t tmpfs none $DIR; echo old >$DIR/file; mount -o remount,ro $DIR";
    if !in_namespace("a_read_only_file_system", script) {
        return;
    }
    let root = namespace_root();
    let replaced = replace_file(&root, "file", Some(b"old\n"), b"new", 0o644).unwrap_err();
    let created = replace_file(&root, "other", None, b"new", 0o644).unwrap_err();
    let removed = remove_file(&root, "file", b"old\n").unwrap_err();
    let made = root.create_dir_all("dir", 0o755).unwrap_err();
    for error in [replaced, created, removed, made] {
        assert!(matches!(error, FileError::ReadOnly { .. }), "{error}");
    }
}

/// The EFI system partition is FAT: no owners, no modes, no extended attributes.
#[test]
fn a_fat_file_system() {
    let script = "truncate -s 8M $DIR/img && PATH=$PATH:/sbin:/usr/sbin mkfs.vfat $DIR/img >/dev/null && mkdir $DIR/m && \
        mount -o loop,umask=0077 $DIR/img $DIR/m || { echo 'skipped: no mkfs.vfat (dosfstools), loop device or FAT here'; exit 0; }; \
        DIR=$DIR/m; echo old >$DIR/file";
    if !in_namespace("a_fat_file_system", script) {
        return;
    }
    let root = namespace_root();
    replace_file(&root, "file", Some(b"old\n"), b"new", 0o644).unwrap();
    replace_file(&root, "entry.conf", None, b"title x", 0o644).unwrap();
    assert!(matches!(replace_file(&root, "ENTRY.CONF", None, b"", 0o644), Err(FileError::Changed { .. })));
    assert_eq!(root.read("file", 10).unwrap(), b"new");
    remove_file(&root, "entry.conf", b"title x").unwrap();
    assert_eq!(names_in_namespace(), ["file"]);
}
