//! What this host in particular asks for: memory and processors near the device, and who may read the ROM file.

use super::{Given, Options};
use crate::shell_word::quoted;
use cede_model::Host;
use cede_model::pci::PciAddress;

/// Where the kernel shows its NUMA nodes.
const NODES: &str = "/sys/devices/system/node";

/// Where the kernel shows the character devices of VFIO (drivers/vfio/device_cdev.c, since Linux 6.6).
const VFIO_DEVICES: &str = "/sys/class/vfio-dev";

/// A function's own character device, where the host has those and `/dev/iommu`.
pub fn device_node(host: &Host, address: PciAddress) -> Option<String> {
    let part = format!("/{address}/vfio-dev/");
    let is_its = |name: &&str| host.capture.link(&format!("{VFIO_DEVICES}/{name}")).is_some_and(|target| target.contains(&part));
    let name = host.capture.names_in(VFIO_DEVICES).find(is_its).filter(|_| host.capture.is_there("/dev/iommu"))?;
    Some(format!("/dev/vfio/devices/{name}"))
}

/// What the reader should know of this host.
pub fn notes(host: &Host, given: &Given, target: &str, options: &Options) -> Vec<String> {
    let mut list = given.notes.clone();
    list.extend(near(host, given, target));
    list.extend(huge_pages(host, given, target));
    list.extend(rom_access(host, target, options));
    list
}

/// Nodes that the kernel shows.
fn nodes(host: &Host) -> Vec<u32> {
    host.capture.names_in(NODES).filter_map(|name| name.strip_prefix("node")?.parse().ok()).collect()
}

/// On a host with several nodes: the one of the device, and how to keep the guest there.
fn near(host: &Host, given: &Given, target: &str) -> Option<String> {
    let (member, node) = given.members.iter().find_map(|member| Some((member, member.numa_node?)))?;
    let cpus = host.capture.attribute(&format!("{NODES}/node{node}/cpulist")).filter(|_| nodes(host).len() > 1)?;
    let how = match target {
        "libvirt" => format!("<vcpu cpuset='{cpus}'> and <numatune><memory mode='strict' nodeset='{node}'/></numatune>"),
        "qemu" => format!("`numactl --cpunodebind={node} --membind={node} qemu-system-x86_64 …`"),
        "proxmox" => format!("`qm set VMID --affinity {cpus} --numa 1`"),
        "kubevirt" => "`topologyManagerPolicy: single-numa-node` of the kubelet, and `dedicatedCpuPlacement: true` of the guest".to_owned(),
        _ => return None,
    };
    Some(format!("{} is at NUMA node {node} (processors {cpus}); to keep the guest there: {how}", member.address))
}

/// Huge pages that were reserved on the device's node, where there are free ones. None are needed.
fn huge_pages(host: &Host, given: &Given, target: &str) -> Option<String> {
    let node = given.members.iter().find_map(|member| member.numa_node).unwrap_or(0);
    let dir = format!("{NODES}/node{node}/hugepages");
    let (kib, free) = host.capture.names_in(&dir).find_map(|name| {
        let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let free: u64 = host.capture.attribute(&format!("{dir}/{name}/free_hugepages"))?.parse().ok()?;
        (free > 0).then_some((kib, free))
    })?;
    let mib = kib / 1024;
    let how = match target {
        "libvirt" => format!("<memoryBacking><hugepages><page size='{kib}' unit='KiB'/></hugepages></memoryBacking>"),
        "qemu" => "-mem-path /dev/hugepages -mem-prealloc".to_owned(),
        "proxmox" => format!("`hugepages: {mib}`"),
        // Kubernetes calls the resource after it, and knows a whole GiB by no other name.
        "kubevirt" if mib % 1024 == 0 => format!("`memory.hugepages.pageSize: {}Gi` of the domain", mib / 1024),
        "kubevirt" => format!("`memory.hugepages.pageSize: {mib}Mi` of the domain"),
        _ => return None,
    };
    Some(format!("node {node} has {free} free huge pages of {mib} MiB, which the guest can use: {how}"))
}

/// Directories of ROMs that libvirt's AppArmor profile lets every guest read (`/etc/apparmor.d/abstractions/libvirt-qemu`).
const READABLE: &str = "/usr/share/vgabios/";

fn rom_access(host: &Host, target: &str, options: &Options) -> Option<String> {
    let rom = options.rom.as_ref().filter(|rom| target == "libvirt" && !rom.path.starts_with("/usr/share/"))?;
    let is = |path: &str, value: &str| host.capture.attribute(path) == Some(value);
    let name = if is("/sys/module/apparmor/parameters/enabled", "Y") {
        "AppArmor"
    } else if is("/sys/fs/selinux/enforce", "1") {
        "SELinux"
    } else {
        return None;
    };
    let label = if name == "SELinux" { format!(", then `sudo restorecon -Rv {READABLE}`") } else { String::new() };
    Some(format!(
        "{name} keeps a guest of libvirt from reading {}: `sudo install -D -m 644 -t {READABLE} {}`{label}, and name that file",
        rom.path,
        quoted(&rom.path)
    ))
}
