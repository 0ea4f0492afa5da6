//! A laptop whose disks are stacked fact by fact.

use super::machine::{Loader, Machine};
use super::pci::Function;
use super::{assert_tells_what_to_do, at, plan_on, refused};
use cede_model::Host;
use cede_plan::guard::losses;
use cede_plan::intent::{BindMethod, Identity};
use cede_plan::plan::Refusal;

pub const NVME: &str = "02:00.0";
pub const NVME_PATH: &str = "pci0000:00/0000:00:1d.0/0000:02:00.0/nvme/nvme0/nvme0n1";
/// A SATA controller of the chipset, which is not ceded.
pub const SATA_PATH: &str = "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda";
pub const USB_PATH: &str = "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block/sdu";

/// The laptop with an NVMe disk of three partitions and a SATA disk of two.
pub struct Stack(pub Machine, pub &'static str);

impl Stack {
    pub fn new() -> Self {
        let sata = Function::new("0000:00:17.0", "pci0000:00", (0x8086, 0xa353), 0x01_0601).express(None).driver("ahci");
        let mut stack = Self(Machine::arch(Loader::Grub).functions(&[sata]).directory("/sys/class/block"), NVME);
        stack = stack.disk("nvme0n1", "259:0", NVME_PATH).disk("sda", "8:0", SATA_PATH);
        for (disk, path, parts) in [("nvme0n1p", NVME_PATH, 3), ("sda", SATA_PATH, 2)] {
            for part in 1..=parts {
                let number = if disk == "sda" { format!("8:{part}") } else { format!("259:{part}") };
                stack = stack.disk(&format!("{disk}{part}"), &number, &format!("{path}/{disk}{part}"));
            }
        }
        stack.text("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n")
    }

    pub fn disk(self, name: &str, number: &str, path: &str) -> Self {
        let machine = self.0.link(&format!("/sys/class/block/{name}"), &format!("../../devices/{path}"));
        Self(machine.text(&format!("/sys/class/block/{name}/dev"), &format!("{number}\n")), self.1)
    }

    /// A virtual device above others.
    pub fn above(self, name: &str, number: &str, slaves: &[&str]) -> Self {
        let mut stack = self.disk(name, number, &format!("virtual/block/{name}"));
        for slave in slaves {
            stack.0 = stack.0.directory(&format!("/sys/class/block/{name}/slaves/{slave}"));
        }
        stack
    }

    pub fn dm(self, (name, number): (&str, &str), slaves: &[&str], label: &str, uuid: &str) -> Self {
        let stack = self.above(name, number, slaves);
        let stack = stack.text(&format!("/sys/class/block/{name}/dm/name"), &format!("{label}\n"));
        stack.text(&format!("/sys/class/block/{name}/dm/uuid"), &format!("{uuid}\n"))
    }

    /// An MD array whose members are all in sync.
    pub fn md(self, name: &str, number: &str, level: &str, members: &[&str]) -> Self {
        let mut stack = self.above(name, number, members).text(&format!("/sys/class/block/{name}/md/level"), &format!("{level}\n"));
        stack = stack.text(&format!("/sys/class/block/{name}/md/raid_disks"), &format!("{}\n", members.len()));
        for member in members {
            stack = stack.text(&format!("/sys/class/block/{name}/md/dev-{member}/state"), "in_sync\n");
        }
        stack
    }

    pub fn text(self, path: &str, text: &str) -> Self {
        Self(self.0.text(path, text), self.1)
    }

    pub fn mounted(self, lines: &[&str]) -> Self {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.text("/proc/self/mountinfo", &text)
    }

    pub fn udev(self, number: &str, properties: &str) -> Self {
        self.text(&format!("/run/udev/data/b{number}"), properties)
    }

    /// Another function is ceded, and not the NVMe disk.
    pub fn at(self, address: &'static str) -> Self {
        Self(self.0, address)
    }

    /// What ceding it loses: name and message.
    pub fn lost(&self) -> Vec<(&'static str, String)> {
        let host = Host::from_capture(self.0.capture.clone());
        let identity = Identity::of(host.device(at(self.1)).unwrap()).unwrap();
        losses(&host, &[identity]).into_iter().map(|lost| (lost.loss.id(), Refusal::from(lost).message)).collect()
    }

    #[track_caller]
    pub fn loses(&self, id: &str, chain: &str) {
        let lost = self.lost();
        assert!(lost.iter().any(|(found, message)| *found == id && message.contains(chain)), "{id} by {chain} is not in {lost:#?}");
        let plan = plan_on(&self.0.capture, &[self.1], BindMethod::Cmdline);
        assert!(refused(&plan).contains(&id) && plan.steps.is_empty());
        assert_tells_what_to_do(&plan);
    }

    #[track_caller]
    pub fn loses_nothing(&self) {
        assert_eq!(self.lost(), []);
    }
}

pub const ROOT_ON_SATA: &str = "28 1 8:1 / / rw - ext4 /dev/sda1 rw";
