//! What is bound at every start: over a reboot; and with the cards swapped, where nothing is bound to a stranger.

use crate::in_one_line;
use std::path::Path;

use serde_json::Value;

use super::super::by_cede::{DONE, list_of, text_of};
use super::super::{Step, Story};
use super::{DISK, HARDWARE, NETWORK, Stage};
use crate::vm::Outcome;
use crate::vm::machine::Disk;

const FIRST: [Step; 6] = [
    ("cede runs in the machine", Story::install_cede),
    ("the network is brought up at every start", Story::network_set_up),
    ("bound now and at every start", Story::bound_for_good),
    ("reboot", Story::reboot_by_itself),
    ("bound by the start, before the network", Story::bound_by_start),
    ("a hook's release ends nothing, and again by hand", Story::goes_on),
];

const SWAPPED: [Step; 2] =
    [("nothing is bound to a stranger", Story::strangers_kept), ("undo removes the units, whatever became of the cards", Story::undone)];

const BACK: [Step; 3] = [
    ("bound by the start again", Story::bound_by_start),
    ("release ends it for good", Story::released_for_good),
    ("nothing is left at the next start", Story::none_bound),
];

/// Three starts of one disk, the second with two cards swapped and the third one gone.
pub(super) fn tell(stage: &Stage<'_>, directory: &Path) -> Outcome<()> {
    let disk = |name: &str| Disk::overlaid(&directory.join(name).join("disk.qcow2"));
    let mut story = stage.start(&Disk::base(stage.base), &directory.join("first"), HARDWARE)?;
    story.walk(&FIRST, &directory.join("first"), stage.progress)?;
    story.machine.power_off()?;
    let swapped = HARDWARE.replace("bus=port2", "bus=X").replace("bus=port3", "bus=port2").replace("bus=X", "bus=port3");
    let (others, _) = swapped.split_once("-device nvme-subsys").ok_or("no such device")?;
    let swapped = format!("{others} -device edu,bus=port6");
    let mut story = stage.start(&disk("first"), &directory.join("swapped"), &swapped)?;
    story.walk(&SWAPPED, &directory.join("swapped"), stage.progress)?;
    story.machine.power_off()?;
    let mut story = stage.start(&disk("first"), &directory.join("back"), HARDWARE)?;
    story.walk(&BACK, &directory.join("back"), stage.progress)?;
    story.machine.power_off()
}

/// What the units of this start said.
const SAID: &str = "journalctl -q -b -o cat -u 'cede-bind-*'";

impl Story {
    /// Without cede the card gets an address in each start.
    fn network_set_up(&mut self) -> Outcome<String> {
        self.native_drivers()?;
        self.machine.output(
            "set -e
printf '[Match]\\nDriver=e1000e\\n[Network]\\nDHCP=ipv4\\nLinkLocalAddressing=no\\n' >/etc/systemd/network/50-test.network
systemctl -q enable systemd-networkd; echo enabled",
        )
    }

    fn bound_for_good(&mut self) -> Outcome<String> {
        let (disk, card, physical) = (self.one(DISK)?.address, self.one(NETWORK)?.address, self.physical()?);
        let mut files = 0;
        for words in [format!("{disk} {card}"), format!("{physical} --vfs 3")] {
            let report = self.cede_json(&format!("bind {words} --persist --yes"), "cede.bind/1", DONE)?;
            let unit = report.get("at_start").cloned().unwrap_or_default();
            if text_of(&unit, "state") != "in_force" {
                return Err(format!("{report:#}"));
            }
            files += list_of(&unit, "files").len();
        }
        let again = self.cede(&format!("bind {physical} --vfs 3 --persist --yes"), DONE)?;
        self.cede("verify", DONE)?;
        if in_one_line(&again).contains("at every start already") { Ok(format!("{files} files")) } else { Err(again) }
    }

    fn reboot_by_itself(&mut self) -> Outcome<String> {
        self.machine.reboot_over(0)?;
        Ok(String::new())
    }

    fn bound_by_start(&mut self) -> Outcome<String> {
        self.machine.run("systemctl is-system-running --wait")?;
        let said = in_one_line(&self.machine.output(SAID)?);
        let physical = self.physical()?;
        for address in [self.one(DISK)?.address, self.one(NETWORK)?.address] {
            self.is_on_vfio(&address).map_err(|error| format!("{error}\n{said}"))?;
        }
        let seen = self.virtual_drivers(&physical)?;
        if seen != ["3", "1", "vfio-pci", "vfio-pci", "vfio-pci"] {
            return Err(format!("{seen:?}\n{said}"));
        }
        let verified = self.cede("verify", DONE)?;
        let status = self.cede_json("status", "cede.status/1", DONE)?;
        if list_of(&status, "at_every_start").len() != 3 || list_of(&status, "displaced") != [] as [Value; 0] {
            return Err(format!("{status:#}"));
        }
        let times = self.machine.output(
            "systemctl show -P ExecMainStartTimestampMonotonic 'cede-bind-*'; systemctl show -P ExecMainExitTimestampMonotonic 'cede-bind-*'
systemctl show -P ExecMainStartTimestampMonotonic systemd-networkd",
        )?;
        let times: Vec<u64> = times.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let (network, units) = times.split_last().ok_or("no times")?;
        if units.len() != 4 || units.iter().any(|time| time > network) {
            return Err(format!("the units ran at {units:?}, the network came at {network}"));
        }
        let seconds = |from: usize| units.get(from + 2).zip(units.get(from)).map_or(0.0, |(end, start)| (end - start) as f64 / 1e6);
        Ok(format!("{} lines verified; units took {:.1} and {:.1} s", verified.lines().count(), seconds(0), seconds(1)))
    }

    /// What a guest's hook does at its end is for now alone.
    fn goes_on(&mut self) -> Outcome<String> {
        let disk = self.one(DISK)?.address;
        self.machine.output("mkdir -p /etc/libvirt")?;
        let installed = self.cede(&format!("hook install win11 {disk} --yes"), DONE)?;
        self.cede("hook run win11 release", DONE)?;
        if self.one(DISK)?.driver.as_deref() != Some("nvme") {
            return Err(installed);
        }
        let alone = self.cede(&format!("bind {disk} --yes"), DONE)?;
        let part = in_one_line(&self.cede(&format!("release {disk} --yes"), DONE)?);
        self.cede(&format!("bind {disk} --yes"), DONE)?;
        match part.contains("the next start binds it again") {
            true => Ok(part),
            false => Err(format!("{alone}\n{part}")),
        }
    }

    /// Both cards are there, each at the other's place.
    fn strangers_kept(&mut self) -> Outcome<String> {
        self.machine.run("systemctl is-system-running --wait")?;
        let said = in_one_line(&self.machine.output(SAID)?);
        let drivers = [self.one(DISK)?.driver, self.one(NETWORK)?.driver].map(Option::unwrap_or_default);
        let failed = self.machine.output("systemctl list-units --failed --plain --no-legend 'cede-bind-*'")?;
        let operations = self.machine.output("ls /var/lib/cede/operations | wc -l")?;
        let status = self.cede_json("status", "cede.status/1", DONE)?;
        let displaced = list_of(&status, "displaced").len();
        let verify = self.cede("verify", 1)?;
        let told = said.contains("nothing was bound") && said.contains("--persist`");
        if drivers == ["nvme", "e1000e"] && failed.lines().count() == 2 && told && displaced == 3 {
            Ok(format!("{} operations; {}", operations.trim(), said))
        } else {
            Err(format!("{drivers:?}, {displaced} displaced, failed: {failed}\n{said}\n{verify}\n{status:#}"))
        }
    }

    fn undone(&mut self) -> Outcome<String> {
        let log = self.cede_json("log", "cede.log/1", DONE)?;
        let ours = |operation: &&Value| text_of(operation, "verb") == "persist" && text_of(operation, "state") == "in force";
        let numbers: Vec<String> =
            list_of(&log, "operations").iter().filter(ours).filter_map(|one| one.get("number")).map(ToString::to_string).collect();
        for number in &numbers {
            self.cede(&format!("undo {number} --yes"), DONE)?;
        }
        let left =
            self.machine.output("find /etc/systemd -name '*cede*'; ls -d /etc/systemd/system/multi-user.target.d 2>/dev/null; true")?;
        if numbers.len() == 2 && left.is_empty() {
            Ok(format!("operations {numbers:?}"))
        } else {
            Err(format!("{numbers:?}\n{left}\n{log:#}"))
        }
    }

    fn released_for_good(&mut self) -> Outcome<String> {
        let (disk, card, physical) = (self.one(DISK)?.address, self.one(NETWORK)?.address, self.physical()?);
        let released = self.cede_json(&format!("release {disk} {card} --yes"), "cede.bind/1", DONE)?;
        let gone = self.cede_json(&format!("bind {physical} --vfs 0 --yes"), "cede.bind/1", DONE)?;
        let ended = [&released, &gone].iter().all(|report| report.get("at_start").is_some_and(|unit| text_of(unit, "state") == "removed"));
        let drivers = [self.one(DISK)?.driver, self.one(NETWORK)?.driver].map(Option::unwrap_or_default);
        let left = self.machine.output("find /etc/systemd -name '*cede*'")?;
        match ended && drivers == ["nvme", "e1000e"] && left.is_empty() {
            true => Ok("the former drivers are back, no unit is left".to_owned()),
            false => Err(format!("{drivers:?}, {left}\n{released:#}\n{gone:#}")),
        }
    }

    fn none_bound(&mut self) -> Outcome<String> {
        self.machine.reboot_over(0)?;
        self.machine.run("systemctl is-system-running --wait")?;
        let physical = self.physical()?;
        let seen = self.virtual_drivers(&physical)?;
        let drivers = [self.one(DISK)?.driver, self.one(NETWORK)?.driver].map(Option::unwrap_or_default);
        match drivers == ["nvme", "e1000e"] && seen == ["0", "1"] {
            true => Ok(format!("{drivers:?}")),
            false => Err(format!("{drivers:?} {seen:?}")),
        }
    }
}
