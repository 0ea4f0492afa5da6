//! A simulated host that fails at an effect, and what of it survives a reboot.

use cede_host::SimHost;
use cede_host::machine::{EffectError, Lock, Machine, ToolEnd};
use cede_host::read_host::ReadHost;
use cede_model::{Capture, Entry};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A machine of which one effect fails, or every effect from one on: the power is cut.
pub(crate) struct Faulty {
    pub(crate) sim: SimHost,
    pub(crate) count: AtomicUsize,
    pub(crate) at: usize,
    pub(crate) cut: bool,
    /// The effect that fails has been done all the same: the machine died before it could say so.
    pub(crate) done_first: bool,
}

impl Faulty {
    fn fails(&self) -> bool {
        let now = self.count.fetch_add(1, Ordering::SeqCst);
        now == self.at || (self.cut && now > self.at)
    }

    fn effect<T>(&self, f: impl Fn() -> Result<T, EffectError>) -> Result<T, EffectError> {
        if !self.fails() {
            return f();
        }
        if self.done_first && self.count.load(Ordering::SeqCst) == self.at + 1 {
            let _ = f();
        }
        Err(EffectError::File("injected fault".to_owned()))
    }
}

/// Reading is never at fault: it is the simulated host's.
macro_rules! reads_its_sim {
    ($machine:ty) => {
        impl ReadHost for $machine {
            fn read(&self, path: &str, limit: usize) -> Entry {
                self.sim.read(path, limit)
            }
            fn read_head(&self, path: &str, limit: usize) -> Entry {
                self.sim.read_head(path, limit)
            }
            fn probe(&self, path: &str) -> Entry {
                self.sim.probe(path)
            }
            fn read_link(&self, path: &str) -> Entry {
                self.sim.read_link(path)
            }
            fn list(&self, path: &str) -> Result<Vec<String>, Entry> {
                self.sim.list(path)
            }
        }
    };
}

/// What no fault is put into: the simulated host's.
macro_rules! is_otherwise_its_sim {
    () => {
        fn runs_tools(&self) -> bool {
            true
        }
        fn lock(&self) -> Result<Box<dyn Lock>, EffectError> {
            self.sim.lock()
        }
        fn time(&self) -> u64 {
            self.sim.time()
        }
        fn image(&self, path: &str) -> Result<Vec<u8>, Entry> {
            self.sim.image(path)
        }
    };
}

pub(crate) use {is_otherwise_its_sim, reads_its_sim};

reads_its_sim!(Faulty);

impl Machine for Faulty {
    fn replace(&self, path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> Result<(), EffectError> {
        self.effect(|| self.sim.replace(path, before, after))
    }
    fn create_private(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError> {
        self.effect(|| self.sim.create_private(path, bytes))
    }
    fn append(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError> {
        self.effect(|| self.sim.append(path, bytes))
    }
    fn run(&self, argv: &[String], line: &mut dyn FnMut(&str)) -> Result<ToolEnd, EffectError> {
        if self.fails() {
            if self.done_first {
                let _ = self.sim.run(argv, line);
            }
            return Ok(ToolEnd { success: false, status: "injected".to_owned(), output: String::new() });
        }
        self.sim.run(argv, line)
    }
    fn write_attribute(&self, path: &str, value: &str) -> Result<(), EffectError> {
        self.effect(|| self.sim.write_attribute(path, value))
    }
    is_otherwise_its_sim!();
}

/// Files that survive a reboot, our journal apart.
pub(crate) fn persistent(sim: &SimHost) -> Vec<(String, Vec<u8>)> {
    let capture: Capture = sim.snapshot();
    let kept = |path: &&str| ["/etc/", "/boot/", "/usr/"].iter().any(|prefix| path.starts_with(prefix));
    let files = capture.entries().filter_map(|(path, entry)| if let Entry::File(bytes) = entry { Some((path, bytes)) } else { None });
    files.filter(|(path, _)| kept(path)).map(|(path, bytes)| (path.to_owned(), bytes.clone())).collect()
}
