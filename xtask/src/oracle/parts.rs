//! The functions that QEMU 7.2 has, as far as they need nothing of the host.

/// What a bus is, which decides what goes where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bus {
    /// Of a root complex.
    Root,
    /// Behind a port: one slot.
    Port,
    /// Inside a switch.
    Switch,
    /// Conventional PCI.
    Conventional,
}

/// A kind of function with a bus behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bridge {
    /// Root port with ACS. Inside a switch it stands for a downstream port with ACS, which QEMU has not: the kernel judges both alike.
    RootPort,
    /// Root port without.
    PlainRootPort,
    /// Intel's root port 3420, with ACS.
    Ioh,
    /// The same without.
    PlainIoh,
    /// Upstream port of a switch.
    Upstream,
    /// Downstream port, without ACS.
    Downstream,
    /// From PCI Express to conventional PCI.
    ToPci,
    /// From conventional PCI to conventional PCI.
    Pci,
    /// Intel's 82801, which sits beside PCI Express and is none.
    Intel82801,
}

impl Bridge {
    /// QEMU's name with what it needs, for the `number`th bridge of a machine.
    pub(super) fn device(self, number: usize) -> String {
        match self {
            Self::RootPort => format!("pcie-root-port,chassis={number},slot={number}"),
            Self::PlainRootPort => format!("pcie-root-port,disable-acs=on,chassis={number},slot={number}"),
            Self::Ioh => format!("ioh3420,chassis={number},slot={number}"),
            Self::PlainIoh => format!("ioh3420,disable-acs=on,chassis={number},slot={number}"),
            Self::Upstream => "x3130-upstream".into(),
            Self::Downstream => format!("xio3130-downstream,chassis={number},slot={number}"),
            Self::ToPci => "pcie-pci-bridge".into(),
            Self::Pci => format!("pci-bridge,shpc=off,chassis_nr={number}"),
            Self::Intel82801 => "i82801b11-bridge".into(),
        }
    }

    /// The bus behind it.
    pub(super) fn leads_to(self) -> Bus {
        match self {
            Self::RootPort | Self::PlainRootPort | Self::Ioh | Self::PlainIoh | Self::Downstream => Bus::Port,
            Self::Upstream => Bus::Switch,
            Self::ToPci | Self::Pci | Self::Intel82801 => Bus::Conventional,
        }
    }
}

/// Bridges that a bus may hold, by how often. What no board has is rare.
pub(super) fn bridges(bus: Bus) -> [(u8, Bridge); 9] {
    let [root, plain, ioh, plain_ioh, upstream, downstream, to_pci, pci, intel] = match bus {
        Bus::Root => [30, 22, 8, 6, 0, 0, 12, 12, 10],
        Bus::Port => [2, 2, 0, 0, 60, 2, 22, 7, 5],
        Bus::Switch => [38, 14, 2, 2, 2, 30, 8, 2, 2],
        Bus::Conventional => [3, 3, 0, 0, 3, 0, 8, 68, 15],
    };
    [
        (root, Bridge::RootPort),
        (plain, Bridge::PlainRootPort),
        (ioh, Bridge::Ioh),
        (plain_ioh, Bridge::PlainIoh),
        (upstream, Bridge::Upstream),
        (downstream, Bridge::Downstream),
        (to_pci, Bridge::ToPci),
        (pci, Bridge::Pci),
        (intel, Bridge::Intel82801),
    ]
}

/// What gives memory back to the host; QEMU takes one.
pub(super) const BALLOON: &str = "virtio-balloon-pci";

/// Cards and parts of boards: PCI Express and conventional, of many classes and vendors.
pub(super) const ENDPOINTS: [&str; 49] = [
    "virtio-rng-pci",
    BALLOON,
    "virtio-net-pci,romfile=",
    "virtio-serial-pci",
    "virtio-scsi-pci",
    "virtio-keyboard-pci",
    "virtio-gpu-pci",
    "virtio-rng-pci-transitional",
    "virtio-rng-pci-non-transitional",
    "e1000,romfile=",
    "e1000-82544gc,romfile=",
    "e1000e,romfile=",
    "rtl8139,romfile=",
    "ne2k_pci,romfile=",
    "pcnet,romfile=",
    "i82550",
    "i82559c",
    "i82801",
    "tulip",
    "vmxnet3,romfile=",
    "nvme,serial=x",
    "nvme,serial=y,use-intel-id=on",
    "qemu-xhci",
    "nec-usb-xhci",
    "ich9-usb-ehci1",
    "usb-ehci",
    "piix3-usb-uhci",
    "ich9-usb-uhci1",
    "lsi53c810",
    "lsi53c895a",
    "megasas",
    "megasas-gen2",
    "mptsas1068",
    "pvscsi",
    "am53c974",
    "dc390",
    "ich9-ahci",
    "sdhci-pci",
    "intel-hda",
    "ich9-intel-hda",
    "edu",
    "pci-testdev",
    "pvpanic-pci",
    "tpci200",
    "i6300esb",
    "bochs-display",
    "secondary-vga,romfile=",
    "ati-vga,romfile=",
    "cirrus-vga,romfile=",
];
