//! A mount namespace of our own, in which the invented host stands at `/sys` for programs that look nowhere else.

use super::Result;
use std::path::Path;
use std::process::{Command, Stdio};

/// The words that start a program in a private mount namespace; `None` where this user can have none.
pub(super) fn unshare() -> Option<Vec<&'static str>> {
    let ways = [vec!["unshare", "--mount"], vec!["unshare", "--map-root-user", "--mount"]];
    ways.into_iter().find(|way| {
        let words = way.iter().skip(1).chain(&["mount", "--bind", "/sys", "/sys"]);
        quiet(Command::new("unshare").args(words)).is_ok_and(|done| done)
    })
}

/// The tree at `/sys`, until dropped. Only for a process in a mount namespace of its own.
pub(super) struct Mounted;

impl Mounted {
    pub(super) fn over_sys(tree: &Path) -> Result<Self> {
        if quiet(Command::new("mount").arg("--bind").arg(tree.join("sys")).arg("/sys"))? {
            return Ok(Self);
        }
        Err("could not mount the invented host at /sys".into())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What stays mounted goes with the namespace.
        let _ = quiet(Command::new("umount").arg("/sys"));
    }
}

fn quiet(command: &mut Command) -> Result<bool> {
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
}
