//! One file of ours that libvirt runs when a guest starts and ends: it gives the guest's devices to VFIO, and takes them back.
//!
//! libvirt runs every executable in `/etc/libvirt/hooks/qemu.d` as root with the guest's name and what happens to it (docs/hooks.rst, since
//! 6.5.0). `prepare begin` comes before anything of the guest is set up, and a failure there keeps it from starting; `release end` comes
//! when all is given back. A hook that calls libvirt waits for ever, so this one calls nothing but `cede` and systemd.

mod confined;
mod display;

pub use confined::sources;
pub use display::{put_back, taken_off};

use crate::digest::sha256;
use crate::guard::Loss;
use crate::handoff::domain::Domain;
use crate::intent::{BindMethod, Identity};
use crate::journal::{self, Operation, Verb};
use crate::plan::{Condition, Expectation, Plan, Refusal, RestsOn, Step};
use crate::runtime;
use crate::shell_word::quoted;
use crate::whereabouts::{self, Whereabouts};
use cede_model::pci::PciAddress;
use cede_model::{Entry, Host};
use std::fmt::Write as _;

/// Where libvirt looks for hooks of QEMU's guests.
pub const DIRECTORY: &str = "/etc/libvirt/hooks/qemu.d";

/// What the names of ours begin with: before most others, for they run in the order of their names.
pub const PREFIX: &str = "50-cede-";

/// Its configuration.
pub const LIBVIRT: &str = "/etc/libvirt";

/// First line of ours in it.
const HEAD: &str = "#!/bin/sh\n# Written by cede to give PCI devices to guests; `cede undo` removes it.\n";

/// What is wished for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HookWish {
    /// The guest's name.
    pub domain: String,
    /// Functions to give it; where there are none, those of the host that its definition names.
    pub addresses: Vec<PciAddress>,
    /// Absolute path of `cede`.
    pub program: String,
    /// What the host loses while the guest runs, as its owner accepts.
    pub accepted: Vec<Loss>,
    /// True where the display manager is stopped before and started after.
    pub display_manager: bool,
}

/// Plans the file. As with every plan, what stands in the way is in its `refused`, and then it has no steps.
pub fn plan(host: &Host, wish: &HookWish) -> Plan {
    let mut plan = Plan { bind: BindMethod::Override, accepted: wish.accepted.clone(), ..Plan::default() };
    if let Err(refused) = draft(host, wish, &mut plan) {
        plan.steps.clear();
        plan.expects.clear();
        plan.refused = refused;
    }
    plan
}

/// The hook of a guest. libvirt takes blanks and letters of every script in a guest's name, and no slash; those go into the name of the file as
/// `_`, with a part of the name's digest, so that no two guests share one.
pub fn path(domain: &str) -> Option<String> {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    let is_taken = |c: char| c != '/' && !c.is_control();
    if domain.is_empty() || domain.len() > 200 || domain.starts_with('.') || !domain.chars().all(is_taken) {
        return None;
    }
    if domain.chars().all(is_safe) {
        return Some(format!("{DIRECTORY}/{PREFIX}{domain}"));
    }
    let plain: String = domain.chars().map(|c| if is_safe(c) { c } else { '_' }).collect();
    let digest: String = sha256(domain.as_bytes()).chars().take(8).collect();
    Some(format!("{DIRECTORY}/{PREFIX}{plain}-{digest}"))
}

fn draft(host: &Host, wish: &HookWish, plan: &mut Plan) -> Result<(), Vec<Refusal>> {
    let one = |id, message: String| vec![Refusal::new(id, message)];
    let Some(path) = path(&wish.domain) else {
        let message = format!(
            "no guest of libvirt is called `{}`, or no file can be called after it: `virsh list --all` shows their names",
            wish.domain
        );
        return Err(one("hook-name", message));
    };
    if !host.capture.is_there(LIBVIRT) {
        return Err(one("no-libvirt", format!("libvirt is not set up here: there is no {LIBVIRT}")));
    }
    if let Some(refusal) = confined::refuse(&host.capture, &wish.program) {
        return Err(vec![refusal]);
    }
    let addresses = addresses(host, wish).map_err(|refusal| vec![refusal])?;
    give(host, &addresses, wish.display_manager, plan)?;
    let script = script(wish, &plan.accepted).into_bytes();
    match host.capture.get(&path) {
        Some(Entry::File(now)) if *now == script => return Ok(()),
        Some(Entry::File(now)) if now.starts_with(HEAD.as_bytes()) => {
            return Err(one(
                "hook-in-force",
                format!("{path} is there already, for another wish: `cede undo` its operation first (`cede log`)"),
            ));
        }
        Some(Entry::Absent) | None => {}
        Some(Entry::File(_)) => return Err(one("hook-not-ours", format!("{path} was not written by cede: move it away first"))),
        Some(_) => return Err(one("hook-not-ours", format!("{path} could not be read: run as root"))),
    }
    plan.rests_on.push(RestsOn { path: path.clone(), sha256: None });
    plan.expects.push(Expectation::now(Condition::FileIs { path: path.clone(), sha256: Some(sha256(&script)) }));
    plan.steps.push(Step::ReplaceFile { path, before: None, after: Some(script) });
    plan.notes.push(
        "libvirt finds a new folder of hooks when it starts: `systemctl restart libvirtd` (or virtqemud); guests run on meanwhile".into(),
    );
    plan.notes.extend(confined::labels(&host.capture));
    Ok(())
}

/// Those that were named, else those of the host in the guest's definition.
fn addresses(host: &Host, wish: &HookWish) -> Result<Vec<PciAddress>, Refusal> {
    if !wish.addresses.is_empty() {
        return Ok(wish.addresses.clone());
    }
    let path = definition(&wish.domain);
    let name = quoted(&wish.domain);
    let Some(bytes) = host.capture.file(&path) else {
        return Err(Refusal::new("no-domain", format!("{path} could not be read: name the functions, `cede hook install {name} ADDR`")));
    };
    let domain = Domain::read(bytes).map_err(|error| Refusal::new("no-domain", format!("{path}: {error}")))?;
    if domain.devices.is_empty() {
        let message = format!("{path} has no PCI device of the host: `cede handoff ADDR --to libvirt --domain {name} --attach` adds one");
        return Err(Refusal::new("no-domain-device", message));
    }
    Ok(domain.devices)
}

/// Whole groups, and what the host loses while the guest has them. Who uses them now is not asked: that counts when the guest starts. Neither
/// is what the hook takes off a driver itself.
fn give(host: &Host, addresses: &[PciAddress], takes_off: bool, plan: &mut Plan) -> Result<(), Vec<Refusal>> {
    let draft = runtime::bind(host, addresses, &plan.accepted);
    let passes = |refusal: &Refusal| refusal.id == runtime::HELD || (takes_off && refusal.id == runtime::UNSAFE);
    let mut lasting: Vec<Refusal> = draft.plan.refused.into_iter().filter(|refusal| !passes(refusal)).collect();
    for refusal in lasting.iter_mut().filter(|refusal| refusal.id == runtime::UNSAFE) {
        refusal.message.push_str("; where it is the only GPU, `--display-manager` has the hook take them off and put them back");
    }
    if !lasting.is_empty() {
        return Err(lasting);
    }
    let Plan { devices, stays, notes, accepted, .. } = draft.plan;
    *plan = Plan { bind: BindMethod::Override, devices, stays, notes, accepted, ..Plan::default() };
    Ok(())
}

/// Only this guest and these two events are passed on. libvirt shows what stands on standard error where a start fails.
fn script(wish: &HookWish, accepted: &[Loss]) -> String {
    let mut options = if wish.display_manager { " --display-manager".to_owned() } else { String::new() };
    for loss in accepted {
        // Writing to a string cannot fail.
        let _ = write!(options, " --accept-loss {}", loss.id());
    }
    let (name, program) = (quoted(&wish.domain), quoted(&wish.program));
    format!(
        r#"{HEAD}# libvirt runs it when a guest starts or ends. It must never call libvirt, which waits for it.
[ "$1" = {name} ] || exit 0
case "$2/$3" in prepare/begin | release/end) ;; *) exit 0 ;; esac
said=$({program} hook run{options} -- {name} "$2" 2>&1 </dev/null)
ended=$?
[ -z "$said" ] || {{
    printf '%s\n' "$said" >&2
    printf '%s\n' "$said" | logger -t cede-hook
}}
exit "$ended"
"#
    )
}

/// Where libvirt keeps the definition of a guest.
pub fn definition(domain: &str) -> String {
    format!("{LIBVIRT}/qemu/{domain}.xml")
}

/// The operation by which a guest has its hook, where one is in force.
pub fn of<'o>(operations: &'o [Operation], domain: &str) -> Option<&'o Operation> {
    let path = path(domain)?;
    let wrote = |operation: &Operation| operation.plan.steps.iter().any(|step| step.path() == Some(&path));
    operations.iter().find(|one| one.verb == Verb::Hook && journal::in_force(operations, one) && wrote(one))
}

/// What keeps functions from being given to a guest: another device is where one of them was.
pub fn strangers(host: &Host, meant: &[Identity]) -> Vec<String> {
    let gone = |identity: &&Identity| !matches!(whereabouts::find(host, identity), Whereabouts::Home(_));
    meant
        .iter()
        .filter(gone)
        .map(|identity| format!("{} is gone or another device than when the hook was made", identity.address))
        .collect()
}
