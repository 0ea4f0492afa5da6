//! The older way: a container with groups in it (Documentation/driver-api/vfio.rst).

use super::ioctl::{self, Answer};
use super::memory::Maps;
use crate::files::root::{Root, SAFE};
use rustix::fs::OFlags;
use std::os::fd::OwnedFd;
use std::path::Path;
use vfio_bindings::bindings::vfio::{
    VFIO_GROUP_FLAGS_VIABLE, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, VFIO_TYPE1v2_IOMMU, vfio_iommu_type1_info_cap_iova_range,
    vfio_iova_range,
};

/// Opens a node of a device for reading and writing.
pub(super) fn open_node(root: &Root, path: &str) -> Answer<OwnedFd> {
    root.open_raw(Path::new(path), OFlags::RDWR | SAFE)
}

/// An open container.
pub(super) struct Container(pub(super) OwnedFd);

impl Container {
    /// Opens `/dev/vfio/vfio`, which loads the module where it can be.
    pub(super) fn open(root: &Root) -> Answer<Self> {
        open_node(root, "/dev/vfio/vfio").map(Self)
    }

    /// The version of the interface.
    pub(super) fn version(&self) -> Answer<i32> {
        ioctl::version(&self.0)
    }

    /// Not 0 where there is a type 1 IOMMU.
    pub(super) fn has_type1(&self) -> Answer<i32> {
        ioctl::extension(&self.0, VFIO_TYPE1v2_IOMMU)
    }

    /// Makes the domain; groups must be in it.
    pub(super) fn set_iommu(&self) -> Answer<()> {
        ioctl::set_iommu(&self.0, VFIO_TYPE1v2_IOMMU).map(|_| ())
    }
}

impl Maps for Container {
    fn map(&self, memory: &mut [u8], iova: u64) -> Answer<()> {
        ioctl::map(&self.0, memory, iova).map(|_| ())
    }

    fn unmap(&self, iova: u64, size: u64) -> Answer<u64> {
        ioctl::unmap(&self.0, iova, size)
    }

    fn ranges(&self) -> Answer<Vec<(u64, u64)>> {
        let (first, bytes) = ioctl::type1_info(&self.0)?;
        Ok(iova_ranges(first, &bytes))
    }
}

/// A group in a container; leaves it when dropped.
pub(super) struct Group(pub(super) OwnedFd);

impl Group {
    /// Opens `/dev/vfio/N`.
    pub(super) fn open(root: &Root, id: u32) -> Answer<Self> {
        open_node(root, &format!("/dev/vfio/{id}")).map(Self)
    }

    /// Whether all of its functions are with drivers that leave DMA to us.
    pub(super) fn is_viable(&self) -> Answer<bool> {
        ioctl::group_status(&self.0).map(|flags| flags & VFIO_GROUP_FLAGS_VIABLE != 0)
    }

    /// Puts it into a container.
    pub(super) fn join(&self, container: &Container) -> Answer<()> {
        ioctl::set_container(&self.0, &container.0).map(|_| ())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Closing it does the same; where it was in no container there is nothing to leave.
        let _ = ioctl::unset_container(&self.0);
    }
}

/// The ranges of addresses in a chain of capabilities (`struct vfio_info_cap_header`: id, version, next). Offsets count from the start of the
/// structure in front of `bytes`, of which `first` has been made free.
fn iova_ranges(first: usize, bytes: &[u8]) -> Vec<(u64, u64)> {
    const HEAD: usize = 24;
    let number = |at: usize, length: usize| {
        let bytes = bytes.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    let mut at = first;
    // A chain cannot be longer than its bytes allow.
    for _ in 0..bytes.len() / 8 {
        let (Some(id), Some(next)) = (number(at, 2), number(at.saturating_add(4), 4)) else { break };
        if u32::try_from(id).is_ok_and(|id| id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
            let count = number(at + 8, 4).unwrap_or(0);
            let list = at + size_of::<vfio_iommu_type1_info_cap_iova_range>();
            let range = |index: u64| {
                let at = list + usize::try_from(index).ok()? * size_of::<vfio_iova_range>();
                Some((number(at, 8)?, number(at + 8, 8)?))
            };
            return (0..count.min(1024)).map_while(range).collect();
        }
        match usize::try_from(next).ok().and_then(|next| next.checked_sub(HEAD)) {
            Some(next) if next > at => at = next,
            _ => break,
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_in_the_chain_and_a_torn_one_is_no_panic() {
        let mut bytes = vec![3, 0, 1, 0, 40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([1, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        for number in [0_u64, 0xfedf_ffff, 0xfef0_0000, u64::MAX] {
            bytes.extend(number.to_le_bytes());
        }
        assert_eq!(iova_ranges(0, &bytes), [(0, 0xfedf_ffff), (0xfef0_0000, u64::MAX)]);
        assert_eq!(iova_ranges(usize::MAX, &bytes), []);
        for length in 0..bytes.len() {
            assert!(iova_ranges(0, &bytes[..length]).len() < 2);
        }
        let circle = [3, 0, 1, 0, 24, 0, 0, 0];
        assert_eq!(iova_ranges(0, &circle), []);
    }
}
