//! Bind and release on the running system: a network card, a disk, a USB controller and the two-function display card change their drivers and
//! come back to work; what is in use is refused by name; a killed run is recovered.

mod hook;
mod persist;

use crate::in_one_line;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use serde_json::Value;

use super::by_cede::{DONE, REFUSED, list_of, text_of};
use super::{Step, Story};
use crate::vm::Outcome;
use crate::vm::facts::{self, Function};
use crate::vm::image;
use crate::vm::machine::{Disk, Machine, Setting};
use crate::vm::progress::Progress;
use crate::vm::qemu::{self, Qemu};
use crate::vm::recipe::{Model, TUNING};

const NETWORK: &str = "0x8086:0x10d3";
const DISK: &str = "0x1b36:0x0010";
const USB: &str = "0x1b36:0x000d";
const EDU: &str = "0x1234:0x11e8";

/// Beside what every machine has: the ports first, so that cards can change places. Functions of one slot without ACS are one group.
const HARDWARE: &str = "-device pcie-root-port,id=port2,chassis=3,slot=3 -device pcie-root-port,id=port3,chassis=4,slot=4
    -device pcie-root-port,id=port4,chassis=5,slot=5 -device pcie-root-port,id=port5,chassis=6,slot=6
    -device pcie-root-port,id=port6,chassis=7,slot=7
    -netdev user,id=net -device e1000e,netdev=net,bus=port2
    -device nvme,drive=data,serial=data,bus=port3
    -device qemu-xhci,bus=port4
    -device nvme,drive=other,serial=other,bus=port5,addr=0.0,multifunction=on
    -device edu,bus=port5,addr=0.1
    -device nvme-subsys,id=subsystem
    -device nvme,serial=many,subsys=subsystem,bus=port6,sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4";

const STEPS: [Step; 18] = [
    ("cede runs in the machine", Story::install_cede),
    ("the host's drivers have the devices, and they work", Story::all_work),
    ("a mounted disk is refused", Story::mounted_is_refused),
    ("an open disk is refused", Story::open_is_refused),
    ("a disk mounted where it is not seen is refused", Story::hidden_is_refused),
    ("a group with a mounted disk is refused", Story::foreign_is_refused),
    ("a card with an address is refused, and waited for", Story::address_is_waited_for),
    ("bind of the disk", Story::bind_disk),
    ("bind of the USB controller", Story::bind_usb),
    ("bind of the display card", Story::bind_card),
    ("cede verify, status and log tell", Story::told),
    ("a guest's open group is refused", Story::guest_is_refused),
    ("release of all", Story::release_all),
    ("they work for the host again", Story::all_work),
    ("virtual functions are made and bound", Story::virtual_made),
    ("undo takes them away", Story::virtual_gone),
    ("a guest's hook gives it the disk and takes it back", Story::hook),
    ("killed in the middle of a bind, and recovered", Story::killed),
];

/// What is done on the running system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vm) enum Way {
    /// There and back.
    Story,
    /// At every start.
    Persist,
    /// Many virtual functions, measured.
    Many,
    /// Guests of libvirt.
    Libvirt,
}

impl Way {
    /// The one of this name.
    pub(in crate::vm) fn parse(word: &str) -> Option<Self> {
        match word {
            "persist" => Some(Self::Persist),
            "many" => Some(Self::Many),
            "libvirt" => Some(Self::Libvirt),
            _ => None,
        }
    }

    /// Starts the machine with more hardware and goes through the steps.
    pub(in crate::vm) fn tell(self, stage: &Stage<'_>, directory: &Path) -> Outcome<()> {
        match self {
            Self::Story => {
                let mut story = stage.start(&Disk::base(stage.base), directory, HARDWARE)?;
                story.walk(&STEPS, directory, stage.progress)?;
                story.machine.power_off()
            }
            Self::Persist => persist::tell(stage, directory),
            Self::Many | Self::Libvirt => Err("this is done in a small machine".into()),
        }
    }
}

/// What the machines of a story have in common.
pub(in crate::vm) struct Stage<'a> {
    /// Which machine.
    pub(in crate::vm) model: Model,
    /// cede.
    pub(in crate::vm) binary: &'a Path,
    /// The disk that nothing is written to.
    pub(in crate::vm) base: &'a Path,
    /// Who is told.
    pub(in crate::vm) progress: &'a Rc<Progress>,
}

impl Stage<'_> {
    /// A machine with this hardware, its kernel given from outside.
    fn start(&self, disk: &Disk, directory: &Path, hardware: &str) -> Outcome<Story> {
        let (kernel, initrd) = image::kernel_of(self.base);
        if !(kernel.exists() && initrd.exists()) {
            return Err(format!("{} is without its kernel: remove it, and it is made anew", self.base.display()));
        }
        let on = if self.model == Model::Amd { "" } else { " intel_iommu=on" };
        let append = format!("root={} ro console=ttyS0 {TUNING} quiet{on}", self.model.root_device());
        let more = |qemu: &mut Qemu| {
            for name in ["data", "other"] {
                qemu.drive(&format!("id={name},format=raw,cache=unsafe"), &file_system(directory, name)?);
            }
            qemu.add(hardware);
            qemu.kernel(&kernel, &initrd, &append);
            Ok(())
        };
        let setting = Setting { disk, loads: 0, more: &more };
        let machine = Machine::start_with(self.model, &setting, directory, Some(self.binary), self.progress)?;
        let size = self.binary.metadata().map_err(|error| error.to_string())?.len();
        Ok(Story { model: self.model, machine, binary_bytes: size, manifest: None })
    }
}

impl Story {
    fn walk(&mut self, steps: &[Step], directory: &Path, progress: &Rc<Progress>) -> Outcome<()> {
        for (name, step) in steps {
            let saw = step(self).map_err(|error| format!("step `{name}`: {error}\n{}", qemu::tail(&directory.join("console.log"))))?;
            progress.say(&format!("{name}: {saw}"));
        }
        Ok(())
    }
}

/// A small disk with one file on it.
pub(in crate::vm) fn file_system(directory: &Path, name: &str) -> Outcome<std::path::PathBuf> {
    let (tree, disk) = (directory.join(format!("{name}.tree")), directory.join(format!("{name}.raw")));
    let failed = |error: std::io::Error| format!("{}: {error}", disk.display());
    fs::create_dir_all(&tree).and_then(|()| fs::write(tree.join("file"), format!("{name} is whole\n"))).map_err(failed)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("mke2fs");
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).args(["-q", "-F", "-t", "ext4", "-d"]).args([&tree, &disk]).arg("24M");
    let output = command.output().map_err(failed)?;
    if output.status.success() { Ok(disk) } else { Err(format!("mke2fs: {}", String::from_utf8_lossy(&output.stderr))) }
}

/// Mounts the disk, reads its file; brings the network up by DHCP; looks for the controller's root hub and the card's nodes.
const WORKS: &str = r#"set -e
udevadm settle
mkdir -p /run/data /run/systemd/network
block=$(ls "/sys/bus/pci/devices/$DISK/nvme/"*/ | grep -m1 -E '^nvme[0-9]+n[0-9]+$')
mount "/dev/$block" /run/data; cat /run/data/file; umount /run/data
ls -d "/sys/bus/pci/devices/$USB/"usb*
ls -d "/sys/bus/pci/devices/$DISPLAY_/drm/"card*; ls -d "/sys/bus/pci/devices/$AUDIO/sound/"card*
printf '[Match]\nDriver=e1000e\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n[DHCPv4]\nUseRoutes=no\nUseGateway=no\n' >/run/systemd/network/50-test.network
systemctl restart systemd-networkd
for second in $(seq 90); do
    if grep -h '^ADDRESS=10.0.2.' /run/systemd/netif/leases/* 2>/dev/null; then exit 0; fi
    sleep 1
done
echo 'no address by DHCP' >&2; networkctl status -a >&2; exit 1
"#;

impl Story {
    /// The functions of these ids, in the order of their addresses.
    fn with_id(&mut self, id: &str) -> Outcome<Vec<Function>> {
        let functions = facts::functions(&mut self.machine)?;
        Ok(functions.into_iter().filter(|function| function.id == id).collect())
    }

    fn one(&mut self, id: &str) -> Outcome<Function> {
        self.with_id(id)?.into_iter().next().ok_or_else(|| format!("there is no {id}"))
    }

    fn all_work(&mut self) -> Outcome<String> {
        self.native_drivers()?;
        let card = self.card()?;
        let (disk, usb) = (self.one(DISK)?, self.one(USB)?);
        let variables =
            format!("DISK={} USB={} DISPLAY_={} AUDIO={}\n", disk.address, usb.address, card.display.address, card.audio.address);
        let seen = self.machine.output(&(variables + WORKS))?;
        let network = self.one(NETWORK)?;
        match (network.driver.as_deref(), disk.driver.as_deref(), usb.driver.as_deref()) {
            (Some("e1000e"), Some("nvme"), Some("xhci_hcd")) if seen.contains("data is whole") => {
                Ok(seen.split_whitespace().collect::<Vec<_>>().join(" "))
            }
            drivers => Err(format!("drivers are {drivers:?}:\n{seen}")),
        }
    }

    /// Refused, for this reason, by a message with these words; and the driver still has it.
    fn refused(&mut self, function: &Function, id: &str, words: &[&str]) -> Outcome<String> {
        let report = self.cede_json(&format!("bind {} --yes", function.address), "cede.bind/1", REFUSED)?;
        let fits = |refusal: &&Value| text_of(refusal, "id") == id && words.iter().all(|word| text_of(refusal, "message").contains(word));
        let message = list_of(&report, "refused").iter().find(fits).map(|refusal| text_of(refusal, "message").to_owned());
        let now = facts::functions(&mut self.machine)?;
        if !now.contains(function) {
            return Err(format!("{function:?} is not as it was"));
        }
        message.ok_or_else(|| format!("no refusal `{id}` with {words:?}:\n{report:#}"))
    }

    fn mounted_is_refused(&mut self) -> Outcome<String> {
        let disk = self.one(DISK)?;
        let block = self.block_of(&disk)?;
        self.machine.output(&format!("mount /dev/{block} /run/data"))?;
        let chain = format!("{} nvme → {block} → /run/data", disk.address);
        let message = self.refused(&disk, "mounted-disk", &[&chain])?;
        let accepted = self.cede(&format!("bind {} --yes --accept-loss mounted-disk", disk.address), REFUSED)?;
        self.machine.output("umount /run/data")?;
        if in_one_line(&accepted).contains(&chain) { Ok(message) } else { Err(format!("accepted: {accepted}")) }
    }

    fn block_of(&mut self, disk: &Function) -> Outcome<String> {
        let listing = format!("ls /sys/bus/pci/devices/{}/nvme/*/ | grep -m1 -E '^nvme[0-9]+n[0-9]+$'", disk.address);
        Ok(self.machine.output(&listing)?.trim().to_owned())
    }

    fn open_is_refused(&mut self) -> Outcome<String> {
        let disk = self.one(DISK)?;
        let block = self.block_of(&disk)?;
        let pid = self.machine.output(&format!("sleep 1000 </dev/{block} >/dev/null 2>&1 & echo $!"))?.trim().to_owned();
        let message = self.refused(&disk, "held", &[&format!("/dev/{block}: open in sleep (pid {pid})")])?;
        self.machine.output(&format!("kill {pid}"))?;
        Ok(message)
    }

    /// In a mount namespace of somebody else only the kernel knows of it.
    fn hidden_is_refused(&mut self) -> Outcome<String> {
        let disk = self.one(DISK)?;
        let block = self.block_of(&disk)?;
        let pid =
            self.machine.output(&format!("unshare -m sh -c 'mount /dev/{block} /run/data; exec sleep 1000' >/dev/null 2>&1 & echo $!"))?;
        self.machine.output(&format!(
            "until grep -q /run/data /proc/{}/mountinfo; do sleep 0.2; done; ! grep /run/data /proc/mounts",
            pid.trim()
        ))?;
        let answer = self.cede_json(&format!("bind {} --yes", disk.address), "cede.error/1", REFUSED)?;
        self.machine.output(&format!("kill {0}; while kill -0 {0} 2>/dev/null; do sleep 0.2; done", pid.trim()))?;
        let error = text_of(&answer, "error").to_owned();
        let as_it_was = self.one(DISK)? == disk;
        if as_it_was && error.contains(&format!("/dev/{block}: somebody has it for himself")) {
            Ok(error)
        } else {
            Err(format!("{answer:#}"))
        }
    }

    fn foreign_is_refused(&mut self) -> Outcome<String> {
        let edu = self.one(EDU)?;
        let disks = self.with_id(DISK)?;
        let other = disks.into_iter().find(|disk| disk.group == edu.group).ok_or("no disk is in a group with the other function")?;
        let block = self.block_of(&other)?;
        self.machine.output(&format!("mkdir -p /run/other; mount /dev/{block} /run/other"))?;
        let message = self.refused(&edu, "mounted-disk", &[&format!("{} nvme → {block} → /run/other", other.address)])?;
        self.machine.output("umount /run/other")?;
        Ok(message)
    }

    fn address_is_waited_for(&mut self) -> Outcome<String> {
        let card = self.one(NETWORK)?;
        let message = self.refused(&card, "held", &["has an address (10.0.2."])?;
        let talk = self.machine.output(&format!(
            "cede bind {0} --yes --wait 120 >/run/bind.log 2>&1 & bind=$!
for second in $(seq 60); do grep -q 'waiting for {0}' /run/bind.log && break; sleep 1; done
rm /run/systemd/network/50-test.network; systemctl stop systemd-networkd
for name in $(ls /sys/bus/pci/devices/{0}/net); do echo 0x1002 >/sys/class/net/$name/flags; done
wait $bind; status=$?; cat /run/bind.log; exit $status",
            card.address
        ))?;
        self.is_on_vfio(&card.address)?;
        if talk.contains("waiting for") { Ok(message) } else { Err(format!("it did not wait:\n{talk}")) }
    }

    fn is_on_vfio(&mut self, address: &str) -> Outcome<()> {
        let functions = facts::functions(&mut self.machine)?;
        match functions.iter().find(|function| function.address == address).and_then(|function| function.driver.as_deref()) {
            Some("vfio-pci") => Ok(()),
            other => Err(format!("{address} is with {other:?}")),
        }
    }

    fn bind_now(&mut self, addresses: &[String]) -> Outcome<String> {
        let report = self.cede_json(&format!("bind {} --yes", addresses.first().map_or("", String::as_str)), "cede.bind/1", DONE)?;
        addresses.iter().try_for_each(|address| self.is_on_vfio(address))?;
        let met = list_of(&report, "outcomes").iter().filter(|outcome| text_of(outcome, "outcome") == "met").count();
        if text_of(&report, "result") == "done" && met > 0 { Ok(format!("{met} conditions met")) } else { Err(format!("{report:#}")) }
    }

    fn bind_disk(&mut self) -> Outcome<String> {
        let disk = self.one(DISK)?;
        self.bind_now(&[disk.address])
    }

    fn bind_usb(&mut self) -> Outcome<String> {
        let usb = self.one(USB)?;
        self.bind_now(&[usb.address])
    }

    fn bind_card(&mut self) -> Outcome<String> {
        let card = self.card()?;
        self.bind_now(&[card.display.address, card.audio.address])
    }

    fn told(&mut self) -> Outcome<String> {
        let status = self.cede_json("status", "cede.status/1", DONE)?;
        let held = list_of(&status, "until_reboot").len();
        let log = self.cede("log", DONE)?;
        self.verify()?;
        if held == 5 && log.matches("until the reboot").count() == 4 {
            Ok(format!("{held} until the reboot"))
        } else {
            Err(format!("{status:#}\n{log}"))
        }
    }

    /// As QEMU has it while a guest runs.
    fn guest_is_refused(&mut self) -> Outcome<String> {
        let disk = self.one(DISK)?;
        let group = disk.group.clone().unwrap_or_default();
        let pid = self.machine.output(&format!("sleep 1000 <>/dev/vfio/{group} >/dev/null 2>&1 & echo $!"))?.trim().to_owned();
        let report = self.cede_json(&format!("release {} --yes", disk.address), "cede.bind/1", REFUSED)?;
        self.machine.output(&format!("kill {pid}"))?;
        self.is_on_vfio(&disk.address)?;
        let holders = list_of(&report, "holders");
        let named = |holder: &&Value| {
            text_of(holder, "file") == format!("/dev/vfio/{group}") && holder.get("pid").map(ToString::to_string) == Some(pid.clone())
        };
        holders.iter().find(named).map(|holder| text_of(holder, "advice").to_owned()).ok_or_else(|| format!("not named:\n{report:#}"))
    }

    /// The last one by `undo`, which is the same.
    fn release_all(&mut self) -> Outcome<String> {
        let card = self.card()?.audio.address;
        let mut said = Vec::new();
        for address in [self.one(NETWORK)?.address, self.one(DISK)?.address, self.one(USB)?.address] {
            said.push(self.cede(&format!("release {address} --yes"), DONE)?);
        }
        said.push(self.cede("undo --yes", DONE)?);
        let again = self.cede(&format!("release {card} --yes"), DONE)?;
        if again.contains("nothing to do") { Ok(in_one_line(&said.join(" "))) } else { Err(again) }
    }

    /// The one with SR-IOV, without a disk.
    fn physical(&mut self) -> Outcome<String> {
        Ok(self.machine.output("dirname $(grep -l -x 4 /sys/bus/pci/devices/*/sriov_totalvfs) | xargs basename")?.trim().to_owned())
    }

    /// How many virtual functions it has, and with which drivers.
    fn virtual_drivers(&mut self, physical: &str) -> Outcome<Vec<String>> {
        let listing = format!(
            "cat /sys/bus/pci/devices/{physical}/sriov_numvfs /sys/bus/pci/devices/{physical}/sriov_drivers_autoprobe
for link in /sys/bus/pci/devices/{physical}/virtfn*; do basename $(readlink $link/driver) 2>/dev/null; done; true"
        );
        Ok(self.machine.output(&listing)?.split_whitespace().map(str::to_owned).collect())
    }

    fn virtual_made(&mut self) -> Outcome<String> {
        let physical = self.physical()?;
        let report = self.cede_json(&format!("bind {physical} --vfs 3 --yes"), "cede.bind/1", DONE)?;
        let seen = self.virtual_drivers(&physical)?;
        let expected = ["3", "1", "vfio-pci", "vfio-pci", "vfio-pci"];
        if seen == expected && text_of(&report, "result") == "done" { Ok(seen.join(" ")) } else { Err(format!("{seen:?}\n{report:#}")) }
    }

    fn virtual_gone(&mut self) -> Outcome<String> {
        let physical = self.physical()?;
        let log = self.cede_json("log", "cede.log/1", DONE)?;
        let maker = list_of(&log, "operations").iter().rev().nth(1).and_then(|operation| operation.get("number")).map(ToString::to_string);
        let text = self.cede(&format!("undo {} --yes", maker.unwrap_or_default()), DONE)?;
        let seen = self.virtual_drivers(&physical)?;
        let held = self.cede_json("status", "cede.status/1", DONE)?;
        if seen == ["0", "1"] && list_of(&held, "until_reboot").is_empty() {
            Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
        } else {
            Err(format!("{seen:?}\n{text}"))
        }
    }

    fn killed(&mut self) -> Outcome<String> {
        let disk = self.one(DISK)?;
        let died = self.machine.output(&format!(
            "last=$(ls /var/lib/cede/operations | tail -1); next=$(printf '%04d.jsonl' $((10#${{last%.jsonl}} + 1)))
cede bind {} --yes >/run/bind.log 2>&1 & bind=$!
until grep -q '\"record\":\"started\",\"step\":1' /var/lib/cede/operations/$next 2>/dev/null; do :; done
kill -KILL $bind; wait $bind; echo $?; grep -c '' /var/lib/cede/operations/$next",
            disk.address
        ))?;
        let before = self.cede("verify", 1).map(|_| ()).is_ok();
        let text = self.cede("recover", DONE)?;
        let now = self.one(DISK)?;
        let works = self.cede_json("log", "cede.log/1", DONE)?;
        let state = list_of(&works, "operations").last().map(|operation| text_of(operation, "state").to_owned()).unwrap_or_default();
        match now == disk && before && state == "rolled back" {
            true => Ok(format!("{} → {}", died.split_whitespace().collect::<Vec<_>>().join(" "), text.trim())),
            false => Err(format!("{now:?}, not {disk:?}; {state}\n{text}")),
        }
    }
}
