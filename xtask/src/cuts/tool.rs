//! The regenerators of the stage: those of the simulated host, writing as real ones do: in place, piece by piece.

use super::Result;
use cede_host::sim::tools;
use cede_host::{Root, Scope, observe};
use cede_model::{Capture, Entry};
use cede_plan::initramfs::mkinitcpio::builds::LENT;
use cede_plan::trial;
use std::fs;
use std::io::Write;

/// Where the stage says in which way the tool is to go wrong.
pub(super) const ODD: &str = "/odd";

/// Ways to go wrong.
pub(super) const ODDITIES: [&str; 8] =
    ["fails", "is killed", "leaves half", "lies", "hangs", "hangs deaf", "prints without end", "leaves a daemon"];

/// Pieces in which a file is written.
const PIECES: usize = 3;

/// The argument of the daemon that a tool leaves behind.
const DAEMON: &str = "daemon";

/// Longer than any test waits.
fn hang(deaf: bool) -> Result<()> {
    if deaf {
        nix::sys::signal::SigSet::all().thread_block()?;
    }
    std::thread::sleep(std::time::Duration::from_secs(60));
    Ok(())
}

/// What tools are given to read, which is no file of the host.
fn read_lent(state: &mut Capture) -> Result<()> {
    for directory in [trial::STATE, LENT] {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let entry = entry?;
            state.insert(format!("{directory}/{}", entry.file_name().to_string_lossy()), Entry::File(fs::read(entry.path())?));
        }
    }
    Ok(())
}

/// Runs as the tool at `path`, in the stage.
pub(super) fn run(path: &str, arguments: impl Iterator<Item = String>) -> Result<bool> {
    let argv: Vec<String> = std::iter::once(path.to_owned()).chain(arguments).collect();
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let odd = fs::read_to_string(ODD).unwrap_or_default();
    match odd.as_str() {
        "lies" => return Ok(true),
        "hangs" | "hangs deaf" => hang(odd == "hangs deaf")?,
        "prints without end" => loop {
            println!("and so on");
        },
        "leaves a daemon" if argv.len() == 2 && argv.iter().any(|word| word == DAEMON) => {
            nix::unistd::setsid()?;
            hang(false)?;
        }
        "leaves a daemon" => drop(std::process::Command::new("/tool").args([path, DAEMON]).spawn()?),
        _ => {}
    }
    let root = Root::open("/")?;
    let mut state = observe(&root, Scope::Full);
    read_lent(&mut state)?;
    let old = state.clone();
    let success = tools::run(&mut state, &words, &mut |line| println!("{line}")).ok_or("there is no such tool")?;
    for (path, entry) in state.entries() {
        if let Entry::File(bytes) = entry
            && old.file(path) != Some(bytes)
        {
            fs::create_dir_all(std::path::Path::new(path).parent().ok_or("a path without a parent")?)?;
            let mut file = fs::File::create(path)?;
            for piece in bytes.chunks(bytes.len().div_ceil(PIECES).max(1)) {
                file.write_all(piece)?;
                match odd.as_str() {
                    "fails" => return Ok(false),
                    "is killed" => nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?,
                    "leaves half" => return Ok(true),
                    _ => {}
                }
            }
        }
    }
    Ok(success)
}
