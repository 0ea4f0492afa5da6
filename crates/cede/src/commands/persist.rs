//! `cede bind --persist`: the unit that binds at every start, what it runs, and its end.

use super::verify::{operations, settled};
use super::{bind, hook};
use crate::cli::{Global, NowArgs};
use crate::consent::{confirmed, require_root};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::operation_ui;
use crate::render::plan::{print_refusals, print_steps};
use crate::render::table::{counted, wrapped};
use crate::ui::{BAD, GOOD, HEADING, Ui, WARN, paint};
use crate::view::bind::{AtStartView, BindView};
use crate::view::operation::OperationView;
use cede_host::apply::{Applied, apply, look_at_files};
use cede_host::{ReadHost, Root, Scope, observe, take_turn};
use cede_model::Host;
use cede_model::pci::PciAddress;
use cede_plan::guard::Loss;
use cede_plan::journal::{Operation, Verb};
use cede_plan::persist::{self, Intent, Wish};
use cede_plan::{Plan, Step, runtime};
use std::time::{Duration, Instant};

/// How long a start waits for drivers that had the functions before.
const DRIVERS_COME: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What is to be bound at every start.
pub struct Unit {
    root: Root,
    wish: Wish,
}

impl Unit {
    /// Looks whether a unit could do it, before anything is bound.
    ///
    /// # Errors
    /// It could not.
    pub fn new(addresses: &[PciAddress], vfs: Option<u32>, accepted: &[Loss], global: &Global) -> Result<Self, CommandError> {
        if vfs == Some(0) {
            return Err(CommandError::usage("--persist goes with virtual functions that are there")
                .hint("`cede bind ADDR --vfs 0` takes them away, also at every start"));
        }
        let root = bind::open(global, "bind --persist")?;
        let wish = Wish {
            addresses: addresses.to_vec(),
            virtual_of: addresses.first().copied().zip(vfs),
            program: hook::program("systemd")?,
            accepted: accepted.to_vec(),
        };
        match persist::obstacle(&look(&root), &wish.program) {
            Some(refusal) => Err(CommandError::new(Exit::Refused, refusal.message)),
            None => Ok(Self { root, wish }),
        }
    }

    /// Writes the unit for what is bound now.
    ///
    /// # Errors
    /// See the exit codes.
    pub fn keep(mut self, global: &Global, ui: &mut Ui, view: &mut BindView) -> Result<Exit, CommandError> {
        if !view.is_so() {
            if view.result == "planned" {
                writeln!(ui.out(), "      --persist then writes a unit that does so at every start")?;
                view.at_start = Some(at_start_view("planned", None, &Plan::default()));
            }
            return Ok(Exit::Fine);
        }
        let operations = settled(&self.root, global)?;
        let host = look(&self.root);
        if let Some((physical, _)) = self.wish.virtual_of {
            self.wish.addresses = runtime::virtual_of(&host, physical).map(|device| device.address).collect();
        }
        let plan = persist::plan(&host, &operations, &self.wish);
        if !plan.refused.is_empty() {
            writeln!(ui.out(), "\n{}", paint(BAD, "until the next start only:"))?;
            print_refusals(ui, &plan)?;
            view.notes.extend(plan.refused.iter().map(|refusal| refusal.message.clone()));
            return Ok(Exit::Refused);
        }
        if plan.is_empty() {
            return operation_ui::nothing(ui, "the same is bound at every start already");
        }
        writeln!(ui.out(), "\n{} {}", paint(HEADING, "At every start"), counted(plan.devices.len(), "function"))?;
        print_steps(ui, &plan.steps)?;
        require_root()?;
        if !global.yes && !confirmed(ui, "\nDo so at every start?")? {
            view.at_start = Some(at_start_view("declined", None, &plan));
            writeln!(ui.out(), "nothing more was changed")?;
            return Ok(Exit::Fine);
        }
        ui.flush()?;
        let applied = apply(&self.root, &plan, Verb::Persist, &mut |event| operation_ui::show(ui, &event))
            .map_err(|error| operation_ui::failed(&error))?;
        view.at_start = Some(at_start_view("in_force", Some(applied.number), &plan));
        writeln!(ui.out(), "\n{} (operation {})", paint(GOOD, "and at every start"), applied.number)?;
        Ok(Exit::Fine)
    }
}

fn at_start_view(state: &'static str, operation: Option<u32>, plan: &Plan) -> AtStartView {
    AtStartView { state, operation, files: plan.steps.iter().filter_map(Step::path).map(str::to_owned).collect() }
}

/// The running system, and whether systemd runs it.
fn look(root: &Root) -> Host {
    let mut capture = observe(root, Scope::Runtime);
    capture.insert(persist::SYSTEMD, ReadHost::probe(root, persist::SYSTEMD));
    Host::from_capture(capture)
}

/// Ends what is bound at every start, where all of it was given back; says so where only a part was.
///
/// # Errors
/// See the exit codes.
pub fn forget(addresses: &[PciAddress], global: &Global, ui: &mut Ui, view: &mut BindView) -> Result<(), CommandError> {
    let root = bind::open(global, "release")?;
    let list = settled(&root, global)?;
    for intent in persist::intents(&list) {
        let number = intent.operation.number;
        if intent.is_within(addresses) {
            require_root()?;
            let plan = cede_plan::undo::undo(&look_at_files(&root, &list), &list, intent.operation).map_err(|_| {
                CommandError::new(Exit::Refused, "the unit that binds at every start was changed by somebody else").hint(undo_of(number))
            })?;
            let applied = apply(&root, &plan, Verb::Undo(number), &mut |event| operation_ui::show(ui, &event))
                .map_err(|error| operation_ui::failed(&error))?;
            view.at_start = Some(at_start_view("removed", Some(applied.number), &plan));
            writeln!(ui.out(), "{} (operation {})", paint(GOOD, "and no more at every start"), applied.number)?;
        } else if intent.devices().iter().any(|device| addresses.contains(&device.address)) {
            let note = format!(
                "the next start binds it again, with {} in all: {} ends that",
                counted(intent.devices().len(), "function"),
                undo_of(number)
            );
            let width = ui.width();
            wrapped(ui.out(), &format!("{} ", paint(WARN, "note")), &note, width)?;
            view.notes.push(note);
        }
    }
    Ok(())
}

fn undo_of(number: u32) -> String {
    format!("`sudo cede undo {number}`")
}

/// The end of an operation that took the unit away.
///
/// # Errors
/// Those of the stream.
pub fn ended(operation: &Operation, applied: &Applied, ui: &mut Ui, view: &mut OperationView) -> Result<Exit, CommandError> {
    let intent = Intent { operation };
    let words = match intent.virtual_of() {
        Some((physical, _)) => format!("bind {} --vfs 0", physical.address),
        None => format!("release {}", intent.devices().iter().map(|one| one.address.to_string()).collect::<Vec<_>>().join(" ")),
    };
    let next = format!("sudo cede {words} gives them back now, where they are bound");
    view.applied(applied, &next);
    writeln!(ui.out(), "\n{} (operation {})\nNext: {next}", paint(GOOD, "bound at no start any more"), applied.number)?;
    Ok(Exit::Fine)
}

/// What the unit runs: binds what was meant, and nothing else.
///
/// # Errors
/// See the exit codes.
pub fn at_start(name: PciAddress, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let root = bind::open(global, "at-start")?;
    require_root()?;
    let _turn = take_turn(&root).map_err(|error| CommandError::new(Exit::Problems, error.to_string()))?;
    let list = operations(&Host::from_capture(observe::journal(&root)))?;
    let intent = persist::of(&list, name).ok_or_else(|| {
        CommandError::new(Exit::Refused, format!("no operation in force binds {name} at every start"))
            .hint("`cede log` lists what is in force")
    })?;
    if let Some(refusal) = when_drivers_came(&root, intent).first() {
        return Err(CommandError::new(Exit::Changed, format!("{}; nothing was bound", refusal.message)));
    }
    let now = NowArgs { wait: None, timeout: 60, dry_run: false };
    bind::at_start(intent, &now, &Global { yes: true, ..Global::at_the_host() }, ui)
}

/// Waits for the functions' own drivers, which come while the machine starts. What another function stands in the way of is told at once.
fn when_drivers_came(root: &Root, intent: Intent<'_>) -> Vec<cede_plan::Refusal> {
    let start = Instant::now();
    loop {
        let host = Host::from_capture(observe(root, Scope::Full));
        let moved = intent.moved(&host);
        if !moved.is_empty() || intent.awaited(&host).is_empty() || start.elapsed() > DRIVERS_COME {
            return moved;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
