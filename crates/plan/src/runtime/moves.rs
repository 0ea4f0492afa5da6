//! The ways of functions from one driver to another, as steps and back.

use super::attribute::Attribute;
use super::virtual_functions;
use crate::plan::Step;
use cede_model::Host;
use cede_model::pci::{PciAddress, PciDevice};

/// Who has a function, and who may have it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Side {
    /// The bound driver.
    pub driver: Option<String>,
    /// `driver_override`; empty where none is set.
    pub only: String,
}

impl Side {
    /// As a function is now.
    pub fn of(device: &PciDevice) -> Self {
        Self { driver: device.driver_name().map(str::to_owned), only: device.driver_override.clone().unwrap_or_default() }
    }
}

/// A function and its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Which function.
    pub address: PciAddress,
    /// As it was.
    pub from: Side,
    /// As it is to be.
    pub to: Side,
}

impl Move {
    /// The function, where it loses a driver.
    fn loses(&self) -> Option<PciAddress> {
        (self.from.driver.is_some() && self.from.driver != self.to.driver).then_some(self.address)
    }

    /// The writes, in their order: once the override is set no other driver can come in between. `bind` of the driver itself fails where it does
    /// not take the function, as `drivers_probe` does not (drivers/base/bus.c `bind_store`, `drivers_probe_store`).
    pub fn steps(&self) -> Vec<Step> {
        let address = self.address.to_string();
        let write = |attribute: Attribute, before: Option<&str>, after: &str| Step::WriteAttribute {
            path: attribute.to_string(),
            before: before.map(str::to_owned),
            after: after.to_owned(),
        };
        let leaves = self.from.driver.as_ref().filter(|_| self.from.driver != self.to.driver);
        let comes = self.to.driver.as_ref().filter(|_| self.from.driver != self.to.driver);
        let only = (self.from.only != self.to.only).then(|| write(Attribute::Override(self.address), Some(&self.from.only), &self.to.only));
        let unbind = leaves.map(|driver| write(Attribute::Unbind(driver.clone()), None, &address));
        let bind = comes.map(|driver| write(Attribute::Bind(driver.clone()), None, &address));
        only.into_iter().chain(unbind).chain(bind).collect()
    }
}

/// The ways that steps make, in the order of their beginnings.
pub fn moves<'s>(steps: impl IntoIterator<Item = &'s Step>) -> Vec<Move> {
    let mut list: Vec<Move> = Vec::new();
    for step in steps {
        let Step::WriteAttribute { path, before, after } = step else { continue };
        let Some(attribute) = Attribute::parse(path) else { continue };
        let Some(address) = attribute.function(after) else { continue };
        if matches!(attribute, Attribute::VirtualFunctions(_) | Attribute::Autoprobe(_)) {
            continue;
        }
        if !list.iter().any(|known| known.address == address) {
            list.push(Move { address, from: Side::default(), to: Side::default() });
        }
        let Some(way) = list.iter_mut().find(|known| known.address == address) else { continue };
        match attribute {
            Attribute::Override(_) => (way.from.only, way.to.only) = (before.clone().unwrap_or_default(), after.clone()),
            Attribute::Unbind(driver) => way.from.driver = Some(driver),
            Attribute::Bind(driver) => way.to.driver = Some(driver),
            Attribute::VirtualFunctions(_) | Attribute::Autoprobe(_) => {}
        }
    }
    list
}

/// The leading steps that are ways of functions, as indexes: those of one slot follow one another, for they are one piece of hardware; slots do not
/// wait for each other.
pub fn beside_one_another<'s>(steps: impl IntoIterator<Item = &'s Step>) -> Vec<Vec<usize>> {
    let mut chains: Vec<(PciAddress, Vec<usize>)> = Vec::new();
    let ways = steps.into_iter().map_while(|step| match step {
        Step::WriteAttribute { path, after, .. } => match Attribute::parse(path)? {
            Attribute::VirtualFunctions(_) | Attribute::Autoprobe(_) => None,
            attribute => attribute.function(after),
        },
        _ => None,
    });
    for (index, address) in ways.enumerate() {
        match chains.iter_mut().rev().find(|(other, _)| other.same_slot(address)) {
            Some((_, chain)) => chain.push(index),
            None => chains.push((address, vec![index])),
        }
    }
    chains.into_iter().map(|(_, chain)| chain).collect()
}

/// A way back: the writes, and the functions that lose a driver by them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Back {
    /// Functions that must not be in use.
    pub unbound: Vec<PciAddress>,
    /// What is written.
    pub steps: Vec<Step>,
}

/// The ways back for those of `steps` that may have been begun, last one first, from how the functions are now. One that is gone has none.
pub fn back<'s>(host: &Host, plan: &[Step], begun: impl IntoIterator<Item = &'s Step> + Clone) -> Vec<Back> {
    let touched = moves(begun.clone());
    let whole = moves(plan).into_iter().rev().filter(|way| touched.iter().any(|one| one.address == way.address));
    let ways = whole
        .filter_map(|way| Some(Move { address: way.address, from: Side::of(host.device(way.address)?), to: way.from }))
        .filter(|way| way.from != way.to);
    let back = ways.map(|way| Back { unbound: way.loses().into_iter().collect(), steps: way.steps() });
    back.chain(virtual_functions::back(host, begun)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_do_not_wait_for_each_other_and_nothing_else_is_taken_along() {
        let way =
            |address: &str| Move { address: address.parse().unwrap(), from: side("nvme", ""), to: side("vfio-pci", "vfio-pci") }.steps();
        let load = Step::RunTool { argv: vec!["/sbin/modprobe".to_owned()], why: String::new() };
        let many = Step::WriteAttribute {
            path: "/sys/bus/pci/devices/0000:06:00.0/sriov_numvfs".to_owned(),
            before: Some("0".to_owned()),
            after: "3".to_owned(),
        };
        let both = [way("0000:01:00.0"), way("0000:02:00.0"), way("0000:01:00.1")].concat();
        assert_eq!(beside_one_another(&both), [vec![0, 1, 2, 6, 7, 8], vec![3, 4, 5]]);
        let (first, second) = both.split_at(4);
        assert_eq!(beside_one_another(&[first, std::slice::from_ref(&load), second].concat()), [vec![0, 1, 2], vec![3]]);
        assert!(beside_one_another(&[load]).is_empty() && beside_one_another(&[many]).is_empty());
    }

    fn side(driver: &str, only: &str) -> Side {
        Side { driver: (!driver.is_empty()).then(|| driver.to_owned()), only: only.to_owned() }
    }

    #[test]
    fn steps_tell_the_way_that_made_them() {
        let address = "0000:01:00.0".parse().unwrap();
        for (from, to, count) in [
            (side("nvme", ""), side("vfio-pci", "vfio-pci"), 3),
            (side("", ""), side("vfio-pci", "vfio-pci"), 2),
            (side("vfio-pci", "vfio-pci"), side("", ""), 2),
            (side("vfio-pci", ""), side("nvme", ""), 2),
        ] {
            let way = Move { address, from, to };
            let steps = way.steps();
            assert_eq!((steps.len(), moves(&steps)), (count, vec![way]));
        }
        let still = Move { address, from: side("nvme", ""), to: side("nvme", "") };
        assert!(still.steps().is_empty());
    }
}
