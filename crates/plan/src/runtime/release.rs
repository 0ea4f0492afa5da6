//! From a host, a wish and the journal to a plan that gives functions back to their drivers now.

use super::attribute::PCI_DRIVERS;
use super::bind::load;
use super::{Draft, Held, Holder, Move, Side, held, holders};
use crate::group_choice;
use crate::intent::{BindMethod, Identity};
use crate::journal::Operation;
use crate::plan::{Condition, Expectation, Plan, Refusal, When};
use cede_model::Host;
use cede_model::kernel::installed::ModuleForm;
use cede_model::kernel::module_name;
use cede_model::pci::{PciAddress, PciDevice};

/// Plans to give whole groups back to the drivers that they had. It never fails: what stands in the way is among its refusals.
pub fn release(host: &Host, wanted: &[PciAddress], operations: &[Operation]) -> Draft {
    let mut draft = Draft { plan: Plan { bind: BindMethod::Override, ..Plan::default() }, ..Draft::default() };
    let boot_id = host.capture.attribute("/proc/sys/kernel/random/boot_id");
    match fill(host, wanted, &held(operations, boot_id), &mut draft) {
        Ok(()) => draft,
        Err(refused) => draft.refused(refused),
    }
}

fn fill(host: &Host, wanted: &[PciAddress], held: &[Held<'_>], draft: &mut Draft) -> Result<(), Vec<Refusal>> {
    let missing = wanted.iter().filter(|address| host.device(**address).is_none());
    let refused: Vec<Refusal> = missing
        .map(|address| Refusal::new("no-such-device", format!("there is no PCI function at {address}: `cede devices` lists them")))
        .collect();
    if !refused.is_empty() {
        return Err(refused);
    }
    let mut ways = Vec::new();
    let mut refused = Vec::new();
    for device in together(host, wanted) {
        match Way::of(host, device, held) {
            Ok(way) => ways.push(way),
            Err(refusal) => refused.push(refusal),
        }
    }
    draft.holders = ways.iter().flat_map(|way| holders::of(host, way.device, &[])).collect();
    refused.extend(draft.holders.iter().map(|holder: &Holder| Refusal::from(holder)));
    if !refused.is_empty() {
        return Err(refused);
    }
    draft.plan.devices = ways.iter().map(|way| way.identity.clone()).collect();
    let along: Vec<String> =
        ways.iter().map(|way| way.device.address).filter(|one| !wanted.contains(one)).map(|one| one.to_string()).collect();
    if !along.is_empty() {
        draft.plan.notes.push(format!("{} goes back along: a group goes as a whole", along.join(", ")));
    }
    ways.iter().for_each(|way| way.plan(&mut draft.plan));
    Ok(())
}

/// The functions that VFIO drivers have in the groups of those wanted.
fn together<'h>(host: &'h Host, wanted: &[PciAddress]) -> Vec<&'h PciDevice> {
    let group = |address: &PciAddress| host.group_of(*address).map(|group| group.devices.clone());
    let mut all: Vec<PciAddress> = wanted.iter().flat_map(|address| group(address).unwrap_or_else(|| vec![*address])).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
        .filter_map(|address| host.device(address))
        .filter(|device| device.is_on_vfio() && !group_choice::stays(device))
        .collect()
}

/// A function that goes back.
struct Way<'h> {
    identity: Identity,
    device: &'h PciDevice,
    former: Former<'h>,
    /// A module to load first.
    load: Option<String>,
}

/// To whom.
enum Former<'h> {
    /// As an operation of this boot found it.
    Recorded(Side, &'h Operation),
    /// It was with VFIO since the start; this driver says that it takes it.
    Native(String),
}

impl<'h> Way<'h> {
    fn of(host: &Host, device: &'h PciDevice, held: &[Held<'h>]) -> Result<Self, Refusal> {
        let address = device.address;
        let identity = Identity::of(device).ok_or_else(|| {
            Refusal::new(
                "device-does-not-answer",
                format!("the ids of {address} could not be read: it may be asleep or dead; `lspci -s {address}` shows it"),
            )
        })?;
        let recorded = held.iter().find(|held| held.device.address == address);
        if let Some(held) = recorded.filter(|held| !held.device.matches(device)) {
            return Err(Refusal::new(
                "another-device",
                format!("{address} was {}, and another device is there now: `cede devices` shows it", held.device),
            ));
        }
        let former = match recorded {
            Some(held) => Former::Recorded(held.former.clone(), held.operation),
            None => Former::Native(native(host, device)?),
        };
        let gone = match &former {
            Former::Recorded(Side { driver: Some(driver), .. }, _) if !host.capture.is_there(&format!("{PCI_DRIVERS}{driver}")) => {
                Some(driver)
            }
            _ => None,
        };
        let load = gone.map(|driver| module_of(host, device, driver)).transpose()?;
        Ok(Self { identity, device, former, load })
    }

    fn plan(&self, plan: &mut Plan) {
        plan.steps.extend(self.load.as_deref().map(load));
        let from = Side::of(self.device);
        let device = || self.identity.clone();
        let to = match &self.former {
            Former::Recorded(side, operation) => {
                let is_meant = |what: &Condition| match what {
                    Condition::BoundTo { device, .. } | Condition::Serves { device, .. } => device.address == self.device.address,
                    _ => false,
                };
                let meant =
                    operation.plan.expects.iter().filter(|expectation| expectation.when == When::OnRelease && is_meant(&expectation.what));
                plan.expects.extend(meant.map(|expectation| Expectation::now(expectation.what.clone())));
                side.clone()
            }
            Former::Native(driver) => {
                plan.notes.push(format!(
                    "{}: the configuration gives it to VFIO again at the next start; `cede undo` takes that back",
                    self.device.address
                ));
                plan.expects.push(Expectation::now(Condition::BoundTo { device: device(), driver: driver.clone() }));
                Side { driver: Some(driver.clone()), only: String::new() }
            }
        };
        if let Some(driver) = self.device.driver_name() {
            plan.expects.push(Expectation::now(Condition::NotOn { device: device(), driver: driver.to_owned() }));
        }
        plan.steps.extend(Move { address: self.device.address, from, to }.steps());
    }
}

/// The driver of a module that says it takes the function, where nothing recorded tells.
fn native(host: &Host, device: &PciDevice) -> Result<String, Refusal> {
    let address = device.address;
    let kernel = host.running_kernel();
    let modules = candidates(host, device);
    let drivers = |module: &String| {
        host.capture
            .names_in(&format!("/sys/module/{module}/drivers"))
            .filter_map(|name| name.strip_prefix("pci:"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    if let Some(driver) = modules.iter().flat_map(drivers).next() {
        return Ok(driver);
    }
    let to_load = modules.iter().find(|module| kernel.is_some_and(|kernel| kernel.form(module) == ModuleForm::Loadable));
    Err(match to_load {
        Some(module) => {
            Refusal::new("former-driver-not-loaded", format!("{module} is to take {address}, and is not loaded: `modprobe {module}` first"))
        }
        None => Refusal::new(
            "no-former-driver",
            format!("no module of this kernel says that it takes {address}: `lspci -k -s {address}` shows what is known"),
        ),
    })
}

/// The module that brings a driver which was there and is not any more.
fn module_of(host: &Host, device: &PciDevice, driver: &str) -> Result<String, Refusal> {
    let kernel = host.running_kernel();
    let modules = candidates(host, device);
    let is_loadable = |module: &&String| kernel.is_some_and(|kernel| kernel.form(module) == ModuleForm::Loadable);
    let same_name = modules.iter().filter(is_loadable).find(|module| **module == module_name(driver));
    same_name.or_else(|| modules.iter().find(is_loadable)).cloned().ok_or_else(|| {
        let message = format!(
            "{driver}, which had {}, is not loaded any more, and its module is not known: load it, then release again",
            device.address
        );
        Refusal::new("former-driver-not-loaded", message)
    })
}

/// Modules that say they take the function.
fn candidates(host: &Host, device: &PciDevice) -> Vec<String> {
    let aliases = host.running_kernel().map(|kernel| kernel.aliases(&host.capture, &host.devices));
    aliases.map(|aliases| host.candidates(device, &aliases)).unwrap_or_default()
}
