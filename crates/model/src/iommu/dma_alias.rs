//! Functions that do DMA in the name of another one on their bus.
//!
//! The `quirk_dma_*` fixups of drivers/pci/quirks.c (Linux 7.2). Those that only change which requester id a bridge uses
//! (`PCI_DEV_FLAG_PCIE_BRIDGE_ALIAS`, `PCI_DEV_FLAGS_PCI_BRIDGE_NO_ALIAS`) do not change who shares a group: such a bridge is no PCI Express
//! port, so the group does not end at it either way.

use crate::pci::{PciAddress, PciClass, PciId};

/// The device and function numbers in whose name a function may do DMA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aliases {
    /// None, nearly always.
    No,
    /// These, one bit for each of 256.
    These([u128; 2]),
    /// The kernel asks the device itself (Microchip Switchtec, `quirk_switchtec_ntb_dma_alias`); or the function's numbers are not known.
    Unpredictable,
}

impl Aliases {
    /// True where `devfn` is one of them.
    pub(super) fn contain(&self, devfn: u8) -> bool {
        match self {
            Self::These([low, _]) if devfn < 128 => low >> devfn & 1 == 1,
            Self::These([_, high]) => high >> (devfn & 127) & 1 == 1,
            Self::No | Self::Unpredictable => false,
        }
    }

    /// With one more, that firmware tells.
    pub(super) fn and(self, devfn: Option<u8>) -> Self {
        let Some(devfn) = devfn else { return self };
        match (self, Self::these([devfn])) {
            (Self::These([low, high]), Self::These([more_low, more_high])) => Self::These([low | more_low, high | more_high]),
            (Self::Unpredictable, _) => self,
            (_, more) => more,
        }
    }

    fn these(devfns: impl IntoIterator<Item = u8>) -> Self {
        let mut bits = [0u128; 2];
        for devfn in devfns {
            let [low, high] = &mut bits;
            *(if devfn < 128 { low } else { high }) |= 1 << (devfn & 127);
        }
        Self::These(bits)
    }
}

/// The aliases that the kernel gives to a function.
pub(super) fn aliases(address: PciAddress, id: Option<PciId>, subsystem: Option<PciId>, class: PciClass) -> Aliases {
    let function = |number: u8| match address.function() {
        own if own == number => Aliases::No,
        _ => Aliases::these([address.devfn & !7 | number]),
    };
    let Some(id) = id else { return Aliases::Unpredictable };
    match (id.vendor, id.device) {
        (0x1180, 0xe832 | 0xe476) | (0x6766, 0x3d40 | 0x3d41) => function(0),
        (0x1b4b, device) if MARVELL.contains(&device) => function(1),
        (0x1103, 0x0642 | 0x0645) | (0x197b, 0x2392) | (0x1c28, 0x0122) => function(1),
        (0x9005, 0x0285) if subsystem.is_some_and(|s| s.vendor == 0x9005 && matches!(s.device, 0x02bb | 0x02bc)) => {
            Aliases::these([1 << 3])
        }
        (0x8086, 0x2260 | 0x2264) => Aliases::these([0x10 << 3, 0x11 << 3, 0x12 << 3 | 3]),
        (0x8086, 0x2954..=0x2956 | 0x2958..=0x295a) => Aliases::these((0..=255).filter(|devfn| devfn & 7 < 5)),
        (0x10b5, 0x87b0 | 0x87b1) => Aliases::these(0..=255),
        _ if class.base_and_sub() == 0x0680 && is_switchtec(id) => Aliases::Unpredictable,
        _ => Aliases::No,
    }
}

/// SATA controllers whose DMA comes from function 1, which most of them do not have (`quirk_dma_func1_alias`).
const MARVELL: &[u16] =
    &[0x9120, 0x9123, 0x9125, 0x9128, 0x9130, 0x9170, 0x9172, 0x917a, 0x9182, 0x9183, 0x91a0, 0x9215, 0x9220, 0x9230, 0x9235];

fn is_switchtec(id: PciId) -> bool {
    let microsemi = matches!(id.device, 0x8531..=0x8536 | 0x8541..=0x8546 | 0x8551..=0x8556 | 0x8561..=0x8566 | 0x8571..=0x8576)
        || matches!(id.device >> 8, 0x40..=0x45 | 0x50..=0x55);
    id.vendor == 0x11f8 && microsemi || id.vendor == 0x1055 && matches!(id.device, 0x1001..=0x1006 | 0x1008)
}

/// Bridges at which the way to the IOMMU ends (`PCI_DEV_FLAGS_BRIDGE_XLATE_ROOT`).
pub(super) fn is_translation_root(id: Option<PciId>) -> bool {
    id.is_some_and(|id| id.vendor == 0x14e4 && matches!(id.device, 0x9000 | 0x9084))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str, vendor: u16, device: u16) -> Aliases {
        aliases(address.parse().unwrap(), Some(PciId { vendor, device }), None, PciClass(0x068000))
    }

    #[test]
    fn marvell_does_dma_as_function_1() {
        let alias = of("02:03.0", 0x1b4b, 0x9230);
        assert!(alias.contain(3 << 3 | 1) && !alias.contain(3 << 3) && !alias.contain(1));
        assert_eq!(of("02:03.1", 0x1b4b, 0x9230), Aliases::No);
    }

    #[test]
    fn firmware_adds_to_what_is_known() {
        let both = of("02:03.0", 0x1b4b, 0x9230).and(Some(0));
        assert!(both.contain(0) && both.contain(3 << 3 | 1) && !both.contain(1));
        assert!(of("02:03.0", 0x8086, 1).and(Some(255)).contain(255));
        assert_eq!(of("02:00.1", 0x11f8, 0x8532).and(Some(1)), Aliases::Unpredictable);
    }

    /// Counted in drivers/pci/quirks.c of Linux 7.2 entry by entry, and not from the lists here.
    #[test]
    fn as_many_devices_as_the_kernel_has() {
        let adaptec = Some(PciId { vendor: 0x9005, device: 0x02bc });
        let cases = [(0x1180, 2), (0x6766, 2), (0x1b4b, 15), (0x1103, 2), (0x197b, 1), (0x1c28, 1), (0x9005, 1), (0x8086, 8), (0x10b5, 2)];
        for (vendor, expected) in cases {
            // Function 3, for which neither function 0 nor function 1 is itself.
            let says = |device| aliases("02:0e.3".parse().unwrap(), Some(PciId { vendor, device }), adaptec, PciClass(0x010400));
            assert_eq!((0..=u16::MAX).filter(|device| says(*device) != Aliases::No).count(), expected, "{vendor:04x}");
        }
        let roots = (0..=u16::MAX).filter(|device| is_translation_root(Some(PciId { vendor: 0x14e4, device: *device })));
        assert_eq!(roots.count(), 2);
    }

    #[test]
    fn whole_buses() {
        let ntb = of("02:00.0", 0x10b5, 0x87b0);
        assert!((0..=255).all(|devfn| ntb.contain(devfn)));
        let mic = of("02:00.0", 0x8086, 0x2958);
        assert!(mic.contain(31 << 3 | 4) && !mic.contain(31 << 3 | 5) && !of("02:00.0", 0x8086, 0x2957).contain(0));
    }

    #[test]
    fn subsystem_and_class_decide_for_some() {
        let at = "02:0e.0".parse().unwrap();
        let (id, class) = (Some(PciId { vendor: 0x9005, device: 0x0285 }), PciClass(0x010400));
        assert!(aliases(at, id, Some(PciId { vendor: 0x9005, device: 0x02bb }), class).contain(8));
        assert_eq!(aliases(at, id, None, class), Aliases::No);
        assert_eq!(of("02:00.1", 0x11f8, 0x8532), Aliases::Unpredictable);
        assert_eq!(aliases(at, Some(PciId { vendor: 0x11f8, device: 0x8532 }), None, PciClass(0x060400)), Aliases::No);
    }
}
