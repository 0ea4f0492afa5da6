//! VFIO by its system calls: containers and groups, iommufd, devices; and the proof that devices can be given to a guest.

mod container;
mod device;
mod guest;
mod ioctl;
mod iommufd;
mod memory;
mod prover;
mod surroundings;

pub use prover::{Event, prove};
pub use surroundings::surroundings;
