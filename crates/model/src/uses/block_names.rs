//! Names of block devices: from numbers, paths and tags to what the kernel calls them.

use crate::capture::Capture;
use std::collections::HashMap;

/// Where block devices stand, each a link into `/sys/devices`.
pub const BLOCK: &str = "/sys/class/block";

/// The block devices of a host by all that names them. It is made once and asked often: a host may have thousands, each mounted.
pub struct BlockNames<'a> {
    /// What they are read from.
    pub(super) capture: &'a Capture,
    /// By byte.
    all: Vec<&'a str>,
    numbers: HashMap<&'a str, &'a str>,
    /// By property of udev's, and its value as it is compared.
    properties: HashMap<(&'static str, String), Vec<&'a str>>,
    mapped: HashMap<&'a str, &'a str>,
    /// Mapped devices whose names in /dev/mapper were not seen.
    unlabelled: Vec<&'a str>,
    has_database: bool,
}

/// The tags of fstab(5) that udev tells, and their properties.
const TAGS: [(&str, &str); 4] =
    [("UUID", "ID_FS_UUID"), ("LABEL", "ID_FS_LABEL"), ("PARTUUID", "ID_PART_ENTRY_UUID"), ("PARTLABEL", "ID_PART_ENTRY_NAME")];

impl<'a> BlockNames<'a> {
    /// Those of a capture.
    pub fn of(capture: &'a Capture) -> Self {
        let all: Vec<&str> = capture.names_in(BLOCK).collect();
        let (numbers, properties, mapped) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut names = Self { capture, all, numbers, properties, mapped, unlabelled: Vec::new(), has_database: false };
        for name in names.all.clone() {
            names.add_number(name);
            names.add_label(name);
        }
        names
    }

    fn add_number(&mut self, name: &'a str) {
        let Some(number) = self.capture.attribute(&format!("{BLOCK}/{name}/dev")) else { return };
        self.numbers.entry(number).or_insert(name);
        let database = format!("/run/udev/data/b{number}");
        self.has_database |= self.capture.file(&database).is_some();
        let text = self.capture.attribute(&database).unwrap_or_default();
        for (tag, key) in TAGS {
            if let Some(value) = value(text, key) {
                self.properties.entry((key, compared(tag, value))).or_default().push(name);
            }
        }
    }

    fn add_label(&mut self, name: &'a str) {
        if name.starts_with("dm-") {
            match self.capture.attribute(&format!("{BLOCK}/{name}/dm/name")) {
                Some(label) => _ = self.mapped.entry(label).or_insert(name),
                None => self.unlabelled.push(name),
            }
        }
    }

    /// All of them, by byte.
    pub fn all(&self) -> &[&'a str] {
        &self.all
    }

    /// Those whose names begin so.
    pub fn starting_with<'s>(&'s self, start: &'s str) -> impl Iterator<Item = &'a str> + use<'a, 's> {
        let first = self.all.partition_point(|name| *name < start);
        self.all.get(first..).unwrap_or_default().iter().copied().take_while(move |name| name.starts_with(start))
    }

    /// The block device of a number `major:minor`. File systems such as btrfs show a number that no block device has.
    pub fn by_number(&self, number: &str) -> Option<String> {
        self.numbers.get(number).filter(|_| !number.starts_with("0:")).map(|name| (*name).to_owned())
    }

    /// Whether udev told anything of any block device.
    pub fn has_database(&self) -> bool {
        self.has_database
    }

    /// The block devices that a source of mount(8) or fstab(5) may mean: a path below `/dev`, or `UUID=…`, `LABEL=…`, `PARTUUID=…`, `PARTLABEL=…`.
    pub fn by_source(&self, source: &str) -> Vec<String> {
        if let Some((tag, value)) = source.split_once('=') {
            return self.by_tag(&tag.to_ascii_uppercase(), value);
        }
        if let Some(last) = self.capture.link(source).and_then(|target| target.rsplit('/').next()) {
            return vec![last.to_owned()];
        }
        let Some(name) = source.strip_prefix("/dev/") else { return Vec::new() };
        // `cciss/c0d0p1` is `cciss!c0d0p1` in /sys (lib/kobject.c `kobject_set_name_vargs`).
        let own = name.replace('/', "!");
        if self.capture.link(&format!("{BLOCK}/{own}")).is_some() {
            return vec![own];
        }
        match name.split('/').collect::<Vec<_>>().as_slice() {
            ["root"] => self.by_root_parameter(),
            [name] => vec![(*name).to_owned()],
            ["mapper", mapped] => self.by_mapped_name(mapped),
            ["disk", directory, value] => {
                self.by_tag(&directory.trim_start_matches("by-").to_ascii_uppercase(), &value.replace("\\x20", " "))
            }
            [group, volume] => self.by_mapped_name(&format!("{}-{}", group.replace('-', "--"), volume.replace('-', "--"))),
            _ => Vec::new(),
        }
    }

    /// The kernel's own name for the device of `root=`, where no initramfs gave it another one.
    fn by_root_parameter(&self) -> Vec<String> {
        let line = self.capture.attribute("/proc/cmdline").unwrap_or_default();
        let root = line.split_whitespace().rev().find_map(|word| word.strip_prefix("root=")).unwrap_or_default();
        if root == "/dev/root" { Vec::new() } else { self.by_source(root) }
    }

    /// The mapped device of a name, or every one whose name was not seen.
    fn by_mapped_name(&self, mapped: &str) -> Vec<String> {
        match self.mapped.get(mapped) {
            Some(name) => vec![(*name).to_owned()],
            None => self.unlabelled.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn by_tag(&self, tag: &str, value: &str) -> Vec<String> {
        if tag == "ID" && self.capture.link(&by_id(value)).is_some() {
            return self.by_source(&by_id(value));
        }
        let Some((tag, key)) = TAGS.into_iter().find(|(name, _)| *name == tag) else { return Vec::new() };
        let found = self.properties.get(&(key, compared(tag, value)));
        found.into_iter().flatten().map(|name| (*name).to_owned()).collect()
    }
}

/// A value of a tag in the form in which two that mean the same are equal.
fn compared(tag: &str, value: &str) -> String {
    if tag.ends_with("UUID") { value.to_ascii_lowercase() } else { plain(value) }
}

/// Where udev puts a disk of `ID=…` (mount(8)).
pub fn by_id(value: &str) -> String {
    format!("/dev/disk/by-id/{value}")
}

/// True for names that are the same but for blanks, which udev writes as `_` or `\\x20` (systemd: src/udev/udev-builtin-blkid.c).
pub fn alike(one: &str, other: &str) -> bool {
    plain(one) == plain(other)
}

fn plain(text: &str) -> String {
    text.replace("\\x20", "_").replace(' ', "_")
}

/// A property of a block device in udev's database (systemd: `src/libsystemd/sd-device/device-private.c`, lines `E:NAME=VALUE`).
pub fn property<'a>(capture: &'a Capture, name: &str, key: &str) -> Option<&'a str> {
    let number = capture.attribute(&format!("{BLOCK}/{name}/dev"))?;
    value(capture.attribute(&format!("/run/udev/data/b{number}"))?, key)
}

fn value<'a>(database: &'a str, key: &str) -> Option<&'a str> {
    database.lines().find_map(|line| line.strip_prefix("E:")?.strip_prefix(key)?.strip_prefix('='))
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
        let names = BlockNames::of(&capture);
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
            assert_eq!(names.by_source(source), [name], "{source}");
        }
        for source in ["tmpfs", "UUID=", "LABEL=x", "/dev/mapper/none", "LABEL=THE DISK", "/dev/a/b/c/d", "x=y"] {
            assert_eq!(names.by_source(source), Vec::<String>::new(), "{source}");
        }
        assert_eq!((names.by_number("8:1").as_deref(), names.by_number("0:1")), (Some("sda1"), None));
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
