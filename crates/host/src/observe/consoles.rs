//! Where people sit: keyboards, consoles, screens.

use super::Reader;
use cede_model::uses::consoles::{ACTIVE, DRM, active};
use cede_model::uses::keyboards::{BLUETOOTH, INPUT};

pub(super) fn observe(reader: &mut Reader<'_>) {
    reader.text(INPUT);
    // `hci0`; connections are `hci0:256`.
    for name in reader.list(BLUETOOTH).iter().filter(|name| !name.contains(':')) {
        reader.link(&format!("{BLUETOOTH}/{name}"));
    }
    reader.text(ACTIVE);
    let consoles: Vec<String> = active(reader.capture).into_iter().map(|name| format!("/sys/class/tty/{name}")).collect();
    consoles.iter().for_each(|path| reader.link(path));
    // `card0-HDMI-A-1`; reading the status asks no screen (drivers/gpu/drm/drm_sysfs.c `status_show`).
    for name in reader.list(DRM).iter().filter(|name| name.contains('-')) {
        reader.link(&format!("{DRM}/{name}"));
        reader.text(&format!("{DRM}/{name}/status"));
    }
}
