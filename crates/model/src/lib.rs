//! What is true of a host. Pure: no files, no clock, no environment, no printing.
//!
//! Everything starts from a [`Capture`]: what was read, and nothing concluded. [`Host`] is the reading of it.

pub mod capture;
pub mod capture_text;
pub mod iommu;
pub mod observed;
pub mod pci;

pub use capture::{Capture, Entry};
pub use observed::{Evidence, Observed};
