//! SIGINT, SIGTERM and SIGHUP while an operation runs: they do not end cede but the operation, and what was done is taken back.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

const SIGNALS: [(i32, usize, &str); 3] = [(SIGINT, 1, "SIGINT"), (SIGTERM, 2, "SIGTERM"), (SIGHUP, 3, "SIGHUP")];

/// Which signal came last; 0 for none.
static LAST: LazyLock<Arc<AtomicUsize>> = LazyLock::new(|| {
    let last = Arc::new(AtomicUsize::new(0));
    for (signal, number, _) in SIGNALS {
        // Where a handler cannot be set, the signal ends the process, and the journal tells where it was.
        let _ = signal_hook::flag::register_usize(signal, Arc::clone(&last), number);
    }
    last
});

/// From now on these signals are only remembered.
pub(crate) fn watch() {
    LazyLock::force(&LAST);
}

/// The signal that came since this was asked last.
pub(crate) fn take() -> Option<&'static str> {
    let number = LAST.swap(0, Ordering::SeqCst);
    SIGNALS.iter().find(|(_, other, _)| *other == number).map(|(.., name)| *name)
}
