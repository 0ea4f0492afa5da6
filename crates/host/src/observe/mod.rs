//! From a host to a capture: the list of what is read, and nothing concluded beyond where to look next.

mod boot_files;
mod consoles;
mod guests;
mod kernels;
mod many_directories;
mod network;
mod pci;
mod place;
mod runtime;
mod storage;

use crate::read_host::{FILE_LIMIT, ReadHost};
use cede_model::capture::place_key;
use cede_model::{Capture, Entry};

/// How much of a host is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Functions and groups with their types, by number alone. What `groups --json` shows.
    Groups,
    /// That, and names. What `groups` shows.
    NamedGroups,
    /// Functions, drivers, numbers of groups, and names. What `devices` shows.
    List,
    /// Also the other attributes and the modules of the running kernel. What `devices --json` shows.
    Devices,
    /// Everything that checks and plans rest on.
    Full,
    /// That, and who uses what: device nodes, the processes that have them open, drivers and what they offer.
    Runtime,
    /// As [`Self::Full`], and configuration space also where the kernel has groups already: to foretell them all the same.
    Wiring,
}

impl Scope {
    fn has_names(self) -> bool {
        self != Self::Groups
    }

    fn has_group_types(self) -> bool {
        matches!(self, Self::Groups | Self::NamedGroups) || self.is_full()
    }

    fn has_attributes(self) -> bool {
        self == Self::Devices || self.is_full()
    }

    fn has_modules(self) -> bool {
        self.has_attributes()
    }

    fn is_full(self) -> bool {
        matches!(self, Self::Wiring | Self::Full | Self::Runtime)
    }
}

/// Reads a host.
pub fn observe(host: &dyn ReadHost, scope: Scope) -> Capture {
    let mut capture = Capture::new();
    pci::observe(host, scope, &mut capture);
    let mut reader = Reader { host, capture: &mut capture };
    reader.text("/proc/sys/kernel/osrelease");
    if scope.has_names() {
        pci::observe_names(&mut reader);
    }
    if scope.has_modules() {
        kernels::observe(&mut reader, scope);
    }
    if scope.is_full() {
        boot_files::observe(&mut reader);
        storage::observe(&mut reader);
        guests::observe(&mut reader);
        network::observe(&mut reader);
        consoles::observe(&mut reader);
    }
    if scope == Scope::Runtime {
        runtime::observe(&mut reader);
    }
    capture
}

/// Reads our own journal, and nothing else.
pub fn journal(host: &dyn ReadHost) -> Capture {
    let mut capture = Capture::new();
    boot_files::journal(&mut Reader { host, capture: &mut capture });
    capture
}

/// Takes records into a capture as it reads them.
struct Reader<'a> {
    host: &'a dyn ReadHost,
    capture: &'a mut Capture,
}

impl Reader<'_> {
    /// Reads a whole file, recording also that it is absent or unreadable.
    fn text(&mut self, path: &str) {
        let entry = self.host.read(path, FILE_LIMIT);
        self.capture.insert(path, entry);
    }

    /// Records the link at a path, not followed.
    fn link(&mut self, path: &str) {
        let entry = self.host.read_link(path);
        self.capture.insert(path, entry);
    }

    /// Records where links lead, where they lead to another path, or why that cannot be told.
    fn place(&mut self, path: &str) {
        match place::of(self.host, path) {
            Entry::Link(place) if place == path => {}
            found @ (Entry::Link(_) | Entry::Unreadable(_)) => self.capture.insert(place_key(path), found),
            _ => {}
        }
    }

    /// Records whether something is there.
    fn probe(&mut self, path: &str) {
        let entry = self.host.probe(path);
        self.capture.insert(path, entry);
    }

    /// Lists a directory and records each name by `take`; returns the names.
    fn list(&mut self, path: &str) -> Vec<String> {
        match self.host.list(path) {
            Ok(names) => {
                self.capture.insert(path, Entry::Dir);
                names
            }
            Err(entry) => {
                self.capture.insert(path, entry);
                Vec::new()
            }
        }
    }

    /// Lists a directory and records that each name is there; what was read of it already stays.
    fn names(&mut self, path: &str) {
        for name in self.list(path) {
            let below = format!("{path}/{name}");
            if self.capture.get(&below).is_none() {
                self.probe(&below);
            }
        }
    }

    /// Reads every file of a directory with one of these endings.
    fn texts_in(&mut self, path: &str, ending: &str) {
        for name in self.list(path) {
            if name.ends_with(ending) {
                self.text(&format!("{path}/{name}"));
            }
        }
    }
}
