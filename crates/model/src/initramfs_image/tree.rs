//! Grows the tree of an image member by member, as the kernel would.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::image::{EntryKind, ImageEntry};
use super::path;

/// Directories the kernel's built-in archive has made before (Linux 6.12 `usr/default_cpio_list`).
const BUILT_IN: [&str; 2] = ["dev", "root"];

/// Inode, major and minor of the device: what makes two members of one archive hard links.
pub(super) type LinkKey = (u32, u32, u32);

/// Names that share one content, which comes with one of them (the last, in what GNU cpio writes).
struct LinkGroup {
    paths: Vec<String>,
    size: u64,
    data: Option<Arc<[u8]>>,
    wanted: bool,
}

#[derive(Default)]
pub(super) struct Tree {
    pub(super) entries: BTreeMap<String, ImageEntry>,
    groups: Vec<LinkGroup>,
    /// Groups of the archive being read.
    open_groups: HashMap<LinkKey, usize>,
    /// Group of each path that has one.
    grouped: HashMap<String, usize>,
    /// The directory part last resolved, for members come sorted by directory.
    last_parent: Option<(String, String)>,
}

impl Tree {
    /// Where a member named `name` is put, symbolic links among its parents followed. `None` for the root itself.
    /// A parent that leads nowhere (a loop of links) stays as written; the member becomes an orphan there.
    pub(super) fn place(&mut self, name: &str) -> Option<String> {
        let normal = path::normalise(name);
        let (parent, base) = normal.rsplit_once('/').unwrap_or(("", &normal));
        if base.is_empty() || base == ".." {
            return None;
        }
        let parent = self.real_parent(parent).unwrap_or_else(|| parent.to_owned());
        Some(if parent.is_empty() { base.to_owned() } else { format!("{parent}/{base}") })
    }

    fn real_parent(&mut self, parent: &str) -> Option<String> {
        if let Some((asked, real)) = &self.last_parent
            && asked == parent
        {
            return Some(real.clone());
        }
        let real = path::resolve(&self.entries, parent, true)?;
        self.last_parent = Some((parent.to_owned(), real.clone()));
        Some(real)
    }

    pub(super) fn insert(&mut self, path: String, mut entry: ImageEntry) {
        let old = self.entries.get(&path).map(|old| old.kind.clone());
        let is_directory = entry.kind == EntryKind::Directory;
        // The kernel removes what has another type first; a directory that is not empty stays (`clean_path`).
        if old == Some(EntryKind::Directory) && !is_directory && self.has_children(&path) {
            return;
        }
        if matches!(entry.kind, EntryKind::Symlink(_)) || matches!(old, Some(EntryKind::Symlink(_))) {
            self.last_parent = None;
        }
        entry.orphan = !self.has_parent(&path);
        self.grouped.remove(&path);
        self.entries.insert(path, entry);
    }

    fn has_children(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        let next = self.entries.range(prefix.clone()..).next();
        next.is_some_and(|(name, _)| name.starts_with(&prefix))
    }

    fn has_parent(&self, path: &str) -> bool {
        let Some((parent, _)) = path.rsplit_once('/') else {
            return true;
        };
        let made = |entry: &ImageEntry| entry.kind == EntryKind::Directory && !entry.orphan;
        BUILT_IN.contains(&parent) || self.entries.get(parent).is_some_and(made)
    }

    /// Joins a hard link to its group. True if any name of the group is wanted.
    pub(super) fn join(&mut self, key: LinkKey, path: &str, wanted: bool) -> bool {
        let next = self.groups.len();
        let index = *self.open_groups.entry(key).or_insert(next);
        if index == next {
            self.groups.push(LinkGroup { paths: Vec::new(), size: 0, data: None, wanted: false });
        }
        self.grouped.insert(path.to_owned(), index);
        let Some(group) = self.groups.get_mut(index) else {
            return wanted;
        };
        group.paths.push(path.to_owned());
        group.wanted |= wanted;
        group.wanted
    }

    /// The content of a hard link; a member without any leaves what another brought.
    pub(super) fn content(&mut self, key: LinkKey, size: u64, data: Option<Arc<[u8]>>) {
        let group = self.open_groups.get(&key).and_then(|index| self.groups.get_mut(*index));
        if let Some(group) = group
            && size > 0
        {
            group.size = size;
            group.data = data;
        }
    }

    /// At a trailer: links do not reach into the next archive.
    pub(super) fn end_of_archive(&mut self) {
        self.open_groups.clear();
    }

    /// Gives all names of a group its size and content.
    pub(super) fn finish(mut self) -> BTreeMap<String, ImageEntry> {
        for (index, group) in self.groups.iter().enumerate() {
            for path in &group.paths {
                if self.grouped.get(path) != Some(&index) {
                    continue;
                }
                if let Some(entry) = self.entries.get_mut(path)
                    && entry.kind == EntryKind::File
                {
                    entry.size = group.size;
                    entry.data.clone_from(&group.data);
                }
            }
        }
        self.entries
    }
}
