//! How a host is read: the same for a machine, a mounted system and the simulated host.

use cede_model::Entry;
use std::ops::Range;

/// Something that can be read like a file system. Paths are absolute, as seen from inside the root; links are followed inside it.
pub trait ReadHost: Sync {
    /// The first `limit` bytes of a regular file; `Absent`, `Dir` or `Unreadable` otherwise. A file longer than `limit` is `Unreadable`.
    fn read(&self, path: &str, limit: usize) -> Entry;

    /// The first `limit` bytes, whatever follows. For files of which the beginning is enough.
    fn read_head(&self, path: &str, limit: usize) -> Entry;

    /// Whether something is there: `Present` with its size, `Dir`, `Absent` or `Unreadable`.
    fn probe(&self, path: &str) -> Entry;

    /// The link at `path` itself, not followed; `Dir` and `Present` for what is no link.
    fn read_link(&self, path: &str) -> Entry;

    /// Where `path` leads to a device node: its number as sysfs has it below `/sys/dev`, `char/226:1`.
    fn device_number(&self, _path: &str) -> Option<String> {
        None
    }

    /// The names in a directory, sorted; else what `probe` says. What of a name is not UTF-8 is U+FFFD, and such a file reads as `Unreadable`.
    ///
    /// # Errors
    /// The entry that stands there instead of a readable directory.
    fn list(&self, path: &str) -> Result<Vec<String>, Entry>;

    /// Opens a directory to read in many of those that it holds, several attributes each, as in sysfs.
    ///
    /// # Errors
    /// The entry that stands there instead of a readable directory.
    fn open_all<'a>(&'a self, base: &'a str) -> Result<Box<dyn Subdirectories + 'a>, Entry> {
        Ok(Box::new(ByPaths { host: self, base, names: self.list(base)? }))
    }

    /// How many directories one holds, links not counted, where its link count tells that without listing it (stat(2), `st_nlink`).
    fn count_of_directories(&self, _path: &str) -> Option<u64> {
        None
    }
}

/// What an open directory holds. Links in it are followed; what they lead to is taken to be of the same file system.
pub trait Subdirectories: Send + Sync {
    /// Their names, sorted.
    fn names(&self) -> &[String];

    /// Reads in those whose names have these places in [`Self::names`], one after the other. One that is gone has nothing in it.
    fn each(&self, places: Range<usize>, read: &mut dyn FnMut(&str, &mut dyn ReadAttributes));
}

/// Reads small files and links of one directory by their names.
pub trait ReadAttributes {
    /// A regular file, whole.
    fn file(&mut self, name: &str) -> Entry;

    /// A link, not followed.
    fn link(&mut self, name: &str) -> Entry;

    /// The link that the directory was reached by, not followed; `Dir` where it is none.
    fn way_here(&mut self) -> Entry;
}

/// For hosts that need not open a directory to read in it: every name is a path of its own.
struct ByPaths<'a, H: ?Sized> {
    host: &'a H,
    base: &'a str,
    names: Vec<String>,
}

impl<H: ReadHost + ?Sized> Subdirectories for ByPaths<'_, H> {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn each(&self, places: Range<usize>, read: &mut dyn FnMut(&str, &mut dyn ReadAttributes)) {
        for name in self.names.get(places).unwrap_or_default() {
            read(name, &mut ByPath { host: self.host, dir: &[self.base, name].join("/") });
        }
    }
}

struct ByPath<'a, H: ?Sized> {
    host: &'a H,
    dir: &'a str,
}

impl<H: ReadHost + ?Sized> ReadAttributes for ByPath<'_, H> {
    fn file(&mut self, name: &str) -> Entry {
        self.host.read(&[self.dir, name].join("/"), ATTRIBUTE_LIMIT)
    }

    fn link(&mut self, name: &str) -> Entry {
        self.host.read_link(&[self.dir, name].join("/"))
    }

    fn way_here(&mut self) -> Entry {
        self.host.read_link(self.dir)
    }
}

/// sysfs attributes are at most one page, configuration space included (fs/sysfs/file.c).
pub const ATTRIBUTE_LIMIT: usize = 4096;

/// Configuration files and tables are read up to this size; larger ones are not read at all.
pub const FILE_LIMIT: usize = 16 << 20;
