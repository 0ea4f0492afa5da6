//! Boot loaders: how each keeps the kernel command line. One file each and one line in the table.

pub mod entries;
pub mod grub;
mod grub_files;
mod grub_trial;
mod other_system;
pub mod systemd_boot;
mod systemd_trial;

use crate::parameter::Wish;
use crate::plan::{Refusal, Step};
use crate::unread;
use cede_model::{Evidence, Host};

pub use entries::BootEntry;

/// Whether a host uses something, by evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detection {
    /// No trace of it.
    No,
    /// Its files are there.
    Installed(Evidence),
    /// It was at work in this boot.
    InUse(Evidence),
}

/// One word of the command line that the next boot will get, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredWord {
    /// The word.
    pub text: String,
    /// File and line where it is set, as far as that can be told.
    pub source: Option<Evidence>,
}

/// What a boot loader needs to have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoaderChange {
    /// File edits; empty where all is as wished.
    pub files: Vec<Step>,
    /// Tools to run when anything changed, after the initramfs images are made.
    pub tools: Vec<Step>,
    /// Files that the change was computed from.
    pub rests_on: Vec<String>,
}

/// What an entry of our own must have beyond what the default entry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialEntry {
    /// Its title: ASCII, without quotes.
    pub title: String,
    /// Words of our own on its command line.
    pub words: Vec<String>,
    /// Whether it loads the archive of settings behind the image.
    pub settings: bool,
    /// Whether nothing chooses it for the next start.
    pub by_hand: bool,
}

/// What an entry of our own comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialChange {
    /// The entry's file.
    pub entry: Step,
    /// A tool that checks it.
    pub check: Option<Step>,
    /// The choice for the next start.
    pub once: Option<Step>,
    /// File name of the image that the default entry starts.
    pub base: String,
    /// Directory of that image, as the host sees it.
    pub directory: String,
    /// Files that the entry was made from; they stay as they are.
    pub rests_on: Vec<String>,
}

/// One way a host keeps its kernel command line. Pure: facts in, steps out.
pub trait Bootloader: Sync {
    /// Name for people.
    fn name(&self) -> &'static str;
    /// Whether this host uses it.
    fn detect(&self, host: &Host) -> Detection;
    /// The words that the next boot gets, from its sources.
    fn configured(&self, host: &Host) -> Vec<ConfiguredWord>;
    /// The same by command lines, where entries have sources of their own.
    fn lines(&self, host: &Host) -> Vec<Vec<ConfiguredWord>> {
        vec![self.configured(host)]
    }
    /// The generated entries, as the loader will read them.
    fn entries(&self, host: &Host) -> Vec<BootEntry>;
    /// Steps that make the next boot's command line as wished.
    ///
    /// # Errors
    /// Why it cannot be changed safely.
    fn change(&self, host: &Host, wish: &Wish) -> Result<LoaderChange, Refusal>;
    /// An entry of our own beside the default one, as wished, and its choice for one start.
    ///
    /// # Errors
    /// Why there can be none, or why the loader cannot start it just once.
    fn trial(&self, _host: &Host, _wish: &Wish, _trial: &TrialEntry) -> Result<TrialChange, Refusal> {
        Err(Refusal::new("trial-unsupported", format!("cede cannot add an entry to {} for a trial: leave --trial out", self.name())))
    }
}

/// Every boot loader there is.
pub const BOOTLOADERS: &[&dyn Bootloader] = &[&grub::Grub, &systemd_boot::SystemdBoot];

/// Marks of systems whose own tools own the boot configuration, and of loaders not supported: editing beside them would be undone or ignored.
const OWNERS: &[(&str, &str)] = &[
    ("/etc/NIXOS", "this is NixOS: its boot configuration comes from /etc/nixos; set boot.kernelParams there"),
    ("/run/ostree-booted", "this is an ostree system: its kernel parameters are set with `rpm-ostree kargs`"),
    (
        "/etc/kernel/proxmox-boot-uuids",
        "proxmox-boot-tool owns this boot configuration: add the parameters to /etc/kernel/cmdline and run `proxmox-boot-tool refresh`",
    ),
    ("/etc/kernelstub/configuration", "kernelstub owns this boot configuration: use `kernelstub -a PARAMETER`"),
    ("/boot/grub2/grub.cfg", "this GRUB keeps its entries below /boot/loader: use `grubby --update-kernel=ALL --args=PARAMETER`"),
];

/// The boot loader of a host.
///
/// # Errors
/// None is known, two claim the host, or something else owns the boot configuration.
pub fn find(host: &Host) -> Result<&'static dyn Bootloader, Refusal> {
    if let Some((_, why)) = OWNERS.iter().find(|(path, _)| host.capture.is_there(path)) {
        return Err(Refusal::new("boot-loader-unsupported", format!("cede cannot change this boot configuration yet: {why}")));
    }
    let marks = OWNERS.iter().map(|(path, _)| *path);
    if let Some(refusal) = std::iter::once("/boot").chain(marks).find_map(|path| hidden(host, path)) {
        return Err(refusal);
    }
    let found: Vec<(&dyn Bootloader, Detection)> =
        BOOTLOADERS.iter().map(|loader| (*loader, loader.detect(host))).filter(|(_, d)| *d != Detection::No).collect();
    let in_use: Vec<_> = found.iter().filter(|(_, detection)| matches!(detection, Detection::InUse(_))).collect();
    // What is installed is taken to be in use only where no other loader can hide.
    let hidden_entries = entries::PARTITIONS.iter().find_map(|partition| hidden(host, &format!("{partition}/loader/entries")));
    let hidden_evidence = found.iter().find_map(|(_, detection)| match detection {
        Detection::Installed(evidence) => hidden(host, &evidence.source),
        Detection::No | Detection::InUse(_) => None,
    });
    match (in_use.as_slice(), found.as_slice()) {
        ([(loader, _)], _) => Ok(*loader),
        ([], _) if let Some(refusal) = hidden_entries.or(hidden_evidence) => Err(refusal),
        ([], [(loader, _)]) => Ok(*loader),
        (_, []) => Err(Refusal::new(
            "boot-loader-unknown",
            "no boot loader that cede knows was found (GRUB, systemd-boot): `cede capture FILE` and a report would help to add yours",
        )),
        _ => {
            let names: Vec<_> = found.iter().map(|(loader, detection)| format!("{} ({})", loader.name(), evidence(detection))).collect();
            Err(Refusal::new(
                "boot-loader-ambiguous",
                format!("more than one boot loader is set up: {}; remove what is left over", names.join(", ")),
            ))
        }
    }
}

/// A place that decides which boot loader this is and that could not be looked at.
fn hidden(host: &Host, path: &str) -> Option<Refusal> {
    let why = host.capture.unreadable(path)?;
    let message = format!("which boot loader starts this host cannot be told: {}", unread::unreadable(path, why));
    Some(Refusal::new("boot-not-readable", message))
}

fn evidence(detection: &Detection) -> String {
    match detection {
        Detection::No => String::new(),
        Detection::Installed(evidence) | Detection::InUse(evidence) => evidence.source.clone(),
    }
}
