//! The story: an IOMMU that somebody switched off, a card given to a guest, and all of it undone.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use super::Outcome;
use super::by_hand;
use super::facts::{self, Card};
use super::machine::{Disk, Machine};
use super::manifest::Manifest;
use super::progress::Progress;
use super::qemu;
use super::recipe::{Loader, Model, Supply};

pub(super) mod bind;
mod by_cede;
mod trial;

/// How the changes are made.
pub(super) enum Road {
    /// By this binary.
    Cede(PathBuf),
    /// By this binary, with a start for trial first.
    Trial(PathBuf),
    /// By this binary, with a start for trial that is watched.
    Watchdog(PathBuf),
    /// By this binary, on the running system.
    Bind(bind::Way, PathBuf),
    /// By a shell script, with the same assertions about the machine.
    ByHand,
}

impl Road {
    /// What the disk of its machine has.
    pub(super) fn supply(&self, model: Model) -> Supply {
        match self {
            // The disk of the intel machine has the drivers anyway.
            Self::Bind(..) if model != Model::Intel => Supply::Devices,
            _ => Supply::Road,
        }
    }
}

/// The owner's drivers for the card, display first.
const NATIVE: [&str; 2] = ["bochs-drm", "snd_hda_intel"];
const DRIVER_TIMEOUT: Duration = Duration::from_secs(120);

/// A step says what it saw.
type Step = (&'static str, fn(&mut Story) -> Outcome<String>);

const BEFORE: [Step; 4] = [
    ("native drivers have the card", Story::native_drivers),
    ("no IOMMU groups", Story::no_groups),
    ("manifest of the boot configuration", Story::take_manifest),
    ("the left-over parameter is effective", Story::left_over_is_effective),
];

const BY_CEDE: [Step; 13] = [
    ("cede runs in the machine", Story::install_cede),
    ("cede check finds the cause", Story::check),
    ("cede plan removes it", Story::plan),
    ("cede plan refuses the disk of the root", Story::disk_is_refused),
    ("cede apply", Story::apply),
    ("cede verify before the reboot", Story::ready),
    ("reboot", Story::reboot),
    ("only what is needed was added", Story::only_what_is_needed),
    ("cede verify", Story::verify),
    ("vfio-pci has the card", Story::ceded),
    ("a display of the same kind stays with the host", Story::twin_stays),
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

/// Starts the machine and goes through all steps; stops at the first that fails. The logs of the
/// machine stay in `directory`.
pub(super) fn tell(model: Model, road: &Road, base: &Path, directory: &Path, progress: &Rc<Progress>) -> Outcome<()> {
    let result = walk(model, road, base, directory, progress);
    result.map_err(|error| format!("{error}\n{}", qemu::tail(&directory.join("console.log"))))
}

fn walk(model: Model, road: &Road, base: &Path, directory: &Path, progress: &Rc<Progress>) -> Outcome<()> {
    let (upload, middle): (_, &[Step]) = match road {
        Road::Cede(binary) => (Some(binary.as_path()), &BY_CEDE),
        Road::Trial(binary) => (Some(binary.as_path()), &trial::TRIAL),
        Road::Watchdog(binary) => (Some(binary.as_path()), &trial::WATCHDOG),
        Road::Bind(..) => return Err("this has a machine of its own".into()),
        Road::ByHand => (None, &BY_HAND),
    };
    let machine = Machine::start(model, &Disk::base(base), directory, upload, progress)?;
    let size = upload.map_or(Ok(0), |file| file.metadata().map(|data| data.len()));
    let mut story = Story { model, machine, binary_bytes: size.map_err(|error| error.to_string())?, manifest: None };
    for (name, step) in BEFORE.iter().chain(middle).chain(&AFTER) {
        let saw = step(&mut story).map_err(|error| format!("step `{name}`: {error}"))?;
        progress.say(&format!("{name}: {saw}"));
    }
    story.machine.power_off()
}

struct Story {
    model: Model,
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
            // The traces whose absence will matter while the card is given away.
            let traces = traces(&card);
            let seen = facts::log_lines(&mut self.machine, &traces)?;
            let logged = traces.iter().all(|trace| seen.iter().any(|line| line.contains(trace)));
            if drivers == NATIVE.map(Some) && logged {
                return Ok(format!("{} has {}, {} has {}, the log too", NATIVE[0], card.display.address, NATIVE[1], card.audio.address));
            }
            if start.elapsed() > DRIVER_TIMEOUT {
                return Err(format!("drivers are {drivers:?}, not {NATIVE:?}; log lines: {seen:#?}"));
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
        let manifest = Manifest::take(&mut self.machine, self.model)?;
        let lines = manifest.len();
        self.manifest = Some(manifest);
        Ok(format!("{lines} lines"))
    }

    fn manifest_is_back(&mut self) -> Outcome<String> {
        let before = self.manifest.take().ok_or("no manifest was taken")?;
        let differences = before.diff(&Manifest::take(&mut self.machine, self.model)?);
        match differences.is_empty() {
            true => Ok(format!("{} lines are the same", before.len())),
            false => Err(format!("differences:\n{}", differences.join("\n"))),
        }
    }

    fn left_over_is_effective(&mut self) -> Outcome<String> {
        let command_line = self.machine.output("cat /proc/cmdline")?;
        let there = command_line.split_whitespace().any(|word| word == self.model.left_over());
        match there && self.came_from_loader(&command_line)? {
            true => Ok(command_line.trim().to_owned()),
            false => Err(format!("/proc/cmdline is {command_line}")),
        }
    }

    /// GRUB names the kernel's file; systemd-boot leaves its name in a variable of the firmware.
    fn came_from_loader(&mut self, command_line: &str) -> Outcome<bool> {
        match self.model.loader() {
            Loader::Grub => Ok(command_line.starts_with("BOOT_IMAGE=/boot/vmlinuz-")),
            Loader::SystemdBoot => {
                let info = self.machine.output("tr -d '\\0' </sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")?;
                Ok(info.contains("systemd-boot"))
            }
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
        let mut traces = traces(&card);
        traces.push(format!("{} {}", NATIVE[1], card.audio.address));
        let seen = facts::log_lines(&mut self.machine, &traces)?;
        match seen.is_empty() {
            true => Ok(format!("group {group} is {members:?}, the log has none of {traces:?}")),
            false => Err(format!("a native driver had it:\n{}", seen.join("\n"))),
        }
    }
}

/// The display that ids cannot tell from the card's.
impl Story {
    /// Its own driver has it, and vfio-pci never did.
    fn twin_stays(&mut self) -> Outcome<String> {
        let functions = facts::functions(&mut self.machine)?;
        let twins = Card::find(&functions)?.twins(&functions);
        let [twin] = twins.as_slice() else {
            return if twins.is_empty() && !self.model.has_twin() { Ok("this machine has none".into()) } else { Err(format!("{twins:?}")) };
        };
        let address = &twin.address;
        let set = self.machine.output(&format!("cat /sys/bus/pci/devices/{address}/driver_override"))?;
        let [native, taken, log] = [format!("{} {address}", NATIVE[0]), format!("vfio-pci {address}"), "cede:".to_owned()];
        let seen = facts::log_lines(&mut self.machine, &[native.clone(), taken.clone(), log.clone()])?;
        let has = |text: &str| seen.iter().any(|line| line.contains(text));
        match twin.driver.as_deref() == Some(NATIVE[0]) && set.trim() == "(null)" && has(&native) && !has(&taken) && !has(&log) {
            true => Ok(format!("{address} is with {}, without an override, and vfio-pci never had it", NATIVE[0])),
            false => Err(format!("{twin:?}, driver_override {set}, log {seen:#?}")),
        }
    }
}

/// The steps without `cede`.
impl Story {
    fn apply_by_hand(&mut self) -> Outcome<String> {
        let talk = self.machine.output(&by_hand::apply(self.model))?;
        Ok(talk.lines().last().unwrap_or_default().to_owned())
    }

    fn undo_by_hand(&mut self) -> Outcome<String> {
        let talk = self.machine.output(&by_hand::undo(self.model))?;
        Ok(talk.lines().last().unwrap_or_default().to_owned())
    }
}

/// What the kernel's log has when the native drivers work: the display's driver names itself and the
/// address, the audio controller's says nothing but finds its codec (there is no other controller).
fn traces(card: &Card) -> Vec<String> {
    vec![format!("{} {}", NATIVE[0], card.display.address), " hdaudioC".to_owned()]
}
