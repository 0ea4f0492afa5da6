//! Runs a program with its children from one system call to the next (ptrace(2)), and kills it or fails the call where that is asked for.

use super::Result;
use super::stage::Stage;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// One system call.
pub(super) struct Call {
    /// How many were before it, in all processes of the run.
    pub(super) index: usize,
    /// Its number.
    pub(super) number: i64,
    /// Its arguments.
    pub(super) arguments: [u64; 6],
    /// Whether it is done already.
    pub(super) done: bool,
    /// Whether the program itself makes it, not one of its children.
    pub(super) own: bool,
}

/// What is done at a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// It goes its way.
    Go,
    /// Every process of the run is killed.
    KillAll,
    /// The program is killed and its children live on.
    KillOwn,
    /// The call is not made and returns this error.
    Fail(i32),
    /// The program gets a signal.
    Signal(Signal),
}

/// How a run ended.
pub(super) struct Ended {
    /// Its exit status; none where a signal ended it.
    pub(super) code: Option<i32>,
    /// That signal.
    pub(super) signal: Option<Signal>,
    /// What it said, both streams.
    pub(super) said: String,
}

struct Tracee {
    in_call: bool,
    fail: Option<i32>,
    started: bool,
}

/// What decides at each stop, and what is done while children live on without the program.
pub(super) struct Watch<'a> {
    /// Asked before each call and after it.
    pub(super) decide: &'a mut dyn FnMut(&Call) -> Action,
    /// Called once the program alone was killed, its children held still.
    pub(super) orphaned: &'a mut dyn FnMut(),
}

/// Runs `cede` in the stage.
pub(super) fn run(stage: &Stage, arguments: &[&str], watch: &mut Watch<'_>) -> Result<Ended> {
    let said = stage.root().with_extension("out");
    let file = fs::File::create(&said)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args([super::ENTER, "traced"]).arg(stage.root()).arg("/cede").args(arguments).env_clear();
    let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
    let main = Pid::from_raw(i32::try_from(child.id())?);
    let mut run = Run { main, tracees: HashMap::new(), calls: 0, code: None, signal: None, began: false, orphans: Vec::new() };
    run.tracees.insert(main, Tracee { in_call: false, fail: None, started: false });
    run.follow(watch)?;
    while run.orphans.iter().any(|pid| lives(*pid)) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let text = String::from_utf8_lossy(&fs::read(&said)?).into_owned();
    fs::remove_file(&said)?;
    Ok(Ended { code: run.code, signal: run.signal, said: text })
}

/// The child's side: asks to be traced, enters the stage, becomes the program.
pub(super) fn enter(how: &str, root: &str, program: &str, arguments: impl Iterator<Item = String>) -> Result<()> {
    if how == "traced" {
        ptrace::traceme()?;
        raise(Signal::SIGSTOP)?;
    }
    std::os::unix::fs::chroot(root)?;
    std::env::set_current_dir("/")?;
    Err(Command::new(program).args(arguments).exec().into())
}

struct Run {
    main: Pid,
    tracees: HashMap<Pid, Tracee>,
    calls: usize,
    code: Option<i32>,
    signal: Option<Signal>,
    /// The program itself is there; before that it is this one.
    began: bool,
    /// Children that were set free when the program was killed.
    orphans: Vec<Pid>,
}

impl Run {
    fn follow(&mut self, watch: &mut Watch<'_>) -> Result<()> {
        while let Some(status) = next()? {
            match status {
                WaitStatus::Exited(pid, code) => self.gone(pid, Some(code)),
                WaitStatus::Signaled(pid, signal, _) => {
                    self.gone(pid, None);
                    self.signal = Some(signal).filter(|_| pid == self.main).or(self.signal);
                }
                WaitStatus::PtraceSyscall(pid) => self.at_call(pid, watch)?,
                WaitStatus::PtraceEvent(pid, _, event) => {
                    self.began |= event == libc::PTRACE_EVENT_EXEC && pid == self.main;
                    go(pid, None);
                }
                WaitStatus::Stopped(pid, signal) => self.stopped(pid, signal)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn gone(&mut self, pid: Pid, code: Option<i32>) {
        self.tracees.remove(&pid);
        if pid == self.main {
            self.code = code;
        }
    }

    /// The first stop of each process is ours; later signals are its own.
    fn stopped(&mut self, pid: Pid, signal: Signal) -> Result<()> {
        let tracee = self.tracees.entry(pid).or_insert(Tracee { in_call: false, fail: None, started: false });
        if tracee.started || signal != Signal::SIGSTOP {
            go(pid, Some(signal));
            return Ok(());
        }
        tracee.started = true;
        if pid == self.main {
            let options = Options::PTRACE_O_TRACESYSGOOD
                | Options::PTRACE_O_TRACEFORK
                | Options::PTRACE_O_TRACEVFORK
                | Options::PTRACE_O_TRACECLONE
                | Options::PTRACE_O_TRACEEXEC
                | Options::PTRACE_O_EXITKILL;
            ptrace::setoptions(pid, options)?;
        }
        go(pid, None);
        Ok(())
    }

    fn at_call(&mut self, pid: Pid, watch: &mut Watch<'_>) -> Result<()> {
        let Some(tracee) = self.tracees.get_mut(&pid) else { return Ok(()) };
        // A process that was killed meanwhile is no longer to be asked.
        let Ok(mut registers) = ptrace::getregs(pid) else { return Ok(()) };
        tracee.in_call = !tracee.in_call;
        let done = !tracee.in_call;
        if let Some(code) = tracee.fail.take().filter(|_| done) {
            registers.rax = (-i64::from(code)).cast_unsigned();
            ptrace::setregs(pid, registers)?;
        }
        if !self.began {
            go(pid, None);
            return Ok(());
        }
        let r = &registers;
        let call = Call {
            index: self.calls,
            number: r.orig_rax.cast_signed(),
            arguments: [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9],
            done,
            own: pid == self.main,
        };
        self.calls += usize::from(done);
        match (watch.decide)(&call) {
            Action::KillAll => self.kill_all(),
            Action::KillOwn => return self.kill_own(pid, watch),
            Action::Fail(code) if !done => {
                if let Some(tracee) = self.tracees.get_mut(&pid) {
                    tracee.fail = Some(code);
                }
                registers.orig_rax = u64::MAX;
                ptrace::setregs(pid, registers)?;
            }
            Action::Signal(signal) => kill(self.main, signal)?,
            Action::Go | Action::Fail(_) => {}
        }
        go(pid, None);
        Ok(())
    }

    fn kill_all(&self) {
        for pid in self.tracees.keys() {
            // It may have ended by itself.
            let _ = kill(*pid, Signal::SIGKILL);
        }
    }

    /// Kills the program, holds its children at their next call, lets the watcher look, and sets them free.
    fn kill_own(&mut self, asked: Pid, watch: &mut Watch<'_>) -> Result<()> {
        let _ = kill(self.main, Signal::SIGKILL);
        let mut held = if asked == self.main { Vec::new() } else { vec![asked] };
        while self.tracees.len() > held.len() {
            let Some(status) = next()? else { break };
            match status {
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => self.gone(pid, None),
                WaitStatus::PtraceEvent(pid, ..) if pid == self.main => go(pid, None),
                other => {
                    if let Some(pid) = other.pid() {
                        self.tracees.entry(pid).or_insert(Tracee { in_call: false, fail: None, started: true });
                        held.push(pid);
                    }
                }
            }
        }
        (watch.orphaned)();
        for pid in held {
            let _ = ptrace::detach(pid, None);
            self.orphans.push(pid);
        }
        Ok(())
    }
}

/// Whether a process still does something: it is there and no zombie.
fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| !matches!(state, "Z" | "X"))
}

/// The next thing that happens to a child of this thread; `None` where there are no more.
fn next() -> Result<Option<WaitStatus>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Ok(status) => return Ok(Some(status)),
            Err(nix::errno::Errno::ECHILD) => return Ok(None),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// On to the next call. A process that was killed meanwhile cannot go on.
fn go(pid: Pid, signal: Option<Signal>) {
    let _ = ptrace::syscall(pid, signal);
}
