//! Two directories with many others in them, of which several attributes each are read, by several threads.

use crate::read_host::{ReadAttributes, ReadHost, Subdirectories};
use cede_model::Entry;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Directories that a thread takes at a time.
const BLOCK: usize = 64;

/// What was read, by path.
pub(super) type Entries = Vec<(String, Entry)>;

/// What is read of one directory.
type ReadOne<'a> = &'a (dyn Fn(&str, &mut dyn ReadAttributes, &mut Entries) + Sync);

/// A directory with many others in it.
pub(super) struct Part<'a> {
    host: &'a dyn ReadHost,
    base: &'static str,
    opened: OnceLock<Result<Box<dyn Subdirectories + 'a>, Entry>>,
    next_block: AtomicUsize,
    /// None where only their names are asked for.
    read: Option<ReadOne<'a>>,
}

impl<'a> Part<'a> {
    pub(super) fn new(host: &'a dyn ReadHost, base: &'static str, read: Option<ReadOne<'a>>) -> Self {
        Self { host, base, opened: OnceLock::new(), next_block: AtomicUsize::new(0), read }
    }

    pub(super) fn base(&self) -> &'static str {
        self.base
    }

    /// `Dir`, or what stands there instead.
    pub(super) fn entry(&self) -> Entry {
        self.open().as_ref().err().cloned().unwrap_or(Entry::Dir)
    }

    /// Opens and lists it, if no thread has done so yet.
    fn open(&self) -> &Result<Box<dyn Subdirectories + 'a>, Entry> {
        self.opened.get_or_init(|| self.host.open_all(self.base))
    }

    pub(super) fn names(&self) -> &[String] {
        self.open().as_ref().map(|all| all.names()).unwrap_or_default()
    }

    /// Reads one block after the other until none is left; each with its number.
    fn read_blocks(&self) -> Vec<(usize, Entries)> {
        let mut done = Vec::new();
        let (Ok(all), Some(read)) = (self.open(), self.read) else { return done };
        let count = all.names().len();
        loop {
            let number = self.next_block.fetch_add(1, Ordering::Relaxed);
            let start = number * BLOCK;
            if start >= count {
                return done;
            }
            let mut entries = Vec::with_capacity(4 * BLOCK);
            all.each(start..count.min(start + BLOCK), &mut |name, attributes| read(name, attributes, &mut entries));
            done.push((number, entries));
        }
    }
}

/// Reads both parts, with as many threads as there are processors where one has `many` directories. Each takes the next block when it is done
/// with one, so that nobody waits for a thread that a busy machine does not let run; and they start, if anything tells that they will be
/// needed, before what they have to do is known.
pub(super) fn read_all(host: &dyn ReadHost, functions: &Part<'_>, groups: &Part<'_>, many: usize) -> Entries {
    let work = || [functions.read_blocks(), groups.read_blocks()];
    let help = || {
        groups.open();
        work()
    };
    let others = || std::thread::available_parallelism().map_or(1, usize::from).min(8) - 1;
    let parts = std::thread::scope(|threads| {
        let is_known_early = host.count_of_directories(groups.base).is_some_and(|count| count >= many as u64);
        let mut helpers = Vec::new();
        if is_known_early || functions.names().len() >= many {
            // One that cannot be started is not needed.
            helpers.extend((0..others()).filter_map(|_| std::thread::Builder::new().spawn_scoped(threads, help).ok()));
        }
        let mut parts = work();
        for helper in helpers {
            let read = helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for (part, more) in parts.iter_mut().zip(read) {
                part.extend(more);
            }
        }
        parts
    });
    let mut all = Vec::with_capacity(parts.iter().flatten().map(|(_, entries)| entries.len()).sum());
    for mut part in parts {
        part.sort_unstable_by_key(|(number, _)| *number);
        part.into_iter().for_each(|(_, entries)| all.extend(entries));
    }
    all
}
