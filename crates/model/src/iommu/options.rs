//! What else than the functions decides about groups: kernel version, parameters, tables of firmware, patches.

use super::acs_parameters::AcsParameters;
use crate::pci::{PciId, id};
use std::fmt;
use std::str::FromStr;

/// Version of a kernel, as far as groups depend on it: `6.12`. Stable releases (the third number) bring quirks of later versions along,
/// so a table by version says what the first release did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// First number.
    pub major: u16,
    /// Second number.
    pub minor: u16,
}

impl KernelVersion {
    /// The oldest kernel of which the rules for groups were compared with those here.
    pub const OLDEST_KNOWN: Self = Self { major: 5, minor: 10 };
    /// The newest one.
    pub const NEWEST_KNOWN: Self = Self { major: 7, minor: 2 };

    /// True where what is foretold goes by this kernel's own rules.
    pub fn has_known_rules(self) -> bool {
        (Self::OLDEST_KNOWN..=Self::NEWEST_KNOWN).contains(&self)
    }

    /// The version of a release such as `6.1.0-20-amd64`.
    pub fn of_release(release: &str) -> Option<Self> {
        let mut numbers = release.split(['.', '-', '+', '_', '~']);
        Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why a text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kernel version: write it as in 6.12")]
pub struct NotAVersion(pub String);

impl FromStr for KernelVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        Self::of_release(text).ok_or_else(|| NotAVersion(text.to_owned()))
    }
}

/// `pcie_acs_override=`, of a patch that is not in Linux: which functions without an ACS capability are declared isolated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AcsOverride {
    /// Root ports and downstream ports.
    pub downstream: bool,
    /// Functions of slots with several.
    pub multifunction: bool,
    /// Functions of these vendors and devices, whatever they are.
    pub ids: Vec<PciId>,
}

impl AcsOverride {
    /// True where it declares nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a command line tells the patch, if anything it understands.
    pub fn from_cmdline(cmdline: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(cmdline);
        let value = text.split_whitespace().rev().find_map(|word| word.trim_matches('"').strip_prefix("pcie_acs_override="))?;
        Self::parse(value).ok().filter(|declared| !declared.is_empty())
    }

    /// Reads the parameter's value as the patch does: words separated by commas.
    ///
    /// # Errors
    /// The first word that it does not know.
    pub fn parse(value: &str) -> Result<Self, UnknownOverride> {
        let mut whole = Self::default();
        for word in value.split(',').filter(|word| !word.is_empty()) {
            match word.strip_prefix("id:") {
                Some(text) => whole.ids.push(id::parse(text).ok_or_else(|| UnknownOverride(word.to_owned()))?),
                None if word == "downstream" => whole.downstream = true,
                None if word == "multifunction" => whole.multifunction = true,
                None => return Err(UnknownOverride(word.to_owned())),
            }
        }
        Ok(whole)
    }
}

impl fmt::Display for AcsOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [(self.downstream, "downstream"), (self.multifunction, "multifunction")];
        let mut words: Vec<String> = flags.iter().filter(|(on, _)| *on).map(|(_, word)| (*word).to_owned()).collect();
        words.extend(self.ids.iter().map(|id| format!("id:{id}")));
        f.write_str(&words.join(","))
    }
}

/// A word that `pcie_acs_override=` does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of downstream, multifunction, id:VVVV:DDDD")]
pub struct UnknownOverride(pub String);

/// What else than the functions decides about groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PredictOptions {
    /// Firmware has an ACPI table IVRS: an AMD host with an IOMMU. Matters for AMD's old south bridges only.
    pub ivrs: bool,
    /// The kernel; `None` is the newest that is known here (7.2).
    pub kernel: Option<KernelVersion>,
    /// What the command line says of ACS.
    pub parameters: AcsParameters,
    /// What the override patch declares; empty without the patch.
    pub acs_override: AcsOverride,
}

impl PredictOptions {
    /// `pci=config_acs=` came with 6.11, and with it `disable_acs_redir=` began to go by what firmware had left.
    pub(super) fn has_config_acs(&self) -> bool {
        self.has((6, 11))
    }

    /// True where the kernel has what came with `version`.
    pub(super) fn has(&self, version: (u16, u16)) -> bool {
        self.kernel.is_none_or(|kernel| (kernel.major, kernel.minor) >= version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_releases() {
        for (release, version) in
            [("6.1.0-20-amd64", Some("6.1")), ("7.2", Some("7.2")), ("6.8.0-next-20240312+", Some("6.8")), ("x", None)]
        {
            assert_eq!(KernelVersion::of_release(release).map(|version| version.to_string()).as_deref(), version);
        }
        let known = |text: &str| text.parse::<KernelVersion>().unwrap().has_known_rules();
        assert_eq!(["5.4", "5.10", "6.18", "7.2", "7.3", "10.0"].map(known), [false, true, true, true, false, false]);
        assert!("six".parse::<KernelVersion>().unwrap_err().to_string().contains("6.12"));
    }

    #[test]
    fn overrides_are_read_and_written() {
        let text = "downstream,multifunction,id:10de:1f91";
        assert_eq!(AcsOverride::parse(text).unwrap().to_string(), text);
        assert!(AcsOverride::parse("").unwrap().is_empty());
        assert!(AcsOverride::parse("downstream,id:10de").unwrap_err().to_string().contains("id:10de"));
    }
}
