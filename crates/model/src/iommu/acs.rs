//! Access Control Services: does a function keep its traffic to itself?
//!
//! A transcription of `pci_acs_enabled` and `pci_acs_flags_enabled` (drivers/pci/pci.c, Linux 7.2; the same in 5.10, 6.1 and 6.12).

use super::acs_quirks::{self, Verdict};
use super::function::Function;
use crate::pci::capability::{AcsRegisters, ExpressType};
use crate::pci::{Field, PciId};

/// `PCI_ACS_SV`: source validation.
pub const SOURCE_VALIDATION: u16 = 0x01;
/// `PCI_ACS_RR`: peer-to-peer request redirect.
pub const REQUEST_REDIRECT: u16 = 0x04;
/// `PCI_ACS_CR`: peer-to-peer completion redirect.
pub const COMPLETION_REDIRECT: u16 = 0x08;
/// `PCI_ACS_UF`: upstream forwarding.
pub const UPSTREAM_FORWARDING: u16 = 0x10;
/// `PCI_ACS_EC`: egress control.
pub const EGRESS_CONTROL: u16 = 0x20;

/// What must be on for a group to end here: `REQ_ACS_FLAGS` (drivers/iommu/iommu.c).
pub const REQUIRED: u16 = SOURCE_VALIDATION | REQUEST_REDIRECT | COMPLETION_REDIRECT | UPSTREAM_FORWARDING;

/// The control word as it will be once an IOMMU driver has asked for ACS: firmware mostly leaves zeros, and `pci_std_enable_acs` adds
/// what the capability offers of [`REQUIRED`].
pub fn effective_control(acs: AcsRegisters) -> u16 {
    acs.control | (acs.capability & REQUIRED)
}

/// True where everything in `wanted` is on. What the capability does not offer counts as on: the hardware cannot do the opposite
/// (`pci_acs_flags_enabled`).
pub fn grants(capability: u16, control: u16, wanted: u16) -> bool {
    let wanted = wanted & (capability | EGRESS_CONTROL);
    control & wanted == wanted
}

/// The same for a function's registers, with the control word to come. IDT's 89H switches offer a source validation that does not work
/// (drivers/pci/quirks.c, `pci_disable_broken_acs_cap`).
pub(super) fn registers_isolate(id: PciId, acs: AcsRegisters) -> bool {
    let broken = id.vendor == 0x111d && matches!(id.device, 0x80b5 | 0x8090);
    let capability = if broken { acs.capability & !SOURCE_VALIDATION } else { acs.capability };
    grants(capability, effective_control(AcsRegisters { capability, ..acs }), REQUIRED)
}

/// `pci_acs_enabled(function, REQ_ACS_FLAGS)`: `None` where the bytes that decide were not read.
pub(super) fn isolates(function: &Function, ivrs: bool) -> Option<bool> {
    match acs_quirks::verdict(function, ivrs) {
        Verdict::Decided(answer) => return Some(answer),
        Verdict::Hidden => return None,
        Verdict::NoOpinion => {}
    }
    let by_registers = match function.acs {
        Field::Known(acs) => Some(registers_isolate(function.id, acs)),
        Field::Absent => Some(false),
        Field::Hidden => None,
    };
    match function.express {
        Field::Absent => Some(false),
        Field::Hidden => None,
        Field::Known(ExpressType::PcieToPciBridge | ExpressType::PciToPcieBridge | ExpressType::EventCollector) => Some(false),
        Field::Known(ExpressType::RootPort | ExpressType::DownstreamPort) => by_registers,
        Field::Known(ExpressType::Other(_)) => Some(true),
        Field::Known(
            ExpressType::Endpoint | ExpressType::LegacyEndpoint | ExpressType::UpstreamPort | ExpressType::RootComplexEndpoint,
        ) => match (function.multifunction, by_registers) {
            (Some(false), _) | (_, Some(true)) => Some(true),
            (Some(true), registers) => registers,
            (None, _) => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: PciId = PciId { vendor: 0x8086, device: 0x1901 };

    #[test]
    fn what_firmware_left_off_is_switched_on() {
        let acs = AcsRegisters { capability: 0x5f, control: 0 };
        assert_eq!(effective_control(acs), REQUIRED);
        assert!(registers_isolate(PLAIN, acs));
    }

    #[test]
    fn what_is_not_offered_counts_as_on() {
        assert!(registers_isolate(PLAIN, AcsRegisters { capability: 0, control: 0 }));
        assert!(!grants(0x1d, 0x15, REQUIRED), "offered, and off");
        assert!(grants(0x15, 0x15, REQUIRED), "completion redirect is not offered");
    }

    #[test]
    fn broken_source_validation_is_not_asked_for() {
        let idt = PciId { vendor: 0x111d, device: 0x80b5 };
        assert!(registers_isolate(idt, AcsRegisters { capability: 0x1d, control: 0x1c }));
    }
}
