//! Identifiers in names and texts: UUIDs, machine ids, hardware addresses, serial numbers, names of disks.

use super::{replaced, told};
use crate::pci::SerialNumber;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Identifiers and what stands for them. The same one is the same wherever it stands, so that what belongs together still does.
#[derive(Default)]
pub(super) struct Identifiers {
    /// Serial numbers of devices, numbered from 1.
    serials: BTreeMap<SerialNumber, u64>,
    /// By the identifier in lower case.
    ids: BTreeMap<String, usize>,
    /// Those that only their place shows to be identifiers, in lower case: of FAT, NTFS, ISO 9660, and of DOS partition tables.
    shapeless: BTreeSet<String>,
    /// Names below `/dev/disk/by-id`, and those of `by-path` that tell of a network.
    disks: BTreeMap<String, usize>,
    hardware: BTreeSet<String>,
}

/// Letters and digits in a row, and where they are.
type Group = Range<usize>;

/// Lengths of the groups of a UUID (RFC 9562 section 4).
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// Of a UUID of MD (mdadm(8) `--uuid`), which has colons.
const MD_UUID: [usize; 4] = [8; 4];

/// Of a UUID of LVM, of letters and digits (lvm2: lib/uuid/uuid.c `id_write_format`).
const LVM_UUID: [usize; 7] = [6, 4, 4, 4, 4, 4, 6];

/// A UUID without dashes, and a machine-id(5).
const PLAIN: [usize; 1] = [32];

/// Vendors of EFI variables: of the specification's own (UEFI 2.10 section 3.3), and of boot loaders (systemd: Boot Loader Interface).
const VENDORS: [&str; 2] = ["8be4df61-93ca-11d2-aa0d-00e098032b8c", "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"];

const ESCAPED_DASH: &[u8] = b"\\x2d";

/// What stands before an identifier.
const MARKS: [&str; 4] = ["uuid=", "/by-uuid/", "/by-partuuid/", "/pvs_online/"];

impl Identifiers {
    /// What stands for the serial number of a device.
    pub(super) fn serial(&mut self, serial: SerialNumber) -> u64 {
        let next = self.serials.len() as u64 + 1;
        *self.serials.entry(serial).or_insert(next)
    }

    /// What was replaced, one line each.
    pub(super) fn said(&self) -> Vec<String> {
        told([
            (self.serials.len(), "device serial number", ", each replaced by a made-up one"),
            (self.disks.len(), "name", " of disks that have serial numbers or network addresses in them"),
            (self.hardware.len(), "number", " of network cards and ports (MAC, WWN)"),
            (self.ids.len(), "id", " of disks, file systems and machines, each replaced by a made-up one"),
        ])
    }

    /// Learns the identifiers that have no shape of their own from where they stand.
    pub(super) fn learn(&mut self, text: &[u8]) {
        let lower = text.to_ascii_lowercase();
        for mark in MARKS {
            for at in memchr::memmem::find_iter(&lower, mark) {
                self.learn_one(lower.get(at + mark.len()..).unwrap_or_default());
            }
        }
        // `search --fs-uuid --set=root --hint=… 0A1B-2C3D`, `search.fs_uuid 0A1B-2C3D root`
        let names_one = |line: &&[u8]| ["--fs-uuid", "fs_uuid "].iter().any(|mark| memchr::memmem::find(line, mark.as_bytes()).is_some());
        for line in lower.split(|byte| *byte == b'\n').filter(names_one) {
            line.split(u8::is_ascii_whitespace).for_each(|word| self.learn_one(word));
        }
        for at in memchr::memmem::find_iter(text, "/by-id/") {
            self.disk(disk_name(text.get(at + "/by-id/".len()..).unwrap_or_default()));
        }
    }

    fn learn_one(&mut self, text: &[u8]) {
        let quotes = text.iter().take_while(|byte| b"\\\"'".contains(byte)).count();
        let text = text.get(quotes..).unwrap_or_default();
        let end = text.iter().position(|byte| !byte.is_ascii_hexdigit() && *byte != b'-').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        let value = String::from_utf8_lossy(value).into_owned();
        let lengths: Vec<usize> = value.split('-').map(str::len).collect();
        let is_bounded = rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric()) && !lengths.contains(&0);
        let has_shape = lengths == UUID || lengths == PLAIN;
        if is_bounded && !has_shape && lengths.iter().sum::<usize>() >= 8 {
            // The number of the partition stays: `1234abcd-02`.
            let kept = if lengths == [8, 2] { value.get(..8).unwrap_or_default() } else { &value };
            self.shapeless.insert(kept.to_owned());
        }
    }

    fn disk(&mut self, name: &[u8]) -> String {
        let next = self.disks.len() + 1;
        let number = self.disks.entry(String::from_utf8_lossy(name).into_owned()).or_insert(next);
        format!("disk-{number}")
    }

    /// A text, a path or the target of a link, with what stands for its identifiers. Names of systemd's units are paths whose dashes are
    /// escaped (systemd.unit(5)).
    pub(super) fn clean(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = memchr::memmem::find(rest, ESCAPED_DASH) {
            let is_end = |byte: &u8| *byte != b'\\' && is_blank(*byte);
            let (before, after) = rest.split_at(at);
            let start = before.iter().rposition(is_end).map_or(0, |at| at + 1);
            let end = after.iter().position(is_end).map_or(rest.len(), |end| at + end);
            let unit = rest.get(start..end).unwrap_or_default();
            out.extend(self.clean_plain(rest.get(..start).unwrap_or_default()));
            let unit = self.clean_plain(unit);
            if unit.contains(&b'/') {
                out.extend(unit);
            } else {
                let path = self.clean_plain(&replaced(&replaced(&unit, b"-", b"/"), ESCAPED_DASH, b"-"));
                out.extend(replaced(&replaced(&path, b"-", ESCAPED_DASH), b"/", b"-"));
            }
            rest = rest.get(end..).unwrap_or_default();
        }
        out.extend(self.clean_plain(rest));
        out
    }

    fn clean_plain(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        while let Some((word, rest)) = next_word(text, at) {
            out.extend_from_slice(text.get(at..word.start).unwrap_or_default());
            at = match self.disk_in_place(&out, rest) {
                Some((new, length)) => {
                    out.extend_from_slice(new.as_bytes());
                    word.start + length
                }
                None => {
                    self.word(text, &word, &mut out);
                    word.end
                }
            };
        }
        out.extend_from_slice(text.get(at..).unwrap_or_default());
        out
    }

    /// The name of a disk that begins here, where one can stand.
    fn disk_in_place(&mut self, before: &[u8], rest: &[u8]) -> Option<(String, usize)> {
        let is_path = before.ends_with(b"/by-path/");
        let name = || if is_path { path_name(rest) } else { disk_name(rest) };
        let tells = || ["ip-", "-0x"].iter().any(|mark| memchr::memmem::find(name(), mark.as_bytes()).is_some());
        let is_listed = || self.disks.contains_key(&*String::from_utf8_lossy(name()));
        let is_one = before.ends_with(b"/by-id/") || (is_path && tells()) || (before.ends_with(b"ID=") && is_listed());
        is_one.then(|| (self.disk(name()), name().len()))
    }

    /// Groups with dashes and colons between them.
    fn word(&mut self, text: &[u8], word: &Range<usize>, out: &mut Vec<u8>) {
        let groups = groups(text, word);
        let mut first = 0;
        while let Some(group) = groups.get(first) {
            let rest = groups.get(first..).unwrap_or_default();
            let next = match self.stand_in(text, rest) {
                Some((new, count)) => {
                    out.extend_from_slice(new.as_bytes());
                    first + count
                }
                None => {
                    out.extend_from_slice(text.get(group.clone()).unwrap_or_default());
                    first + 1
                }
            };
            if let (Some(last), Some(following)) = (groups.get(next - 1), groups.get(next)) {
                out.extend_from_slice(text.get(last.end..following.start).unwrap_or_default());
            }
            first = next;
        }
    }

    /// What stands for the identifier with which the groups begin, and how many groups it has.
    fn stand_in(&mut self, text: &[u8], groups: &[Group]) -> Option<(String, usize)> {
        let has = |lengths: &[usize], separator: u8, is_digit: fn(&u8) -> bool| begins_with(text, groups, lengths, separator, is_digit);
        let value = |count: usize| joined(text, groups, count);
        if has(&UUID, b'-', u8::is_ascii_hexdigit) && !VENDORS.contains(&value(5).as_str()) {
            let number = self.number(value(5));
            return Some((format!("00000000-0000-4000-a000-{number:012}"), 5));
        }
        if has(&MD_UUID, b':', u8::is_ascii_hexdigit) {
            let number = self.number(value(4));
            return Some((filled(number, &MD_UUID, ':'), 4));
        }
        if has(&LVM_UUID, b'-', u8::is_ascii_alphanumeric) {
            let number = self.number(value(7).replace('-', ""));
            return Some((filled(number, &LVM_UUID, '-'), 7));
        }
        if has(&PLAIN, b'-', u8::is_ascii_hexdigit) || (has(&PLAIN, b'-', u8::is_ascii_alphanumeric) && is_mixed(text, groups)) {
            let number = self.number(value(1));
            return Some((filled(number, &PLAIN, '-'), 1));
        }
        self.hardware(text, groups).or_else(|| {
            let count = (1..=groups.len().min(8)).rev().find(|count| self.shapeless.contains(&value(*count)))?;
            let lengths: Vec<usize> = groups.iter().take(count).map(Group::len).collect();
            Some((filled(self.number(value(count)), &lengths, '-'), count))
        })
    }

    fn number(&mut self, id: String) -> usize {
        let next = self.ids.len() + 1;
        *self.ids.entry(id).or_insert(next)
    }

    /// Bytes with the same separator between them: a serial number, or an address of Ethernet, Fibre Channel or InfiniBand.
    fn hardware(&mut self, text: &[u8], groups: &[Group]) -> Option<(String, usize)> {
        let separator = *text.get(groups.first()?.end)?;
        let bytes = |count: &usize| begins_with(text, groups, &vec![2; *count], separator, u8::is_ascii_hexdigit);
        let count = (6..=groups.len().min(32)).take_while(bytes).last()?;
        let address = joined(text, groups, count);
        let made_up = match address.parse().ok() {
            Some(serial) => SerialNumber::from_register(self.serial(serial))?.to_string(),
            None if address.bytes().any(|byte| byte.is_ascii_hexdigit() && byte != b'0') => {
                let zeros = address.chars().map(|c| if c.is_ascii_hexdigit() { '0' } else { c }).collect();
                self.hardware.insert(address);
                zeros
            }
            None => address,
        };
        Some((made_up, count))
    }
}

/// The name of a disk below one of `/dev/disk`'s directories, without the part that says which partition.
fn disk_name(text: &[u8]) -> &[u8] {
    let ends = |at: usize| match text.get(at) {
        // The name of the device follows in `cryptdevice=`; an interface's number does in the names of USB disks.
        Some(b':') => !text.get(at + 1).is_some_and(u8::is_ascii_digit),
        Some(byte) => is_blank(*byte) || b",/|".contains(byte),
        None => true,
    };
    let end = (0..).find(|at| ends(*at)).unwrap_or_default();
    let name = text.get(..end).unwrap_or_default();
    let part = memchr::memmem::rfind(name, b"-part").filter(|at| name.get(at + 5..).unwrap_or_default().iter().all(u8::is_ascii_digit));
    name.get(..part.unwrap_or(name.len())).unwrap_or_default()
}

/// The name of a disk by the way to it. A target's name may have colons, and its number ends it (systemd: udev-builtin-path_id.c
/// `handle_scsi_iscsi`).
fn path_name(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| is_blank(*byte)).unwrap_or(text.len());
    let name = text.get(..end).unwrap_or_default();
    let Some(at) = memchr::memmem::find(name, LUN).map(|at| at + LUN.len()) else { return disk_name(text) };
    let digits = name.iter().skip(at).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    name.get(..at + digits).unwrap_or_default()
}

const LUN: &[u8] = b"-lun-";

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte.is_ascii_control() || b"\"'\\".contains(&byte)
}

/// The next run of letters and digits, single dashes and colons from `at`, and the text from there.
fn next_word(text: &[u8], at: usize) -> Option<(Range<usize>, &[u8])> {
    let mut start = at + text.get(at..)?.iter().position(u8::is_ascii_alphanumeric)?;
    // `\n` in the journal's JSON is not a letter of what follows; in `initrd=\0a1b…\initrd`, a path of the firmware's, the digit is one.
    let is_letter = |at: usize| text.get(at).is_some_and(|byte| b"nrt".contains(byte));
    if start > 0 && text.get(start - 1) == Some(&b'\\') && is_letter(start) && text.get(start + 1).is_some_and(u8::is_ascii_alphanumeric) {
        start += 1;
    }
    let inside = |at: usize| match text.get(at) {
        Some(b'-' | b':') => text.get(at + 1).is_some_and(u8::is_ascii_alphanumeric),
        Some(byte) => byte.is_ascii_alphanumeric(),
        None => false,
    };
    let end = (start..).find(|at| !inside(*at))?;
    Some((start..end, text.get(start..)?))
}

fn groups(text: &[u8], word: &Range<usize>) -> Vec<Group> {
    let mut start = word.start;
    let mut groups = Vec::new();
    for part in text.get(word.clone()).unwrap_or_default().split(|byte| !byte.is_ascii_alphanumeric()) {
        groups.push(start..start + part.len());
        start += part.len() + 1;
    }
    groups
}

fn begins_with(text: &[u8], groups: &[Group], lengths: &[usize], separator: u8, is_digit: fn(&u8) -> bool) -> bool {
    groups.len() >= lengths.len()
        && groups
            .iter()
            .zip(lengths)
            .all(|(group, length)| group.len() == *length && text.get(group.clone()).is_some_and(|part| part.iter().all(is_digit)))
        && groups.iter().take(lengths.len() - 1).all(|group| text.get(group.end) == Some(&separator))
}

/// True where the first group has digits and letters of both cases, as a UUID of LVM without its dashes.
fn is_mixed(text: &[u8], groups: &[Group]) -> bool {
    let bytes = groups.first().and_then(|group| text.get(group.clone())).unwrap_or_default();
    [u8::is_ascii_digit, u8::is_ascii_lowercase, u8::is_ascii_uppercase].iter().all(|is| bytes.iter().any(is))
}

/// The first groups as they stand there, in lower case.
fn joined(text: &[u8], groups: &[Group], count: usize) -> String {
    let range = groups.first().zip(groups.get(count - 1)).map(|(first, last)| first.start..last.end);
    let bytes = range.and_then(|range| text.get(range)).unwrap_or_default();
    String::from_utf8_lossy(bytes).to_lowercase()
}

/// A number in groups of these lengths.
fn filled(number: usize, lengths: &[usize], separator: char) -> String {
    let width = lengths.iter().sum();
    let digits = format!("{number:0width$}");
    let mut digits = digits.chars();
    let groups: Vec<String> = lengths.iter().map(|length| digits.by_ref().take(*length).collect()).collect();
    groups.join(&separator.to_string())
}
