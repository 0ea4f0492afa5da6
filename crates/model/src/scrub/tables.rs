//! Tables of which a host's answers need a part: of file systems, of modules, of names.

use super::uses::names_server;
use crate::capture::{Capture, Entry};
use crate::kernel::{ModuleAliases, installed::module_of_path};
use crate::pci::names::PCI_IDS_PATHS;
use crate::pci::{PciDevice, device};
use std::collections::BTreeSet;

/// Lines of fstab(5) name servers, users and passwords; those of the places that a host starts from stay, and of other local disks what the
/// start does with them.
pub(super) fn reduce_fstab(capture: &mut Capture) -> bool {
    const PLACES: [&str; 4] = ["/", "/boot", "/efi", "/boot/efi"];
    let Some(bytes) = capture.file("/etc/fstab") else { return false };
    let text = String::from_utf8_lossy(bytes).into_owned();
    let stays = |line: &&str| {
        let mut words = line.split_whitespace();
        let place = words.nth(1).map(|place| if place == "/" { place } else { place.trim_end_matches('/') });
        !line.trim_start().starts_with('#') && place.is_some_and(|place| PLACES.contains(&place))
    };
    let kept: String = text
        .lines()
        .filter_map(|line| if stays(&line) { Some(remote(line).unwrap_or(format!("{line}\n"))) } else { local(line) })
        .collect();
    let differs = kept != text;
    capture.insert("/etc/fstab", Entry::File(kept.into_bytes()));
    differs
}

/// A line of another machine's file system, without that machine and who may use it.
fn remote(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [source, place, kind, ..] = words.as_slice() else { return None };
    names_server(source).then(|| format!("server:/share {place} {kind} {} 0 0\n", when(&words)))
}

/// The options that say when something is mounted.
fn when(words: &[&str]) -> String {
    let options = words.get(3).copied().unwrap_or_default().split(',');
    let kept: Vec<&str> = options.filter(|option| matches!(*option, "noauto" | "nofail" | "x-systemd.automount")).collect();
    if kept.is_empty() { "defaults".to_owned() } else { kept.join(",") }
}

/// A line of a local disk with the options that say when it is mounted.
fn local(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [source, place, kind, _, ..] = words.as_slice() else { return None };
    let is_local = ["/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="].iter().any(|start| source.starts_with(start));
    is_local.then(|| format!("{source} {place} {kind} {} 0 0\n", when(&words)))
}

/// Of processors, without the serial number of the machine, which Arm boards show there (arch/arm/kernel/setup.c `c_show`).
pub(super) fn reduce_processors(capture: &mut Capture) {
    let Some(text) = capture.file("/proc/cpuinfo").map(|bytes| String::from_utf8_lossy(bytes).into_owned()) else { return };
    let kept: String = text.split_inclusive('\n').filter(|line| !line.starts_with("Serial")).collect();
    capture.insert("/proc/cpuinfo", Entry::File(kept.into_bytes()));
}

/// Of tables of a megabyte and more, keeps the lines that this host's functions need.
pub(super) fn reduce(capture: &mut Capture) {
    let devices = device::read_devices(capture);
    reduce_names(capture, &devices);
    let tables: Vec<String> = capture.entries().map(|(path, _)| path.to_owned()).filter(|path| path.contains("/modules/")).collect();
    let mut kept: BTreeSet<String> =
        ["vfio", "vfio_pci", "vfio_pci_core", "vfio_iommu_type1", "vfio_virqfd", "irqbypass", "pci_stub"].map(str::to_owned).into();
    for path in tables.iter().filter(|path| path.ends_with("/modules.alias")) {
        let bytes = capture.file(path).map(<[u8]>::to_vec).unwrap_or_default();
        let used = used_aliases(&bytes, b"alias pci:", b'\n', &devices, &mut kept);
        capture.insert(path.as_str(), Entry::File(used));
    }
    for path in tables.iter().filter(|path| path.ends_with("/modules.builtin.modinfo")) {
        let bytes = capture.file(path).map(<[u8]>::to_vec).unwrap_or_default();
        let used = used_aliases(&bytes, b".alias=pci:", 0, &devices, &mut kept);
        capture.insert(path.as_str(), Entry::File(used));
    }
    for path in tables.iter().filter(|path| path.ends_with("/modules.dep")) {
        let text = String::from_utf8_lossy(capture.file(path).unwrap_or_default()).into_owned();
        let needed = |line: &&str| {
            line.split(':')
                .next()
                .and_then(module_of_path)
                .is_some_and(|module| kept.contains(&module) || devices.iter().any(|d| d.driver_name() == Some(module.as_str())))
        };
        let lines: String = text.lines().filter(needed).map(|line| format!("{line}\n")).collect();
        capture.insert(path.as_str(), Entry::File(lines.into_bytes()));
    }
}

/// The records of a table that match one of the functions; the modules they name are remembered.
fn used_aliases(bytes: &[u8], mark: &[u8], separator: u8, devices: &[PciDevice], kept: &mut BTreeSet<String>) -> Vec<u8> {
    let mut out = Vec::new();
    for record in bytes.split(|byte| *byte == separator) {
        if !record.windows(mark.len()).any(|part| part == mark) {
            continue;
        }
        let one = if separator == 0 { ModuleAliases::read(&[], record) } else { ModuleAliases::read(record, &[]) };
        let modules: BTreeSet<&str> =
            devices.iter().filter_map(|device| device.modalias.as_deref()).flat_map(|modalias| one.matching(modalias)).collect();
        if !modules.is_empty() {
            kept.extend(modules.into_iter().map(crate::kernel::module_name));
            out.extend_from_slice(record);
            out.push(separator);
        }
    }
    out
}

fn reduce_names(capture: &mut Capture, devices: &[PciDevice]) {
    let Some(path) = PCI_IDS_PATHS.iter().find(|path| capture.file(path).is_some()) else { return };
    let text = String::from_utf8_lossy(capture.file(path).unwrap_or_default()).into_owned();
    let vendors: BTreeSet<String> = devices.iter().filter_map(|d| d.id).map(|id| format!("{:04x}", id.vendor)).collect();
    let ids: BTreeSet<String> = devices.iter().filter_map(|d| d.id).map(|id| format!("\t{:04x}", id.device)).collect();
    let mut in_wanted = false;
    let mut in_classes = false;
    let mut keep = |line: &&str| {
        if !line.starts_with('\t') {
            in_classes = line.starts_with("C ");
            in_wanted = line.get(..4).is_some_and(|id| vendors.contains(id));
            return in_classes || in_wanted;
        }
        let deep = line.starts_with("\t\t");
        !deep && (in_classes || (in_wanted && line.get(..5).is_some_and(|id| ids.contains(id))))
    };
    let lines: String = text.lines().filter(|line| keep(line)).map(|line| format!("{line}\n")).collect();
    capture.insert(*path, Entry::File(lines.into_bytes()));
}
