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
        for slave in reader.host.list(&format!("{path}/slaves")).unwrap_or_default() {
            reader.probe(&format!("{path}/slaves/{slave}"));
        }
    }
    for name in reader.list("/sys/class/net") {
        let path = format!("/sys/class/net/{name}");
        let link = reader.host.read_link(&path);
        reader.capture.insert(path, link);
    }
    reader.text("/proc/net/route");
}
