//! What a change of the running system rests on: drivers and their attributes, device nodes, and who has them open.

use super::Reader;
use cede_model::Entry;
use cede_model::uses::graph::functions_on;
use cede_model::uses::nodes::{NUMBERS, NVIDIA, VFIO, nodes};
use std::collections::HashSet;

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
    NUMBERS.iter().for_each(|base| device_nodes(reader, base));
    openers(reader);
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
            if is_meant(target.trim_end_matches(" (deleted)")) {
                reader.text(&format!("/proc/{pid}/comm"));
                reader.capture.insert(path, Entry::Link(target));
            }
        }
    }
}
