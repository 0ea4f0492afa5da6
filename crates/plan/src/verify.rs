//! Expectations against a fresh look at the host.

use crate::bootloader::{self, BootEntry};
use crate::by_address;
use crate::digest::sha256;
use crate::intent::Identity;
use crate::iommu_cause::{self, IommuFamily, OffCause};
use crate::parameter;
use crate::plan::condition::Service;
use crate::plan::{Condition, Expectation, When};
use crate::runtime::{services, virtual_of};
use crate::whereabouts;
use cede_model::iommu::IommuState;
use cede_model::kernel::installed::{ModuleForm, module_name, module_of_path};
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::{Entry, Host, Observed};

/// How one condition came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Result3 {
    /// It holds.
    Met,
    /// It does not.
    NotMet,
    /// The facts do not suffice.
    CannotTell,
}

impl Result3 {
    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotMet => "not_met",
            Self::CannotTell => "cannot_tell",
        }
    }
}

/// One condition, how it came out, and why where it did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The condition in words.
    pub what: String,
    /// How it came out.
    pub result: Result3,
    /// Why it does not hold, or what to look at.
    pub cause: Option<String>,
}

/// The answer of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Every condition that was looked at.
    pub outcomes: Vec<Outcome>,
}

impl VerifyReport {
    /// True only if something was checked and all of it held.
    pub fn passed(&self) -> bool {
        !self.outcomes.is_empty() && self.outcomes.iter().all(|outcome| outcome.result == Result3::Met)
    }
}

/// Judges the expectations of one time.
pub fn verify(host: &Host, expects: &[Expectation], when: When) -> VerifyReport {
    VerifyReport {
        outcomes: expects.iter().filter(|expectation| expectation.when == when).map(|expectation| judge(host, &expectation.what)).collect(),
    }
}

/// What was made for the next start, judged once more: boot entries, the menu and images. The files themselves others may have edited since, and a
/// kernel that is gone needs nothing.
pub fn made(host: &Host, expects: &[Expectation]) -> VerifyReport {
    let is_installed = |release: &str| host.kernels.iter().any(|kernel| kernel.release == release);
    let is_there = |kernel: &String| kernel.rsplit('/').next().is_some_and(|name| host.capture.is_there(&format!("/boot/{name}")));
    let still = |what: &Condition| match what {
        Condition::ImageHasModule { kernel: Some(release), .. } if !is_installed(release) => None,
        Condition::MenuStarts { kernels } => {
            Some(Condition::MenuStarts { kernels: kernels.iter().filter(|kernel| is_there(kernel)).cloned().collect() })
        }
        Condition::EntriesCarry { .. } | Condition::EntriesLack { .. } => Some(what.clone()),
        other => other.image().is_some().then(|| what.clone()),
    };
    let now = expects.iter().filter(|expectation| expectation.when == When::Now);
    VerifyReport { outcomes: now.filter_map(|expectation| still(&expectation.what)).map(|what| judge(host, &what)).collect() }
}

/// The same outcomes for expectations that cannot be judged yet.
pub fn not_yet(expects: &[Expectation], when: When, cause: &str) -> VerifyReport {
    let outcome = |what: &Condition| Outcome { what: what.to_string(), result: Result3::CannotTell, cause: Some(cause.to_owned()) };
    VerifyReport { outcomes: expects.iter().filter(|e| e.when == when).map(|e| outcome(&e.what)).collect() }
}

/// Judges one condition.
pub fn judge(host: &Host, condition: &Condition) -> Outcome {
    let (result, cause) = match condition {
        Condition::FileIs { path, sha256 } => file_is(host, path, sha256.as_deref()),
        Condition::ImageHasModule { image, kernel, module } => image_has_module(host, image, kernel.as_deref(), module),
        Condition::ImageHasFile { image, path, sha256 } => image_has_file(host, image, path, sha256),
        Condition::ImageLacksFile { image, path } => image_lacks_file(host, image, path),
        Condition::ImageLoads { image, module } => image_loads(host, image, module),
        Condition::EntriesCarry { parameter } => entries(host, |words| in_force(words, parameter), "lacks it"),
        Condition::EntriesLack { parameter } => entries(host, |words| !words.iter().any(|word| carries(word, parameter)), "still has it"),
        Condition::ImageOpens { image: path } => image(host, path).map_or_else(|judged| judged, |_| MET),
        Condition::MenuStarts { kernels } => menu_starts(host, kernels),
        Condition::RunningWith { parameter } => running(host, |words| in_force(words, parameter), "does not have it"),
        Condition::RunningWithout { parameter } => {
            running(host, |words| !words.iter().any(|word| parameter::same(word, parameter)), "still has it")
        }
        Condition::IommuOn => iommu_on(host),
        Condition::BoundTo { device, driver } => bound_to(host, device, driver),
        Condition::NotOn { device, driver } => not_on(host, device, driver),
        Condition::GroupsWhole { devices } => groups_whole(host, devices),
        Condition::Serves { device, service } => serves(host, device, *service),
        Condition::HasVirtualFunctions { device, count } => has_virtual_functions(host, device, *count),
        Condition::NoTwinTaken { devices } => no_twin_taken(host, devices),
    };
    Outcome { what: condition.to_string(), result, cause }
}

fn has_virtual_functions(host: &Host, device: &Identity, count: u32) -> Judged {
    match virtual_of(host, device.address).count() {
        seen if u32::try_from(seen) == Ok(count) => MET,
        seen => not_met(format!("it has {seen}: `sudo dmesg` may tell why")),
    }
}

fn serves(host: &Host, device: &Identity, service: Service) -> Judged {
    if services::of(&host.capture, device.address).contains(&service) {
        MET
    } else {
        not_met("it did not come back: `sudo dmesg` may tell why")
    }
}

type Judged = (Result3, Option<String>);

const MET: Judged = (Result3::Met, None);

fn not_met(cause: impl Into<String>) -> Judged {
    (Result3::NotMet, Some(cause.into()))
}

fn cannot_tell(cause: impl Into<String>) -> Judged {
    (Result3::CannotTell, Some(cause.into()))
}

fn file_is(host: &Host, path: &str, wanted: Option<&str>) -> Judged {
    match (host.capture.observed(path), wanted) {
        (Observed::Known(bytes), Some(wanted)) if sha256(bytes) == wanted => MET,
        (Observed::Known(_), Some(_)) => not_met(format!("{path} has other content")),
        (Observed::Known(_), None) => not_met(format!("{path} is there")),
        (Observed::Absent, None) => MET,
        (Observed::Absent, Some(_)) => not_met(format!("there is no {path}")),
        (Observed::Unknown(why), _) => cannot_tell(why),
    }
}

/// The paths inside an image; the reason where it was not or could not be opened.
fn image<'a>(host: &'a Host, image: &str) -> Result<impl Iterator<Item = (&'a str, &'a Entry)>, Judged> {
    let root = format!("{image}!");
    match host.capture.get(&root) {
        Some(Entry::Dir) => {
            let prefix = format!("{root}/");
            let skip = prefix.len();
            Ok(host.capture.below(prefix).filter_map(move |(path, entry)| Some((path.get(skip..)?, entry))))
        }
        Some(Entry::Absent) => Err(not_met(format!("there is no {image}"))),
        Some(Entry::Unreadable(why)) => Err(not_met(format!("{image}: {why}"))),
        _ => Err(cannot_tell(format!("{image} was not opened"))),
    }
}

fn image_has_module(host: &Host, path: &str, kernel: Option<&str>, module: &str) -> Judged {
    if kernel.and_then(|release| host.kernels.iter().find(|k| k.release == release)).is_some_and(|k| k.form(module) == ModuleForm::BuiltIn)
    {
        return MET;
    }
    let mut names = match image(host, path) {
        Ok(names) => names,
        Err(judged) => return judged,
    };
    let below = kernel.map(|release| format!("modules/{release}/"));
    let right_kernel = |name: &str| below.as_ref().is_none_or(|below| name.contains(below.as_str()));
    if names.any(|(name, _)| right_kernel(name) && module_of_path(name).as_deref() == Some(module)) {
        MET
    } else {
        not_met(format!("{module} is not in {path}: the generator left it out, look at its output"))
    }
}

fn image_has_file(host: &Host, path: &str, file: &str, wanted: &str) -> Judged {
    if let Err(judged) = image(host, path).map(|_| ()) {
        return judged;
    }
    match host.capture.get(&format!("{path}!{file}")) {
        Some(Entry::File(bytes)) if sha256(bytes) == wanted => MET,
        Some(Entry::File(_)) => not_met(format!("the copy of {file} in {path} has other content")),
        _ => not_met(format!("{file} is not in {path}")),
    }
}

fn image_lacks_file(host: &Host, path: &str, file: &str) -> Judged {
    let mut names = match image(host, path) {
        Ok(names) => names,
        Err(judged) => return judged,
    };
    if names.any(|(name, _)| name == file.trim_start_matches('/')) { not_met(format!("{file} is still in {path}")) } else { MET }
}

/// Each generator keeps its list elsewhere: initramfs-tools in `conf/modules`, mkinitcpio in `config` (busybox init) or in modules-load.d
/// (its systemd hook), where a line is one name and `config` is written but not read.
fn image_loads(host: &Host, path: &str, module: &str) -> Judged {
    if let Err(judged) = image(host, path).map(|_| ()) {
        return judged;
    }
    let text = |name: &str| host.capture.attribute(&format!("{path}!/{name}"));
    let debian = text("conf/modules").unwrap_or_default().lines().filter_map(|line| line.split_whitespace().next());
    let systemd = ["etc", "usr/lib"].map(|dir| text(&format!("{dir}/modules-load.d/MODULES.conf")));
    let lines = systemd.iter().flatten().flat_map(|text| text.lines()).map(str::trim);
    let config = text("config").filter(|_| systemd.iter().all(Option::is_none)).unwrap_or_default();
    let words = config
        .lines()
        .filter_map(|line| line.strip_prefix("MODULES="))
        .flat_map(|value| value.trim_matches(['"', '\'', '(', ')']).split_whitespace());
    if debian.chain(lines).chain(words).any(|name| module_name(name) == module) {
        MET
    } else {
        not_met(format!("{path} does not list {module} to be loaded early"))
    }
}

fn entries(host: &Host, holds: impl Fn(&[String]) -> bool, problem: &str) -> Judged {
    let loader = match bootloader::find_changed(host) {
        Ok(loader) => loader,
        Err(refusal) => return cannot_tell(refusal.message),
    };
    let entries: Vec<BootEntry> = loader.entries(host).into_iter().filter(|entry| !entry.rescue).collect();
    match entries.iter().find(|entry| !holds(&entry.words)) {
        _ if entries.is_empty() => cannot_tell(format!("{} has no boot entry that could be read", loader.name())),
        Some(entry) => not_met(format!("{}:{}: entry `{}` {problem}", entry.path, entry.line, entry.title)),
        None => MET,
    }
}

/// Of several `vfio-pci.ids=` the kernel takes the last; any other parameter may stand anywhere.
fn in_force(words: &[String], parameter: &str) -> bool {
    let is_ids = |word: &&String| parameter::split(word).0 == parameter::VFIO_IDS;
    if parameter::split(parameter).0 == parameter::VFIO_IDS {
        return words.iter().rev().find(is_ids).is_some_and(|word| carries(word, parameter));
    }
    words.iter().any(|word| carries(word, parameter))
}

/// A generated menu that lost a kernel, or names a file that is not there, would not start.
fn menu_starts(host: &Host, kernels: &[String]) -> Judged {
    let entries = crate::bootloader::entries::grub(host);
    let menu = crate::bootloader::entries::GRUB_CFG;
    if entries.is_empty() {
        return not_met(if host.capture.is_there(menu) { format!("{menu} starts nothing") } else { format!("there is no {menu}") });
    }
    let file = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    for kernel in kernels {
        let named: Vec<&String> =
            entries.iter().filter_map(|entry| entry.files.first()).filter(|path| file(path) == file(kernel)).collect();
        match named.as_slice() {
            [] => return not_met(format!("{kernel} is no longer in the menu")),
            // The path is that on the file system that GRUB reads: another one means that its tools took another for it.
            [first, ..] if kernel.contains('/') && !named.contains(&kernel) => {
                return not_met(format!("the menu names {first}, and named {kernel} before: is this where that file system is mounted?"));
            }
            _ => {}
        }
    }
    for (entry, path) in entries.iter().flat_map(|entry| entry.files.iter().map(move |path| (entry, path))) {
        match host.capture.get(&format!("/boot/{}", file(path))) {
            Some(Entry::Present(size)) if *size > 0 => {}
            Some(Entry::File(bytes)) if !bytes.is_empty() => {}
            Some(Entry::Unreadable(why)) => return cannot_tell(format!("/boot/{}: {why}", file(path))),
            _ => {
                return not_met(format!(
                    "{}:{}: entry `{}` names {path}, which is not in /boot or is empty",
                    entry.path, entry.line, entry.title
                ));
            }
        }
    }
    MET
}

/// A list of ids may hold more than was asked for.
pub(crate) fn carries(word: &str, parameter: &str) -> bool {
    let ((name, value), (wanted, ids)) = (parameter::split(word), parameter::split(parameter));
    if wanted != parameter::VFIO_IDS || name != wanted {
        return parameter::same(word, parameter) || (name == wanted && value.unwrap_or_default().split(',').any(|item| Some(item) == ids));
    }
    let items: Vec<&str> = value.unwrap_or_default().split(',').collect();
    ids.unwrap_or_default().split(',').all(|id| items.iter().any(|item| parameter::covers(item, id)))
}

fn running(host: &Host, holds: impl Fn(&[String]) -> bool, problem: &str) -> Judged {
    match host.running_cmdline() {
        Observed::Known(_) if holds(&iommu_cause::running_words(host)) => MET,
        Observed::Known(_) => not_met(format!("/proc/cmdline {problem}: another boot entry was started, or the entry was not made anew")),
        Observed::Absent | Observed::Unknown(_) => cannot_tell("/proc/cmdline was not read"),
    }
}

fn iommu_on(host: &Host) -> Judged {
    match (host.iommu, iommu_cause::why_off(host)) {
        (IommuState::On, _) => MET,
        (IommuState::Unknown, _) => cannot_tell("/sys was not read"),
        (IommuState::Off, Some(OffCause::Parameter(words))) => not_met(format!("the kernel was started with {}", words.join(" "))),
        (IommuState::Off, Some(OffCause::Xen(_))) => not_met("this system runs under Xen, which keeps the IOMMU to itself"),
        (IommuState::Off, Some(OffCause::NoAcpi(words))) => {
            not_met(format!("the kernel was started with {}, and finds the IOMMU by ACPI tables alone", words.join(" ")))
        }
        (IommuState::Off, Some(OffCause::NotBuilt(evidence))) => not_met(format!("this kernel was built without the driver: {evidence}")),
        (IommuState::Off, Some(OffCause::CommandLineUnknown(why))) => {
            not_met(format!("it is off, and why cannot be told: /proc/cmdline {why}"))
        }
        (IommuState::Off, Some(OffCause::Firmware)) => not_met("the firmware offers no IOMMU: switch it on in its setup"),
        (IommuState::Off, Some(OffCause::KernelDefault(_))) => not_met("the kernel leaves it off: intel_iommu=on is missing"),
        (IommuState::Off, _) => not_met(format!("the kernel could not start it: `{}` tells why", IommuFamily::of(host).log_command())),
    }
}

fn bound_to(host: &Host, wanted: &Identity, driver: &str) -> Judged {
    if let Some(trouble) = whereabouts::trouble(host, wanted) {
        return not_met(trouble);
    }
    let Some(device) = host.device(wanted.address) else { return not_met(format!("there is no device at {}", wanted.address)) };
    match &device.driver {
        Observed::Known(name) if name == driver => MET,
        Observed::Known(name) => not_met(format!("{name} has it: {}", why_native(host, wanted, name))),
        Observed::Absent => not_met(format!("no driver has it: {}", why_nobody(host, wanted))),
        Observed::Unknown(why) => cannot_tell(why.clone()),
    }
}

fn not_on(host: &Host, wanted: &Identity, driver: &str) -> Judged {
    match host.device(wanted.address) {
        None => not_met(format!("there is no device at {}", wanted.address)),
        Some(device) if device.driver_name() == Some(driver) => not_met(format!("{driver} still has it: was the machine started anew?")),
        Some(_) => MET,
    }
}

fn why_native(host: &Host, wanted: &Identity, native: &str) -> String {
    if host.running_kernel().is_some_and(|kernel| kernel.form(native) == ModuleForm::BuiltIn) {
        return format!("{native} is built into the kernel and comes before every module");
    }
    let by_address = told_address(host, wanted);
    if by_address && host.device(wanted.address).is_some_and(|device| device.driver_override.as_deref() != Some("vfio-pci")) {
        return format!(
            "driver_override was not set: `dmesg | grep cede:` tells why, or {native} came before; look for it in the initramfs"
        );
    }
    if !by_address && !ids_given(host, wanted) {
        return format!("the running kernel was not told [{}] in vfio-pci.ids", wanted.id);
    }
    format!("it was loaded before vfio-pci; look for {native} in the initramfs and in /etc/modules-load.d")
}

fn why_nobody(host: &Host, wanted: &Identity) -> String {
    if host.iommu == IommuState::Off {
        "vfio-pci refuses devices without an IOMMU group".to_owned()
    } else if !host.capture.exists("/sys/bus/pci/drivers/vfio-pci") {
        "vfio-pci was not loaded".to_owned()
    } else if !told_address(host, wanted) && !ids_given(host, wanted) {
        format!("the running kernel was not told [{}] in vfio-pci.ids", wanted.id)
    } else {
        "`dmesg | grep vfio` may tell why".to_owned()
    }
}

/// True where modprobe.d gives the function to vfio-pci by its address.
fn told_address(host: &Host, wanted: &Identity) -> bool {
    by_address::told(&crate::binding::modprobe_config(host)).iter().any(|told| told.address() == Some(wanted.address))
}

fn ids_given(host: &Host, wanted: &Identity) -> bool {
    let id = wanted.id.to_string();
    let mut words = iommu_cause::running_words(host).into_iter().filter(|word| parameter::split(word).0 == parameter::VFIO_IDS);
    let by_file = host
        .capture
        .below("/etc/modprobe.d/")
        .any(|(_, entry)| matches!(entry, Entry::File(bytes) if String::from_utf8_lossy(bytes).contains(&id)));
    by_file || words.any(|word| carries(&word, &format!("vfio-pci.ids={id}")))
}

fn groups_whole(host: &Host, devices: &[PciAddress]) -> Judged {
    if host.iommu != IommuState::On {
        return not_met("without an IOMMU there are no groups");
    }
    for address in devices {
        let Some(group) = host.group_of(*address) else {
            return not_met(format!("{address} is in no group"));
        };
        let blocks = |member: &&PciDevice| crate::group_choice::blocks(member) && !devices.contains(&member.address);
        if let Some(foreign) = group.devices.iter().filter_map(|member| host.device(*member)).find(blocks) {
            let driver = foreign.driver_name().unwrap_or("no driver");
            return not_met(format!("group {} also holds {} ({driver}): `cede plan {address}` takes it along", group.id, foreign.address));
        }
    }
    MET
}

fn no_twin_taken(host: &Host, devices: &[Identity]) -> Judged {
    let planned = |device: &&PciDevice| devices.iter().any(|identity| identity.address == device.address);
    let same_id = |device: &&PciDevice| devices.iter().any(|identity| device.id == Some(identity.id));
    match host.devices.iter().filter(|d| d.is_on_vfio()).filter(same_id).find(|d| !planned(d)) {
        Some(taken) => not_met(format!(
            "{} was not meant, has the same ids and is on vfio-pci too, for ids are all that vfio-pci was told: `sudo cede undo`, then `cede plan ADDR --bind override`",
            taken.address
        )),
        None => MET,
    }
}
