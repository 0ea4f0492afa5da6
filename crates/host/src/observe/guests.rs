//! What a guest that takes a device needs to be told of: VFIO's own devices, memory nodes, and who guards files.

use super::Reader;
use cede_plan::{hook, persist};

const NODES: &str = "/sys/devices/system/node";
const VFIO_DEVICES: &str = "/sys/class/vfio-dev";

pub(super) fn observe(reader: &mut Reader<'_>) {
    reader.probe("/dev/iommu");
    reader.probe("/dev/vfio/vfio");
    for name in reader.list(VFIO_DEVICES) {
        let path = format!("{VFIO_DEVICES}/{name}");
        let link = reader.host.read_link(&path);
        reader.capture.insert(path, link);
    }
    for name in reader.list(NODES).iter().filter(|name| name.strip_prefix("node").is_some_and(|rest| rest.parse::<u32>().is_ok())) {
        reader.text(&format!("{NODES}/{name}/cpulist"));
        let pages = format!("{NODES}/{name}/hugepages");
        for size in reader.list(&pages) {
            reader.text(&format!("{pages}/{size}/free_hugepages"));
        }
    }
    for name in reader.host.list(hook::DIRECTORY).unwrap_or_default().iter().filter(|name| name.starts_with(hook::PREFIX)) {
        reader.text(&format!("{}/{name}", hook::DIRECTORY));
    }
    for (directory, prefix) in [(persist::UNITS, persist::PREFIX.to_owned()), (persist::TARGET, format!("50-{}", persist::PREFIX))] {
        for name in reader.host.list(directory).unwrap_or_default().iter().filter(|name| name.starts_with(&prefix)) {
            reader.text(&format!("{directory}/{name}"));
        }
    }
    reader.text("/sys/module/apparmor/parameters/enabled");
    reader.text("/sys/fs/selinux/enforce");
}
