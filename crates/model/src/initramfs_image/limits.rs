//! How much of an image is looked at before it is refused.

/// Bounds on what reading an image may cost; beyond them it is refused, not cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes unpacked over all segments, streamed and thrown away.
    pub max_total_unpacked: u64,
    /// Archive members over all segments.
    pub max_entries: u64,
    /// Bytes of one file that the caller asked to keep.
    pub max_kept_file: u64,
    /// Bytes held in memory: names, link targets and kept files together.
    pub max_kept_total: u64,
}

impl Default for Limits {
    /// 2 GiB unpacked, 200 000 entries, 4 MiB a kept file, 128 MiB held: ten times the largest images of distributions.
    fn default() -> Self {
        Self { max_total_unpacked: 2 << 30, max_entries: 200_000, max_kept_file: 4 << 20, max_kept_total: 128 << 20 }
    }
}

/// What is left of [`Limits`] while an image is read.
pub(super) struct Budget {
    pub(super) limits: Limits,
    pub(super) unpacked_left: u64,
    entries_left: u64,
    kept_left: u64,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, unpacked_left: limits.max_total_unpacked, entries_left: limits.max_entries, kept_left: limits.max_kept_total }
    }

    pub(super) fn spend_entry(&mut self) -> Result<(), super::Fault> {
        self.entries_left =
            self.entries_left.checked_sub(1).ok_or(super::Fault::Limit { what: "entries", limit: self.limits.max_entries })?;
        Ok(())
    }

    pub(super) fn spend_kept(&mut self, bytes: u64) -> Result<(), super::Fault> {
        let left = self.kept_left.checked_sub(bytes);
        self.kept_left = left.ok_or(super::Fault::Limit { what: "bytes of names and kept files", limit: self.limits.max_kept_total })?;
        Ok(())
    }
}
