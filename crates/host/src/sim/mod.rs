//! The simulated host: a machine in memory that is read and changed as a real one is, whose tools make real images and menus, and which can be
//! started anew. What runs on a machine runs here too; the virtual machines of the tests keep it honest.

mod boot;
mod sysfs;
pub mod tools;

use crate::machine::{EffectError, Lock, Machine, ToolEnd};
use crate::read_host::ReadHost;
use cede_model::{Capture, Entry, Host};
use std::sync::{Mutex, MutexGuard};

/// A machine in memory.
pub struct SimHost {
    state: Mutex<Capture>,
    /// The host as it came: its functions with the drivers that take them when nothing else does.
    native: Host,
}

impl SimHost {
    /// A machine like the captured one, with its images and its menu made by its tools.
    pub fn new(capture: Capture) -> Self {
        let native = Host::from_capture(capture.clone());
        let sim = Self { state: Mutex::new(capture), native };
        {
            let mut state = sim.state();
            tools::make_all(&mut state);
            boot::start(&mut state, &sim.native);
        }
        sim
    }

    /// Starts the machine anew: the entry that is chosen for this start or the menu's default one, its image, its kernel.
    pub fn reboot(&self) {
        self.restart();
    }

    /// As [`Self::reboot`]. A start that does not come up ends in a reset, and the machine is started again; returns how many did not.
    pub fn restart(&self) -> usize {
        let mut failed = 0;
        while failed < 3 && !boot::start(&mut self.state(), &self.native) {
            failed += 1;
        }
        failed
    }

    /// Others change something: a package manager, or a person.
    pub fn others(&self, change: impl FnOnce(&mut Capture)) {
        change(&mut self.state());
    }

    /// Everything that is on the machine now.
    pub fn snapshot(&self) -> Capture {
        self.state().clone()
    }

    fn state(&self) -> MutexGuard<'_, Capture> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Follows the links of a path's directories, as far as the machine has such links.
fn resolve(state: &Capture, path: &str) -> Entry {
    state.get(path).cloned().unwrap_or_else(|| {
        if state.below(format!("{}/", path.trim_end_matches('/'))).next().is_some() { Entry::Dir } else { Entry::Absent }
    })
}

impl ReadHost for SimHost {
    fn read(&self, path: &str, limit: usize) -> Entry {
        match resolve(&self.state(), path) {
            Entry::File(bytes) if bytes.len() > limit => Entry::Unreadable("EFBIG".to_owned()),
            Entry::Present(_) => Entry::Unreadable("EIO".to_owned()),
            Entry::Link(_) => Entry::Dir,
            other => other,
        }
    }

    fn read_head(&self, path: &str, limit: usize) -> Entry {
        match resolve(&self.state(), path) {
            Entry::File(mut bytes) => {
                bytes.truncate(limit);
                Entry::File(bytes)
            }
            other => other,
        }
    }

    fn probe(&self, path: &str) -> Entry {
        match resolve(&self.state(), path) {
            Entry::File(bytes) => Entry::Present(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Entry::Link(_) => Entry::Dir,
            other => other,
        }
    }

    fn read_link(&self, path: &str) -> Entry {
        let found = resolve(&self.state(), path);
        match found {
            link @ Entry::Link(_) => link,
            _ => self.probe(path),
        }
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Entry> {
        let state = self.state();
        let prefix = format!("{path}/");
        let mut names: Vec<String> = state
            .below(prefix.as_str())
            .filter(|(_, entry)| **entry != Entry::Absent)
            .filter_map(|(below, _)| below.get(prefix.len()..)?.split('/').next().map(str::to_owned))
            .collect();
        names.dedup();
        match (names.is_empty(), resolve(&state, path)) {
            (true, Entry::Absent) => Err(Entry::Absent),
            (_, Entry::File(_) | Entry::Present(_)) => Err(Entry::Unreadable("ENOTDIR".to_owned())),
            _ => Ok(names),
        }
    }
}

struct NoLock;

impl Lock for NoLock {}

impl Machine for SimHost {
    fn replace(&self, path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> Result<(), EffectError> {
        let mut state = self.state();
        if state.file(path) != before {
            return Err(EffectError::Changed(format!("{path}: its content is another")));
        }
        state.remove(path);
        if let Some(bytes) = after {
            state.insert(path, Entry::File(bytes.to_vec()));
        }
        Ok(())
    }

    fn create_private(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError> {
        self.replace(path, None, Some(bytes))
    }

    fn append(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError> {
        let mut state = self.state();
        let all = [state.file(path).unwrap_or_default(), bytes].concat();
        state.insert(path, Entry::File(all));
        Ok(())
    }

    fn run(&self, argv: &[String], line: &mut dyn FnMut(&str)) -> Result<ToolEnd, EffectError> {
        let mut output = String::new();
        let mut print = |text: &str| {
            output.push_str(text);
            output.push('\n');
            line(text);
        };
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let mut state = self.state();
        let ran = tools::run(&mut state, &words, &mut print);
        drop(state);
        let success =
            ran.ok_or_else(|| EffectError::Tool { tool: argv.join(" "), why: "the simulated host has no such tool".to_owned() })?;
        let status = if success { "exit status: 0" } else { "exit status: 1" };
        Ok(ToolEnd { success, status: status.to_owned(), output })
    }

    fn write_attribute(&self, path: &str, value: &str) -> Result<(), EffectError> {
        sysfs::write(&mut self.state(), &self.native, path, value)
            .map_err(|errno| EffectError::File(format!("`echo {value} > {path}`: {errno}")))
    }

    fn runs_tools(&self) -> bool {
        true
    }

    fn lock(&self) -> Result<Box<dyn Lock>, EffectError> {
        Ok(Box::new(NoLock))
    }

    fn time(&self) -> u64 {
        1_735_689_600
    }

    fn image(&self, path: &str) -> Result<Vec<u8>, Entry> {
        match resolve(&self.state(), path) {
            Entry::File(bytes) => Ok(bytes),
            other => Err(other),
        }
    }
}
