//! The IOMMU: whether it is on, the groups that it can tell apart, how Linux forms them, and what can be said before it has.

pub mod acs;
pub mod acs_parameters;
mod acs_quirks;
pub mod cause;
mod dma_alias;
pub mod foretell;
mod formation;
mod function;
pub mod group;
pub mod ivrs;
pub mod options;
mod placement;
pub mod predict;
pub mod scenario;
pub mod state;
pub mod topology;

pub use cause::Cause;
pub use foretell::GroupTable;
pub use group::{IommuGroup, ReservedRegion};
pub use ivrs::Ivrs;
pub use options::{AcsOverride, KernelVersion, PredictOptions};
pub use predict::{Companion, Inseparable, Origin, PredictInput, Prediction, Tie, predict};
pub use scenario::{Change, Scenario};
pub use state::{AcpiTables, IommuState};
pub use topology::{Hop, Topology};
