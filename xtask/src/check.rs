//! `cargo xtask test`: everything that must hold before a change lands, in one command that installs what it needs.

use std::process::{Command, ExitCode};
use std::time::Instant;

/// Debian packages that the tests need beside those of the virtual machines, of which they use the emulator.
const PACKAGES: [&str; 22] = [
    "bash",
    "dash",
    "kmod",
    "cpio",
    "gzip",
    "xz-utils",
    "zstd",
    "lz4",
    "bzip2",
    "lzop",
    "e2fsprogs",
    "dosfstools",
    "attr",
    "acl",
    "g++",
    "seabios",
    "ipxe-qemu",
    "libvirt-clients",
    "libxml2-utils",
    "patch",
    "chromium",
    "nix-bin",
];

/// What is installed where there is no cargo-deny: cargo wants all three numbers.
const CARGO_DENY: &str = "cargo-deny@0.20.2";

/// Where it is then.
const CARGO_DENY_PROGRAM: &str = ".cache/tools/bin/cargo-deny";

/// One thing that must hold.
struct Part {
    name: &'static str,
    argv: &'static [&'static str],
}

const PARTS: [Part; 14] = [
    Part { name: "format", argv: &["cargo", "fmt", "--all", "--check"] },
    Part { name: "clippy", argv: &["cargo", "clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"] },
    Part { name: "tests", argv: &["cargo", "test", "--workspace", "--quiet"] },
    Part { name: "documentation", argv: &["cargo", "doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"] },
    Part { name: "demo", argv: &["cargo", "run", "--quiet", "--package", "cede", "--", "demo"] },
    Part { name: "dependencies", argv: &[CARGO_DENY_PROGRAM, "deny", "check", "licenses", "bans", "sources"] },
    Part { name: "fuzz", argv: &["cargo", "run", "--quiet", "--package", "xtask", "--", "fuzz", "--runs", "5000"] },
    Part {
        name: "cuts",
        argv: &["cargo", "run", "--quiet", "--package", "xtask", "--", "cuts", "--host", "grub-initramfs-tools", "kill", "odd"],
    },
    Part { name: "pages", argv: &["cargo", "run", "--quiet", "--package", "xtask", "--", "pages"] },
    Part { name: "virtual machines", argv: &["cargo", "run", "--quiet", "--package", "xtask", "--", "vm"] },
    Part { name: "oracle", argv: &["cargo", "run", "--quiet", "--package", "xtask", "--", "oracle", "12", "1"] },
    Part { name: "trial boots", argv: &["cargo", "run", "--quiet", "--package", "xtask", "--", "vm", "--trial"] },
    Part { name: "bind and release", argv: &["cargo", "run", "--quiet", "--package", "xtask", "--", "vm", "--bind"] },
    Part { name: "power cuts", argv: &["cargo", "run", "--quiet", "--package", "xtask", "--", "vm", "--power-cuts", "2"] },
];

/// Runs every part, or those named.
pub(crate) fn main(names: impl Iterator<Item = String>) -> ExitCode {
    let names: Vec<String> = names.collect();
    if let Some(unknown) = names.iter().find(|name| !PARTS.iter().any(|part| part.name == name.as_str())) {
        eprintln!("there is no part `{unknown}`; there are: {}", PARTS.map(|part| part.name).join(", "));
        return ExitCode::from(2);
    }
    if !install() {
        return ExitCode::FAILURE;
    }
    let wanted = PARTS.iter().filter(|part| names.is_empty() || names.iter().any(|name| name == part.name));
    let results: Vec<(&str, bool)> = wanted.map(|part| (part.name, run(part))).collect();
    let passed = results.iter().filter(|(_, passed)| *passed).count();
    println!();
    for (name, passed) in &results {
        println!("part {name} ... {}", if *passed { "ok" } else { "FAILED" });
    }
    println!("{passed} passed, {} failed", results.len() - passed);
    if passed == results.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(part: &Part) -> bool {
    println!("\n== {}: {}", part.name, part.argv.join(" "));
    let start = Instant::now();
    let passed = (part.argv.first() != Some(&CARGO_DENY_PROGRAM) || has_cargo_deny()) && succeeds(part.argv);
    println!("== {}: {} after {} s", part.name, if passed { "ok" } else { "FAILED" }, start.elapsed().as_secs());
    passed
}

fn succeeds(argv: &[&str]) -> bool {
    let Some((program, arguments)) = argv.split_first() else { return false };
    let mut command = Command::new(program);
    command.args(arguments).env("RUSTDOCFLAGS", "-D warnings");
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{program}: {error}");
            false
        }
    }
}

/// Installs what is missing; without root it says what to install.
fn install() -> bool {
    if let Err(error) = crate::vm::install() {
        eprintln!("{error}");
        return false;
    }
    let present = |package: &&str| {
        Command::new("dpkg-query")
            .args(["-W", "-f", "${db:Status-Status}", package])
            .output()
            .is_ok_and(|output| output.stdout == b"installed")
    };
    let missing: Vec<&str> = PACKAGES.into_iter().filter(|package| !present(package)).collect();
    if !missing.is_empty() {
        println!("installing {}", missing.join(" "));
        let install =
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends"].into_iter().chain(missing.iter().copied()).collect::<Vec<_>>();
        if !(succeeds(&["apt-get", "update", "-qq"]) && succeeds(&install)) {
            eprintln!("the tests need these packages; as root: apt-get install {}", missing.join(" "));
            return false;
        }
    }
    true
}

/// Builds cargo-deny where there is none yet.
fn has_cargo_deny() -> bool {
    std::path::Path::new(CARGO_DENY_PROGRAM).exists()
        || succeeds(&["cargo", "install", "--quiet", "--locked", "--root", ".cache/tools", CARGO_DENY])
}
