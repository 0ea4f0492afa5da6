//! The only program of a machine: reads it as `cede` reads a host, and says what it saw.

use super::Outcome;
use super::boot::END;
use cede_host::{Root, Scope, observe};
use cede_model::capture_text;
use flate2::{Compression, write::ZlibEncoder};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The port of QEMU's debug console.
const PORT: u64 = 0xe9;

/// Where the archive has modules, one below the other.
pub(super) const MODULES: &str = "/modules";

const DEVICES: &str = "/sys/bus/pci/devices";

/// A driver that takes what it is given and leaves it alone.
const STUB: &str = "pci-pf-stub";

/// Runs as the first process; the modules to load are the arguments. Never returns where the machine can be restarted.
pub(super) fn main(modules: impl Iterator<Item = String>) {
    if let Err(error) = run(modules) {
        println!("oracle: {error}");
    }
    let _ = reboot(RebootMode::RB_AUTOBOOT);
}

fn run(modules: impl Iterator<Item = String>) -> Outcome<()> {
    for (kind, at) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>).map_err(|error| format!("{at}: {error}"))?;
    }
    let modules: Vec<String> = modules.collect();
    if modules.iter().any(|module| module == "virtio-iommu") {
        give_all_to_stub()?;
    }
    for module in &modules {
        load(module)?;
    }
    switch_on_virtual_functions()?;
    let root = Root::open("/").map_err(|error| error.to_string())?;
    let text = capture_text::render(&observe(&root, Scope::Wiring));
    send(text.as_bytes()).map_err(|error| format!("debug console: {error}"))
}

fn load(name: &str) -> Outcome<()> {
    let file = File::open(format!("{MODULES}/{name}.ko")).map_err(|error| format!("{name}: {error}"))?;
    finit_module(&file, c"", ModuleInitFlags::empty()).map_err(|error| format!("{name}: {error}"))
}

/// Until Linux 6.15, virtio's unit learns of a function when a driver takes it (drivers/acpi/viot.c, `viot_iommu_configure`), and groups come
/// in that order. A driver that takes all of them when it is loaded does so in the order in which they were found.
fn give_all_to_stub() -> Outcome<()> {
    for directory in functions()? {
        let is_unit = fs::read_to_string(directory.join("device")).is_ok_and(|id| id.trim() == "0x1057");
        if !is_unit {
            write(&directory.join("driver_override"), STUB)?;
        }
    }
    Ok(())
}

/// All that each function offers.
fn switch_on_virtual_functions() -> Outcome<()> {
    for directory in functions()? {
        let Ok(count) = fs::read_to_string(directory.join("sriov_totalvfs")) else { continue };
        if !directory.join("driver").exists() {
            let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
            write(&directory.join("driver_override"), STUB)?;
            write(Path::new("/sys/bus/pci/drivers/pci-pf-stub/bind"), &name)?;
        }
        write(&directory.join("sriov_numvfs"), count.trim())?;
    }
    Ok(())
}

fn functions() -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(DEVICES).map_err(|error| format!("{DEVICES}: {error}"))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn write(path: &Path, text: &str) -> Outcome<()> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Each byte costs the emulator an exit, so it is packed.
fn send(bytes: &[u8]) -> std::io::Result<()> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes)?;
    let mut packed = packer.finish()?;
    packed.extend_from_slice(END);
    let mut port = OpenOptions::new().write(true).open("/dev/port")?;
    for byte in packed {
        // The file's position is the number of the port.
        port.seek(SeekFrom::Start(PORT))?;
        port.write_all(&[byte])?;
    }
    Ok(())
}
