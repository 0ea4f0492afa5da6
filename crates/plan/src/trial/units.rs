//! Units of systemd for a trial. Nothing enables them: the trial's own command line asks for them (`systemd.wants=`), so a start by another
//! entry does not know them; the condition on the same command line is the second lock.

use super::{TrialWish, parameter};
use crate::plan::{Refusal, Step};
use cede_model::Host;

const UNITS: &str = "/etc/systemd/system";
const CONFIRM: &str = "cede-confirm.service";
const WATCHDOG: &str = "cede-trial-watchdog";
const SYSTEMCTL: &str = "/usr/bin/systemctl";
const FLOCK: &str = "/usr/bin/flock";
const TEST: &str = "/usr/bin/test";
/// cede holds it while an operation runs.
const LOCK: &str = "/var/lib/cede/lock";

/// The files of the units that were asked for, and the words that ask systemd for them.
#[derive(Debug, Default)]
pub(super) struct Units {
    pub(super) files: Vec<Step>,
    pub(super) words: Vec<String>,
}

/// # Errors
/// A unit of the name is there, or what it runs is not.
pub(super) fn units(host: &Host, number: u32, wish: &TrialWish) -> Result<Units, Refusal> {
    let condition = format!("ConditionKernelCommandLine={}\n", parameter(number));
    let mut units = Units::default();
    if let Some(program) = &wish.confirm_by {
        units.add(host, CONFIRM, confirm(&condition, program)?)?;
        units.words.push(format!("systemd.wants={CONFIRM}"));
    }
    if let Some(minutes) = wish.watchdog {
        if let Some(tool) = [SYSTEMCTL, FLOCK, TEST].into_iter().find(|tool| !host.capture.is_there(tool)) {
            return Err(Refusal::new("trial-watchdog", format!("the watchdog needs {tool}, which is not there: leave --watchdog out")));
        }
        let timer = format!("{WATCHDOG}.timer");
        units.add(host, &format!("{WATCHDOG}.service"), watchdog(&condition, &timer))?;
        let text = format!(
            "[Unit]\nDescription=Ends a trial boot of cede that nobody confirms\n{condition}\n[Timer]\nOnBootSec={minutes}min\nAccuracySec=1s\n"
        );
        units.add(host, &timer, text)?;
        units.words.push(format!("systemd.wants={timer}"));
    }
    Ok(units)
}

impl Units {
    fn add(&mut self, host: &Host, name: &str, text: String) -> Result<(), Refusal> {
        let path = format!("{UNITS}/{name}");
        if host.capture.is_there(&path) {
            return Err(Refusal::new(
                "trial-unit-there",
                format!("{path} is there already and is not from a trial in force: move it away"),
            ));
        }
        self.files.push(Step::ReplaceFile { path, before: None, after: Some(text.into_bytes()) });
        Ok(())
    }
}

/// systemd gives `%`, `$`, blanks and quotes in a command line a meaning (systemd.service(5)).
fn confirm(condition: &str, program: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if !program.starts_with('/') || !program.bytes().all(plain) {
        return Err(Refusal::new(
            "trial-program",
            format!("a unit cannot start `{program}`: install cede as /usr/local/bin/cede and run it from there"),
        ));
    }
    Ok(format!(
        "[Unit]\nDescription=Confirms the trial boot of cede once it is verified\n{condition}After=multi-user.target\n\n[Service]\nType=oneshot\nExecStart={program} confirm --yes\n"
    ))
}

/// It waits for an operation at work to end. A confirmed trial has no timer file any more, and then nothing is started anew.
fn watchdog(condition: &str, timer: &str) -> String {
    format!(
        "[Unit]\nDescription=Starts the machine anew: the trial boot of cede was not confirmed\n{condition}ConditionPathExists={UNITS}/{timer}\n\n[Service]\nType=oneshot\nExecStart={FLOCK} --wait 3600 {LOCK} {TEST} -e {UNITS}/{timer}\nExecStart={SYSTEMCTL} reboot\n"
    )
}
