//! From a host and a wish to a plan.

use crate::binding::{self, Natives};
use crate::boot_images;
use crate::bootloader::{self, Bootloader};
use crate::digest::sha256;
use crate::edit::modprobe::ModprobeConfig;
use crate::group_choice::{self, Choice};
use crate::guard::{self, Loss};
use crate::initramfs::{self, Early, InitramfsGenerator};
use crate::intent::BindMethod;
use crate::iommu_cause::{self, IommuFamily, OffCause};
use crate::parameter::{self, Wish};
use crate::plan::{Condition, Expectation, Plan, Refusal, RestsOn, Step};
use crate::verify;
use cede_model::iommu::IommuState;
use cede_model::kernel::Kernel;
use cede_model::kernel::installed::ModuleForm;
use cede_model::pci::PciAddress;
use cede_model::{Entry, Host};

/// Makes the plan from the configuration files. It never fails: what stands in the way is in its `refused`, and then it has no steps.
pub fn plan(host: &Host, wanted: &[PciAddress], bind: BindMethod) -> Plan {
    plan_accepting(host, wanted, bind, &[])
}

/// As [`plan`], where the owner gives up these things. The plan keeps of them what is lost indeed.
pub fn plan_accepting(host: &Host, wanted: &[PciAddress], bind: BindMethod, accepted: &[Loss]) -> Plan {
    make(host, wanted, Plan { bind, accepted: accepted.to_vec(), ..Plan::default() }, Generated::Trusted)
}

/// As [`plan`], and where the files are right but a generated image or menu was seen to lack what they say, it is made anew.
/// The capture must hold the opened images.
pub fn plan_proved(host: &Host, wanted: &[PciAddress], bind: BindMethod, accepted: &[Loss]) -> Plan {
    make(host, wanted, Plan { bind, accepted: accepted.to_vec(), ..Plan::default() }, Generated::Proved)
}

/// Whether generated files are taken to be as their sources say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Generated {
    Trusted,
    Proved,
}

fn make(host: &Host, wanted: &[PciAddress], mut plan: Plan, generated: Generated) -> Plan {
    match draft(host, wanted, generated, &mut plan) {
        Ok(()) => {}
        Err(refusals) => {
            plan.steps.clear();
            plan.expects.clear();
            plan.refused = refusals;
        }
    }
    plan
}

fn draft(host: &Host, wanted: &[PciAddress], generated: Generated, plan: &mut Plan) -> Result<(), Vec<Refusal>> {
    let ground = groundwork(host, wanted, plan)?;
    let wanted = Wanted { wish: ground.wish, natives: ground.natives, ids: ground.ids, generated };
    steps(host, &wanted, plan)?;
    expect_after_reboot(host, &wanted.wish, plan);
    Ok(())
}

/// What is to be true, before it is asked which files must say it.
pub(crate) struct Groundwork {
    pub(crate) wish: Wish,
    pub(crate) natives: Natives,
    pub(crate) ids: Vec<String>,
}

/// Who goes, what that costs, and what the kernel must be told; or all that stands in the way.
pub(crate) fn groundwork(host: &Host, wanted: &[PciAddress], plan: &mut Plan) -> Result<Groundwork, Vec<Refusal>> {
    if host.iommu == IommuState::Unknown {
        return Err(vec![Refusal::new(
            "host-not-read",
            "PCI functions could not be read: /sys/bus/pci/devices is missing here; run on the host itself, or with --host FILE",
        )]);
    }
    let choice = group_choice::choose(host, wanted)?;
    plan.devices.clone_from(&choice.ceded);
    plan.stays.clone_from(&choice.stays);
    plan.notes.clone_from(&choice.notes);
    plan.notes.extend(guard::costs(host, &choice.ceded));
    let ids = ids(host, &choice, plan)?;
    let natives = Natives::of(host, &choice.ceded);
    let obstacles = obstacles(host, &choice, &natives, plan);
    if !obstacles.is_empty() {
        return Err(obstacles);
    }
    let wish = wish(host, &choice, plan.bind, &ids).map_err(|refusal| vec![refusal])?;
    Ok(Groundwork { wish, natives, ids })
}

/// The ids to tell vfio-pci; none where it is told addresses, as where ids cannot tell what goes from what stays.
fn ids(host: &Host, choice: &Choice, plan: &mut Plan) -> Result<Vec<String>, Vec<Refusal>> {
    let by_ids = binding::ids(host, &choice.ceded);
    if plan.bind != BindMethod::Override {
        let Err(twins) = by_ids else { return by_ids };
        if is_built_in(host, "vfio_pci") {
            return Err(twins);
        }
        plan.bind = BindMethod::Override;
        plan.notes.extend(binding::twins(host, &choice.ceded).into_iter().map(|(goes, stays)| {
            format!(
                "{} and {stays} are alike ([{}]), and ids cannot tell them apart: bound by address instead (driver_override)",
                goes.address, goes.id
            )
        }));
    }
    ids_that_take_more(host, choice).map_or(Ok(Vec::new()), |refusal| Err(vec![refusal]))
}

/// Ids that are told to vfio-pci already would take a function that stays, whatever is told by address.
fn ids_that_take_more(host: &Host, choice: &Choice) -> Option<Refusal> {
    let told = guard::ids_told(host);
    let has_gone = |address: PciAddress| host.device(address).is_some_and(cede_model::pci::PciDevice::is_on_vfio);
    binding::twins(host, &choice.ceded).into_iter().filter(|(_, stays)| !has_gone(*stays)).find_map(|(goes, stays)| {
        let item = told.iter().find(|item| parameter::covers(item, &goes.id.to_string()))?;
        Some(Refusal::new(
            "ids-take-the-twin",
            format!("vfio-pci is told ids={item} already, which takes {stays} too: take it out of the kernel command line and of modprobe.d, or run `cede undo`"),
        ))
    })
}

fn is_built_in(host: &Host, module: &str) -> bool {
    host.kernels.iter().any(|kernel| kernel.form(module) == ModuleForm::BuiltIn)
}

/// What makes the plan pointless or dangerous, all of it at once.
fn obstacles(host: &Host, choice: &Choice, natives: &Natives, plan: &mut Plan) -> Vec<Refusal> {
    let mut list = Vec::new();
    list.extend(off_for_good(host));
    list.extend(direct_mapping(host, choice));
    list.extend(guard(host, choice, plan));
    for kernel in host.kernels.iter().filter(|kernel| kernel.form("vfio_pci") == ModuleForm::Missing && !is_left_over(host, kernel)) {
        list.push(Refusal::new(
            "no-vfio-pci",
            format!("kernel {} has no vfio-pci module: install the package with all of its modules, or remove that kernel", kernel.release),
        ));
    }
    for (address, module, release) in natives.built_in.iter().filter(|_| !is_built_in(host, "vfio_pci")) {
        list.push(Refusal::new(
            "native-driver-built-in",
            format!(
                "{module} is built into kernel {release} and takes {address} before any module can: use a kernel that has it as a module, or choose another device"
            ),
        ));
    }
    if plan.bind != BindMethod::Cmdline && is_built_in(host, "vfio_pci") {
        list.push(Refusal::new(
            "vfio-pci-built-in",
            "vfio-pci is built into a kernel here, and modprobe.d does not reach it: use --bind cmdline",
        ));
    }
    list
}

/// Refuses what is lost and was not accepted; of what was accepted, the plan keeps what is lost, and says so.
fn guard(host: &Host, choice: &Choice, plan: &mut Plan) -> Vec<Refusal> {
    let losses = guard::losses(host, &choice.ceded);
    plan.accepted.retain(|loss| losses.iter().any(|lost| lost.loss == *loss));
    let (given_up, open): (Vec<_>, Vec<_>) = losses.into_iter().partition(|lost| plan.accepted.contains(&lost.loss));
    plan.notes.extend(given_up.into_iter().map(|lost| format!("lost, as accepted ({}): {}", lost.loss.id(), lost.way)));
    open.into_iter().map(Refusal::from).chain(guard::boot_not_mounted(host)).collect()
}

/// The package took its lists along and only what was built later (DKMS) is left of that kernel.
fn is_left_over(host: &Host, kernel: &Kernel) -> bool {
    host.running.as_deref() != Some(&kernel.release)
        && host.capture.observed(&format!("{}/modules.builtin", kernel.modules_dir)).is_absent()
}

/// Why no plan switches the IOMMU on: Xen, the firmware, or how the kernel was built or started.
pub fn off_for_good(host: &Host) -> Option<Refusal> {
    let (id, message) = match iommu_cause::why_off(host)? {
        OffCause::Xen(_) => (
            "iommu-under-xen",
            "this system runs under Xen, which keeps the IOMMU to itself: in dom0 `xl pci-assignable-add ADDR` has Xen give a device, or start without Xen and plan again".to_owned(),
        ),
        OffCause::NoAcpi(words) => (
            "iommu-off-without-acpi",
            format!(
                "the kernel was started with {}, and finds the IOMMU by ACPI tables alone: take it out of the boot configuration, reboot, and plan again",
                words.join(" ")
            ),
        ),
        OffCause::NotBuilt(evidence) => (
            "iommu-not-built",
            format!("the running kernel was built without the driver of this IOMMU ({evidence}): use a kernel that has it, and plan again"),
        ),
        OffCause::Firmware if IommuFamily::of(host) == IommuFamily::Arm => (
            "iommu-off-in-firmware",
            "the firmware offers no IOMMU (there is no ACPI table IORT): look for SMMU or IOMMU in its setup, then plan again".to_owned(),
        ),
        OffCause::Firmware => (
            "iommu-off-in-firmware",
            "the firmware offers no IOMMU (there is no ACPI table DMAR or IVRS): switch VT-d or AMD-Vi on in its setup, then plan again".to_owned(),
        ),
        OffCause::Parameter(_) | OffCause::CommandLineUnknown(_) | OffCause::KernelDefault(_) | OffCause::Unexplained => return None,
    };
    Some(Refusal::new(id, message))
}

pub(crate) fn direct_mapping(host: &Host, choice: &Choice) -> Option<Refusal> {
    let group = choice.ceded.iter().filter_map(|identity| host.group_of(identity.address)).find(|group| group.has_direct_region())?;
    Some(Refusal::new(
        "direct-mapping",
        format!(
            "firmware wants a one-to-one mapping for group {} (/sys/kernel/iommu_groups/{}/reserved_regions): VFIO cannot use it; look for a DMA protection or shared-memory option in the firmware's setup",
            group.id, group.id
        ),
    ))
}

/// What the kernel command line must say.
fn wish(host: &Host, choice: &Choice, bind: BindMethod, ids: &[String]) -> Result<Wish, Refusal> {
    let family = IommuFamily::of(host);
    let mut wish = Wish::default();
    let configured = configured_words(host);
    if host.iommu == IommuState::Off || !iommu_cause::off_words_to_come(host).is_empty() {
        wish.drop_off = iommu_cause::off_switches(host);
    }
    let needs_on = match (host.iommu, iommu_cause::intel_default(host).0) {
        (_, Some(true)) | (IommuState::Unknown, _) => false,
        (IommuState::Off, _) | (IommuState::On, Some(false)) => true,
        // On, by a parameter that must stay, or by the default of a kernel that does not tell.
        (IommuState::On, None) => iommu_cause::asks_for(&iommu_cause::running_words(host), family),
    };
    if family == IommuFamily::Intel && (needs_on || cedes_uncovered_gpu(host, choice)) {
        wish.add = Some("intel_iommu=on");
    }
    let by_files = ModprobeConfig::from_files(binding::modprobe_files(host)).option("vfio_pci", "ids");
    let on_line = configured.iter().rev().find(|word| parameter::split(word).0 == parameter::VFIO_IDS);
    match (bind, by_files, on_line) {
        (BindMethod::Modprobe, _, Some(word)) => {
            return Err(Refusal::new(
                "ids-on-command-line",
                format!("the kernel command line has `{word}`, which beats modprobe.d: use --bind cmdline, which adds to it"),
            ));
        }
        (BindMethod::Modprobe, _, None) | (BindMethod::Override, _, _) => {}
        (BindMethod::Cmdline, Some((value, _)), None) => {
            // The command line beats the file, so what the file lists must be on it as well.
            wish.ids = value.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect();
            if let Some(odd) =
                wish.ids.iter().find(|id| !id.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'x' | b'X')))
            {
                let message = format!("modprobe.d sets ids={value} for vfio-pci, of which `{odd}` is no id: correct it with an editor");
                return Err(Refusal::new("ids-not-readable", message));
            }
            wish.ids.extend(ids.iter().filter(|id| !value.split(',').any(|item| parameter::covers(item, id))).cloned());
        }
        (BindMethod::Cmdline, _, _) => wish.ids = ids.to_vec(),
    }
    Ok(wish)
}

fn configured_words(host: &Host) -> Vec<String> {
    bootloader::find(host).map(|loader| loader.configured(host).into_iter().map(|word| word.text).collect()).unwrap_or_default()
}

/// Kernels built with `INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF` leave the processor's own graphics out unless `intel_iommu=on` is given.
fn cedes_uncovered_gpu(host: &Host, choice: &Choice) -> bool {
    let uncovered = |identity: &crate::Identity| {
        host.device(identity.address)
            .is_some_and(|d| d.is_display() && d.iommu_group.is_none() && identity.id.vendor == 0x8086 && d.address.bus == 0)
    };
    choice.ceded.iter().any(uncovered)
}

/// What the files, images and menus are to say.
struct Wanted {
    wish: Wish,
    natives: Natives,
    ids: Vec<String>,
    generated: Generated,
}

/// What is changed by; or all that is done by hand here, with the words that are wished.
pub(crate) fn tools(host: &Host, wish: &Wish) -> Result<(&'static dyn InitramfsGenerator, &'static dyn Bootloader), Vec<Refusal>> {
    match (initramfs::find(host), bootloader::find(host).map_err(|refusal| by_hand(host, refusal, wish))) {
        (Ok(generator), Ok(loader)) => Ok((generator, loader)),
        (generator, loader) => Err(generator.err().into_iter().chain(loader.err()).collect()),
    }
}

fn by_hand(host: &Host, mut refusal: Refusal, wish: &Wish) -> Refusal {
    let edits = wish.edits(&iommu_cause::running_words(host));
    let list = |words: Vec<&String>| words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let gone: Vec<&String> = edits.remove.iter().chain(edits.replace.iter().map(|(old, _)| old)).collect();
    let come: Vec<&String> = edits.replace.iter().map(|(_, new)| new).chain(&edits.add).collect();
    if bootloader::BY_HAND.contains(&refusal.id) {
        for (what, words) in [("to take out", gone), ("to add", come)].into_iter().filter(|(_, words)| !words.is_empty()) {
            refusal.message.push_str(&format!("; {what}: {}", list(words)));
        }
    }
    refusal
}

fn steps(host: &Host, wanted: &Wanted, plan: &mut Plan) -> Result<(), Vec<Refusal>> {
    let (generator, loader) = tools(host, &wanted.wish)?;
    let modprobe = binding::modprobe_steps(host, &wanted.natives, plan.bind, &wanted.ids, &plan.devices)?;
    let needs_shell = plan.bind == BindMethod::Override;
    let early = Early { files: files_for_image(host, &modprobe, plan.bind), natives: wanted.natives.modules.clone(), needs_shell };
    let image = generator.change(host, &early)?;
    let boot = loader.change(host, &wanted.wish).map_err(|refusal| by_hand(host, refusal, &wanted.wish))?;
    let copies = boot_images::copies(host, &loader.entries(host), &image.proofs, generator.name())?;
    let image_proofs: Vec<Condition> = image.proofs.into_iter().chain(copies.proofs).collect();
    let boot_proofs = boot_conditions(host, &wanted.wish);
    let lacks = |conditions: &[Condition]| {
        wanted.generated == Generated::Proved
            && conditions.iter().any(|condition| verify::judge(host, condition).result == verify::Result3::NotMet)
    };
    let into_image = !modprobe.is_empty() || !image.files.is_empty() || lacks(&image_proofs);
    let into_menu = !boot.files.is_empty() || lacks(&boot_proofs);
    plan.steps = modprobe;
    plan.steps.extend(image.files);
    plan.steps.extend(boot.files.iter().cloned());
    plan.steps.extend(if into_image { [image.tools, copies.steps].concat() } else { Vec::new() });
    plan.steps.extend(if into_menu { boot.tools } else { Vec::new() });
    plan.notes.extend(image.notes);
    let files: Vec<Condition> = plan.steps.iter().filter_map(file_condition).collect();
    plan.expects.extend(files.into_iter().chain(image_proofs).map(Expectation::now));
    plan.expects.extend(boot_proofs.into_iter().map(Expectation::now));
    plan.expects.extend(menu_condition(host, &plan.steps).map(Expectation::now));
    let mut paths: Vec<String> = image.rests_on.into_iter().chain(boot.rests_on).chain(modprobe_paths(host)).collect();
    paths.extend(plan.steps.iter().filter_map(|step| step.path().map(str::to_owned)));
    plan.rests_on = rests_on(host, paths);
    Ok(())
}

/// Where GRUB's menu is made anew, it must start what it started before.
pub(crate) fn menu_condition(host: &Host, steps: &[Step]) -> Option<Condition> {
    let makes_menu = |step: &Step| step.argv().and_then(<[String]>::first).is_some_and(|tool| tool.contains("grub"));
    // A kernel that was removed and is in the old menu still cannot be in the new one.
    let is_there = |path: &String| host.capture.is_there(&format!("/boot/{}", path.rsplit('/').next().unwrap_or_default()));
    let kernels = || bootloader::entries::grub_kernels(host).into_iter().filter(is_there).collect();
    steps.iter().any(makes_menu).then(|| Condition::MenuStarts { kernels: kernels() })
}

/// modprobe.d files that the image must carry for the order and the ids to hold early: ours, as it will be.
fn files_for_image(host: &Host, modprobe: &[Step], bind: BindMethod) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = modprobe
        .iter()
        .filter_map(|step| match step {
            Step::ReplaceFile { path, after: Some(after), .. } => Some((path.clone(), after.clone())),
            _ => None,
        })
        .collect();
    let mut present = vec![binding::OWN_FILE.to_owned()];
    if bind == BindMethod::Modprobe {
        present.extend(binding::modprobe_config(host).option("vfio_pci", "ids").map(|(_, source)| source.path));
    }
    for path in present {
        if let Some(bytes) = host.capture.file(&path).filter(|_| !files.iter().any(|(other, _)| *other == path)) {
            files.push((path, bytes.to_vec()));
        }
    }
    files
}

pub(crate) fn modprobe_paths(host: &Host) -> Vec<String> {
    binding::modprobe_files(host).into_iter().map(|(path, _)| path.to_owned()).filter(|path| path.starts_with("/etc/")).collect()
}

pub(crate) fn rests_on(host: &Host, mut paths: Vec<String>) -> Vec<RestsOn> {
    paths.sort();
    paths.dedup();
    let digest = |path: &str| match host.capture.get(path) {
        Some(Entry::File(bytes)) => Some(sha256(bytes)),
        _ => None,
    };
    paths.into_iter().map(|path| RestsOn { sha256: digest(&path), path }).collect()
}

pub(crate) fn file_condition(step: &Step) -> Option<Condition> {
    match step {
        Step::ReplaceFile { path, after, .. } => Some(Condition::FileIs { path: path.clone(), sha256: after.as_deref().map(sha256) }),
        _ => None,
    }
}

/// Words that the next boot must have or lack.
fn boot_conditions(host: &Host, wish: &Wish) -> Vec<Condition> {
    let mut list: Vec<Condition> = off_parameters(host, wish).into_iter().map(|parameter| Condition::EntriesLack { parameter }).collect();
    list.extend(wish.add.map(|parameter| Condition::EntriesCarry { parameter: parameter.to_owned() }));
    if !wish.ids.is_empty() {
        list.push(Condition::EntriesCarry { parameter: format!("vfio-pci.ids={}", wish.ids.join(",")) });
    }
    list
}

/// The parameters with `off` that are configured or in force, and are to go.
fn off_parameters(host: &Host, wish: &Wish) -> Vec<String> {
    let words = iommu_cause::running_words(host).into_iter().chain(configured_words(host)).collect::<Vec<_>>();
    let mut list = wish.edits(&words).remove;
    list.sort();
    list.dedup();
    list
}

/// What the next start must show of the plan's devices.
pub(crate) fn expect_after_reboot(host: &Host, wish: &Wish, plan: &mut Plan) {
    let ceded = plan.devices.clone();
    let addresses: Vec<PciAddress> = ceded.iter().map(|identity| identity.address).collect();
    let mut list: Vec<Condition> =
        off_parameters(host, wish).into_iter().map(|parameter| Condition::RunningWithout { parameter }).collect();
    list.extend(wish.add.map(|parameter| Condition::RunningWith { parameter: parameter.to_owned() }));
    if !wish.ids.is_empty() {
        list.push(Condition::RunningWith { parameter: format!("vfio-pci.ids={}", wish.ids.join(",")) });
    }
    list.push(Condition::IommuOn);
    list.extend(ceded.iter().map(|device| Condition::BoundTo { device: device.clone(), driver: "vfio-pci".to_owned() }));
    list.push(Condition::GroupsWhole { devices: addresses });
    list.push(Condition::NoTwinTaken { devices: ceded });
    plan.expects.extend(list.into_iter().map(Expectation::after_reboot));
}
