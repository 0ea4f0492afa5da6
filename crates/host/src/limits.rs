//! Limits of this process that would end it, or hide files from it, in the middle of its work.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::SIGXFSZ;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Descriptors that a run may need at once, with room to spare. With fewer a file that is there would be one that cannot be read.
pub const FILES: u64 = 64;

/// To this many the limit is raised where that is allowed; with more some tools, which inherit it, do not get along (select(2)).
const RAISED: u64 = 1024;

/// Makes a file that grows beyond `RLIMIT_FSIZE` an error, which is rolled back, instead of a signal that ends the process, and raises the number
/// of files that may be open. The tools that are run get the signal as ever: a handler does not outlive execve(2).
///
/// # Errors
/// Fewer than [`FILES`] may be open; how many.
pub fn prepare() -> Result<(), u64> {
    // Where a handler cannot be set, the journal tells where the process ended.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(RAISED, |most| most.min(RAISED));
    let allowed = limit.current.unwrap_or(u64::MAX);
    let is_raised = allowed < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).is_ok();
    let allowed = if is_raised { wanted } else { allowed };
    if allowed < FILES { Err(allowed) } else { Ok(()) }
}
