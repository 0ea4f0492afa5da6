//! How much room the file system of a path has.

use crate::files::root::Root;
use crate::machine::Space;
use rustix::fs::{OFlags, fstat, fstatvfs};
use std::path::Path;

/// Room where a path is, or would be made. File systems that count no blocks (those of the kernel) tell nothing.
pub(crate) fn space(root: &Root, path: &Path) -> Option<Space> {
    let open = |dir: &Path| root.open_raw(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC).ok();
    let device = |dir: &Path| fstat(open(dir)?).ok().map(|found| found.st_dev);
    let dir = path.ancestors().skip(1).find(|dir| open(dir).is_some())?;
    let room = fstatvfs(open(dir)?).ok().filter(|room| room.f_blocks > 0)?;
    let own = device(dir)?;
    let mounted_at = dir.ancestors().take_while(|above| device(above) == Some(own)).last()?;
    let full_of_files = room.f_files > 0 && room.f_favail == 0;
    let free = if full_of_files { 0 } else { room.f_bavail.saturating_mul(room.f_frsize) };
    Some(Space { mounted_at: mounted_at.display().to_string(), device: own, free })
}
