//! `cede`: give PCI devices to virtual machines through VFIO, and take them back.
#![allow(unreachable_pub, reason = "a binary has no public items; `pub` here means: for the other modules")]

mod cli;
mod commands;
mod consent;
mod error;
mod exit_code;
mod operation_ui;
mod render;
mod source;
mod time;
mod typed;
mod ui;
mod view;

use cede_host::attribute_child::write_what_is_told;
use cede_host::limits;
use clap::Parser;
use cli::{Cli, Command};
use error::CommandError;
use exit_code::Exit;
use std::process::ExitCode;
use ui::Ui;
use view::error::ErrorView;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misread(&error),
    };
    if let Some(Command::WriteAttributes) = &cli.command {
        write_what_is_told();
        return ExitCode::SUCCESS;
    }
    let mut ui = Ui::new(cli.global.color, cli.global.json);
    typed::set(&cli.global);
    let result = run(&cli, &mut ui).and_then(|exit| Ok(ui.flush().map(|()| exit)?));
    match result {
        Ok(exit) => exit.into(),
        Err(error) if error.is_cut_off() && cli.command.as_ref().is_none_or(Command::lists) => Exit::Fine.into(),
        Err(error) => report(&mut ui, cli.global.json, &error).into(),
    }
}

fn run(cli: &Cli, ui: &mut Ui) -> Result<Exit, CommandError> {
    let global = &cli.global;
    let command = cli.command.as_ref().unwrap_or(&Command::Status);
    limits::prepare().map_err(|allowed| {
        let message = format!("this process may open {allowed} files at once, and cede needs {}", limits::FILES);
        CommandError::unreadable(message).hint("raise the limit: `ulimit -n 1024`, or `LimitNOFILE=1024` in a unit")
    })?;
    if let Some(verb) = command.without_json().filter(|_| global.json) {
        return Err(CommandError::usage(format!("`{verb}` has no JSON form"))
            .hint("`cede plan ADDR --json`, `cede apply ADDR --json` and all others have"));
    }
    if global.lspci.is_some() && !command.takes_listing() {
        return Err(CommandError::usage("a listing of lspci says too little for this").hint(
            "`cede groups --lspci FILE` and `cede explain --lspci FILE ADDR` read one; for the rest, make a capture: `cede capture FILE`",
        ));
    }
    match command {
        Command::Devices => commands::devices::run(global, ui),
        Command::Groups(args) => commands::groups::run(args, global, ui),
        Command::Explain { address } => commands::explain::run(*address, global, ui),
        Command::Check { addresses } => commands::check::run(addresses, global, ui),
        Command::Report { output } => commands::report::run(output.as_deref(), global, ui),
        Command::Plan { wish, out } => commands::plan::run(wish, out.as_deref(), global, ui),
        Command::Status => commands::status::run(global, ui),
        Command::Apply { wish, trial, .. } if trial.trial => commands::trial::run(wish, trial, global, ui),
        Command::Apply { wish, plan, .. } => commands::apply::run(wish, plan.as_deref(), global, ui),
        Command::Confirm => commands::confirm::run(global, ui),
        Command::Verify => commands::verify::run(global, ui),
        Command::Undo { operation } => commands::undo::run(*operation, global, ui),
        Command::Redo => commands::redo::run(global, ui),
        Command::Log => commands::log::run(global, ui),
        Command::Recover => commands::recover::run(global, ui),
        Command::Prove(arguments) => commands::prove::run(arguments, global, ui),
        Command::Bind(arguments) => commands::bind::bind(arguments, global, ui),
        Command::Release(arguments) => commands::bind::release(arguments, global, ui),
        Command::AtStart { address } => commands::persist::at_start(*address, global, ui),
        Command::Hook(command) => commands::hook::run(command, global, ui),
        Command::Handoff(arguments) => commands::handoff::run(arguments, global, ui),
        Command::Rom(arguments) => commands::rom::run(arguments, global, ui),
        Command::Capture { file } => commands::capture::run(file.as_deref(), global, ui),
        // `main` did it.
        Command::WriteAttributes => Ok(Exit::Fine),
        Command::Demo => commands::demo::run(ui),
    }
}

/// A command line that cannot be understood, or that asks for help only.
fn misread(error: &clap::Error) -> ExitCode {
    let is_wrong = error.use_stderr();
    if is_wrong && std::env::args_os().any(|word| word == "--json") {
        let text = error.to_string();
        let (message, hint) = text.split_once("\n\n").unwrap_or((&text, "see `cede --help`"));
        let error = CommandError::usage(message.trim_start_matches("error: ")).hint(hint.trim());
        return report(&mut Ui::new(ui::ColorWhen::Auto, true), true, &error).into();
    }
    // Where it cannot be printed there is nobody to tell.
    let _ = error.print();
    if is_wrong { Exit::Usage.into() } else { Exit::Fine.into() }
}

/// An error that cannot be printed has nobody to tell.
fn report(ui: &mut Ui, json: bool, error: &CommandError) -> Exit {
    if json && !error.message.is_empty() {
        let _ = commands::print_json(ui, &ErrorView::new(error));
    }
    let _ = ui.flush();
    if json {
        return error.exit;
    }
    let width = ui.err_width();
    let mut say = |style, what, text: &str| {
        let _ = render::table::wrapped(ui.err(), &format!("{}: ", ui::paint(style, what)), text, width);
    };
    if !error.message.is_empty() {
        say(ui::BAD, "error", &error.message);
    }
    for hint in &error.hints {
        say(ui::WARN, "hint", hint);
    }
    error.exit
}
