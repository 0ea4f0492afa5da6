//! The steps that `cede` takes, and what its answers must say.

use std::time::Instant;

use serde_json::Value;

use super::Story;
use crate::vm::Outcome;
use crate::vm::manifest::Manifest;
use crate::vm::recipe::Model;

/// Exit codes of `cede`.
pub(super) const DONE: i32 = 0;
const PROBLEMS: i32 = 1;
pub(super) const REFUSED: i32 = 4;
pub(super) const REBOOT: i32 = 8;

impl Story {
    pub(super) fn install_cede(&mut self) -> Outcome<String> {
        let bytes = self.binary_bytes;
        let version = self.machine.output(&format!(
            "set -e
head -c {bytes} /dev/vdb >/usr/local/bin/cede
chmod 755 /usr/local/bin/cede
cede --version"
        ));
        version.map(|text| format!("{}, {bytes} bytes", text.trim()))
    }

    /// Runs `cede`, expects an exit code, gives what it printed.
    pub(super) fn cede(&mut self, arguments: &str, expected: i32) -> Outcome<String> {
        let answer = self.machine.run(&format!("cede {arguments}"))?;
        let stdout = String::from_utf8_lossy(&answer.stdout).into_owned();
        if answer.status == expected {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&answer.stderr);
        let status = answer.status;
        Err(format!("`cede {arguments}`: exit code {status}, not {expected}\n{stdout}{stderr}"))
    }

    pub(super) fn cede_json(&mut self, arguments: &str, format: &str, expected: i32) -> Outcome<Value> {
        let text = self.cede(&format!("{arguments} --json"), expected)?;
        let value: Value = serde_json::from_str(&text).map_err(|error| format!("{error}:\n{text}"))?;
        match text_of(&value, "format") == format {
            true => Ok(value),
            false => Err(format!("format is not {format}:\n{text}")),
        }
    }

    pub(super) fn check(&mut self) -> Outcome<String> {
        let report = self.cede_json("check", "cede.check/1", PROBLEMS)?;
        let left_over = self.model.left_over();
        let about_iommu = list_of(&report, "findings")
            .iter()
            .filter(|finding| text_of(finding, "verdict") == "problem" && text_of(finding, "id").contains("iommu"));
        for finding in about_iommu {
            let named = list_of(finding, "evidence").iter().any(|evidence| {
                text_of(evidence, "source").ends_with("/etc/default/grub") || text_of(evidence, "text").contains(left_over)
            });
            if named {
                return Ok(format!("{}: {}", text_of(finding, "id"), text_of(finding, "summary")));
            }
        }
        Err(format!("no problem with the IOMMU has {left_over} as evidence:\n{report:#}"))
    }

    pub(super) fn plan(&mut self) -> Outcome<String> {
        let address = self.card()?.display.address;
        let plan = self.cede_json(&format!("plan {address}"), "cede.plan/1", DONE)?;
        let left_over = self.model.left_over();
        let removes = |step: &&Value| {
            text_of(step, "kind") == "replace_file"
                && text_of(step, "before").contains(left_over)
                && step.get("after").is_some_and(Value::is_string)
                && !text_of(step, "after").contains(left_over)
        };
        let steps = list_of(&plan, "steps");
        match steps.iter().find(removes) {
            Some(step) => Ok(format!("{} in {} steps", text_of(step, "path"), steps.len())),
            None => Err(format!("no step removes {left_over}:\n{plan:#}")),
        }
    }

    /// The disk's controller carries the root, so it is refused, with the chain between them.
    pub(super) fn disk_is_refused(&mut self) -> Outcome<String> {
        let function = self.root_controller()?;
        let plan = self.cede_json(&format!("plan {function}"), "cede.plan/1", REFUSED)?;
        let root = self.model.root_device().trim_start_matches("/dev/");
        let chain = format!("{function} virtio-pci → {root} → /: ");
        let refused = list_of(&plan, "refused");
        match refused.iter().find(|refusal| text_of(refusal, "id") == "root-disk" && text_of(refusal, "message").starts_with(&chain)) {
            Some(_) => Ok(chain),
            None => Err(format!("no refusal begins with `{chain}`:\n{plan:#}")),
        }
    }

    /// The function that carries the root's disk.
    pub(super) fn root_controller(&mut self) -> Outcome<String> {
        let path = self.machine.output("readlink -f /sys/class/block/vda")?;
        let function = path.split('/').rfind(|part| part.matches(':').count() == 2);
        function.map(str::to_owned).ok_or_else(|| format!("no function in {path}"))
    }

    /// Each machine takes one of the ways of telling vfio-pci; the one with two displays alike chooses by itself.
    pub(super) fn bind(&self) -> &'static str {
        match self.model {
            Model::Intel => "",
            Model::Efi => "--bind cmdline",
            Model::Amd => "--bind modprobe",
        }
    }

    /// Debian's kernels switch both IOMMUs on by themselves, so taking `off` out is enough, and nothing else may be added.
    pub(super) fn only_what_is_needed(&mut self) -> Outcome<String> {
        let command_line = self.machine.output("cat /proc/cmdline")?;
        let words: Vec<&str> = command_line.split_whitespace().filter(|word| word.contains("iommu") || word.starts_with("vfio")).collect();
        let expected: &[&str] = match self.model {
            Model::Efi => &["vfio-pci.ids=1234:1111,8086:293e"],
            Model::Intel | Model::Amd => &[],
        };
        match words == expected {
            true => Ok(format!("{words:?}")),
            false => Err(format!("the command line has {words:?}, not {expected:?}")),
        }
    }

    pub(super) fn apply(&mut self) -> Outcome<String> {
        let address = self.card()?.display.address;
        let start = Instant::now();
        let bind = self.bind();
        self.cede(&format!("apply {address} {bind} --yes"), REBOOT)?;
        Ok(format!("{bind}: reboot wanted, {:.0} s", start.elapsed().as_secs_f64()))
    }

    pub(super) fn verify(&mut self) -> Outcome<String> {
        let report = self.cede_json("verify", "cede.verify/1", DONE)?;
        let outcomes = list_of(&report, "outcomes");
        let met = outcomes.iter().filter(|outcome| text_of(outcome, "outcome") == "met").count();
        let passed = report.get("passed") == Some(&Value::Bool(true));
        match passed && met > 0 && met == outcomes.len() {
            true => Ok(format!("{met} expectations met")),
            false => Err(format!("not passed:\n{report:#}")),
        }
    }

    /// What was made for the next start is opened once more.
    pub(super) fn ready(&mut self) -> Outcome<String> {
        let report = self.cede_json("verify", "cede.verify/1", PROBLEMS)?;
        let count = |result: &str| list_of(&report, "outcomes").iter().filter(|outcome| text_of(outcome, "outcome") == result).count();
        match (count("met"), count("not_met"), count("cannot_tell")) {
            (met @ 1.., 0, later @ 1..) => Ok(format!("{met} expectations met, {later} wait for the start")),
            _ => Err(format!("not ready:\n{report:#}")),
        }
    }

    pub(super) fn apply_again(&mut self) -> Outcome<String> {
        let address = self.card()?.display.address;
        let before = self.cede("log", DONE)?;
        let manifest = Manifest::take(&mut self.machine, self.model)?;
        let bind = self.bind();
        self.cede(&format!("apply {address} {bind} --yes"), DONE)?;
        let after = self.cede("log", DONE)?;
        // Lines, not text: a log may tell how long ago something was.
        if before.lines().count() != after.lines().count() {
            return Err(format!("a new operation:\n{after}"));
        }
        let differences = manifest.diff(&Manifest::take(&mut self.machine, self.model)?);
        match differences.is_empty() {
            true => Ok("no new operation, no change".into()),
            false => Err(format!("it changed\n{}", differences.join("\n"))),
        }
    }

    pub(super) fn undo(&mut self) -> Outcome<String> {
        let start = Instant::now();
        self.cede("undo --yes", REBOOT)?;
        Ok(format!("reboot wanted, {:.0} s", start.elapsed().as_secs_f64()))
    }
}

/// A member that should be a string; empty when it is not.
pub(super) fn text_of<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn list_of<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
