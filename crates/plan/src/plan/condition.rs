//! What must be true, now or after the reboot, for a plan to have worked.

use crate::intent::Identity;
use cede_model::pci::PciAddress;

/// When a condition must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the reboot, once the tools have run.
    Now,
    /// After the next start.
    AfterReboot,
    /// Once what a plan for the running system did is taken back.
    OnRelease,
}

/// One thing that can be looked at and found true or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The file has these bytes (SHA-256), or is not there.
    FileIs {
        /// Path.
        path: String,
        /// Digest, or `None` for no file.
        sha256: Option<String>,
    },
    /// The initramfs image holds the module, for this kernel where it is named.
    ImageHasModule {
        /// Path of the image.
        image: String,
        /// Kernel release, where known.
        kernel: Option<String>,
        /// Module, with underscores.
        module: String,
    },
    /// The image can be opened and is whole, as far as its checksums tell.
    ImageOpens {
        /// Path of the image.
        image: String,
    },
    /// The image holds a copy of a file with these bytes.
    ImageHasFile {
        /// Path of the image.
        image: String,
        /// Path inside, which is also the path on the host.
        path: String,
        /// Digest of the planned bytes.
        sha256: String,
    },
    /// The image holds no copy of a file that is gone.
    ImageLacksFile {
        /// Path of the image.
        image: String,
        /// Path inside, which is also the path on the host.
        path: String,
    },
    /// The image's list of modules to load early names the module.
    ImageLoads {
        /// Path of the image.
        image: String,
        /// Module, with underscores.
        module: String,
    },
    /// Every boot entry but the rescue entries has the parameter.
    EntriesCarry {
        /// The parameter, as on the kernel command line.
        parameter: String,
    },
    /// No boot entry but the rescue entries has the parameter.
    EntriesLack {
        /// The parameter.
        parameter: String,
    },
    /// The generated menu still starts every one of these kernels, and each file that its entries name is there.
    MenuStarts {
        /// The kernels that it started before, as the menu names them.
        kernels: Vec<String>,
    },
    /// The running kernel was given the parameter.
    RunningWith {
        /// The parameter.
        parameter: String,
    },
    /// The running kernel was not given the parameter.
    RunningWithout {
        /// The parameter.
        parameter: String,
    },
    /// An IOMMU is at work.
    IommuOn,
    /// The function at the address is the one meant, and this driver has it.
    BoundTo {
        /// Which function.
        device: Identity,
        /// Name of the driver.
        driver: String,
    },
    /// The driver does not have the function.
    NotOn {
        /// Which function.
        device: Identity,
        /// Name of the driver.
        driver: String,
    },
    /// Every endpoint in the groups of these functions is ceded: the group is as planned or foretold.
    GroupsWhole {
        /// The ceded functions.
        devices: Vec<PciAddress>,
    },
    /// The function has what programs use of it.
    Serves {
        /// Which function.
        device: Identity,
        /// What that is.
        service: Service,
    },
    /// The physical function has so many virtual ones.
    HasVirtualFunctions {
        /// Which function.
        device: Identity,
        /// How many.
        count: u32,
    },
    /// No other function with these ids was taken along.
    NoTwinTaken {
        /// The ceded functions.
        devices: Vec<Identity>,
    },
}

/// What programs use of a function whose driver works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A network interface.
    Network,
    /// A card below `/dev/dri`.
    Display,
    /// A block device.
    Disk,
    /// A sound card below `/dev/snd`.
    Sound,
}

impl Service {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Network, Self::Display, Self::Disk, Self::Sound];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Display => "display",
            Self::Disk => "disk",
            Self::Sound => "sound",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Network => "a network interface",
            Self::Display => "a card below /dev/dri",
            Self::Disk => "a block device",
            Self::Sound => "a sound card",
        }
    }
}

impl Condition {
    /// The condition as one part of a whole: what other operations ceded was not taken along.
    #[must_use]
    pub fn beside(self, ceded: &[Identity]) -> Self {
        match self {
            Self::NoTwinTaken { mut devices } => {
                devices.extend(ceded.iter().filter(|other| !devices.contains(other)).cloned().collect::<Vec<_>>());
                Self::NoTwinTaken { devices }
            }
            other => other,
        }
    }

    /// The image that the condition speaks of.
    pub fn image(&self) -> Option<&str> {
        match self {
            Self::ImageHasModule { image, .. }
            | Self::ImageHasFile { image, .. }
            | Self::ImageLacksFile { image, .. }
            | Self::ImageLoads { image, .. }
            | Self::ImageOpens { image } => Some(image),
            _ => None,
        }
    }

    /// The same condition of another image.
    pub fn of_image(mut self, path: &str) -> Self {
        match &mut self {
            Self::ImageHasModule { image, .. }
            | Self::ImageHasFile { image, .. }
            | Self::ImageLoads { image, .. }
            | Self::ImageLacksFile { image, .. }
            | Self::ImageOpens { image } => path.clone_into(image),
            _ => {}
        }
        self
    }
}

/// A condition and when it must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// When.
    pub when: When,
    /// What.
    pub what: Condition,
}

impl Expectation {
    /// Must hold before the reboot.
    pub fn now(what: Condition) -> Self {
        Self { when: When::Now, what }
    }

    /// Must hold after the next start.
    pub fn after_reboot(what: Condition) -> Self {
        Self { when: When::AfterReboot, what }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FileIs { path, sha256: Some(_) } => write!(f, "{path} is as planned"),
            Self::FileIs { path, sha256: None } => write!(f, "{path} is gone"),
            Self::ImageHasModule { image, kernel: Some(kernel), module } => write!(f, "{image} holds {module} for {kernel}"),
            Self::ImageHasModule { image, kernel: None, module } => write!(f, "{image} holds {module}"),
            Self::ImageOpens { image } => write!(f, "{image} can be opened"),
            Self::ImageHasFile { image, path, .. } => write!(f, "{image} holds {path} as planned"),
            Self::ImageLacksFile { image, path } => write!(f, "{image} holds no {path}"),
            Self::ImageLoads { image, module } => write!(f, "{image} loads {module} early"),
            Self::EntriesCarry { parameter } => write!(f, "every boot entry has {parameter}"),
            Self::EntriesLack { parameter } => write!(f, "no boot entry has {parameter}"),
            Self::MenuStarts { kernels } if kernels.is_empty() => write!(f, "the boot menu starts a kernel that is there"),
            Self::MenuStarts { kernels } => write!(f, "the boot menu still starts {}", kernels.join(", ")),
            Self::RunningWith { parameter } => write!(f, "the kernel was started with {parameter}"),
            Self::RunningWithout { parameter } => write!(f, "the kernel was started without {parameter}"),
            Self::IommuOn => write!(f, "the IOMMU is on"),
            Self::BoundTo { device, driver } => write!(f, "{device} is on {driver}"),
            Self::NotOn { device, driver } => write!(f, "{device} is not on {driver}"),
            Self::GroupsWhole { devices } => write!(f, "the whole group of {} is ceded", list(devices)),
            Self::Serves { device, service } => write!(f, "{device} has {}", service.words()),
            Self::HasVirtualFunctions { device, count } => write!(f, "{device} has {count} virtual functions"),
            Self::NoTwinTaken { .. } => write!(f, "no other device was taken along"),
        }
    }
}

fn list(devices: &[PciAddress]) -> String {
    devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
