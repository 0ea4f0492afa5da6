//! The IOMMU: whether it is on, and the groups that it can tell apart.

pub mod group;
pub mod state;

pub use group::{IommuGroup, ReservedRegion};
pub use state::{AcpiTables, IommuState};
