//! Takes out of a capture what identifies a machine or a person, and what is too large and not needed. Answers stay the same.

use crate::capture::{Capture, Entry};
use crate::counted;
use crate::pci::{ConfigSpace, capability::SERIAL_NUMBER, device};
use crate::uses::firmware_boot;
use host_name::HostName;
use identifiers::Identifiers;
use secrets::Secrets;
use uses::Names;

mod host_name;
mod identifiers;
mod secrets;
mod tables;
mod uses;

/// What was found, and what stands for it. Texts that are kept within others can be cleaned alike: [`Scrubber::clean`].
#[derive(Default)]
pub struct Scrubber {
    names: Names,
    identifiers: Identifiers,
    secrets: Secrets,
    name: HostName,
}

impl Scrubber {
    /// Scrubs a capture; returns what was scrubbed, one line each, which is also noted in it.
    pub fn scrub(&mut self, capture: &mut Capture) -> Vec<String> {
        serial_numbers(capture, &mut self.identifiers);
        self.names = uses::telling_names(capture);
        rewrite(capture, is_text, |text| self.names.clean(text));
        let uses = uses::scrub_uses(capture);
        let started = firmware_boot::partition(capture).map(|uuid| format!("PARTUUID={uuid}"));
        self.learn(started.as_deref().unwrap_or_default().as_bytes());
        for (path, entry) in capture.entries() {
            self.identifiers.learn(path.as_bytes());
            if let Entry::File(bytes) = entry
                && is_text(path)
            {
                self.identifiers.learn(bytes);
            }
        }
        rewrite(capture, is_text, |text| self.secrets.without_people(&self.identifiers.clean(text)));
        for path in capture.entries().map(|(path, _)| path).filter(|path| is_configuration(path)).map(str::to_owned).collect::<Vec<_>>() {
            if let Some(text) = capture.file(&path).map(|text| as_long(text, self.secrets.clean(text))) {
                capture.insert(path, Entry::File(text));
            }
        }
        let started = started.map(|source| String::from_utf8_lossy(&self.identifiers.clean(source.as_bytes())).into_owned());
        firmware_boot::rewrite(capture, started.as_deref().and_then(|source| source.strip_prefix("PARTUUID=")));
        self.name = HostName::take(capture);
        rewrite(capture, |path| is_text(path) && !host_name::is_of_system(path), |text| self.name.clean(text));
        let mut said = self.identifiers.said();
        said.extend(self.names.said());
        said.extend(uses);
        said.extend(self.secrets.said());
        said.extend(self.name.said());
        if tables::reduce_fstab(capture) {
            said.push("/etc/fstab, of which local disks stay".to_owned());
        }
        tables::reduce_processors(capture);
        tables::reduce(capture);
        capture.notes.extend(said.iter().map(|line| format!("scrubbed: {line}")));
        said
    }

    /// Learns what only its place shows to be an identifier, before texts are cleaned that were not in the capture.
    pub fn learn(&mut self, text: &[u8]) {
        self.identifiers.learn(text);
    }

    /// A text of the boot configuration, as it would be in the capture that was scrubbed.
    pub fn clean(&mut self, text: &[u8]) -> Vec<u8> {
        let clean = self.secrets.without_people(&self.identifiers.clean(&self.names.clean(text)));
        as_long(text, self.name.clean(&self.secrets.clean(&clean)))
    }
}

/// True for texts that may speak of this machine.
fn is_text(path: &str) -> bool {
    !["/lib/modules", "/usr/share/", device::PCI_DEVICES].iter().any(|table| path.starts_with(table))
}

/// True for what people and installers write.
fn is_configuration(path: &str) -> bool {
    const PLACES: [&str; 10] =
        ["/etc/", "/boot/", "/efi/", "/var/lib/", "/run/modprobe.d/", "/usr/local/", "/root/", "/home/", "/opt/", "/srv/"];
    path == "/proc/cmdline" || (PLACES.iter().any(|place| path.starts_with(place)) && !host_name::is_of_system(path))
}

/// How GRUB's environment block begins, whose size never changes (GRUB 2.06: grub-core/lib/envblk.c).
const ENVIRONMENT: &[u8] = b"# GRUB Environment Block\n";

/// What `old` became, filled up or cut where it must be as long.
fn as_long(old: &[u8], mut new: Vec<u8>) -> Vec<u8> {
    if old.starts_with(ENVIRONMENT) {
        new.resize(old.len(), b'#');
    }
    new
}

/// How the paths of the loader's variables begin (systemd: Boot Loader Interface).
const LOADER_VARIABLES: &str = "/sys/firmware/efi/efivars/Loader";

/// Puts every path, every link, and the files that are meant through `clean`.
fn rewrite(capture: &mut Capture, is_meant: impl Fn(&str) -> bool, mut clean: impl FnMut(&[u8]) -> Vec<u8>) {
    let mut out = Vec::with_capacity(capture.len());
    for (path, entry) in capture.entries() {
        let entry = match entry {
            Entry::File(bytes) if path.starts_with(LOADER_VARIABLES) => Entry::File(variable(bytes, &mut clean)),
            Entry::File(bytes) if is_meant(path) => Entry::File(as_long(bytes, clean(bytes))),
            Entry::Link(target) => Entry::Link(String::from_utf8_lossy(&clean(target.as_bytes())).into_owned()),
            other => other.clone(),
        };
        out.push((String::from_utf8_lossy(&clean(path.as_bytes())).into_owned(), entry));
    }
    let notes = std::mem::take(&mut capture.notes);
    *capture = Capture::new();
    capture.extend(out);
    capture.notes = notes;
}

/// A text with `new` wherever `old` stands.
fn replaced(text: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    spliced(text, memchr::memmem::find_iter(text, old), old.len(), new)
}

/// A text with `new` for the `length` bytes at each of the places.
fn spliced(text: &[u8], places: impl Iterator<Item = usize>, length: usize, new: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut kept = 0;
    for at in places {
        out.extend_from_slice(text.get(kept..at).unwrap_or_default());
        out.extend_from_slice(new);
        kept = at + length;
    }
    out.extend_from_slice(text.get(kept..).unwrap_or_default());
    out
}

/// A line for each kind of which there was any: how many, the noun, what more is to be said.
fn told<const N: usize>(counts: [(usize, &str, &str); N]) -> Vec<String> {
    counts.into_iter().filter(|(count, ..)| *count > 0).map(|(count, what, more)| counted(count, what) + more).collect()
}

/// A variable of the loader's: text of 16 bits behind four bytes of attributes.
fn variable(bytes: &[u8], clean: &mut impl FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (attributes, text) = bytes.split_at_checked(4).unwrap_or((bytes, &[]));
    let units: Vec<u16> = text.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(u16::from_le_bytes).collect();
    let text = clean(String::from_utf16_lossy(&units).as_bytes());
    let text = String::from_utf8_lossy(&text);
    attributes.iter().copied().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect()
}

/// Those of configuration space: eight bytes after the capability's header.
fn serial_numbers(capture: &mut Capture, identifiers: &mut Identifiers) {
    let paths: Vec<String> =
        capture.below(device::PCI_DEVICES).map(|(path, _)| path).filter(|path| path.ends_with("/config")).map(str::to_owned).collect();
    for path in paths {
        let Some(mut bytes) = capture.file(&path).map(<[u8]>::to_vec) else { continue };
        let space = ConfigSpace::from_sysfs(&bytes);
        let Some(serial) = space.serial_number().known() else { continue };
        let Some(at) = space.extended_capability(SERIAL_NUMBER).known().map(|capability| usize::from(capability.offset)) else { continue };
        if let Some(register) = bytes.get_mut(at + 4..at + 12) {
            register.copy_from_slice(&identifiers.serial(serial).to_le_bytes());
        }
        capture.insert(path, Entry::File(bytes));
    }
}

#[cfg(test)]
mod tests;
