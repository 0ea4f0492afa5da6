//! What stands around the devices when a proof is made.

use crate::files::root::Root;
use cede_plan::prove::{Holder, Interface, Surroundings, Wish};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use std::fs;
use std::path::Path;

/// `/proc/interrupts` has a column for each processor.
const INTERRUPTS_LIMIT: usize = 16 << 20;

/// Reads them. What may not be seen is not there.
pub fn surroundings(root: &Root, wish: &Wish) -> Surroundings {
    let module = match wish.interface {
        Interface::Container => "vfio_iommu_type1",
        Interface::Iommufd => "iommufd",
    };
    let parameter = root.read(format!("/sys/module/{module}/parameters/allow_unsafe_interrupts"), 16);
    Surroundings {
        interrupts: root.read("/proc/interrupts", INTERRUPTS_LIMIT).ok(),
        unsafe_interrupts: parameter.is_ok_and(|value| value.trim_ascii() == b"Y"),
        memlock: memlock(),
        holders: holders(&nodes(wish)),
        is_root: rustix::process::geteuid().is_root(),
    }
}

/// The limit counts for those without `CAP_IPC_LOCK` (drivers/vfio/vfio_iommu_type1.c `vfio_lock_acct`).
fn memlock() -> Option<u64> {
    let is_exempt = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    getrlimit(Resource::Memlock).current.filter(|_| !is_exempt)
}

fn nodes(wish: &Wish) -> Vec<String> {
    let groups = wish.groups().into_iter().map(|group| format!("/dev/vfio/{group}"));
    groups.chain(wish.targets.iter().filter_map(|target| target.node.clone())).collect()
}

/// Processes that have one of the nodes open.
fn holders(nodes: &[String]) -> Vec<Holder> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = processes.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    numbered.filter(|(pid, _)| *pid != std::process::id()).flat_map(|(pid, dir)| held(pid, &dir, nodes)).collect()
}

fn held(pid: u32, dir: &Path, nodes: &[String]) -> Vec<Holder> {
    let files = fs::read_dir(dir.join("fd")).into_iter().flatten().flatten();
    let mut paths: Vec<String> =
        files.filter_map(|file| fs::read_link(file.path()).ok()?.to_str().map(str::to_owned)).filter(|path| nodes.contains(path)).collect();
    paths.sort_unstable();
    paths.dedup();
    let name = || fs::read_to_string(dir.join("comm")).unwrap_or_default().trim_end().to_owned();
    paths.into_iter().map(|path| Holder { path, pid, name: name() }).collect()
}
