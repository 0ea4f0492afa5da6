//! Runs tools inside a mounted system, as chroot(1) does, with the file systems of the running kernel that they need.
//!
//! A thread takes a mount namespace and a root directory of its own (unshare(2): `CLONE_NEWNS`, `CLONE_FS`), mounts there, and starts the tool,
//! which inherits both. Nobody else sees these mounts, and they go with the last process in that namespace, however it ends.

use crate::files::root::Root;
use rustix::fs::{OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_bind_recursive, mount_change};
use rustix::thread::UnshareFlags;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What the tools of a distribution look for: devices, and what the kernel and udev say of them.
const FROM_HERE: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

/// Programs that do nothing, to see whether any runs.
const NOTHING: [&str; 2] = ["/usr/bin/true", "/bin/true"];

/// Why no tool can be run inside the system; found out by running one that does nothing.
pub(crate) fn trouble(root: &Root) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can run them".to_owned());
    }
    let there = |path: &&&str| root.metadata(path).is_ok();
    let Some(nothing) = NOTHING.iter().find(there) else {
        return Some(format!("there is no {} in it, so it is no whole system", NOTHING.join(" or ")));
    };
    let mut command = Command::new(nothing);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = spawn(root, &mut command).and_then(|mut child| child.wait().map_err(|error| error.to_string()));
    match status {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("{nothing} ended there with {status}")),
        Err(why) => Some(why),
    }
}

/// Starts a command inside the system.
pub(crate) fn spawn(root: &Root, command: &mut Command) -> Result<Child, String> {
    let started = std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            enter(root.path())?;
            command.spawn().map_err(|error| explained(&error))
        });
        inside.join()
    });
    started.unwrap_or_else(|_| Err("the thread that starts tools ended early".to_owned()))
}

fn explained(error: &std::io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOEXEC) => "its programs do not run on this machine: they are for another architecture".to_owned(),
        _ => error.to_string(),
    }
}

/// Gives this thread the system as its root directory, in a mount namespace of its own.
fn enter(root: &Path) -> Result<(), String> {
    let failed = |doing: &str| {
        let doing = doing.to_owned();
        move |errno: Errno| format!("{doing}: {}", std::io::Error::from(errno))
    };
    own_namespace().map_err(failed("a mount namespace of its own is not to be had here"))?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).map_err(failed("making mounts private"))?;
    // As a mount point, so that tools find the file system of `/` in /proc/self/mountinfo.
    mount_bind_recursive(root, root).map_err(failed("mounting it onto itself"))?;
    let top = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, rustix::fs::Mode::empty())
        .map_err(failed("opening it"))?;
    for source in FROM_HERE {
        let target = below(&top, source).map_err(failed(&format!("opening its {source}")))?;
        let place = format!("/proc/self/fd/{}", target.as_raw_fd());
        mount_bind_recursive(source, &place).map_err(failed(&format!("mounting {source} in it")))?;
    }
    rustix::process::fchdir(&top).and_then(|()| rustix::process::chroot(".")).map_err(failed("chroot"))
}

/// Mount point and root directory of this thread alone.
#[expect(deprecated, reason = "the safe form; what is unsafe about unshare(2), CLONE_FILES, is not asked for")]
fn own_namespace() -> Result<(), Errno> {
    rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::FS)
}

/// A directory of the system; links on the way are not followed, for they may lead out of it.
fn below(top: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(top, path.trim_start_matches('/'), flags, rustix::fs::Mode::empty(), resolve)
}
