//! A start for trial that cannot succeed, one that does and is confirmed, and the way back.

use serde_json::Value;

use super::by_cede::{DONE, REBOOT, text_of};
use super::{Step, Story};
use crate::vm::Outcome;

pub(super) const TRIAL: [Step; 18] = [
    ("cede runs in the machine", Story::install_cede),
    ("cede apply --trial", Story::apply_for_trial),
    ("its entry is given a root that does not exist", Story::break_trial),
    ("the start fails, and the machine comes back by itself", Story::reboot_over_failure),
    ("cede status: the trial did not hold", Story::trial_is_over),
    ("native drivers have the card", Story::native_drivers),
    ("its entry is mended", Story::mend_trial),
    ("cede undo", Story::undo_trial),
    ("nothing of it is left", Story::nothing_left),
    ("cede apply --trial once more", Story::apply_for_trial),
    ("reboot", Story::reboot),
    ("cede status: this is the trial", Story::trial_runs),
    ("cede verify", Story::verify),
    ("vfio-pci has the card", Story::ceded),
    ("cede confirm", Story::confirm),
    ("reboot", Story::reboot),
    ("cede verify by the default entry", Story::verify),
    ("cede undo, the change itself", Story::undo),
];

/// The file that has the trial's entry.
const ENTRY: &str = "$(grep -ls cede.trial= /boot/grub/custom.cfg /boot/efi/loader/entries/*.conf || true)";

impl Story {
    fn apply_for_trial(&mut self) -> Outcome<String> {
        let address = self.card()?.display.address;
        let bind = self.bind();
        self.cede(&format!("apply {address} {bind} --trial --yes"), REBOOT)?;
        self.standing("pending")
    }

    fn break_trial(&mut self) -> Outcome<String> {
        self.machine.output(&format!(
            "set -e; f={ENTRY}; cp \"$f\" /root/entry; sed -i 's/root=UUID=[^ ]*/root=UUID=0-0/' \"$f\"; grep -o 'root=UUID=0-0' \"$f\""
        ))
    }

    /// The initramfs waits for the root in vain and resets the machine, as `panic=` tells it.
    fn reboot_over_failure(&mut self) -> Outcome<String> {
        self.machine.reboot_over(2)?;
        let command_line = self.machine.output("cat /proc/cmdline")?;
        match command_line.contains("cede.trial=") || command_line.contains("0-0") {
            true => Err(format!("it is the trial: {command_line}")),
            false => Ok(command_line.trim().to_owned()),
        }
    }

    fn mend_trial(&mut self) -> Outcome<String> {
        self.machine.output(&format!("set -e; f={ENTRY}; cat /root/entry >\"$f\"; rm /root/entry; sync; echo \"$f\""))
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

    fn confirm(&mut self) -> Outcome<String> {
        self.cede("confirm --yes", DONE).map(|text| last_line(&text))
    }
}

fn last_line(text: &str) -> String {
    text.lines().rfind(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
