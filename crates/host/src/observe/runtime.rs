//! What a change of the running system rests on: drivers and their attributes, device nodes, and who has them open.

use super::Reader;
use crate::read_host::{ATTRIBUTE_LIMIT, ReadHost};
use cede_model::Entry;
use cede_model::pci::device::PCI_DEVICES;
use cede_model::uses::graph::functions_on;
use cede_model::uses::nodes::{NUMBERS, NVIDIA, VFIO, nodes};
use std::collections::{HashMap, HashSet};

const DRIVERS: &str = "/sys/bus/pci/drivers";
const MODULES: &str = "/sys/module";

pub(super) fn observe(reader: &mut Reader<'_>) {
    for driver in reader.list(DRIVERS) {
        reader.capture.insert(format!("{DRIVERS}/{driver}"), Entry::Dir);
        reader.probe(&format!("{DRIVERS}/{driver}/unbind"));
    }
    for module in reader.list(MODULES) {
        reader.capture.insert(format!("{MODULES}/{module}"), Entry::Dir);
        for driver in reader.host.list(&format!("{MODULES}/{module}/drivers")).unwrap_or_default() {
            reader.capture.insert(format!("{MODULES}/{module}/drivers/{driver}"), Entry::Dir);
        }
    }
    interfaces_elsewhere(reader);
    NUMBERS.iter().for_each(|base| device_nodes(reader, base));
    openers(reader);
}

/// A function's directory of interfaces that looks empty: sysfs shows only those of one's own network namespace, and none at all has no directory
/// (drivers/base/core.c `class_dir_create_and_add`).
fn interfaces_elsewhere(reader: &mut Reader<'_>) {
    for function in reader.host.list(PCI_DEVICES.trim_end_matches('/')).unwrap_or_default() {
        let directory = format!("{PCI_DEVICES}{function}/net");
        if reader.host.list(&directory).is_ok_and(|interfaces| interfaces.is_empty()) {
            reader.capture.insert(directory, Entry::Dir);
        }
    }
}

/// The nodes of functions; most others are virtual.
fn device_nodes(reader: &mut Reader<'_>, base: &str) {
    for number in reader.host.list(base).unwrap_or_default() {
        let path = format!("{base}/{number}");
        let Entry::Link(target) = reader.host.read_link(&path) else { continue };
        if !functions_on(&target).is_empty() {
            reader.text(&format!("{path}/uevent"));
            reader.capture.insert(path, Entry::Link(target));
        }
    }
}

/// Open files that are nodes of functions. Of other files nothing is taken.
fn openers(reader: &mut Reader<'_>) {
    let known: HashSet<String> = nodes(reader.capture).into_iter().map(|node| node.path).collect();
    let is_meant = |file: &str| known.contains(file) || file.starts_with(NVIDIA) || file.starts_with(VFIO);
    let mut named = HashMap::new();
    let processes = reader.host.list("/proc").unwrap_or_default();
    for pid in processes.iter().filter(|name| name.parse::<u32>().is_ok()) {
        let directory = format!("/proc/{pid}/fd");
        let files = match reader.host.list(&directory) {
            Ok(files) => files,
            // It has ended meanwhile.
            Err(Entry::Absent) => continue,
            Err(other) => {
                reader.capture.insert(directory, other);
                continue;
            }
        };
        for path in files.iter().map(|file| format!("{directory}/{file}")) {
            let Entry::Link(target) = reader.host.read_link(&path) else { continue };
            let node = if is_meant(target.trim_end_matches(" (deleted)")) {
                Some(target)
            } else {
                elsewhere(reader.host, &path, &target, &mut named).filter(|node| is_meant(node))
            };
            if let Some(node) = node {
                reader.text(&format!("/proc/{pid}/comm"));
                reader.capture.insert(path, Entry::Link(node));
            }
        }
    }
}

/// A device node may have any name, as in a container; the kernel knows the one below `/dev` by its number. `named` has those that were asked for.
fn elsewhere(host: &dyn ReadHost, path: &str, target: &str, named: &mut HashMap<String, Option<String>>) -> Option<String> {
    // Sockets, pipes and the like have no path.
    let number = Some(target).filter(|target| target.starts_with('/')).and_then(|_| host.device_number(path))?;
    let name = |number: &String| match host.read(&format!("/sys/dev/{number}/uevent"), ATTRIBUTE_LIMIT) {
        Entry::File(text) => {
            String::from_utf8_lossy(&text).lines().find_map(|line| line.strip_prefix("DEVNAME=")).map(|name| format!("/dev/{name}"))
        }
        _ => None,
    };
    named.entry(number).or_insert_with_key(name).clone()
}
