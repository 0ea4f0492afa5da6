//! A running machine: start, run scripts as root, restart through its boot loader, stop.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use super::Outcome;
use super::progress::Progress;
use super::qemu::{self, Killed, Qemu};
use super::recipe::{Loader, Model};
use super::wire::{Answer, Wire};

const BOOT_TIMEOUT: Duration = Duration::from_secs(900);
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(900);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(500);
/// While a machine is watched.
const WATCH: Duration = Duration::from_millis(20);
/// The disk of a machine in its directory.
const OVERLAY: &str = "disk.qcow2";
/// What it wrote to it.
const LOG: &str = "writes.log";
/// A start that ended in this many kernel panics is not repeated again.
const PANICS_ALLOWED: usize = 2;

/// What a machine starts from; it is never written to.
pub(super) struct Disk {
    path: PathBuf,
    format: &'static str,
    is_logged: bool,
}

impl Disk {
    /// A disk as it was made.
    pub(super) fn base(path: &Path) -> Self {
        Self { path: path.to_owned(), format: "raw", is_logged: false }
    }

    /// An overlay that another machine left.
    pub(super) fn overlaid(path: &Path) -> Self {
        Self { format: "qcow2", ..Self::base(path) }
    }

    /// What the guest writes is kept in a log, too; and what it flushes survives the emulator.
    pub(super) fn logged(self) -> Self {
        Self { is_logged: true, ..self }
    }
}

/// What a machine is made of beside its model.
pub(super) struct Setting<'a> {
    /// What it starts from.
    pub(super) disk: &'a Disk,
    /// How often a boot loader is at work in a start.
    pub(super) loads: usize,
    /// Adds hardware.
    pub(super) more: &'a dyn Fn(&mut Qemu) -> Outcome<()>,
}

/// Kills the emulator when it goes.
pub(super) struct Machine {
    model: Model,
    qemu: Qemu,
    socket: PathBuf,
    process: Killed,
    wire: Wire,
    directory: PathBuf,
    console: PathBuf,
    /// Where in the console's log this boot begins.
    boot_start: usize,
    boots: usize,
    boot_id: String,
    progress: Rc<Progress>,
}

impl Machine {
    /// Starts a machine on a fresh overlay of `disk`, all its files in `directory`, and waits for
    /// its agent. `upload` becomes `/dev/vdb`.
    pub(super) fn start(model: Model, disk: &Disk, directory: &Path, upload: Option<&Path>, progress: &Rc<Progress>) -> Outcome<Self> {
        Self::start_with(model, &Setting { disk, loads: 1, more: &|_| Ok(()) }, directory, upload, progress)
    }

    /// As [`Machine::start`], with more hardware.
    pub(super) fn start_with(
        model: Model,
        setting: &Setting<'_>,
        directory: &Path,
        upload: Option<&Path>,
        progress: &Rc<Progress>,
    ) -> Outcome<Self> {
        let disk = setting.disk;
        let overlay = make_overlay(disk, directory)?;
        let console = directory.join("console.log");
        let mut qemu = Qemu::new(model, &console);
        match disk.is_logged {
            true => qemu.logged_disk(&overlay, &directory.join(LOG)),
            false => qemu.disk(&overlay, "qcow2", "unsafe"),
        }
        if model.loader() == Loader::SystemdBoot {
            let variables = directory.join("variables.fd");
            fs::copy(qemu::VARIABLES, &variables).map_err(|error| format!("{}: {error}", variables.display()))?;
            qemu.firmware(&variables);
        }
        if let Some(file) = upload {
            qemu.upload(file);
        }
        (setting.more)(&mut qemu)?;
        // Not in `directory`: the name of a socket may have no more than 107 bytes.
        let socket = std::env::temp_dir().join(format!("vm-{}-{model}", std::process::id()));
        qemu.agent(&socket);
        let (process, wire) = switch_on(&qemu, &socket, directory)?;
        let mut machine = Self {
            model,
            qemu,
            socket,
            process,
            wire,
            directory: directory.to_path_buf(),
            console,
            boot_start: 0,
            boots: 0,
            boot_id: String::new(),
            progress: Rc::clone(progress),
        };
        machine.await_agent(setting.loads)?;
        Ok(machine)
    }

    /// Runs a script with `bash` as root in `/`; any exit code is an answer.
    pub(super) fn run(&mut self, script: &str) -> Outcome<Answer> {
        self.wire.send(script)?;
        let start = Instant::now();
        loop {
            if let Some(answer) = self.wire.answer().map_err(|error| self.explain(&error))? {
                return Ok(answer);
            }
            let first = script.lines().find(|line| !line.is_empty()).unwrap_or_default();
            if start.elapsed() > SCRIPT_TIMEOUT {
                return Err(self.explain(&format!("`{first}`: no end after {SCRIPT_TIMEOUT:?}")));
            }
            self.progress.still(first);
            self.receive()?;
        }
    }

    /// As [`Machine::run`], and calls `tick` all the while.
    pub(super) fn watch(&mut self, script: &str, tick: &mut dyn FnMut(&mut Self) -> Outcome<()>) -> Outcome<Answer> {
        self.wire.send(script)?;
        self.wire.patience(WATCH)?;
        let start = Instant::now();
        let answer = loop {
            if let Some(answer) = self.wire.answer().map_err(|error| self.explain(&error))? {
                break answer;
            }
            if start.elapsed() > SCRIPT_TIMEOUT {
                return Err(self.explain(&format!("`{script}`: no end after {SCRIPT_TIMEOUT:?}")));
            }
            tick(self)?;
            self.progress.still(script);
            self.receive()?;
        };
        self.wire.patience(POLL)?;
        Ok(answer)
    }

    /// The last line on its console.
    pub(super) fn last_line(&self) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes).lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
    }

    /// The log of what it has written since it was switched on, and the length of the log now.
    pub(super) fn log(&self) -> (PathBuf, u64) {
        let path = self.directory.join(LOG);
        let length = fs::metadata(&path).map_or(0, |file| file.len());
        (path, length)
    }

    /// Kills the emulator outright, by SIGKILL, and starts the machine again from what it left.
    pub(super) fn power_cycle(&mut self) -> Outcome<()> {
        self.process.0.kill().and_then(|()| self.process.0.wait()).map_err(|error| format!("SIGKILL: {error}"))?;
        (self.process, self.wire) = switch_on(&self.qemu, &self.socket, &self.directory)?;
        self.boot_start = 0;
        self.await_agent(1)
    }

    /// Runs a script that must succeed, and gives what it printed.
    pub(super) fn output(&mut self, script: &str) -> Outcome<String> {
        let answer = self.run(script)?;
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        if answer.status == 0 {
            return Ok(text);
        }
        let talk = String::from_utf8_lossy(&answer.stderr);
        Err(format!("`{script}`: exit code {}\n{text}{talk}", answer.status))
    }

    /// Restarts as the owner of a machine would; firmware and boot loader load the kernel from the disk.
    pub(super) fn reboot(&mut self) -> Outcome<()> {
        self.reboot_over(1)
    }

    /// Restarts, where only the last of so many starts comes up.
    pub(super) fn reboot_over(&mut self, starts: usize) -> Outcome<()> {
        self.wire.send("systemctl --no-block reboot")?;
        self.await_agent(starts)
    }

    /// Waits for a restart that the machine makes by itself.
    pub(super) fn come_back(&mut self) -> Outcome<()> {
        self.await_agent(1)
    }

    /// Shuts down and waits for the end of the emulator.
    pub(super) fn power_off(mut self) -> Outcome<()> {
        self.wire.send("systemctl --no-block poweroff")?;
        let progress = Rc::clone(&self.progress);
        let ended = self.process.wait(BOOT_TIMEOUT, || progress.still("power off"))?;
        match ended {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.explain(&format!("QEMU: {status}"))),
            None => Err(self.explain("the machine did not power off")),
        }
    }

    /// Waits for an agent with a new boot id, and sees that the kernel came from the boot loader.
    fn await_agent(&mut self, starts: usize) -> Outcome<()> {
        let start = Instant::now();
        let boot_id = loop {
            match self.wire.ready() {
                Some(boot_id) if boot_id != self.boot_id => break boot_id,
                _ => self.check_start(start)?,
            }
            self.progress.still("the machine starts");
            self.receive()?;
        };
        self.boot_id = boot_id;
        self.boots += 1;
        let log = self.boot_log();
        let panics = log.matches(PANIC).count();
        let loads = log.matches(trace_of(self.model.loader())).count();
        self.boot_start = fs::metadata(&self.console).map_or(0, |file| usize::try_from(file.len()).unwrap_or(0));
        let path = self.directory.join(format!("boot-{}.log", self.boots));
        fs::write(&path, log).map_err(|error| format!("{}: {error}", path.display()))?;
        // A kernel that is given from outside comes without a loader each time.
        let expected = if starts == 0 { 0 } else { panics + starts };
        if loads != expected {
            return Err(format!("the boot loader was at work {loads} times in one start\n{}", qemu::tail(&path)));
        }
        let seconds = start.elapsed().as_secs_f64();
        let repeated = if panics > 0 { format!(", {panics} starts ended in a panic") } else { String::new() };
        self.progress.say(&format!("boot {} through the boot loader: {seconds:.0} s{repeated}", self.boots));
        Ok(())
    }

    fn check_start(&self, start: Instant) -> Outcome<()> {
        if self.boot_log().matches(PANIC).count() > PANICS_ALLOWED {
            return Err(self.explain("the kernel panics again and again"));
        }
        if start.elapsed() > BOOT_TIMEOUT {
            return Err(self.explain(&format!("not up after {BOOT_TIMEOUT:?}")));
        }
        Ok(())
    }

    fn receive(&mut self) -> Outcome<()> {
        self.wire.receive().map_err(|error| self.explain(&error))
    }

    /// The console since the last boot was complete: shutdown and the start after it.
    fn boot_log(&self) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.boot_start..).unwrap_or_default()).into_owned()
    }

    fn explain(&self, message: &str) -> String {
        format!("{message}\n{}", qemu::tail(&self.directory.join("qemu.log")))
    }
}

/// What stands on the console once for each start: GRUB's words, or those of the firmware when it starts systemd-boot.
fn trace_of(loader: Loader) -> &'static str {
    match loader {
        Loader::Grub => "Loading Linux ",
        Loader::SystemdBoot => "BdsDxe: starting ",
    }
}

const PANIC: &str = "Kernel panic - not syncing";

/// Starts the emulator, and has the port of its agent.
fn switch_on(qemu: &Qemu, socket: &Path, directory: &Path) -> Outcome<(Killed, Wire)> {
    let _ = fs::remove_file(socket);
    let _ = fs::remove_file(directory.join("console.log"));
    fs::write(directory.join(LOG), "").map_err(|error| format!("{}: {error}", directory.display()))?;
    let listener = UnixListener::bind(socket).map_err(|error| format!("{}: {error}", socket.display()))?;
    let log = directory.join("qemu.log");
    let mut process = qemu.start(&log)?;
    let stream = accept(&listener, &mut process).map_err(|error| format!("{error}\n{}", qemu::tail(&log)));
    let _ = fs::remove_file(socket);
    Ok((process, Wire::new(stream?)))
}

fn make_overlay(disk: &Disk, directory: &Path) -> Outcome<PathBuf> {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let overlay = directory.join(OVERLAY);
    let base = fs::canonicalize(&disk.path).map_err(|error| format!("{}: {error}", disk.path.display()))?;
    let output = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", disk.format, "-b"])
        .args([&base, &overlay])
        .output()
        .map_err(|error| format!("qemu-img: {error}"))?;
    match output.status.success() {
        true => Ok(overlay),
        false => Err(format!("qemu-img: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// The emulator connects while it starts; if it ends instead, that is the error.
fn accept(listener: &UnixListener, process: &mut Killed) -> Outcome<UnixStream> {
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    let start = Instant::now();
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).map_err(|error| error.to_string())?;
            stream.set_read_timeout(Some(POLL)).map_err(|error| error.to_string())?;
            return Ok(stream);
        }
        if let Ok(Some(status)) = process.0.try_wait() {
            return Err(format!("QEMU did not start: {status}"));
        }
        if start.elapsed() > CONNECT_TIMEOUT {
            return Err("QEMU did not connect to the agent's socket".into());
        }
        thread::sleep(Duration::from_millis(50));
    }
}
