//! Installed kernels: what depmod wrote for each, and how it was built.

use super::{Reader, Scope};

/// The running kernel's aliases for `devices`; every kernel's tables for the rest.
pub(super) fn observe(reader: &mut Reader<'_>, scope: Scope) {
    let running = reader.capture.attribute("/proc/sys/kernel/osrelease").map(str::to_owned);
    let Some((base, releases)) =
        ["/lib/modules", "/usr/lib/modules"].iter().map(|base| (base, reader.list(base))).find(|(_, list)| !list.is_empty())
    else {
        return;
    };
    let only_running = scope == Scope::Devices && running.as_ref().is_some_and(|release| releases.contains(release));
    for release in releases {
        if only_running && Some(&release) != running.as_ref() {
            continue;
        }
        let dir = format!("{base}/{release}");
        for table in ["modules.alias", "modules.builtin.modinfo"] {
            reader.text(&format!("{dir}/{table}"));
        }
        if scope.is_full() {
            for table in ["modules.dep", "modules.builtin", "modules.softdep", "config", "pkgbase"] {
                reader.text(&format!("{dir}/{table}"));
            }
            reader.text(&format!("/boot/config-{release}"));
        }
    }
}
