//! The boot configuration: loaders, initramfs generators, modprobe.d, and what the firmware says.

use super::Reader;
use crate::lock::STATE;
use crate::read_host::ATTRIBUTE_LIMIT;
use cede_model::Entry;
use cede_model::boot::loader_entry::LoaderEntry;
use cede_model::iommu::state::{ACPI_TABLES, IVRS};
use cede_plan::bootloader;
use cede_plan::initramfs;
use cede_plan::iommu_cause::HYPERVISOR;
use cede_plan::journal::OPERATIONS;
use cede_plan::trial::once::{ENV_BLOCK, GRUB};

/// Files that are read whole.
const TEXTS: &[&str] = &[
    "/proc/cmdline",
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/kernel/hostname",
    "/etc/hostname",
    "/etc/fstab",
    "/etc/machine-id",
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/default/grub",
    "/boot/grub/grub.cfg",
    "/boot/grub/custom.cfg",
    ENV_BLOCK,
    "/etc/kernel/cmdline",
    "/etc/kernel/install.conf",
    "/etc/mkinitcpio.conf",
    "/etc/initramfs-tools/modules",
    "/etc/initramfs-tools/initramfs.conf",
    "/usr/bin/mkinitcpio",
    "/usr/sbin/update-initramfs",
    "/usr/bin/grub-mkconfig",
    "/usr/sbin/grub-mkconfig",
    "/etc/modules",
    "/sys/kernel/security/lockdown",
    HYPERVISOR,
];

/// What is only looked for: tools. The marks of other loaders and generators come from those who judge by them.
const PROBES: &[&str] = &[
    "/usr/sbin/update-grub",
    "/usr/sbin/mkinitramfs",
    "/usr/bin/grub-script-check",
    "/usr/bin/systemctl",
    "/usr/bin/flock",
    "/usr/bin/test",
    "/etc/systemd/system/cede-confirm.service",
    "/etc/systemd/system/cede-trial-watchdog.service",
    "/etc/systemd/system/cede-trial-watchdog.timer",
    "/usr/bin/kernel-install",
    "/usr/bin/proxmox-boot-tool",
    "/usr/sbin/proxmox-boot-tool",
    "/etc/initramfs-tools",
    "/sys/firmware/efi",
];

/// Directories of which every file with the ending is read.
const TEXT_DIRS: &[(&str, &str)] = &[
    ("/etc/default/grub.d", ".cfg"),
    ("/etc/initramfs-tools/conf.d", ""),
    ("/etc/mkinitcpio.conf.d", ".conf"),
    ("/etc/mkinitcpio.d", ".preset"),
    ("/etc/modules-load.d", ".conf"),
    ("/etc/modprobe.d", ".conf"),
    ("/run/modprobe.d", ".conf"),
    ("/usr/local/lib/modprobe.d", ".conf"),
    ("/usr/lib/modprobe.d", ".conf"),
    ("/lib/modprobe.d", ".conf"),
];

/// Where an EFI system partition or an extended boot loader partition is mounted (systemd: bootctl(1)).
pub(super) const BOOT_PARTITIONS: &[&str] = &["/boot", "/efi", "/boot/efi"];

/// Vendor of the variables of the boot loader interface (systemd: Boot Loader Interface).
const LOADER_GUID: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

pub(super) fn observe(reader: &mut Reader<'_>) {
    for path in TEXTS {
        reader.text(path);
    }
    for path in PROBES.iter().copied().chain(bootloader::unsupported::marks()).chain(initramfs::unsupported::marks()) {
        reader.probe(path);
    }
    for path in initramfs::unsupported::hooks() {
        reader.link(&path);
    }
    for path in [GRUB, ENV_BLOCK] {
        reader.place(path);
    }
    for (dir, ending) in TEXT_DIRS {
        reader.texts_in(dir, ending);
    }
    let cpuinfo = reader.host.read_head("/proc/cpuinfo", ATTRIBUTE_LIMIT);
    reader.capture.insert("/proc/cpuinfo", cpuinfo);
    if reader.host.probe(IVRS) != Entry::Absent {
        reader.text(IVRS);
    }
    reader.names(ACPI_TABLES);
    reader.names("/boot");
    for partition in BOOT_PARTITIONS {
        loader(reader, partition);
    }
    for variable in ["LoaderInfo", "StubInfo", "LoaderEntrySelected", "LoaderEntryDefault", "LoaderEntryOneShot"] {
        reader.text(&format!("/sys/firmware/efi/efivars/{variable}-{LOADER_GUID}"));
    }
    explicit_configs(reader);
    reader.names("/etc/initramfs-tools/hooks");
    for stage in reader.list("/etc/initramfs-tools/scripts") {
        reader.names(&format!("/etc/initramfs-tools/scripts/{stage}"));
    }
    journal(reader);
    for shell in ["/bin/sh", "/usr/bin/sh"] {
        let link = reader.host.read_link(shell);
        reader.capture.insert(shell, link);
    }
}

/// Our own journal, and the boot in which it is read. A name in it that leads nowhere is not passed over: it stood for an operation. Nor is
/// a directory that somebody moved away: what it leads to may only be not mounted.
pub(super) fn journal(reader: &mut Reader<'_>) {
    for name in reader.list(OPERATIONS).iter().filter(|name| name.ends_with(".jsonl")) {
        let path = format!("{OPERATIONS}/{name}");
        reader.text(&path);
        if reader.capture.get(&path) == Some(&Entry::Absent) {
            reader.capture.insert(path, Entry::Unreadable("a link that leads nowhere".to_owned()));
        }
    }
    if reader.capture.get(OPERATIONS) == Some(&Entry::Absent) {
        let is_link = |path: &&str| matches!(reader.host.read_link(path), Entry::Link(_));
        if let Some(link) = [STATE, OPERATIONS].into_iter().find(is_link) {
            reader.capture.insert(OPERATIONS, Entry::Unreadable(format!("{link} is a link, and what it leads to has no journal")));
        }
    }
    reader.text("/proc/sys/kernel/random/boot_id");
}

/// A systemd-boot partition: its settings, Type #1 entries, and unified kernel images by name.
fn loader(reader: &mut Reader<'_>, partition: &str) {
    reader.text(&format!("{partition}/loader/loader.conf"));
    reader.texts_in(&format!("{partition}/loader/entries"), ".conf");
    for path in started(reader, partition) {
        reader.probe(&path);
    }
    reader.names(&format!("{partition}/EFI/Linux"));
}

/// The files that the entries of a partition name.
fn started(reader: &Reader<'_>, partition: &str) -> Vec<String> {
    let dir = format!("{partition}/loader/entries");
    let mut paths = Vec::new();
    for name in reader.capture.names_in(&dir) {
        let entry = LoaderEntry::parse(reader.capture.file(&format!("{dir}/{name}")).unwrap_or_default());
        for value in ["linux", "initrd"].iter().flat_map(|key| entry.values(key)) {
            paths.push(format!("{partition}/{}", String::from_utf8_lossy(value.bytes).trim_start_matches('/')));
        }
    }
    paths
}

/// Presets may name other mkinitcpio configurations, which are read too.
fn explicit_configs(reader: &mut Reader<'_>) {
    let presets: Vec<String> = reader.capture.names_in("/etc/mkinitcpio.d").map(|name| format!("/etc/mkinitcpio.d/{name}")).collect();
    let texts = presets.iter().filter_map(|preset| reader.capture.file(preset));
    let paths: Vec<String> = texts.flat_map(initramfs::mkinitcpio::named_configs).collect();
    for path in paths {
        if path.starts_with('/') && reader.capture.get(&path).is_none() {
            reader.text(&path);
        }
    }
}
