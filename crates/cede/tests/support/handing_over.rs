//! Hosts whose functions are handed over, and the tools that read the text.

use super::{Dir, flat};
use cede_model::{Capture, Entry, capture_text};
use std::fs;
use std::process::{Command, Output};

/// A capture of a host with some functions of group 7 and some of group 8.
pub(crate) struct Host(pub(crate) Capture);

impl Host {
    pub(crate) fn new() -> Self {
        let mut capture = Capture::new();
        for dir in ["/sys/bus/pci/devices", "/sys/class/vfio-dev", "/sys/devices/system/node"] {
            capture.insert(dir, Entry::Dir);
        }
        capture.insert("/proc/sys/kernel/hostname", Entry::File(b"pve1\n".to_vec()));
        Self(capture)
    }

    pub(crate) fn function(mut self, address: &str, [ids, class]: [&str; 2], group: u32, driver: Option<&str>) -> Self {
        let dir = format!("/sys/bus/pci/devices/{address}");
        let uevent = format!("PCI_CLASS={class}\nPCI_ID={ids}\nPCI_SUBSYS_ID=1043:109F\n");
        self.0.insert(format!("{dir}/uevent"), Entry::File(uevent.into_bytes()));
        self.0.insert(format!("{dir}/iommu_group"), Entry::Link(format!("../../../../kernel/iommu_groups/{group}")));
        if let Some(driver) = driver {
            self.0.insert(format!("{dir}/driver"), Entry::Link(format!("../../../../bus/pci/drivers/{driver}")));
        }
        self
    }

    pub(crate) fn text(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path, Entry::File(text.as_bytes().to_vec()));
        self
    }

    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        self.0.insert(path, Entry::Link(target.to_owned()));
        self
    }

    /// Graphics card with sound, both on these drivers, behind a bridge of the same group; and the display that stays.
    pub(crate) fn card(graphics: &str, sound: &str) -> Self {
        Self::new()
            .function("0000:00:01.0", ["8086:1901", "60400"], 7, Some("pcieport"))
            .function("0000:00:02.0", ["8086:3E9B", "30000"], 2, Some("i915"))
            .function("0000:01:00.0", ["10DE:1F91", "30000"], 7, Some(graphics))
            .function("0000:01:00.1", ["10DE:10FA", "40300"], 7, Some(sound))
            .text("/sys/bus/pci/devices/0000:00:02.0/boot_vga", "1\n")
    }

    /// The kernel has iommufd.
    pub(crate) fn with_iommufd(mut self) -> Self {
        self.0.insert("/dev/iommu", Entry::Present(0));
        self
    }

    fn save(&self, dir: &Dir) -> String {
        fs::write(dir.0.join("capture"), capture_text::render(&self.0)).unwrap();
        dir.path("capture")
    }

    pub(crate) fn handoff(&self, arguments: &[&str]) -> Output {
        let name: String = arguments.concat().replace(['/', ':'], "").chars().take(100).collect();
        let dir = Dir::new(&name);
        let capture = self.save(&dir);
        let output = Command::new(env!("CARGO_BIN_EXE_cede")).args(["--host", &capture, "handoff"]).args(arguments).env_clear().output();
        output.unwrap()
    }
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    flat(std::str::from_utf8(&output.stderr).unwrap())
}

/// Runs a tool that must be there.
pub(crate) fn tool(program: &str, arguments: &[&str]) -> Output {
    let missing = "apt-get install libvirt-clients libxml2-utils nix-bin patch perl-base qemu-system-x86";
    Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}: {missing}")).unwrap()
}
