//! Names inside an image: bytes to text, `.` and `/` removed, symbolic links followed.

use std::collections::BTreeMap;

use super::image::{EntryKind, ImageEntry};

/// Symbolic links followed in one look-up (Linux `MAXSYMLINKS`, `include/linux/namei.h`).
const MAX_LINKS: usize = 40;

/// Parts looked at in one look-up, those of link targets included. Real ones stay below 30; the bound keeps a hostile image
/// of long links from costing hours.
const MAX_STEPS: usize = 128;

/// Text of a name; bytes that are not UTF-8 appear as `\xNN`, so two names never become one by replacement.
pub(super) fn escape(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// The parts of a path without empty ones and `.`.
pub(super) fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

/// The path with no leading `/` or `./`, no doubled `/`, no `.`; `..` is left for [`resolve`].
pub(super) fn normalise(path: &str) -> String {
    components(path).collect::<Vec<_>>().join("/")
}

/// Follows the symbolic links of the image in all parts of `path`, the last one only if `follow_last`.
/// The result need not exist. `None` for a loop and for more than [`MAX_STEPS`] parts.
pub(super) fn resolve(entries: &BTreeMap<String, ImageEntry>, path: &str, follow_last: bool) -> Option<String> {
    let mut todo: Vec<String> = components(path).rev().map(String::from).collect();
    let mut done = String::new();
    let (mut links, mut steps) = (0, 0);
    while let Some(part) = todo.pop() {
        steps += 1;
        if steps > MAX_STEPS {
            return None;
        }
        let parent = done.len();
        if part == ".." {
            done.truncate(done.rfind('/').unwrap_or(0));
            continue;
        }
        if parent > 0 {
            done.push('/');
        }
        done.push_str(&part);
        if todo.is_empty() && !follow_last {
            break;
        }
        if let Some(ImageEntry { kind: EntryKind::Symlink(target), .. }) = entries.get(&done) {
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            done.truncate(if target.starts_with('/') { 0 } else { parent });
            // More than the bound is never looked at.
            let parts: Vec<_> = components(target).take(MAX_STEPS).collect();
            todo.extend(parts.into_iter().rev().map(String::from));
        }
    }
    Some(done)
}
