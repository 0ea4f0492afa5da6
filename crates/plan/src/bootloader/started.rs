//! Which boot loader was at work in this start, by what the start itself left behind.

use super::systemd_boot::{LOADER_INFO, STUB_INFO, utf16};
use super::{entries, grub, systemd_boot, unsupported};
use crate::iommu_cause::running_words;
use cede_model::boot::grub_cfg;
use cede_model::uses::firmware_boot;
use cede_model::{Evidence, Host};

/// A loader by its name, and what it left.
pub(super) struct Trace {
    pub(super) name: &'static str,
    pub(super) evidence: Evidence,
}

/// How the variable `LoaderInfo` begins (systemd: Boot Loader Interface; GRUB 2.12 `bli`; Limine 9.2; systemd `stub.c`).
const BY_INFO: [(&str, &str); 4] =
    [("systemd-boot", systemd_boot::NAME), ("GRUB", grub::NAME), ("Limine", unsupported::LIMINE), ("systemd-stub", unsupported::UNIFIED)];

/// The strongest trace: the loader that wrote the command line comes last, so what that shows beats what the firmware started.
pub(super) fn by(host: &Host) -> Option<Trace> {
    let words = running_words(host);
    match by_program(host) {
        // Its image has systemd's stub too, and starts the kernel by kexec.
        Some(trace) if trace.name == unsupported::ZFS => Some(trace),
        program => by_stub(host).or_else(|| by_menu(host, &words)).or_else(|| by_info(host)).or(program).or_else(|| by_boot_image(&words)),
    }
}

/// A unified image has its command line inside, whoever started it, and that may be a copy of one by GRUB.
fn by_stub(host: &Host) -> Option<Trace> {
    host.capture.is_there(STUB_INFO).then(|| Trace { name: unsupported::UNIFIED, evidence: Evidence::new(STUB_INFO, "is there") })
}

/// GRUB begins a command line with the kernel as its menu names it, and loads the initramfs by a command (grub-core/lib/cmdline.c and
/// loader/i386/linux.c, 2.06). The first alone is no proof: syslinux does the same (com32/elflink/ldlinux/kernel.c, 6.04), LILO with a label.
fn by_menu(host: &Host, words: &[String]) -> Option<Trace> {
    let (word, kernel) = boot_image(words)?;
    let names_initrd = has_initrd(words);
    let is_it = |linux: &grub_cfg::LinuxCommand| {
        let own_initrd = linux.words.iter().any(|word| word.starts_with(b"initrd="));
        on_device(&String::from_utf8_lossy(&linux.kernel)) == on_device(kernel) && (!names_initrd || own_initrd)
    };
    let names_it = |menu: &[u8]| grub_cfg::parse(menu).entries.iter().flat_map(|entry| &entry.linux).any(is_it);
    let agrees = [entries::GRUB_CFG, entries::CUSTOM_CFG].iter().filter_map(|path| host.capture.file(path)).any(names_it);
    // A menu that only root may read does not speak against it.
    let closed = host.capture.unreadable(entries::GRUB_CFG).is_some() && !names_initrd;
    (agrees || closed).then(|| Trace { name: grub::NAME, evidence: Evidence::new("/proc/cmdline", word) })
}

fn by_info(host: &Host) -> Option<Trace> {
    let info = utf16(host.capture.file(LOADER_INFO)?);
    let (_, name) = BY_INFO.iter().find(|(start, _)| info.starts_with(start))?;
    Some(Trace { name, evidence: Evidence::new(LOADER_INFO, info) })
}

fn by_program(host: &Host) -> Option<Trace> {
    let program = firmware_boot::program(&host.capture)?;
    let (_, name) = firmware_boot::loader(&program)?;
    Some(Trace { name, evidence: Evidence::new(firmware_boot::option(&host.capture)?, program) })
}

/// Where no menu names that kernel: syslinux has both words; a path alone is GRUB's, of an entry that is gone or stands elsewhere.
fn by_boot_image(words: &[String]) -> Option<Trace> {
    let (word, kernel) = boot_image(words)?;
    let name = match has_initrd(words) {
        true => unsupported::SYSLINUX,
        false if kernel.starts_with(['/', '(']) => grub::NAME,
        false => return None,
    };
    Some(Trace { name, evidence: Evidence::new("/proc/cmdline", word) })
}

fn boot_image(words: &[String]) -> Option<(&str, &str)> {
    words.iter().find_map(|word| Some((word.as_str(), word.strip_prefix("BOOT_IMAGE=")?)))
}

fn has_initrd(words: &[String]) -> bool {
    words.iter().any(|word| word.starts_with("initrd="))
}

/// A path without the device before it: `(hd0,gpt2)/vmlinuz`.
fn on_device(path: &str) -> &str {
    path.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(path, |(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_a_loader() {
        let supported = super::super::BOOTLOADERS.iter().map(|loader| loader.name());
        let names: Vec<&str> = supported.chain(unsupported::names()).collect();
        let told = BY_INFO.iter().chain(&firmware_boot::PROGRAMS).map(|(_, name)| name);
        told.for_each(|name| assert!(names.contains(name), "{name}"));
    }
}
