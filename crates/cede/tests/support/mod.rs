//! Directories that look like hosts.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "clippy's exemption of tests does not reach what stands beside the tests here")]

pub(crate) mod handing_over;

use cede_model::{Entry, capture_text};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) fn fixture(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(path).to_str().unwrap().to_owned()
}

pub(crate) fn fixtures() -> PathBuf {
    fixture("hosts").into()
}

pub(crate) fn laptop() -> PathBuf {
    fixtures().join("arch-gtx1650-laptop/host.capture")
}

/// A directory that goes with the test.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cede-test-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The built binary, with nothing of the environment.
pub(crate) fn cede(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cede")).args(arguments).env_clear().output().unwrap()
}

/// As one line: where text is wrapped depends on its words.
pub(crate) fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// Lays a capture out as a tree, as a kernel would: functions are links into `/sys/devices`.
pub(crate) fn unpack(capture: &Path, root: &Path) {
    let capture = capture_text::parse(&fs::read_to_string(capture).unwrap()).unwrap();
    for (path, entry) in capture.entries() {
        let place = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        match entry {
            Entry::File(bytes) => fs::write(&place, bytes).unwrap(),
            Entry::Present(size) => fs::File::create(&place).unwrap().set_len(*size).unwrap(),
            Entry::Link(target) => {
                if capture.below(format!("{path}/")).next().is_some() {
                    fs::create_dir_all(place.parent().unwrap().join(target)).unwrap();
                }
                symlink(target, &place).unwrap();
            }
            Entry::Dir => fs::create_dir_all(&place).unwrap(),
            Entry::Absent | Entry::Unreadable(_) => {}
        }
    }
}

/// Everything below a directory: path, mode and bytes or link target.
pub(crate) fn manifest(dir: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    use std::os::unix::fs::PermissionsExt;
    let mut list = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        if kind.is_dir() {
            list.push((path.clone(), mode, Vec::new()));
            list.extend(manifest(&path));
        } else if kind.is_symlink() {
            list.push((path.clone(), mode, fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()));
        } else {
            list.push((path.clone(), mode, fs::read(&path).unwrap()));
        }
    }
    list.sort();
    list
}
