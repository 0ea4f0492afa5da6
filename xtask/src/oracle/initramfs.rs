//! The initramfs: this very program, its libraries, and the modules of a kernel.

use super::Outcome;
use super::guest::MODULES;
use super::kernel::Kernel;
use cede_model::initramfs_image::newc::{NewcEntry, with_parents, write_newc};
use std::fs;
use std::path::Path;
use std::process::Command;

/// This program and the libraries that it was linked with: nothing has to be built for the machine.
pub(super) fn program() -> Outcome<Vec<NewcEntry>> {
    let path = std::env::current_exe().map_err(|error| format!("/proc/self/exe: {error}"))?;
    let output = Command::new("ldd").arg(&path).output().map_err(|error| format!("ldd: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let libraries = said.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    let mut entries = vec![executable("init", &path)?];
    for library in libraries {
        entries.push(executable(library.trim_start_matches('/'), Path::new(library))?);
    }
    Ok(entries)
}

fn executable(name: &str, path: &Path) -> Outcome<NewcEntry> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(NewcEntry { mode: 0o755, ..NewcEntry::file(name, bytes) })
}

/// Writes the archive for a kernel.
pub(super) fn write(program: &[NewcEntry], kernel: &Kernel, to: &Path) -> Outcome<()> {
    let mut entries: Vec<NewcEntry> = ["proc", "sys", "dev"].map(NewcEntry::directory).into();
    entries.extend_from_slice(program);
    let at = MODULES.trim_start_matches('/');
    entries.extend(kernel.modules.iter().map(|(name, module)| NewcEntry::file(&format!("{at}/{name}.ko"), module.clone())));
    let archive = write_newc(&with_parents(entries)).map_err(|error| error.to_string())?;
    fs::write(to, archive).map_err(|error| format!("{}: {error}", to.display()))
}
