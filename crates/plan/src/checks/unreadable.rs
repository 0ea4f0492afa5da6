//! What could not be read without root: said once, so that silence is not taken for good news.

use crate::finding::{Finding, Verdict};
use cede_model::pci::PciAddress;
use cede_model::{Entry, Evidence, Host, counted};

/// `not-readable` where permission was denied for files that checks and plans rest on.
pub fn check(host: &Host, _devices: &[PciAddress]) -> Vec<Finding> {
    let denied = |entry: &Entry| matches!(entry, Entry::Unreadable(why) if why == "EACCES" || why == "EPERM");
    let mut paths = host.capture.entries().filter(|(_, entry)| denied(entry)).map(|(path, _)| path);
    let Some(first) = paths.next() else { return Vec::new() };
    let rest: Vec<&str> = paths.collect();
    let summary = format!("{} could not be read without root; what depends on that is not told", counted(rest.len() + 1, "file"));
    let finding = Finding::new("not-readable", Verdict::CannotTell, summary, Evidence::new(first, "permission denied"));
    vec![
        finding
            .also(rest.into_iter().take(4).map(|path| Evidence::new(path, "permission denied")))
            .remedy("`sudo cede check` tells the rest"),
    ]
}
