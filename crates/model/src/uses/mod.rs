//! What the host uses its functions for: block devices up to mounts and swap, interfaces up to routes and sessions, keyboards, consoles.
//! Every use is traced down to the functions that carry it; what could not be seen on the way is unknown, and never taken for free.

pub mod arrays;
pub mod block;
pub mod block_names;
pub mod consoles;
pub mod firmware_boot;
pub mod graph;
pub mod keyboards;
pub mod logs;
pub mod mounts;
pub mod net;
pub mod nodes;
pub mod remote;
pub mod routes;
pub mod storage;
pub mod unlock;
pub mod volume_groups;
