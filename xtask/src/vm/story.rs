//! The story: an IOMMU that somebody switched off, a card given to a guest, and all of it undone.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Outcome;
use super::by_hand;
use super::facts::{self, Card};
use super::machine::Machine;
use super::manifest::Manifest;
use super::progress::Progress;
use super::recipe::Vendor;

/// How the changes are made.
pub(super) enum Road {
    /// By this binary.
    Cede(PathBuf),
    /// By a shell script, with the same assertions about the machine.
    ByHand,
}

/// The owner's drivers for the card, display first.
const NATIVE: [&str; 2] = ["bochs-drm", "snd_hda_intel"];
const DRIVER_TIMEOUT: Duration = Duration::from_secs(180);

/// Exit codes of `cede`.
const DONE: i32 = 0;
const PROBLEMS: i32 = 1;
const REBOOT: i32 = 8;

/// A step says what it saw.
type Step = (&'static str, fn(&mut Story) -> Outcome<String>);

const BEFORE: [Step; 4] = [
    ("native drivers have the card", Story::native_drivers),
    ("no IOMMU groups", Story::no_groups),
    ("manifest of /etc and /boot/grub", Story::take_manifest),
    ("the left-over parameter is effective", Story::left_over_is_effective),
];

const BY_CEDE: [Step; 9] = [
    ("cede runs in the machine", Story::install_cede),
    ("cede check finds the cause", Story::check),
    ("cede plan removes it", Story::plan),
    ("cede apply", Story::apply),
    ("reboot", Story::reboot),
    ("cede verify", Story::verify),
    ("vfio-pci has the card", Story::ceded),
    ("cede apply again: nothing to do", Story::apply_again),
    ("cede undo", Story::undo),
];

const BY_HAND: [Step; 4] = [
    ("apply by hand", Story::apply_by_hand),
    ("reboot", Story::reboot),
    ("vfio-pci has the card", Story::ceded),
    ("undo by hand", Story::undo_by_hand),
];

const AFTER: [Step; 4] = [
    ("reboot", Story::reboot),
    ("everything is as before, to the byte", Story::manifest_is_back),
    ("native drivers have the card again", Story::native_drivers),
    ("no IOMMU groups again", Story::no_groups),
];

/// Starts the machine and goes through all steps; stops at the first that fails.
pub(super) fn tell(vendor: Vendor, road: &Road, base: &Path, directory: &Path, progress: &Rc<Progress>) -> Outcome<()> {
    let (upload, middle): (_, &[Step]) = match road {
        Road::Cede(binary) => (Some(binary.as_path()), &BY_CEDE),
        Road::ByHand => (None, &BY_HAND),
    };
    let machine = Machine::start(vendor, base, directory, upload, progress)?;
    let size = upload.map_or(Ok(0), |file| file.metadata().map(|data| data.len()));
    let mut story = Story { vendor, machine, binary_bytes: size.map_err(|error| error.to_string())?, manifest: None };
    for (name, step) in BEFORE.iter().chain(middle).chain(&AFTER) {
        let saw =
            step(&mut story).map_err(|error| format!("step `{name}`: {error}\nconsole: {}", directory.join("console.log").display()))?;
        progress.say(&format!("{name}: {saw}"));
    }
    story.machine.power_off()
}

struct Story {
    vendor: Vendor,
    machine: Machine,
    binary_bytes: u64,
    manifest: Option<Manifest>,
}

impl Story {
    fn card(&mut self) -> Outcome<Card> {
        Card::find(&facts::functions(&mut self.machine)?)
    }

    /// Modules are loaded by udev some time after the agent is there.
    fn native_drivers(&mut self) -> Outcome<String> {
        let start = Instant::now();
        loop {
            let card = self.card()?;
            let drivers = card.drivers();
            if drivers == NATIVE.map(Some) {
                return Ok(format!("{} {}, {} {}", card.display.address, NATIVE[0], card.audio.address, NATIVE[1]));
            }
            if start.elapsed() > DRIVER_TIMEOUT {
                return Err(format!("drivers are {drivers:?}, not {NATIVE:?}"));
            }
            thread::sleep(Duration::from_secs(2));
        }
    }

    fn no_groups(&mut self) -> Outcome<String> {
        let groups = facts::groups(&mut self.machine)?;
        match groups.is_empty() {
            true => Ok("/sys/kernel/iommu_groups is empty".into()),
            false => Err(format!("there are groups: {groups:?}")),
        }
    }

    fn take_manifest(&mut self) -> Outcome<String> {
        let manifest = Manifest::take(&mut self.machine)?;
        let lines = manifest.len();
        self.manifest = Some(manifest);
        Ok(format!("{lines} lines"))
    }

    fn manifest_is_back(&mut self) -> Outcome<String> {
        let before = self.manifest.take().ok_or("no manifest was taken")?;
        let differences = before.diff(&Manifest::take(&mut self.machine)?);
        match differences.is_empty() {
            true => Ok(format!("{} lines are the same", before.len())),
            false => Err(format!("differences:\n{}", differences.join("\n"))),
        }
    }

    fn left_over_is_effective(&mut self) -> Outcome<String> {
        let command_line = self.machine.output("cat /proc/cmdline")?;
        let there = command_line.split_whitespace().any(|word| word == self.vendor.left_over());
        let by_grub = command_line.starts_with("BOOT_IMAGE=/boot/vmlinuz-");
        match there && by_grub {
            true => Ok(command_line.trim().to_owned()),
            false => Err(format!("/proc/cmdline is {command_line}")),
        }
    }

    fn reboot(&mut self) -> Outcome<String> {
        self.machine.reboot()?;
        Ok(self.machine.output("cat /proc/cmdline")?.trim().to_owned())
    }

    /// Both functions are with `vfio-pci`, alone in their group, and were never anyone else's.
    fn ceded(&mut self) -> Outcome<String> {
        // Also what udev and services do late in the boot must not change it.
        self.machine.run("systemctl is-system-running --wait; udevadm settle")?;
        let functions = facts::functions(&mut self.machine)?;
        let card = Card::find(&functions)?;
        if card.drivers() != [Some("vfio-pci"); 2] {
            return Err(format!("drivers are {:?}", card.drivers()));
        }
        let group = card.display.group.clone().ok_or("the display is in no group")?;
        let members: Vec<&str> = functions
            .iter()
            .filter(|function| function.group.as_ref() == Some(&group) && !function.bridge)
            .map(|function| function.address.as_str())
            .collect();
        if members != [card.display.address.as_str(), card.audio.address.as_str()] {
            return Err(format!("members of group {group}: {members:?}"));
        }
        let heads = [format!("{} {}", NATIVE[0], card.display.address), format!("{} {}", NATIVE[1], card.audio.address)];
        let seen = facts::log_lines(&mut self.machine, &heads)?;
        match seen.is_empty() {
            true => Ok(format!("group {group} is {members:?}, no line of {NATIVE:?} in the log")),
            false => Err(format!("a native driver had it:\n{}", seen.join("\n"))),
        }
    }
}

/// The steps without `cede`.
impl Story {
    fn apply_by_hand(&mut self) -> Outcome<String> {
        let talk = self.machine.output(&by_hand::apply(self.vendor))?;
        Ok(talk.lines().last().unwrap_or_default().to_owned())
    }

    fn undo_by_hand(&mut self) -> Outcome<String> {
        let talk = self.machine.output(&by_hand::undo())?;
        Ok(talk.lines().last().unwrap_or_default().to_owned())
    }
}

/// The steps of `cede`.
impl Story {
    fn install_cede(&mut self) -> Outcome<String> {
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
    fn cede(&mut self, arguments: &str, expected: i32) -> Outcome<String> {
        let answer = self.machine.run(&format!("cede {arguments}"))?;
        let stdout = String::from_utf8_lossy(&answer.stdout).into_owned();
        if answer.status == expected {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&answer.stderr);
        let status = answer.status;
        Err(format!("`cede {arguments}`: exit code {status}, not {expected}\n{stdout}{stderr}"))
    }

    fn cede_json(&mut self, arguments: &str, format: &str, expected: i32) -> Outcome<Value> {
        let text = self.cede(&format!("{arguments} --json"), expected)?;
        let value: Value = serde_json::from_str(&text).map_err(|error| format!("{error}:\n{text}"))?;
        match text_of(&value, "format") == format {
            true => Ok(value),
            false => Err(format!("format is not {format}:\n{text}")),
        }
    }

    fn check(&mut self) -> Outcome<String> {
        let report = self.cede_json("check", "cede.check/1", PROBLEMS)?;
        let left_over = self.vendor.left_over();
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

    fn plan(&mut self) -> Outcome<String> {
        let address = self.card()?.display.address;
        let plan = self.cede_json(&format!("plan {address}"), "cede.plan/1", DONE)?;
        let left_over = self.vendor.left_over();
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

    fn apply(&mut self) -> Outcome<String> {
        let address = self.card()?.display.address;
        let start = Instant::now();
        self.cede(&format!("apply {address} --yes"), REBOOT)?;
        Ok(format!("reboot wanted, {:.0} s", start.elapsed().as_secs_f64()))
    }

    fn verify(&mut self) -> Outcome<String> {
        let report = self.cede_json("verify", "cede.verify/1", DONE)?;
        let outcomes = list_of(&report, "outcomes");
        let met = outcomes.iter().filter(|outcome| text_of(outcome, "outcome") == "met").count();
        let passed = report.get("passed") == Some(&Value::Bool(true));
        match passed && met > 0 && met == outcomes.len() {
            true => Ok(format!("{met} expectations met")),
            false => Err(format!("not passed:\n{report:#}")),
        }
    }

    fn apply_again(&mut self) -> Outcome<String> {
        let address = self.card()?.display.address;
        let before = self.cede("log", DONE)?;
        let manifest = Manifest::take(&mut self.machine)?;
        self.cede(&format!("apply {address} --yes"), DONE)?;
        let after = self.cede("log", DONE)?;
        // Lines, not text: a log may tell how long ago something was.
        if before.lines().count() != after.lines().count() {
            return Err(format!("a new operation:\n{after}"));
        }
        let differences = manifest.diff(&Manifest::take(&mut self.machine)?);
        match differences.is_empty() {
            true => Ok("no new operation, no change".into()),
            false => Err(format!("it changed\n{}", differences.join("\n"))),
        }
    }

    fn undo(&mut self) -> Outcome<String> {
        let start = Instant::now();
        self.cede("undo --yes", REBOOT)?;
        Ok(format!("reboot wanted, {:.0} s", start.elapsed().as_secs_f64()))
    }
}

/// A member that should be a string; empty when it is not.
fn text_of<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list_of<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
