//! Starts for trial: one that gives the root's disk away and cannot succeed, one that does and is confirmed, one that nobody confirms in time,
//! and the way back.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::by_cede::{DONE, REBOOT, REFUSED, list_of, text_of};
use super::{Step, Story};
use crate::vm::Outcome;

pub(super) const TRIAL: [Step; 15] = [
    ("cede runs in the machine", Story::install_cede),
    ("cede apply --trial of the controller of the root's disk", Story::apply_root_disk_for_trial),
    ("the start fails, and the machine comes back by itself", Story::reboot_over_failure),
    ("cede status: the trial did not hold", Story::trial_is_over),
    ("native drivers have the card", Story::native_drivers),
    ("cede undo", Story::undo_trial),
    ("nothing of it is left", Story::nothing_left),
    ("cede apply --trial --confirm-service of the card", Story::apply_for_trial),
    ("reboot", Story::reboot),
    ("this is the trial", Story::is_trial),
    ("vfio-pci has the card", Story::ceded),
    ("the service confirms it", Story::confirmed_by_service),
    ("reboot", Story::reboot),
    ("cede verify by the default entry", Story::verify),
    ("cede undo, the change itself", Story::undo),
];

pub(super) const WATCHDOG: [Step; 8] = [
    ("cede runs in the machine", Story::install_cede),
    ("cede apply --trial --watchdog", Story::apply_with_watchdog),
    ("reboot", Story::reboot),
    ("cede status: this is the trial", Story::trial_runs),
    ("nobody confirms it, and the machine starts anew by itself", Story::reboot_by_watchdog),
    ("cede status: the trial did not hold", Story::trial_is_over),
    ("cede undo", Story::undo_trial),
    ("nothing of it is left", Story::nothing_left),
];

/// Minutes after the start of the kernel; the emulated one takes one or two to come up.
const PATIENCE: u64 = 4;

/// An apply and an undo, with everything that an emulated machine starts beside them.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(900);

impl Story {
    fn apply_for_trial(&mut self) -> Outcome<String> {
        let address = self.card()?.display.address;
        let bind = self.bind();
        self.cede(&format!("apply {address} {bind} --trial --confirm-service --yes"), REBOOT)?;
        self.standing("pending")
    }

    /// What the host cannot do without: its image finds no root.
    fn apply_root_disk_for_trial(&mut self) -> Outcome<String> {
        let function = self.root_controller()?;
        let refused = self.cede_json(&format!("apply {function} --trial --yes"), "cede.operation/1", REFUSED)?;
        let losses: Vec<&str> = list_of(&refused, "refused").iter().map(|refusal| text_of(refusal, "id")).collect();
        if text_of(&refused, "state") != "refused" || !losses.contains(&"root-disk") {
            return Err(format!("not refused for the root's disk:\n{refused:#}"));
        }
        let accepted: String = losses.iter().map(|loss| format!(" --accept-loss {loss}")).collect();
        let done = self.cede_json(&format!("apply {function} --trial --yes{accepted}"), "cede.operation/1", REBOOT)?;
        Ok(format!("{function}:{accepted}: {}; {}", text_of(&done, "state"), self.standing("pending")?))
    }

    fn apply_with_watchdog(&mut self) -> Outcome<String> {
        let address = self.card()?.display.address;
        let bind = self.bind();
        self.cede(&format!("apply {address} {bind} --trial --watchdog {PATIENCE} --yes"), REBOOT)?;
        self.standing("pending")
    }

    fn is_trial(&mut self) -> Outcome<String> {
        let command_line = self.machine.output("cat /proc/cmdline")?;
        match command_line.contains("cede.trial=") {
            true => Ok(command_line.trim().to_owned()),
            false => Err(format!("it is not: {command_line}")),
        }
    }

    /// The last start was by the trial and the next one, which nobody asks for, is not.
    fn reboot_by_watchdog(&mut self) -> Outcome<String> {
        let start = Instant::now();
        self.machine.come_back()?;
        let command_line = self.machine.output("cat /proc/cmdline")?;
        match command_line.contains("cede.trial=") {
            true => Err(format!("it is the trial: {command_line}")),
            false => Ok(format!("{:.0} s later: {}", start.elapsed().as_secs_f64(), command_line.trim())),
        }
    }

    /// Two operations of its own: the change, and the end of the trial.
    fn confirmed_by_service(&mut self) -> Outcome<String> {
        let start = Instant::now();
        loop {
            let unit = self.machine.output("systemctl show -P ActiveState -P Result cede-confirm.service 2>/dev/null || true")?;
            let log = self.cede_json("log", "cede.log/1", DONE)?;
            let verbs: Vec<&str> = list_of(&log, "operations").iter().rev().take(2).map(|operation| text_of(operation, "verb")).collect();
            let open = list_of(&log, "operations").iter().any(|operation| text_of(operation, "state").contains("interrupted"));
            if verbs == ["undo", "apply"] && !open {
                let said = self.machine.output("journalctl -u cede-confirm.service -o cat --no-pager | tail -4")?;
                return Ok(format!("after {:.0} s: {}", start.elapsed().as_secs_f64(), said.trim().replace('\n', " / ")));
            }
            if unit.contains("failed") || start.elapsed() > CONFIRM_TIMEOUT {
                let said = self.machine.output("systemctl status --no-pager -l cede-confirm.service; journalctl -u cede-confirm.service -o cat --no-pager | tail -40; true")?;
                return Err(format!("not confirmed ({}):\n{said}\n{log:#}", unit.trim()));
            }
            thread::sleep(Duration::from_secs(5));
        }
    }

    /// The initramfs waits for the root in vain and resets the machine, as `panic=` tells it.
    fn reboot_over_failure(&mut self) -> Outcome<String> {
        self.machine.reboot_over(2)?;
        let command_line = self.machine.output("cat /proc/cmdline")?;
        match command_line.contains("cede.trial=") {
            true => Err(format!("it is the trial: {command_line}")),
            false => Ok(command_line.trim().to_owned()),
        }
    }

    fn trial_is_over(&mut self) -> Outcome<String> {
        self.standing("over")
    }

    fn trial_runs(&mut self) -> Outcome<String> {
        self.standing("running")
    }

    fn standing(&mut self, wanted: &str) -> Outcome<String> {
        let status = self.cede_json("status", "cede.status/1", DONE)?;
        let state = status.get("trial").map(|trial| text_of(trial, "state")).unwrap_or_default();
        match state == wanted {
            true => Ok(self
                .cede("status", DONE)?
                .lines()
                .filter(|line| line.starts_with("Trial") || line.starts_with("Next"))
                .collect::<Vec<_>>()
                .join(" / ")),
            false => Err(format!("the trial is `{state}`, not `{wanted}`:\n{status:#}")),
        }
    }

    fn undo_trial(&mut self) -> Outcome<String> {
        self.cede("undo --yes", DONE).map(|text| last_line(&text))
    }

    fn nothing_left(&mut self) -> Outcome<String> {
        let status: Value = self.cede_json("status", "cede.status/1", DONE)?;
        let before = self.manifest.take().ok_or("no manifest was taken")?;
        let differences = before.diff(&crate::vm::manifest::Manifest::take(&mut self.machine, self.model)?);
        let lines = before.len();
        self.manifest = Some(before);
        match differences.is_empty() && status.get("trial").is_none_or(Value::is_null) {
            true => Ok(format!("{lines} lines are the same")),
            false => Err(format!("differences:\n{}\n{status:#}", differences.join("\n"))),
        }
    }
}

fn last_line(text: &str) -> String {
    text.lines().rfind(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
