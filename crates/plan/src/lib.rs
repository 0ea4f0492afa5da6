//! What to say of a host and what to change on it. Pure: no files, no clock, no environment, no printing.

pub mod digest;
pub mod finding;
pub mod intent;
pub mod iommu_cause;
pub mod parameter;
pub mod plan;

pub use finding::{Finding, Verdict};
pub use intent::{BindMethod, Identity};
pub use plan::{Plan, Refusal, Step};
