//! From a host and a wish to a plan that gives functions to VFIO now.

use super::vfio_driver::{self, VfioDriver};
use super::{Draft, Holder, Move, Side, holders, now, services, unsafe_drivers};
use crate::group_choice::{self, Choice, From};
use crate::guard::Loss;
use crate::intent::{BindMethod, Identity};
use crate::plan::step::MODPROBE;
use crate::plan::{Condition, Expectation, Plan, Refusal, Step, When};
use crate::planner;
use cede_model::iommu::IommuState;
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::uses::nodes;
use cede_model::{Host, Observed};

/// Plans to give whole groups to VFIO, until the next start. It never fails: what stands in the way is among its refusals.
pub fn bind(host: &Host, wanted: &[PciAddress], accepted: &[Loss]) -> Draft {
    let mut draft = Draft { plan: Plan { bind: BindMethod::Override, accepted: accepted.to_vec(), ..Plan::default() }, ..Draft::default() };
    match fill(host, wanted, &mut draft) {
        Ok(()) => draft,
        Err(refused) => draft.refused(refused),
    }
}

fn fill(host: &Host, wanted: &[PciAddress], draft: &mut Draft) -> Result<(), Vec<Refusal>> {
    if let Some(refusal) = no_iommu(host) {
        return Err(vec![refusal]);
    }
    let choice = group_choice::choose_from(host, wanted, From::Now)?;
    let plan = &mut draft.plan;
    plan.devices.clone_from(&choice.ceded);
    plan.stays.clone_from(&choice.stays);
    plan.notes.clone_from(&choice.notes);
    let goes: Vec<(&Identity, &PciDevice)> = choice
        .ceded
        .iter()
        .filter_map(|identity| Some((identity, host.device(identity.address).filter(|device| !device.is_on_vfio())?)))
        .collect();
    let mut refused: Vec<Refusal> = planner::direct_mapping(host, &choice).into_iter().collect();
    refused.extend(now::guard(host, &choice, plan));
    refused.extend(goes.iter().filter_map(|(_, device)| unreadable(device).or_else(|| unsafe_drivers::refuse(host, device))));
    let held: Vec<Holder> = goes.iter().flat_map(|(_, device)| holders::of(host, device, &plan.accepted)).collect();
    refused.extend(held.iter().map(Refusal::from));
    draft.holders = held;
    let drivers: Vec<Result<VfioDriver, Refusal>> = goes.iter().map(|(_, device)| vfio_driver::of(host, device)).collect();
    refused.extend(drivers.iter().filter_map(|driver| driver.as_ref().err().cloned()));
    if !refused.is_empty() {
        return Err(refused);
    }
    let ways: Vec<Way<'_>> =
        goes.into_iter().zip(drivers.into_iter().flatten()).map(|((identity, device), driver)| Way { identity, device, driver }).collect();
    steps(host, &choice, &ways, plan);
    Ok(())
}

/// A function that goes, and to which driver.
struct Way<'h> {
    identity: &'h Identity,
    device: &'h PciDevice,
    driver: VfioDriver,
}

fn steps(host: &Host, choice: &Choice, ways: &[Way<'_>], plan: &mut Plan) {
    if ways.is_empty() {
        return;
    }
    let mut modules: Vec<&str> = ways.iter().filter(|way| way.driver.to_load).map(|way| way.driver.module.as_str()).collect();
    modules.sort_unstable();
    modules.dedup();
    plan.steps = modules.into_iter().map(load).collect();
    for way in ways {
        let from = Side::of(way.device);
        let to = Side { driver: Some(way.driver.driver.clone()), only: way.driver.driver.clone() };
        plan.steps.extend(Move { address: way.device.address, from, to }.steps());
        plan.expects.push(Expectation::now(Condition::BoundTo { device: way.identity.clone(), driver: way.driver.driver.clone() }));
    }
    plan.expects.push(Expectation::now(Condition::GroupsWhole { devices: choice.ceded.iter().map(|one| one.address).collect() }));
    plan.expects.extend(ways.iter().flat_map(|way| on_release(host, way)));
    plan.notes.extend(ways.iter().filter_map(|way| unsafe_drivers::note(way.device)));
    if nodes::has_unseen(&host.capture) {
        plan.notes.push("who has the devices open was not seen whole: only root sees that of every process".to_owned());
    }
}

/// Loads a module.
pub(super) fn load(module: &str) -> Step {
    Step::RunTool { argv: vec![MODPROBE.to_owned(), "--".to_owned(), module.to_owned()], why: "the driver is not loaded".to_owned() }
}

/// What the function has now it must have again when it is given back.
fn on_release(host: &Host, way: &Way<'_>) -> Vec<Expectation> {
    let device = || way.identity.clone();
    let bound = way.device.driver_name().map(|driver| Condition::BoundTo { device: device(), driver: driver.to_owned() });
    let served = services::of(&host.capture, way.device.address).into_iter().map(|service| Condition::Serves { device: device(), service });
    bound.into_iter().chain(served).map(|what| Expectation { when: When::OnRelease, what }).collect()
}

fn unreadable(device: &PciDevice) -> Option<Refusal> {
    let Observed::Unknown(why) = &device.driver else { return None };
    Some(Refusal::new("driver-not-read", format!("which driver has {} could not be read ({why}): run as root", device.address)))
}

fn no_iommu(host: &Host) -> Option<Refusal> {
    match host.iommu {
        IommuState::On => None,
        IommuState::Off => Some(Refusal::new(
            "iommu-off",
            "the IOMMU is off, and without it no device can be given to a guest: `cede check` says why, `cede plan ADDR` what switches it on",
        )),
        IommuState::Unknown => Some(Refusal::new(
            "host-not-read",
            "PCI functions could not be read: /sys/bus/pci/devices is missing here; run on the host itself",
        )),
    }
}
