//! Which operating system this is, and by what firmware it was started.

use crate::capture::Capture;

/// From os-release(5). For people; backends are chosen by evidence, never by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `ID`, lower case.
    pub id: Option<String>,
    /// `PRETTY_NAME`, else `NAME`.
    pub name: Option<String>,
}

impl OsRelease {
    /// Reads `/etc/os-release`, else `/usr/lib/os-release`.
    pub fn read(capture: &Capture) -> Self {
        let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| capture.attribute(path)).unwrap_or_default();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
            Some(line.trim().trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
        };
        Self { id: value("ID"), name: value("PRETTY_NAME").or_else(|| value("NAME")) }
    }
}

/// How the machine was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// UEFI: `/sys/firmware/efi` is there.
    Uefi,
    /// Anything older.
    Bios,
    /// `/sys/firmware` was not seen.
    Unknown,
}

impl Firmware {
    /// Judges by `/sys/firmware/efi`.
    pub fn read(capture: &Capture) -> Self {
        if capture.exists("/sys/firmware/efi") {
            Self::Uefi
        } else if capture.observed("/sys/firmware/efi").is_absent() {
            Self::Bios
        } else {
            Self::Unknown
        }
    }
}
