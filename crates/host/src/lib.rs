//! The only crate that touches a machine.
