//! What the boot loader will read at the next start: its entries, from the generated files.

use super::other_system;
use cede_model::Host;
use cede_model::boot::{grub_cfg, loader_entry::LoaderEntry};
use std::collections::BTreeSet;

/// One entry of a boot menu that starts Linux.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootEntry {
    /// Title, or the file's name.
    pub title: String,
    /// File that holds it.
    pub path: String,
    /// Line of the kernel or its options there, from 1.
    pub line: u32,
    /// Words of the kernel command line.
    pub words: Vec<String>,
    /// Kernel and initramfs, as the loader names them.
    pub files: Vec<String>,
    /// True for rescue and fallback entries, which are left as they are on purpose.
    pub rescue: bool,
}

/// Where an EFI system partition or an extended boot loader partition is mounted (systemd: bootctl(1)).
pub(super) const PARTITIONS: [&str; 3] = ["/boot", "/efi", "/boot/efi"];

/// Where GRUB reads its menu.
pub const GRUB_CFG: &str = "/boot/grub/grub.cfg";

/// The user's own entries, which the generated menu reads (util/grub.d/41_custom.in).
pub(super) const CUSTOM_CFG: &str = "/boot/grub/custom.cfg";

/// Entries of GRUB's generated menu that start this system: those that `GRUB_CMDLINE_LINUX_DEFAULT` does not reach are left out.
pub fn grub(host: &Host) -> Vec<BootEntry> {
    let bytes = host.capture.file(GRUB_CFG).unwrap_or_default();
    let menu = grub_cfg::parse(bytes);
    let foreign = foreign_lines(bytes);
    let mut entries = Vec::new();
    for entry in &menu.entries {
        for linux in entry.linux.iter().filter(|linux| !foreign.contains(&linux.line) && !is_memory_test(&linux.kernel)) {
            let files = std::iter::once(&linux.kernel).chain(&entry.initrd);
            entries.push(BootEntry {
                title: text(&entry.name.title),
                path: GRUB_CFG.to_owned(),
                line: u32::try_from(linux.line).unwrap_or(0),
                words: linux.words.iter().map(|word| text(word)).collect(),
                files: files.map(|file| text(file)).collect(),
                rescue: entry.is_recovery(),
            });
        }
    }
    entries
}

/// Kernels that GRUB's menu starts, each once, as it names them: by their path on the file system that GRUB reads.
pub fn grub_kernels(host: &Host) -> Vec<String> {
    let entries = grub(host);
    let paths: BTreeSet<&str> = entries.iter().filter_map(|entry| entry.files.first().map(String::as_str)).collect();
    paths.into_iter().map(str::to_owned).collect()
}

/// Lines of the menu that come from other systems (`os-prober`) or from the user's own scripts, by the marks of grub-mkconfig.
fn foreign_lines(menu: &[u8]) -> BTreeSet<usize> {
    const FOREIGN: [&str; 3] = ["30_os-prober", "40_custom", "41_custom"];
    let mut lines = BTreeSet::new();
    let mut inside = false;
    for (number, line) in (1..).zip(menu.split(|byte| *byte == b'\n')) {
        let text = String::from_utf8_lossy(line);
        if let Some(script) = text.strip_prefix("### BEGIN /etc/grub.d/") {
            inside = FOREIGN.iter().any(|name| script.starts_with(name));
        } else if text.starts_with("### END /etc/grub.d/") {
            inside = false;
        }
        lines.extend(inside.then_some(number));
    }
    lines
}

/// memtest86+ is started like a kernel.
fn is_memory_test(kernel: &[u8]) -> bool {
    text(kernel).rsplit('/').next().unwrap_or_default().starts_with("memtest")
}

/// Type #1 entries of the boot loader specification below every boot partition, without those of other systems. A host that has only a fallback entry starts by it.
pub fn type1(host: &Host) -> Vec<BootEntry> {
    let own = type1_paths(host).into_iter().filter(|path| !other_system::owns(host, path));
    let mut entries: Vec<BootEntry> = own.filter_map(|path| read_type1(host, path)).collect();
    if entries.iter().all(|entry| entry.rescue) {
        entries.iter_mut().for_each(|entry| entry.rescue = false);
    }
    entries
}

/// Paths of all Type #1 entry files, each once where a partition is seen at two places.
pub fn type1_paths(host: &Host) -> Vec<String> {
    let mut partitions = PARTITIONS.map(|partition| (partition, mounted_device(host, partition)));
    partitions.sort_by_key(|(_, device)| device.is_none());
    let sees_mounts = mounted_device(host, "/").is_some();
    let mut list: Vec<(String, String, Option<String>)> = Vec::new();
    for (partition, device) in partitions {
        let dir = format!("{partition}/loader/entries");
        // An entry for a trial is ours, and no part of what the host starts by itself.
        for name in host.capture.names_in(&dir).filter(|name| is_read(name) && *name != crate::trial::ENTRY_FILE) {
            let path = format!("{dir}/{name}");
            let bytes = host.capture.file(&path);
            let is_same = |(other, other_name, other_device): &(String, String, Option<String>)| {
                let one_place = device.is_none() || other_device.is_none() || *other_device == device;
                one_place && other_name == name && bytes.is_some() && host.capture.file(other) == bytes
            };
            if !(sees_mounts && list.iter().any(is_same)) {
                list.push((path, name.to_owned(), device.clone()));
            }
        }
    }
    list.into_iter().map(|(path, ..)| path).collect()
}

/// Whether systemd-boot takes a file for an entry (systemd 250 src/boot/efi/boot.c `config_load_entries`).
fn is_read(name: &str) -> bool {
    name.ends_with(".conf") && !name.starts_with('.') && !name.to_ascii_lowercase().starts_with("auto-")
}

/// The number of the device that is mounted at a place (proc_pid_mountinfo(5), fields 3 and 5); of several the last.
fn mounted_device(host: &Host, place: &str) -> Option<String> {
    let mounts = String::from_utf8_lossy(host.capture.file("/proc/self/mountinfo")?);
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields.rfind(|words| words.get(4) == Some(&place))?.get(2).map(|number| (*number).to_owned())
}

/// The boot partition of an entry file, as it is mounted.
pub fn partition_of(path: &str) -> Option<&str> {
    path.split_once("/loader/entries/").map(|(partition, _)| partition)
}

/// Whether two paths name one file, as far as their names tell: a boot partition may be seen at several places.
pub fn is_same_file(one: &str, other: &str) -> bool {
    let inside = |path: &str| {
        let at = PARTITIONS.iter().rev().find_map(|partition| path.strip_prefix(partition).filter(|rest| rest.starts_with('/')));
        at.unwrap_or(path).to_owned()
    };
    inside(one) == inside(other)
}

fn read_type1(host: &Host, path: String) -> Option<BootEntry> {
    let entry = LoaderEntry::parse(host.capture.file(&path)?);
    let words: Vec<String> = text(&entry.options().unwrap_or_default()).split_whitespace().map(str::to_owned).collect();
    // Any EFI program may have options, a shell for one; a kernel is told where its root or its initramfs is.
    let is_kernel = words.iter().any(|word| word.starts_with("root=") || word.starts_with("initrd=")) || entry.value("initrd").is_some();
    let kernel = entry.value("linux").or_else(|| entry.value("efi").filter(|_| is_kernel)).filter(|value| !is_memory_test(value.bytes))?;
    let title = entry.value("title").map(|value| text(value.bytes)).unwrap_or_else(|| path.clone());
    let files = std::iter::once(kernel).chain(entry.values("initrd")).map(|value| text(value.bytes)).collect::<Vec<_>>();
    let line = entry.value("options").map_or(kernel.line, |value| value.line);
    let marks = [path.rsplit('/').next().unwrap_or_default().to_lowercase(), title.to_lowercase(), files.join(" ").to_lowercase()];
    let rescue = ["fallback", "rescue", "recovery"].iter().any(|mark| marks.iter().any(|text| text.contains(mark)));
    Some(BootEntry { title, path, line: u32::try_from(line).unwrap_or(0), words, files, rescue })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
