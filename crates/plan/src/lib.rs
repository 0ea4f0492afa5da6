//! What to say of a host and what to change on it. Pure: no files, no clock, no environment, no printing.

pub mod binding;
pub mod boot_images;
pub mod bootloader;
pub mod by_address;
pub mod checks;
pub mod diff;
pub mod digest;
/// Lossless readers and editors of configuration files: shell assignments, kernel command lines, `modprobe.d`.
pub mod edit;
pub mod explain;
pub mod finding;
pub mod group_choice;
pub mod guard;
pub mod handoff;
pub mod hook;
pub mod initramfs;
pub mod intent;
pub mod iommu_cause;
pub mod journal;
pub mod merge;
pub mod parameter;
pub mod persist;
pub mod plan;
pub mod planner;
pub mod prove;
pub mod redo;
pub mod runtime;
pub mod scrubbed_journal;
pub mod shell_word;
pub mod tool_failure;
pub mod trial;
pub mod undo;
pub mod unread;
pub mod verify;
pub mod whereabouts;

pub use finding::{Finding, Verdict};
pub use intent::{BindMethod, Identity};
pub use plan::{Plan, Refusal, Step};
