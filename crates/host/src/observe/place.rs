//! Where a path leads, links followed by hand inside the root.

use crate::files::locate::MAX_LINKS;
use crate::read_host::ReadHost;
use cede_model::Entry;

/// The path without links, as a link. Its last name need not exist; `Absent` where a directory before it does not.
pub(super) fn of(host: &dyn ReadHost, path: &str) -> Entry {
    let parts = |path: &str| path.split('/').rev().map(str::to_owned).collect::<Vec<_>>();
    let (mut place, mut rest, mut links) = (String::new(), parts(path), 0);
    while let Some(name) = rest.pop() {
        match name.as_str() {
            "" | "." => continue,
            ".." => {
                place.truncate(place.rfind('/').unwrap_or_default());
                continue;
            }
            _ => {}
        }
        let next = format!("{place}/{name}");
        match host.read_link(&next) {
            Entry::Link(_) if links == MAX_LINKS => return Entry::Unreadable("ELOOP".to_owned()),
            Entry::Link(target) => {
                links += 1;
                if target.starts_with('/') {
                    place.clear();
                }
                rest.extend(parts(&target));
            }
            Entry::Absent if !rest.is_empty() => return Entry::Absent,
            unreadable @ Entry::Unreadable(_) => return unreadable,
            _ => place = next,
        }
    }
    Entry::Link(place)
}
