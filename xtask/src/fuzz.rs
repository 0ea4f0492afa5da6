//! `cargo xtask fuzz`: coverage-guided tests of everything that reads text or tables of a host, without cargo-fuzz and nightly Rust: libFuzzer
//! needs only LLVM's counters, which the stable compiler puts in too. What is under test has no unsafe code, so no sanitizer is asked.

use crate::results;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "usage: cargo xtask fuzz [--seconds N | --runs N] [--keep] [TARGET…]

Runs each target (or those named) for N seconds (5 unless told), from the fixtures and what earlier runs found, which is kept
in .cache/fuzz; with --runs, N inputs from the fixtures alone, the same ones each time, for five seconds at most. An input that fails is left in .cache/fuzz/TARGET-failed; mend it and put it into fuzz/regressions/TARGET.
With --keep the counts are added to xtask/fuzz-results.md.";

const RESULTS: &str = "xtask/fuzz-results.md";

/// How the file of results begins.
const HEAD: &str = "# How long each reader was fed with made-up input

Written by `cargo xtask fuzz --seconds N --keep`. *Failed* says that an input was found that panics, takes too long or too much memory, or is answered
wrongly.

| target | seconds | inputs | outcome |
|---|---|---|---|
";

/// The target that the compiler builds for; named, so that build scripts stay as they are.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// LLVM's coverage counters and comparison traces, as libFuzzer reads them (LLVM's SanitizerCoverage).
const INSTRUMENTATION: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Longest input, seconds for one input, megabytes: a target that needs more has a fault.
const LIMITS: [&str; 3] = ["-max_len=65536", "-timeout=20", "-rss_limit_mb=2048"];

/// A target, and what is in the paths of the fixtures that it begins with.
const TARGETS: [(&str, &str); 17] = [
    ("capture", ".capture"),
    ("host", ".capture"),
    ("lspci", "/listing.txt"),
    ("grub_cfg", ".cfg"),
    ("loader_entry", ".capture"),
    ("initramfs", "/initramfs/"),
    ("config_space", "/config/"),
    ("ivrs", "/acpi/"),
    ("option_rom", "/rom/"),
    ("pci_names", "/listing.txt"),
    ("module_alias", ".capture"),
    ("cmdline", "/listing.txt"),
    ("shell", "/shell/"),
    ("modprobe", "/shell/"),
    ("journal", "/journal/"),
    ("plan_file", "/journal/"),
    ("merge", "/shell/"),
];

/// How long a target runs.
#[derive(Clone, Copy)]
enum Effort {
    Seconds(u64),
    Runs(u64),
}

impl Effort {
    fn arguments(self) -> Vec<String> {
        match self {
            Self::Seconds(seconds) => vec![format!("-max_total_time={seconds}")],
            Self::Runs(runs) => vec![format!("-runs={runs}"), "-seed=1".into(), "-max_total_time=5".into()],
        }
    }

    /// libFuzzer puts what it finds into the first directory.
    fn keeps(self) -> bool {
        matches!(self, Self::Seconds(_))
    }
}

/// Runs the targets.
pub(crate) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    match run(arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask fuzz: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<usize> {
    let mut effort = Effort::Seconds(5);
    let mut keep = false;
    let mut named = Vec::new();
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--seconds" => effort = Effort::Seconds(arguments.next().ok_or(USAGE)?.parse()?),
            "--runs" => effort = Effort::Runs(arguments.next().ok_or(USAGE)?.parse()?),
            "--keep" => keep = true,
            name if TARGETS.iter().any(|(target, _)| *target == name) => named.push(word),
            _ => return Err(format!("what is `{word}`?\n{USAGE}").into()),
        }
    }
    build()?;
    let mut failed = 0;
    for (target, part) in TARGETS.iter().filter(|(target, _)| named.is_empty() || named.iter().any(|name| name == target)) {
        let start = Instant::now();
        let end = fuzz(target, part, effort)?;
        let (outcome, seconds) = (if end.passed { "ok" } else { "FAILED" }, start.elapsed().as_secs());
        println!("test fuzz::{target} ... {outcome} ({seconds} s)");
        if keep {
            results::keep(RESULTS, HEAD, &format!("| {target} | {seconds} | {} | {outcome} |\n", end.inputs))?;
        }
        failed += usize::from(!end.passed);
    }
    Ok(failed)
}

fn build() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", TRIPLE, "--target-dir", "target/fuzz"])
        .env("RUSTFLAGS", INSTRUMENTATION)
        .status()?;
    if built.success() { Ok(()) } else { Err("the targets do not build".into()) }
}

/// How the run of a target ended.
struct End {
    passed: bool,
    inputs: u64,
}

fn fuzz(target: &str, part: &str, effort: Effort) -> Result<End> {
    let base = Path::new(".cache/fuzz");
    let (found, seeds) = (base.join(target), base.join(format!("{target}-seeds")));
    let kept = Some(found.as_path()).filter(|_| effort.keeps());
    fs::create_dir_all(&found)?;
    gather(&seeds, part)?;
    let regressions = PathBuf::from("fuzz/regressions").join(target);
    let output = Command::new(Path::new("target/fuzz").join(TRIPLE).join("release").join(target))
        .args(LIMITS)
        .args(effort.arguments())
        .arg(format!("-artifact_prefix={}-failed-", found.display()))
        .args(kept.into_iter().chain([seeds.as_path()]).chain(Some(regressions.as_path()).filter(|path| path.exists())))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // `#1048576 pulse …`, `Done 1048576 runs in 5 second(s)`
    let count = |line: &str| line.split([' ', '#', '\t']).find(|word| !word.is_empty() && *word != "Done")?.parse().ok();
    let inputs = said.lines().rev().find_map(count).unwrap_or_default();
    if output.status.success() {
        println!("{}", said.lines().rfind(|line| line.starts_with("Done") || line.contains("DONE")).unwrap_or_default());
    } else {
        eprintln!("{said}");
    }
    Ok(End { passed: output.status.success(), inputs })
}

/// The fixtures that a target begins with, under names of their own in one directory.
fn gather(seeds: &Path, part: &str) -> Result<()> {
    if seeds.exists() {
        fs::remove_dir_all(seeds)?;
    }
    fs::create_dir_all(seeds)?;
    for (number, path) in files(Path::new("fixtures"))?.iter().filter(|path| path.to_string_lossy().contains(part)).enumerate() {
        fs::copy(path, seeds.join(number.to_string()))?;
    }
    Ok(())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut list = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { list.extend(files(&path)?) } else { list.push(path) }
    }
    list.sort();
    Ok(list)
}
