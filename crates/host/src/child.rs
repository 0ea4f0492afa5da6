//! Runs a tool to its end: hands its output on as it comes, says when it takes long, and ends it on a signal or after a time limit.

use crate::interrupt;
use crate::machine::{EffectError, ToolEnd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, test_kill_process_group};
use std::io::{PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A tool's output is kept up to this size, to explain a failure.
const OUTPUT_LIMIT: usize = 4 << 20;

/// Longer lines are handed on in pieces.
const LINE_LIMIT: usize = 1 << 16;

/// How often it is said that a tool still runs, and how soon a signal is seen.
const NOTICE: Duration = Duration::from_secs(30);
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// How long a tool may run. Software emulation takes some minutes for the images of two kernels.
const LIMIT: Duration = Duration::from_secs(3600);

/// The environment variable that sets another limit, in seconds.
const LIMIT_VARIABLE: &str = "CEDE_TOOL_SECONDS";

/// How long a tool that is asked to end may take.
const GRACE: Duration = Duration::from_secs(5);

/// How a command is started: here, or inside a mounted system.
pub(crate) type Start<'a> = &'a dyn Fn(&mut Command) -> std::io::Result<Child>;

/// A command with an environment of ours: what the caller's shell has set (`LD_PRELOAD`, `QEMU_…`, a `PATH` of its own) does not reach it.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/root")
        .current_dir("/");
    command
}

/// Runs a command in a process group of its own, without standard input. It ends with the tool: a daemon that the tool leaves behind and
/// that keeps the pipe open is not waited for.
///
/// # Errors
/// It could not be started or watched.
pub(crate) fn run(command: Command, start: Start<'_>, line: &mut dyn FnMut(&str)) -> Result<ToolEnd, EffectError> {
    run_until(command, start, limit(), &|_| false, line)
}

/// As [`run`], for no longer than `limit`, and until a line that is `enough`: then it is ended, and that is its success.
///
/// # Errors
/// It could not be started or watched.
pub(crate) fn run_until(
    mut command: Command,
    start: Start<'_>,
    limit: Duration,
    enough: &dyn Fn(&str) -> bool,
    line: &mut dyn FnMut(&str),
) -> Result<ToolEnd, EffectError> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| EffectError::Tool { tool: tool.clone(), why: error.to_string() };
    let (ours, theirs) = std::io::pipe().map_err(failed)?;
    rustix::io::ioctl_fionbio(&ours, true).map_err(|errno| failed(errno.into()))?;
    command.stdin(Stdio::null()).stdout(theirs.try_clone().map_err(failed)?).stderr(theirs).process_group(0);
    let child = start(&mut command).map_err(failed)?;
    // The command keeps our copies of the writing end; with them open the reader would never see the end.
    drop(command);
    let mut running = Running {
        child,
        pipe: Some(ours),
        partial: Vec::new(),
        output: String::new(),
        start: Instant::now(),
        line,
        limit,
        enough,
        has_enough: false,
    };
    let end = running.follow();
    if end.is_err() {
        // What goes back next must not be written by the tool once more.
        let _ = kill_process_group(Pid::from_child(&running.child), Signal::KILL);
        let _ = running.child.wait();
    }
    end.map_err(failed)
}

struct Running<'a> {
    child: Child,
    pipe: Option<PipeReader>,
    partial: Vec<u8>,
    output: String,
    start: Instant,
    line: &'a mut dyn FnMut(&str),
    limit: Duration,
    enough: &'a dyn Fn(&str) -> bool,
    has_enough: bool,
}

impl Running<'_> {
    fn follow(&mut self) -> std::io::Result<ToolEnd> {
        let pid = Pid::from_child(&self.child);
        let ended = pidfd_open(pid, PidfdFlags::empty())?;
        let limit = self.limit;
        let mut noticed = Duration::ZERO;
        let stopped = loop {
            if self.wait(&ended)? {
                break None;
            }
            if self.has_enough {
                break Some("it has done enough".to_owned());
            }
            if let Some(signal) = interrupt::take() {
                break Some(format!("ended by cede: {signal} was received"));
            }
            let runs = self.start.elapsed();
            if runs > limit {
                break Some(format!("ended by cede: it ran longer than {} s; {LIMIT_VARIABLE} sets another limit", limit.as_secs()));
            }
            if runs >= noticed + NOTICE {
                noticed = runs;
                (self.line)(&format!("(still running after {} s; Ctrl-C ends it, and everything is rolled back)", runs.as_secs()));
            }
        };
        if stopped.is_some() {
            self.stop(pid, &ended)?;
        }
        let status = self.child.wait()?;
        self.hand_on_rest();
        let output = std::mem::take(&mut self.output);
        Ok(match stopped {
            Some(why) => ToolEnd { success: self.has_enough, status: why, output },
            None => ToolEnd { success: status.success(), status: status.to_string(), output },
        })
    }

    /// Waits for output, the end, or a short time. True where the tool has ended.
    fn wait(&mut self, ended: &OwnedFd) -> std::io::Result<bool> {
        let mut watched = vec![PollFd::new(ended, PollFlags::IN)];
        watched.extend(self.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut watched, Some(&TICK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let has_ended = watched.first().is_some_and(|fd| !fd.revents().is_empty());
        self.drain();
        Ok(has_ended)
    }

    /// Reads what is there. A tool that prints without end is not read without end: what it prints meanwhile waits for the next time.
    fn drain(&mut self) {
        let mut buffer = vec![0; LINE_LIMIT];
        for _ in 0..16 {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => self.take(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= LINE_LIMIT {
                self.hand_on();
            }
        }
    }

    fn hand_on(&mut self) {
        let text = String::from_utf8_lossy(&self.partial).into_owned();
        let line = text.trim_end_matches(['\n', '\r']);
        (self.line)(line);
        self.has_enough |= (self.enough)(line);
        if self.output.len() < OUTPUT_LIMIT {
            self.output.push_str(&text);
        }
        self.partial.clear();
    }

    fn hand_on_rest(&mut self) {
        self.drain();
        if !self.partial.is_empty() {
            self.hand_on();
        }
    }

    /// Asks the tool and its children to end, and ends them where they do not.
    fn stop(&mut self, group: Pid, ended: &OwnedFd) -> std::io::Result<()> {
        // It may have ended by itself meanwhile.
        let _ = kill_process_group(group, Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < GRACE && !(self.wait(ended)? && test_kill_process_group(group).is_err()) {
            if self.child.try_wait()?.is_some() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = kill_process_group(group, Signal::KILL);
        Ok(())
    }
}

fn limit() -> Duration {
    let given = std::env::var(LIMIT_VARIABLE).ok().and_then(|text| text.parse().ok());
    given.map_or(LIMIT, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_environment_reaches_a_child() {
        let mut lines = Vec::new();
        let end = run(command("/usr/bin/env"), &Command::spawn, &mut |line| lines.push(line.to_owned())).unwrap();
        let mut names: Vec<&str> = lines.iter().filter_map(|line| line.split('=').next()).collect();
        names.sort_unstable();
        assert!(end.success && names == ["HOME", "LC_ALL", "PATH"] && std::env::vars_os().count() > 3, "{lines:?}");
    }
}
