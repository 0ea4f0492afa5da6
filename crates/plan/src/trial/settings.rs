//! The archive that brings the trial's modprobe.d files: loaded after the image, its files come in the place of those of the same name
//! (Linux Documentation/driver-api/early-userspace/buffer-format.rst).

use super::SETTINGS;
use crate::plan::{Refusal, Step};
use cede_model::initramfs_image::newc::{NewcEntry, to_follow, with_parents, write_newc};

/// The files as steps would write them, as one archive in this directory; `None` where there are none.
///
/// # Errors
/// A path that no archive can hold.
pub(super) fn archive(files: &[Step], directory: &str) -> Result<Option<Step>, Refusal> {
    let member = |step: &Step| match step {
        Step::ReplaceFile { path, after: Some(after), .. } => Some(NewcEntry::file(path.trim_start_matches('/'), after.clone())),
        _ => None,
    };
    let members: Vec<NewcEntry> = files.iter().filter_map(member).collect();
    if members.is_empty() {
        return Ok(None);
    }
    let refused = |error: String| Refusal::new("trial-settings", error);
    let plain = write_newc(&with_parents(members)).map_err(|error| refused(error.to_string()))?;
    let bytes = to_follow(&plain).map_err(|error| refused(error.to_string()))?;
    Ok(Some(Step::ReplaceFile { path: format!("{directory}/{SETTINGS}"), before: None, after: Some(bytes) }))
}
