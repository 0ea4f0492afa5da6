//! PCI functions, IOMMU units and groups from sysfs.

use super::{Reader, Scope};
use crate::read_host::{ReadAttributes, ReadHost};
use cede_model::iommu::{group::IOMMU_GROUPS, state::IOMMU_CLASS};
use cede_model::pci::names::PCI_IDS_PATHS;
use cede_model::{Capture, Entry};
use std::collections::HashSet;

const DEVICES: &str = "/sys/bus/pci/devices";

/// Below this number of directories, starting threads costs more than it saves.
const WORTH_THREADS: usize = 64;

type Entries = Vec<(String, Entry)>;

/// Reads the functions and, with the IOMMU at work, their groups.
pub(super) fn observe(host: &dyn ReadHost, scope: Scope, capture: &mut Capture) {
    let mut reader = Reader { host, capture };
    let names = reader.list(DEVICES);
    let entries = read_all(&names, |name, entries| read_function(host, scope, name, entries));
    let linked: HashSet<String> = entries.iter().filter_map(|(path, entry)| group_number(path, entry)).map(str::to_owned).collect();
    reader.capture.extend(entries);
    let groups = reader.list(IOMMU_GROUPS);
    if scope.has_group_types() {
        let entries = read_all(&groups, |number, entries| read_group(host, scope, number, entries));
        reader.capture.extend(entries);
    }
    for number in groups.iter().filter(|number| !linked.contains(*number)) {
        reader.names(&format!("{IOMMU_GROUPS}/{number}/devices"));
    }
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

fn group_number<'a>(path: &str, entry: &'a Entry) -> Option<&'a str> {
    match entry {
        Entry::Link(target) if path.ends_with("/iommu_group") => target.rsplit('/').next(),
        _ => None,
    }
}

/// Reads every directory of a list, with as many threads as there are processors where it is long.
fn read_all(names: &[String], read: impl Fn(&str, &mut Entries) + Sync) -> Entries {
    let read = |part: &[String]| {
        let mut entries = Vec::with_capacity(4 * part.len());
        part.iter().for_each(|name| read(name, &mut entries));
        entries
    };
    let workers = if names.len() < WORTH_THREADS { 1 } else { std::thread::available_parallelism().map_or(1, usize::from).min(8) };
    let mut parts = names.chunks(names.len().div_ceil(workers).max(1));
    let own = parts.next().unwrap_or_default();
    std::thread::scope(|threads| {
        let read = &read;
        let running: Vec<_> = parts.map(|part| threads.spawn(move || read(part))).collect();
        let mut entries = read(own);
        entries.extend(running.into_iter().flat_map(|thread| thread.join().unwrap_or_default()));
        entries
    })
}

/// What was read of one function, in the order of reading.
struct Function<'a> {
    dir: &'a str,
    attributes: Box<dyn ReadAttributes + 'a>,
    entries: &'a mut Entries,
    start: usize,
}

impl Function<'_> {
    fn push(&mut self, name: &str, entry: Entry) {
        if entry != Entry::Absent {
            self.entries.push(([self.dir, name].join("/"), entry));
        }
    }

    fn files(&mut self, names: &[&str]) {
        for name in names {
            let entry = self.attributes.file(name);
            self.push(name, entry);
        }
    }

    fn links(&mut self, names: &[&str]) {
        for name in names {
            let entry = self.attributes.link(name);
            self.push(name, entry);
        }
    }

    fn own(&self) -> &[(String, Entry)] {
        self.entries.get(self.start..).unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.own().iter().any(|(path, _)| path.ends_with(name))
    }

    /// True where a file that was read has a line that begins so.
    fn tells(&self, name: &str, line: &[u8]) -> bool {
        self.own().iter().any(|(path, entry)| match entry {
            Entry::File(bytes) if path.ends_with(name) => bytes.split(|byte| *byte == b'\n').any(|found| found.starts_with(line)),
            _ => false,
        })
    }
}

/// One read of `uevent` tells what six attributes would, and the driver; trees without it are read attribute by attribute.
fn read_function(host: &dyn ReadHost, scope: Scope, name: &str, entries: &mut Entries) {
    let dir = [DEVICES, name].join("/");
    let start = entries.len();
    let mut function = Function { dir: &dir, attributes: host.attributes(&dir), entries, start };
    function.files(&["uevent"]);
    if !(function.tells("/uevent", b"PCI_ID=") && function.tells("/uevent", b"PCI_CLASS=")) {
        function.files(&["vendor", "device", "class"]);
        if scope.has_attributes() {
            function.files(&["subsystem_vendor", "subsystem_device", "modalias"]);
        }
        function.links(&["driver"]);
    }
    function.links(&["iommu_group"]);
    if scope.has_attributes() {
        function.files(&["revision", "numa_node", "reset_method"]);
        if function.tells("/uevent", b"PCI_CLASS=30000") || function.tells("/class", b"0x030000") {
            function.files(&["boot_vga"]);
        }
    }
    if scope == Scope::Full {
        function.files(&["driver_override", "sriov_totalvfs", "sriov_numvfs"]);
        function.links(&["physfn"]);
        let link = host.read_link(&dir);
        function.entries.push((dir.clone(), link));
    }
    // Reading configuration space wakes a sleeping device, so it is read only where nothing else tells: without groups, to foretell
    // them, and without ids.
    if (scope == Scope::Full && !function.has("/iommu_group")) || !(function.has("/uevent") || function.has("/vendor")) {
        function.files(&["config"]);
    }
    if function.own().is_empty() {
        function.entries.push((dir.clone(), Entry::Dir));
    }
}

/// A group without a default domain may be a made-up one, which its name tells (drivers/iommu/iommu.c `iommu_group_show_type`,
/// drivers/vfio/group.c `vfio_noiommu_group_alloc`).
fn read_group(host: &dyn ReadHost, scope: Scope, number: &str, entries: &mut Entries) {
    let dir = [IOMMU_GROUPS, number].join("/");
    let mut attributes = host.attributes(&dir);
    let kind = attributes.file("type");
    let tells = matches!(&kind, Entry::File(text) if text.trim_ascii() != b"unknown");
    let mut push = |name: &str, entry: Entry| {
        if entry != Entry::Absent {
            entries.push(([dir.as_str(), name].join("/"), entry));
        }
    };
    push("type", kind);
    if !tells || scope == Scope::Full {
        push("name", attributes.file("name"));
    }
    if scope == Scope::Full {
        push("reserved_regions", attributes.file("reserved_regions"));
    }
}
