//! The newer way: an address space of iommufd, and a node for each device (Documentation/userspace-api/iommufd.rst).

use super::container::open_node;
use super::ioctl::{self, Answer};
use super::memory::Maps;
use crate::files::root::Root;
use std::os::fd::OwnedFd;

/// An open `/dev/iommu`.
pub(super) struct Iommufd(pub(super) OwnedFd);

impl Iommufd {
    /// Opens it.
    pub(super) fn open(root: &Root) -> Answer<Self> {
        open_node(root, "/dev/iommu").map(Self)
    }

    /// Makes an address space.
    pub(super) fn space(self) -> Answer<Space> {
        ioctl::ioas_alloc(&self.0).map(|id| Space { iommu: self, id })
    }
}

/// An address space; goes with its descriptor.
pub(super) struct Space {
    iommu: Iommufd,
    id: u32,
}

impl Space {
    /// Opens the device of a node and binds it here.
    pub(super) fn bind(&self, node: &OwnedFd) -> Answer<()> {
        ioctl::bind(node, &self.iommu.0).map(|_| ())
    }

    /// Lets a device use this address space.
    pub(super) fn attach(&self, node: &OwnedFd) -> Answer<()> {
        ioctl::attach(node, self.id).map(|_| ())
    }
}

impl Maps for Space {
    fn map(&self, memory: &mut [u8], iova: u64) -> Answer<()> {
        ioctl::ioas_map(&self.iommu.0, self.id, memory, iova).map(|_| ())
    }

    fn unmap(&self, iova: u64, size: u64) -> Answer<u64> {
        ioctl::ioas_unmap(&self.iommu.0, self.id, iova, size)
    }

    fn ranges(&self) -> Answer<Vec<(u64, u64)>> {
        ioctl::ioas_ranges(&self.iommu.0, self.id)
    }
}
