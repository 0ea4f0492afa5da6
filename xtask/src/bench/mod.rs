//! How long reading a host takes, beside other tools and beside the least that any program has to do.

mod contestants;
mod floor;
mod functions;
mod measure;
mod namespace;
mod report;
mod session;
mod tree;

pub(crate) use session::run;
