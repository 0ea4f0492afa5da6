//! IOMMU groups: how Linux forms them, and what can be said before it has.

pub mod acs;
mod acs_quirks;
mod dma_alias;
mod formation;
mod function;
mod placement;
pub mod predict;

pub use predict::{Companion, Inseparable, Origin, PredictInput, PredictOptions, Prediction, Tie, predict};
