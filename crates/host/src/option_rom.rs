//! Reading a function's option ROM through sysfs. The kernel hands it out after a "1" was written to `rom` (drivers/pci/pci-sysfs.c
//! `pci_write_rom`); whatever is written here is taken back, also where the reading fails.

use crate::files::file_error::FileError;
use crate::files::root::Root;
use cede_model::pci::{PciAddress, PciDevice, option_rom::RomResource};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::path::Path;

/// The largest window that a ROM register can ask for (PCI Local Bus Specification 3.0, 6.2.5.2).
pub const ROM_LIMIT: usize = 16 << 20;

/// A ROM as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedRom {
    /// Its bytes, as many as the kernel hands out.
    pub bytes: Vec<u8>,
    /// True where it is the copy in memory that firmware made.
    pub is_shadow: bool,
}

/// Why a ROM could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RomError {
    /// There is no `rom` attribute: no window was given to a ROM.
    #[error("{0} has no option ROM that could be read: neither a window of its own nor a copy made by firmware")]
    None(PciAddress),
    /// A guest has it open.
    #[error("{0} is in use by a guest, which owns its registers: shut the guest down first")]
    InUse(PciAddress),
    /// It could not be woken.
    #[error("{0} is asleep ({1}) and did not wake up")]
    Asleep(PciAddress, String),
    /// The kernel found no signature in the window.
    #[error("{0} does not show its ROM ({1}): its memory access is switched off, or firmware has hidden the ROM")]
    Hidden(PciAddress, Errno),
    /// A file of sysfs could not be read or written.
    #[error("{0}: {1}")]
    File(String, Errno),
    /// A file of sysfs could not be read.
    #[error(transparent)]
    Read(#[from] FileError),
}

/// Reads the ROM of a function. It is woken before and may sleep again afterwards.
///
/// # Errors
/// See [`RomError`].
pub fn read(root: &Root, device: &PciDevice) -> Result<SavedRom, RomError> {
    let address = device.address;
    let dir = format!("/sys/bus/pci/devices/{address}");
    let rom = format!("{dir}/rom");
    if !root.metadata(&rom).is_ok_and(|found| found.kind == crate::files::file_error::FileKind::File) {
        return Err(RomError::None(address));
    }
    let enabled = attribute(root, &format!("{dir}/enable"));
    if device.is_on_vfio() && enabled.as_deref().is_some_and(|count| count != "0") {
        return Err(RomError::InUse(address));
    }
    let mut changes = Changes { root, restore: Vec::new() };
    wake(&mut changes, address, &dir)?;
    if device.driver.is_absent() && enabled.as_deref() == Some("0") {
        changes.write(&format!("{dir}/enable"), "1", "0")?;
    }
    changes.write(&rom, "1", "0")?;
    let bytes = match root.read(&rom, ROM_LIMIT) {
        Ok(bytes) => bytes,
        Err(error) => return Err(hidden(address, error)),
    };
    let resource = attribute(root, &format!("{dir}/resource")).unwrap_or_default();
    Ok(SavedRom { bytes, is_shadow: RomResource::read(&resource).is_some_and(|resource| resource.is_shadow) })
}

/// A function in a low power state answers reads with all ones. `on` keeps it awake (Documentation/power/runtime_pm.rst).
fn wake(changes: &mut Changes<'_>, address: PciAddress, dir: &str) -> Result<(), RomError> {
    let state = format!("{dir}/power_state");
    let is_awake = |state: Option<String>| state.is_none_or(|state| matches!(state.as_str(), "D0" | "unknown"));
    if is_awake(attribute(changes.root, &state)) {
        return Ok(());
    }
    let control = format!("{dir}/power/control");
    if let Some(before) = attribute(changes.root, &control).filter(|before| before != "on") {
        changes.write(&control, "on", &before)?;
    }
    let now = attribute(changes.root, &state);
    if is_awake(now.clone()) { Ok(()) } else { Err(RomError::Asleep(address, now.unwrap_or_default())) }
}

fn hidden(address: PciAddress, error: FileError) -> RomError {
    match error.io().and_then(std::io::Error::raw_os_error).map(Errno::from_raw_os_error) {
        Some(errno @ (Errno::IO | Errno::INVAL)) => RomError::Hidden(address, errno),
        _ => RomError::Read(error),
    }
}

fn attribute(root: &Root, path: &str) -> Option<String> {
    let bytes = root.read(path, crate::read_host::ATTRIBUTE_LIMIT).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// Attributes that were written, and what brings them back when this is dropped, last first.
struct Changes<'a> {
    root: &'a Root,
    restore: Vec<(String, String)>,
}

impl Changes<'_> {
    fn write(&mut self, path: &str, value: &str, restore: &str) -> Result<(), RomError> {
        write(self.root, path, value).map_err(|errno| RomError::File(path.to_owned(), errno))?;
        self.restore.push((path.to_owned(), restore.to_owned()));
        Ok(())
    }
}

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        for (path, value) in self.restore.drain(..).rev() {
            // Nobody is left to tell; the kernel refuses none of these once it took the first.
            let _ = write(self.root, &path, &value);
        }
    }
}

fn write(root: &Root, path: &str, value: &str) -> Result<(), Errno> {
    let fd = root.open_raw(Path::new(path), OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW)?;
    rustix::io::write(&fd, value.as_bytes()).map(|_| ())
}
