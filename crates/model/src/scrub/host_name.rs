//! The host's name, which installers give to volume groups, menu entries and labels too.

use super::spliced;
use crate::capture::{Capture, Entry};
use crate::counted;
use crate::kernel::installed::module_of_path;
use crate::kernel::module_name;
use crate::uses::block_names::BLOCK;
use crate::uses::net::NET;
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

/// Where paths have words of the kernel's and of the distribution's. Names of interfaces and arrays are not among them.
const NAMED_BY_OTHERS: [&str; 4] = ["/sys/", "/proc/", "/usr/bin/", "/usr/sbin/"];

/// Words that the boot configuration, and what cede reads of it, are made of. A host of such a name is told by nothing else from all others.
const COMMON: &str = "addr alias amdgpu arch archlinux auto autodetect autofs backup base bcachefs binaries blacklist block boot btrfs busybox card cede \
    chainloader class cmdline conf config configfile console crypt cryptroot data default defaults desktop device devices devicetree disk done \
    dracut driver drivers encrypt entries entry environment eval export ext4 false fedora file files filesystems firmware force function grub \
    guest header home hook hooks host hugepages ignore image init initramfs initrd insmod install intel iommu kernel keyboard keyfile keymap \
    label libvirt linux list load loader local localhost loglevel luks machine main mapper menuentry microcode mkinitcpio modconf modprobe \
    module modules most mount name noauto nofail none nvidia nvme operations option options overlay part person physical platform pool preset presets \
    proc quiet ramfs remove resume root rootfs saved scripts scrubbed search server setup share softdep source splash submenu subvol swap \
    system systemd terminal test then timeout title tmpfs tools true type unset update uuid version vfat vfio virtual vmlinuz weakdep windows xfs zfs";

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
        let named = |place: &str| name(&String::from_utf8_lossy(capture.file(place)?));
        let places: Vec<(&str, String)> = PLACES.iter().filter_map(|place| Some((*place, named(place)?))).collect();
        for (place, _) in &places {
            capture.insert(*place, Entry::File(format!("{HOST}\n").into_bytes()));
        }
        let is_common = |name: &String| is_too_short(name) || COMMON.split_whitespace().any(|word| word == name) || is_used(capture, name);
        // Of `a.example.org` the first part is a name too; LVM doubles the dashes of both, and systemd escapes them.
        let parts = places.iter().flat_map(|(_, name)| [name.as_str(), name.split('.').next().unwrap_or_default()]);
        let forms: BTreeSet<String> =
            parts.flat_map(|name| [name.to_owned(), name.replace('-', "--")]).flat_map(|name| [name.replace('-', "\\x2d"), name]).collect();
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

/// Numbers are addresses and ids of devices, too.
fn is_too_short(name: &str) -> bool {
    let is_id = name.len() <= SHORTEST && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.len() < SHORTEST || is_id || name.bytes().all(|byte| byte.is_ascii_digit())
}

/// True where others than who named the host use the word: the distribution for itself, the kernel in its paths and for a module.
fn is_used(capture: &Capture, name: &str) -> bool {
    let has = |text: &str| places(text.to_lowercase().as_bytes(), name).next().is_some();
    let is_kernel_s = |path: &str| {
        NAMED_BY_OTHERS.iter().any(|start| path.starts_with(start)) && ![NET, BLOCK].iter().any(|named| path.starts_with(named))
    };
    let by_path = |(path, entry): (&str, &Entry)| is_kernel_s(path) && (has(path) || matches!(entry, Entry::Link(target) if has(target)));
    let is_module = |path: &str| {
        capture.attribute(path).is_some_and(|table| {
            table.lines().filter_map(|line| module_of_path(line.split(':').next()?)).any(|module| module == module_name(name))
        })
    };
    SYSTEM.iter().filter_map(|path| capture.attribute(path)).any(has)
        || capture.entries().any(by_path)
        || capture.entries().any(|(path, _)| path.ends_with("/modules.dep") && is_module(path))
}

/// The first word that is not a remark, in lower case, where it tells anything.
fn name(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    Some(line.trim_end_matches('.').to_lowercase()).filter(|name| !matches!(name.as_str(), HOST | "localhost" | "(none)"))
}

fn without(text: &[u8], name: &str, count: &mut usize) -> Vec<u8> {
    let lower = text.to_ascii_lowercase();
    spliced(text, places(&lower, name).inspect(|_| *count += 1), name.len(), HOST.as_bytes())
}

/// Where a name stands as a word, in a text in lower case.
fn places<'a>(text: &'a [u8], name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    // The letter of `\n` in the journal's JSON is no part of the word behind it.
    let follows = move |at: usize| is_part(at.checked_sub(1)) && at.checked_sub(2).and_then(|at| text.get(at)) != Some(&b'\\');
    memchr::memmem::find_iter(text, name).filter(move |at| !follows(*at) && !is_part(Some(*at + name.len())))
}
