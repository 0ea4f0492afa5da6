//! Why an IOMMU is off: Xen, the kernel as it was built or started, its default, or the firmware.

use crate::bootloader::{self, ConfiguredWord};
use crate::parameter::{self, Switch};
use cede_model::host::CpuVendor;
use cede_model::iommu::{IommuState, KernelVersion};
use cede_model::kernel::Kernel;
use cede_model::{Evidence, Host};

/// Which family of IOMMU drivers the machine uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IommuFamily {
    /// VT-d: the DMAR table, `intel_iommu=`.
    Intel,
    /// AMD-Vi: the IVRS table, `amd_iommu=`; `on` is no value of it (drivers/iommu/amd/init.c `parse_amd_iommu_options`).
    Amd,
    /// SMMU: the IORT table or the device tree; no parameter switches it.
    Arm,
    /// RISC-V, virtio, or not to be told.
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
            (_, _, CpuVendor::Arm) => Self::Arm,
            _ if host.acpi.iort.known().is_some() => Self::Arm,
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
            Self::Arm | Self::Other => None,
        }
    }

    /// The build options of its drivers, of which one is enough (drivers/iommu/{intel,amd,arm}/Kconfig and drivers/iommu/Kconfig, Linux 6.12).
    fn build_options(self) -> &'static [&'static str] {
        match self {
            Self::Intel => &["CONFIG_INTEL_IOMMU"],
            Self::Amd => &["CONFIG_AMD_IOMMU"],
            Self::Arm => &["CONFIG_ARM_SMMU_V3", "CONFIG_ARM_SMMU"],
            Self::Other => &[],
        }
    }

    /// What to type to see what the drivers said.
    pub fn log_command(self) -> &'static str {
        match self {
            Self::Intel | Self::Amd => "sudo dmesg | grep -e DMAR -e AMD-Vi",
            Self::Arm | Self::Other => "sudo dmesg | grep -i -e smmu -e iommu",
        }
    }
}

/// What keeps the IOMMU off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OffCause {
    /// Xen keeps it, also from dom0.
    Xen(Evidence),
    /// These words keep the kernel from reading the tables of firmware in which the IOMMU stands.
    NoAcpi(Vec<String>),
    /// The running kernel was built without the driver.
    NotBuilt(Evidence),
    /// These words on the running kernel's command line.
    Parameter(Vec<String>),
    /// The firmware offers none: it is switched off there, or the machine has none.
    Firmware,
    /// The command line was not read, so it may be a parameter; why it was not.
    CommandLineUnknown(String),
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
    let off = off_words(&words, &off_switches(host));
    let without_acpi = no_acpi(&words, family);
    Some(if let Some(evidence) = under_xen(host) {
        OffCause::Xen(evidence)
    } else if !without_acpi.is_empty() {
        OffCause::NoAcpi(without_acpi)
    } else if let Some(evidence) = not_built(host, family) {
        OffCause::NotBuilt(evidence)
    } else if !off.is_empty() {
        OffCause::Parameter(off)
    } else if host.acpi.offer_none() && family != IommuFamily::Other {
        OffCause::Firmware
    } else {
        match (by_default(host, family, &words), unread(host)) {
            // A default that was seen is reason enough.
            (OffCause::KernelDefault(None) | OffCause::Unexplained, Some(why)) if family != IommuFamily::Arm => {
                OffCause::CommandLineUnknown(why)
            }
            (cause, _) => cause,
        }
    })
}

/// A paravirtualised kernel, dom0 too, never looks for an IOMMU (arch/x86/kernel/pci-dma.c `pci_iommu_alloc`, Linux 6.12); other guests of Xen
/// find no table of one. The file: Documentation/ABI/stable/sysfs-hypervisor-xen.
fn under_xen(host: &Host) -> Option<Evidence> {
    let kind = host.capture.attribute(HYPERVISOR).filter(|kind| *kind == "xen")?;
    Some(Evidence::new(HYPERVISOR, kind))
}

/// Which hypervisor the kernel runs on.
pub const HYPERVISOR: &str = "/sys/hypervisor/type";

/// `acpi=off` keeps the kernel from all tables, `force` behind it takes that back (arch/x86/kernel/acpi/boot.c `parse_acpi`, Linux 6.12).
/// `pci=noacpi` and `acpi=noirq` leave the tables alone, and `noacpi` is no parameter. On Arm the device tree is read instead.
fn no_acpi(words: &[String], family: IommuFamily) -> Vec<String> {
    let decides = |word: &&String| matches!(acpi_value(word), Some("off" | "force"));
    let last = words.iter().rev().find(decides).filter(|word| acpi_value(word) == Some("off"));
    last.filter(|_| family != IommuFamily::Arm).cloned().into_iter().collect()
}

fn acpi_value(word: &str) -> Option<&str> {
    let (name, value) = parameter::split(word);
    value.filter(|_| name == "acpi")
}

/// A configuration that does not speak of a driver may be an excerpt; one that was written for the kernel says `# … is not set`.
fn not_built(host: &Host, family: IommuFamily) -> Option<Evidence> {
    let kernel = host.running_kernel()?;
    let options = family.build_options();
    let values: Vec<_> = options.iter().filter_map(|option| kernel.config(&host.capture, option)).collect();
    let (_, path) = values.first().filter(|_| values.iter().all(|(value, _)| *value == "n"))?;
    let text = host.capture.attribute(path)?;
    let line = text.lines().find(|line| options.iter().any(|option| *line == format!("# {option} is not set")))?;
    Some(Evidence::new(path.as_str(), line.trim_start_matches("# ")))
}

fn unread(host: &Host) -> Option<String> {
    let why =
        || host.capture.unreadable("/proc/cmdline").map_or_else(|| "was not read".to_owned(), |why| format!("could not be read ({why})"));
    host.running_cmdline().known().is_none().then(why)
}

fn by_default(host: &Host, family: IommuFamily, words: &[String]) -> OffCause {
    let asked = asks_for(words, family);
    let running = host.running_kernel().and_then(|kernel| intel_default_of(host, kernel));
    match (family, running.map_or_else(|| intel_default(host), |(on, evidence)| (Some(on), Some(evidence)))) {
        (IommuFamily::Intel, (Some(false), evidence)) if !asked => OffCause::KernelDefault(evidence),
        (IommuFamily::Intel, (None, _)) if !asked => OffCause::KernelDefault(None),
        _ => OffCause::Unexplained,
    }
}

/// What switches this host's IOMMU off on the command line.
///
/// `iommu=off` is x86's (arch/x86/kernel/pci-dma.c `iommu_setup`). Up to Linux 5.18 bounce buffers that were asked for ended the search for an
/// IOMMU (arch/x86/kernel/pci-swiotlb.c, `IOMMU_INIT_FINISH`); since 5.19 (commit 78013eaadf69) they leave it alone.
pub fn off_switches(host: &Host) -> Vec<Switch> {
    let family = IommuFamily::of(host);
    let switch = |name, item| Switch { name, item };
    let mut list: Vec<Switch> = family.parameter().into_iter().map(|name| switch(name, "off")).collect();
    if family != IommuFamily::Arm {
        list.push(switch("iommu", "off"));
        let version = host.running.as_deref().and_then(KernelVersion::of_release);
        if version.is_some_and(|version| version < KernelVersion { major: 5, minor: 19 }) {
            list.extend([switch("iommu", "soft"), switch("swiotlb", "force")]);
        }
    }
    list
}

/// The words by which a kernel is told to leave the IOMMU off. The last item of `intel_iommu=` decides, over all words of that name
/// (drivers/iommu/intel/iommu.c `intel_iommu_setup`, the same from Linux 5.10 to 7.2); nothing takes the others back.
pub fn off_words(words: &[String], switches: &[Switch]) -> Vec<String> {
    let taken_back = asks_for(words, IommuFamily::Intel);
    let counts = |word: &&String| !(taken_back && Some(parameter::split(word).0.as_str()) == IommuFamily::Intel.parameter());
    words.iter().filter(|word| switches.iter().any(|switch| switch.is_in(word))).filter(counts).cloned().collect()
}

/// The words of the boot configuration by which the next start leaves the IOMMU off.
pub fn off_words_to_come(host: &Host) -> Vec<String> {
    let lines = bootloader::find(host).map(|loader| loader.lines(host)).unwrap_or_default();
    let texts = |line: Vec<ConfiguredWord>| line.into_iter().map(|word| word.text).collect::<Vec<_>>();
    let mut words: Vec<String> = lines.into_iter().flat_map(|line| off_words(&texts(line), &off_switches(host))).collect();
    words.sort();
    words.dedup();
    words
}

/// True where the words switch the IOMMU on.
pub fn asks_for(words: &[String], family: IommuFamily) -> bool {
    let own = words.iter().map(|word| parameter::split(word)).filter(|(name, _)| Some(name.as_str()) == family.parameter());
    let mut items = own.flat_map(|(_, value)| value.unwrap_or_default().split(','));
    items.rfind(|item| item.starts_with("on") || item.starts_with("off")).is_some_and(|item| item.starts_with("on"))
}

/// The words of `/proc/cmdline` that are the kernel's: what follows `--` is for init (kernel/params.c `parse_args`).
pub fn running_words(host: &Host) -> Vec<String> {
    let bytes = host.running_cmdline().known().map(|bytes| bytes.to_vec()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).split_whitespace().take_while(|word| *word != "--").map(str::to_owned).collect()
}

/// Whether the kernels that will run switch VT-d on by themselves: the build option of drivers/iommu/intel/Kconfig (Linux 6.1 and later;
/// `CONFIG_INTEL_IOMMU_DEFAULT_ON` alone before). True only where every installed kernel does; `None` where none tells.
pub fn intel_default(host: &Host) -> (Option<bool>, Option<Evidence>) {
    let mut each: Vec<(bool, Evidence)> = host.kernels.iter().filter_map(|kernel| intel_default_of(host, kernel)).collect();
    let decides = each.iter().position(|(on, _)| !on).map(|at| each.swap_remove(at)).or_else(|| each.pop());
    decides.map_or((None, None), |(on, evidence)| (Some(on), Some(evidence)))
}

fn intel_default_of(host: &Host, kernel: &Kernel) -> Option<(bool, Evidence)> {
    let value = |option: &str| kernel.config(&host.capture, option);
    let (plain, path) = value("CONFIG_INTEL_IOMMU_DEFAULT_ON")?;
    let without_gpu = value("CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF").is_some_and(|(value, _)| value == "y");
    let (on, text) = match (plain == "y", without_gpu) {
        (true, _) => (true, "CONFIG_INTEL_IOMMU_DEFAULT_ON=y"),
        (_, true) => (true, "CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y"),
        _ => (false, "CONFIG_INTEL_IOMMU_DEFAULT_ON is not set"),
    };
    Some((on, Evidence::new(path, text)))
}
