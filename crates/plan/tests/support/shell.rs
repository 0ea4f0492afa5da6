//! Real shells, as `grub-mkconfig` and mkinitcpio use them.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the crate is pure; what it says of shells is held against shells")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A directory that goes away with its owner.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("cede-plan-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file below the directory.
    pub fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.0.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a script in an empty environment; its output, or `None` where it failed.
pub fn run(shell: &str, script: &str, argument: &Path) -> Option<Vec<u8>> {
    let mut command = Command::new(shell);
    command.env_clear().env("PATH", "/usr/bin:/bin").args(["-c", script, "sh"]).arg(argument);
    let output = command.output().unwrap_or_else(|error| panic!("{shell}: {error}"));
    output.status.success().then_some(output.stdout)
}

/// True where the shell is installed.
pub fn has(shell: &str) -> bool {
    Command::new(shell).args(["-c", ":"]).output().is_ok()
}
