//! Kernels: which are installed, which modules they have, what their command line says.

pub mod acs_override;
pub mod installed;
pub mod module_alias;

pub use installed::{Kernel, module_name};
pub use module_alias::ModuleAliases;
