//! Where a function that was meant is now: cards are moved, swapped and taken out, and firmware gives out bus numbers anew.

use crate::intent::Identity;
use crate::journal::{self, Operation};
use cede_model::Host;
use cede_model::pci::{PciDevice, PciNames};

/// What became of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts<'h> {
    /// At its address, as far as can be told.
    Home(&'h PciDevice),
    /// At another address for certain: by its serial number, or by its slot.
    Moved {
        /// The function itself.
        to: &'h PciDevice,
        /// What holds its address now.
        instead: Option<&'h PciDevice>,
    },
    /// Not at its address, and nothing is it for certain.
    Gone {
        /// What holds its address now.
        instead: Option<&'h PciDevice>,
        /// A function of the same kind that may be it or another one.
        maybe: Option<&'h PciDevice>,
    },
}

/// Looks for a function.
pub fn find<'h>(host: &'h Host, meant: &Identity) -> Whereabouts<'h> {
    let here = host.device(meant.address);
    if let Some(device) = here.filter(|device| meant.matches(device)) {
        return Whereabouts::Home(device);
    }
    let alike = |device: &&PciDevice| device.address != meant.address && meant.is_like(device);
    let others = || host.devices.iter().filter(alike);
    let contradicted = |device: &&PciDevice| meant.serial.is_some() && device.serial.is_some() && device.serial != meant.serial;
    let by_serial = others()
        .find(|device| device.serial.is_some() && device.serial == meant.serial && device.address.function() == meant.address.function());
    let by_slot = || others().find(|device| device.slot.is_some() && device.slot == meant.slot && !contradicted(device));
    match by_serial.or_else(by_slot) {
        Some(to) => Whereabouts::Moved { to, instead: here },
        None => Whereabouts::Gone { instead: here, maybe: others().find(|device| !contradicted(device)) },
    }
}

/// Says what became of a function that is not where it was, and what to type; `None` where it is.
pub fn trouble(host: &Host, meant: &Identity) -> Option<String> {
    let name = named(host, meant);
    let address = meant.address;
    match find(host, meant) {
        Whereabouts::Home(_) => None,
        Whereabouts::Moved { to, instead: Some(instead) } if meant.is_like(instead) => Some(format!(
            "{address} was the {name}; it was swapped with another card of its kind and is now at {}: {}",
            to.address,
            again(to)
        )),
        Whereabouts::Moved { to, instead } => Some(format!(
            "{address} was the {name}; it is now at {}{}: {}",
            to.address,
            held(host, instead, ", and its address"),
            again(to)
        )),
        Whereabouts::Gone { instead: Some(instead), .. } if meant.is_like(instead) => Some(format!(
            "{address} was the {name}; another card of its kind is there now ({}): {}",
            difference(meant, instead),
            again(instead)
        )),
        Whereabouts::Gone { instead, maybe } => Some(format!(
            "{address} was the {name}; it is gone{}{}",
            held(host, instead, "; its address"),
            maybe.map_or_else(|| ": put it back, or `sudo cede undo`".to_owned(), perhaps)
        )),
    }
}

/// What became of every function that is ceded by an operation in force, where it is not as it was.
pub fn troubles(host: &Host, operations: &[Operation]) -> Vec<String> {
    ceded(operations).iter().filter_map(|meant| trouble(host, meant)).collect()
}

/// The functions of all operations that are in force.
pub fn ceded(operations: &[Operation]) -> Vec<Identity> {
    let in_force = operations.iter().filter(|one| journal::is_for_a_start(operations, one) && journal::in_force(operations, one));
    in_force.flat_map(|operation| operation.plan.devices.iter().cloned()).collect()
}

fn perhaps(device: &PciDevice) -> String {
    format!("; {} is of the same kind and may be it or another one: {}", device.address, again(device))
}

fn again(device: &PciDevice) -> String {
    format!("`sudo cede undo`, then `cede plan {}`", device.address)
}

fn named(host: &Host, meant: &Identity) -> String {
    let names = PciNames::of_ids(&host.capture, [meant.id]);
    names.device(meant.id).map_or_else(|| format!("device [{}]", meant.id), |name| format!("{name} [{}]", meant.id))
}

fn held(host: &Host, instead: Option<&PciDevice>, lead: &str) -> String {
    let Some(device) = instead else { return String::new() };
    let what =
        Identity::of(device).map_or_else(|| "a device that does not answer".to_owned(), |found| format!("the {}", named(host, &found)));
    let taken = if device.is_on_vfio() { ", which vfio-pci has" } else { "" };
    format!("{lead} holds {what} now{taken}")
}

/// Why a function of the same kind is not the one.
fn difference(meant: &Identity, found: &PciDevice) -> String {
    match (meant.serial, found.serial, &meant.slot, &found.slot) {
        (Some(old), Some(new), ..) => format!("serial number {new}, not {old}"),
        (_, _, Some(old), Some(new)) => format!("in slot {new}, not {old}"),
        _ => "it differs".to_owned(),
    }
}
