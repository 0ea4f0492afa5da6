//! The partition that the kernel made, beside the one foretold from the machine as it was with the IOMMU off.

use super::Outcome;
use super::topology::Machine;
use cede_model::iommu::{IommuState, Topology};
use cede_model::pci::{ConfigSpace, PciAddress};
use cede_model::{Capture, Entry, Host};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Groups as sets of functions, whatever their numbers.
type Partition = BTreeSet<Vec<PciAddress>>;

/// Both looks at a machine.
pub(super) struct Pair {
    off: Host,
    on: Host,
}

/// What was compared, and how it came out.
pub(super) struct Verdict {
    /// Groups of the kernel.
    pub(super) groups: usize,
    /// Functions in a group with another one.
    pub(super) together: usize,
    /// Ports and functions with ACS whose control word was zero while the IOMMU was off.
    pub(super) asleep: usize,
    /// `None` where both partitions are the same.
    pub(super) difference: Option<String>,
    /// Whether a predictor that cannot see ACS would have been found out.
    pub(super) needs_acs: bool,
    /// Whether one that takes each function for the only one of its slot would.
    pub(super) needs_multifunction: bool,
}

impl Pair {
    /// Takes both captures for what they must be: the machine that was asked for, without groups and with them.
    pub(super) fn new(machine: &Machine, off: Capture, on: Capture) -> Outcome<Self> {
        let pair = Self { off: Host::from_capture(off), on: Host::from_capture(on) };
        let wanted = machine.functions + machine.virtual_functions;
        for (host, state) in [(&pair.off, IommuState::Off), (&pair.on, IommuState::On)] {
            let virtuals = host.devices.iter().filter(|device| device.physical_function.is_some()).count();
            if host.devices.len() != wanted || virtuals != machine.virtual_functions {
                let (found, of) = (host.devices.len(), machine.virtual_functions);
                return Err(format!("{found} functions ({virtuals} virtual) instead of {wanted} ({of}), IOMMU {state:?}"));
            }
            if host.iommu != state {
                return Err(format!("the IOMMU is {:?} instead of {state:?}", host.iommu));
            }
        }
        let addresses = |host: &Host| host.devices.iter().map(|device| device.address).collect::<Vec<_>>();
        if addresses(&pair.off) != addresses(&pair.on) {
            return Err("functions have other addresses with the IOMMU on".into());
        }
        Ok(pair)
    }

    pub(super) fn judge(&self) -> Verdict {
        let made: Partition = self.on.groups.iter().map(|group| group.devices.clone()).collect();
        let topology = Topology::of(&self.off);
        let foretold = foretold(&topology);
        let broken = |change: fn(&mut [u8])| {
            let host = Host::from_capture(with_config_changed(&self.off.capture, change));
            self::foretold(&Topology::of(&host)).as_ref() != Some(&made)
        };
        Verdict {
            groups: made.len(),
            together: made.iter().filter(|group| group.len() > 1).map(Vec::len).sum(),
            asleep: self.off.devices.iter().filter(|device| self.control_is_zero(device.address)).count(),
            difference: (foretold.as_ref() != Some(&made)).then(|| explain(&topology, foretold.as_ref(), &made)),
            needs_acs: broken(hide_acs),
            needs_multifunction: broken(clear_multifunction),
        }
    }

    fn control_is_zero(&self, address: PciAddress) -> bool {
        let config = self.off.capture.file(&format!("/sys/bus/pci/devices/{address}/config")).unwrap_or_default();
        ConfigSpace::from_sysfs(config).acs().known().is_some_and(|acs| acs.control == 0)
    }

    /// The captures, off and on.
    pub(super) fn captures(&self) -> [(&'static str, &Capture); 2] {
        [("off", &self.off.capture), ("on", &self.on.capture)]
    }
}

/// `None` where only bounds can be told: with all bytes read, that is a difference too.
fn foretold(topology: &Topology) -> Option<Partition> {
    let sorted = |group: &Vec<PciAddress>| {
        let mut group = group.clone();
        group.sort();
        group
    };
    topology.prediction().groups().map(|groups| groups.iter().map(sorted).collect())
}

fn explain(topology: &Topology, foretold: Option<&Partition>, made: &Partition) -> String {
    let mut text = String::new();
    let Some(foretold) = foretold else { return "the predictor gives bounds only\n".into() };
    for (title, partition, other) in [("foretold", foretold, made), ("the kernel's", made, foretold)] {
        for group in partition.difference(other) {
            let members: Vec<String> = group.iter().map(PciAddress::to_string).collect();
            let _ = writeln!(text, "  {title:<12} {}", members.join(" "));
        }
    }
    let concerned: BTreeSet<PciAddress> = foretold.symmetric_difference(made).flatten().copied().collect();
    let concerned: Vec<PciAddress> = concerned.into_iter().collect();
    for (address, causes) in concerned.iter().zip(topology.causes(&concerned)) {
        let why: Vec<String> = causes.iter().map(|cause| format!("{} at {}", cause.name(), cause.at())).collect();
        let hop = topology.hop(*address).map(|hop| format!("{:?}, {:?}, ACS {:?}", hop.kind, hop.judgement, hop.acs)).unwrap_or_default();
        let _ = writeln!(
            text,
            "  {address} is where it is by: {}\n               {hop}",
            if why.is_empty() { "nothing".into() } else { why.join(", ") }
        );
    }
    text
}

fn with_config_changed(capture: &Capture, change: fn(&mut [u8])) -> Capture {
    let mut changed = capture.clone();
    for (path, entry) in capture.entries().filter(|(path, _)| path.ends_with("/config")) {
        let Entry::File(bytes) = entry else { continue };
        let mut bytes = bytes.clone();
        change(&mut bytes);
        changed.insert(path, Entry::File(bytes));
    }
    changed
}

/// Makes another capability of it (vendor-specific, 000b).
fn hide_acs(config: &mut [u8]) {
    let acs = ConfigSpace::from_sysfs(config).extended_capability(0x0d).known();
    if let Some(id) = acs.and_then(|acs| config.get_mut(usize::from(acs.offset))) {
        *id = 0x0b;
    }
}

fn clear_multifunction(config: &mut [u8]) {
    if let Some(header) = config.get_mut(0x0e) {
        *header &= 0x7f;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::topology;
    use cede_model::capture_text;

    const BOARD: &str = include_str!("../../../fixtures/hosts/gigabyte-x570-aorus-master/host.capture");

    fn board() -> Capture {
        capture_text::parse(BOARD).unwrap()
    }

    fn without_groups(capture: &Capture) -> Capture {
        let mut off = capture.clone();
        let groups: Vec<String> = capture.entries().map(|(path, _)| path.to_owned()).filter(|path| path.contains("iommu_group")).collect();
        groups.iter().for_each(|path| drop(off.remove(path)));
        off
    }

    fn machine(functions: usize) -> Machine {
        Machine { functions, virtual_functions: 0, ..topology::machine(1, 0, 1) }
    }

    #[test]
    fn a_real_board_is_as_foretold_and_would_not_be_without_acs() {
        let on = board();
        let pair = Pair::new(&machine(47), without_groups(&on), on).unwrap();
        let verdict = pair.judge();
        assert_eq!(verdict.difference, None);
        assert_eq!(verdict.groups, 31);
        assert!(verdict.needs_acs && verdict.needs_multifunction);
    }

    #[test]
    fn what_is_foretold_wrongly_is_shown() {
        let on = board();
        let blind = with_config_changed(&without_groups(&on), hide_acs);
        let difference = Pair::new(&machine(47), blind, on).unwrap().judge().difference.unwrap();
        assert!(difference.contains("foretold") && difference.contains("the kernel's") && difference.contains("port at "), "{difference}");
    }

    #[test]
    fn a_machine_must_be_the_one_that_was_asked_for() {
        let (on, off) = (board(), without_groups(&board()));
        let error = |functions, off: &Capture, on: &Capture| Pair::new(&machine(functions), off.clone(), on.clone()).err().unwrap();
        assert!(error(46, &off, &on).contains("47 functions"));
        assert!(error(47, &on, &on).contains("On instead of Off"));
        assert!(error(47, &off, &off).contains("Off instead of On"));
    }
}
