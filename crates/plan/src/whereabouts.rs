//! Where a function that was meant is now: cards are moved, swapped and taken out, and firmware gives out bus numbers anew.

use crate::intent::Identity;
use crate::journal::{self, Operation};
use crate::persist;
use cede_model::Host;
use cede_model::pci::{PciAddress, PciDevice, PciNames};

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
    trouble_of(host, meant, &|address| format!("`sudo cede undo`, then `cede plan {address}`"))
}

/// The same, with what to type for the function at an address.
pub fn trouble_of(host: &Host, meant: &Identity, again: &dyn Fn(PciAddress) -> String) -> Option<String> {
    let name = named(host, meant);
    let address = meant.address;
    match find(host, meant) {
        Whereabouts::Home(_) => None,
        Whereabouts::Moved { to, instead: Some(instead) } if meant.is_like(instead) => Some(format!(
            "{address} was the {name}; it was swapped with another card of its kind and is now at {}: {}",
            to.address,
            again(to.address)
        )),
        Whereabouts::Moved { to, instead } => Some(format!(
            "{address} was the {name}; it is now at {}{}: {}",
            to.address,
            held(host, instead, ", and its address"),
            again(to.address)
        )),
        Whereabouts::Gone { instead: Some(instead), .. } if meant.is_like(instead) => Some(format!(
            "{address} was the {name}; another card of its kind is there now ({}): {}",
            difference(meant, instead),
            again(instead.address)
        )),
        Whereabouts::Gone { instead, maybe } => Some(format!(
            "{address} was the {name}; it is gone{}{}",
            held(host, instead, "; its address"),
            maybe.map_or_else(|| ": put it back, or `sudo cede undo`".to_owned(), |device| perhaps(device, again))
        )),
    }
}

/// What became of every function that is ceded by an operation in force, where it is not as it was.
pub fn troubles(host: &Host, operations: &[Operation]) -> Vec<String> {
    let of_starts = for_starts(operations).filter_map(|meant| trouble(host, meant));
    let persisting = persist::intents(operations).flat_map(|intent| intent.moved(host)).map(|refusal| refusal.message);
    of_starts.into_iter().chain(persisting).collect()
}

/// The functions of all operations that are in force.
pub fn ceded(operations: &[Operation]) -> Vec<Identity> {
    let at_starts = persist::intents(operations).flat_map(persist::Intent::devices);
    for_starts(operations).chain(at_starts).cloned().collect()
}

fn for_starts(operations: &[Operation]) -> impl Iterator<Item = &Identity> {
    let in_force = operations.iter().filter(|one| journal::is_for_a_start(operations, one) && journal::in_force(operations, one));
    in_force.flat_map(|operation| operation.plan.devices.iter())
}

fn perhaps(device: &PciDevice, again: &dyn Fn(PciAddress) -> String) -> String {
    format!("; {} is of the same kind and may be it or another one: {}", device.address, again(device.address))
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
