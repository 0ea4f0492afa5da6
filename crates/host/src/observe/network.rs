//! What the host reaches others by.

use super::Reader;

pub(super) fn observe(reader: &mut Reader<'_>) {
    for name in reader.list("/sys/class/net") {
        reader.link(&format!("/sys/class/net/{name}"));
    }
    reader.text("/proc/net/route");
}
