//! Whether a kernel has the patch that reads `pcie_acs_override=`. Linux itself has it not; some distributions build it in.

/// What a kernel's name tells of the patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverridePatch {
    /// Its builders carry the patch.
    Has,
    /// Its builders do not.
    Lacks,
    /// The name does not tell.
    Unknown,
}

impl OverridePatch {
    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Has => "yes",
            Self::Lacks => "no",
            Self::Unknown => "cannot_tell",
        }
    }
}

/// Marks in the release of kernels with the patch: linux-zen, Liquorix (which builds on it), CachyOS, Proxmox VE, linux-vfio of the AUR.
const WITH: [&str; 6] = ["-zen", "-lqx", "liquorix", "-cachyos", "-pve", "-vfio"];

/// Marks of kernels without: Debian, Ubuntu, Fedora and its kin, openSUSE, Arch.
const WITHOUT: [&str; 9] = ["-amd64", "-arm64", "-generic", ".fc", ".el", "-default", "-arch1-", "-arch2-", "-lts"];

/// What the release of a kernel tells.
pub fn of_release(release: &str) -> OverridePatch {
    let has = |marks: &[&str]| marks.iter().any(|mark| release.contains(mark));
    match (has(&WITH), has(&WITHOUT)) {
        (true, _) => OverridePatch::Has,
        (false, true) => OverridePatch::Lacks,
        (false, false) => OverridePatch::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builders_are_known_by_their_marks() {
        for (release, patch) in [
            ("6.11.5-zen1-1-zen", OverridePatch::Has),
            ("6.8.12-4-pve", OverridePatch::Has),
            ("6.4.7-1-cachyos-lto", OverridePatch::Has),
            ("6.11.5-arch1-1", OverridePatch::Lacks),
            ("6.1.0-20-amd64", OverridePatch::Lacks),
            ("6.14.0-37-generic", OverridePatch::Lacks),
            ("6.8.2-300.fc40.x86_64", OverridePatch::Lacks),
            ("6.9.1", OverridePatch::Unknown),
        ] {
            assert_eq!(of_release(release), patch, "{release}");
        }
    }
}
