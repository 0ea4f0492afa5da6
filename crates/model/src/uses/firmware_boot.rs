//! The partition that the firmware started from.

use crate::capture::{Capture, Entry};

/// Vendor of the firmware's own variables (UEFI 2.10, 3.3: `EFI_GLOBAL_VARIABLE`).
const GUID: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

const VARIABLES: &str = "/sys/firmware/efi/efivars";

/// The partition that the boot loader itself was read from, as text (systemd: The Boot Loader Interface; GRUB's module `bli`).
pub const LOADER: &str = "/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// efivarfs puts the attributes of a variable before its value.
const ATTRIBUTES: usize = 4;

/// The number of the boot option that was used.
pub fn current() -> String {
    format!("{VARIABLES}/BootCurrent-{GUID}")
}

/// The boot option of that number; `None` where it was not seen.
pub fn option(capture: &Capture) -> Option<String> {
    let number = word(capture.file(&current())?.get(ATTRIBUTES..)?, 0)?;
    Some(format!("{VARIABLES}/Boot{number:04X}-{GUID}"))
}

/// `PARTUUID` of the partitions that the start was from: by the boot option, and by the loader.
pub fn partitions(capture: &Capture) -> Vec<String> {
    partition(capture).into_iter().chain(loader_partition(capture)).collect()
}

/// `PARTUUID` of the partition that the loader was read from.
pub fn loader_partition(capture: &Capture) -> Option<String> {
    let text = text(capture.file(LOADER)?.get(ATTRIBUTES..)?);
    (!text.is_empty()).then(|| text.to_ascii_lowercase())
}

/// `PARTUUID` of the partition in the boot option, as udev writes it.
pub fn partition(capture: &Capture) -> Option<String> {
    let bytes = capture.file(&option(capture)?)?.get(ATTRIBUTES..)?;
    part_uuid(node(paths(bytes)?, HARD_DRIVE)?)
}

/// The program that the boot option starts, as the firmware writes its path: `\EFI\debian\grubx64.efi`.
pub fn program(capture: &Capture) -> Option<String> {
    let bytes = capture.file(&option(capture)?)?.get(ATTRIBUTES..)?;
    node(paths(bytes)?, FILE_PATH)?.get(4..).map(text)
}

/// What the path of a boot loader's program has in it, with `/` and in small letters, and the loader's name. A shim is followed by any loader, and
/// says nothing; nor does the path for removable media.
pub const PROGRAMS: [(&str, &str); 9] = [
    ("/systemd-boot", "systemd-boot"),
    ("/grub", "GRUB"),
    ("/refind", "rEFInd"),
    ("/limine", "Limine"),
    ("/zfsbootmenu", "ZFSBootMenu"),
    ("/zbm/", "ZFSBootMenu"),
    ("/efi/linux/", "a unified kernel image"),
    ("/vmlinuz", "the kernel's EFI stub"),
    ("/bzimage", "the kernel's EFI stub"),
];

/// Which of [`PROGRAMS`] a program is.
pub fn loader(program: &str) -> Option<(&'static str, &'static str)> {
    let path = format!("/{}", program.replace('\\', "/").trim_start_matches('/')).to_lowercase();
    PROGRAMS.into_iter().find(|(part, _)| path.contains(part))
}

/// Media nodes of a path (UEFI 2.10, 10.3.5.1 and 10.3.5.4).
const HARD_DRIVE: [u8; 2] = [4, 1];
const FILE_PATH: [u8; 2] = [4, 4];

/// `EFI_LOAD_OPTION` (UEFI 2.10, 3.1.3): attributes, length of the paths, a description of two-byte characters that ends in zero, the paths.
fn paths(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(word(bytes, 4)?);
    let description = bytes.get(6..)?;
    let end = description.chunks_exact(2).position(|pair| pair == [0, 0])?;
    description.get(2 * end + 2..)?.get(..length)
}

/// The first node of a kind: type and subtype.
fn node(mut nodes: &[u8], wanted: [u8; 2]) -> Option<&[u8]> {
    while let Some((kind, length)) = nodes.get(..2).zip(word(nodes, 2).map(usize::from)) {
        let node = nodes.get(..length).filter(|_| length >= 4)?;
        if kind == wanted {
            return Some(node);
        }
        nodes = nodes.get(length..)?;
    }
    None
}

/// Text of two-byte characters up to a zero.
fn text(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes.chunks_exact(2).filter_map(|pair| word(pair, 0)).take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

fn part_uuid(node: &[u8]) -> Option<String> {
    let signature = node.get(24..40)?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let swapped = |range: std::ops::Range<usize>| Some(hex(&signature.get(range)?.iter().rev().copied().collect::<Vec<u8>>()));
    match node.get(41)? {
        // A disk with a table of the old kind: its number, and that of the partition.
        1 => Some(format!("{}-{:02x}", swapped(0..4)?, word(node, 4)?)),
        2 => {
            let (first, second, third) = (swapped(0..4)?, swapped(4..6)?, swapped(6..8)?);
            Some(format!("{first}-{second}-{third}-{}-{}", hex(signature.get(8..10)?), hex(signature.get(10..16)?)))
        }
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Writes the boot option anew with nothing in it but the partition of this `PARTUUID`, where there is one, and of the program what tells the
/// loader: what else the firmware keeps there names machines.
pub(crate) fn rewrite(capture: &mut Capture, uuid: Option<&str>) {
    let Some(path) = option(capture).filter(|path| capture.file(path).is_some()) else { return };
    let known = program(capture).and_then(|program| loader(&program)).map(|(part, _)| part.replace('/', "\\"));
    let file: Vec<u8> = known.iter().flat_map(|part| part.encode_utf16().chain([0])).flat_map(u16::to_le_bytes).collect();
    // No part is longer than fits into one byte.
    let file_length = if file.is_empty() { 0 } else { u8::try_from(file.len() + 4).unwrap_or(0) };
    let mut bytes = vec![0; ATTRIBUTES + 4];
    bytes.extend([uuid.map_or(0, |_| 42) + file_length, 0, 0, 0]);
    bytes.extend(uuid.map(hard_drive).unwrap_or_default());
    if file_length > 0 {
        let [kind, subkind] = FILE_PATH;
        bytes.extend([kind, subkind, file_length, 0]);
        bytes.extend(file);
    }
    capture.insert(path, Entry::File(bytes));
}

/// The node of a partition.
fn hard_drive(uuid: &str) -> Vec<u8> {
    let digits: Vec<u8> = uuid.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks_exact(2).filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let plain: Vec<u8> = pairs.collect();
    let is_guid = plain.len() == 16;
    let order: &[usize] = if is_guid { &[3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15] } else { &[3, 2, 1, 0] };
    let number = if is_guid { 0 } else { plain.last().copied().unwrap_or(0) };
    let mut signature: Vec<u8> = order.iter().filter_map(|at| plain.get(*at).copied()).collect();
    signature.resize(16, 0);
    let [kind, subkind] = HARD_DRIVE;
    let mut node = vec![kind, subkind, 42, 0, number, 0, 0, 0];
    node.extend([0; 16]);
    node.extend(signature);
    node.extend([2, if is_guid { 2 } else { 1 }]);
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_by_their_paths() {
        for (path, name) in [
            ("\\EFI\\systemd\\systemd-bootx64.efi", Some("systemd-boot")),
            ("\\EFI\\refind\\refind_x64.efi", Some("rEFInd")),
            ("\\EFI\\ZBM\\VMLINUZ.EFI", Some("ZFSBootMenu")),
            ("EFI\\Linux\\arch.efi", Some("a unified kernel image")),
            ("vmlinuz-linux", Some("the kernel's EFI stub")),
            ("\\EFI\\debian\\shimx64.efi", None),
            ("\\EFI\\BOOT\\BOOTX64.EFI", None),
            ("", None),
        ] {
            let known = loader(path);
            assert_eq!(known.map(|(_, name)| name), name, "{path}");
            // What scrubbing leaves of it tells the same.
            assert_eq!(known.and_then(|(part, _)| loader(&part.replace('/', "\\"))), known, "{path}");
        }
    }

    #[test]
    fn the_partition_of_the_used_option_is_found_and_survives_rewriting() {
        // A full path: PCI root, PCI device, NVMe namespace, hard drive, file.
        let mut paths = vec![2, 1, 12, 0, 0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0, 1, 1, 6, 0, 0, 2];
        paths.extend([4, 1, 42, 0, 1, 0, 0, 0]);
        paths.extend([0; 16]);
        paths.extend([0x78, 0x56, 0x34, 0x12, 0xbc, 0x9a, 0xf0, 0xde, 1, 2, 3, 4, 5, 6, 7, 8, 2, 2]);
        let file: Vec<u8> = "\\EFI\\debian\\grubx64.efi\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        paths.extend([4, 4, u8::try_from(file.len()).unwrap() + 4, 0]);
        paths.extend(file);
        paths.extend([0x7f, 0xff, 4, 0]);
        let mut option = vec![7, 0, 0, 0, 1, 0, 0, 0, u8::try_from(paths.len()).unwrap(), 0];
        option.extend("debian\0".encode_utf16().flat_map(u16::to_le_bytes));
        option.extend(&paths);
        let mut capture = Capture::new();
        assert_eq!(partition(&capture), None);
        capture.insert(current(), Entry::File(vec![6, 0, 0, 0, 0x0b, 0]));
        capture.insert(format!("{VARIABLES}/Boot000B-{GUID}"), Entry::File(option.clone()));
        assert_eq!(partition(&capture).as_deref(), Some("12345678-9abc-def0-0102-030405060708"));
        assert_eq!(program(&capture).as_deref(), Some("\\EFI\\debian\\grubx64.efi"));
        for uuid in ["00000000-0000-4000-a000-000000000007", "1b7a2c3d-02"] {
            rewrite(&mut capture, Some(uuid));
            assert_eq!((partition(&capture).as_deref(), program(&capture).as_deref()), (Some(uuid), Some("\\grub")));
        }
        rewrite(&mut capture, None);
        assert_eq!((partition(&capture), program(&capture).as_deref()), (None, Some("\\grub")));
        for cut in 0..option.len() {
            capture.insert(format!("{VARIABLES}/Boot000B-{GUID}"), Entry::File(option.iter().take(cut).copied().collect()));
            assert_eq!((partition(&capture), program(&capture)), (None, None), "cut at {cut}");
        }
    }
}
