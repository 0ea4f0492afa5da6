//! A directory that looks like `/` of a host: sysfs as Linux 6.12 shows it, the tables of one kernel, pci.ids.

use super::Result;
use super::functions::{Function, functions};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Release of the invented kernel.
const RELEASE: &str = "6.12.0-bench";

/// Lines of the invented `modules.alias`, and how many modules they name: as many as a distribution's kernel has.
const ALIASES: u32 = 20_000;
const MODULES: u32 = 4_000;

/// Attributes that every function has and that nobody here asks for, so that directories are as large as real ones.
const OTHERS: [(&str, &str); 10] = [
    ("irq", "16\n"),
    ("enable", "1\n"),
    ("local_cpulist", "0-7\n"),
    ("local_cpus", "ff\n"),
    ("power_state", "D0\n"),
    ("msi_bus", "1\n"),
    ("broken_parity_status", "0\n"),
    ("dma_mask_bits", "64\n"),
    ("d3cold_allowed", "1\n"),
    ("driver_override", "(null)\n"),
];

/// Whether the tree has `uevent`, which tells six attributes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    /// As Linux shows it.
    Kernel,
    /// Without `uevent` and `modalias`, as trees are that tools made by copying single attributes.
    AttributeOnly,
}

/// An invented host on disk, removed when dropped.
pub(super) struct Tree {
    path: PathBuf,
}

impl Tree {
    /// Writes a host with `count` functions below `parent`.
    pub(super) fn make(parent: &Path, count: usize, flavour: Flavour) -> Result<Self> {
        let path = parent.join(format!("cede-bench-{}-{count}-{flavour:?}", std::process::id()));
        let tree = Self { path };
        let sys = tree.path.join("sys");
        for dir in ["bus/pci/devices", "bus/pci/drivers", "kernel/iommu_groups", "class/iommu", "devices/virtual/iommu/dmar0", "module"] {
            fs::create_dir_all(sys.join(dir))?;
        }
        symlink("../../devices/virtual/iommu/dmar0", sys.join("class/iommu/dmar0"))?;
        let functions = functions(count);
        for name in functions.iter().filter_map(|f| f.kind.driver).collect::<BTreeSet<_>>() {
            fs::create_dir(sys.join("bus/pci/drivers").join(name))?;
            fs::create_dir(sys.join("module").join(name.replace('-', "_")))?;
        }
        for function in &functions {
            write_function(&sys, function, flavour)?;
        }
        for number in functions.iter().map(|f| f.group).collect::<BTreeSet<_>>() {
            let dir = sys.join(format!("kernel/iommu_groups/{number}"));
            fs::write(dir.join("type"), "DMA-FQ\n")?;
            fs::write(dir.join("reserved_regions"), "0x00000000fee00000 0x00000000feefffff msi\n")?;
        }
        tree.write_tables()?;
        Ok(tree)
    }

    /// The root of the host.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it on disk.
    pub(super) fn keep(self) -> PathBuf {
        let path = self.path.clone();
        std::mem::forget(self);
        path
    }

    /// Where pci.ids stands.
    pub(super) fn pci_ids(&self) -> PathBuf {
        self.path.join("usr/share/misc/pci.ids")
    }

    fn write_tables(&self) -> Result<()> {
        for dir in ["usr/share/misc", "proc/sys/kernel"] {
            fs::create_dir_all(self.path.join(dir))?;
        }
        let names = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/model/data/pci.ids");
        fs::copy(names, self.pci_ids())?;
        fs::write(self.path.join("proc/sys/kernel/osrelease"), format!("{RELEASE}\n"))?;
        let modules = self.path.join("lib/modules").join(RELEASE);
        fs::create_dir_all(&modules)?;
        fs::write(modules.join("modules.alias"), aliases())?;
        let mut dep = String::new();
        for module in 0..MODULES {
            writeln!(dep, "kernel/drivers/net/vendor{}/module_{module}.ko.xz: kernel/lib/library_{}.ko.xz", module % 50, module % 90)?;
        }
        for driver in ["gpu/nouveau", "sound/snd-hda-intel", "net/i40e", "net/iavf", "net/mlx5_core", "scsi/megaraid_sas", "vfio/vfio-pci"]
        {
            writeln!(dep, "kernel/drivers/{driver}.ko.xz:")?;
        }
        fs::write(modules.join("modules.dep"), dep)?;
        fs::write(modules.join("modules.builtin"), "kernel/drivers/usb/host/xhci-pci.ko\nkernel/drivers/nvme/host/nvme.ko\n")?;
        let builtin = "xhci_pci.license=GPL\0xhci_pci.alias=pci:v*d*sv*sd*bc0Csc03i30*\0nvme.alias=pci:v*d*sv*sd*bc01sc08i02*\0";
        fs::write(modules.join("modules.builtin.modinfo"), builtin)?;
        Ok(())
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // What cannot be removed stays in a directory for temporary files.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn aliases() -> String {
    let mut text = String::from("# Aliases extracted from modules themselves.\nalias pci:v000010DEd*sv*sd*bc03sc*i* nouveau\n");
    text.push_str("alias pci:v*d*sv*sd*bc04sc03i00* snd_hda_intel\nalias pci:v00008086d00001572sv*sd*bc*sc*i* i40e\n");
    text.push_str("alias pci:v00008086d0000154Csv*sd*bc*sc*i* iavf\nalias pci:v000015B3d00001017sv*sd*bc*sc*i* mlx5_core\n");
    text.push_str("alias pci:v00001000d0000005Dsv*sd*bc*sc*i* megaraid_sas\n");
    for line in 0..ALIASES {
        let module = line % MODULES;
        // Writing to a string cannot fail. More than half of a real file is about PCI.
        let _ = match line % 5 {
            0 => writeln!(text, "alias usb:v{:04X}p{line:04X}d*dc*dsc*dp*ic*isc*ip*in* module_{module}", line % 997),
            1 => writeln!(text, "alias acpi*:DEV{line:04X}:* module_{module}"),
            _ => writeln!(text, "alias pci:v{:08X}d{line:08X}sv*sd*bc*sc*i* module_{module}", 0x8000 + line % 211),
        };
    }
    text
}

fn write_function(sys: &Path, function: &Function, flavour: Flavour) -> Result<()> {
    let kind = function.kind;
    let dir = sys.join(&function.dir);
    fs::create_dir_all(&dir)?;
    let write = |name: &str, text: &str| fs::write(dir.join(name), text);
    let (sv, sd) = kind.subsystem;
    if flavour == Flavour::Kernel {
        let driver = kind.driver.map(|name| format!("DRIVER={name}\n")).unwrap_or_default();
        let ids = format!("PCI_CLASS={:X}\nPCI_ID={:04X}:{:04X}\nPCI_SUBSYS_ID={sv:04X}:{sd:04X}\n", kind.class, kind.vendor, kind.device);
        write("uevent", &format!("{driver}{ids}PCI_SLOT_NAME={}\nMODALIAS={}\n", function.address, kind.modalias()))?;
        write("modalias", &format!("{}\n", kind.modalias()))?;
    }
    for (name, value) in [("vendor", kind.vendor), ("device", kind.device), ("subsystem_vendor", sv), ("subsystem_device", sd)] {
        write(name, &format!("{value:#06x}\n"))?;
    }
    write("class", &format!("{:#08x}\n", kind.class))?;
    write("revision", "0xa1\n")?;
    write("numa_node", function.numa_node)?;
    write("reset_method", if kind.is_bridge() { "pm\n" } else { "flr bus\n" })?;
    write("resource", &"0x0000000000000000 0x0000000000000000 0x0000000000000000\n".repeat(13))?;
    if kind.class == 0x03_0000 {
        write("boot_vga", if function.group < 8 { "1\n" } else { "0\n" })?;
    }
    for (name, text) in OTHERS {
        write(name, text)?;
    }
    fs::write(dir.join("config"), config(function))?;
    let up = "../".repeat(function.dir.split('/').count());
    symlink(format!("{up}bus/pci"), dir.join("subsystem"))?;
    symlink(format!("{up}kernel/iommu_groups/{}", function.group), dir.join("iommu_group"))?;
    if let Some(driver) = kind.driver {
        symlink(format!("{up}bus/pci/drivers/{driver}"), dir.join("driver"))?;
    }
    symlink(format!("../../../{}", function.dir), sys.join("bus/pci/devices").join(&function.address))?;
    let members = sys.join(format!("kernel/iommu_groups/{}/devices", function.group));
    fs::create_dir_all(&members)?;
    symlink(format!("../../../../{}", function.dir), members.join(&function.address))?;
    Ok(())
}

/// A configuration header without capabilities (PCI Local Bus Specification 3.0, 6.1).
fn config(function: &Function) -> Vec<u8> {
    let kind = function.kind;
    let mut bytes = Vec::with_capacity(kind.config);
    bytes.extend(kind.vendor.to_le_bytes());
    bytes.extend(kind.device.to_le_bytes());
    bytes.extend([0x06, 0x04, 0x10, 0x00, 0xa1]);
    bytes.extend(kind.class.to_le_bytes().iter().take(3));
    bytes.extend([0, 0, u8::from(kind.is_bridge())]);
    bytes.resize(0x2c, 0);
    if !kind.is_bridge() {
        bytes.extend(kind.subsystem.0.to_le_bytes());
        bytes.extend(kind.subsystem.1.to_le_bytes());
    }
    bytes.resize(kind.config, 0);
    bytes
}
