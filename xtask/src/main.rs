//! Chores of the project.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for developers: its progress goes to the terminal")]

use std::process::ExitCode;

mod bench;
mod check;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod cuts;
mod fuzz;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod oracle;
mod pages;
mod results;
mod tidy;
mod vm;

const USAGE: &str = "usage: cargo xtask <chore>

  bench  how long reading a host takes, beside other tools
  cuts   `cede` stopped or failed at every system call of an operation (cargo xtask cuts --help)
  fuzz   what reads a host's text and tables, fed with bytes that nobody thought of (cargo xtask fuzz --help)
  oracle the groups foretold of random machines, beside those that a kernel makes of them (cargo xtask oracle --help)
  pages  the pages of `cede report` in a real browser (cargo xtask pages --help)
  test   everything that must hold: format, lints, tests, documentation, demo, licences, virtual machines
  vm     the whole road of cede in a virtual machine with an IOMMU (cargo xtask vm --help)";

/// What was said, as one line: cede wraps its text.
fn in_one_line(said: &str) -> String {
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("bench") => bench::main(arguments),
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        Some("cuts") => cuts::main(arguments),
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        Some(cuts::ENTER) => cuts::enter(arguments),
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        Some(tool) if tool.starts_with("/usr/") => cuts::tool(tool, arguments),
        Some("fuzz") => fuzz::main(arguments),
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        Some("oracle") => oracle::main(arguments),
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        Some(oracle::GUEST) => oracle::guest(arguments),
        Some("pages") => pages::main(arguments),
        Some("test") => check::main(arguments),
        Some("vm") => vm::main(arguments),
        Some("help" | "--help" | "-h") => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
