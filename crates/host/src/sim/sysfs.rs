//! The attributes of the simulated kernel by which functions change their drivers (drivers/base/bus.c, drivers/base/dd.c,
//! drivers/pci/pci-driver.c).

use super::boot::bind as show_driver;
use cede_model::kernel::installed::ModuleForm;
use cede_model::kernel::{Kernel, module_name};
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::uses::block_names::BLOCK;
use cede_model::uses::graph::functions_on;
use cede_model::uses::net::NET;
use cede_model::uses::nodes::NUMBERS;
use cede_model::{Capture, Entry, Host};
use cede_plan::runtime::Attribute;

const DRIVERS: &str = "/sys/bus/pci/drivers";

/// What a driver shows of its functions: links into `/sys/devices`.
const CLASSES: [&str; 4] = [NET, BLOCK, NUMBERS[0], NUMBERS[1]];

/// Drivers that modules of the simulated machine bring, called otherwise than they.
const DRIVER_OF: [(&str, &str); 1] = [("vfio_pci", "vfio-pci")];

/// Writes a value; the name of the error where the kernel refuses.
pub(super) fn write(state: &mut Capture, native: &Host, path: &str, value: &str) -> Result<(), &'static str> {
    let attribute = Attribute::parse(path).ok_or("EINVAL")?;
    let address = attribute.function(value).ok_or("ENODEV")?;
    let host = Host::from_capture(state.clone());
    let device = host.device(address).ok_or("ENODEV")?;
    match attribute {
        Attribute::Override(_) => {
            let text = if value.is_empty() { "(null)" } else { value };
            state.insert(path, Entry::File(format!("{text}\n").into_bytes()));
        }
        Attribute::VirtualFunctions(_) => set_virtual(state, device, path, value)?,
        Attribute::Autoprobe(_) => state.insert(path, Entry::File(format!("{value}\n").into_bytes())),
        Attribute::Unbind(driver) => {
            is_registered(state, &driver)?;
            if device.driver_name() != Some(&driver) {
                return Err("ENODEV");
            }
            show_driver(state, device, None);
            withdraw(state, address);
        }
        Attribute::Bind(driver) => {
            is_registered(state, &driver)?;
            if device.driver_name().is_some() {
                return Err("EBUSY");
            }
            if !takes(native, device, &driver) {
                return Err("ENODEV");
            }
            show_driver(state, device, Some(&driver));
            if native_driver(native, address) == Some(&driver) {
                offer(state, native, address);
            }
        }
    }
    Ok(())
}

/// Drivers that are there without being loaded: those which have functions.
pub(super) fn register(state: &mut Capture, native: &Host) {
    native.devices.iter().filter_map(PciDevice::driver_name).for_each(|driver| add(state, driver));
    if state.is_there(&format!("{DRIVERS}/vfio-pci")) {
        add(state, "vfio-pci");
    }
}

/// Loads a module. False where there is none.
pub(super) fn load(state: &mut Capture, module: &str) -> bool {
    let name = module_name(module);
    let found = Kernel::installed(state).iter().any(|kernel| kernel.form(&name) != ModuleForm::Missing);
    if found {
        let driver = DRIVER_OF.iter().find(|(module, _)| *module == name).map_or(name.as_str(), |(_, driver)| driver).to_owned();
        add(state, &driver);
    }
    found
}

fn add(state: &mut Capture, driver: &str) {
    for attribute in ["bind", "unbind"] {
        state.insert(format!("{DRIVERS}/{driver}/{attribute}"), Entry::Present(4096));
    }
}

fn is_registered(state: &Capture, driver: &str) -> Result<(), &'static str> {
    if state.is_there(&format!("{DRIVERS}/{driver}/bind")) { Ok(()) } else { Err("ENOENT") }
}

fn native_driver(native: &Host, address: PciAddress) -> Option<&str> {
    native.device(address)?.driver_name()
}

/// With an override only the driver of that name; vfio-pci takes nothing without one or ids, and no bridge (`pci_match_device`).
fn takes(native: &Host, device: &PciDevice, driver: &str) -> bool {
    match &device.driver_override {
        Some(only) => only == driver && (!device.is_bridge() || native_driver(native, device.address) == Some(driver)),
        None => native_driver(native, device.address) == Some(driver),
    }
}

/// What the driver showed of a function goes with it.
pub(super) fn withdraw(state: &mut Capture, address: PciAddress) {
    for path in shown(state, address) {
        let below: Vec<String> = state.below(format!("{path}/")).map(|(below, _)| below.to_owned()).collect();
        below.iter().chain([&path]).for_each(|path| _ = state.remove(path));
    }
}

/// And is there again.
pub(super) fn offer(state: &mut Capture, native: &Host, address: PciAddress) {
    let own = &native.capture;
    for path in shown(own, address) {
        let below = own.below(format!("{path}/")).chain(own.get(&path).map(|entry| (path.as_str(), entry)));
        below.for_each(|(path, entry)| state.insert(path, entry.clone()));
    }
}

fn shown(capture: &Capture, address: PciAddress) -> Vec<String> {
    let paths = CLASSES.iter().flat_map(|class| capture.names_in(class).map(move |name| format!("{class}/{name}")));
    paths.filter(|path| functions_on(capture.link(path).unwrap_or_default()).contains(&address)).collect()
}

/// Virtual functions come and go, each in a group of its own, and no driver takes them.
fn set_virtual(state: &mut Capture, physical: &PciDevice, path: &str, count: &str) -> Result<(), &'static str> {
    let wanted: u8 = count.parse().map_err(|_| "EINVAL")?;
    let old = state.attribute(path).and_then(|text| text.parse::<u8>().ok()).unwrap_or(0);
    if old != 0 && wanted != 0 {
        return Err("EBUSY");
    }
    let id = physical.id.map(|id| format!("{:04X}:{:04X}", id.vendor, id.device + 1)).unwrap_or_default();
    for number in 1..=old.max(wanted) {
        let address = PciAddress { devfn: physical.address.devfn + number, ..physical.address };
        let (place, group) = (format!("/sys/bus/pci/devices/{address}"), format!("/sys/kernel/iommu_groups/{}", 100 + u32::from(number)));
        if wanted == 0 {
            let gone: Vec<String> = [&place, &group]
                .iter()
                .flat_map(|below| state.below(format!("{below}/")).map(|(path, _)| path.to_owned()).collect::<Vec<_>>())
                .collect();
            gone.iter().for_each(|path| _ = state.remove(path));
            continue;
        }
        let file = |text: String| Entry::File(text.into_bytes());
        state.insert(format!("{place}/uevent"), file(format!("PCI_CLASS=10802\nPCI_ID={id}\nPCI_SUBSYS_ID=0000:0001\n")));
        state.insert(format!("{place}/driver_override"), file("(null)\n".to_owned()));
        state.insert(format!("{place}/physfn"), Entry::Link(format!("../{}", physical.address)));
        state.insert(format!("{place}/iommu_group"), Entry::Link(format!("../../../..{}", group.trim_start_matches("/sys"))));
        state.insert(format!("{group}/type"), file("DMA\n".to_owned()));
        state.insert(format!("{group}/devices/{address}"), Entry::Link("x".to_owned()));
    }
    state.insert(path, Entry::File(format!("{wanted}\n").into_bytes()));
    Ok(())
}
