//! `pci=disable_acs_redir=` and `pci=config_acs=` of the kernel command line.
//!
//! A transcription of `__pci_config_acs` and `pci_dev_str_match` (drivers/pci/pci.c, Linux 6.12; the same in 7.2) and of
//! `pci_disable_acs_redir` (Linux 6.1). Both are applied with and without an IOMMU. Since 6.11 the bits that they do not name fall back
//! to what firmware had left, before that to what the kernel had switched on.

use super::acs::{COMPLETION_REDIRECT, EGRESS_CONTROL, REQUEST_REDIRECT};
use super::function::Function;
use crate::pci::PciAddress;

/// `PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC`.
pub(super) const REDIRECT: u16 = REQUEST_REDIRECT | COMPLETION_REDIRECT | EGRESS_CONTROL;

/// All bits of the control word that have a meaning.
const ALL: u16 = 0x7f;

/// What the command line says of ACS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AcsParameters {
    disable_redirect: Option<String>,
    configure: Option<String>,
}

/// What the command line does to the control word of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcsChange {
    /// Bits that are forced.
    pub mask: u16,
    /// To what.
    pub flags: u16,
    /// The other bits stay as firmware left them.
    pub rest_from_firmware: bool,
}

impl AcsParameters {
    /// Reads a command line. Of several the last one counts (`pci_setup`).
    pub fn from_cmdline(cmdline: &[u8]) -> Self {
        let text = String::from_utf8_lossy(cmdline);
        let mut parameters = Self::default();
        let options = text.split_whitespace().filter_map(|word| word.trim_matches('"').strip_prefix("pci="));
        for option in options.flat_map(|value| value.trim_matches('"').split(',')) {
            if let Some(devices) = option.strip_prefix("disable_acs_redir=") {
                parameters.disable_redirect = Some(devices.to_owned());
            } else if let Some(settings) = option.strip_prefix("config_acs=") {
                parameters.configure = Some(settings.to_owned());
            }
        }
        parameters
    }

    /// True where the command line leaves ACS alone.
    pub fn is_empty(&self) -> bool {
        self.disable_redirect.is_none() && self.configure.is_none()
    }

    /// The change for the function at `index`.
    pub(super) fn change(&self, functions: &[Function], index: usize, has_config_acs: bool) -> Option<AcsChange> {
        let configured = self.configure.as_deref().filter(|_| has_config_acs).and_then(|text| configured(functions, index, text));
        let disabled = || {
            let devices = self.disable_redirect.as_deref()?;
            is_listed(functions, index, devices).then_some(AcsChange { mask: REDIRECT, flags: 0, rest_from_firmware: has_config_acs })
        };
        configured.or_else(disabled)
    }
}

/// `FLAGS@DEVICE[;FLAGS@DEVICE]…`; the rightmost flag is bit 0. What the kernel cannot read ends the list.
fn configured(functions: &[Function], index: usize, text: &str) -> Option<AcsChange> {
    for setting in text.split(';') {
        let (digits, device) = setting.split_once('@')?;
        let (mut mask, mut flags) = (0_u16, 0_u16);
        for (digit, shift) in digits.bytes().rev().zip(0_u32..) {
            let bit = 1_u16.checked_shl(shift)?;
            match digit {
                b'0' => mask |= bit,
                b'1' => {
                    mask |= bit;
                    flags |= bit;
                }
                b'x' | b'X' => {}
                _ => return None,
            }
        }
        if mask & !ALL != 0 {
            return None;
        }
        if matches(functions, index, device)? {
            return Some(AcsChange { mask, flags, rest_from_firmware: true });
        }
    }
    None
}

fn is_listed(functions: &[Function], index: usize, devices: &str) -> bool {
    devices.split(';').map_while(|device| matches(functions, index, device)).any(|matches| matches)
}

/// `pci_dev_str_match`; `None` where the kernel cannot read it.
fn matches(functions: &[Function], index: usize, text: &str) -> Option<bool> {
    let function = functions.get(index)?;
    let Some(ids) = text.strip_prefix("pci:") else { return matches_path(functions, index, text) };
    let numbers: Vec<u16> = ids.split(':').map(|number| u16::from_str_radix(number, 16)).collect::<Result<_, _>>().ok()?;
    let own = [
        function.id.map(|id| id.vendor),
        function.id.map(|id| id.device),
        function.subsystem.map(|id| id.vendor),
        function.subsystem.map(|id| id.device),
    ];
    // Nought stands for any.
    let fits = |(wanted, own): (&u16, &Option<u16>)| *wanted == 0 || *own == Some(*wanted);
    matches!(numbers.len(), 2 | 4).then(|| numbers.iter().zip(&own).all(fits))
}

/// `pci_dev_str_match_path`: `[domain:]bus:device.function[/device.function]*`, from the top down.
fn matches_path(functions: &[Function], index: usize, text: &str) -> Option<bool> {
    let mut parts = text.split('/');
    let top: PciAddress = parts.next()?.parse().ok()?;
    let mut at = Some(index);
    for step in parts.rev() {
        let devfn = format!("0:{step}").parse::<PciAddress>().ok()?.devfn;
        let function = at.and_then(|at| functions.get(at));
        if function.is_none_or(|function| function.address.devfn != devfn) {
            return Some(false);
        }
        at = function.and_then(|function| function.bridge);
    }
    Some(at.and_then(|at| functions.get(at)).is_some_and(|function| function.address == top))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iommu::function::sample;

    fn two() -> Vec<Function> {
        let port = Function { address: "00:1c.4".parse().unwrap(), ..sample(0x8086, 0xa33c) };
        let below = Function { address: "05:00.0".parse().unwrap(), bridge: Some(0), ..sample(0x10de, 0x1f91) };
        vec![port, below]
    }

    #[track_caller]
    fn assert_change(cmdline: &str, index: usize, has_config_acs: bool, expected: Option<(u16, u16)>) {
        let change = AcsParameters::from_cmdline(cmdline.as_bytes()).change(&two(), index, has_config_acs);
        assert_eq!(change.map(|change| (change.mask, change.flags)), expected, "{cmdline}");
    }

    #[test]
    fn devices_are_named_by_place_by_way_and_by_number() {
        for name in ["0:1c.4", "0000:00:1c.4", "pci:8086:a33c", "pci:8086:0", "pci:0:0", "1:0.0;00:1c.4"] {
            assert_change(&format!("quiet pci=nomsi,disable_acs_redir={name} x"), 0, true, Some((REDIRECT, 0)));
        }
        assert_change("pci=disable_acs_redir=0:1c.4/0.0", 1, true, Some((REDIRECT, 0)));
        assert_change("pci=disable_acs_redir=0:1c.4/0.0", 0, true, None);
        assert_change("pci=disable_acs_redir=pci:8086:a33c:1043:8694", 0, true, None);
        assert_change("pci=disable_acs_redir=junk;00:1c.4", 0, true, None);
    }

    #[test]
    fn settings_are_read_from_the_right_and_win() {
        assert_change("pci=config_acs=10x@0:1c.4", 0, true, Some((6, 4)));
        assert_change("pci=config_acs=10x@0:1c.4", 0, false, None);
        assert_change("pci=config_acs=1@1:0.0;0@pci:8086:0", 0, true, Some((1, 0)));
        assert_change("pci=config_acs=10000000@0:1c.4", 0, true, None);
        assert_change("pci=config_acs=2@0:1c.4", 0, true, None);
        assert_change("pci=config_acs=1@0:1c.4 pci=disable_acs_redir=0:1c.4", 0, true, Some((1, 1)));
        assert_change("pci=config_acs=x@0:1c.4", 1, true, None);
    }
}
