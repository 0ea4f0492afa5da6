//! What a machine wrote to its disk, in order, and the disk as a power cut leaves it: what was flushed, and of the rest as much as the disk pleased.
//!
//! QEMU's filter `blklogwrites` keeps each request in the format of Linux's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst;
//! QEMU block/blklogwrites.c): a sector of its own for each entry, and the data after it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// QEMU's default; the first sector is the superblock.
const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const DISCARD: u64 = 4;

/// One request.
struct Entry {
    /// Where its head is in the log.
    at: u64,
    /// Where it writes to on the disk, and how much, in bytes.
    to: u64,
    length: u64,
    flags: u64,
}

/// The requests of a machine.
pub(super) struct Log {
    file: File,
    entries: Vec<Entry>,
}

/// What of the writes that were not flushed is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing: the cache of the disk is lost.
    Nothing,
    /// About half of the requests, without order.
    Some(u64),
    /// Everything, as with a disk without a cache.
    All,
}

impl Log {
    /// Reads the heads, up to where the log ends.
    ///
    /// # Errors
    /// Those of the file.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let end = file.metadata()?.len();
        let (mut entries, mut at) = (Vec::new(), SECTOR);
        while at + SECTOR <= end {
            let mut head = [0; 24];
            file.read_exact_at(&mut head, at)?;
            let [sector, sectors, flags] = numbers(&head);
            // A head that was not written any more.
            if sectors == 0 && flags == 0 {
                break;
            }
            let entry = Entry { at, to: sector * SECTOR, length: sectors * SECTOR, flags };
            at += SECTOR + if entry.flags & DISCARD == 0 { entry.length } else { 0 };
            if at > end {
                break;
            }
            entries.push(entry);
        }
        Ok(Self { file, entries })
    }

    /// The number of requests that a log of this length holds.
    pub(super) fn requests(&self, length: u64) -> usize {
        self.entries.partition_point(|entry| entry.at < length)
    }

    /// Of the first so many requests: how many are sure, for a flush came after them.
    pub(super) fn flushed(&self, requests: usize) -> usize {
        self.entries.iter().take(requests).rposition(|entry| entry.flags & FLUSH != 0).map_or(0, |last| last + 1)
    }

    /// Different states of the disk in these requests: as each flush leaves it, and twice between a flush and the next.
    pub(super) fn states(&self, requests: Range<usize>) -> Vec<(usize, Rest)> {
        let (mut states, mut flushed) = (Vec::new(), self.flushed(requests.start));
        for next in requests.clone().filter(|number| self.entries.get(*number).is_some_and(|entry| entry.flags & FLUSH != 0)) {
            let mut seen: Vec<Vec<usize>> = Vec::new();
            for rest in [Rest::Nothing, Rest::Some(next as u64), Rest::Some(!(next as u64))] {
                let kept: Vec<usize> = (flushed..next).filter(|number| rest.has(*number)).collect();
                if flushed < next && !seen.contains(&kept) {
                    states.push((next, rest));
                    seen.push(kept);
                }
            }
            flushed = next + 1;
        }
        states.push((requests.end, Rest::All));
        states
    }

    /// Makes the requests on a disk.
    ///
    /// # Errors
    /// Those of the files.
    pub(super) fn replay(&self, range: Range<usize>, disk: &File) -> io::Result<()> {
        self.entries.get(range).unwrap_or_default().iter().try_for_each(|entry| disk.write_all_at(&self.data(entry)?, entry.to))
    }

    /// Makes some of the requests, and gives what was there before, in the order in which it is to be put back.
    ///
    /// # Errors
    /// Those of the files.
    pub(super) fn replay_rest(&self, range: Range<usize>, rest: Rest, disk: &File) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let mut before = Vec::new();
        for entry in range.filter(|number| rest.has(*number)).filter_map(|number| self.entries.get(number)) {
            let data = self.data(entry)?;
            let mut old = vec![0; data.len()];
            disk.read_exact_at(&mut old, entry.to)?;
            disk.write_all_at(&data, entry.to)?;
            before.push((entry.to, old));
        }
        before.reverse();
        Ok(before)
    }

    /// Nothing for a flush; a discard promises nothing of what is read afterwards, so it is passed over.
    fn data(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        let length = if entry.flags & DISCARD == 0 { entry.length } else { 0 };
        let mut data = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut data, entry.at + SECTOR)?;
        Ok(data)
    }
}

impl Rest {
    /// The same each time for the same number.
    fn has(self, number: usize) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Some(seed) => (number as u64 ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 1,
        }
    }
}

fn numbers(head: &[u8; 24]) -> [u64; 3] {
    let mut list = [0; 3];
    for (number, bytes) in list.iter_mut().zip(head.as_chunks::<8>().0) {
        *number = u64::from_le_bytes(*bytes);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries: &[(u64, u64, u64, u8)]) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        for (sector, sectors, flags, fill) in entries {
            let start = bytes.len();
            for number in [sector, sectors, flags] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.resize(start + 512, 0);
            bytes.resize(bytes.len() + if flags & DISCARD == 0 { *sectors as usize * 512 } else { 0 }, *fill);
        }
        bytes
    }

    #[test]
    fn only_what_was_flushed_is_sure() {
        let dir = std::env::temp_dir().join(format!("power-log-{}", std::process::id()));
        let disk_path = dir.with_extension("disk");
        std::fs::write(&dir, log(&[(0, 1, 0, 1), (1, 2, 0, 2), (0, 0, FLUSH, 0), (1, 1, 0, 3), (4, 8, DISCARD, 0), (2, 1, 0, 4)])).unwrap();
        std::fs::write(&disk_path, vec![0; 4 * 512]).unwrap();
        let log = Log::open(&dir).unwrap();
        let disk = File::options().read(true).write(true).open(&disk_path).unwrap();
        let sectors = || std::fs::read(&disk_path).unwrap().chunks(512).map(|sector| sector[0]).collect::<Vec<_>>();
        assert_eq!((log.requests(u64::MAX), log.flushed(6)), (6, 3));
        assert_eq!((log.requests(512 + 1024), log.flushed(1)), (1, 0), "before the flush nothing is sure");
        let states = log.states(0..6);
        assert_eq!((states.first(), states.last()), (Some(&(2, Rest::Nothing)), Some(&(6, Rest::All))));
        assert!((2..=4).contains(&states.len()), "{states:?}");
        log.replay(0..3, &disk).unwrap();
        assert_eq!(sectors(), [1, 2, 2, 0]);
        let before = log.replay_rest(3..6, Rest::All, &disk).unwrap();
        assert_eq!(sectors(), [1, 3, 4, 0]);
        before.iter().for_each(|(at, old)| disk.write_all_at(old, *at).unwrap());
        assert_eq!(sectors(), [1, 2, 2, 0], "put back");
        let some: Vec<bool> = (0..64).map(|number| Rest::Some(7).has(number)).collect();
        assert!((16..48).contains(&some.iter().filter(|has| **has).count()), "{some:?}");
        std::fs::remove_file(dir).unwrap();
        std::fs::remove_file(disk_path).unwrap();
    }
}
