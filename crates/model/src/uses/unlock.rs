//! Disks with the keys and headers of encrypted ones. Without them the start cannot open what it needs, and nothing in /sys tells.

use crate::capture::Capture;

/// What is opened at the start (crypttab(5)).
pub const CRYPTTAB: &str = "/etc/crypttab";

/// Something that the start looks for to open a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// The volume; `None` where only the kernel command line speaks of it.
    pub volume: Option<String>,
    /// The device, as fstab(5) names them.
    pub source: String,
}

/// Every device that crypttab and the kernel command line name for a key or a header.
pub fn needed(capture: &Capture) -> Vec<Needed> {
    let table = capture.attribute(CRYPTTAB).unwrap_or_default();
    let line = capture.attribute("/proc/cmdline").unwrap_or_default();
    let by_line = line.split_whitespace().filter_map(by_parameter).map(|source| Needed { volume: None, source });
    table.lines().flat_map(by_table).chain(by_line).collect()
}

/// `name source key options`.
fn by_table(line: &str) -> Vec<Needed> {
    let mut words = line.split_whitespace();
    let Some(volume) = words.next().filter(|name| !name.starts_with('#')) else { return Vec::new() };
    let key = words.nth(1).unwrap_or_default();
    let options: Vec<&str> = words.next().unwrap_or_default().split(',').collect();
    if options.iter().any(|option| matches!(*option, "nofail" | "noauto")) {
        return Vec::new();
    }
    let headers = options.iter().filter_map(|option| option.strip_prefix("header="));
    let sources = std::iter::once(key).chain(headers).filter_map(device);
    sources.map(|source| Needed { volume: Some(volume.to_owned()), source }).collect()
}

/// `rd.luks.key=[UUID=]/key:DEVICE`, `rd.luks.options=[UUID=]header=/file:DEVICE` (systemd-cryptsetup-generator(8)), `cryptkey=DEVICE:…`
/// (mkinitcpio's hook `encrypt`).
fn by_parameter(word: &str) -> Option<String> {
    let (name, value) = word.split_once('=')?;
    match name.strip_prefix("rd.").unwrap_or(name) {
        "luks.key" => device(value.get(value.find('/')?..)?),
        "luks.options" => value.split(',').find_map(|option| device(option.split_once("header=")?.1)),
        "cryptkey" => value.split(':').next().filter(|source| !matches!(*source, "rootfs" | "none")).map(str::to_owned),
        _ => None,
    }
}

/// The device in `/dev/NAME`, `/dev/NAME:/file` or `/file:DEVICE`; a file alone is on what is mounted.
fn device(value: &str) -> Option<String> {
    let mut parts = value.split(':');
    let first = parts.next().filter(|first| first.starts_with("/dev/") && !first.ends_with("random") && *first != "/dev/zero");
    let source = first.or_else(|| parts.next().filter(|part| part.starts_with("/dev/") || part.contains('=')))?;
    Some(source.to_owned())
}

/// The table without what is not looked at.
pub fn reduced(text: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, source, rest @ ..] = words.as_slice() else { return None };
        let options = rest.get(1).copied().unwrap_or_default().split(',');
        let kept: Vec<&str> = options.filter(|option| matches!(*option, "nofail" | "noauto") || option.starts_with("header=")).collect();
        let shown = if kept.is_empty() { "luks".to_owned() } else { kept.join(",") };
        // What is no path is for a program to make a password of, or one itself.
        let key = rest.first().filter(|key| key.starts_with('/')).unwrap_or(&"none");
        (!name.starts_with('#')).then(|| format!("{name} {source} {key} {shown}\n"))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;

    const TABLE: &str = "# header=/dev/sdz\nroot UUID=1 none luks,header=/dev/disk/by-id/x,discard\na UUID=2 /k:LABEL=KEYS luks\nb UUID=3 /dev/sdb1:/key luks,keyscript=/x\nc UUID=4 /dev/urandom swap\nd UUID=5 /etc/key\ne UUID=6 /k:UUID=9 nofail\nf UUID=7 none header=/h.img:UUID=8\ng\nh UUID=1 -\ni UUID=2 hunter2 luks,keyscript=/bin/echo\n";

    fn host(table: &str, line: &str) -> Capture {
        let mut capture = Capture::new();
        capture.insert(CRYPTTAB, Entry::File(table.as_bytes().to_vec()));
        capture.insert("/proc/cmdline", Entry::File(line.as_bytes().to_vec()));
        capture
    }

    #[test]
    fn keys_and_headers_on_other_disks_are_found() {
        let found = |table: &str| {
            let all = needed(&host(table, ""));
            all.into_iter().map(|needed| (needed.volume.unwrap_or_default(), needed.source)).collect::<Vec<_>>()
        };
        let expected = [("root", "/dev/disk/by-id/x"), ("a", "LABEL=KEYS"), ("b", "/dev/sdb1"), ("f", "UUID=8")];
        assert_eq!(found(TABLE), expected.map(|(volume, source)| (volume.to_owned(), source.to_owned())));
        assert_eq!(found(&reduced(TABLE)), found(TABLE));
        assert!(!reduced(TABLE).contains("keyscript") && !reduced(TABLE).contains("hunter2"));
    }

    #[test]
    fn the_command_line_names_them_too() {
        for (word, source) in [
            ("rd.luks.key=0a1b-2c=/key:UUID=X-Y", Some("UUID=X-Y")),
            ("luks.key=/key:LABEL=K", Some("LABEL=K")),
            ("rd.luks.key=/key", None),
            ("rd.luks.key=", None),
            ("rd.luks.options=0a1b=discard,header=/h:/dev/sdc1", Some("/dev/sdc1")),
            ("rd.luks.options=discard", None),
            ("cryptkey=/dev/sdb:0:512", Some("/dev/sdb")),
            ("cryptkey=rootfs:/key", None),
            ("quiet", None),
        ] {
            let all = needed(&host("", &format!("ro {word}")));
            assert_eq!(all.first().map(|needed| needed.source.as_str()), source, "{word}");
        }
    }
}
