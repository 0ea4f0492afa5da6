//! The device nodes of a function, and the processes that have them open.

use super::graph::functions_on;
use crate::capture::{Capture, Entry};
use crate::pci::PciAddress;
use std::collections::BTreeSet;

/// Device numbers, each a link into `/sys/devices` whose `uevent` has the name below `/dev` (drivers/base/core.c `device_create_sys_dev_entry`).
pub const NUMBERS: [&str; 2] = ["/sys/dev/block", "/sys/dev/char"];

/// Nodes of the NVIDIA driver that say nothing of a function, or name it by a number of their own.
pub const NVIDIA: &str = "/dev/nvidia";

/// Nodes of VFIO: groups by their numbers, and `devices/vfioN`.
pub const VFIO: &str = "/dev/vfio/";

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNode {
    /// Its path, `/dev/dri/card0`.
    pub path: String,
    /// The functions on its way in `/sys/devices`.
    pub functions: Vec<PciAddress>,
}

/// A process that has a device node open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opener {
    /// Its number.
    pub pid: u32,
    /// Its name, as `/proc/PID/comm` has it.
    pub name: String,
    /// The node.
    pub file: String,
}

/// Every device node that is on a function.
pub fn nodes(capture: &Capture) -> Vec<DeviceNode> {
    let numbers = NUMBERS.iter().flat_map(|base| capture.names_in(base).map(move |number| format!("{base}/{number}")));
    let node = |path: String| {
        let functions = functions_on(capture.link(&path)?);
        let uevent = capture.attribute(&format!("{path}/uevent"))?;
        let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
        (!functions.is_empty()).then(|| DeviceNode { path: format!("/dev/{name}"), functions })
    };
    numbers.filter_map(node).collect()
}

/// The nodes of one function.
pub fn nodes_on(capture: &Capture, address: PciAddress) -> Vec<String> {
    nodes(capture).into_iter().filter(|node| node.functions.contains(&address)).map(|node| node.path).collect()
}

/// Every process that has a device node open, once for each node.
pub fn openers(capture: &Capture) -> Vec<Opener> {
    let pids = capture.names_in("/proc").filter_map(|name| name.parse::<u32>().ok());
    let of_process = |pid: u32| {
        let name = capture.attribute(&format!("/proc/{pid}/comm")).unwrap_or_default().to_owned();
        let links = capture.names_in(&format!("/proc/{pid}/fd")).filter_map(move |fd| capture.link(&format!("/proc/{pid}/fd/{fd}")));
        // A node that was removed meanwhile is held all the same.
        links.map(move |file| Opener { pid, name: name.clone(), file: file.trim_end_matches(" (deleted)").to_owned() })
    };
    pids.flat_map(of_process).collect::<BTreeSet<_>>().into_iter().collect()
}

/// True where the open files of some process could not be seen: only root sees those of others.
pub fn has_unseen(capture: &Capture) -> bool {
    let pids = capture.names_in("/proc").filter(|name| name.parse::<u32>().is_ok());
    pids.into_iter().any(|pid| matches!(capture.get(&format!("/proc/{pid}/fd")), Some(Entry::Unreadable(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_lead_to_functions_and_to_processes() {
        let mut capture = Capture::new();
        let mut link = |path: &str, target: &str| capture.insert(path, Entry::Link(target.into()));
        link("/sys/dev/char/226:0", "../../devices/pci0000:00/0000:00:01.0/0000:01:00.0/drm/card0");
        link("/sys/dev/char/1:3", "../../devices/virtual/mem/null");
        link("/proc/77/fd/4", "/dev/dri/card0");
        link("/proc/77/fd/5", "/dev/dri/card0");
        link("/proc/8/fd/0", "/dev/dri/card0 (deleted)");
        let mut file = |path: &str, text: &str| capture.insert(path, Entry::File(text.into()));
        file("/sys/dev/char/226:0/uevent", "MAJOR=226\nDEVNAME=dri/card0\n");
        file("/sys/dev/char/1:3/uevent", "DEVNAME=null\n");
        file("/proc/77/comm", "Xorg\n");
        let address = "0000:01:00.0".parse().unwrap();
        assert_eq!(nodes_on(&capture, address), ["/dev/dri/card0"]);
        let seen: Vec<_> = openers(&capture).into_iter().map(|one| (one.pid, one.name, one.file)).collect();
        let card = || "/dev/dri/card0".to_owned();
        assert_eq!(seen, [(8, String::new(), card()), (77, "Xorg".to_owned(), card())]);
        assert!(!has_unseen(&capture));
        capture.insert("/proc/9/fd", Entry::Unreadable("EACCES".into()));
        assert!(has_unseen(&capture));
    }
}
