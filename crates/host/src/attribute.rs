//! Writes attributes of sysfs as a plan says, reads back what came of it, and brings functions back to the drivers that they had.

use crate::apply::{Event, perform};
use crate::apply_error::ApplyError;
use crate::machine::{AttributeWriter, Machine};
use crate::observe::{Scope, observe};
use crate::read_host::ATTRIBUTE_LIMIT;
use cede_model::pci::PciAddress;
use cede_model::pci::device::PCI_DEVICES;
use cede_model::{Entry, Host};
use cede_plan::journal::{Operation, Verb};
use cede_plan::plan::{Plan, Step};
use cede_plan::runtime::{self, Attribute, Back, Draft, services};
use std::sync::{Mutex, PoisonError, mpsc};

/// What the kernel shows where no override is set (drivers/pci/pci-sysfs.c `driver_override_show`).
const NONE: &str = "(null)";

/// The host must still need exactly this plan, and nobody may have come to use what it takes away.
pub(crate) fn check(machine: &dyn Machine, host: &Host, plan: &Plan, verb: Verb, operations: &[Operation]) -> Result<(), ApplyError> {
    let now = Draft::again(host, plan, verb, operations).plan;
    if let Some(refusal) = now.refused.first() {
        return Err(ApplyError::Unchanged(refusal.message.clone()));
    }
    let same = |one: &Plan, other: &Plan| one.devices.iter().zip(&other.devices).all(|(one, other)| one.agrees(other));
    if now.steps != plan.steps || now.devices.len() != plan.devices.len() || !same(&now, plan) {
        return Err(ApplyError::HostChanged("the functions or their drivers changed since the plan was made".to_owned()));
    }
    let disks =
        plan.devices.iter().flat_map(|device| services::disks(&host.capture, device.address).into_iter().map(move |disk| (device, disk)));
    match disks.into_iter().find(|(_, disk)| machine.is_claimed(disk)) {
        Some((device, disk)) => Err(ApplyError::Unchanged(format!(
            "{} → {disk}: somebody has it for himself, perhaps mounted where it is not seen from here (`lsns -t mnt`, `lsblk`): end that first",
            device.address
        ))),
        None => Ok(()),
    }
}

/// Writes one attribute. What it said before must still be so, and what it brings about is read back.
pub(crate) fn write(machine: &dyn Machine, path: &str, before: Option<&str>, after: &str) -> Result<(), String> {
    write_by(machine, machine.attribute_writer().as_mut(), path, before, after)
}

/// How many writes wait for the kernel at the same time.
const BESIDE: usize = 16;

/// Writes chains of steps, each in its order and many chains at a time; tells after each chain how many are done. What fails, or a signal, lets
/// nothing more begin.
pub(crate) fn write_beside(machine: &dyn Machine, chains: Vec<Vec<&Step>>, tell: &mut dyn FnMut(usize)) -> Result<(), String> {
    let workers = chains.len().min(BESIDE);
    let queue = Mutex::new(chains.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (ended, ends) = mpsc::channel();
    let mut result = Ok(());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let ended = ended.clone();
            let next = &next;
            scope.spawn(move || {
                let mut writer = machine.attribute_writer();
                while let Some(chain) = next() {
                    // Nobody listens any more once something failed.
                    if ended.send(write_chain(machine, writer.as_mut(), &chain)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(ended);
        let mut done = 0;
        for end in ends {
            done += 1;
            tell(done);
            result = end.and_then(|()| machine.stop_asked().map_or(Ok(()), |signal| Err(format!("{signal} was received"))));
            if result.is_err() {
                return;
            }
        }
    });
    result
}

fn write_chain(machine: &dyn Machine, writer: &mut dyn AttributeWriter, chain: &[&Step]) -> Result<(), String> {
    chain.iter().try_for_each(|step| match step {
        Step::WriteAttribute { path, before, after } => write_by(machine, writer, path, before.as_deref(), after),
        _ => Ok(()),
    })
}

fn write_by(machine: &dyn Machine, writer: &mut dyn AttributeWriter, path: &str, before: Option<&str>, after: &str) -> Result<(), String> {
    let attribute = Attribute::parse(path).ok_or_else(|| format!("{path} is no attribute that cede writes"))?;
    let address = attribute.function(after).ok_or_else(|| format!("{path}: `{after}` is no function"))?;
    let found = |path: &str| text(machine, path).map(|text| if text == NONE { String::new() } else { text });
    if let Some(before) = before {
        let now = found(path)?;
        if now != before {
            return Err(format!("{path} says `{now}`, not `{before}`: somebody else changed it meanwhile"));
        }
    }
    writer.write(path, after).map_err(|error| error.to_string())?;
    let (came, wanted) = match &attribute {
        Attribute::Override(_) | Attribute::VirtualFunctions(_) | Attribute::Autoprobe(_) => (found(path)?, after.to_owned()),
        Attribute::Unbind(_) => (driver(machine, address).unwrap_or_default(), String::new()),
        Attribute::Bind(name) => (driver(machine, address).unwrap_or_default(), name.clone()),
    };
    if came == wanted {
        return Ok(());
    }
    if came.parse::<u32>().is_ok() || attribute == Attribute::VirtualFunctions(address) {
        return Err(format!("{path} was written and says `{came}`, not `{wanted}`: `sudo dmesg` may tell why"));
    }
    let is_with = if came.is_empty() { "with no driver".to_owned() } else { format!("with `{came}`") };
    Err(format!("{path} was written, and {address} is still {is_with}: `sudo dmesg` may tell why"))
}

fn text(machine: &dyn Machine, path: &str) -> Result<String, String> {
    match machine.read(path, ATTRIBUTE_LIMIT) {
        Entry::File(bytes) => Ok(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\0']).to_owned()),
        other => Err(format!("{path} could not be read: {other}")),
    }
}

/// The driver that has a function, from its `uevent`, else from its link.
fn driver(machine: &dyn Machine, address: PciAddress) -> Option<String> {
    let directory = format!("{PCI_DEVICES}{address}");
    let uevent = text(machine, &format!("{directory}/uevent")).unwrap_or_default();
    let named = uevent.lines().find_map(|line| line.strip_prefix("DRIVER=")).map(str::to_owned);
    named.or_else(|| match machine.read_link(&format!("{directory}/driver")) {
        Entry::Link(target) => target.rsplit('/').next().map(str::to_owned),
        _ => None,
    })
}

/// Brings every function that an operation may have moved back to how it was before, each as far as nobody uses it by now.
pub(crate) fn take_back(machine: &dyn Machine, operation: &Operation, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), String> {
    let host = Host::from_capture(observe(machine, Scope::Runtime));
    let steps = &operation.plan.steps;
    let begun: Vec<&Step> = operation.started.iter().filter_map(|index| steps.get(*index)).collect();
    let ways = runtime::back(&host, steps, begun);
    let problems: Vec<String> = ways.iter().filter_map(|way| one_back(machine, &host, way, tell).err()).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

fn one_back(machine: &dyn Machine, host: &Host, way: &Back, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), String> {
    let unbound = way.unbound.iter().filter_map(|address| host.device(*address));
    if let Some(holder) = unbound.flat_map(|device| runtime::holders(host, device, &[])).next() {
        return Err(format!("{} → {}: {}, then `sudo cede recover`", holder.function, holder.what, holder.advice));
    }
    way.steps.iter().try_for_each(|step| perform(machine, step, tell))
}
