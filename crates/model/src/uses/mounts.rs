//! What is mounted, what is swapped to, and what is to be mounted at the start.

use crate::capture::Capture;

/// One line of `/proc/self/mountinfo` (Documentation/filesystems/proc.rst, 3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `major:minor` of the file system; major 0 where it is on no single block device.
    pub number: String,
    /// Where it is mounted.
    pub place: String,
    /// Type of the file system.
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// Options of the file system itself.
    pub options: String,
}

impl Mount {
    /// The value of an option `name=value`.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options_named(name).first().copied()
    }

    /// The values of an option that stands several times.
    pub fn options_named(&self, name: &str) -> Vec<&str> {
        self.options.split(',').filter_map(|option| option.strip_prefix(name)?.strip_prefix('=')).collect()
    }

    /// True where an option stands alone.
    pub fn has_option(&self, name: &str) -> bool {
        self.options.split(',').any(|option| option == name)
    }
}

/// What is mounted, in the order in which it was; `None` where that was not seen.
pub fn mounts(capture: &Capture) -> Option<Vec<Mount>> {
    let text = String::from_utf8_lossy(capture.file("/proc/self/mountinfo")?);
    Some(text.lines().filter_map(mount).collect())
}

fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut words = before.split(' ');
    let number = words.nth(2)?.to_owned();
    let place = unescape(words.nth(1)?);
    let mut words = after.split(' ');
    let (kind, source) = (words.next()?.to_owned(), unescape(words.next()?));
    Some(Mount { number, place, kind, source, options: unescape(words.next().unwrap_or_default()) })
}

/// The mount that a path is on: of the longest place above it, the last one.
pub fn mount_of<'a>(mounts: &'a [Mount], path: &str) -> Option<&'a Mount> {
    let holds = |mount: &&Mount| {
        let rest = path.strip_prefix(mount.place.as_str());
        mount.place == "/" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    mounts.iter().filter(holds).max_by_key(|mount| mount.place.len())
}

/// What is swapped to: a device or a file each, as `/proc/swaps` shows it (mm/swapfile.c `swap_show`).
pub fn swaps(capture: &Capture) -> Vec<String> {
    let text = capture.attribute("/proc/swaps").unwrap_or_default();
    text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(unescape).collect()
}

/// A line of fstab(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What is mounted: a path, or `UUID=…` and the like.
    pub source: String,
    /// Where; `none` or `swap` for swap.
    pub place: String,
    /// Type of the file system.
    pub kind: String,
    /// True where it is mounted at the start, and not by hand or on the first access.
    pub at_start: bool,
    /// True where the start goes on without it.
    pub may_fail: bool,
    /// The part of a btrfs that is mounted, where one is named.
    pub subvolume: Option<String>,
}

/// What `/etc/fstab` lists; nothing where it was not seen.
pub fn listed(capture: &Capture) -> Vec<Listed> {
    let text = String::from_utf8_lossy(capture.file("/etc/fstab").unwrap_or_default()).into_owned();
    text.lines().filter_map(listed_line).collect()
}

fn listed_line(line: &str) -> Option<Listed> {
    let mut words = line.split_whitespace();
    let source = words.next().filter(|source| !source.starts_with('#'))?;
    let place = unescape(words.next()?);
    let kind = words.next()?.to_owned();
    let options: Vec<&str> = words.next().unwrap_or_default().split(',').collect();
    let place = if place == "/" { place } else { place.trim_end_matches('/').to_owned() };
    Some(Listed {
        source: unescape(source).replace('"', ""),
        place,
        kind,
        at_start: !options.iter().any(|option| matches!(*option, "noauto" | "x-systemd.automount")),
        may_fail: options.contains(&"nofail"),
        subvolume: options.iter().find_map(|option| option.strip_prefix("subvol=")).map(unescape),
    })
}

/// Blanks, tabs, line ends and backslashes are written in octal (fs/proc_namespace.c `mangle`).
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(u8::is_ascii) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;

    fn with(path: &str, text: &str) -> Capture {
        let mut capture = Capture::new();
        capture.insert(path, Entry::File(text.as_bytes().to_vec()));
        capture
    }

    #[test]
    fn lines_of_mountinfo_are_read_as_the_kernel_writes_them() {
        let text = "29 1 0:25 /@ / rw,relatime shared:1 master:2 - btrfs /dev/mapper/a\\040b rw,subvol=/@\n30 29 8:1 / /a\\040b\\134 rw - vfat /dev/sda1 rw\nshort line\n31 29 0:5 / /proc rw - proc proc\n";
        let list = mounts(&with("/proc/self/mountinfo", text)).unwrap();
        let seen: Vec<_> = list.iter().map(|m| (m.number.as_str(), m.place.as_str(), m.kind.as_str(), m.source.as_str())).collect();
        assert_eq!(
            seen,
            [("0:25", "/", "btrfs", "/dev/mapper/a b"), ("8:1", "/a b\\", "vfat", "/dev/sda1"), ("0:5", "/proc", "proc", "proc")]
        );
        assert_eq!((list[0].option("subvol"), list[0].has_option("rw")), (Some("/@"), true));
        assert_eq!(mount_of(&list, "/a b\\/swapfile").unwrap().number, "8:1");
        assert_eq!(mount_of(&list, "/a b").unwrap().number, "0:25");
        assert!(mounts(&Capture::new()).is_none() && mount_of(&[], "/x").is_none());
    }

    #[test]
    fn the_table_tells_what_the_start_waits_for() {
        let text =
            "# c\nUUID=\"1\" / ext4 rw 0 1\n/dev/sdb1 /data xfs nofail,x-y\nLABEL=a /mnt ext4 noauto\n/dev/sdc1 none swap sw\n/boot\n";
        let list = listed(&with("/etc/fstab", text));
        let seen: Vec<_> = list.iter().map(|l| (l.source.as_str(), l.place.as_str(), l.at_start, l.may_fail)).collect();
        let expected = [
            ("UUID=1", "/", true, false),
            ("/dev/sdb1", "/data", true, true),
            ("LABEL=a", "/mnt", false, false),
            ("/dev/sdc1", "none", true, false),
        ];
        assert_eq!(seen, expected);
    }
}
