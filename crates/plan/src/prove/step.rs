//! The steps of a proof, in the words of the kernel's interface (include/uapi/linux/vfio.h, include/uapi/linux/iommufd.h).

/// One thing that is done, of which the kernel may say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Open `/dev/vfio/vfio`.
    Container,
    /// `VFIO_GET_API_VERSION`.
    Version,
    /// `VFIO_CHECK_EXTENSION` for the type 1 IOMMU.
    Type1,
    /// Open `/dev/vfio/N`.
    Group,
    /// `VFIO_GROUP_GET_STATUS`.
    Status,
    /// `VFIO_GROUP_SET_CONTAINER`.
    SetContainer,
    /// `VFIO_SET_IOMMU`: the IOMMU domain is made and the group attached to it.
    SetIommu,
    /// Open `/dev/iommu`.
    Iommufd,
    /// `IOMMU_IOAS_ALLOC`.
    Ioas,
    /// Open `/dev/vfio/devices/vfioN`.
    Node,
    /// `VFIO_DEVICE_BIND_IOMMUFD`, which opens the device.
    Bind,
    /// `VFIO_DEVICE_ATTACH_IOMMUFD_PT`.
    AttachIoas,
    /// `VFIO_GROUP_GET_DEVICE_FD`, which opens the device.
    GetDevice,
    /// `VFIO_DEVICE_GET_INFO`.
    Info,
    /// `VFIO_DEVICE_GET_REGION_INFO` for each region.
    Regions,
    /// `VFIO_DEVICE_GET_IRQ_INFO` for each kind.
    Interrupts,
    /// Reading configuration space through the device.
    Config,
    /// Mapping memory for DMA.
    Map,
    /// Taking the mapping away.
    Unmap,
    /// `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`.
    ResetSet,
    /// `VFIO_DEVICE_RESET`.
    Reset,
    /// `VFIO_DEVICE_RESET` once more.
    ResetAgain,
    /// Closing the device, and looking whether it is there still.
    Close,
    /// Looking for QEMU, and asking for its version.
    FindQemu,
    /// Starting a guest that has firmware and the devices, and nothing else.
    Guest,
    /// The firmware finds the device, with its ids.
    GuestIds,
    /// The firmware maps its BARs.
    GuestBars,
    /// The firmware runs its option ROM.
    GuestRom,
}

impl Step {
    /// Its stable name, for JSON.
    pub fn id(self) -> &'static str {
        self.row().0
    }

    /// The call, as documentation and strace show it.
    pub fn call(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Container => ("container", "open /dev/vfio/vfio"),
            Self::Version => ("version", "VFIO_GET_API_VERSION"),
            Self::Type1 => ("type1", "VFIO_CHECK_EXTENSION"),
            Self::Group => ("group", "open /dev/vfio/N"),
            Self::Status => ("status", "VFIO_GROUP_GET_STATUS"),
            Self::SetContainer => ("set-container", "VFIO_GROUP_SET_CONTAINER"),
            Self::SetIommu => ("set-iommu", "VFIO_SET_IOMMU"),
            Self::Iommufd => ("iommufd", "open /dev/iommu"),
            Self::Ioas => ("ioas", "IOMMU_IOAS_ALLOC"),
            Self::Node => ("node", "open /dev/vfio/devices/vfioN"),
            Self::Bind => ("bind", "VFIO_DEVICE_BIND_IOMMUFD"),
            Self::AttachIoas => ("attach-ioas", "VFIO_DEVICE_ATTACH_IOMMUFD_PT"),
            Self::GetDevice => ("get-device", "VFIO_GROUP_GET_DEVICE_FD"),
            Self::Info => ("info", "VFIO_DEVICE_GET_INFO"),
            Self::Regions => ("regions", "VFIO_DEVICE_GET_REGION_INFO"),
            Self::Interrupts => ("interrupts", "VFIO_DEVICE_GET_IRQ_INFO"),
            Self::Config => ("config", "read configuration space"),
            Self::Map => ("map", "map memory for DMA"),
            Self::Unmap => ("unmap", "unmap it"),
            Self::ResetSet => ("reset-set", "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO"),
            Self::Reset => ("reset", "VFIO_DEVICE_RESET"),
            Self::ResetAgain => ("reset-again", "VFIO_DEVICE_RESET, again"),
            Self::Close => ("close", "close the device"),
            Self::FindQemu => ("find-qemu", "find QEMU"),
            Self::Guest => ("guest", "start a guest of firmware alone"),
            Self::GuestIds => ("guest-ids", "the guest finds it"),
            Self::GuestBars => ("guest-bars", "the guest maps its BARs"),
            Self::GuestRom => ("guest-rom", "the guest runs its option ROM"),
        }
    }
}
