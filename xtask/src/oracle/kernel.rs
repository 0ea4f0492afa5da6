//! Kernels to start, and the modules that the machines need, out of the disks of the virtual machines.

use super::Outcome;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the only partition of these disks begins.
const PARTITION: u64 = 2048 * 512;

/// Modules with their directories below `kernel/`.
const MODULES: [(&str, &str); 2] = [("pci-pf-stub", "drivers/pci"), ("virtio-iommu", "drivers/iommu")];

/// A kernel as QEMU starts it without its own unpacking, which takes longest in emulation (PVH: Linux Documentation/arch/x86/boot.rst,
/// Xen docs/misc/pvh.pandoc).
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    /// `vmlinux`, an ELF file.
    pub(super) image: PathBuf,
    /// What `uname -r` says.
    pub(super) release: String,
    /// Modules by their names, unpacked.
    pub(super) modules: Vec<(String, Vec<u8>)>,
}

/// The kernel of a disk, kept in `cache`.
pub(super) fn of_disk(disk: &Path, cache: &Path) -> Outcome<Kernel> {
    let release = release(disk)?;
    let directory = cache.join(&release);
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let image = directory.join("vmlinux");
    if !image.exists() {
        let packed = directory.join("vmlinuz");
        copy(disk, &format!("/boot/vmlinuz-{release}"), &packed)?;
        let bytes = fs::read(&packed).map_err(|error| format!("{}: {error}", packed.display()))?;
        let payload = payload(&bytes).ok_or_else(|| format!("{}: no kernel with a boot header of version 2.08", packed.display()))?;
        let unfinished = directory.join("vmlinux.part");
        unpack(payload, &unfinished)?;
        fs::rename(&unfinished, &image).map_err(|error| format!("{}: {error}", image.display()))?;
    }
    let mut modules = Vec::new();
    for (name, place) in MODULES {
        if let Some(module) = module(disk, &format!("/usr/lib/modules/{release}/kernel/{place}/{name}.ko"), &directory.join(name))? {
            modules.push((name.to_owned(), module));
        }
    }
    Ok(Kernel { image, release, modules })
}

fn release(disk: &Path) -> Outcome<String> {
    let listing = debugfs(disk, "ls -p /boot")?;
    let name = listing.split('/').find_map(|word| word.strip_prefix("vmlinuz-"));
    name.map(str::to_owned).ok_or_else(|| format!("{}: no kernel in /boot", disk.display()))
}

/// Plain or packed by xz, as the package has it; `None` where this kernel has no such module.
fn module(disk: &Path, path: &str, to: &Path) -> Outcome<Option<Vec<u8>>> {
    for (ending, is_packed) in [("", false), (".xz", true)] {
        if copy(disk, &format!("{path}{ending}"), to).is_err() {
            continue;
        }
        let bytes = fs::read(to).map_err(|error| format!("{}: {error}", to.display()))?;
        if is_packed {
            unpack(&bytes, to)?;
        }
        return fs::read(to).map(Some).map_err(|error| format!("{}: {error}", to.display()));
    }
    Ok(None)
}

/// debugfs ends well whatever happened, so the file tells.
fn copy(disk: &Path, path: &str, to: &Path) -> Outcome<()> {
    let _ = fs::remove_file(to);
    let said = debugfs(disk, &format!("dump {path} {}", to.display()))?;
    if fs::metadata(to).is_ok_and(|file| file.len() > 0) { Ok(()) } else { Err(format!("{path}: {said}")) }
}

fn debugfs(disk: &Path, request: &str) -> Outcome<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("debugfs")
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .args(["-R", request, &format!("{}?offset={PARTITION}", disk.display())])
        .output()
        .map_err(|error| format!("debugfs: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What is packed in a bzImage (Linux Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length).
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| image.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes).and_then(|word| usize::try_from(word).ok());
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let start = (usize::from(*image.get(0x1f1)?) + 1) * 512 + word(0x248)?;
    image.get(start..start.checked_add(word(0x24c)?)?)
}

/// By the tool whose stream it is. What follows the stream (its length) is no error.
fn unpack(bytes: &[u8], to: &Path) -> Outcome<()> {
    let (tool, options): (_, &[&str]) = match bytes {
        [0xfd, b'7', ..] => ("xz", &["-dc", "--single-stream"]),
        [0x28, 0xb5, ..] => ("zstd", &["-dcq"]),
        _ => return Err(format!("{}: packed in a way that is not known here", to.display())),
    };
    let packed = to.with_extension("packed");
    let file = |path: &Path| fs::File::create(path).map_err(|error| format!("{}: {error}", path.display()));
    fs::write(&packed, bytes).map_err(|error| format!("{}: {error}", packed.display()))?;
    let input = fs::File::open(&packed).map_err(|error| format!("{}: {error}", packed.display()))?;
    let status = Command::new(tool).args(options).stdin(input).stdout(file(to)?).stderr(Stdio::null()).status();
    status.map_err(|error| format!("{tool}: {error}"))?;
    let _ = fs::remove_file(packed);
    let start = fs::read(to).unwrap_or_default();
    if start.starts_with(b"\x7fELF") { Ok(()) } else { Err(format!("{}: {tool} made no ELF file of it", to.display())) }
}
