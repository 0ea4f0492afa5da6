//! Access Control Services: does a function keep its traffic to itself?
//!
//! A transcription of `pci_acs_enabled` and `pci_acs_flags_enabled` (drivers/pci/pci.c, Linux 7.2; the same in 5.10, 6.1 and 6.12).

use super::acs_parameters::AcsChange;
use super::acs_quirks::{self, Verdict};
use super::function::Function;
use super::options::PredictOptions;
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
/// what the capability offers of [`REQUIRED`]. Then the command line has its say.
pub fn effective_control(acs: AcsRegisters, change: Option<AcsChange>) -> u16 {
    let enabled = acs.control | (acs.capability & REQUIRED);
    match change {
        None => enabled,
        Some(change) => {
            let rest = if change.rest_from_firmware { acs.control } else { enabled };
            (rest & !change.mask) | (change.flags & change.mask)
        }
    }
}

/// What of `wanted` is off. What the capability does not offer counts as on: the hardware cannot do the opposite
/// (`pci_acs_flags_enabled`).
pub fn missing(capability: u16, control: u16, wanted: u16) -> u16 {
    wanted & (capability | EGRESS_CONTROL) & !control
}

/// The same for a function's registers, with the control word to come. IDT's 89H switches offer a source validation that does not work
/// (drivers/pci/quirks.c, `pci_disable_broken_acs_cap`).
pub(super) fn missing_in(id: Option<PciId>, acs: AcsRegisters, change: Option<AcsChange>) -> u16 {
    let broken = id.is_some_and(|id| id.vendor == 0x111d && matches!(id.device, 0x80b5 | 0x8090));
    let capability = if broken { acs.capability & !SOURCE_VALIDATION } else { acs.capability };
    missing(capability, effective_control(AcsRegisters { capability, ..acs }, change), REQUIRED)
}

/// Why the kernel takes a function to keep its traffic to itself, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The kernel's table of quirks speaks for it.
    QuirkIsolates,
    /// The kernel's table of quirks speaks against it.
    QuirkDoubts,
    /// It is declared so by the override patch.
    Overridden,
    /// It is no PCI Express function.
    Conventional,
    /// Between PCI Express and conventional PCI, or an event collector: never.
    NeverIsolates,
    /// It has no ACS capability, and would need one.
    NoAcs,
    /// Its ACS registers decide: what of [`REQUIRED`] is missing, if anything.
    Registers {
        /// Bits of the control word that will be off.
        missing: u16,
    },
    /// The only function of its slot: nothing to keep apart.
    Alone,
    /// Of a kind for which there is no rule.
    NoRule,
    /// The bytes that decide were not read.
    NotRead,
}

/// `pci_acs_enabled(function, REQ_ACS_FLAGS)`, with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// `None` where the bytes that decide were not read.
    pub isolates: Option<bool>,
    /// Why.
    pub why: Why,
}

/// Judges one function.
pub(super) fn judge(function: &Function, options: &PredictOptions) -> Judgement {
    let said = |isolates: bool, why: Why| Judgement { isolates: Some(isolates), why };
    let not_read = Judgement { isolates: None, why: Why::NotRead };
    match acs_quirks::verdict(function, options) {
        Verdict::Decided(true) => return said(true, Why::QuirkIsolates),
        Verdict::Decided(false) => return said(false, Why::QuirkDoubts),
        Verdict::Overridden => return said(true, Why::Overridden),
        Verdict::Hidden => return not_read,
        Verdict::NoOpinion => {}
    }
    let by_registers = || match function.acs {
        Field::Known(acs) => {
            let missing = missing_in(function.id, acs, function.acs_change);
            said(missing == 0, Why::Registers { missing })
        }
        Field::Absent => said(false, Why::NoAcs),
        Field::Hidden => not_read,
    };
    match function.express {
        Field::Absent => said(false, Why::Conventional),
        Field::Hidden => not_read,
        Field::Known(ExpressType::PcieToPciBridge | ExpressType::PciToPcieBridge | ExpressType::EventCollector) => {
            said(false, Why::NeverIsolates)
        }
        Field::Known(ExpressType::RootPort | ExpressType::DownstreamPort) => by_registers(),
        Field::Known(ExpressType::Other(_)) => said(true, Why::NoRule),
        Field::Known(
            ExpressType::Endpoint | ExpressType::LegacyEndpoint | ExpressType::UpstreamPort | ExpressType::RootComplexEndpoint,
        ) => match (function.multifunction, by_registers()) {
            (Some(false), _) => said(true, Why::Alone),
            (Some(true), judgement) => judgement,
            (None, judgement) if judgement.isolates == Some(true) => judgement,
            (None, _) => not_read,
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
        assert_eq!(effective_control(acs, None), REQUIRED);
        assert_eq!(missing_in(Some(PLAIN), acs, None), 0);
    }

    #[test]
    fn what_is_not_offered_counts_as_on() {
        assert_eq!(missing_in(Some(PLAIN), AcsRegisters { capability: 0, control: 0 }, None), 0);
        assert_eq!(missing(0x1d, 0x15, REQUIRED), COMPLETION_REDIRECT, "offered, and off");
        assert_eq!(missing(0x15, 0x15, REQUIRED), 0, "completion redirect is not offered");
    }

    #[test]
    fn broken_source_validation_is_not_asked_for() {
        let idt = PciId { vendor: 0x111d, device: 0x80b5 };
        let change = AcsChange { mask: 1, flags: 0, rest_from_firmware: false };
        let acs = AcsRegisters { capability: 0x1d, control: 0x1c };
        assert_eq!((missing_in(Some(idt), acs, Some(change)), missing_in(Some(PLAIN), acs, Some(change))), (0, 1));
    }

    #[test]
    fn since_6_11_the_command_line_throws_away_what_it_does_not_name() {
        let acs = AcsRegisters { capability: 0x5f, control: 0 };
        let change = |rest_from_firmware| Some(AcsChange { mask: 0x2c, flags: 0, rest_from_firmware });
        assert_eq!((effective_control(acs, change(true)), effective_control(acs, change(false))), (0, 0x11));
        let firmware = AcsRegisters { capability: 0x5f, control: 0x1d };
        assert_eq!(effective_control(firmware, change(true)), 0x11, "seen on 7.2");
    }
}
