//! What commands answer: plain types, versioned, the only ones that are serialised for users.

pub mod check;
pub mod devices;
pub mod groups;
pub mod log;
pub mod status;
pub mod verify;
