//! A system in a directory, with just enough programs that tools can be run inside it.

use super::Scratch;
use cede_host::Root;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

/// A system of a shell and `true`, with the libraries that they need here.
pub(crate) fn system(scratch: &Scratch) -> Root {
    for dir in ["proc", "sys", "dev", "run", "usr/bin", "usr/sbin", "etc"] {
        fs::create_dir_all(scratch.at(dir)).unwrap();
    }
    program(scratch, "/bin/sh");
    program(scratch, "/usr/bin/true");
    symlink("usr/bin", scratch.at("bin")).unwrap();
    Root::open(scratch.path()).unwrap()
}

/// Copies a program of this machine, with its libraries, into `/usr/bin`.
pub(crate) fn program(scratch: &Scratch, path: &str) {
    fs::copy(path, scratch.at("usr/bin").join(path.rsplit('/').next().unwrap())).unwrap();
    let libraries = Command::new("ldd").arg(path).output().unwrap();
    for word in String::from_utf8(libraries.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/')) {
        let place = scratch.at(word.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(word, place).unwrap();
    }
}

/// An executable file.
pub(crate) fn executable(scratch: &Scratch, path: &str, text: &str) {
    let path = scratch.write(path, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A tool that is a shell script.
pub(crate) fn script(scratch: &Scratch, name: &str, text: &str) {
    executable(scratch, &format!("usr/sbin/{name}"), &format!("#!/bin/sh\n{text}"));
}

/// Root may be without the right to mount, as in a container.
pub(crate) fn may_mount() -> bool {
    rustix::process::geteuid().is_root() && Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success())
}
