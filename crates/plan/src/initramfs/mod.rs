//! Initramfs generators: how each is told to load vfio-pci early. One file each and one line in the table.

pub mod initramfs_tools;
pub mod mkinitcpio;
pub mod unsupported;

use crate::bootloader::Named;
use crate::plan::{Condition, Refusal, Step};
use cede_model::kernel::{Kernel, installed::ModuleForm};
use cede_model::{Evidence, Host};
use unsupported::Unsupported;

/// What the image must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Early {
    /// Files of the host that must be inside, with their planned bytes (`/etc/modprobe.d/…`).
    pub files: Vec<(String, Vec<u8>)>,
    /// Modules that vfio-pci must come before.
    pub natives: Vec<String>,
    /// True where modprobe.d runs a shell command.
    pub needs_shell: bool,
}

/// What a generator needs to have changed, and how to see that it worked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GeneratorChange {
    /// File edits; empty where all is as wished.
    pub files: Vec<Step>,
    /// Tools to run when anything that goes into the image changed.
    pub tools: Vec<Step>,
    /// What must be true of the images afterwards.
    pub proofs: Vec<Condition>,
    /// What the reader should know.
    pub notes: Vec<String>,
    /// Files that the change was computed from.
    pub rests_on: Vec<String>,
}

/// An image to be made beside one that the generator makes, for a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialImage {
    /// File name of the image that the default entry starts; it tells the kernel.
    pub base: String,
    /// Path of the image to make.
    pub path: String,
}

/// One generator. Pure: facts in, steps out.
pub trait InitramfsGenerator: Sync {
    /// Name for people.
    fn name(&self) -> &'static str;
    /// True where this host's images come from it, by evidence.
    fn detect(&self, host: &Host) -> bool;
    /// True where another generator may stand beside it and make the images in its place.
    fn has_rivals(&self) -> bool {
        false
    }
    /// True where only its settings are there.
    fn is_left_over(&self, _host: &Host) -> bool {
        false
    }
    /// The modules that are listed for early loading, with underscores; the reason where that cannot be told.
    ///
    /// # Errors
    /// Why the list cannot be told.
    fn early_modules(&self, host: &Host) -> Result<Vec<String>, String>;
    /// Steps that make the images as wished.
    ///
    /// # Errors
    /// Why that cannot be done safely.
    fn change(&self, host: &Host, early: &Early) -> Result<GeneratorChange, Refusal>;
    /// Steps that make an image of our own with the vfio modules, by a configuration of our own; the files of `early` come by other ways.
    ///
    /// # Errors
    /// Why there can be none.
    fn trial(&self, _host: &Host, _early: &Early, _image: &TrialImage) -> Result<GeneratorChange, Refusal> {
        Err(Refusal::new("trial-unsupported", format!("cede cannot have {} make an image for a trial: leave --trial out", self.name())))
    }
}

/// Every generator there is.
pub const GENERATORS: &[&dyn InitramfsGenerator] = &[&mkinitcpio::Mkinitcpio, &initramfs_tools::InitramfsTools];

/// The generator of a host by name, also where it is none that cede sets up; `None` where it cannot be told.
pub fn named(host: &Host) -> Option<Named> {
    match judge(host) {
        Ok(generator) => Some(Named { name: generator.name(), supported: true }),
        Err(Fault::Unsupported(one, _)) => Some(Named { name: one.name, supported: false }),
        Err(Fault::Other(_)) => None,
    }
}

/// The generator of a host.
///
/// # Errors
/// None is known, several claim the host, or it is none that cede sets up.
pub fn find(host: &Host) -> Result<&'static dyn InitramfsGenerator, Refusal> {
    judge(host).map_err(|fault| match fault {
        Fault::Unsupported(one, evidence) => one.refusal(&evidence),
        Fault::Other(refusal) => refusal,
    })
}

enum Fault {
    Unsupported(&'static Unsupported, Evidence),
    Other(Refusal),
}

fn judge(host: &Host) -> Result<&'static dyn InitramfsGenerator, Fault> {
    let mut found: Vec<&dyn InitramfsGenerator> = GENERATORS.iter().copied().filter(|generator| generator.detect(host)).collect();
    if found.len() > 1 {
        found.retain(|generator| !generator.is_left_over(host));
    }
    let others = unsupported::found(host);
    match found.as_slice() {
        [one] => {
            let rivals = others.into_iter().filter(|(other, _)| one.has_rivals() && other.can_run(host)).collect::<Vec<_>>();
            match rivals.as_slice() {
                [] => Ok(*one),
                [(rival, evidence)] if one.is_left_over(host) => Err(Fault::Unsupported(rival, evidence.clone())),
                _ => match unsupported::in_place_of(host, one.name(), rivals).map_err(Fault::Other)? {
                    Some((rival, evidence)) => Err(Fault::Unsupported(rival, evidence)),
                    None => Ok(*one),
                },
            }
        }
        [] => match others.iter().find(|(other, _)| other.can_run(host)).or(others.first()) {
            Some((other, evidence)) => Err(Fault::Unsupported(other, evidence.clone())),
            None => Err(Fault::Other(Refusal::new(
                "initramfs-unknown",
                "no initramfs generator that cede knows was found: install mkinitcpio or initramfs-tools, or give a capture that has their files",
            ))),
        },
        several => {
            let names: Vec<_> = several.iter().map(|generator| generator.name()).collect();
            Err(Fault::Other(Refusal::new(
                "initramfs-ambiguous",
                format!("more than one initramfs generator is set up: {}; remove the one that is not used", names.join(", ")),
            )))
        }
    }
}

/// The modules to load early, in this order.
pub const VFIO_MODULES: [&str; 3] = ["vfio_pci", "vfio", "vfio_iommu_type1"];

/// A module of its own up to Linux 6.1, part of vfio since 6.2 (drivers/vfio/Kconfig).
pub const VIRQFD: &str = "vfio_virqfd";

/// Whether the kernels have the module: all, some, none, or nothing known of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All of them.
    All,
    /// Some of them.
    Some,
    /// None of them.
    None,
    /// No kernel is known.
    Unknown,
}

/// Counts the kernels that have a module as a file.
pub fn share(kernels: &[Kernel], module: &str) -> Share {
    match kernels.iter().filter(|kernel| kernel.form(module) == ModuleForm::Loadable).count() {
        _ if kernels.is_empty() => Share::Unknown,
        0 => Share::None,
        count if count == kernels.len() => Share::All,
        _ => Share::Some,
    }
}

/// What must be inside one image: vfio-pci with its list entry, and the files.
fn proofs(host: &Host, image: &str, kernel: Option<&Kernel>, early: &Early) -> Vec<Condition> {
    let release = kernel.map(|kernel| kernel.release.clone());
    let built_in = |module: &str| kernel.or(host.kernels.last()).is_some_and(|kernel| kernel.form(module) == ModuleForm::BuiltIn);
    let mut list = Vec::new();
    for module in VFIO_MODULES.into_iter().filter(|module| !built_in(module)) {
        list.push(Condition::ImageHasModule { image: image.to_owned(), kernel: release.clone(), module: module.to_owned() });
    }
    if !built_in("vfio_pci") {
        list.push(Condition::ImageLoads { image: image.to_owned(), module: "vfio_pci".to_owned() });
    }
    for (path, bytes) in &early.files {
        list.push(Condition::ImageHasFile { image: image.to_owned(), path: path.clone(), sha256: crate::digest::sha256(bytes) });
    }
    list
}
