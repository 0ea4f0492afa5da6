//! The least that has to be opened and read to know what a verb shows, and nothing done with it.
//!
//! Where the kernel's `uevent` tells vendor, device, class, subsystem and driver, that is one read.

use super::Result;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Whose facts are read.
const USAGE: &str = "floor groups|groups-json|devices|devices-json ROOT";

/// Runs it. Hidden: only the benchmark calls it.
pub(super) fn run(arguments: &[String]) -> Result<()> {
    let [verb, root] = arguments else { return Err(USAGE.into()) };
    let mut floor = Floor { root: PathBuf::from(root), places: verb == "groups", buffer: vec![0; 8192], bytes: 0 };
    let attributes: &[&str] = if verb == "devices-json" { &["revision", "numa_node", "reset_method"] } else { &[] };
    floor.functions(attributes, verb == "groups-json")?;
    if verb.starts_with("groups") {
        floor.groups()?;
    }
    if verb != "groups-json" {
        floor.whole("usr/share/misc/pci.ids")?;
    }
    if verb == "devices-json" {
        floor.modules()?;
    }
    // So that nothing can be left out as unused.
    println!("{}", floor.bytes);
    Ok(())
}

struct Floor {
    root: PathBuf,
    /// Whether it is told where functions are wired.
    places: bool,
    buffer: Vec<u8>,
    bytes: usize,
}

impl Floor {
    /// Opens, reads once, closes. False where it is not there.
    fn attribute(&mut self, path: &Path) -> bool {
        let count = File::open(path).and_then(|mut file| file.read(&mut self.buffer));
        self.bytes += count.as_ref().copied().unwrap_or_default();
        count.is_ok()
    }

    fn link(&mut self, path: &Path) {
        self.bytes += fs::read_link(path).map_or(0, |target| target.as_os_str().len());
    }

    fn functions(&mut self, attributes: &[&str], only_groups: bool) -> Result<()> {
        for entry in fs::read_dir(self.root.join("sys/bus/pci/devices"))? {
            let dir = entry?.path();
            if only_groups {
                self.link(&dir.join("iommu_group"));
                continue;
            }
            let vga = if self.attribute(&dir.join("uevent")) {
                self.buffer.windows(15).take(64).any(|text| text == b"PCI_CLASS=30000")
            } else {
                self.without_uevent(&dir, !attributes.is_empty())
            };
            for name in attributes {
                self.attribute(&dir.join(name));
            }
            if vga && !attributes.is_empty() {
                self.attribute(&dir.join("boot_vga"));
            }
            self.link(&dir.join("iommu_group"));
            if self.places {
                self.link(&dir);
            }
        }
        Ok(())
    }

    fn without_uevent(&mut self, dir: &Path, subsystem: bool) -> bool {
        for name in ["vendor", "device"] {
            self.attribute(&dir.join(name));
        }
        for name in ["subsystem_vendor", "subsystem_device"].iter().filter(|_| subsystem) {
            self.attribute(&dir.join(name));
        }
        self.link(&dir.join("driver"));
        self.attribute(&dir.join("class")) && self.buffer.starts_with(b"0x030000")
    }

    fn groups(&mut self) -> Result<()> {
        for entry in fs::read_dir(self.root.join("sys/kernel/iommu_groups"))? {
            self.attribute(&entry?.path().join("type"));
        }
        Ok(())
    }

    fn modules(&mut self) -> Result<()> {
        let release = fs::read_to_string(self.root.join("proc/sys/kernel/osrelease"))?;
        for table in ["modules.alias", "modules.builtin.modinfo"] {
            self.whole(&format!("lib/modules/{}/{table}", release.trim()))?;
        }
        Ok(())
    }

    fn whole(&mut self, path: &str) -> Result<()> {
        self.bytes += fs::read(self.root.join(path))?.len();
        Ok(())
    }
}
