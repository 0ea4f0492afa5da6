//! Reading below a root: nothing outside it is seen, nothing hangs.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use cede_host::files::file_error::{FileError, FileKind};
use cede_host::files::root::Root;
use rustix::fs::Mode;
use support::Scratch;

fn fifo(path: &Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::from_raw_mode(0o600)).unwrap();
}

fn kind(error: FileError) -> FileKind {
    match error {
        FileError::WrongKind { kind, .. } => kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn absolute_links_and_dots_stay_inside() {
    let outer = Scratch::new();
    outer.write("secret", "outside");
    outer.write("root/secret", "inside");
    outer.write("root/etc/passwd", "root in the root");
    let at = |name: &str| outer.at("root").join(name);
    symlink("/etc/passwd", at("absolute")).unwrap();
    symlink("../../../../secret", at("etc/up")).unwrap();
    symlink("/etc", at("dir")).unwrap();
    symlink(outer.at("secret"), at("escape")).unwrap();
    let root = Root::open(outer.at("root")).unwrap();
    assert!(!root.is_live());
    for path in ["absolute", "/absolute", "dir/passwd", "/dir/../etc/passwd", "etc/../../etc/passwd"] {
        assert_eq!(root.read(path, 100).unwrap(), b"root in the root", "{path}");
    }
    assert_eq!(root.read("/etc/up", 100).unwrap(), b"inside");
    assert_eq!(root.read("/../../secret", 100).unwrap(), b"inside");
    assert!(root.read("escape", 100).unwrap_err().is_not_found());
    assert_eq!(root.read_link("dir").unwrap(), Path::new("/etc"));
    assert_eq!(root.metadata("dir").unwrap().kind, FileKind::Directory);
    assert_eq!(root.symlink_metadata("dir").unwrap().kind, FileKind::Symlink);
    let names: Vec<_> = root.read_dir("dir").unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["passwd", "up"]);
    let handle = root.open_dir("dir").unwrap();
    assert_eq!(handle.read("passwd", 100).unwrap(), b"root in the root");
    assert_eq!(kind(handle.read("up", 100).unwrap_err()), FileKind::Symlink);
    assert_eq!(handle.read_link("up").unwrap(), Path::new("../../../../secret"));
}

#[test]
fn the_live_root_reads_procfs_and_sysfs() {
    let root = Root::open("/").unwrap();
    assert!(root.is_live());
    let own = Scratch::new();
    let path = own.write("file", "text");
    assert_eq!(root.read(&path, 4).unwrap(), b"text");
    let cmdline = root.read("/proc/cmdline", 1 << 16).unwrap();
    assert_eq!(cmdline, fs::read("/proc/cmdline").unwrap());
    assert!(!cmdline.is_empty());
    let handle = root.open_dir("/sys/kernel").unwrap();
    let mut buffer = b"left over".to_vec();
    for name in ["uevent_seqnum", "notes"] {
        handle.read_into(name, &mut buffer).unwrap();
        let direct = fs::read(Path::new("/sys/kernel").join(name)).unwrap();
        assert_eq!(buffer, direct, "{name}");
        assert_eq!(root.read(Path::new("/sys/kernel").join(name), 1 << 20).unwrap(), direct);
    }
    // Longer than a page, given a page at a time.
    let btf = Path::new("/sys/kernel/btf");
    if btf.join("vmlinux").exists() {
        let whole = root.open_dir(btf).unwrap().read("vmlinux", 1 << 26).unwrap();
        assert_eq!(whole, fs::read(btf.join("vmlinux")).unwrap());
    } else {
        eprintln!("this kernel has no /sys/kernel/btf/vmlinux: reading beyond a page not tried on sysfs");
    }
}

#[test]
fn only_regular_files_are_read_and_nothing_hangs() {
    let scratch = Scratch::new();
    fifo(&scratch.at("fifo"));
    fs::create_dir(scratch.at("dir")).unwrap();
    let _socket = UnixListener::bind(scratch.at("socket")).unwrap();
    symlink("fifo", scratch.at("link")).unwrap();
    symlink("loop", scratch.at("loop")).unwrap();
    let root = Root::open(scratch.path()).unwrap();
    let handle = root.open_dir("/").unwrap();
    for (name, expected) in [("fifo", FileKind::Fifo), ("dir", FileKind::Directory), ("socket", FileKind::Socket)] {
        assert_eq!(kind(root.read(name, 10).unwrap_err()), expected);
        assert_eq!(kind(handle.read(name, 10).unwrap_err()), expected);
        assert_eq!(kind(handle.read_link(name).unwrap_err()), expected);
    }
    assert_eq!(kind(root.read("link", 10).unwrap_err()), FileKind::Fifo);
    let looped = root.read("loop", 10).unwrap_err();
    assert_eq!(looped.io().unwrap().raw_os_error(), Some(40), "{looped}");
    let live = Root::open("/").unwrap();
    assert_eq!(kind(live.read("/dev/null", 10).unwrap_err()), FileKind::CharDevice);
    assert!(root.read("absent/file", 10).unwrap_err().is_not_found());
    assert!(root.open_dir("fifo").unwrap_err().is_not_found());
    assert_eq!(kind(root.read_link("dir").unwrap_err()), FileKind::Directory);
}

#[test]
fn limits_are_exact() {
    let scratch = Scratch::new();
    scratch.write("big", vec![7; 100_000]);
    let root = Root::open(scratch.path()).unwrap();
    assert_eq!(root.read("big", 100_000).unwrap().len(), 100_000);
    let error = root.read("big", 99_999).unwrap_err();
    assert!(matches!(error, FileError::TooLarge { limit: 99_999, .. }), "{error}");
    assert_eq!(error.to_string(), "big: larger than 99999 bytes");
}

#[test]
fn listings_are_sorted_bytes_with_types() {
    let scratch = Scratch::new();
    scratch.write("b", "");
    scratch.write("B", "");
    fs::write(scratch.path().join(OsStr::from_bytes(b"\xff")), "").unwrap();
    fs::create_dir(scratch.at("a")).unwrap();
    symlink("nowhere", scratch.at("c")).unwrap();
    let listed = Root::open(scratch.path()).unwrap().read_dir("").unwrap();
    let found: Vec<(&[u8], FileKind)> = listed.iter().map(|entry| (entry.name.as_bytes(), entry.kind)).collect();
    let expected: [(&[u8], FileKind); 5] =
        [(b"B", FileKind::File), (b"a", FileKind::Directory), (b"b", FileKind::File), (b"c", FileKind::Symlink), (b"\xff", FileKind::File)];
    assert_eq!(found, expected);
}

#[test]
fn handles_take_single_names_only() {
    let scratch = Scratch::new();
    scratch.write("a/b", "x");
    let handle = Root::open(scratch.path()).unwrap().open_dir("a").unwrap();
    for name in ["", ".", "..", "../a/b", "/etc/passwd", "b/", "b\0"] {
        let error = handle.read(name, 10).unwrap_err();
        assert!(matches!(error, FileError::Name { .. }), "{name:?}: {error}");
        assert!(matches!(handle.read_link(name), Err(FileError::Name { .. })), "{name:?}");
    }
}

#[test]
fn files_below_a_handle_are_read_over_no_link() {
    let scratch = Scratch::new();
    scratch.write("all/real/type", "x");
    scratch.write("outside/type", "y");
    symlink("../outside", scratch.at("all/link")).unwrap();
    symlink("../../outside/type", scratch.at("all/real/link")).unwrap();
    let handle = Root::open(scratch.path()).unwrap().open_dir("all").unwrap();
    let mut bytes = b"before".to_vec();
    handle.read_below("real", "type", &mut bytes).unwrap();
    assert_eq!(bytes, b"x");
    for (dir, name) in [("link", "type"), ("real", "link")] {
        let error = handle.read_below(dir, name, &mut bytes).unwrap_err();
        assert!(matches!(error, FileError::WrongKind { kind: FileKind::Symlink, .. }), "{dir}/{name}: {error}");
        assert!(bytes.is_empty());
    }
    for (dir, name) in [("..", "outside"), ("real", ".."), ("real/..", "x"), ("", "real"), ("real", "../real/type")] {
        let error = handle.read_below(dir, name, &mut bytes).unwrap_err();
        assert!(matches!(error, FileError::Name { .. }), "{dir}/{name}: {error}");
    }
}

#[test]
fn directories_are_made_with_their_mode_and_told() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.at("have")).unwrap();
    symlink("/have", scratch.at("link")).unwrap();
    symlink("/nowhere", scratch.at("dangling")).unwrap();
    scratch.write("file", "");
    let root = Root::open(scratch.path()).unwrap();
    let made = root.create_dir_all("/link/a/b", 0o777).unwrap();
    assert_eq!(made, [Path::new("/link/a"), Path::new("/link/a/b")]);
    let mode = fs::metadata(scratch.at("have/a/b")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o777, "the mask of the process does not matter");
    assert!(root.create_dir_all("/link/a/b", 0o700).unwrap().is_empty());
    assert!(matches!(root.create_dir_all("new/../file/x", 0o755), Err(FileError::WrongKind { .. })));
    assert!(!scratch.at("new").exists(), "what was made before the error is removed");
    assert_eq!(kind(root.create_dir_all("dangling/x", 0o755).unwrap_err()), FileKind::Symlink);
    assert!(!scratch.at("nowhere").exists());
}

#[test]
fn a_root_must_be_a_directory() {
    let scratch = Scratch::new();
    let file = scratch.write("file", "");
    assert!(Root::open(file).unwrap_err().to_string().contains("is a regular file, not a directory"));
    assert!(Root::open(scratch.at("absent")).unwrap_err().is_not_found());
}
