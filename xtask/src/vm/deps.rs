//! The programs of the host that make and run the machines.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Outcome;
use super::qemu;

/// Program and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 13] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("mmdebstrap", "mmdebstrap"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.fat", "dosfstools"),
    ("mcopy", "mtools"),
    ("sfdisk", "fdisk"),
    ("setpriv", "util-linux"),
    ("cpio", "cpio"),
    ("depmod", "kmod"),
    ("debugfs", "e2fsprogs"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
];

/// Files and the packages that bring them: the signing keys of the archive, where mmdebstrap finds them by itself, and UEFI firmware.
const FILES: [(&str, &str); 2] = [("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"), (qemu::FIRMWARE, "ovmf")];

/// Sees to it that all is there: root installs what is missing, others are told the command.
pub(super) fn ensure(asked: bool) -> Outcome<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if !asked && !is_root() {
        return Err(format!("missing packages; as root: apt-get install --no-install-recommends {packages}"));
    }
    println!("installing {packages}");
    apt_get(&["update"])?;
    // A qemu-utils of another suite (backports) refuses the system emulator of this one: apt would take it away without a word.
    let wanted: Vec<&str> = ["install", "-y", "--no-install-recommends"].iter().chain(&missing).copied().collect();
    if let Err(error) = apt_get(&[wanted.as_slice(), &["--no-remove"]].concat()) {
        let utils = format!("qemu-utils={}", candidate("qemu-system-x86").ok_or(error)?);
        apt_get(&[wanted.as_slice(), &["--allow-downgrades", &utils]].concat())?;
    }
    match self::missing().as_slice() {
        [] => Ok(()),
        left => Err(format!("still missing after installation: {}", left.join(" "))),
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn missing() -> Vec<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // mke2fs lives in sbin, which is not on everyone's path.
    let there = |program: &str| {
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|directory| directory.join(program).is_file())
    };
    PROGRAMS
        .iter()
        .filter(|(program, _)| !there(program))
        .chain(FILES.iter().filter(|(file, _)| !Path::new(file).exists()))
        .map(|(_, package)| *package)
        .collect()
}

fn apt_get(arguments: &[&str]) -> Outcome<()> {
    let status = Command::new("apt-get")
        .arg("-qq")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("apt-get: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("apt-get {}: {status}", arguments.join(" "))),
    }
}

fn candidate(package: &str) -> Option<String> {
    let output = Command::new("apt-cache").args(["policy", package]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    Some(line.to_owned())
}
