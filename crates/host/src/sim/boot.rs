//! Starting the simulated host: the menu's first entry, its image, the IOMMU, and which driver gets each function first.

use super::sysfs;
use cede_model::boot::grub_cfg;
use cede_model::boot::loader_entry::LoaderEntry;
use cede_model::initramfs_image::{InitramfsImage, Limits, read_image};
use cede_model::iommu::foretell::foretell;
use cede_model::kernel::module_name;
use cede_model::pci::device::PCI_DEVICES;
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::{Capture, Entry, Host};
use cede_plan::bootloader::entries;
use cede_plan::by_address::{self, Told};
use cede_plan::edit::modprobe::ModprobeConfig;
use cede_plan::parameter;
use cede_plan::trial::{self, env_block, once};

/// Starts it: everything that the kernel shows is made anew. False where the start ends before user space: an image is missing, or the root file
/// system is not found.
pub(super) fn start(state: &mut Capture, native: &Host) -> bool {
    let Chosen { cmdline, words, images } = chosen(state);
    state.insert("/proc/cmdline", Entry::File(cmdline.into_bytes()));
    next_boot_id(state);
    let iommu = words.iter().any(|word| word == "intel_iommu=on");
    switch_iommu(state, native, iommu);
    // The kernel unpacks one archive over the other.
    let bytes: Vec<u8> = images.iter().filter_map(|path| state.file(path)).flatten().copied().collect();
    let opened = read_image(&bytes, &Limits::default(), |_| true).ok();
    let early = Early::read(state, opened.as_ref(), &words);
    let vfio = early.vfio_loaded();
    if vfio {
        state.insert("/sys/bus/pci/drivers/vfio-pci", Entry::Dir);
    } else {
        ["", "/bind", "/unbind"].iter().for_each(|name| _ = state.remove(&format!("/sys/bus/pci/drivers/vfio-pci{name}")));
    }
    for device in &native.devices {
        // The kernel lets no other driver have a function with an override (drivers/pci/pci-driver.c `pci_match_device`).
        let override_set = early.softdeps_or_list() && early.told.iter().any(|told| means(state, told, device));
        set_override(state, device, override_set);
        let ours = vfio && iommu && (override_set || early.gives(device));
        let driver = if ours { Some("vfio-pci") } else { device.driver_name().filter(|_| !override_set) };
        bind(state, device, driver);
        sysfs::withdraw(state, device.address);
        if driver.is_some() && driver == device.driver_name() {
            sysfs::offer(state, native, device.address);
        }
    }
    sysfs::register(state, native);
    images.iter().all(|path| state.is_there(path)) && finds_root(state, &words)
}

/// What the boot loader starts: the kernel command line as the kernel shows it, its words, and the images.
struct Chosen {
    cmdline: String,
    words: Vec<String>,
    images: Vec<String>,
}

/// The entry that is chosen for this start, which the loader takes away, or the first: of GRUB's menu; without that, of systemd-boot.
fn chosen(state: &mut Capture) -> Chosen {
    let (loader, entry) = match state.file(entries::GRUB_CFG) {
        Some(_) => ("BOOT_IMAGE=/vmlinuz-linux ", by_grub(state).map(menu_entry)),
        None => ("", by_systemd_boot(state)),
    };
    let (words, files) = entry.unwrap_or_default();
    let cmdline = format!("{loader}{}\n", words.join(" "));
    Chosen { cmdline, words, images: files.into_iter().map(|path| format!("/boot{path}")).collect() }
}

type WordsAndImages = (Vec<String>, Vec<String>);

fn menu_entry(entry: grub_cfg::MenuEntry) -> WordsAndImages {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let words = entry.linux.first().map(|linux| linux.words.iter().map(text).collect()).unwrap_or_default();
    (words, entry.initrd.iter().map(text).collect())
}

/// GRUB leaves the variable in the environment block empty.
fn by_grub(state: &mut Capture) -> Option<grub_cfg::MenuEntry> {
    let menu = grub_cfg::parse(state.file(entries::GRUB_CFG).unwrap_or_default());
    let block = state.file(once::ENV_BLOCK).unwrap_or_default().to_vec();
    if let Some(id) = env_block::get(&block, "next_entry") {
        state.insert(once::ENV_BLOCK, Entry::File(env_block::set(&block, "next_entry", "").unwrap_or_default()));
        let custom = grub_cfg::parse(state.file("/boot/grub/custom.cfg").unwrap_or_default());
        let mut all = menu.entries.iter().cloned().chain(custom.entries);
        if let Some(entry) = all.find(|entry| entry.name.id.as_deref() == Some(id)) {
            return Some(entry);
        }
    }
    menu.entries.into_iter().next()
}

fn by_systemd_boot(state: &mut Capture) -> Option<WordsAndImages> {
    let own = format!("/boot/loader/entries/{}", trial::ENTRY_FILE);
    if state.remove(once::ONE_SHOT).is_some_and(|entry| matches!(entry, Entry::File(_))) && state.file(&own).is_some() {
        let entry = LoaderEntry::parse(state.file(&own).unwrap_or_default());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let words = text(&entry.options().unwrap_or_default()).split_whitespace().map(str::to_owned).collect();
        return Some((words, entry.values("initrd").map(|value| text(value.bytes)).collect()));
    }
    let normal = entries::type1(&Host::from_capture(state.clone())).into_iter().find(|entry| !entry.rescue);
    normal.map(|entry| (entry.words, entry.files.into_iter().skip(1).collect()))
}

/// Whether the root file system is the one that the machine has, and its controller still has its driver.
fn finds_root(state: &Capture, words: &[String]) -> bool {
    let host = Host::from_capture(state.clone());
    let mounts = String::from_utf8_lossy(state.file("/proc/self/mountinfo").unwrap_or_default()).into_owned();
    let root = mounts.lines().find(|line| line.contains(" / / ")).and_then(|line| line.split_once(" - ")?.1.split(' ').nth(1));
    let is_right =
        |word: &String| word.strip_prefix("root=/dev/").is_none_or(|name| root.is_none_or(|root| root == format!("/dev/{name}")));
    let controller = host.devices.iter().find(|device| device.class.is_some_and(|class| class.base_and_sub() == 0x0108));
    words.iter().all(is_right) && !controller.is_some_and(PciDevice::is_on_vfio)
}

fn next_boot_id(state: &mut Capture) {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let last: u32 = state.attribute(PATH).and_then(|id| id.rsplit('-').next()?.parse().ok()).unwrap_or(0);
    state.insert(PATH, Entry::File(format!("00000000-0000-4000-8000-{:012}\n", last + 1).into_bytes()));
}

/// With the IOMMU on the kernel makes the groups that its rules give.
fn switch_iommu(state: &mut Capture, native: &Host, on: bool) {
    let stale: Vec<String> = state
        .entries()
        .map(|(path, _)| path)
        .filter(|path| {
            path.starts_with("/sys/kernel/iommu_groups/") || path.starts_with("/sys/class/iommu/") || path.ends_with("/iommu_group")
        })
        .map(str::to_owned)
        .collect();
    for path in stale {
        state.remove(&path);
    }
    if !on {
        return;
    }
    state.insert("/sys/class/iommu/dmar0", Entry::Dir);
    let prediction = foretell(native);
    for (number, group) in prediction.groups().unwrap_or_default().iter().enumerate() {
        state.insert(format!("/sys/kernel/iommu_groups/{number}/type"), Entry::File(b"DMA-FQ\n".to_vec()));
        for address in group {
            link_group(state, *address, number);
        }
    }
}

fn link_group(state: &mut Capture, address: PciAddress, number: usize) {
    state.insert(format!("{PCI_DEVICES}{address}/iommu_group"), Entry::Link(format!("../../../../kernel/iommu_groups/{number}")));
    state.insert(format!("/sys/kernel/iommu_groups/{number}/devices/{address}"), Entry::Link(format!("../../../../devices/{address}")));
}

/// What is loaded before the native drivers, and which ids vfio-pci then has.
struct Early {
    listed: bool,
    has_module: bool,
    softdeps: bool,
    ids: Vec<String>,
    told: Vec<Told>,
}

impl Early {
    fn read(state: &Capture, image: Option<&InitramfsImage>, words: &[String]) -> Self {
        let inside = |path: &str| image.and_then(|image| image.file(path)).unwrap_or_default().to_vec();
        let config = String::from_utf8_lossy(&inside("config")).into_owned();
        let debian = String::from_utf8_lossy(&inside("conf/modules")).into_owned();
        let names = config.trim().trim_start_matches("MODULES=").trim_matches('"');
        let listed = names.split_whitespace().chain(debian.split_whitespace()).any(|name| module_name(name) == "vfio_pci");
        let has_module =
            image.is_some_and(|image| image.kernel_releases().iter().any(|release| image.module(release, "vfio_pci").is_some()));
        let in_image: Vec<(String, Vec<u8>)> = image
            .into_iter()
            .flat_map(|image| image.entries.keys())
            .filter(|path| path.starts_with("etc/modprobe.d/"))
            .map(|path| (format!("/{path}"), inside(path)))
            .collect();
        let on_disk = state
            .names_in("/etc/modprobe.d")
            .map(|name| format!("/etc/modprobe.d/{name}"))
            .filter_map(|path| Some((state.file(&path)?.to_vec(), path)))
            .map(|(bytes, path)| (path, bytes));
        let files = if listed { in_image } else { on_disk.collect() };
        let modprobe = ModprobeConfig::from_files(files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())));
        let softdeps = modprobe.softdep("nouveau").is_some_and(|softdep| softdep.pre.iter().any(|name| module_name(name) == "vfio_pci"));
        let on_line = words
            .iter()
            .rev()
            .find(|word| parameter::split(word).0 == parameter::VFIO_IDS)
            .and_then(|word| parameter::split(word).1)
            .map(str::to_owned);
        let value = on_line.or_else(|| modprobe.option("vfio_pci", "ids").map(|(value, _)| value)).unwrap_or_default();
        let told = by_address::told(&modprobe);
        Self { listed, has_module, softdeps, told, ids: value.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect() }
    }

    /// What stands in the place of loading vfio-pci runs where that is asked for, whether or not the module is there.
    fn softdeps_or_list(&self) -> bool {
        self.listed || self.softdeps
    }

    /// By the list of the image, or by a softdep once a native driver is loaded.
    fn vfio_loaded(&self) -> bool {
        (self.listed && self.has_module) || self.softdeps
    }

    fn gives(&self, device: &PciDevice) -> bool {
        let id = device.id.map(|id| id.to_string()).unwrap_or_default();
        !device.is_bridge() && self.ids.iter().any(|item| parameter::covers(item, &id))
    }
}

/// What the shell command of the line looks at: the directory is there, and each attribute says what it must.
fn means(state: &Capture, told: &Told, device: &PciDevice) -> bool {
    let link = state.link(&format!("{PCI_DEVICES}{}", device.address)).unwrap_or_default();
    let hex = |value: u16| format!("{value:#06x}");
    let (id, subsystem) = (device.id, device.subsystem.map_or((0, 0), |id| (id.vendor, id.device)));
    let values = id.map(|id| [id.vendor, id.device, subsystem.0, subsystem.1].map(hex));
    let class = device.class.map(|class| format!("{:#08x}", class.0));
    let place = told.directory.strip_prefix("/sys/").is_some_and(|below| link.trim_start_matches("../") == below);
    place && values.into_iter().flatten().chain(class).eq(told.values.iter().cloned())
}

fn set_override(state: &mut Capture, device: &PciDevice, set: bool) {
    let text = if set { "vfio-pci\n" } else { "(null)\n" };
    state.insert(format!("{PCI_DEVICES}{}/driver_override", device.address), Entry::File(text.into()));
}

/// Shows the driver as the kernel does: in `uevent`.
pub(super) fn bind(state: &mut Capture, device: &PciDevice, driver: Option<&str>) {
    let path = format!("{PCI_DEVICES}{}/uevent", device.address);
    let old = String::from_utf8_lossy(state.file(&path).unwrap_or_default()).into_owned();
    let rest: String = old.lines().filter(|line| !line.starts_with("DRIVER=")).map(|line| format!("{line}\n")).collect();
    let head = driver.map(|driver| format!("DRIVER={driver}\n")).unwrap_or_default();
    state.insert(path, Entry::File(format!("{head}{rest}").into_bytes()));
}

#[cfg(test)]
mod tests {
    use super::super::tools;
    use super::*;

    #[test]
    fn the_menu_tool_and_the_start_agree_on_the_command_line() {
        let mut state = Capture::new();
        state.insert("/etc/default/grub", Entry::File(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=on\"\n".to_vec()));
        state.insert("/boot/vmlinuz-linux", Entry::Present(1));
        tools::make_menu(&mut state, "/boot/grub/grub.cfg", &mut |_| {});
        let native = Host::from_capture(state.clone());
        start(&mut state, &native);
        assert!(state.attribute("/proc/cmdline").unwrap().ends_with("rw quiet intel_iommu=on"));
    }
}
