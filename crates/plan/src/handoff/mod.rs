//! The text for the machine that takes the devices: one file for each, one line in the table. Pure: facts in, text out.

pub mod advice;
pub mod domain;
pub mod group;
pub mod kubevirt;
pub mod layout;
pub mod libvirt;
pub mod nixos;
pub mod proxmox;
pub mod qemu;

use crate::plan::Refusal;
use cede_model::Host;
use cede_model::pci::PciAddress;
pub use domain::Domain;
pub use group::{Given, Member, Standing};

/// What is asked for beside the functions themselves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Absolute path of an option ROM for the first function named, and whether a UEFI driver is in it.
    pub rom: Option<Rom>,
    /// The domain that gets the devices; libvirt only.
    pub domain: Option<Domain>,
}

/// An option ROM in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rom {
    /// Absolute path.
    pub path: String,
    /// True where a UEFI driver for x86-64 is in it.
    pub has_uefi_driver: bool,
}

/// What a target answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// The text itself, complete with line ends.
    pub text: String,
    /// Single elements of the text, where the target knows such.
    pub parts: Vec<String>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// What is handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handoff {
    /// The functions, each with how it stands.
    pub given: Given,
    /// The target's answer; notes of the host come after its own.
    pub text: Text,
}

/// A machine that takes devices.
pub trait Target: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;
    /// What its text is, in a few words.
    fn about(&self) -> &'static str;
    /// How far the devices must be ceded before it can take them.
    fn needs(&self) -> Standing;
    /// True where the text itself is what cedes the devices.
    fn cedes(&self) -> bool {
        false
    }
    /// The text.
    ///
    /// # Errors
    /// Why these devices cannot be handed over like this.
    fn text(&self, host: &Host, given: &Given, options: &Options) -> Result<Text, Vec<Refusal>>;
}

/// Every target there is.
pub const TARGETS: &[&dyn Target] = &[&libvirt::Libvirt, &qemu::Qemu, &proxmox::Proxmox, &kubevirt::KubeVirt, &nixos::NixOs];

impl std::fmt::Debug for dyn Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Makes the text for a target.
///
/// # Errors
/// Every reason why these functions cannot be handed over.
pub fn handoff(host: &Host, wanted: &[PciAddress], target: &dyn Target, options: &Options) -> Result<Handoff, Vec<Refusal>> {
    let given = if target.cedes() { group::foretell(host, wanted) } else { group::give(host, wanted, target.needs()) }?;
    let mut text = target.text(host, &given, options)?;
    text.notes.extend(advice::notes(host, &given, target.name(), options));
    Ok(Handoff { given, text })
}
