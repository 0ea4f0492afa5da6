//! What is mounted below `--root`, as a process sees it whose root that is: the kernel's list is of the system that runs, whose `/` is another one.

use crate::files::root::{Root, file_system_magic};
use rustix::fs::OFlags;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where the kernel lists them (Documentation/filesystems/proc.rst, 3.5).
pub(crate) const MOUNTS: &str = "/proc/self/mountinfo";

/// `PROC_SUPER_MAGIC` (Linux `include/uapi/linux/magic.h`).
const PROC: i64 = 0x9fa0;

/// The list as it is for the root's own system; the same bytes where `/proc` below it is none of the kernel's.
///
/// # Errors
/// Where the root is cannot be told.
pub(crate) fn of(root: &Root, list: Vec<u8>) -> Result<Vec<u8>, String> {
    let open = |path: &str| root.open_raw(Path::new(path), OFlags::PATH | OFlags::CLOEXEC).map_err(|errno| errno.to_string());
    if file_system_magic(&open("/proc")?).map_err(|errno| errno.to_string())? != PROC {
        return Ok(list);
    }
    let top = open(".")?;
    let here = std::fs::read_link(format!("/proc/self/fd/{}", top.as_raw_fd())).map_err(|error| error.to_string())?;
    let seen = here.is_absolute().then(|| seen_from(&list, here.as_os_str().as_bytes())).flatten();
    seen.ok_or_else(|| format!("no mount of {} is listed", here.display()))
}

/// The lines whose places can be reached from a directory, with their places as from there (fs/proc_namespace.c `show_mountinfo`, which leaves out
/// what a process cannot reach); the one that the directory is on comes to be `/`.
fn seen_from(list: &[u8], root: &[u8]) -> Option<Vec<u8>> {
    let root = escaped(root);
    let below =
        |place: &[u8], base: &[u8]| base == b"/" || place.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
    let lines: Vec<&[u8]> = list.split_inclusive(|byte| *byte == b'\n').collect();
    let places = lines.iter().map(|line| line.split(|byte| *byte == b' ').nth(4).unwrap_or_default());
    // Of those at the same place the last one hides the others.
    let (top, _) =
        places.clone().enumerate().filter(|(_, place)| !place.is_empty() && below(&root, place)).max_by_key(|(_, place)| place.len())?;
    let seen = |(index, place): (usize, &[u8])| match place.strip_prefix(root.as_slice()) {
        _ if index == top => Some(b"/".to_vec()),
        _ if root == b"/" => Some(place.to_vec()),
        Some(rest) if rest.starts_with(b"/") => Some(rest.to_vec()),
        _ => None,
    };
    let kept = lines.iter().zip(places.enumerate().map(seen)).filter_map(|(line, place)| {
        let mut words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let place = place?;
        *words.get_mut(4)? = &place;
        Some(words.join(&b' '))
    });
    Some(kept.flatten().collect())
}

/// As the kernel writes a place: blanks, tabs, line ends and backslashes in octal.
fn escaped(path: &[u8]) -> Vec<u8> {
    let byte = |byte: &u8| if b" \t\n\\".contains(byte) { format!("\\{byte:03o}").into_bytes() } else { vec![*byte] };
    path.iter().flat_map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "22 1 0:20 / / rw - overlay live rw\n\
        23 22 0:21 / /proc rw - proc proc rw\n\
        30 22 8:1 /old /mnt rw - ext4 /dev/sda1 rw\n\
        31 22 259:2 /@ /mnt rw shared:1 - btrfs /dev/nvme0n1p2 rw,subvol=/@\n\
        32 31 259:1 / /mnt/boot rw - vfat /dev/nvme0n1p1 rw\n\
        33 31 0:21 / /mnt/proc rw - proc proc rw\n\
        34 22 8:2 / /mnt2 rw - ext4 /dev/sda2 rw\n\
        35 22 8:3 / /a\\040b rw - ext4 /dev/sda3 rw\n";

    #[test]
    fn the_list_is_that_of_the_mounted_system() {
        let seen = |root: &str| String::from_utf8(seen_from(LIST.as_bytes(), root.as_bytes()).unwrap()).unwrap();
        let mounted = "31 22 259:2 /@ / rw shared:1 - btrfs /dev/nvme0n1p2 rw,subvol=/@\n32 31 259:1 / /boot rw - vfat /dev/nvme0n1p1 rw\n";
        assert_eq!(seen("/mnt"), format!("{mounted}33 31 0:21 / /proc rw - proc proc rw\n"));
        assert_eq!(seen("/mnt/sub"), "31 22 259:2 /@ / rw shared:1 - btrfs /dev/nvme0n1p2 rw,subvol=/@\n");
        assert_eq!(seen("/srv/other"), "22 1 0:20 / / rw - overlay live rw\n");
        assert_eq!(seen("/a b"), "35 22 8:3 / / rw - ext4 /dev/sda3 rw\n");
        assert_eq!(seen("/"), LIST);
        assert_eq!((seen_from(b"", b"/mnt"), seen_from(b"short\n", b"/mnt")), (None, None));
    }
}
