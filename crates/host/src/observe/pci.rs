//! PCI functions, IOMMU units and groups from sysfs.

use super::{Reader, Scope};
use crate::read_host::{ATTRIBUTE_LIMIT, ReadHost};
use cede_model::iommu::{group::IOMMU_GROUPS, state::IOMMU_CLASS};
use cede_model::pci::names::PCI_IDS_PATHS;
use cede_model::{Capture, Entry};
use std::collections::BTreeSet;

const DEVICES: &str = "/sys/bus/pci/devices";

/// Below this number of functions, starting threads costs more than it saves.
const WORTH_THREADS: usize = 64;

/// Reads the functions and, with the IOMMU at work, their groups.
pub(super) fn observe(host: &dyn ReadHost, scope: Scope, capture: &mut Capture) {
    let mut reader = Reader { host, capture };
    let mut names = reader.list(DEVICES);
    names.sort();
    let entries = read_all(host, scope, &names);
    let groups: BTreeSet<String> = entries.iter().filter_map(|(path, entry)| group_number(path, entry)).collect();
    reader.capture.extend(entries);
    observe_groups(&mut reader, &groups);
    for unit in reader.list(IOMMU_CLASS) {
        reader.capture.insert(format!("{IOMMU_CLASS}/{unit}"), Entry::Dir);
    }
    reader.probe("/sys/bus/pci/drivers/vfio-pci");
}

/// The table of names, from the host where it has one.
pub(super) fn observe_names(reader: &mut Reader<'_>) {
    for path in PCI_IDS_PATHS {
        reader.text(path);
        if reader.capture.file(path).is_some() {
            return;
        }
    }
}

fn group_number(path: &str, entry: &Entry) -> Option<String> {
    match entry {
        Entry::Link(target) if path.ends_with("/iommu_group") => target.rsplit('/').next().map(str::to_owned),
        _ => None,
    }
}

fn read_all(host: &dyn ReadHost, scope: Scope, names: &[String]) -> Vec<(String, Entry)> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    if names.len() < WORTH_THREADS || workers == 1 {
        return names.iter().flat_map(|name| read_function(host, scope, name)).collect();
    }
    let share = names.len().div_ceil(workers);
    std::thread::scope(|threads| {
        let read = |part: &[String]| part.iter().flat_map(|name| read_function(host, scope, name)).collect::<Vec<_>>();
        let running: Vec<_> = names.chunks(share).map(|part| threads.spawn(move || read(part))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

/// One read of `uevent` tells what six attributes would; trees without it are read attribute by attribute.
fn read_function(host: &dyn ReadHost, scope: Scope, name: &str) -> Vec<(String, Entry)> {
    let dir = format!("{DEVICES}/{name}");
    let mut entries = host.attributes(&dir, files(scope), links(scope));
    let uevent = match entries.first() {
        Some((path, Entry::File(bytes))) if path.ends_with("/uevent") => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let has = |key: &str| uevent.lines().any(|line| line.starts_with(key));
    let mut more: Vec<&str> = Vec::new();
    if !(has("PCI_ID=") && has("PCI_CLASS=")) {
        more.extend(["vendor", "device", "class", "subsystem_vendor", "subsystem_device", "modalias"]);
    }
    if scope >= Scope::Devices && (uevent.is_empty() || has("PCI_CLASS=30000")) {
        more.push("boot_vga");
    }
    let driver: &[&str] = if has("DRIVER=") { &[] } else { &["driver"] };
    if !more.is_empty() || !driver.is_empty() {
        entries.extend(host.attributes(&dir, &more, driver));
    }
    if scope == Scope::Full {
        entries.push((dir.clone(), host.read_link(&dir)));
    }
    if needs_config(scope, &entries) {
        entries.extend(host.attributes(&dir, &["config"], &[]));
    }
    if entries.is_empty() {
        entries.push((dir, Entry::Dir));
    }
    entries
}

/// Reading configuration space wakes a sleeping device, so it is read only where nothing else tells:
/// without groups, to foretell them, and without ids.
fn needs_config(scope: Scope, entries: &[(String, Entry)]) -> bool {
    let seen = |end: &str| entries.iter().any(|(path, _)| path.ends_with(end));
    (scope == Scope::Full && !seen("/iommu_group")) || !(seen("/uevent") || seen("/vendor"))
}

fn files(scope: Scope) -> &'static [&'static str] {
    match scope {
        Scope::Groups => &["uevent"],
        Scope::Devices => &["uevent", "revision", "numa_node", "reset_method"],
        Scope::Full => &["uevent", "revision", "numa_node", "reset_method", "driver_override", "sriov_totalvfs", "sriov_numvfs"],
    }
}

fn links(scope: Scope) -> &'static [&'static str] {
    if scope == Scope::Full { &["iommu_group", "physfn"] } else { &["iommu_group"] }
}

fn observe_groups(reader: &mut Reader<'_>, linked: &BTreeSet<String>) {
    for number in reader.list(IOMMU_GROUPS) {
        let dir = format!("{IOMMU_GROUPS}/{number}");
        for attribute in ["type", "name", "reserved_regions"] {
            let path = format!("{dir}/{attribute}");
            let entry = reader.host.read(&path, ATTRIBUTE_LIMIT);
            if entry != Entry::Absent {
                reader.capture.insert(path, entry);
            }
        }
        if !linked.contains(&number) {
            reader.names(&format!("{dir}/devices"));
        }
    }
}
