//! Where functions stand in the guest: what shares a slot on the host shares one in the guest, with the same function numbers.

use super::group::{Given, Member};
use cede_model::pci::PciAddress;

/// The functions of one guest slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot<'a> {
    /// Function number in the guest, and the function.
    pub functions: Vec<(u8, &'a Member)>,
}

impl Slot<'_> {
    /// True where function 0 must tell that there are more.
    pub fn is_multifunction(&self) -> bool {
        self.functions.len() > 1
    }
}

/// The guest's slots.
pub fn slots(given: &Given) -> Vec<Slot<'_>> {
    together(&given.members, |member| member.address).into_iter().map(|functions| Slot { functions }).collect()
}

/// What has a slot together, each with its function number in the guest. Nothing looks for other functions where function 0 is missing (PCI
/// Local Bus Specification 3.0, 3.2.2.3.4), so functions of a slot of which the first stays with the host get slots of their own.
pub fn together<T>(members: &[T], address: impl Fn(&T) -> PciAddress) -> Vec<Vec<(u8, &T)>> {
    let mut slots = Vec::new();
    for part in members.chunk_by(|one, other| address(one).same_slot(address(other))) {
        if part.first().is_some_and(|member| address(member).function() == 0) {
            slots.push(part.iter().map(|member| (address(member).function(), member)).collect());
        } else {
            slots.extend(part.iter().map(|member| vec![(0, member)]));
        }
    }
    slots
}
