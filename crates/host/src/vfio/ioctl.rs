//! The calls themselves: the only file of the project with `unsafe`, for a pointer is handed to the kernel in each, and it hands out
//! descriptors as numbers. Every function here takes exactly what its request reads and fills (include/uapi/linux/vfio.h,
//! include/uapi/linux/iommufd.h of Linux 7.2), so none can be called wrongly.
//!
//! The structures are those of `vfio-bindings` and `iommufd-bindings`. `vfio-ioctls` has no way to attach a group without opening a device,
//! and keeps the error numbers of some calls to itself.
#![allow(unsafe_code, reason = "ioctl(2) takes a pointer; see the safety comments")]

use iommufd_bindings::{iommu_ioas_alloc, iommu_ioas_iova_ranges, iommu_ioas_map, iommu_ioas_unmap, iommu_iova_range};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};
use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use vfio_bindings::bindings::vfio::{
    vfio_device_attach_iommufd_pt, vfio_device_bind_iommufd, vfio_device_info, vfio_group_status, vfio_iommu_type1_dma_map,
    vfio_iommu_type1_dma_unmap, vfio_iommu_type1_info, vfio_irq_info, vfio_pci_hot_reset_info, vfio_region_info,
};

/// What the kernel answers where it refuses.
pub(super) type Answer<T> = Result<T, rustix::io::Errno>;

/// `_IO(VFIO_TYPE, VFIO_BASE + n)`.
const fn vfio(number: u8) -> Opcode {
    opcode::none(b';', 100 + number)
}

/// `_IO(IOMMUFD_TYPE, n)`.
const fn iommufd(number: u8) -> Opcode {
    opcode::none(b';', number)
}

/// A request, and the address or number that goes with it.
struct Request {
    opcode: Opcode,
    argument: *mut c_void,
}

// SAFETY: the pointer is handed on as it is and is not looked at here; who makes a `Request` answers for it.
unsafe impl Ioctl for Request {
    type Output = i32;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<i32> {
        Ok(out)
    }
}

/// A request whose argument is a number, or none.
fn with_number(fd: impl AsFd, opcode: Opcode, number: u32) -> Answer<i32> {
    let argument = std::ptr::without_provenance_mut(number as usize);
    // SAFETY: only called below, for requests that take the argument for a number and follow no pointer.
    unsafe { rustix::ioctl::ioctl(fd, Request { opcode, argument }) }
}

/// A request whose argument is a structure. `T` must be the one of this request, and say its own size where the request asks for it.
fn with_structure<T>(fd: impl AsFd, opcode: Opcode, structure: &mut T) -> Answer<i32> {
    let argument = std::ptr::from_mut(structure).cast();
    // SAFETY: only called below, with the structure of the request; the kernel writes at most as many bytes as its first field says or as
    // the structure has, and every pattern of bits is a valid value of these plain structures.
    unsafe { rustix::ioctl::ioctl(fd, Request { opcode, argument }) }
}

fn size_of<T>() -> u32 {
    u32::try_from(std::mem::size_of::<T>()).unwrap_or(u32::MAX)
}

/// `VFIO_GET_API_VERSION`.
pub(super) fn version(container: impl AsFd) -> Answer<i32> {
    with_number(container, vfio(0), 0)
}

/// `VFIO_CHECK_EXTENSION`.
pub(super) fn extension(container: impl AsFd, extension: u32) -> Answer<i32> {
    with_number(container, vfio(1), extension)
}

/// `VFIO_SET_IOMMU`.
pub(super) fn set_iommu(container: impl AsFd, kind: u32) -> Answer<i32> {
    with_number(container, vfio(2), kind)
}

/// `VFIO_GROUP_GET_STATUS`: the flags.
pub(super) fn group_status(group: impl AsFd) -> Answer<u32> {
    let mut status = vfio_group_status { argsz: size_of::<vfio_group_status>(), flags: 0 };
    with_structure(group, vfio(3), &mut status).map(|_| status.flags)
}

/// `VFIO_GROUP_SET_CONTAINER`.
pub(super) fn set_container(group: impl AsFd, container: impl AsFd) -> Answer<i32> {
    let mut number: i32 = container.as_fd().as_raw_fd();
    with_structure(group, vfio(4), &mut number)
}

/// `VFIO_GROUP_UNSET_CONTAINER`.
pub(super) fn unset_container(group: impl AsFd) -> Answer<i32> {
    with_number(group, vfio(5), 0)
}

/// `VFIO_GROUP_GET_DEVICE_FD`: opens a device by its address.
pub(super) fn device(group: impl AsFd, address: &str) -> Answer<OwnedFd> {
    let mut name = [0_u8; 64];
    for (to, from) in name.iter_mut().take(63).zip(address.bytes()) {
        *to = from;
    }
    let number = with_structure(group, vfio(6), &mut name)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `VFIO_DEVICE_GET_INFO`.
pub(super) fn device_info(device: impl AsFd) -> Answer<vfio_device_info> {
    let mut info = vfio_device_info { argsz: size_of::<vfio_device_info>(), ..Default::default() };
    with_structure(device, vfio(7), &mut info).map(|_| info)
}

/// `VFIO_DEVICE_GET_REGION_INFO`, without what is said in capabilities.
pub(super) fn region_info(device: impl AsFd, index: u32) -> Answer<vfio_region_info> {
    let mut info = vfio_region_info { argsz: size_of::<vfio_region_info>(), index, ..Default::default() };
    with_structure(device, vfio(8), &mut info).map(|_| info)
}

/// `VFIO_DEVICE_GET_IRQ_INFO`.
pub(super) fn irq_info(device: impl AsFd, index: u32) -> Answer<vfio_irq_info> {
    let mut info = vfio_irq_info { argsz: size_of::<vfio_irq_info>(), index, ..Default::default() };
    with_structure(device, vfio(9), &mut info).map(|_| info)
}

/// `VFIO_DEVICE_RESET`.
pub(super) fn reset(device: impl AsFd) -> Answer<i32> {
    with_number(device, vfio(11), 0)
}

/// Functions of one bus reset: a bus has 256, and a bridge may have buses behind it.
const RESET_SET: usize = 1024;

/// `struct vfio_pci_hot_reset_info` with room behind it for its dependent devices.
#[repr(C)]
struct ResetInfo {
    head: [u32; 3],
    devices: [[u32; 2]; RESET_SET],
}

const _: () = assert!(std::mem::size_of::<vfio_pci_hot_reset_info>() == 12, "the head is three numbers");

/// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`: for each function its segment, bus and devfn.
pub(super) fn reset_set(device: impl AsFd) -> Answer<Vec<(u16, u8, u8)>> {
    let mut info = Box::new(ResetInfo { head: [size_of::<ResetInfo>(), 0, 0], devices: [[0; 2]; RESET_SET] });
    with_structure(device, vfio(12), &mut *info)?;
    let [_, _, count] = info.head;
    // The second number of `struct vfio_pci_dependent_device` is `u16 segment; u8 bus; u8 devfn`.
    let place = |[_, place]: &[u32; 2]| {
        let [low, high, bus, devfn] = place.to_ne_bytes();
        (u16::from_ne_bytes([low, high]), bus, devfn)
    };
    Ok(info.devices.iter().take(count as usize).map(place).collect())
}

/// Ranges of addresses that the IOMMU takes; so many are asked for.
const RANGES: usize = 64;

/// `struct vfio_iommu_type1_info` with room behind it for its capabilities.
#[repr(C)]
struct Type1Info {
    head: vfio_iommu_type1_info,
    rest: [u8; 4096],
}

/// `VFIO_IOMMU_GET_INFO`: where the capabilities begin, counted from the end of the structure, and the bytes from there.
pub(super) fn type1_info(container: impl AsFd) -> Answer<(usize, Box<[u8]>)> {
    let head = vfio_iommu_type1_info { argsz: size_of::<Type1Info>(), ..Default::default() };
    let mut info = Box::new(Type1Info { head, rest: [0; 4096] });
    with_structure(container, vfio(12), &mut *info)?;
    let first = (info.head.cap_offset as usize).saturating_sub(std::mem::size_of::<vfio_iommu_type1_info>());
    Ok((if info.head.cap_offset == 0 { usize::MAX } else { first }, info.rest.into()))
}

/// `VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE`.
const READ_WRITE: u32 = 3;

/// `VFIO_IOMMU_MAP_DMA`. The memory must stay until it is unmapped; [`super::memory::Mapping`] sees to that.
pub(super) fn map(container: impl AsFd, memory: &mut [u8], iova: u64) -> Answer<i32> {
    let mut map = vfio_iommu_type1_dma_map {
        argsz: size_of::<vfio_iommu_type1_dma_map>(),
        flags: READ_WRITE,
        vaddr: memory.as_mut_ptr().expose_provenance() as u64,
        iova,
        size: memory.len() as u64,
    };
    with_structure(container, vfio(13), &mut map)
}

/// `VFIO_IOMMU_UNMAP_DMA`: the bytes that were unmapped.
pub(super) fn unmap(container: impl AsFd, iova: u64, size: u64) -> Answer<u64> {
    let mut unmap = vfio_iommu_type1_dma_unmap { argsz: size_of::<vfio_iommu_type1_dma_unmap>(), iova, size, ..Default::default() };
    with_structure(container, vfio(14), &mut unmap).map(|_| unmap.size)
}

/// `VFIO_DEVICE_BIND_IOMMUFD`: opens the device.
pub(super) fn bind(device: impl AsFd, iommu: impl AsFd) -> Answer<i32> {
    // The size before the token of virtual functions was added, which older kernels have.
    let mut bind = vfio_device_bind_iommufd { argsz: 16, iommufd: iommu.as_fd().as_raw_fd(), ..Default::default() };
    with_structure(device, vfio(18), &mut bind)
}

/// `VFIO_DEVICE_ATTACH_IOMMUFD_PT`.
pub(super) fn attach(device: impl AsFd, ioas: u32) -> Answer<i32> {
    // The size before PASIDs were added.
    let mut attach = vfio_device_attach_iommufd_pt { argsz: 12, pt_id: ioas, ..Default::default() };
    with_structure(device, vfio(19), &mut attach)
}

/// `IOMMU_IOAS_ALLOC`: its id.
pub(super) fn ioas_alloc(iommu: impl AsFd) -> Answer<u32> {
    let mut alloc = iommu_ioas_alloc { size: size_of::<iommu_ioas_alloc>(), flags: 0, out_ioas_id: 0 };
    with_structure(iommu, iommufd(0x81), &mut alloc).map(|_| alloc.out_ioas_id)
}

/// `IOMMU_IOAS_IOVA_RANGES`: first and last addresses.
pub(super) fn ioas_ranges(iommu: impl AsFd, ioas: u32) -> Answer<Vec<(u64, u64)>> {
    let mut list = [iommu_iova_range { start: 0, last: 0 }; RANGES];
    let mut ranges = iommu_ioas_iova_ranges {
        size: size_of::<iommu_ioas_iova_ranges>(),
        ioas_id: ioas,
        num_iovas: RANGES as u32,
        allowed_iovas: list.as_mut_ptr().expose_provenance() as u64,
        ..Default::default()
    };
    with_structure(iommu, iommufd(0x84), &mut ranges)?;
    Ok(list.iter().take(ranges.num_iovas as usize).map(|range| (range.start, range.last)).collect())
}

/// `IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE`.
const FIXED_READ_WRITE: u32 = 7;

/// `IOMMU_IOAS_MAP`. The memory must stay, as for [`map`].
pub(super) fn ioas_map(iommu: impl AsFd, ioas: u32, memory: &mut [u8], iova: u64) -> Answer<i32> {
    let mut map = iommu_ioas_map {
        size: size_of::<iommu_ioas_map>(),
        flags: FIXED_READ_WRITE,
        ioas_id: ioas,
        user_va: memory.as_mut_ptr().expose_provenance() as u64,
        length: memory.len() as u64,
        iova,
        ..Default::default()
    };
    with_structure(iommu, iommufd(0x85), &mut map)
}

/// `IOMMU_IOAS_UNMAP`: the bytes that were unmapped.
pub(super) fn ioas_unmap(iommu: impl AsFd, ioas: u32, iova: u64, size: u64) -> Answer<u64> {
    let mut unmap = iommu_ioas_unmap { size: size_of::<iommu_ioas_unmap>(), ioas_id: ioas, iova, length: size };
    with_structure(iommu, iommufd(0x86), &mut unmap).map(|_| unmap.length)
}
