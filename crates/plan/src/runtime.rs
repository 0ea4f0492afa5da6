//! What is done to the running system, without a reboot: functions change their drivers by attributes of sysfs. Nothing of it outlives the next
//! start, so an operation of another boot is void by itself.

mod attribute;
mod bind;
mod holders;
mod moves;
mod network_use;
mod now;
mod release;
pub mod services;
mod standing;
mod unsafe_drivers;
mod vfio_driver;
mod virtual_functions;

pub use attribute::Attribute;
pub use bind::bind;
pub use holders::{HELD, Holder, HolderKind, of as holders};
pub use moves::{Back, Move, Side, back, beside_one_another, moves};
pub use now::may_accept;
pub use release::release;
pub use standing::{Held, expectations, held, in_force, is_void};
pub use unsafe_drivers::{OVER_NVIDIA, UNSAFE, over_nvidia};

pub use virtual_functions::{make_virtual, virtual_of, wanted as virtual_wanted};

use crate::journal::{Operation, Verb};
use crate::plan::{Plan, Refusal};
use cede_model::Host;
use cede_model::pci::PciAddress;

/// A plan for the running system, and who uses the functions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// The plan; every holder is among its refusals.
    pub plan: Plan,
    /// Who or what uses a function that would lose its driver.
    pub holders: Vec<Holder>,
}

impl Draft {
    /// True where nothing but holders is in the way, which may go by themselves.
    pub fn may_wait(&self) -> bool {
        !self.holders.is_empty() && self.plan.refused.iter().all(|refusal| refusal.id == holders::HELD)
    }

    /// The plan made anew for the host as it is now. A foreign device in the group, another driver, a new holder: all of it shows there.
    pub fn again(host: &Host, plan: &Plan, verb: Verb, operations: &[Operation]) -> Self {
        if let Some((physical, count)) = virtual_wanted(plan) {
            return make_virtual(host, physical, count);
        }
        let addresses: Vec<PciAddress> = plan.devices.iter().map(|device| device.address).collect();
        if verb == Verb::Bind { bind(host, &addresses, &plan.accepted) } else { release(host, &addresses, operations) }
    }

    pub(crate) fn refused(mut self, refused: Vec<Refusal>) -> Self {
        self.plan.steps.clear();
        self.plan.expects.clear();
        self.plan.refused = refused;
        self
    }
}
