//! What is true of a host. Pure: no files, no clock, no environment, no printing.
//!
//! Everything starts from a [`Capture`]: what was read, and nothing concluded. [`Host`] is the reading of it.

pub mod boot;
pub mod capture;
pub mod capture_text;
mod counted;
pub mod escape;
pub mod host;
pub mod initramfs_image;
pub mod iommu;
pub mod kernel;
mod lines;
pub mod lspci;
pub mod observed;
pub mod os;
pub mod pci;
pub mod scrub;
pub mod uses;

pub use capture::{Capture, Entry};
pub use counted::counted;
pub use host::Host;
pub use observed::{Evidence, Observed};
