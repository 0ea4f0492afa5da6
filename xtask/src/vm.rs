//! `cargo xtask vm`: Debian machines with an emulated IOMMU, and the road of `cede` in them.
//!
//! Software emulation only, so it runs wherever QEMU runs. The disk of a machine is made once from
//! Debian's packages and kept under `.cache/vm`; every run works on a fresh overlay of it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::thread;

mod arguments;
mod by_hand;
mod deps;
mod facts;
mod image;
mod libvirt;
mod machine;
mod manifest;
mod many;
mod power;
mod progress;
mod prove;
mod qemu;
mod recipe;
mod small;
mod story;
mod wire;

use arguments::Arguments;
use progress::Progress;
use recipe::{Model, Supply};

/// What went wrong, as text for the person who reads the log.
type Outcome<T> = Result<T, String>;

/// Runs the chore; the arguments are those after `vm`.
pub(crate) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    match Arguments::parse(arguments) {
        Ok(None) => {
            println!("{}", arguments::USAGE);
            ExitCode::SUCCESS
        }
        Ok(Some(arguments)) => run(&arguments),
        Err(message) => {
            eprintln!("xtask vm: {message}\n\n{}", arguments::USAGE);
            ExitCode::from(2)
        }
    }
}

/// Installs the programs that make and run the machines.
pub(crate) fn install() -> Outcome<()> {
    deps::ensure(false)
}

/// The disks of the machines with VT-d (Debian's kernel) and with AMD-Vi (the backported one), made now where they are not there yet.
pub(crate) fn disks() -> Outcome<[PathBuf; 2]> {
    deps::ensure(false)?;
    let cache = workspace_root().join(".cache/vm");
    let disk = |model: Model| image::base(model, Supply::Road, &cache, &Progress::new(model.name()));
    Ok([disk(Model::Intel)?, disk(Model::Amd)?])
}

fn run(arguments: &Arguments) -> ExitCode {
    let root = workspace_root();
    let prepared = deps::ensure(arguments.install_deps).and_then(|()| road(arguments, &root));
    let road = match prepared {
        Ok(road) => road,
        Err(message) => {
            eprintln!("xtask vm: {message}");
            return ExitCode::FAILURE;
        }
    };
    if let (true, story::Road::Cede(binary)) = (arguments.prove, &road) {
        return in_small("prove", binary, &root, &|cede, cache, directory| prove::tell(cede, arguments, cache, directory));
    }
    match &road {
        story::Road::Bind(story::bind::Way::Many, binary) => return in_small("many", binary, &root, &many::tell),
        story::Road::Bind(story::bind::Way::Libvirt, binary) => return in_small("libvirt", binary, &root, &libvirt::tell),
        _ => {}
    }
    let results = run_all(arguments, &road, &root);
    let failed = results.iter().filter(|(_, result)| result.is_err()).count();
    for (model, result) in &results {
        if let Err(message) = result {
            println!("\n---- vm::{model} ----\n{message}");
        }
    }
    println!();
    for (model, result) in &results {
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!("test vm::{model} ... {word}");
    }
    println!("{} passed, {failed} failed", results.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is told with small machines: with cede, a cache, and a directory for its files.
type Small<'a> = &'a dyn Fn(&Path, &Path, &Path) -> Outcome<()>;

fn in_small(name: &str, binary: &Path, root: &Path, tell: Small<'_>) -> ExitCode {
    let binary = std::path::absolute(binary).unwrap_or_else(|_| binary.to_path_buf());
    match tell(&binary, &root.join(".cache/vm"), &root.join("target/vm").join(name)) {
        Ok(()) => {
            println!("test vm::{name} ... ok");
            ExitCode::SUCCESS
        }
        Err(message) => {
            println!("{message}\n\ntest vm::{name} ... FAILED");
            ExitCode::FAILURE
        }
    }
}

/// The machines share nothing, so they run side by side.
fn run_all(arguments: &Arguments, road: &story::Road, root: &Path) -> Vec<(Model, Outcome<()>)> {
    thread::scope(|scope| {
        let running: Vec<_> =
            arguments.models.iter().map(|&model| (model, scope.spawn(move || run_one(model, arguments, road, root)))).collect();
        running
            .into_iter()
            .map(|(model, thread)| {
                let result = thread.join().unwrap_or_else(|_| Err("the test itself panicked".into()));
                (model, result)
            })
            .collect()
    })
}

fn run_one(model: Model, arguments: &Arguments, road: &story::Road, root: &Path) -> Outcome<()> {
    let progress = Rc::new(Progress::new(model.name()));
    let base = image::base(model, road.supply(model), &root.join(".cache/vm"), &progress)?;
    let directory = root.join("target/vm").join(model.name());
    let result = match (arguments.power, road) {
        (Some(way), story::Road::Cede(binary)) => {
            power::Campaign { model, binary, directory: &directory, progress: &progress }.run(&base, way, arguments.keep)
        }
        (None, story::Road::Bind(way, binary)) => {
            way.tell(&story::bind::Stage { model, binary, base: &base, progress: &progress }, &directory)
        }
        _ => story::tell(model, road, &base, &directory, &progress),
    };
    match &result {
        Ok(()) => progress.say("passed"),
        Err(message) => progress.say(&format!("FAILED: {message}")),
    }
    result
}

/// The binary to test: the one given, or a release build of this workspace.
fn road(arguments: &Arguments, root: &Path) -> Outcome<story::Road> {
    if arguments.by_hand {
        return Ok(story::Road::ByHand);
    }
    let way = |binary| match (arguments.trial, arguments.trial_watchdog, arguments.bind) {
        (true, ..) => story::Road::Trial(binary),
        (_, true, _) => story::Road::Watchdog(binary),
        (.., Some(way)) => story::Road::Bind(way, binary),
        _ => story::Road::Cede(binary),
    };
    if let Some(path) = &arguments.cede {
        return match path.is_file() {
            true => Ok(way(path.clone())),
            false => Err(format!("{}: no such file", path.display())),
        };
    }
    println!("building cede (release)");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "-p", "cede"])
        .current_dir(root)
        .status()
        .map_err(|error| format!("cargo build: {error}"))?;
    if !status.success() {
        return Err(format!("cargo build -p cede: {status}"));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(way(root.join(target).join("release/cede")))
}

fn workspace_root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}
