//! Chores of the project.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for developers: its progress goes to the terminal")]

use std::process::ExitCode;

mod vm;

const USAGE: &str = "usage: cargo xtask <chore>

  vm    the whole road of cede in a virtual machine with an IOMMU (cargo xtask vm --help)";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
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
