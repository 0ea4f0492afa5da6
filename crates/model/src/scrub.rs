//! Takes out of a capture what identifies a machine or a person, and what is too large and not needed. Answers stay the same.

use crate::capture::{Capture, Entry};
use crate::kernel::{ModuleAliases, installed::module_of_path};
use crate::pci::names::PCI_IDS_PATHS;
use crate::pci::{ConfigSpace, PciDevice, SerialNumber, capability::SERIAL_NUMBER, device};
use crate::scrub_uses::{rename, scrub_uses};
use crate::uses::block_names::{BlockNames, property};
use crate::uses::firmware_boot;
use std::collections::{BTreeMap, BTreeSet};

/// Scrubs a capture; returns what was scrubbed, one line each, which is also noted in it.
pub fn scrub(capture: &mut Capture) -> Vec<String> {
    let mut said = Vec::new();
    let mut serials = MadeUp::default();
    serial_numbers(capture, &mut serials);
    let uses = scrub_uses(capture);
    let started = partition_name(capture, firmware_boot::partition(capture));
    let loaded = partition_name(capture, firmware_boot::loader_partition(capture));
    let (macs, ids) = identifiers(capture, &mut serials);
    rewrite_boot_option(capture, started.as_deref());
    rewrite_loader(capture, loaded.as_deref());
    if serials.count() > 0 {
        said.push(format!("{} device serial numbers, each replaced by a made-up one", serials.count()));
    }
    said.extend(uses);
    if macs > 0 {
        said.push(format!("{macs} MAC addresses"));
    }
    if ids > 0 {
        said.push(format!("{ids} UUIDs and machine ids, each replaced by a made-up one"));
    }
    let names = host_names(capture);
    if names > 0 {
        said.push(format!("{names} mentions of the host's name"));
    }
    if reduce_fstab(capture) {
        said.push("/etc/fstab, of which local disks stay".to_owned());
    }
    reduce(capture);
    capture.notes.extend(said.iter().map(|line| format!("scrubbed: {line}")));
    said
}

/// Serial numbers and what stands for them: numbers from 1, so that the same card is still the same wherever it is spoken of.
#[derive(Default)]
struct MadeUp(BTreeMap<SerialNumber, u64>);

impl MadeUp {
    fn stand_in(&mut self, serial: SerialNumber) -> u64 {
        let next = self.count() + 1;
        *self.0.entry(serial).or_insert(next)
    }

    fn count(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }
}

/// The kernel's name for the partition of a `PARTUUID`.
fn partition_name(capture: &Capture, uuid: Option<String>) -> Option<String> {
    BlockNames::of(capture).by_source(&format!("PARTUUID={}", uuid?)).pop()
}

/// The loader's variable speaks of the partition as the rest of the capture does now.
fn rewrite_loader(capture: &mut Capture, loaded: Option<&str>) {
    match loaded.and_then(|name| property(capture, name, "ID_PART_ENTRY_UUID")).map(str::to_owned) {
        Some(uuid) => firmware_boot::rewrite_loader(capture, &uuid),
        None => _ = capture.remove(firmware_boot::LOADER),
    }
}

/// The boot option speaks of the partition as the rest of the capture does now, and of nothing else.
fn rewrite_boot_option(capture: &mut Capture, started: Option<&str>) {
    let uuid = started.and_then(|name| property(capture, name, "ID_PART_ENTRY_UUID")).map(str::to_owned);
    match (uuid, firmware_boot::option(capture)) {
        (Some(uuid), Some(_)) => firmware_boot::rewrite(capture, &uuid),
        (None, Some(path)) => _ = capture.remove(&path),
        (_, None) => {}
    }
}

/// Those of configuration space: eight bytes after the capability's header.
fn serial_numbers(capture: &mut Capture, serials: &mut MadeUp) {
    let paths: Vec<String> =
        capture.below(device::PCI_DEVICES).map(|(path, _)| path).filter(|path| path.ends_with("/config")).map(str::to_owned).collect();
    for path in paths {
        let Some(mut bytes) = capture.file(&path).map(<[u8]>::to_vec) else { continue };
        let space = ConfigSpace::from_sysfs(&bytes);
        let Some(serial) = space.serial_number().known() else { continue };
        let Some(at) = space.extended_capability(SERIAL_NUMBER).known().map(|capability| usize::from(capability.offset)) else { continue };
        if let Some(register) = bytes.get_mut(at + 4..at + 12) {
            register.copy_from_slice(&serials.stand_in(serial).to_le_bytes());
        }
        capture.insert(path, Entry::File(bytes));
    }
}

/// MAC addresses become zeros; a UUID, machine id or serial number becomes the same made-up one wherever it stands, in names too, so that what belongs
/// together still does.
fn identifiers(capture: &mut Capture, serials: &mut MadeUp) -> (usize, usize) {
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    let mut macs = BTreeSet::new();
    let mut clean = |text: &str| {
        replace_words(text, |word| {
            let count = ids.len() + 1;
            if is_uuid(word) {
                Some(ids.entry(word.to_lowercase()).or_insert_with(|| format!("00000000-0000-4000-a000-{count:012}")).clone())
            } else if is_machine_id(word) {
                Some(ids.entry(word.to_lowercase()).or_insert_with(|| format!("{count:032}")).clone())
            } else if let Ok(serial) = word.parse() {
                SerialNumber::from_register(serials.stand_in(serial)).map(|made_up| made_up.to_string())
            } else {
                is_mac(word).then(|| "00:00:00:00:00:00".to_owned()).inspect(|_| _ = macs.insert(word.to_owned()))
            }
        })
    };
    let mut out = Vec::new();
    for (path, entry) in capture.entries() {
        let is_table = path.starts_with("/lib/modules") || path.starts_with("/usr/share/") || path.starts_with(device::PCI_DEVICES);
        let entry = match entry {
            Entry::File(bytes) if !is_table => {
                std::str::from_utf8(bytes).map_or_else(|_| entry.clone(), |text| Entry::File(clean(text).into_bytes()))
            }
            Entry::Link(target) => Entry::Link(clean(target)),
            other => other.clone(),
        };
        out.push((clean(path), entry));
    }
    let notes = std::mem::take(&mut capture.notes);
    *capture = Capture::new();
    capture.extend(out);
    capture.notes = notes;
    (macs.len(), ids.len())
}

/// Calls `f` with each run of hexadecimal digits, colons and dashes, and puts its answer in the place of the run.
fn replace_words(text: &str, mut f: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let member = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '-';
        let skip = rest.find(member).unwrap_or(rest.len());
        let (before, tail) = rest.split_at(skip);
        let end = tail.find(|c| !member(c)).unwrap_or(tail.len());
        let (word, after) = tail.split_at(end);
        out.push_str(before);
        match (f(word), word.split_once('-')) {
            (Some(new), _) => out.push_str(&new),
            // `MACHINEID-6.1.0` is one run with what follows.
            (None, Some((head, tail))) if is_machine_id(head) => {
                out.push_str(&f(head).unwrap_or_else(|| head.to_owned()));
                out.push('-');
                out.push_str(tail);
            }
            (None, _) => out.push_str(word),
        }
        rest = after;
    }
    out
}

fn has_groups(word: &str, separator: char, lengths: &[usize]) -> bool {
    let groups: Vec<&str> = word.split(separator).collect();
    groups.len() == lengths.len()
        && groups.iter().zip(lengths).all(|(group, length)| group.len() == *length && group.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_uuid(word: &str) -> bool {
    has_groups(word, '-', &[8, 4, 4, 4, 12])
}

/// 32 hexadecimal digits (machine-id(5)); as part of a name they are followed by `-` and more.
fn is_machine_id(word: &str) -> bool {
    word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_mac(word: &str) -> bool {
    has_groups(word, ':', &[2; 6]) && word != "00:00:00:00:00:00"
}

fn host_names(capture: &mut Capture) -> usize {
    let Some(name) = capture.attribute("/proc/sys/kernel/hostname").map(str::to_owned) else { return 0 };
    capture.insert("/proc/sys/kernel/hostname", Entry::File(b"host\n".to_vec()));
    if name.len() < 4 || name == "localhost" {
        return 1;
    }
    // Volume groups are named after the host by some installers.
    rename(capture, &BTreeMap::from([(name.clone(), "host".to_owned()), (name.replace('-', "--"), "host".to_owned())]));
    let mut count = 1;
    let paths: Vec<String> = capture
        .entries()
        .filter(|(path, entry)| {
            matches!(entry, Entry::File(_)) && (path.starts_with("/etc/") || path.starts_with("/proc/") || path.starts_with("/boot/"))
        })
        .map(|(path, _)| path.to_owned())
        .collect();
    for path in paths {
        let Some(Ok(text)) = capture.file(&path).map(|bytes| std::str::from_utf8(bytes).map(str::to_owned)) else { continue };
        if text.contains(&name) {
            count += text.matches(&name).count();
            capture.insert(path, Entry::File(text.replace(&name, "host").into_bytes()));
        }
    }
    count
}

/// Lines of fstab(5) name servers, users and passwords; those of the places that a host starts from stay, and of other local disks what the
/// start does with them.
fn reduce_fstab(capture: &mut Capture) -> bool {
    const PLACES: [&str; 4] = ["/", "/boot", "/efi", "/boot/efi"];
    let Some(bytes) = capture.file("/etc/fstab") else { return false };
    let text = String::from_utf8_lossy(bytes).into_owned();
    let stays = |line: &&str| {
        let mut words = line.split_whitespace();
        let place = words.nth(1).map(|place| if place == "/" { place } else { place.trim_end_matches('/') });
        !line.trim_start().starts_with('#') && place.is_some_and(|place| PLACES.contains(&place))
    };
    let kept: String = text.lines().filter_map(|line| if stays(&line) { Some(format!("{line}\n")) } else { local(line) }).collect();
    let differs = kept != text;
    capture.insert("/etc/fstab", Entry::File(kept.into_bytes()));
    differs
}

/// A line of a local disk with the options that say when it is mounted.
fn local(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [source, place, kind, options, ..] = words.as_slice() else { return None };
    let is_local = ["/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="].iter().any(|start| source.starts_with(start));
    let when: Vec<&str> = options.split(',').filter(|option| matches!(*option, "noauto" | "nofail" | "x-systemd.automount")).collect();
    let when = if when.is_empty() { "defaults".to_owned() } else { when.join(",") };
    is_local.then(|| format!("{source} {place} {kind} {when} 0 0\n"))
}

/// Of tables of a megabyte and more, keeps the lines that this host's functions need.
fn reduce(capture: &mut Capture) {
    let devices = device::read_devices(capture);
    reduce_names(capture, &devices);
    let tables: Vec<String> = capture.entries().map(|(path, _)| path.to_owned()).filter(|path| path.contains("/modules/")).collect();
    let mut kept: BTreeSet<String> =
        ["vfio", "vfio_pci", "vfio_pci_core", "vfio_iommu_type1", "vfio_virqfd", "irqbypass", "pci_stub"].map(str::to_owned).into();
    for path in tables.iter().filter(|path| path.ends_with("/modules.alias")) {
        let bytes = capture.file(path).map(<[u8]>::to_vec).unwrap_or_default();
        let used = used_aliases(&bytes, b"alias pci:", b'\n', &devices, &mut kept);
        capture.insert(path.as_str(), Entry::File(used));
    }
    for path in tables.iter().filter(|path| path.ends_with("/modules.builtin.modinfo")) {
        let bytes = capture.file(path).map(<[u8]>::to_vec).unwrap_or_default();
        let used = used_aliases(&bytes, b".alias=pci:", 0, &devices, &mut kept);
        capture.insert(path.as_str(), Entry::File(used));
    }
    for path in tables.iter().filter(|path| path.ends_with("/modules.dep")) {
        let text = String::from_utf8_lossy(capture.file(path).unwrap_or_default()).into_owned();
        let needed = |line: &&str| {
            line.split(':')
                .next()
                .and_then(module_of_path)
                .is_some_and(|module| kept.contains(&module) || devices.iter().any(|d| d.driver_name() == Some(module.as_str())))
        };
        let lines: String = text.lines().filter(needed).map(|line| format!("{line}\n")).collect();
        capture.insert(path.as_str(), Entry::File(lines.into_bytes()));
    }
}

/// The records of a table that match one of the functions; the modules they name are remembered.
fn used_aliases(bytes: &[u8], mark: &[u8], separator: u8, devices: &[PciDevice], kept: &mut BTreeSet<String>) -> Vec<u8> {
    let mut out = Vec::new();
    for record in bytes.split(|byte| *byte == separator) {
        if !record.windows(mark.len()).any(|part| part == mark) {
            continue;
        }
        let one = if separator == 0 { ModuleAliases::read(&[], record) } else { ModuleAliases::read(record, &[]) };
        let modules: BTreeSet<&str> =
            devices.iter().filter_map(|device| device.modalias.as_deref()).flat_map(|modalias| one.matching(modalias)).collect();
        if !modules.is_empty() {
            kept.extend(modules.into_iter().map(crate::kernel::module_name));
            out.extend_from_slice(record);
            out.push(separator);
        }
    }
    out
}

fn reduce_names(capture: &mut Capture, devices: &[PciDevice]) {
    let Some(path) = PCI_IDS_PATHS.iter().find(|path| capture.file(path).is_some()) else { return };
    let text = String::from_utf8_lossy(capture.file(path).unwrap_or_default()).into_owned();
    let vendors: BTreeSet<String> = devices.iter().filter_map(|d| d.id).map(|id| format!("{:04x}", id.vendor)).collect();
    let ids: BTreeSet<String> = devices.iter().filter_map(|d| d.id).map(|id| format!("\t{:04x}", id.device)).collect();
    let mut in_wanted = false;
    let mut in_classes = false;
    let mut keep = |line: &&str| {
        if !line.starts_with('\t') {
            in_classes = line.starts_with("C ");
            in_wanted = line.get(..4).is_some_and(|id| vendors.contains(id));
            return in_classes || in_wanted;
        }
        let deep = line.starts_with("\t\t");
        !deep && (in_classes || (in_wanted && line.get(..5).is_some_and(|id| ids.contains(id))))
    };
    let lines: String = text.lines().filter(|line| keep(line)).map(|line| format!("{line}\n")).collect();
    capture.insert(*path, Entry::File(lines.into_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_go_and_the_rest_stays() {
        let mut capture = Capture::new();
        let uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
        capture.insert(
            "/proc/cmdline",
            Entry::File(format!("root=UUID={uuid} ip=:::::eth0 mac=52:54:00:12:34:56 pci=0000:01:00.0\n").into_bytes()),
        );
        capture.insert("/boot/grub/grub.cfg", Entry::File(format!("search --fs-uuid {uuid}\n# on workhorse\n").into_bytes()));
        capture.insert("/proc/sys/kernel/hostname", Entry::File(b"workhorse\n".to_vec()));
        let said = scrub(&mut capture);
        let cmdline = capture.attribute("/proc/cmdline").unwrap();
        assert_eq!(cmdline, "root=UUID=00000000-0000-4000-a000-000000000001 ip=:::::eth0 mac=00:00:00:00:00:00 pci=0000:01:00.0");
        assert_eq!(capture.attribute("/boot/grub/grub.cfg").unwrap(), "search --fs-uuid 00000000-0000-4000-a000-000000000001\n# on host");
        assert_eq!(said, ["1 MAC addresses", "1 UUIDs and machine ids, each replaced by a made-up one", "2 mentions of the host's name"]);
        assert_eq!(capture.notes.len(), 3);
    }

    #[test]
    fn a_serial_number_is_the_same_made_up_one_in_registers_and_in_text() {
        let config = |serial: u64| {
            let mut bytes = vec![0u8; 4096];
            bytes[..8].copy_from_slice(&[0x86, 0x80, 0xd3, 0x10, 0, 0, 0x10, 0]);
            bytes[0x34] = 0x40;
            bytes[0x40] = 0x10;
            bytes[0x100..0x104].copy_from_slice(&0x0001_0003_u32.to_le_bytes());
            bytes[0x104..0x10c].copy_from_slice(&serial.to_le_bytes());
            Entry::File(bytes)
        };
        let mut capture = Capture::new();
        for (address, serial) in
            [("0000:01:00.0", 0x6805_caff_ff12_3456), ("0000:01:00.1", 0x6805_caff_ff12_3456), ("0000:02:00.0", 7 << 40)]
        {
            capture.insert(format!("{}{address}/config", device::PCI_DEVICES), config(serial));
        }
        let record = "{\"serial\":\"68-05-ca-ff-ff-12-34-56\"} 00-00-07-00-00-00-00-00 12-34-56\n";
        capture.insert("/var/lib/cede/operations/0001.jsonl", Entry::File(record.as_bytes().to_vec()));
        let said = scrub(&mut capture);
        let serials: Vec<_> = device::read_devices(&capture).into_iter().map(|device| device.serial.unwrap().to_string()).collect();
        assert_eq!(serials, ["00-00-00-00-00-00-00-01", "00-00-00-00-00-00-00-01", "00-00-00-00-00-00-00-02"]);
        let text = capture.attribute("/var/lib/cede/operations/0001.jsonl");
        assert_eq!(text, Some("{\"serial\":\"00-00-00-00-00-00-00-01\"} 00-00-00-00-00-00-00-02 12-34-56"));
        assert!(said.contains(&"2 device serial numbers, each replaced by a made-up one".to_owned()), "{said:?}");
    }

    #[test]
    fn the_firmware_s_boot_option_still_names_the_partition() {
        let mut capture = Capture::new();
        let uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
        capture.insert(firmware_boot::current(), Entry::File(vec![6, 0, 0, 0, 0, 0]));
        let option = firmware_boot::option(&capture).unwrap();
        firmware_boot::rewrite(&mut capture, uuid);
        firmware_boot::rewrite_loader(&mut capture, uuid);
        assert_eq!(firmware_boot::partitions(&capture), [uuid, uuid]);
        capture.insert("/sys/class/block/sda1/dev", Entry::File(b"8:1\n".to_vec()));
        capture.insert("/run/udev/data/b8:1", Entry::File(format!("E:ID_PART_ENTRY_UUID={uuid}\n").into_bytes()));
        scrub(&mut capture);
        assert_ne!(firmware_boot::partition(&capture).as_deref(), Some(uuid));
        assert_eq!(partition_name(&capture, firmware_boot::partition(&capture)).as_deref(), Some("sda1"));
        assert_eq!(firmware_boot::loader_partition(&capture), firmware_boot::partition(&capture));
        capture.remove("/run/udev/data/b8:1");
        scrub(&mut capture);
        assert_eq!(capture.get(&option), None, "what cannot be told apart from a disk's identity goes");
    }

    #[test]
    fn secrets_of_the_table_of_mounts_go() {
        let mut capture = Capture::new();
        let table = "# by me\n/dev/sda2 / ext4 defaults 0 1\nUUID=0A1B-2C3D /boot/efi/ vfat umask=0077 0 2\n//nas/me /mnt cifs user=me,password=secret\n/boot\nLABEL=a /data ext4 rw,nofail,x-secret=1 0 2\n";
        capture.insert("/etc/fstab", Entry::File(table.as_bytes().to_vec()));
        assert_eq!(scrub(&mut capture).len(), 1);
        let kept = "/dev/sda2 / ext4 defaults 0 1\nUUID=0A1B-2C3D /boot/efi/ vfat umask=0077 0 2\nLABEL=a /data ext4 nofail 0 0";
        assert_eq!(capture.attribute("/etc/fstab"), Some(kept));
        assert!(scrub(&mut capture).is_empty());
    }

    #[test]
    fn the_machine_s_own_id_stays_that_of_its_entries() {
        let (own, other) = ("3f2504e04f8941d39a0c0305e82c3301", "aaaabbbbccccddddeeeeffff00001111");
        let mut capture = Capture::new();
        capture.insert("/etc/machine-id", Entry::File(format!("{own}\n").into_bytes()));
        for (name, id) in [("own", own), ("other", other)] {
            capture.insert(format!("/boot/loader/entries/{name}.conf"), Entry::File(format!("machine-id {id}\n").into_bytes()));
        }
        scrub(&mut capture);
        let id = capture.attribute("/etc/machine-id").unwrap();
        assert!(is_machine_id(id) && id != own);
        assert_eq!(capture.attribute("/boot/loader/entries/own.conf"), Some(format!("machine-id {id}").as_str()));
        let foreign = capture.attribute("/boot/loader/entries/other.conf").unwrap();
        assert!(!foreign.contains(id) && !foreign.contains(other));
    }

    #[test]
    fn identities_go_from_names_too() {
        let id = "3f2504e04f8941d39a0c0305e82c3301";
        let mut capture = Capture::new();
        capture.insert(
            format!("/boot/loader/entries/{id}-6.1.0.conf"),
            Entry::File(format!("machine-id {id}\nlinux /{id}/6.1.0/linux\n").into_bytes()),
        );
        scrub(&mut capture);
        let new = format!("{:032}", 1);
        assert_eq!(
            capture.attribute(&format!("/boot/loader/entries/{new}-6.1.0.conf")),
            Some(format!("machine-id {new}\nlinux /{new}/6.1.0/linux").as_str())
        );
    }

    #[test]
    fn tables_keep_what_this_host_needs() {
        let mut capture = Capture::new();
        capture.insert(
            "/sys/bus/pci/devices/0000:01:00.0/uevent",
            Entry::File(b"PCI_CLASS=30000\nPCI_ID=10DE:1F91\nMODALIAS=pci:v000010DEd00001F91sv00001043sd0000109Fbc03sc00i00\n".to_vec()),
        );
        capture.insert(
            "/lib/modules/6/modules.alias",
            Entry::File(
                b"alias usb:v1 x\nalias pci:v000010DEd*sv*sd*bc03sc00i00* nouveau\nalias pci:v00008086d*sv*sd*bc03sc*i* i915\n".to_vec(),
            ),
        );
        capture.insert("/lib/modules/6/modules.dep", Entry::File(b"kernel/nouveau.ko: a\nkernel/i915.ko:\nkernel/vfio-pci.ko:\n".to_vec()));
        capture.insert(
            "/usr/share/misc/pci.ids",
            Entry::File(
                b"8086  Intel\n\t1f91  no\n10de  NVIDIA\n\t1f91  TU117M\n\t1f92  x\nC 03  Display\n\t00  VGA\n\t\t00  x\n".to_vec(),
            ),
        );
        scrub(&mut capture);
        assert_eq!(capture.attribute("/lib/modules/6/modules.alias"), Some("alias pci:v000010DEd*sv*sd*bc03sc00i00* nouveau"));
        assert_eq!(capture.attribute("/lib/modules/6/modules.dep"), Some("kernel/nouveau.ko: a\nkernel/vfio-pci.ko:"));
        assert_eq!(capture.attribute("/usr/share/misc/pci.ids"), Some("10de  NVIDIA\n\t1f91  TU117M\nC 03  Display\n\t00  VGA"));
    }
}
