//! A write that may hang in the kernel is made by a child of our own: what hangs is then not this run, which goes on after a time limit.

use crate::files::root::Root;
use crate::interrupt;
use crate::lock;
use crate::machine::EffectError;
use cede_model::pci::PciAddress;
use cede_plan::runtime::Attribute;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The hidden verb by which the binary becomes that child.
pub const VERB: &str = "write-attribute";

/// How long a write may take where nothing else is said. A driver that lets go takes a second or two.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// How long a write may still take once it was told to end.
const GRACE: Duration = Duration::from_secs(2);

const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A write that did not end: the function, and the process in which it hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hanging {
    address: PciAddress,
    pid: u32,
}

/// What the child does. Returns the error number, 0 where all went well: it is the child's exit code.
pub fn write_here(path: &str, value: &str) -> u8 {
    if Attribute::parse(path).is_none() {
        return code(Errno::INVAL);
    }
    // As a shell opens it. One write: the kernel takes each as a value of its own.
    let open = std::fs::OpenOptions::new().write(true).truncate(true).open(path);
    let written = open.and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()));
    written.map_or_else(|error| error.raw_os_error().map_or_else(|| code(Errno::IO), |raw| u8::try_from(raw).unwrap_or(u8::MAX)), |()| 0)
}

fn code(errno: Errno) -> u8 {
    u8::try_from(errno.raw_os_error()).unwrap_or(u8::MAX)
}

/// Writes an attribute within a time limit.
///
/// # Errors
/// The kernel refuses, or does not answer.
pub(crate) fn write(root: &Root, path: &str, value: &str) -> Result<(), EffectError> {
    let address = Attribute::parse(path).and_then(|attribute| attribute.function(value));
    let address = address.ok_or_else(|| EffectError::File(format!("{path} is no attribute that cede writes")))?;
    if let Some(hanging) = root.hanging().iter().find(|hanging| hanging.address == address) {
        return Err(EffectError::File(format!("{address} is left as it is: the write before still hangs (pid {})", hanging.pid)));
    }
    let failed = |error: std::io::Error| EffectError::File(format!("{path}: {error}"));
    let held = lock::for_children(root)?;
    let mut command = Command::new("/proc/self/exe");
    command.args([VERB, path, value]).env_clear().current_dir("/").process_group(0);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(failed)?;
    drop(held);
    let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).map_err(|errno| failed(errno.into()))?;
    let limit = root.attribute_limit();
    if let Err(why) = wait(&ended, limit, true) {
        let hangs = give_up(&mut child, &ended);
        if hangs {
            root.hanging().push(Hanging { address, pid: child.id() });
        }
        return Err(EffectError::File(too_long(path, value, &why, hangs.then(|| child.id()))));
    }
    let status = child.wait().map_err(failed)?;
    match status.code() {
        Some(0) => Ok(()),
        Some(raw) => Err(EffectError::File(refused(path, value, Errno::from_raw_os_error(raw)))),
        None => Err(EffectError::File(format!("{path}: the process that wrote to it was ended ({status})"))),
    }
}

/// Waits for the end, within the limit and unless a signal asks to stop; the reason where it did not come.
fn wait(ended: &OwnedFd, limit: Duration, heeds_signals: bool) -> Result<(), String> {
    let start = Instant::now();
    loop {
        match poll(&mut [PollFd::new(ended, PollFlags::IN)], Some(&TICK)) {
            Ok(0) | Err(_) => {}
            Ok(_) => return Ok(()),
        }
        if let Some(signal) = interrupt::take().filter(|_| heeds_signals) {
            return Err(format!("{signal} was received while the kernel was at it"));
        }
        if start.elapsed() > limit {
            return Err(format!("the kernel did not answer within {} s", limit.as_secs()));
        }
    }
}

/// Ends the child where the kernel lets it. True where it hangs on.
fn give_up(child: &mut Child, ended: &OwnedFd) -> bool {
    let _ = kill_process(Pid::from_child(child), Signal::KILL);
    if wait(ended, GRACE, false).is_err() {
        return true;
    }
    let _ = child.wait();
    false
}

/// Says which write did not end, and what to do.
fn too_long(path: &str, value: &str, why: &str, hangs: Option<u32>) -> String {
    let what = format!("`echo {value} > {path}`: {why}");
    match hangs {
        Some(pid) => format!(
            "{what}; the write hangs on in process {pid}: `sudo cat /proc/{pid}/stack` and `sudo dmesg` tell where; end what still uses the function, then `sudo cede recover`; where it never ends only a reboot helps"
        ),
        None => what,
    }
}

/// Says what an error number of the kernel means here (drivers/base/bus.c, drivers/base/dd.c, drivers/vfio/pci/vfio_pci_core.c).
fn refused(path: &str, value: &str, errno: Errno) -> String {
    let binds = path.ends_with("/bind");
    let meaning = match errno {
        Errno::NODEV if binds => {
            "the driver does not take it: its ids or an override forbid it, or it failed with it; `sudo dmesg` may tell why"
        }
        Errno::NODEV => "another driver has it by now, or none",
        Errno::BUSY => "another driver has it, or its resources",
        Errno::INVAL if binds => "it is in no IOMMU group, or its group is in use by a guest",
        Errno::PERM | Errno::ACCESS => "the kernel does not allow it: lockdown, or not root",
        Errno::NOENT => "there is no such driver or function any more",
        _ => "`sudo dmesg` may tell why",
    };
    format!("`echo {value} > {path}`: {errno}: {meaning}")
}
