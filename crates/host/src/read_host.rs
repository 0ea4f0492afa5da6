//! How a host is read: the same for a machine, a mounted system and the simulated host.

use cede_model::Entry;

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

    /// The names in a directory, sorted; else what `probe` says.
    ///
    /// # Errors
    /// The entry that stands there instead of a readable directory.
    fn list(&self, path: &str) -> Result<Vec<String>, Entry>;

    /// Attributes of one sysfs directory: reads the files and links named, those that are not there left out.
    fn attributes(&self, dir: &str, files: &[&str], links: &[&str]) -> Vec<(String, Entry)> {
        let path = |name: &str| format!("{dir}/{name}");
        let files = files.iter().map(|name| (path(name), self.read(&path(name), ATTRIBUTE_LIMIT)));
        let links = links.iter().map(|name| (path(name), self.read_link(&path(name))));
        files.chain(links).filter(|(_, entry)| *entry != Entry::Absent).collect()
    }
}

/// sysfs attributes are at most one page, configuration space included (fs/sysfs/file.c).
pub const ATTRIBUTE_LIMIT: usize = 4096;

/// Configuration files and tables are read up to this size; larger ones are not read at all.
pub const FILE_LIMIT: usize = 16 << 20;
