//! Where functions stand in the guest: what shares a slot on the host shares one in the guest, with the same function numbers.

use super::group::{Given, Member};

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

/// The guest's slots. Nothing looks for other functions where function 0 is missing (PCI Local Bus Specification 3.0, 3.2.2.3.4), so functions
/// of a slot of which the first stays with the host get slots of their own.
pub fn slots(given: &Given) -> Vec<Slot<'_>> {
    let mut slots = Vec::new();
    for part in given.members.chunk_by(|one, other| one.address.same_slot(other.address)) {
        if part.first().is_some_and(|member| member.address.function() == 0) {
            slots.push(Slot { functions: part.iter().map(|member| (member.address.function(), member)).collect() });
        } else {
            slots.extend(part.iter().map(|member| Slot { functions: vec![(0, member)] }));
        }
    }
    slots
}
