//! Lines that tell how far a machine is.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Silence longer than this is broken by a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Prints lines headed by the name of the machine and the seconds since the start.
#[derive(Debug)]
pub(super) struct Progress {
    name: &'static str,
    start: Instant,
    last: Cell<Instant>,
}

impl Progress {
    /// The clock starts now.
    pub(super) fn new(name: &'static str) -> Self {
        let now = Instant::now();
        Self { name, start: now, last: Cell::new(now) }
    }

    /// Prints one line.
    pub(super) fn say(&self, text: &str) {
        self.last.set(Instant::now());
        println!("[{} {:6.1}s] {text}", self.name, self.start.elapsed().as_secs_f64());
    }

    /// Called in waiting loops: prints only when nothing was said for a while.
    pub(super) fn still(&self, what: &str) {
        if self.last.get().elapsed() > SIGN_OF_LIFE {
            self.say(&format!("... still waiting: {what}"));
        }
    }
}
