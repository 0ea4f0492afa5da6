//! Which operations of the running system still mean something.

use super::moves::{Move, Side, moves};
use super::virtual_wanted;
use crate::intent::Identity;
use crate::journal::{End, Operation, Verb};
use crate::plan::{Condition, Expectation, When};
use cede_model::pci::PciAddress;

/// A function that an operation of this boot gave to VFIO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<'o> {
    /// The function.
    pub device: &'o Identity,
    /// As it was before.
    pub former: Side,
    /// The operation.
    pub operation: &'o Operation,
}

/// True where nothing is left of an operation because the machine was started anew since.
pub fn is_void(operation: &Operation, boot_id: Option<&str>) -> bool {
    let other_boot = || boot_id.is_some() && operation.boot_id.is_some() && operation.boot_id.as_deref() != boot_id;
    operation.plan.is_runtime() && other_boot()
}

/// The functions that operations of this boot gave to VFIO and that were not given back since, each by its last one.
pub fn held<'o>(operations: &'o [Operation], boot_id: Option<&str>) -> Vec<Held<'o>> {
    let mut list: Vec<Held<'o>> = Vec::new();
    for operation in operations.iter().filter(|operation| is_done(operation, boot_id)) {
        let ways = moves(&operation.plan.steps);
        let takes_away = virtual_wanted(&operation.plan).is_some_and(|(_, count)| count == 0);
        let is_gone = |address: PciAddress| takes_away && operation.plan.devices.iter().any(|device| device.address == address);
        list.retain(|held| way_of(&ways, held.device.address).is_none() && !is_gone(held.device.address));
        if operation.verb == Verb::Bind {
            let taken = operation.plan.devices.iter().filter_map(|device| Some((device, way_of(&ways, device.address)?)));
            list.extend(taken.map(|(device, way)| Held { device, former: way.from.clone(), operation }));
        }
    }
    list
}

fn way_of(ways: &[Move], address: PciAddress) -> Option<&Move> {
    ways.iter().find(|way| way.address == address)
}

/// True where a function that the operation gave to VFIO is still there, in the boot of this id.
pub fn in_force(operations: &[Operation], operation: &Operation, boot_id: Option<&str>) -> bool {
    let holds = || held(operations, boot_id).iter().any(|held| held.operation.number == operation.number);
    operation.verb == Verb::Bind && (holds() || made(operations, boot_id).iter().any(|maker| maker.number == operation.number))
}

/// The operations of this boot that made virtual functions which were not taken away since.
fn made<'o>(operations: &'o [Operation], boot_id: Option<&str>) -> Vec<&'o Operation> {
    let mut list: Vec<(PciAddress, &Operation)> = Vec::new();
    for operation in operations.iter().filter(|operation| is_done(operation, boot_id)) {
        let Some((physical, count)) = virtual_wanted(&operation.plan) else { continue };
        list.retain(|(other, _)| *other != physical);
        if count > 0 {
            list.push((physical, operation));
        }
    }
    list.into_iter().map(|(_, operation)| operation).collect()
}

fn is_done(operation: &Operation, boot_id: Option<&str>) -> bool {
    let same_boot = operation.boot_id.is_some() && operation.boot_id.as_deref() == boot_id;
    operation.plan.is_runtime() && operation.end == Some(End::Applied) && same_boot
}

/// What must hold now of the functions that operations of this boot gave to VFIO.
pub fn expectations(operations: &[Operation], boot_id: Option<&str>) -> Vec<Expectation> {
    let is_of = |what: &Condition, address: PciAddress| matches!(what, Condition::BoundTo { device, .. } if device.address == address);
    let of_held = |held: Held<'_>| {
        let meant = held.operation.plan.expects.iter();
        meant.filter(|one| one.when == When::Now && is_of(&one.what, held.device.address)).cloned().collect::<Vec<_>>()
    };
    let of_makers = made(operations, boot_id).into_iter().flat_map(|maker| maker.plan.expects.iter().cloned());
    held(operations, boot_id).into_iter().flat_map(of_held).chain(of_makers).collect()
}
