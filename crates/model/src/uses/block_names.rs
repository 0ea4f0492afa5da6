//! Names of block devices: from numbers, paths and tags to what the kernel calls them.

use crate::capture::Capture;

/// Where block devices stand, each a link into `/sys/devices`.
pub const BLOCK: &str = "/sys/class/block";

/// The block device of a number `major:minor`. File systems such as btrfs show a number that no block device has.
pub fn by_number(capture: &Capture, number: &str) -> Option<String> {
    if number.starts_with("0:") {
        return None;
    }
    let has = |name: &&str| capture.attribute(&format!("{BLOCK}/{name}/dev")) == Some(number);
    capture.names_in(BLOCK).find(has).map(str::to_owned)
}

/// The block devices that a source of mount(8) or fstab(5) may mean: a path below `/dev`, or `UUID=…`, `LABEL=…`, `PARTUUID=…`, `PARTLABEL=…`.
pub fn by_source(capture: &Capture, source: &str) -> Vec<String> {
    if let Some((tag, value)) = source.split_once('=') {
        return by_tag(capture, &tag.to_ascii_uppercase(), value);
    }
    if let Some(last) = capture.link(source).and_then(|target| target.rsplit('/').next()) {
        return vec![last.to_owned()];
    }
    let Some(name) = source.strip_prefix("/dev/") else { return Vec::new() };
    // `cciss/c0d0p1` is `cciss!c0d0p1` in /sys (lib/kobject.c `kobject_set_name_vargs`).
    let own = name.replace('/', "!");
    if capture.link(&format!("{BLOCK}/{own}")).is_some() {
        return vec![own];
    }
    match name.split('/').collect::<Vec<_>>().as_slice() {
        ["root"] => by_root_parameter(capture),
        [name] => vec![(*name).to_owned()],
        ["mapper", mapped] => by_mapped_name(capture, mapped),
        ["disk", directory, value] => {
            by_tag(capture, &directory.trim_start_matches("by-").to_ascii_uppercase(), &value.replace("\\x20", " "))
        }
        [group, volume] => by_mapped_name(capture, &format!("{}-{}", group.replace('-', "--"), volume.replace('-', "--"))),
        _ => Vec::new(),
    }
}

/// The kernel's own name for the device of `root=`, where no initramfs gave it another one.
fn by_root_parameter(capture: &Capture) -> Vec<String> {
    let line = capture.attribute("/proc/cmdline").unwrap_or_default();
    let root = line.split_whitespace().rev().find_map(|word| word.strip_prefix("root=")).unwrap_or_default();
    if root == "/dev/root" { Vec::new() } else { by_source(capture, root) }
}

/// The mapped device of a name, or every one whose name was not seen.
fn by_mapped_name(capture: &Capture, mapped: &str) -> Vec<String> {
    let all: Vec<&str> = capture.names_in(BLOCK).filter(|name| name.starts_with("dm-")).collect();
    let label = |name: &str| capture.attribute(&format!("{BLOCK}/{name}/dm/name"));
    match all.iter().find(|name| label(name) == Some(mapped)) {
        Some(name) => vec![(*name).to_owned()],
        None => all.into_iter().filter(|name| label(name).is_none()).map(str::to_owned).collect(),
    }
}

fn by_tag(capture: &Capture, tag: &str, value: &str) -> Vec<String> {
    let key = match tag {
        "ID" if capture.link(&by_id(value)).is_some() => return by_source(capture, &by_id(value)),
        "UUID" => "ID_FS_UUID",
        "LABEL" => "ID_FS_LABEL",
        "PARTUUID" => "ID_PART_ENTRY_UUID",
        "PARTLABEL" => "ID_PART_ENTRY_NAME",
        _ => return Vec::new(),
    };
    let same = |found: &str| if tag.ends_with("UUID") { found.eq_ignore_ascii_case(value) } else { alike(found, value) };
    let has = |name: &&str| property(capture, name, key).is_some_and(same);
    capture.names_in(BLOCK).filter(has).map(str::to_owned).collect()
}

/// Where udev puts a disk of `ID=…` (mount(8)).
pub fn by_id(value: &str) -> String {
    format!("/dev/disk/by-id/{value}")
}

/// True for names that are the same but for blanks, which udev writes as `_` or `\\x20` (systemd: src/udev/udev-builtin-blkid.c).
pub fn alike(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.replace("\\x20", "_").replace(' ', "_");
    plain(one) == plain(other)
}

/// Whether udev told anything of any block device.
pub fn has_database(capture: &Capture) -> bool {
    let number = |name: &str| capture.attribute(&format!("{BLOCK}/{name}/dev")).map(str::to_owned);
    capture.names_in(BLOCK).filter_map(number).any(|number| capture.file(&format!("/run/udev/data/b{number}")).is_some())
}

/// A property of a block device in udev's database (systemd: `src/libsystemd/sd-device/device-private.c`, lines `E:NAME=VALUE`).
pub fn property<'a>(capture: &'a Capture, name: &str, key: &str) -> Option<&'a str> {
    let number = capture.attribute(&format!("{BLOCK}/{name}/dev"))?;
    let text = capture.attribute(&format!("/run/udev/data/b{number}"))?;
    text.lines().find_map(|line| line.strip_prefix("E:")?.strip_prefix(key)?.strip_prefix('='))
}

/// `group/volume` from the name of a logical volume's mapping, in which dashes of the two are doubled (lvm2 `dm_build_dm_name`).
pub fn volume(mapped: &str) -> String {
    let bytes = mapped.as_bytes();
    let dash = |at: usize| bytes.get(at) == Some(&b'-');
    let mut at = 0;
    while at < bytes.len() {
        if dash(at) && dash(at + 1) {
            at += 2;
        } else if dash(at) {
            let (group, volume) = mapped.split_at(at);
            return format!("{}/{}", group.replace("--", "-"), volume.get(1..).unwrap_or_default().replace("--", "-"));
        } else {
            at += 1;
        }
    }
    mapped.replace("--", "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;

    fn host() -> Capture {
        let mut capture = Capture::new();
        let mut text = |path: &str, text: &str| capture.insert(path, Entry::File(format!("{text}\n").into_bytes()));
        text("/sys/class/block/sda1/dev", "8:1");
        text("/run/udev/data/b8:1", "E:ID_FS_UUID=0A1B-2C3D\nE:ID_FS_LABEL=the disk\nE:ID_PART_ENTRY_UUID=aaaa-bb");
        text("/sys/class/block/sdb1/dev", "8:17");
        text("/run/udev/data/b8:17", "E:ID_FS_LABEL=two_words\nE:ID_PART_ENTRY_NAME=my\\x20part");
        text("/sys/class/block/dm-0/dev", "254:0");
        text("/sys/class/block/dm-0/dm/name", "my--vg-root");
        text("/proc/cmdline", "root=/dev/nvme0n1p9 root=PARTUUID=AAAA-BB ro");
        capture.insert("/dev/disk/by-id/ata-x", Entry::Link("../../sdb1".into()));
        capture.insert("/dev/other/name", Entry::Link("../dm-0".into()));
        capture
    }

    #[test]
    fn every_way_of_naming_leads_to_the_device() {
        let capture = host();
        for (source, name) in [
            ("/dev/sda1", "sda1"),
            ("UUID=0a1b-2c3d", "sda1"),
            ("LABEL=the disk", "sda1"),
            ("PARTUUID=aaaa-BB", "sda1"),
            ("/dev/disk/by-label/the\\x20disk", "sda1"),
            ("/dev/disk/by-uuid/0A1B-2C3D", "sda1"),
            ("LABEL=two words", "sdb1"),
            ("PARTLABEL=my part", "sdb1"),
            ("ID=ata-x", "sdb1"),
            ("/dev/root", "sda1"),
            ("/dev/mapper/my--vg-root", "dm-0"),
            ("/dev/my-vg/root", "dm-0"),
            ("/dev/other/name", "dm-0"),
        ] {
            assert_eq!(by_source(&capture, source), [name], "{source}");
        }
        for source in ["tmpfs", "UUID=", "LABEL=x", "/dev/mapper/none", "LABEL=THE DISK", "/dev/a/b/c/d", "x=y"] {
            assert_eq!(by_source(&capture, source), Vec::<String>::new(), "{source}");
        }
        assert_eq!((by_number(&capture, "8:1").as_deref(), by_number(&capture, "0:1")), (Some("sda1"), None));
    }

    #[test]
    fn names_of_volumes_are_those_that_lvm_shows() {
        let cases =
            [("vg0-root", "vg0/root"), ("my--vg-swap_1", "my-vg/swap_1"), ("a--b-c--d", "a-b/c-d"), ("plain", "plain"), ("a---b", "a-/b")];
        for (mapped, shown) in cases {
            assert_eq!(volume(mapped), shown);
        }
    }
}
