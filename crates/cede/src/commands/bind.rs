//! `cede bind` and `cede release`: now, without a reboot.

use super::verify::settled;
use super::{persist, print_json};
use crate::cli::{BindArgs, Global, NowArgs, ReleaseArgs};
use crate::consent::{confirmed, require_root};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::operation_ui::{self, nothing};
use crate::render::bind::{print_done, print_refused, print_ways};
use crate::render::table::clean_line;
use crate::source;
use crate::ui::Ui;
use crate::view::bind::BindView;
use crate::view::operation::OperationView;
use cede_host::apply::{Applied, apply};
use cede_host::{Machine, Root, Scope, observe};
use cede_model::pci::PciAddress;
use cede_model::{Host, counted};
use cede_plan::guard::Loss;
use cede_plan::journal::{Operation, Verb};
use cede_plan::persist::Intent;
use cede_plan::runtime::{self, Draft};
use std::time::{Duration, Instant};

/// How often it is looked whether a holder has gone.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is asked for.
struct Job<'a> {
    verb: Verb,
    addresses: &'a [PciAddress],
    accepted: &'a [Loss],
    /// How many virtual functions the first one is to have, where that is what is asked for.
    vfs: Option<u32>,
    /// Where a start of the machine asks for it: nothing but what was meant.
    intent: Option<Intent<'a>>,
    now: &'a NowArgs,
}

/// Gives functions to VFIO.
///
/// # Errors
/// See the exit codes.
pub fn bind(arguments: &BindArgs, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let (addresses, accepted, vfs) = (&arguments.addresses, &arguments.accepted, arguments.vfs);
    let unit = arguments.persist.then(|| persist::Unit::new(addresses, vfs, accepted, global)).transpose()?;
    let job = Job { verb: Verb::Bind, addresses, accepted, vfs, intent: None, now: &arguments.now };
    let mut view = BindView::new("bind");
    let mut exit = job.run_all(global, ui, &mut view)?;
    if let Some(unit) = unit.filter(|_| exit == Exit::Fine) {
        exit = unit.keep(global, ui, &mut view)?;
    } else if vfs == Some(0) && view.is_so() {
        persist::forget(addresses, global, ui, &mut view)?;
    }
    answer(&view, exit, global, ui)
}

/// Does at a start what an operation in force wants.
///
/// # Errors
/// See the exit codes.
pub fn at_start(intent: Intent<'_>, now: &NowArgs, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let virtual_of = intent.virtual_of();
    let addresses: Vec<PciAddress> = match virtual_of {
        Some((physical, _)) => vec![physical.address],
        None => intent.devices().iter().map(|device| device.address).collect(),
    };
    let vfs = virtual_of.map(|(_, count)| count);
    let accepted = &intent.operation.plan.accepted;
    Job { verb: Verb::Bind, addresses: &addresses, accepted, vfs, intent: Some(intent), now }.run_all(
        global,
        ui,
        &mut BindView::new("bind"),
    )
}

/// Gives functions back to their drivers, for good.
///
/// # Errors
/// See the exit codes.
pub fn release(arguments: &ReleaseArgs, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let mut view = BindView::new("release");
    let exit = give_back(arguments, global, ui, &mut view)?;
    if view.is_so() {
        persist::forget(&arguments.addresses, global, ui, &mut view)?;
    }
    answer(&view, exit, global, ui)
}

/// Gives functions back, whatever the next start does with them.
///
/// # Errors
/// See the exit codes.
pub fn release_for_now(arguments: &ReleaseArgs, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let mut view = BindView::new("release");
    let exit = give_back(arguments, global, ui, &mut view)?;
    answer(&view, exit, global, ui)
}

fn give_back(arguments: &ReleaseArgs, global: &Global, ui: &mut Ui, view: &mut BindView) -> Result<Exit, CommandError> {
    let addresses = &arguments.addresses;
    Job { verb: Verb::Release, addresses, accepted: &[], vfs: None, intent: None, now: &arguments.now }.run(global, ui, view)
}

/// Takes a bind back.
///
/// # Errors
/// See the exit codes.
pub fn undo(operation: &Operation, global: &Global, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    let addresses: Vec<PciAddress> = operation.plan.devices.iter().map(|device| device.address).collect();
    let now = NowArgs { wait: None, timeout: 30, dry_run: false };
    let mut own = BindView::new("undo");
    let vfs = runtime::virtual_wanted(&operation.plan).map(|_| 0);
    let verb = Verb::Undo(operation.number);
    let exit = Job { verb, addresses: &addresses, accepted: &[], vfs, intent: None, now: &now }.run(global, ui, &mut own)?;
    if own.is_so() {
        persist::forget(&addresses, global, ui, &mut own)?;
    }
    (view.state, view.proof, view.operations) =
        (own.result, own.outcomes, own.operation.into_iter().chain(own.at_start.and_then(|ended| ended.operation)).collect());
    view.devices = addresses.iter().map(ToString::to_string).collect();
    view.refused = own.refused.into_iter().map(|one| one.reason).collect();
    Ok(exit)
}

impl Job<'_> {
    fn binds(&self) -> bool {
        self.verb == Verb::Bind
    }

    fn name(&self) -> &'static str {
        if self.binds() { "bind" } else { "release" }
    }

    fn run_all(&self, global: &Global, ui: &mut Ui, view: &mut BindView) -> Result<Exit, CommandError> {
        match self.vfs {
            Some(count) => self.with_virtual(count, global, ui, view),
            None => self.run(global, ui, view),
        }
    }

    /// Makes the virtual functions, an operation of its own; then gives them to VFIO.
    fn with_virtual(&self, count: u32, global: &Global, ui: &mut Ui, view: &mut BindView) -> Result<Exit, CommandError> {
        let [physical] = self.addresses else {
            return Err(CommandError::usage("--vfs goes with one physical function").hint("`cede bind ADDR --vfs N`"));
        };
        let exit = self.run(global, ui, view)?;
        if count == 0 || !view.is_so() {
            return Ok(exit);
        }
        view.notes
            .extend(view.operation.map(|number| format!("operation {number} made {} of {physical}", counted(count, "virtual function"))));
        let host = Host::from_capture(observe(&open(global, self.name())?, Scope::Runtime));
        let addresses: Vec<PciAddress> = runtime::virtual_of(&host, *physical).map(|device| device.address).collect();
        let notes = std::mem::take(&mut view.notes);
        *view = BindView::new(self.name());
        let exit = Job { addresses: &addresses, vfs: None, ..*self }.run(global, ui, view)?;
        view.notes.splice(0..0, notes);
        Ok(exit)
    }

    fn run(&self, global: &Global, ui: &mut Ui, view: &mut BindView) -> Result<Exit, CommandError> {
        let root = open(global, self.name())?;
        root.limit_attributes(Duration::from_secs(self.now.timeout.into()));
        let operations = settled(&root, global)?;
        let draft = self.draft_when_free(&root, &operations, ui)?;
        view.drafted(&draft);
        if !draft.plan.refused.is_empty() {
            view.result = "refused";
            return self.refuse(&draft, global, ui);
        }
        if draft.plan.is_empty() {
            if self.vfs.is_some() {
                return nothing(ui, "it has so many virtual functions already");
            }
            return nothing(ui, if self.binds() { "a VFIO driver has them already" } else { "no VFIO driver has them" });
        }
        print_ways(ui, if self.binds() { "Bind" } else { "Release" }, &draft.plan, global.verbose)?;
        if self.now.dry_run {
            view.result = "planned";
            writeln!(ui.out(), "\nNext: {}", global.command(&format!("{} {}", self.name(), self.words()), true))?;
            return Ok(Exit::Fine);
        }
        require_root()?;
        if !global.yes && !confirmed(ui, "\nDo this now?")? {
            view.result = "declined";
            writeln!(ui.out(), "nothing was changed")?;
            return Ok(Exit::Fine);
        }
        ui.flush()?;
        let applied = apply(&root, &draft.plan, self.verb, &mut |event| operation_ui::show(ui, &event))
            .map_err(|error| operation_ui::failed(&error))?;
        view.applied(&applied);
        self.done(&draft, &applied, ui)
    }

    fn draft(&self, machine: &dyn Machine, operations: &[Operation]) -> Draft {
        let host = Host::from_capture(observe(machine, Scope::Runtime));
        let draft = match self.verb {
            _ if let (Some(count), Some(physical)) = (self.vfs, self.addresses.first()) => runtime::make_virtual(&host, *physical, count),
            Verb::Bind => runtime::bind(&host, self.addresses, self.accepted),
            _ => runtime::release(&host, self.addresses, operations),
        };
        match self.intent {
            Some(intent) => intent.only_meant(&host, draft),
            None => draft,
        }
    }

    /// The plan; with `--wait`, once nobody uses the functions any more or the time is over.
    fn draft_when_free(&self, machine: &dyn Machine, operations: &[Operation], ui: &mut Ui) -> Result<Draft, CommandError> {
        let start = Instant::now();
        let mut told = String::new();
        loop {
            let draft = self.draft(machine, operations);
            let patient = self.now.wait.is_some_and(|seconds| start.elapsed() < Duration::from_secs(seconds.into()));
            if !draft.may_wait() || !patient {
                return Ok(draft);
            }
            let waits: Vec<String> = draft.holders.iter().map(|holder| format!("{} → {}", holder.function, holder.what)).collect();
            let line = format!("waiting for {}", waits.join("; "));
            if line != told {
                writeln!(ui.err(), "{}", clean_line(&line))?;
                told = line;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn refuse(&self, draft: &Draft, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
        print_refused(ui, draft)?;
        let command = |more: &str| global.command(&format!("{} {}{more}", self.name(), self.words()), true);
        let losses: Vec<&str> = draft.plan.refused.iter().map(|refusal| refusal.id).filter(|id| runtime::may_accept(id)).collect();
        if draft.may_wait() {
            writeln!(ui.out(), "\nNext: end these uses and run it again; or let cede wait for their end:\n  {}", command(" --wait"))?;
        } else if !losses.is_empty() && losses.len() == draft.plan.refused.len() {
            let given: String =
                draft.plan.accepted.iter().map(|loss| loss.id()).chain(losses).map(|id| format!(" --accept-loss {id}")).collect();
            writeln!(ui.out(), "\nNext: choose another device; or, to lose exactly this:\n  {}", command(&given))?;
        }
        Ok(Exit::Refused)
    }

    fn done(&self, draft: &Draft, applied: &Applied, ui: &mut Ui) -> Result<Exit, CommandError> {
        writeln!(ui.out())?;
        if self.vfs.is_some() {
            print_done(ui, "done until the next start", &draft.plan, applied.number)?;
            return Ok(Exit::Fine);
        }
        if !self.binds() {
            print_done(ui, "released", &draft.plan, applied.number)?;
            return Ok(Exit::Fine);
        }
        print_done(ui, "bound until the next start", &draft.plan, applied.number)?;
        let words = self.words();
        writeln!(ui.out(), "\nNext: cede handoff {words} --to libvirt (or qemu)\n      sudo cede release {words} takes it back")?;
        Ok(Exit::Fine)
    }

    /// Addresses and accepted losses as they are typed.
    fn words(&self) -> String {
        self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
}

fn answer(view: &BindView, exit: Exit, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    if global.json {
        print_json(ui, view)?;
    }
    Ok(exit)
}

/// Only the running system has drivers that can be changed.
///
/// # Errors
/// It is another system that is spoken of.
pub fn open(global: &Global, verb: &str) -> Result<Root, CommandError> {
    let root = if global.host.is_some() { None } else { Some(source::open_root(global)?) };
    root.filter(Root::is_live).ok_or_else(|| {
        CommandError::usage(format!("`{verb}` changes the running system, and nothing else has drivers"))
            .hint("`cede plan ADDR` shows what would be done from the next start on")
    })
}
