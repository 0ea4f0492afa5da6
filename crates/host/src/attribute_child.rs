//! Writes that may hang in the kernel are made by a child of our own: what hangs is then not this run, which goes on after a time limit.
//! The child is told each write in a line, path and value with a tab between them, and answers each with a line: the error number, or 0.

use crate::files::root::Root;
use crate::interrupt;
use crate::lock;
use crate::machine::{AttributeWriter, EffectError};
use cede_model::pci::PciAddress;
use cede_plan::runtime::Attribute;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The hidden verb by which the binary becomes that child.
pub const VERB: &str = "write-attributes";

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

/// What the child does until nobody has more for it.
pub fn write_what_is_told() {
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { return };
        let (path, value) = line.split_once('\t').unwrap_or_default();
        if writeln!(std::io::stdout(), "{}", write_here(path, value)).is_err() {
            return;
        }
    }
}

/// Returns the error number, 0 where all went well.
fn write_here(path: &str, value: &str) -> i32 {
    if Attribute::parse(path).is_none() {
        return Errno::INVAL.raw_os_error();
    }
    // As a shell opens it. One write: the kernel takes each as a value of its own.
    let open = std::fs::OpenOptions::new().write(true).truncate(true).open(path);
    let written = open.and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()));
    written.map_or_else(|error| error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()), |()| 0)
}

/// A child that writes, started with the first write and ended with this value.
pub(crate) struct Writer<'r> {
    root: &'r Root,
    child: Option<Talk>,
}

/// A child and the two ends of the talk with it.
struct Talk {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl<'r> Writer<'r> {
    /// One that has no child yet.
    pub(crate) fn new(root: &'r Root) -> Self {
        Self { root, child: None }
    }

    fn start(&self) -> Result<Talk, String> {
        let held = lock::for_children(self.root).map_err(|error| error.to_string())?;
        let mut command = Command::new("/proc/self/exe");
        command.arg(VERB).env_clear().current_dir("/").process_group(0);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        drop(held);
        let mut child = started.map_err(|error| error.to_string())?;
        let ends = child.stdin.take().zip(child.stdout.take());
        let (requests, answers) = ends.ok_or("a child without pipes")?;
        Ok(Talk { child, requests, answers: BufReader::new(answers) })
    }

    /// The child's answer within the limit; without one it is ended, and where even that takes too long it is remembered as hanging.
    fn ask(&mut self, address: PciAddress, path: &str, value: &str) -> Result<i32, String> {
        let mut talk = self.child.take().map_or_else(|| self.start().map_err(|why| format!("{path}: {why}")), Ok)?;
        let told = talk.requests.write_all(format!("{path}\t{value}\n").as_bytes());
        if let Err(why) =
            told.map_err(|error| error.to_string()).and_then(|()| wait(talk.answers.get_ref(), self.root.attribute_limit(), true))
        {
            let hangs = give_up(&mut talk.child);
            if hangs {
                self.root.hanging().push(Hanging { address, pid: talk.child.id() });
            }
            return Err(too_long(path, value, &why, hangs.then(|| talk.child.id())));
        }
        let mut answer = String::new();
        let read = talk.answers.read_line(&mut answer).ok().and_then(|_| answer.trim_end().parse().ok());
        match read {
            Some(raw) => {
                self.child = Some(talk);
                Ok(raw)
            }
            None => {
                let _ = talk.child.kill();
                let status = talk.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(format!("{path}: the process that wrote to it was ended ({status})"))
            }
        }
    }
}

impl AttributeWriter for Writer<'_> {
    fn write(&mut self, path: &str, value: &str) -> Result<(), EffectError> {
        let refuse = |why: String| Err(EffectError::File(why));
        if !self.root.is_live() {
            return refuse(format!("{path}: attributes are written on the running system alone"));
        }
        let address = Attribute::parse(path).and_then(|attribute| attribute.function(value));
        let Some(address) = address.filter(|_| !path.chars().chain(value.chars()).any(char::is_control)) else {
            return refuse(format!("{path} is no attribute that cede writes"));
        };
        let hangs = self.root.hanging().iter().find(|hanging| hanging.address == address).map(|hanging| hanging.pid);
        if let Some(pid) = hangs {
            return refuse(format!("{address} is left as it is: the write before still hangs (pid {pid})"));
        }
        match self.ask(address, path, value) {
            Ok(0) => Ok(()),
            Ok(raw) => refuse(refused(path, value, Errno::from_raw_os_error(raw))),
            Err(why) => refuse(why),
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let Some(Talk { mut child, requests, .. }) = self.child.take() else { return };
        // It ends when nobody has more for it.
        drop(requests);
        let _ = child.wait();
    }
}

/// Waits until something can be read, within the limit and unless a signal asks to stop; the reason where it did not come.
fn wait(ended: &impl AsFd, limit: Duration, heeds_signals: bool) -> Result<(), String> {
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
fn give_up(child: &mut Child) -> bool {
    let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty());
    let _ = kill_process(Pid::from_child(child), Signal::KILL);
    if ended.is_ok_and(|ended| wait(&ended, GRACE, false).is_err()) {
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
