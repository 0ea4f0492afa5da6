//! The host's name, which installers give to volume groups, menu entries and labels too.

use crate::capture::{Capture, Entry};
use crate::counted;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Where the name is read: the kernel's, and the one that it is given at the start (hostname(5)).
const PLACES: [&str; 2] = ["/proc/sys/kernel/hostname", "/etc/hostname"];

/// Texts of the distribution.
const SYSTEM: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// What stands for it.
const HOST: &str = "host";

/// Shorter names are parts of too many other words.
const SHORTEST: usize = 4;

/// Words that the boot configuration is made of. A host of such a name is told by nothing else from all others.
const COMMON: &str = "amdgpu arch archlinux auto block boot btrfs card cede class cmdline conf config console crypt cryptroot data default desktop \
    device devices disk driver drivers ext4 fedora file grub guest home host hugepages ignore image init initramfs initrd intel iommu \
    kernel label linux loader local localhost luks main mapper modprobe module modules mount nvidia nvme option options part pool proc root \
    server splash swap system systemd title true uuid vfio vmlinuz windows xfs zfs";

/// The host's name, in the forms in which it is replaced.
#[derive(Default)]
pub(super) struct HostName {
    /// In lower case, longer ones first: they have the others in them.
    forms: Vec<String>,
    is_known: bool,
    count: usize,
}

impl HostName {
    /// Takes it from its own places, where something else stands then.
    pub(super) fn take(capture: &mut Capture) -> Self {
        let places: Vec<(&str, String)> = PLACES.iter().filter_map(|place| Some((*place, name(capture.attribute(place)?)?))).collect();
        for (place, _) in &places {
            capture.insert(*place, Entry::File(format!("{HOST}\n").into_bytes()));
        }
        let system: String = SYSTEM.iter().filter_map(|path| capture.attribute(path)).collect::<String>().to_lowercase();
        let is_common =
            |name: &String| name.len() < SHORTEST || COMMON.split_whitespace().any(|word| word == name) || system.contains(name.as_str());
        // Of `a.example.org` the first part is a name too; LVM doubles the dashes of both.
        let parts = places.iter().flat_map(|(_, name)| [name.as_str(), name.split('.').next().unwrap_or_default()]);
        let forms: BTreeSet<String> = parts.flat_map(|name| [name.to_owned(), name.replace('-', "--")]).collect();
        let mut forms: Vec<String> = forms.into_iter().filter(|name| !is_common(name)).collect();
        forms.sort_by_key(|form| Reverse(form.len()));
        Self { forms, is_known: !places.is_empty(), count: places.len() }
    }

    /// A text without the name, whatever its case, where it stands as a word.
    pub(super) fn clean(&mut self, text: &[u8]) -> Vec<u8> {
        let count = &mut self.count;
        self.forms.iter().fold(text.to_vec(), |text, form| without(&text, form, count))
    }

    /// What was done about it.
    pub(super) fn said(&self) -> Option<String> {
        match self.forms.is_empty() {
            _ if !self.is_known => None,
            false => Some(format!("{} of the host's name", counted(self.count, "mention"))),
            true => Some("the host's name in its own file; it is too short or too common to be told from other words elsewhere".to_owned()),
        }
    }
}

/// True for texts of the distribution, which say nothing of the host: `ID=debian` is no host of that name.
pub(super) fn is_of_system(path: &str) -> bool {
    SYSTEM.contains(&path)
}

/// The first word that is not a remark, in lower case, where it tells anything.
fn name(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    Some(line.trim_end_matches('.').to_lowercase()).filter(|name| !matches!(name.as_str(), HOST | "localhost" | "(none)"))
}

fn without(text: &[u8], name: &str, count: &mut usize) -> Vec<u8> {
    let lower = text.to_ascii_lowercase();
    let is_part = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    // The letter of `\n` in the journal's JSON is no part of the word behind it.
    let follows = |at: usize| is_part(at.checked_sub(1)) && at.checked_sub(2).and_then(|at| text.get(at)) != Some(&b'\\');
    let mut out = Vec::with_capacity(text.len());
    let mut kept = 0;
    for at in memchr::memmem::find_iter(&lower, name).filter(|at| !follows(*at) && !is_part(Some(*at + name.len()))) {
        out.extend_from_slice(text.get(kept..at).unwrap_or_default());
        out.extend_from_slice(HOST.as_bytes());
        kept = at + name.len();
        *count += 1;
    }
    out.extend_from_slice(text.get(kept..).unwrap_or_default());
    out
}
