//! `cargo xtask cuts`: `cede` killed, or failed by the kernel, at every system call of an operation; afterwards the host must be exactly as before
//! or exactly as wished, and `cede` must say which.

mod calls;
mod campaign;
mod hosts;
mod odd;
mod scenario;
mod stage;
mod stepper;
mod still;
mod tool;

use crate::results;
use campaign::{Campaign, Judged, KINDS, Tally};
use scenario::SCRIPTS;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The first argument with which this program starts itself inside a stage.
pub(crate) const ENTER: &str = "cuts-enter";

const USAGE: &str = "usage: cargo xtask cuts [--all] [--jobs N] [--host NAME] [--operation NAME] [--at CALL] [--cede PATH] [--keep] [KIND…]

  As root. Runs the built cede in a chroot, on files, with tools that make real images and menus, and stops it at its system calls.
  Faster with the files in memory (TMPDIR=/dev/shm) and as `cargo run --release -p xtask -- cuts`.

  still    the files as they are before and after every call, each different state recovered
  kill     every process is killed
  orphan   cede is killed and the tool that it started lives on
  again    killed, and the recovery killed too
  fail     one call fails: ENOSPC, EROFS, EIO, EDQUOT, EACCES, EINTR
  persist  from one call on, every call that changes a file fails: ENOSPC, EROFS, EIO
  signal   SIGINT, SIGTERM, SIGHUP
  odd      tools that fail, hang, lie, are killed, or leave a daemon (not at each call)

  --all    at every system call; without it, at those that change something and at each 20th of the others
  --jobs   runs at a time (2)
  --host   grub-mkinitcpio, grub-initramfs-tools, systemd-boot-mkinitcpio, systemd-boot-initramfs-tools; without it, all
  --operation  apply, undo, trial, 'undo of a trial', 'undo in the trial', confirm; without it, all
  --at     only at this call and some beside it, as a line of a lost one names it
  --cede   a binary made elsewhere
  --keep   add the counts to xtask/cuts-results.md";

const RESULTS: &str = "xtask/cuts-results.md";

/// How the file of results begins.
const HEAD: &str = "# Every instant of an operation, and where the host landed

Written by `cargo xtask cuts --keep`: the built cede on files, with tools that make real images and menus, stopped at its system calls (the kinds are in the
usage of `cargo xtask cuts`). *Still* has every call, the others those that change something and each 20th of the rest, unless it says *all*.

| host | kind | operation | instants | outcomes | lost |
|---|---|---|---|---|---|
";

struct Options {
    all: bool,
    jobs: usize,
    host: Option<String>,
    at: Option<usize>,
    operation: Option<String>,
    cede: Option<PathBuf>,
    keep: bool,
    kinds: Vec<String>,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options { all: false, jobs: 2, host: None, at: None, operation: None, cede: None, keep: false, kinds: Vec::new() };
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--all" => options.all = true,
            "--keep" => options.keep = true,
            "--jobs" => options.jobs = arguments.next()?.parse().ok().filter(|jobs| *jobs > 0)?,
            "--at" => options.at = Some(arguments.next()?.parse().ok()?),
            "--cede" => options.cede = Some(arguments.next()?.into()),
            "--operation" => options.operation = Some(arguments.next().filter(|name| SCRIPTS.iter().any(|script| script.name == name))?),
            "--host" => options.host = Some(arguments.next().filter(|name| hosts::HOSTS.iter().any(|(other, _)| other == name))?),
            kind if KINDS.iter().any(|(name, _)| *name == kind) => options.kinds.push(word),
            _ => return None,
        }
    }
    Some(options)
}

/// Runs the campaigns.
pub(crate) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let Some(options) = options(arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Inside the stage: becomes the program.
pub(crate) fn enter(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let (Some(how), Some(root), Some(program)) = (arguments.next(), arguments.next(), arguments.next()) else { return ExitCode::FAILURE };
    let Err(error) = stepper::enter(&how, &root, &program, arguments) else { return ExitCode::FAILURE };
    eprintln!("{program} in {root}: {error}");
    ExitCode::from(127)
}

/// Inside the stage: does the work of a regenerator.
pub(crate) fn tool(path: &str, arguments: impl Iterator<Item = String>) -> ExitCode {
    match tool::run(path, arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    let cede = options.cede.clone().map_or_else(built, Ok)?;
    let mut whole = true;
    for (host, changes) in hosts::HOSTS.iter().filter(|(name, _)| options.host.as_deref().is_none_or(|wanted| wanted == *name)) {
        let started = hosts::host(*changes)?;
        for (kind, campaign) in KINDS.iter().filter(|(name, _)| options.kinds.is_empty() || options.kinds.iter().any(|kind| kind == name)) {
            let start = Instant::now();
            let tally = Mutex::new(Tally::default());
            let work = Campaign {
                host: &started,
                cede: &cede,
                all: options.all,
                jobs: options.jobs,
                at: options.at,
                operation: options.operation.as_deref(),
                tally: &tally,
                judged: &Judged::default(),
            };
            work.run(*campaign)?;
            let tally = tally.into_inner().unwrap_or_default();
            println!("{host}: {kind}: {tally}, {} s", start.elapsed().as_secs());
            if options.keep {
                let kind = if options.all { format!("{kind}, all") } else { (*kind).to_owned() };
                results::keep(RESULTS, HEAD, &tally.lines(host, &kind))?;
            }
            whole &= tally.lost.is_empty();
        }
    }
    Ok(whole)
}

/// The program as it is now.
fn built() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let me = std::env::current_exe()?;
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "cede"]);
    if me.parent().is_some_and(|dir| dir.ends_with("release")) {
        build.arg("--release");
    }
    if !build.status()?.success() {
        return Err("cede could not be built".into());
    }
    Ok(me.parent().unwrap_or(Path::new(".")).join("cede"))
}
