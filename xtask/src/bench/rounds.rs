//! One run of the benchmark.

use super::Result;
use super::contestants::contestants;
use super::floor;
use super::listing::Listing;
use super::measure::{Effort, Outcomes, measure};
use super::namespace::{Mounted, unshare};
use super::report::{Sizes, report};
use super::tree::{Flavour, Tree};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const USAGE: &str =
    "usage: cargo xtask bench [tree] [--sizes 8,400,2000,10000] [--rounds 15] [--limit SECONDS] [--dir DIR] [--attribute-only]";

/// Builds with optimisation, then measures in a mount namespace of its own where that can be had. With `tree`, only makes the trees and
/// leaves them there, to look at or to profile on.
pub(super) fn run(arguments: &[String]) -> Result<()> {
    match arguments.split_first() {
        Some((word, rest)) if word == "floor" => floor::run(rest),
        Some((word, rest)) if word == "inside" => inside(&Settings::read(rest)?),
        Some((word, rest)) if word == "tree" => {
            let settings = Settings::read(rest)?;
            for size in settings.sizes {
                println!("{}", Tree::make(&settings.dir, size, settings.flavour)?.keep().display());
            }
            Ok(())
        }
        _ => {
            Settings::read(arguments)?;
            outside(arguments)
        }
    }
}

fn outside(arguments: &[String]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    if !Command::new(cargo).args(["build", "--release", "--package", "cede", "--package", "xtask"]).status()?.success() {
        return Err("the build failed".into());
    }
    let program = release_dir()?.join("xtask").into_os_string();
    let (mut words, own_mounts) = match unshare() {
        Some(words) => (words.into_iter().map(Into::into).collect(), Some("--own-mounts")),
        None => (Vec::new(), None),
    };
    words.push(program);
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    let done = command.args(words).args(["bench", "inside"]).args(own_mounts).args(arguments).status()?;
    if done.success() { Ok(()) } else { Err("the measurement failed".into()) }
}

/// Where optimised programs are: beside this one, whichever of the two profiles it is of.
fn release_dir() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.parent().and_then(Path::parent).ok_or("cannot tell the target directory")?;
    Ok(target.join("release"))
}

struct Settings {
    sizes: Vec<usize>,
    effort: Effort,
    dir: PathBuf,
    flavour: Flavour,
    own_mounts: bool,
}

impl Settings {
    fn read(arguments: &[String]) -> Result<Self> {
        let effort = Effort { rounds: 15, limit: Duration::from_secs(20) };
        let sizes = vec![8, 400, 2000, 10_000];
        let mut settings = Self { sizes, effort, dir: tree_dir(), flavour: Flavour::Kernel, own_mounts: false };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(USAGE);
            match word.as_str() {
                "--sizes" => settings.sizes = value()?.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?,
                "--rounds" => settings.effort.rounds = value()?.parse()?,
                "--limit" => settings.effort.limit = Duration::from_secs(value()?.parse()?),
                "--dir" => settings.dir = value()?.into(),
                "--attribute-only" => settings.flavour = Flavour::AttributeOnly,
                "--own-mounts" => settings.own_mounts = true,
                _ => return Err(USAGE.into()),
            }
        }
        settings.sizes.sort_unstable();
        if settings.sizes.first().is_none_or(|size| *size < 8) {
            return Err("a host has at least 8 functions here".into());
        }
        Ok(settings)
    }
}

/// In memory where that can be had, as sysfs is: disks add the writing back of access times.
fn tree_dir() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

fn inside(settings: &Settings) -> Result<()> {
    let dir = release_dir()?;
    let (cede, floor) = (dir.join("cede"), dir.join("xtask"));
    let mut sizes: Sizes = Vec::new();
    for &size in &settings.sizes {
        eprintln!("{size} functions: making the tree");
        let tree = Tree::make(&settings.dir, size, settings.flavour)?;
        let listing = Listing::make(&settings.dir, size)?;
        let mounted = settings.own_mounts.then(|| Mounted::over_sys(tree.path())).transpose()?;
        eprintln!("{size} functions: measuring");
        let former: Option<(&Outcomes, f64)> = sizes.last().map(|(former, outcomes)| (outcomes, size as f64 / *former as f64));
        let outcomes = measure(&contestants(&cede, &floor, &tree, &listing), mounted.is_some(), settings.effort, former);
        sizes.push((size, outcomes));
    }
    print!("{}", report(&sizes));
    Ok(())
}
