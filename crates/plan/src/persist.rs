//! What is bound at every start: a unit of systemd of ours that has cede do again what `bind` did, as long as each function is the one meant.
//!
//! A drop-in of `multi-user.target` asks for the unit (systemd.unit(5): drop-ins may add dependencies), so no link has to be made. It runs before
//! `network-pre.target`, for no driver is taken from an interface that has an address by then.

use crate::digest::sha256;
use crate::guard::Loss;
use crate::intent::{BindMethod, Identity};
use crate::journal::{self, Operation, Verb};
use crate::plan::{Condition, Expectation, Plan, Refusal, RestsOn, Step, When};
use crate::runtime::{self, Draft};
use crate::whereabouts;
use cede_model::pci::PciAddress;
use cede_model::{Entry, Host};

/// Where units of the administrator stand.
pub const UNITS: &str = "/etc/systemd/system";

/// What asks for them.
pub const TARGET: &str = "/etc/systemd/system/multi-user.target.d";

/// What the names of ours begin with, behind the number that drop-ins have.
pub const PREFIX: &str = "cede-bind-";

/// There where systemd runs the machine (sd_booted(3)).
pub const SYSTEMD: &str = "/run/systemd/system";

const HEAD: &str = "# Written by cede to give PCI devices to VFIO at every start; `cede release` or `cede undo` removes it.\n";

/// What is wished for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// Functions; their groups go along.
    pub addresses: Vec<PciAddress>,
    /// Whose virtual functions they are, and how many it has.
    pub virtual_of: Option<(PciAddress, u32)>,
    /// Absolute path of `cede`.
    pub program: String,
    /// What the host loses, as its owner accepts.
    pub accepted: Vec<Loss>,
}

/// The unit of a set of functions, named after the first, or after whose virtual functions they are.
pub fn unit(name: PciAddress) -> String {
    format!("{UNITS}/{PREFIX}{name}.service")
}

fn drop_in(name: PciAddress) -> String {
    format!("{TARGET}/50-{PREFIX}{name}.conf")
}

/// Why nothing could be bound at a start, whatever the functions are.
pub fn obstacle(host: &Host, program: &str) -> Option<Refusal> {
    // systemd gives `%`, `$`, blanks and quotes in a command line a meaning (systemd.service(5)).
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if !host.capture.is_there(SYSTEMD) {
        let message = "systemd does not run this machine, and its units are what binds at a start: `cede plan ADDR` has other ways";
        return Some(Refusal::new("no-systemd", message));
    }
    if !program.starts_with('/') || !program.bytes().all(plain) {
        let message = format!("a unit cannot start `{program}`: install cede as /usr/local/bin/cede and run it from there");
        return Some(Refusal::new("unit-program", message));
    }
    None
}

/// Plans the unit for functions that a VFIO driver has now. What stands in the way is in its `refused`, and then it has no steps.
pub fn plan(host: &Host, operations: &[Operation], wish: &Wish) -> Plan {
    let draft = runtime::bind(host, &wish.addresses, &wish.accepted);
    let Plan { devices, stays, accepted, mut refused, steps, .. } = draft.plan;
    refused.extend(obstacle(host, &wish.program));
    if refused.is_empty() && (devices.is_empty() || !steps.is_empty()) {
        refused.push(Refusal::new("not-bound", "no VFIO driver has the functions: `cede bind ADDR --persist` gives them to one first"));
    }
    let mut plan = Plan { bind: BindMethod::Override, refused, ..Plan::default() };
    if plan.refused.is_empty() {
        plan = Plan { devices, stays, accepted, ..plan };
        if let Err(refusal) = fill(host, operations, wish, &mut plan) {
            plan = Plan { bind: BindMethod::Override, refused: vec![refusal], ..Plan::default() };
        }
    }
    plan
}

fn fill(host: &Host, operations: &[Operation], wish: &Wish, plan: &mut Plan) -> Result<(), Refusal> {
    let physical = wish.virtual_of.map(|(address, _)| address);
    let Some(name) = physical.or_else(|| plan.devices.iter().map(|device| device.address).min()) else { return Ok(()) };
    for (path, text) in [(unit(name), service(name, &wish.program)), (drop_in(name), wants(name))] {
        let text = text.into_bytes();
        match host.capture.get(&path) {
            Some(Entry::File(now)) if *now == text && of(operations, name).is_some() => {}
            Some(Entry::Absent) | None => {
                plan.rests_on.push(RestsOn { path: path.clone(), sha256: None });
                plan.expects.push(Expectation::now(Condition::FileIs { path: path.clone(), sha256: Some(sha256(&text)) }));
                plan.steps.push(Step::ReplaceFile { path, before: None, after: Some(text) });
            }
            Some(_) => return Err(Refusal::new("unit-there", format!("{path} is there already, and is another one: move it away first"))),
        }
    }
    let other =
        intents(operations).find(|other| other.devices().iter().any(|one| plan.devices.iter().any(|new| new.address == one.address)));
    if let Some(other) = other {
        let same = other.devices() == plan.devices.as_slice() && plan.steps.is_empty();
        let message = format!("operation {} binds some of these at every start already: `cede undo {0}` first", other.operation.number);
        return if same { Ok(()) } else { Err(Refusal::new("persists-already", message)) };
    }
    expect(host, operations, wish, plan)
}

/// After a start: virtual functions are made, and the same drivers have the same functions. The former drivers are waited for before that.
fn expect(host: &Host, operations: &[Operation], wish: &Wish, plan: &mut Plan) -> Result<(), Refusal> {
    let bound = |address| {
        let device = host.device(address)?;
        Some(Condition::BoundTo { device: Identity::of(device)?, driver: device.driver_name()?.to_owned() })
    };
    let later = |when, what| Expectation { when, what };
    if let Some((physical, count)) = wish.virtual_of {
        let unknown = || Refusal::new("device-does-not-answer", format!("{physical} could not be read: `lspci -s {physical}` shows it"));
        let device = host.device(physical).and_then(Identity::of).ok_or_else(unknown)?;
        plan.expects.push(Expectation::after_reboot(Condition::HasVirtualFunctions { device, count }));
        plan.expects.extend(bound(physical).map(|what| later(When::OnRelease, what)));
    }
    plan.expects.extend(plan.devices.iter().filter_map(|device| bound(device.address)).map(|what| later(When::AfterReboot, what)));
    if wish.virtual_of.is_none() {
        let boot_id = host.capture.attribute("/proc/sys/kernel/random/boot_id");
        let held = runtime::held(operations, boot_id);
        let of_devices = held.iter().filter(|held| plan.devices.iter().any(|device| device.address == held.device.address));
        let former = of_devices.flat_map(|held| held.operation.plan.expects.iter().filter(|one| is_former(one, held.device.address)));
        plan.expects.extend(former.cloned());
    }
    Ok(())
}

fn is_former(expectation: &Expectation, address: PciAddress) -> bool {
    expectation.when == When::OnRelease && matches!(&expectation.what, Condition::BoundTo { device, .. } if device.address == address)
}

/// Once devices are found and before anything uses them. It ends before the guests that start by themselves.
fn service(name: PciAddress, program: &str) -> String {
    format!(
        "{HEAD}[Unit]
Description=Give {name} to VFIO (cede)
DefaultDependencies=no
Wants=network-pre.target
After=local-fs.target systemd-udev-trigger.service systemd-modules-load.service
Before=network-pre.target display-manager.service libvirtd.service virtqemud.service shutdown.target
Conflicts=shutdown.target
RequiresMountsFor=/var/lib/cede {program}

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=10min
ExecStart={program} at-start {name}
"
    )
}

fn wants(name: PciAddress) -> String {
    format!("{HEAD}[Unit]\nWants={PREFIX}{name}.service\n")
}

/// What an operation in force wants at every start.
#[derive(Debug, Clone, Copy)]
pub struct Intent<'o> {
    /// The operation.
    pub operation: &'o Operation,
}

/// All of them, oldest first.
pub fn intents(operations: &[Operation]) -> impl Iterator<Item = Intent<'_>> {
    let persists = |operation: &&Operation| operation.verb == Verb::Persist && journal::in_force(operations, operation);
    operations.iter().filter(persists).map(|operation| Intent { operation })
}

/// That of a unit.
pub fn of(operations: &[Operation], name: PciAddress) -> Option<Intent<'_>> {
    let path = unit(name);
    intents(operations).find(|intent| intent.operation.plan.steps.iter().any(|step| step.path() == Some(&path)))
}

impl<'o> Intent<'o> {
    /// The functions that a VFIO driver is to have.
    pub fn devices(self) -> &'o [Identity] {
        &self.operation.plan.devices
    }

    /// Whose virtual functions they are, and how many.
    pub fn virtual_of(self) -> Option<(&'o Identity, u32)> {
        self.operation.plan.expects.iter().find_map(|one| match &one.what {
            Condition::HasVirtualFunctions { device, count } => Some((device, *count)),
            _ => None,
        })
    }

    /// Functions that must be there before anything is made or bound.
    pub fn rests_on(self) -> Vec<&'o Identity> {
        self.virtual_of().map_or_else(|| self.devices().iter().collect(), |(physical, _)| vec![physical])
    }

    /// What it must not do on this host: another function is where one of these was.
    pub fn moved(self, host: &Host) -> Vec<Refusal> {
        let trouble = |meant: &Identity| whereabouts::trouble_of(host, meant, &|address| self.anew(address));
        self.rests_on().into_iter().filter_map(trouble).map(|message| Refusal::new("another-device", message)).collect()
    }

    /// A plan for the running system, as far as it is about nothing but what was meant.
    pub fn only_meant(self, host: &Host, draft: Draft) -> Draft {
        let mut refused = self.moved(host);
        let physical = self.virtual_of().map(|(device, _)| device);
        let is_meant = |found: &&Identity| physical.into_iter().chain(self.devices()).any(|meant| meant.agrees(found));
        refused.extend(draft.plan.devices.iter().filter(|found| !is_meant(found)).map(|found| {
            let message = format!("{found} was not among what is bound at every start: {}", self.anew(found.address));
            Refusal::new("another-device", message)
        }));
        if refused.is_empty() { draft } else { draft.refused(refused) }
    }

    fn anew(self, address: PciAddress) -> String {
        let number = self.operation.number;
        let vfs = self.virtual_of().map(|(_, count)| format!(" --vfs {count}")).unwrap_or_default();
        format!("`sudo cede undo {number}`, then `sudo cede bind {address}{vfs} --persist`")
    }

    /// Functions whose drivers are not at work yet: what is to be given back to one must first have been with it.
    pub fn awaited(self, host: &Host) -> Vec<PciAddress> {
        let waits = |one: &Expectation| match (&one.what, one.when) {
            (Condition::BoundTo { device, driver }, When::OnRelease) => host
                .device(device.address)
                .filter(|found| !found.is_on_vfio() && found.driver_name() != Some(driver))
                .map(|found| found.address),
            _ => None,
        };
        self.operation.plan.expects.iter().filter_map(waits).collect()
    }

    /// True where all of it is among these functions.
    pub fn is_within(self, addresses: &[PciAddress]) -> bool {
        self.devices().iter().all(|device| addresses.contains(&device.address))
            || self.virtual_of().is_some_and(|(physical, _)| addresses.contains(&physical.address))
    }
}
