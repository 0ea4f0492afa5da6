//! IOMMU groups: how Linux forms them, and what can be said before it has.

pub mod acs;
pub mod acs_quirks;
pub mod dma_alias;
mod formation;
mod function;
mod placement;
pub mod predict;

pub use predict::{Inseparable, Origin, PredictInput, PredictOptions, Prediction};
