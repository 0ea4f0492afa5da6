//! The IOMMU: whether it is on, the groups that it can tell apart, how Linux forms them, and what can be said before it has.

pub mod acs;
mod acs_quirks;
mod dma_alias;
pub mod foretell;
mod formation;
mod function;
pub mod group;
mod placement;
pub mod predict;
pub mod state;

pub use foretell::GroupTable;
pub use group::{IommuGroup, ReservedRegion};
pub use predict::{Companion, Inseparable, Origin, PredictInput, PredictOptions, Prediction, Tie, predict};
pub use state::{AcpiTables, IommuState};
