//! Virtual functions: made now by the driver of their physical function, without letting drivers take them, and taken away again
//! (drivers/pci/pci-sysfs.c `sriov_numvfs_store`, drivers/pci/iov.c).

use super::now;
use super::{Attribute, Back, Draft, holders};
use crate::group_choice::Choice;
use crate::intent::{BindMethod, Identity};
use crate::plan::{Condition, Expectation, Plan, Refusal, Step};
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::{Host, counted};

/// Plans for a physical function to have so many virtual ones; 0 takes them away, unless somebody uses one.
pub fn make_virtual(host: &Host, physical: PciAddress, count: u32) -> Draft {
    let mut draft = Draft { plan: Plan { bind: BindMethod::Override, ..Plan::default() }, ..Draft::default() };
    match fill(host, physical, count, &mut draft) {
        Ok(()) => draft,
        Err(refused) => draft.refused(refused),
    }
}

/// The virtual functions of a physical one.
pub fn virtual_of(host: &Host, physical: PciAddress) -> impl Iterator<Item = &PciDevice> {
    host.devices.iter().filter(move |device| device.physical_function == Some(physical))
}

/// What a plan wants: how many virtual functions of which function.
pub fn wanted(plan: &Plan) -> Option<(PciAddress, u32)> {
    plan.steps.iter().find_map(|step| match step {
        Step::WriteAttribute { path, after, .. } => match Attribute::parse(path)? {
            Attribute::VirtualFunctions(address) => Some((address, after.parse().ok()?)),
            _ => None,
        },
        _ => None,
    })
}

fn fill(host: &Host, physical: PciAddress, count: u32, draft: &mut Draft) -> Result<(), Vec<Refusal>> {
    let (device, active) = look(host, physical, count).map_err(|refusal| vec![refusal])?;
    let identity = Identity::of(device).ok_or_else(|| {
        vec![Refusal::new("device-does-not-answer", format!("the ids of {physical} could not be read: `lspci -s {physical}` shows it"))]
    })?;
    draft.plan.devices.push(identity.clone());
    if active == count {
        return Ok(());
    }
    if count == 0 {
        let used: Vec<&PciDevice> = virtual_of(host, physical).collect();
        draft.holders = used.iter().flat_map(|device| holders::of(host, device, &[])).collect();
        let ceded: Vec<Identity> = used.iter().filter_map(|device| Identity::of(device)).collect();
        // What goes with it is what it is about, too: nobody holds those functions afterwards.
        draft.plan.devices.extend(ceded.iter().cloned());
        let mut refused = now::guard(host, &Choice { ceded, ..Choice::default() }, &mut draft.plan);
        refused.extend(draft.holders.iter().map(Refusal::from));
        if !refused.is_empty() {
            return Err(refused);
        }
    }
    draft.plan.steps = steps(host, physical, active, count);
    draft.plan.expects.push(Expectation::now(Condition::HasVirtualFunctions { device: identity, count }));
    Ok(())
}

/// The function and how many it has, where it can have so many.
fn look(host: &Host, physical: PciAddress, count: u32) -> Result<(&PciDevice, u32), Refusal> {
    let device = host
        .device(physical)
        .ok_or_else(|| Refusal::new("no-such-device", format!("there is no PCI function at {physical}: `cede devices` lists them")))?;
    let total = device.sriov_total.unwrap_or(0);
    let active = device.sriov_active.unwrap_or(0);
    let driver = device.driver_name();
    let problem = match () {
        () if total == 0 => {
            format!("{physical} can have no virtual functions: it has no SR-IOV, or the firmware's setup switched that off")
        }
        () if count > total => format!("{physical} can have {} at most", counted(total, "virtual function")),
        () if driver.is_none() || device.is_on_vfio() => {
            format!(
                "{physical} is with {}, and only its own driver makes virtual functions: `cede release {physical}` gives it back",
                driver.unwrap_or("no driver")
            )
        }
        () if active != 0 && count != 0 && active != count => {
            format!(
                "{physical} has {}, and the kernel makes another number only once these are gone: `cede bind {physical} --vfs 0` first",
                counted(active, "virtual function")
            )
        }
        () => return Ok((device, active)),
    };
    Err(Refusal::new("virtual-functions", problem))
}

fn write(attribute: &Attribute, before: u32, after: u32) -> Step {
    Step::WriteAttribute { path: attribute.to_string(), before: Some(before.to_string()), after: after.to_string() }
}

/// No driver of the host takes the new ones, and later ones are taken as ever.
fn steps(host: &Host, physical: PciAddress, active: u32, count: u32) -> Vec<Step> {
    let number = write(&Attribute::VirtualFunctions(physical), active, count);
    let probe = Attribute::Autoprobe(physical);
    if count == 0 || host.capture.attribute(&probe.to_string()) != Some("1") {
        return vec![number];
    }
    vec![write(&probe, 1, 0), number, write(&probe, 0, 1)]
}

/// Back to as many as there were, and to whether drivers take new ones.
pub(super) fn back<'s>(host: &Host, begun: impl IntoIterator<Item = &'s Step>) -> Vec<Back> {
    let mut list: Vec<Back> = Vec::new();
    let mut seen = Vec::new();
    for step in begun {
        let Step::WriteAttribute { path, before: Some(before), .. } = step else { continue };
        let Some(attribute @ (Attribute::VirtualFunctions(address) | Attribute::Autoprobe(address))) = Attribute::parse(path) else {
            continue;
        };
        let now = host.capture.attribute(path).unwrap_or_default();
        // The first step of each says how it was.
        let is_first = !seen.contains(&path);
        seen.push(path);
        if !is_first || now == before {
            continue;
        }
        let counts = matches!(attribute, Attribute::VirtualFunctions(_));
        let unbound =
            virtual_of(host, address).filter(|device| counts && device.driver_name().is_some()).map(|device| device.address).collect();
        list.push(Back {
            unbound,
            steps: vec![Step::WriteAttribute { path: path.clone(), before: Some(now.to_owned()), after: before.clone() }],
        });
    }
    list
}
