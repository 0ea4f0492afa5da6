//! Chores of the project.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for developers: its progress goes to the terminal")]

use std::process::ExitCode;

mod bench;
mod check;
mod tidy;
mod vm;

const USAGE: &str = "usage: cargo xtask <chore>

  bench  how long reading a host takes, beside other tools
  test   everything that must hold: format, lints, tests, documentation, demo, licences, virtual machines
  vm     the whole road of cede in a virtual machine with an IOMMU (cargo xtask vm --help)";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("bench") => bench::main(arguments),
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
