//! Proving that devices can be given to a guest: how deep, what each step's answer means, and the verdict. What does the steps is in the
//! host crate; here their records are judged.

pub mod cause;
pub mod compare;
pub mod errno;
pub mod facts;
pub mod guest;
pub mod judge;
pub mod record;
pub mod report;
pub mod seabios;
pub mod sighting;
pub mod step;
pub mod wish;

pub use errno::Errno;
pub use facts::{Facts, Holder, Surroundings};
pub use judge::judge;
pub use record::{End, Record, Region, Seen, Subject};
pub use report::{Item, Outcome, Report};
pub use step::Step;
pub use wish::{Depth, Interface, Wish, wish};

#[cfg(test)]
mod tests;
