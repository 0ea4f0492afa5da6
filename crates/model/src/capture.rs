//! Everything that was read from a host, and nothing concluded.

use crate::observed::Observed;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;

/// One thing found on the host, kept exactly as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A regular file and its bytes.
    File(Vec<u8>),
    /// A file that is there; its content was not taken. Size in bytes.
    Present(u64),
    /// A symbolic link and its target as written.
    Link(String),
    /// A directory. Its children are entries of their own; all of them are there only if the observer listed it.
    Dir,
    /// Looked for, and not there.
    Absent,
    /// Could not be read; the error's name (`EACCES`) or reason.
    Unreadable(String),
}

/// What is there instead, where a file was wanted.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(_) => f.write_str("a file"),
            Self::Present(_) => f.write_str("its content was not read"),
            Self::Link(target) => write!(f, "a link to {target}"),
            Self::Dir => f.write_str("a directory"),
            Self::Absent => f.write_str("not there"),
            Self::Unreadable(why) => f.write_str(why),
        }
    }
}

/// What was read: absolute path as seen from inside the root → what was there.
///
/// Attributes of a PCI function stand below `/sys/bus/pci/devices/ADDRESS/`, though on a real host that path is a link.
/// Content of an initramfs image stands below `IMAGE!/` (for example `/boot/initrd.img-6.1!/etc/modprobe.d/x.conf`).
/// `PATH@` is a link with the place of PATH, where links lead to another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capture {
    entries: BTreeMap<String, Entry>,
    /// What the maker of the capture wants to be known: version, scrubbed facts. One line each.
    pub notes: Vec<String>,
}

impl Capture {
    /// An empty capture.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records what was seen at `path`. A later record of the same path replaces the former one.
    pub fn insert(&mut self, path: impl Into<String>, entry: Entry) {
        self.entries.insert(path.into(), entry);
    }

    /// Takes what was seen at `path` out.
    pub fn remove(&mut self, path: &str) -> Option<Entry> {
        self.entries.remove(path)
    }

    /// Adds many records at once.
    pub fn extend(&mut self, entries: impl IntoIterator<Item = (String, Entry)>) {
        // Built anew as a whole: `extend` of a map looks every key up, and of one path the last record counts here too.
        self.entries = std::mem::take(&mut self.entries).into_iter().chain(entries).collect();
    }

    /// What was seen at `path`; `None` where nobody looked.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The bytes of the file at `path`.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        match self.entries.get(path) {
            Some(Entry::File(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The text of the file at `path`, bytes that are not UTF-8 replaced, trailing line end taken off. For kernel attributes.
    pub fn attribute(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(self.file(path)?).ok().map(str::trim_end)
    }

    /// The bytes of the file at `path`, telling a missing file from one that could not be read.
    pub fn observed(&self, path: &str) -> Observed<&[u8]> {
        match self.entries.get(path) {
            Some(Entry::File(bytes)) => Observed::Known(bytes),
            Some(Entry::Absent) => Observed::Absent,
            Some(Entry::Unreadable(why)) => Observed::Unknown(format!("{path}: {why}")),
            Some(Entry::Present(_)) => Observed::Unknown(format!("{path}: content not taken")),
            Some(Entry::Dir | Entry::Link(_)) => Observed::Unknown(format!("{path}: not a regular file")),
            None if self.listed_without(path) => Observed::Absent,
            None => Observed::Unknown(format!("{path}: not looked at")),
        }
    }

    /// True where the path may exist: it was seen, or could not be looked at.
    pub fn exists(&self, path: &str) -> bool {
        matches!(self.entries.get(path), Some(Entry::File(_) | Entry::Present(_) | Entry::Link(_) | Entry::Dir | Entry::Unreadable(_)))
    }

    /// True where something was seen at the path. Where nobody may look there (`Unreadable`), it is not: conclusions from a thing's being
    /// there rest on this, and not on [`Self::exists`].
    pub fn is_there(&self, path: &str) -> bool {
        matches!(self.entries.get(path), Some(Entry::File(_) | Entry::Present(_) | Entry::Link(_) | Entry::Dir))
    }

    /// Why the path could not be read, where that is so.
    pub fn unreadable(&self, path: &str) -> Option<&str> {
        match self.entries.get(path) {
            Some(Entry::Unreadable(why)) => Some(why),
            _ => None,
        }
    }

    /// The target of the link at `path`.
    pub fn link(&self, path: &str) -> Option<&str> {
        match self.entries.get(path) {
            Some(Entry::Link(target)) => Some(target),
            _ => None,
        }
    }

    /// Where the links in `path` lead, inside the root; the path itself where there are none.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub fn place<'a>(&'a self, path: &'a str) -> Result<&'a str, &'a str> {
        match self.entries.get(&place_key(path)) {
            Some(Entry::Link(place)) => Ok(place),
            Some(Entry::Unreadable(why)) => Err(why),
            _ => Ok(path),
        }
    }

    /// The names directly below the directory `path`, sorted by byte, also those of directories of which only something inside was recorded.
    /// Names seen to be absent are left out.
    pub fn names_in<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let skip = prefix.len();
        let present = self.below(prefix).filter(|(_, entry)| **entry != Entry::Absent);
        let names: BTreeSet<&str> =
            present.filter_map(|(path, _)| path.get(skip..)?.split('/').next()).filter(|name| !name.is_empty()).collect();
        names.into_iter()
    }

    /// All records below the prefix (which should end in `/`), in the order of their paths.
    pub fn below(&self, prefix: impl Into<String>) -> impl Iterator<Item = (&str, &Entry)> {
        let prefix = prefix.into();
        let start = Bound::Included(prefix.clone());
        self.entries.range((start, Bound::Unbounded)).map(|(p, e)| (p.as_str(), e)).take_while(move |(p, _)| p.starts_with(&prefix))
    }

    /// All records, in the order of their paths.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(p, e)| (p.as_str(), e))
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True where nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A missing path is known to be absent where its directory is recorded as absent.
    fn listed_without(&self, path: &str) -> bool {
        let mut rest = path;
        while let Some(cut) = rest.rfind('/') {
            rest = rest.get(..cut).unwrap_or_default();
            match self.entries.get(rest) {
                Some(Entry::Absent) => return true,
                Some(_) => return false,
                None => {}
            }
        }
        false
    }
}

/// The path under which a capture has what [`Capture::place`] says.
pub fn place_key(path: &str) -> String {
    format!("{path}@")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_unreadable_and_never_looked_at_are_three_answers() {
        let mut capture = Capture::new();
        capture.insert("/a", Entry::Absent);
        capture.insert("/b", Entry::Unreadable("EACCES".into()));
        capture.insert("/c", Entry::File(b"x\n".to_vec()));
        assert_eq!(capture.observed("/a"), Observed::Absent);
        assert_eq!(capture.observed("/a/below"), Observed::Absent);
        assert_eq!(capture.observed("/b"), Observed::Unknown("/b: EACCES".into()));
        assert_eq!(capture.observed("/c"), Observed::Known(b"x\n".as_slice()));
        assert!(capture.observed("/d").is_unknown());
        assert_eq!(["/a", "/b", "/c", "/d"].map(|path| capture.is_there(path)), [false, false, true, false]);
        assert_eq!((capture.unreadable("/b"), capture.unreadable("/c")), (Some("EACCES"), None));
    }

    #[test]
    fn names_in_a_directory_are_its_direct_children_only() {
        let mut capture = Capture::new();
        for path in ["/etc/a.conf", "/etc/a/x", "/etc/b/c.conf", "/etc/b", "/etcetera", "/etc-x/y"] {
            capture.insert(path, Entry::Dir);
        }
        capture.insert("/etc/gone", Entry::Absent);
        assert_eq!(capture.names_in("/etc").collect::<Vec<_>>(), ["a", "a.conf", "b"]);
    }
}
