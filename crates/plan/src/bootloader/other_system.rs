//! Loader entries of another operating system on the same partition: they are left alone.

use cede_model::Host;
use cede_model::boot::loader_entry::LoaderEntry;

/// True where an entry is seen to start another system than this one: by the root file system, where both are named alike, and by the
/// `machine-id` key (boot loader specification). An entry that tells neither is taken to be this host's.
pub(super) fn owns(host: &Host, path: &str) -> bool {
    let Some(bytes) = host.capture.file(path) else { return false };
    let entry = LoaderEntry::parse(bytes);
    let named = entry.value("machine-id").and_then(|value| machine_id(value.bytes));
    let same_id = named.zip(host.capture.file("/etc/machine-id").and_then(machine_id)).map(|(entry, host)| entry == host);
    let words: Vec<String> = String::from_utf8_lossy(&entry.options().unwrap_or_default()).split_whitespace().map(str::to_owned).collect();
    match same_root(&words, &crate::iommu_cause::running_words(host)) {
        // Its id may have been made anew since the entry was written.
        Some(true) => false,
        Some(false) => same_id != Some(true),
        None => same_id == Some(false),
    }
}

/// 32 hexadecimal digits (machine-id(5)); `uninitialized` is none.
fn machine_id(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes.trim_ascii()).ok()?.to_lowercase();
    (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

/// Whether both have the same root file system; `None` where that cannot be told. Several systems may live in subvolumes of one.
fn same_root(entry: &[String], running: &[String]) -> Option<bool> {
    let (one, other) = (value(entry, "root=")?, value(running, "root=")?);
    if one == other {
        return (value(entry, "rootflags=") == value(running, "rootflags=")).then_some(true);
    }
    let kind = |root: &str| root.split_once('=').map(|(kind, _)| kind.to_lowercase());
    let has_name = |root: &str| matches!(kind(root).as_deref(), Some("uuid" | "partuuid" | "label" | "partlabel"));
    (has_name(one) && kind(one) == kind(other) && !one.eq_ignore_ascii_case(other)).then_some(false)
}

/// The last value counts (init/do_mounts.c `root_dev_setup`).
fn value<'a>(words: &'a [String], key: &str) -> Option<&'a str> {
    words.iter().rev().find_map(|word| word.strip_prefix(key)).map(|value| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_compared_only_where_they_are_named_alike() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let cases = [
            ("root=UUID=a rw", "root=UUID=a quiet", Some(true)),
            ("root=UUID=a", "root=UUID=b", Some(false)),
            ("root=UUID=A", "root=UUID=a", None),
            ("root=UUID=b root=UUID=a", "root=UUID=a", Some(true)),
            ("root=UUID=a rootflags=subvol=@x", "root=UUID=a rootflags=subvol=@y", None),
            ("root=PARTUUID=a", "root=UUID=b", None),
            ("root=/dev/sda2", "root=/dev/sdb2", None),
            ("root=/dev/vg/root", "root=/dev/vg/root", Some(true)),
            ("rw", "root=UUID=a", None),
        ];
        for (entry, running, expected) in cases {
            assert_eq!(same_root(&words(entry), &words(running)), expected, "{entry} | {running}");
        }
    }
}
