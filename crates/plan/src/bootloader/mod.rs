//! Boot loaders: how each keeps the kernel command line. One file each and one line in the table.

pub mod entries;
pub mod grub;
mod grub_files;
mod grub_trial;
mod other_system;
mod started;
pub mod systemd_boot;
mod systemd_trial;
pub mod unsupported;

use crate::journal;
use crate::parameter::Wish;
use crate::plan::{Refusal, Step};
use crate::unread;
use cede_model::{Evidence, Host};
use unsupported::Unsupported;

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

impl Detection {
    /// Of a loader of which files are there, and perhaps a trace of this start.
    fn of(files: Evidence, at_work: Option<&Evidence>) -> Self {
        at_work.map_or(Self::Installed(files), |trace| Self::InUse(trace.clone()))
    }
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
    /// True for a file of its settings.
    fn keeps(&self, path: &str) -> bool;
    /// Whether this host uses it; `at_work` is the trace of it in this start.
    fn detect(&self, host: &Host, at_work: Option<&Evidence>) -> Detection;
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

/// Refusals that leave it to the reader to set the parameters, who is told which.
pub const BY_HAND: [&str; 3] = [unsupported::ID, grub::MENU_BY_HAND, grub::MENU_ELSEWHERE];

/// A boot loader by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Name for people.
    pub name: &'static str,
    /// Whether cede changes it.
    pub supported: bool,
}

/// The boot loader of a host by name, also where it is none that cede changes; `None` where it cannot be told.
pub fn named(host: &Host) -> Option<Named> {
    match judge(host) {
        Ok(loader) => Some(Named { name: loader.name(), supported: true }),
        Err(Fault::Unsupported(one, _)) => Some(Named { name: one.name.trim_end_matches(','), supported: false }),
        Err(Fault::Other(_)) => None,
    }
}

/// The boot loader of a host.
///
/// # Errors
/// None is known, several claim the host, or it is none that cede changes.
pub fn find(host: &Host) -> Result<&'static dyn Bootloader, Refusal> {
    judge(host).map_err(|fault| match fault {
        Fault::Unsupported(one, evidence) => one.refusal(&evidence),
        Fault::Other(refusal) => refusal,
    })
}

/// The boot loader whose entries are to be proved: where the start does not tell it, as in a live system, the one that an operation of ours changed.
///
/// # Errors
/// As [`find`], where none did.
pub fn find_changed(host: &Host) -> Result<&'static dyn Bootloader, Refusal> {
    find(host).or_else(|refusal| {
        let operations = journal::operations(&host.capture).unwrap_or_default();
        let mut paths = operations.iter().rev().flat_map(|operation| &operation.plan.steps).filter_map(Step::path);
        paths.find_map(|path| BOOTLOADERS.iter().copied().find(|loader| loader.keeps(path))).ok_or(refusal)
    })
}

enum Fault {
    Unsupported(&'static Unsupported, Evidence),
    Other(Refusal),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Other(refusal)
    }
}

fn judge(host: &Host) -> Result<&'static dyn Bootloader, Fault> {
    if let Some((owner, evidence)) = unsupported::owner(host) {
        return Err(Fault::Unsupported(owner, evidence));
    }
    if let Some(refusal) = std::iter::once("/boot").chain(unsupported::owner_marks()).find_map(|path| hidden(host, path)) {
        return Err(refusal.into());
    }
    let trace = started::by(host);
    let detect = |loader: &dyn Bootloader| {
        loader.detect(host, trace.as_ref().filter(|trace| trace.name == loader.name()).map(|trace| &trace.evidence))
    };
    let found: Vec<(&dyn Bootloader, Detection)> =
        BOOTLOADERS.iter().map(|loader| (*loader, detect(*loader))).filter(|(_, d)| *d != Detection::No).collect();
    if let Some((loader, _)) = found.iter().find(|(_, detection)| matches!(detection, Detection::InUse(_))) {
        return Ok(*loader);
    }
    let others = unsupported::found(host, trace.as_ref());
    for (other, detection) in &others {
        if let Detection::InUse(evidence) = detection {
            return Err(Fault::Unsupported(other, evidence.clone()));
        }
    }
    // What is installed is taken to be in use only where no other loader can hide.
    let hidden_entries = entries::PARTITIONS.iter().find_map(|partition| hidden(host, &format!("{partition}/loader/entries")));
    let hidden_evidence = found.iter().find_map(|(_, detection)| match detection {
        Detection::Installed(evidence) => hidden(host, &evidence.source),
        Detection::No | Detection::InUse(_) => None,
    });
    let hidden_mark = || unsupported::hidden(host).and_then(|mark| hidden(host, mark));
    let at_work = trace.filter(|trace| BOOTLOADERS.iter().any(|loader| loader.name() == trace.name));
    match (found.as_slice(), others.as_slice()) {
        _ if let Some(refusal) = hidden_entries.or(hidden_evidence).or_else(hidden_mark) => Err(refusal.into()),
        ([], [(other, Detection::Installed(evidence))]) => Err(Fault::Unsupported(other, evidence.clone())),
        _ if let Some(trace) = at_work => Err(Fault::Other(unseen(&trace))),
        ([(loader, _)], []) => Ok(*loader),
        ([], []) => Err(Fault::Other(Refusal::new(
            "boot-loader-unknown",
            "no boot loader that cede knows was found (GRUB with its menu, systemd-boot with its entries): `cede capture FILE` and a report would help to add yours",
        ))),
        (found, others) => {
            let supported = found.iter().map(|(loader, detection)| (loader.name(), detection));
            let all = supported.chain(others.iter().map(|(other, detection)| (other.name, detection)));
            let names: Vec<_> = all.map(|(name, detection)| format!("{name} ({})", evidence(detection))).collect();
            Err(Fault::Other(Refusal::new(
                "boot-loader-ambiguous",
                format!(
                    "more than one boot loader is set up, and none was seen at work in this start: {}; with UEFI `efibootmgr -v` tells which one the firmware starts, remove what is left over of the others",
                    names.join(", ")
                ),
            )))
        }
    }
}

/// A loader of which the files are not where they are looked for; another's would be changed in vain.
fn unseen(trace: &started::Trace) -> Refusal {
    Refusal::new(
        "boot-loader-unseen",
        format!(
            "{} started this system ({}), and its configuration was not found below /boot, /efi or /boot/efi: mount the partition that holds it there; reboot first where the loader was replaced since; where it is another system's, add the parameters there",
            trace.name, trace.evidence
        ),
    )
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
