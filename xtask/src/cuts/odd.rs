//! Tools that fail, hang, lie or leave something behind.

use super::campaign::Tally;
use super::scenario::{Landed, Scenario, said};
use super::stage::Stage;
use super::tool::{ODD, ODDITIES};
use super::{ENTER, Result};
use crate::in_one_line;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A tool may take this long; a run that waits for a hanging one takes more than [`LONGEST`].
const LIMIT: &str = "2";
const LONGEST: Duration = Duration::from_secs(30);

/// Every way to go wrong; a tool that hangs also with Ctrl-C in place of the time limit.
pub(super) fn run(stage: &Stage, scenario: &Scenario, tally: &mut Tally) -> Result<()> {
    for (odd, interrupt) in ODDITIES.into_iter().map(|odd| (odd, false)).chain([("hangs", true)]) {
        stage.restore(&scenario.start)?;
        fs::write(stage.root().join(ODD.trim_start_matches('/')), odd)?;
        let start = Instant::now();
        let output = cede(stage, scenario.arguments, interrupt)?;
        fs::remove_file(stage.root().join(ODD.trim_start_matches('/')))?;
        let (code, landed) = (output.status.code(), scenario.landed(stage));
        let wanted = if odd == "leaves a daemon" { (Some(scenario.done), Ok(Landed::New)) } else { (Some(6), Ok(Landed::Old)) };
        let told = match odd {
            "hangs" if interrupt => "SIGINT was received",
            "hangs" | "hangs deaf" | "prints without end" => "ran longer than 2 s",
            "is killed" => "signal: 9",
            _ => "",
        };
        let right = (code, landed.clone()) == wanted && start.elapsed() < LONGEST && in_one_line(&said(&output)).contains(told);
        let why = || format!("a tool {odd}: {code:?}, {landed:?}, {} s: {}", start.elapsed().as_secs(), said(&output));
        tally.add(scenario.name, if right { Ok(if landed == Ok(Landed::New) { "new" } else { "old" }) } else { Err(why()) });
    }
    Ok(())
}

/// Runs it with the time limit; or without, and ends it as Ctrl-C does.
fn cede(stage: &Stage, arguments: &[&str], interrupt: bool) -> Result<Output> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([ENTER, "free"]).arg(stage.root()).arg("/cede").args(arguments).env_clear().stdin(Stdio::null());
    if !interrupt {
        return Ok(command.env("CEDE_TOOL_SECONDS", LIMIT).output()?);
    }
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    std::thread::sleep(Duration::from_secs(2));
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGINT)?;
    Ok(child.wait_with_output()?)
}
