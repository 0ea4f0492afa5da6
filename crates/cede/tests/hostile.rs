//! Roots and captures made to hurt, through the built binary: it ends soon, in little memory, without a word raw to the terminal, and neither
//! reads nor writes anything outside the root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Dir, flat, laptop, manifest, unpack};

/// What stands only outside the root.
const CANARY: &str = "canary-outside";

const READING: [&[&str]; 11] = [
    &["status"],
    &["devices"],
    &["groups"],
    &["report"],
    &["check"],
    &["check", "01:00.0", "--json"],
    &["plan", "01:00.0"],
    &["verify"],
    &["log"],
    &["status", "--json"],
    &["capture"],
];

const CHANGING: [&[&str]; 3] = [&["apply", "01:00.0", "--yes"], &["undo", "--yes"], &["recover"]];

/// Runs cede with 1 GiB and 30 seconds; everything that is always forbidden is looked for here.
fn cede(place: &[&str], verb: &[&str], before: &[&str]) -> (i32, String) {
    let limits = ["timeout", "30", "prlimit", "--as=1073741824"];
    let words: Vec<&str> = limits.iter().chain(before).chain(&[env!("CARGO_BIN_EXE_cede")]).chain(place).chain(verb).copied().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let code = output.status.code().unwrap_or(-1);
    assert!((0..=8).contains(&code), "{verb:?}: ended with {code}: {said}");
    let raw = |c: char| (c.is_control() && c != '\n' && c != '\t') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!said.chars().any(raw), "{verb:?}: {said:?}");
    assert!(!said.contains(CANARY), "{verb:?}: {said}");
    (code, said)
}

/// A root, and a directory beside it that is none of its business.
struct Trap {
    dir: Dir,
}

impl Trap {
    fn new(name: &str) -> Self {
        let trap = Self { dir: Dir::new(name) };
        unpack(&laptop(), &trap.root());
        fs::create_dir_all(trap.outside()).unwrap();
        for file in ["grub", "00-cede.conf", "x.conf", "modules.alias"] {
            let text = format!("# {CANARY}\noptions vfio-pci ids=dead:beef\nGRUB_CMDLINE_LINUX_DEFAULT=\"{CANARY}\"\n");
            fs::write(trap.outside().join(file), text).unwrap();
        }
        trap
    }

    fn root(&self) -> PathBuf {
        self.dir.0.join("root")
    }

    fn outside(&self) -> PathBuf {
        self.dir.0.join("outside")
    }

    /// Makes room for something else at a path of the root.
    fn clear(&self, path: &str) -> PathBuf {
        let place = self.root().join(path);
        let _ = fs::remove_file(&place).or_else(|_| fs::remove_dir_all(&place));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        place
    }

    fn link(&self, path: &str, target: impl AsRef<Path>) {
        symlink(target, self.clear(path)).unwrap();
    }

    fn fifo(&self, path: &str) {
        assert!(Command::new("mkfifo").arg(self.clear(path)).status().unwrap().success());
    }

    /// Files without end in size, none on disk.
    fn sparse(&self, path: &str) {
        fs::File::create(self.clear(path)).unwrap().set_len(1 << 40).unwrap();
    }

    /// A device, where this user may make one.
    fn device(&self, path: &str, kind: [&str; 3]) {
        let _ = Command::new("mknod").arg(self.clear(path)).args(kind).stderr(std::process::Stdio::null()).status().unwrap();
    }

    fn spring(&self) {
        let outside = manifest(&self.outside());
        let root = self.root();
        let place = ["--root", root.to_str().unwrap()];
        for verb in READING.iter().chain(&CHANGING) {
            cede(&place, verb, &[]);
        }
        assert_eq!(manifest(&self.outside()), outside);
    }
}

/// Files that are read whole, of every kind of reader.
const FILES: [&str; 9] = [
    "etc/default/grub",
    "etc/mkinitcpio.conf",
    "etc/modprobe.d/x.conf",
    "boot/grub/grub.cfg",
    "proc/self/mountinfo",
    "lib/modules/6.11.5-arch1-1/modules.alias",
    "sys/bus/pci/devices/0000:01:00.0/uevent",
    "sys/bus/pci/devices/0000:01:00.0/config",
    "var/lib/cede/operations/0001.jsonl",
];

#[test]
fn links_that_lead_out_lead_nowhere() {
    let trap = Trap::new("links");
    let outside = trap.outside();
    let up = format!("{}{}", "../".repeat(30), outside.to_str().unwrap().trim_start_matches('/'));
    trap.link("etc/modprobe.d", &outside);
    trap.link("etc/default/grub", format!("{up}/grub"));
    trap.link("etc/mkinitcpio.conf.d", "/proc/self/root/etc");
    trap.link("lib/modules/6.11.5-arch1-1/modules.alias", outside.join("modules.alias"));
    trap.link("boot/loader", &up);
    trap.spring();
    let trap = Trap::new("state");
    trap.link("var/lib/cede", trap.outside());
    trap.spring();
    let trap = Trap::new("cycles");
    trap.link("etc/default/grub", "grub");
    trap.link("etc/modprobe.d", "modprobe.e");
    trap.link("etc/modprobe.e", "modprobe.d");
    trap.link("sys/bus/pci/devices/0000:09:00.0", "0000:09:00.0");
    for index in 0..60 {
        trap.link(&format!("etc/mkinitcpio.conf.d/{index}.conf"), format!("{}.conf", index + 1));
    }
    trap.spring();
}

#[test]
fn what_waits_or_never_ends_is_not_waited_for() {
    type Maker = fn(&Trap, &str);
    let makers: [(&str, Maker); 5] = [
        ("fifo", |trap, path| trap.fifo(path)),
        ("sparse", |trap, path| trap.sparse(path)),
        ("zero", |trap, path| trap.device(path, ["c", "1", "5"])),
        ("disk", |trap, path| trap.device(path, ["b", "7", "99"])),
        ("dir", |trap, path| fs::create_dir_all(trap.clear(path)).unwrap()),
    ];
    for (name, make) in makers {
        let trap = Trap::new(name);
        FILES.iter().for_each(|path| make(&trap, path));
        trap.spring();
    }
}

#[test]
fn names_and_texts_come_escaped_and_many_of_them_do_no_harm() {
    let trap = Trap::new("names");
    let names = ["\u{1b}]0;owned\u{7}", "a\nb", "\u{9b}2J", "\u{202e}cba", "x\r\u{1b}[2K"];
    for name in names {
        fs::write(
            trap.root().join(format!("etc/mkinitcpio.d/{name}.preset")),
            format!("PRESETS=('{name}')\n{name}_image=\"/boot/{name}\"\n"),
        )
        .unwrap();
        fs::write(trap.root().join(format!("etc/modprobe.d/{name}.conf")), format!("softdep {name} pre: {name}\n")).unwrap();
        fs::write(trap.root().join(format!("boot/vmlinuz-{name}")), "x").unwrap();
    }
    let text = names.join(" ");
    fs::write(trap.root().join("etc/os-release"), format!("ID=arch\nPRETTY_NAME=\"{text}\"\n")).unwrap();
    fs::write(trap.root().join("proc/sys/kernel/osrelease"), &text).unwrap();
    fs::write(trap.root().join("proc/cmdline"), &text).unwrap();
    fs::write(trap.root().join("proc/self/mountinfo"), format!("1 1 259:2 / / rw - {text} /dev/{text} rw\n")).unwrap();
    for number in 0..20_000 {
        fs::write(trap.root().join(format!("boot/{number}")), "").unwrap();
    }
    trap.spring();
}

#[test]
fn every_look_up_stays_below_the_root() {
    let trap = Trap::new("traced");
    trap.link("etc/modprobe.d", trap.outside());
    trap.link("etc/default/grub", trap.outside().join("grub"));
    let log = trap.dir.0.join("calls");
    let root = trap.root();
    let tracer = ["strace", "-f", "-y", "-e", "trace=%file,openat2", "-o", log.to_str().unwrap()];
    let mut seen = 0;
    for verb in READING.iter().chain(&CHANGING) {
        cede(&["--root", root.to_str().unwrap()], verb, &tracer);
        let calls = fs::read_to_string(&log).unwrap();
        let start = calls.lines().position(|line| line.contains("openat(AT_FDCWD") && line.contains(root.to_str().unwrap())).unwrap();
        for line in calls.lines().skip(start).filter(|line| !line.contains(") = -1 ")) {
            seen += usize::from(line.contains("openat2("));
            let result = line.rsplit_once(" = ").and_then(|(_, result)| result.split_once('<')).map(|(_, path)| path.trim_end_matches('>'));
            // What it reads of itself: its session, for the lock.
            let itself = line.contains("\"/proc/self/stat\"");
            assert!(itself || result.is_none_or(|path| path.starts_with(root.to_str().unwrap())), "{line}");
            let absolute = line.split('"').nth(1).is_some_and(|path| path.starts_with('/'));
            let own = line.contains(&format!("\"{}", root.to_str().unwrap())) || line.contains("\"/\"") || line.contains("/proc/self/");
            assert!(line.contains("openat2(") || !absolute || own || line.contains("/sys/fs/cgroup"), "{line}");
        }
    }
    assert!(seen > 500, "{seen}");
}

#[test]
fn hostile_captures_end_in_a_word() {
    let dir = Dir::new("captures");
    let deep = "a/".repeat(100_000);
    let nested = format!("cede.capture/1\nfile /etc/default/grub\n| GRUB_CMDLINE_LINUX_DEFAULT=\"{}\"\n", "$(".repeat(50_000));
    let cases = [
        ("size", "cede.capture/1\nseen /boot/x 99999999999999999999999\nseen /boot/y 18446744073709551615\n".to_owned()),
        ("deep", format!("cede.capture/1\ndir /{deep}\nfile /sys/bus/pci/devices/{deep}\n| x\n")),
        ("nested", nested),
        ("escape", "cede.capture/1\nnote \u{1b}[2J\nfile /proc/cmdline\n| \u{1b}]0;x\u{7}\nbad\u{1b}[2J line\n".to_owned()),
        ("hex", "cede.capture/1\nhex /sys/bus/pci/devices/0000:00:00.0/config\n| zz\n".to_owned()),
        (
            "functions",
            (0..30_000).fold("cede.capture/1\n".to_owned(), |text, n| text + &format!("dir /sys/bus/pci/devices/{n:04x}:00:00.0\n")),
        ),
        ("loop", "cede.capture/1\nlink /sys/bus/pci/devices/0000:00:01.0 -> 0000:00:01.0\nlink /etc -> /etc\n".to_owned()),
    ];
    for (name, text) in cases {
        let file = dir.0.join(name);
        fs::write(&file, text).unwrap();
        for verb in READING.iter().filter(|verb| **verb != ["capture"]) {
            cede(&["--host", file.to_str().unwrap()], verb, &[]);
        }
    }
    let endless = dir.0.join("endless");
    fs::File::create(&endless).unwrap().set_len(1 << 40).unwrap();
    let fifo = dir.0.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for path in [endless.to_str().unwrap(), fifo.to_str().unwrap(), "/dev/zero", "/"] {
        let (code, said) = cede(&["--host", path], &["status"], &[]);
        assert!(code == 3 && said.contains(path), "{code} {said}");
    }
}

/// An initramfs image of 256 KiB that unpacks to 8 GiB: a cpio member, and then one byte over and over (RFC 8878, blocks of type RLE).
fn bomb() -> Vec<u8> {
    let block = |last: u32, kind: u32, size: u32| ((size << 3) | (kind << 1) | last).to_le_bytes()[..3].to_vec();
    let fields = ["00000001", "000081a4", "00000000", "00000000", "00000001", "00000000", "f0000000"];
    let member = format!("070701{}{}{:08x}00000000a\0", fields.concat(), "00000000".repeat(4), 2);
    let magic_and_window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    let endless = [block(0, 1, 131_072), vec![b'x']].concat().repeat(65_536);
    [&magic_and_window[..], &block(0, 0, u32::try_from(member.len()).unwrap()), member.as_bytes(), &endless].concat()
}

/// Root below its own root, with a shell and tools that do nothing.
#[test]
fn an_image_that_never_ends_is_refused_in_bounded_time_and_memory() {
    if !Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: this machine allows no mount namespace");
        return;
    }
    let trap = Trap::new("bomb");
    for (program, to) in [("/bin/sh", "usr/bin/sh"), ("/usr/bin/true", "usr/bin/true")] {
        let libraries = Command::new("ldd").arg(program).output().unwrap();
        let libraries = String::from_utf8(libraries.stdout).unwrap();
        for (from, to) in
            libraries.split_whitespace().filter(|word| word.starts_with('/')).map(|word| (word, &word[1..])).chain([(program, to)])
        {
            fs::copy(from, trap.clear(to)).unwrap();
        }
    }
    trap.link("bin", "usr/bin");
    for dir in ["proc", "sys", "dev", "run"] {
        fs::create_dir_all(trap.root().join(dir)).unwrap();
    }
    for (tool, text) in [("mkinitcpio", "#!/bin/sh\n"), ("grub-mkconfig", "#!/bin/sh\necho menuentry >\"$2\"\n")] {
        let place = trap.clear(&format!("usr/bin/{tool}"));
        fs::write(&place, text).unwrap();
        fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    fs::create_dir_all(trap.root().join("boot/grub")).unwrap();
    let image = trap.clear("boot/initramfs-linux.img");
    fs::write(&image, bomb()).unwrap();
    let (code, said) = cede(&["--root", trap.root().to_str().unwrap()], &["apply", "01:00.0", "--yes"], &[]);
    assert_eq!(code, 6, "{said}");
    let said = flat(&said);
    assert!(said.contains("/boot/initramfs-linux.img") && said.contains("more than 2147483648 unpacked bytes"), "{said}");
    assert_eq!(fs::read(&image).unwrap(), bomb());
}
