//! Opens initramfs images and records what matters of them in a capture, below `IMAGE!/`.

use crate::machine::Machine;
use cede_model::initramfs_image::{EntryKind, Limits, read_image};
use cede_model::{Capture, Entry};

/// Files of an image that say which modules are loaded early, and with which options.
const KEPT: [&str; 8] = [
    "etc/modprobe.d/",
    "usr/lib/modprobe.d/",
    "lib/modprobe.d/",
    "etc/modules-load.d/",
    "usr/lib/modules-load.d/",
    "conf/modules",
    "config",
    "etc/initrd-release",
];

fn is_kept(path: &str) -> bool {
    KEPT.iter().any(|kept| if kept.ends_with('/') { path.starts_with(kept) } else { path == *kept })
}

/// Opens the image and records its module files and the files that are kept.
pub fn open(machine: &dyn Machine, path: &str, capture: &mut Capture) {
    let root = format!("{path}!");
    let bytes = match machine.image(path) {
        Ok(bytes) => bytes,
        Err(entry) => {
            capture.insert(root, entry);
            return;
        }
    };
    match read_image(&bytes, &Limits::default(), is_kept) {
        Err(error) => capture.insert(root, Entry::Unreadable(error.to_string())),
        Ok(image) => {
            capture.insert(root.as_str(), Entry::Dir);
            for (name, entry) in image.entries.iter().filter(|(_, entry)| !entry.orphan) {
                let inside = format!("{root}/{name}");
                match (&entry.kind, image.file(name)) {
                    (EntryKind::File, Some(data)) if is_kept(name) => capture.insert(inside, Entry::File(data.to_vec())),
                    (EntryKind::File, _) if name.contains(".ko") && entry.size > 0 => capture.insert(inside, Entry::Present(entry.size)),
                    _ => {}
                }
            }
        }
    }
}
