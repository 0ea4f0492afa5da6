//! What the host lives on: mounts, swap, and the chain from block devices to the functions that carry them.

use super::Reader;

pub(super) fn observe(reader: &mut Reader<'_>) {
    reader.text("/proc/self/mountinfo");
    reader.text("/proc/swaps");
    for name in reader.list("/sys/class/block") {
        let path = format!("/sys/class/block/{name}");
        let link = reader.host.read_link(&path);
        reader.capture.insert(path.as_str(), link);
        reader.text(&format!("{path}/dev"));
        if name.starts_with("dm-") {
            reader.text(&format!("{path}/dm/name"));
        }
        for slave in reader.host.list(&format!("{path}/slaves")).unwrap_or_default() {
            reader.probe(&format!("{path}/slaves/{slave}"));
        }
    }
    // Each btrfs by its UUID; its members are links to block devices.
    for uuid in reader.list("/sys/fs/btrfs") {
        reader.names(&format!("/sys/fs/btrfs/{uuid}/devices"));
    }
    for name in reader.list("/sys/class/net") {
        let path = format!("/sys/class/net/{name}");
        let link = reader.host.read_link(&path);
        reader.capture.insert(path, link);
    }
    reader.text("/proc/net/route");
}
