//! Why an IOMMU is off: the parameter, the kernel's default, or the firmware.

use crate::parameter;
use cede_model::host::CpuVendor;
use cede_model::iommu::IommuState;
use cede_model::{Evidence, Host};

/// Which family of IOMMU drivers the machine uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IommuFamily {
    /// VT-d: the DMAR table, `intel_iommu=`.
    Intel,
    /// AMD-Vi: the IVRS table, `amd_iommu=`; `on` is no value of it (drivers/iommu/amd/init.c `parse_amd_iommu_options`).
    Amd,
    /// Arm, RISC-V, virtio, or not to be told.
    Other,
}

impl IommuFamily {
    /// Judges by the ACPI table, then by the processor, then by the host bridge.
    pub fn of(host: &Host) -> Self {
        match (host.acpi.dmar.known(), host.acpi.ivrs.known(), host.cpu_vendor()) {
            (Some(()), None, _) => Self::Intel,
            (None, Some(()), _) => Self::Amd,
            (_, _, CpuVendor::Intel) => Self::Intel,
            (_, _, CpuVendor::Amd) => Self::Amd,
            _ => Self::by_host_bridge(host),
        }
    }

    /// Where neither table nor processor was seen: the host bridge is part of the processor.
    fn by_host_bridge(host: &Host) -> Self {
        let bridge = host.devices.iter().find(|device| device.class.is_some_and(|class| class.base_and_sub() == 0x0600));
        match bridge.and_then(|device| device.id).map(|id| id.vendor) {
            Some(0x8086) => Self::Intel,
            Some(0x1022) => Self::Amd,
            _ => Self::Other,
        }
    }

    /// The name of its kernel parameter.
    pub fn parameter(self) -> Option<&'static str> {
        match self {
            Self::Intel => Some("intel_iommu"),
            Self::Amd => Some("amd_iommu"),
            Self::Other => None,
        }
    }
}

/// What keeps the IOMMU off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OffCause {
    /// These words on the running kernel's command line.
    Parameter(Vec<String>),
    /// The firmware offers none: it is switched off there, or the machine has none.
    Firmware,
    /// This kernel leaves it off unless told otherwise; where that was seen, if it was.
    KernelDefault(Option<Evidence>),
    /// It should be on. The kernel log tells why it is not.
    Unexplained,
}

/// Why the IOMMU is off; `None` where it is on or nothing is known.
pub fn why_off(host: &Host) -> Option<OffCause> {
    if host.iommu != IommuState::Off {
        return None;
    }
    let words = running_words(host);
    let family = IommuFamily::of(host);
    let off = off_words(&words, family);
    Some(if !off.is_empty() {
        OffCause::Parameter(off)
    } else if host.acpi.offer_none() && family != IommuFamily::Other {
        OffCause::Firmware
    } else {
        by_default(host, family, &words)
    })
}

fn by_default(host: &Host, family: IommuFamily, words: &[String]) -> OffCause {
    let asked = asks_for(words, family);
    match (family, intel_default(host)) {
        (IommuFamily::Intel, (Some(false), evidence)) if !asked => OffCause::KernelDefault(evidence),
        (IommuFamily::Intel, (None, _)) if !asked => OffCause::KernelDefault(None),
        _ => OffCause::Unexplained,
    }
}

/// The words by which the running kernel was told to leave the IOMMU off.
pub fn off_words(words: &[String], family: IommuFamily) -> Vec<String> {
    let names: Vec<&str> = family.parameter().into_iter().chain(["iommu"]).collect();
    let says_off = |word: &&String| {
        let (name, value) = parameter::split(word);
        names.contains(&name.as_str()) && value.unwrap_or_default().split(',').any(|item| item == "off")
    };
    words.iter().filter(says_off).cloned().collect()
}

/// True where the words switch the IOMMU on.
pub fn asks_for(words: &[String], family: IommuFamily) -> bool {
    words.iter().any(|word| is_on(word, family))
}

fn is_on(word: &str, family: IommuFamily) -> bool {
    let (name, value) = parameter::split(word);
    Some(name.as_str()) == family.parameter() && value.unwrap_or_default().split(',').any(|item| item == "on")
}

/// The words of `/proc/cmdline`.
pub fn running_words(host: &Host) -> Vec<String> {
    let bytes = host.running_cmdline().known().map(|bytes| bytes.to_vec()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).split_whitespace().map(str::to_owned).collect()
}

/// Whether the kernels that will run switch VT-d on by themselves: the build option of drivers/iommu/intel/Kconfig (Linux 6.1 and later;
/// `CONFIG_INTEL_IOMMU_DEFAULT_ON` alone before). True only where every installed kernel does; `None` where none tells.
pub fn intel_default(host: &Host) -> (Option<bool>, Option<Evidence>) {
    let mut verdict = None;
    let mut evidence = None;
    for kernel in &host.kernels {
        let on = |option: &str| kernel.config(&host.capture, option);
        let Some((plain, path)) = on("CONFIG_INTEL_IOMMU_DEFAULT_ON") else { continue };
        let without_gpu = on("CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF").is_some_and(|(value, _)| value == "y");
        let this = plain == "y" || without_gpu;
        if verdict != Some(false) {
            verdict = Some(this);
            let text = match (plain == "y", without_gpu) {
                (true, _) => "CONFIG_INTEL_IOMMU_DEFAULT_ON=y",
                (_, true) => "CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y",
                _ => "CONFIG_INTEL_IOMMU_DEFAULT_ON is not set",
            };
            evidence = Some(Evidence::new(path, text));
        }
    }
    (verdict, evidence)
}
