//! PCI functions, IOMMU units and groups from sysfs.

use super::many_directories::{Entries, Part, read_all};
use super::{Reader, Scope};
use crate::read_host::{ReadAttributes, ReadHost};
use cede_model::iommu::{group::IOMMU_GROUPS, state::IOMMU_CLASS};
use cede_model::pci::names::PCI_IDS_PATHS;
use cede_model::{Capture, Entry};
use std::collections::HashSet;

const DEVICES: &str = "/sys/bus/pci/devices";

/// Reads the functions and, with the IOMMU at work, their groups.
pub(super) fn observe(host: &dyn ReadHost, scope: Scope, capture: &mut Capture) {
    let of_function = |name: &str, attributes: &mut dyn ReadAttributes, entries: &mut Entries| {
        read_function(scope, Function { dir: [DEVICES, name].join("/"), attributes, start: entries.len(), entries });
    };
    let of_group =
        |number: &str, attributes: &mut dyn ReadAttributes, entries: &mut Entries| read_group(scope, number, attributes, entries);
    let functions = Part::new(host, DEVICES, Some(&of_function));
    let groups = Part::new(host, IOMMU_GROUPS, scope.has_group_types().then_some(&of_group));
    let entries = read_all(host, &functions, &groups, many(scope));
    let mut reader = Reader { host, capture };
    for part in [&functions, &groups] {
        reader.capture.insert(part.base(), part.entry());
    }
    let linked: HashSet<&str> = entries.iter().filter_map(|(path, entry)| group_number(path, entry)).collect();
    for number in groups.names().iter().filter(|number| !linked.contains(number.as_str())) {
        reader.names(&format!("{IOMMU_GROUPS}/{number}/devices"));
    }
    reader.capture.extend(entries);
    for unit in reader.list(IOMMU_CLASS) {
        reader.capture.insert(format!("{IOMMU_CLASS}/{unit}"), Entry::Dir);
    }
    reader.probe("/sys/bus/pci/drivers/vfio-pci");
}

/// How many directories are many. For fewer, starting threads costs more than it saves: a busy machine lets them wait for its next tick, some
/// milliseconds.
fn many(scope: Scope) -> usize {
    if scope.has_attributes() { 128 } else { 512 }
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

/// What was read of one function, in the order of reading.
struct Function<'a> {
    dir: String,
    attributes: &'a mut dyn ReadAttributes,
    entries: &'a mut Entries,
    start: usize,
}

impl Function<'_> {
    fn push(&mut self, name: &str, entry: Entry) {
        if entry != Entry::Absent {
            self.entries.push(([self.dir.as_str(), name].join("/"), entry));
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

    /// A function of which nothing was read is there all the same; and what is in order already is put into the capture at once.
    fn finish(self) {
        if self.own().is_empty() {
            self.entries.push((self.dir, Entry::Dir));
        }
        self.entries.get_mut(self.start..).unwrap_or_default().sort_unstable_by(|one, other| one.0.cmp(&other.0));
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
fn read_function(scope: Scope, mut function: Function<'_>) {
    if scope == Scope::Groups {
        function.links(&["iommu_group"]);
        return function.finish();
    }
    function.files(&["uevent"]);
    if !(function.tells("/uevent", b"PCI_ID=") && function.tells("/uevent", b"PCI_CLASS=")) {
        function.files(&["vendor", "device", "class"]);
        if scope.has_attributes() {
            function.files(&["subsystem_vendor", "subsystem_device", "modalias"]);
        }
    }
    if !function.tells("/uevent", b"DRIVER=") {
        function.links(&["driver"]);
    }
    function.links(&["iommu_group"]);
    if scope.has_attributes() {
        function.files(&["revision", "numa_node", "reset_method"]);
        if function.tells("/uevent", b"PCI_CLASS=30000") || function.tells("/class", b"0x030000") {
            function.files(&["boot_vga"]);
        }
    }
    if scope.is_full() {
        function.files(&["driver_override", "sriov_totalvfs", "sriov_numvfs"]);
        if scope == Scope::Runtime && function.has("/sriov_totalvfs") {
            function.files(&["sriov_drivers_autoprobe"]);
        }
        function.links(&["physfn"]);
    }
    // The way to it tells what is on a root bus, and with that what stays.
    if scope.has_group_types() {
        let link = function.attributes.way_here();
        function.entries.push((function.dir.clone(), link));
    }
    // Reading configuration space wakes a device from D3cold, so there it is read only where nothing else tells: without groups, to
    // foretell them, and without ids; or on request.
    let has_ids = function.has("/uevent") || function.has("/vendor");
    if scope == Scope::Wiring
        || !has_ids
        || (matches!(scope, Scope::Full | Scope::Runtime) && (!function.has("/iommu_group") || may_have_serial(&mut function)))
    {
        function.files(&["config"]);
    }
    function.finish();
}

/// True for an endpoint of which configuration space can be read as it is (drivers/pci/pci-sysfs.c `pci_config_pm_runtime_get`): it may
/// hold a serial number. The attribute is there since Linux 5.11.
fn may_have_serial(function: &mut Function<'_>) -> bool {
    let is_bridge = function.tells("/uevent", b"PCI_CLASS=6") || function.tells("/class", b"0x06");
    if is_bridge {
        return false;
    }
    function.files(&["power_state"]);
    [b"D0".as_slice(), b"D1", b"D2", b"D3hot"].into_iter().any(|state| function.tells("/power_state", state))
}

/// A group without a default domain may be a made-up one, which its name tells (drivers/iommu/iommu.c `iommu_group_show_type`,
/// drivers/vfio/group.c `vfio_noiommu_group_alloc`).
fn read_group(scope: Scope, number: &str, attributes: &mut dyn ReadAttributes, entries: &mut Entries) {
    let dir = [IOMMU_GROUPS, number].join("/");
    let kind = attributes.file("type");
    let tells = matches!(&kind, Entry::File(text) if text.trim_ascii() != b"unknown");
    let mut push = |name: &str, entry: Entry| {
        if entry != Entry::Absent {
            entries.push(([dir.as_str(), name].join("/"), entry));
        }
    };
    push("type", kind);
    if !tells || scope.is_full() {
        push("name", attributes.file("name"));
    }
    if scope.is_full() {
        push("reserved_regions", attributes.file("reserved_regions"));
    }
}
