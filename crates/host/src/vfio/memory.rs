//! Memory that is mapped for DMA, and taken away from the device before it is freed.

use super::ioctl::Answer;

/// What is mapped: a large page, and below every usual limit of locked memory.
const BYTES: usize = 2 << 20;

/// The largest pages of processors with an IOMMU (64 KiB on arm64).
const ALIGNMENT: usize = 65536;

/// Who maps: a container, or an address space of iommufd.
pub(super) trait Maps {
    /// Maps memory at an address that the device uses.
    fn map(&self, memory: &mut [u8], iova: u64) -> Answer<()>;
    /// Takes it away; how many bytes that were.
    fn unmap(&self, iova: u64, size: u64) -> Answer<u64>;
    /// First and last addresses that may be used.
    fn ranges(&self) -> Answer<Vec<(u64, u64)>>;
}

/// A mapping: while it is there the device could write to the memory, so it is unmapped before the memory is freed.
pub(super) struct Mapping<'a> {
    maps: &'a dyn Maps,
    memory: Vec<u8>,
    is_mapped: bool,
    /// Where it is for the device.
    pub(super) iova: u64,
}

impl<'a> Mapping<'a> {
    /// Bytes of a mapping.
    pub(super) const BYTES: u64 = BYTES as u64;

    /// Maps new memory.
    pub(super) fn new(maps: &'a dyn Maps) -> Answer<Self> {
        // Written to, so that the pages are there; a vector's bytes do not move while it is not touched.
        let mut memory = vec![0x5a; BYTES + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        let iova = choose(&maps.ranges()?);
        maps.map(memory.get_mut(start..start.saturating_add(BYTES)).unwrap_or_default(), iova)?;
        Ok(Self { maps, memory, is_mapped: true, iova })
    }

    /// Unmaps it; how many bytes that were.
    pub(super) fn unmap(mut self) -> Answer<u64> {
        let count = self.maps.unmap(self.iova, Self::BYTES)?;
        self.is_mapped = count < Self::BYTES;
        Ok(count)
    }
}

impl Drop for Mapping<'_> {
    fn drop(&mut self) {
        if self.is_mapped && self.maps.unmap(self.iova, Self::BYTES).is_err() {
            // Better lost than written to by a device.
            std::mem::forget(std::mem::take(&mut self.memory));
        }
    }
}

/// Memory of guests begins at 1 MiB and above; the first range with room from there.
fn choose(ranges: &[(u64, u64)]) -> u64 {
    let aligned = |start: u64| start.max(1 << 20).checked_next_multiple_of(BYTES as u64);
    let fits =
        |(start, last): &(u64, u64)| aligned(*start).filter(|start| start.checked_add(BYTES as u64 - 1).is_some_and(|end| end <= *last));
    ranges.iter().find_map(fits).unwrap_or(BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_from_the_first_range_with_room() {
        for (ranges, iova) in [
            (&[][..], 2 << 20),
            (&[(0, 0xfedf_ffff), (0xfef0_0000, u64::MAX)], 2 << 20),
            (&[(0, 0xf_ffff), (0x1_0000_0000, 0x1_0010_0000), (u64::MAX - 5, u64::MAX), (0x8_0000_0001, 0x9_0000_0000)], 0x8_0020_0000),
        ] {
            assert_eq!(choose(ranges), iova, "{ranges:x?}");
        }
    }
}
