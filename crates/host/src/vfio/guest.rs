//! QEMU with firmware and the devices, and an end to it.

use super::ioctl::Answer;
use crate::child;
use crate::files::file_error::FileKind;
use crate::files::root::Root;
use crate::interrupt;
use cede_plan::prove::{End, Interface, Seen, Wish, guest, seabios};
use rustix::io::Errno;
use std::process::Command;
use std::time::Duration;

/// What `--version` may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A QEMU of this host.
#[derive(Debug, Clone)]
pub(super) struct Qemu {
    program: String,
    version: Option<(u32, u32)>,
}

impl Qemu {
    /// Looks where distributions put it, and asks for its version.
    pub(super) fn find(root: &Root) -> Answer<Self> {
        if cfg!(not(target_arch = "x86_64")) {
            return Err(Errno::OPNOTSUPP);
        }
        let is_there = |path: &&&str| root.metadata(path).is_ok_and(|found| found.kind == FileKind::File);
        let program = guest::PROGRAMS.iter().find(is_there).ok_or(Errno::NOENT)?;
        let mut command = child::command(program);
        command.arg("--version");
        // Where it cannot be run, its start will say why.
        let output = child::run_until(command, &Command::spawn, PATIENCE, &|_| false, &mut |_| {}).map(|end| end.output);
        Ok(Self { program: (*program).to_owned(), version: guest::version(&output.unwrap_or_default()) })
    }

    /// What was found.
    pub(super) fn seen(&self) -> Seen {
        Seen::Qemu(self.program.clone(), self.version)
    }

    /// The way to VFIO that it knows.
    fn interface(&self, wish: &Wish) -> Interface {
        guest::interface(wish, self.version)
    }

    /// Starts a guest and ends it when its firmware is done, or the time is over.
    pub(super) fn run(&self, wish: &Wish, limit: Duration) -> Answer<Seen> {
        // A signal ends the guest; the devices are looked at afterwards all the same.
        interrupt::watch();
        let mut command = child::command(&self.program);
        command.args(guest::arguments(wish, self.interface(wish)));
        let start = std::time::Instant::now();
        let end = match child::run_until(command, &Command::spawn, limit, &seabios::is_end, &mut |_| {}) {
            Ok(end) => end,
            Err(error) => return Ok(Seen::Guest(End::Exited(error.to_string()), String::new())),
        };
        let how = match end.success {
            true => End::Done,
            false if start.elapsed() > limit => End::TimedOut(limit.as_secs()),
            false => End::Exited(end.status),
        };
        Ok(Seen::Guest(how, end.output))
    }
}
