//! A directory that `cede` takes for `/` (by chroot): a host as files, the built binary, and tools that make real images and menus.

use super::Result;
use cede_model::{Capture, Entry};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What an operation may change. The rest of the tree is laid out once.
const CHANGING: [&str; 4] = ["etc", "boot", "var", "sys/firmware/efi/efivars"];

/// Tools that are replaced by this program.
const TOOLS: [&str; 7] = [
    "/usr/bin/mkinitcpio",
    "/usr/bin/run-parts",
    "/usr/bin/grub-mkconfig",
    "/usr/sbin/grub-mkconfig",
    "/usr/sbin/update-grub",
    "/usr/sbin/update-initramfs",
    "/usr/sbin/mkinitramfs",
];

/// Everything below [`CHANGING`]: path, mode, and bytes or link target. `None` for a directory.
pub(super) type Tree = Vec<(PathBuf, u32, Option<Vec<u8>>)>;

/// The directory, removed when dropped.
pub(super) struct Stage {
    root: PathBuf,
}

impl Stage {
    /// Lays a host out below `parent`.
    pub(super) fn make(parent: &Path, capture: &Capture, cede: &Path) -> Result<Self> {
        let root = parent.join(format!("cede-cuts-{}-{:?}", std::process::id(), std::thread::current().id()));
        let stage = Self { root };
        for (path, entry) in capture.entries() {
            stage.lay(path, entry)?;
        }
        for dir in ["dev", "etc", "boot", "var/lib", "tmp", "run"] {
            fs::create_dir_all(stage.root.join(dir))?;
        }
        fs::write(stage.root.join("dev/null"), "")?;
        let me = std::env::current_exe()?;
        for (from, to) in [(cede, "cede"), (&me, "tool")] {
            fs::copy(from, stage.root.join(to))?;
            stage.copy_libraries(from)?;
        }
        Ok(stage)
    }

    /// Puts what a start changes in the place of what is there; with an entry that is absent, takes it away.
    pub(super) fn put(&self, changes: &[(String, Entry)]) -> Result<()> {
        for (path, _) in changes {
            let place = self.root.join(path.trim_start_matches('/'));
            match fs::symlink_metadata(&place) {
                Ok(found) if found.is_dir() => fs::remove_dir_all(&place)?,
                Ok(_) => fs::remove_file(&place)?,
                Err(_) => {}
            }
        }
        changes.iter().try_for_each(|(path, entry)| self.lay(path, entry))
    }

    fn lay(&self, path: &str, entry: &Entry) -> Result<()> {
        let place = self.root.join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().ok_or("a path without a parent")?)?;
        match entry {
            Entry::File(bytes) if TOOLS.contains(&path) => {
                fs::write(&place, [b"#!/tool\n".as_slice(), bytes].concat())?;
                fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
            }
            Entry::File(bytes) => fs::write(&place, bytes)?,
            Entry::Present(size) => fs::write(&place, size.to_string())?,
            Entry::Link(target) => {
                if path.starts_with("/sys/") {
                    fs::create_dir_all(place.parent().ok_or("a path without a parent")?.join(target))?;
                }
                symlink(target, &place)?;
            }
            Entry::Dir => fs::create_dir_all(&place)?,
            Entry::Absent | Entry::Unreadable(_) => {}
        }
        Ok(())
    }

    /// What the dynamic linker wants: the paths that ldd prints.
    fn copy_libraries(&self, program: &Path) -> Result<()> {
        let output = Command::new("ldd").arg(program).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for path in text.split_whitespace().filter(|word| word.starts_with('/')) {
            let place = self.root.join(path.trim_start_matches('/'));
            fs::create_dir_all(place.parent().ok_or("a path without a parent")?)?;
            fs::copy(path, place)?;
        }
        Ok(())
    }

    fn changing(&self) -> impl Iterator<Item = PathBuf> {
        CHANGING.into_iter().map(|dir| self.root.join(dir)).filter(|dir| dir.is_dir())
    }

    /// The directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Everything that may change, as it is now.
    pub(super) fn tree(&self) -> Result<Tree> {
        let mut tree = Vec::new();
        for dir in self.changing() {
            walk(&dir, &mut tree)?;
        }
        tree.sort();
        Ok(tree)
    }

    /// What tells trees apart: the same where only chance and the clock make a difference: random names, the time in the journal, and the place
    /// of the stage. With the lock, which is all that is written elsewhere.
    pub(super) fn left(&self, tree: &Tree) -> Result<u64> {
        let mut tree = tree.clone();
        walk(&self.root.join("run"), &mut tree)?;
        for (path, _, content) in &mut tree {
            let name = path.strip_prefix(&self.root)?.to_string_lossy().into_owned();
            *path = match name.split_once("/.cede-") {
                Some((dir, rest)) => format!("{dir}/.cede-{}", rest.trim_start_matches(|c: char| c.is_ascii_hexdigit())).into(),
                None => name.clone().into(),
            };
            if let Some(bytes) = content.as_mut().filter(|_| name.ends_with(".jsonl") || name.starts_with("run/")) {
                *bytes = without_digits(bytes);
            }
        }
        tree.sort();
        let mut hasher = DefaultHasher::new();
        tree.hash(&mut hasher);
        Ok(hasher.finish())
    }

    /// Makes everything that may change as it was.
    pub(super) fn restore(&self, tree: &Tree) -> Result<()> {
        for dir in self.changing() {
            fs::remove_dir_all(dir)?;
        }
        for (path, mode, content) in tree {
            match content {
                None => fs::create_dir(path)?,
                Some(target) if is_link(*mode) => {
                    symlink(std::str::from_utf8(target)?, path)?;
                    continue;
                }
                Some(bytes) => fs::write(path, bytes)?,
            }
            fs::set_permissions(path, fs::Permissions::from_mode(*mode))?;
        }
        Ok(())
    }

    /// Runs `cede` in the directory, undisturbed.
    pub(super) fn cede(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([super::ENTER, "free"]).arg(&self.root).arg("/cede").args(arguments);
        Ok(command.env_clear().stdin(Stdio::null()).output()?)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be removed stays in a directory for temporary files.
        let _ = fs::remove_dir_all(&self.root);
    }
}

const fn is_link(mode: u32) -> bool {
    mode & 0o170_000 == 0o120_000
}

fn walk(dir: &Path, tree: &mut Tree) -> Result<()> {
    let mode = |path: &Path| fs::symlink_metadata(path).map(|found| found.permissions().mode());
    tree.push((dir.to_owned(), mode(dir)?, None));
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            walk(&path, tree)?;
        } else if kind.is_symlink() {
            tree.push((path.clone(), mode(&path)?, Some(fs::read_link(&path)?.into_os_string().into_encoded_bytes())));
        } else {
            tree.push((path.clone(), mode(&path)?, Some(fs::read(&path)?)));
        }
    }
    Ok(())
}

/// Numbers of five digits and more are times and process ids.
fn without_digits(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let parts = text.split_inclusive(|c: char| !c.is_ascii_digit());
    let plain = |part: &str| {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit()).len();
        if digits >= 5 { format!("#{}", part.get(digits..).unwrap_or_default()) } else { part.to_owned() }
    };
    parts.map(plain).collect::<String>().into_bytes()
}

/// A tree without our own state: what boots, and what a trial's generator read.
pub(super) fn without_state(tree: &Tree) -> Tree {
    let state = |path: &Path| path.components().any(|part| part.as_os_str() == "var") && !path.to_string_lossy().contains("/cede/trial");
    tree.iter().filter(|(path, ..)| !state(path)).cloned().collect()
}
