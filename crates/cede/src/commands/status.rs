//! `cede status`: one screen.

use super::print_json;
use super::verify::{self, judge};
use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::table::{Table, counted, wrapped};
use crate::source;
use crate::ui::{BAD, GOOD, HEADING, Ui, WARN, paint};
use crate::view::device_name::describe;
use crate::view::groups::state_name;
use crate::view::status::{StatusView, TrialView};
use cede_host::Scope;
use cede_model::Host;
use cede_model::iommu::IommuState;
use cede_model::pci::{PciAddress, PciClass, PciDevice, PciNames};
use cede_plan::bootloader::{self, Named};
use cede_plan::guard::Stakes;
use cede_plan::journal::{self, JournalError, Operation, Verb};
use cede_plan::planner::off_for_good;
use cede_plan::trial::{self, State};
use cede_plan::{checks, group_choice, initramfs, persist, runtime, whereabouts};
use std::collections::HashMap;
use std::io::Write;

/// Shows how the host stands and what to type next.
///
/// # Errors
/// The host cannot be read.
pub fn run(global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let host = source::load(global, Scope::Full)?;
    source::require_functions(&host)?;
    show(&host, global, ui)
}

/// Shows how a host stands.
///
/// # Errors
/// Those of the stream.
pub fn show(host: &Host, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    // The journal may be closed to us, or damaged; the rest of the screen does not need it.
    let operations = journal::operations(&host.capture);
    if global.json {
        // The same answer wherever the host was read from.
        print_json(ui, &Facts::new(host, &operations, &Global::at_the_host()).view())?;
    } else {
        Facts::new(host, &operations, global).print(ui)?;
    }
    Ok(Exit::Fine)
}

/// What is said of a part that was not recognised.
const NOT_KNOWN: &str = "not known";

/// How a host stands.
pub struct Facts<'a> {
    host: &'a Host,
    loader: Option<Named>,
    generator: Option<Named>,
    ceded: Vec<&'a PciDevice>,
    candidates: Vec<&'a PciDevice>,
    displaced: Vec<String>,
    held: Vec<String>,
    at_start: Vec<String>,
    pending: bool,
    /// Functions that are ceded from the next start on.
    going: Vec<PciAddress>,
    /// The start that is still to come would not be as planned.
    is_unready: bool,
    journal_trouble: Option<String>,
    open: Option<u32>,
    trial: Option<(&'a Operation, State)>,
    /// What lists every function.
    all: String,
    /// What to type next.
    pub next: String,
}

impl<'a> Facts<'a> {
    /// Those of a host with a journal.
    pub fn new(host: &'a Host, journal: &'a Result<Vec<Operation>, JournalError>, global: &Global) -> Self {
        let operations = journal.as_deref().unwrap_or_default();
        let journal_trouble = journal.as_ref().err().map(ToString::to_string);
        let ceded: Vec<&PciDevice> = host.devices.iter().filter(|device| device.is_on_vfio()).collect();
        let waiting = verify::waiting(host, operations);
        let adding = waiting.iter().filter(|operation| operation.verb.adds() && operation.verb != Verb::Trial);
        let going: Vec<PciAddress> = adding.flat_map(|operation| &operation.plan.devices).map(|device| device.address).collect();
        let candidates: Vec<&PciDevice> = candidates(host).into_iter().filter(|device| !going.contains(&device.address)).collect();
        let boot_id = verify::boot_id(host);
        let held: Vec<String> = runtime::held(operations, boot_id).iter().map(|held| held.device.address.to_string()).collect();
        let pending = !waiting.is_empty();
        let is_unready = waiting.iter().any(|operation| verify::is_unready(host, operation));
        let at_start: Vec<String> =
            persist::intents(operations).flat_map(|intent| intent.rests_on()).map(|device| device.address.to_string()).collect();
        let in_force = operations.iter().any(|one| journal::is_for_a_start(operations, one) && journal::in_force(operations, one));
        let verified = (in_force || !at_start.is_empty()) && judge(host, operations).passed();
        let trial = trial::in_force(operations).map(|operation| (operation, trial::state(host, operation)));
        let next = match (journal::interrupted(operations, boot_id), pending, in_force, candidates.first()) {
            _ if journal_trouble.is_some() => global.command("log", true),
            (Some(_), _, _, _) => global.command("recover", true),
            (None, _, _, _) if trial::half_confirmed(operations).is_some() => global.command("recover", true),
            (None, _, _, _) if let Some((trial, state)) = trial => for_trial(trial, state, verified, global),
            (_, true, _, _) if is_unready => global.command("verify", true),
            (_, true, _, _) => "reboot, then `sudo cede verify`".to_owned(),
            _ if (in_force || !at_start.is_empty()) && !verified => global.command("verify", true),
            (_, _, false, _) if !held.is_empty() => {
                format!("give it to a guest; `{}` takes it back", global.command(&format!("release {}", held.join(" ")), true))
            }
            (_, _, true, _) => format!("give the ceded devices to a guest; `{}` takes them back", global.command("undo", true)),
            (_, _, _, Some(device)) => global.command(&format!("plan {}", device.address), false),
            _ => global.command("check", false),
        };
        let open = journal::interrupted(operations, boot_id).map(|operation| operation.number);
        let (loader, generator) = (bootloader::named(host), initramfs::named(host));
        let displaced = whereabouts::troubles(host, operations);
        Self {
            host,
            loader,
            generator,
            ceded,
            candidates,
            displaced,
            held,
            at_start,
            pending,
            going,
            is_unready,
            journal_trouble,
            open,
            trial,
            all: global.command("devices", false),
            next,
        }
    }

    /// What starts the machine, in words.
    pub fn boot(&self) -> String {
        let of = |what: &str, by: &str, named: Option<Named>| match named {
            None => format!("{what} {NOT_KNOWN}"),
            Some(Named { name, supported: true }) => format!("{by}{name}"),
            Some(Named { name, supported: false }) => format!("{by}{name} (not changed by cede)"),
        };
        format!("{}, {}", of("boot loader", "", self.loader), of("initramfs generator", "initramfs by ", self.generator))
    }

    fn view(&self) -> StatusView {
        let name = |named: Option<Named>| named.map_or(NOT_KNOWN, |named| named.name).to_owned();
        let list = |devices: &[&PciDevice]| devices.iter().map(|device| device.address.to_string()).collect();
        StatusView {
            format: "cede.status/1",
            iommu: state_name(self.host.iommu),
            kernel: self.host.running.clone(),
            boot_loader: name(self.loader),
            initramfs: name(self.generator),
            ceded: list(&self.ceded),
            displaced: self.displaced.clone(),
            until_reboot: self.held.clone(),
            at_every_start: self.at_start.clone(),
            candidates: list(&self.candidates),
            reboot_pending: self.pending,
            trial: self.trial.map(|(trial, state)| TrialView { operation: trial.number, state: state.name() }),
            next: self.next.clone(),
        }
    }

    fn print(&self, ui: &mut Ui) -> Result<(), CommandError> {
        let width = ui.width();
        let names = PciNames::of_devices(&self.host.capture, &self.host.devices);
        let out = ui.out();
        let head = |name: &str| paint(HEADING, format_args!("{name:<10}"));
        if let Some(number) = self.open {
            writeln!(
                out,
                "{}{}",
                head("Attention"),
                paint(BAD, format_args!("operation {number} is neither done nor taken back: do not reboot"))
            )?;
        }
        if self.is_unready {
            let what = "what was made for the next start is not as planned any more";
            wrapped(out, &paint(BAD, format_args!("{:<10}", "Attention")), what, width)?;
        }
        for trouble in &self.displaced {
            wrapped(out, &paint(BAD, format_args!("{:<10}", "Attention")), trouble, width)?;
        }
        if let Some((trial, state)) = self.trial {
            let verdict = if state == State::Over { paint(WARN, "did not hold: ") } else { String::new() };
            wrapped(out, &format!("{}operation {} {verdict}", head("Trial"), trial.number), &standing(self.host, trial, state), width)?;
        }
        let (state, why) = iommu(self.host);
        wrapped(out, &format!("{}{state} ", head("IOMMU")), &why, width)?;
        let system = self.host.os.name.clone().unwrap_or_else(|| "system not known".to_owned());
        wrapped(out, &head("System"), &format!("{system}, kernel {}", self.host.running.as_deref().unwrap_or(NOT_KNOWN)), width)?;
        wrapped(out, &head("Boot"), &self.boot(), width)?;
        let ceded = match (self.ceded.is_empty(), self.pending) {
            (true, true) => paint(WARN, "nothing yet: a change waits for the reboot"),
            (true, false) => "nothing".to_owned(),
            (false, _) => paint(GOOD, format_args!("{} on vfio-pci", counted(self.ceded.len(), "device"))),
        };
        writeln!(out, "{}{ceded}", head("Ceded"))?;
        if !self.going.is_empty() {
            let list: Vec<String> = self.going.iter().map(ToString::to_string).collect();
            wrapped(out, "          ", &format!("from the next start on: {}", list.join(", ")), width)?;
        }
        if !self.held.is_empty() {
            wrapped(out, "          ", &format!("until the reboot: {}", self.held.join(", ")), width)?;
        }
        if !self.at_start.is_empty() {
            wrapped(out, "          ", &format!("by `bind --persist` at every start: {}", self.at_start.join(", ")), width)?;
        }
        self.list(&self.ceded, &names, out, width)?;
        match (off_for_good(self.host), self.candidates.is_empty()) {
            (Some(_), _) => writeln!(out, "{}nothing as long as the IOMMU is off", head("Can go"))?,
            (None, true) if self.pending => writeln!(out, "{}nothing more", head("Can go"))?,
            (None, true) => writeln!(out, "{}no display, network, NVMe or USB device that the host can spare", head("Can go"))?,
            (None, false) => writeln!(out, "{}", paint(HEADING, "Can go"))?,
        }
        self.list(&self.candidates, &names, out, width)?;
        if let Some(trouble) = &self.journal_trouble {
            wrapped(out, &head("Journal"), trouble, width)?;
        }
        writeln!(out, "\nNext: {}", self.next)?;
        Ok(())
    }

    /// The first of a list, so that the whole stays on one screen.
    fn list(&self, list: &[&PciDevice], names: &PciNames, out: &mut dyn Write, width: Option<usize>) -> std::io::Result<()> {
        let (shown, more) = list.split_at(list.len().min(ROWS));
        let mut table = Table::new(2, 2);
        for device in shown {
            let id = device.id.map(|id| id.to_string()).unwrap_or_default();
            table.row([&device.address.to_string(), &id, &describe(device, names), device.driver_name().unwrap_or("-")]);
        }
        table.print(out, width)?;
        if more.is_empty() { Ok(()) } else { writeln!(out, "  and {} more: `{}`", more.len(), self.all) }
    }
}

/// Functions of a list that are shown.
const ROWS: usize = 16;

/// What to type while a trial is in force.
fn for_trial(trial: &Operation, state: State, verified: bool, global: &Global) -> String {
    match (state, verified) {
        (State::Pending, _) if trial::is_by_hand(&trial.plan) => {
            format!("reboot, pick `{}` in the menu, then `sudo cede verify`", trial::title(trial.number))
        }
        (State::Pending, _) => "reboot, then `sudo cede verify`".to_owned(),
        (State::Running, true) => global.command("confirm", true),
        (State::Running, false) | (State::Unknown, _) => global.command("verify", true),
        (State::Over, _) => global.command("undo", true),
    }
}

fn standing(host: &Host, trial: &Operation, state: State) -> String {
    match state {
        State::Pending if trial::is_by_hand(&trial.plan) => {
            format!("nothing chooses it: it waits to be picked as `{}` in the boot menu", trial::title(trial.number))
        }
        State::Pending => "waits for the next start".to_owned(),
        State::Running => "is this start: any other one is by the default entry, as before".to_owned(),
        State::Over => {
            format!("this start is by another entry, with nothing changed; {}", trial::why_over(host, trial))
        }
        State::Unknown => "is in force; which entry started this system cannot be told here".to_owned(),
    }
}

fn iommu(host: &Host) -> (String, String) {
    match host.iommu {
        IommuState::On => (paint(GOOD, "on:"), counted(host.groups.len(), "group")),
        IommuState::Unknown => (paint(WARN, "cannot be told:"), "/sys was not seen".to_owned()),
        IommuState::Off => {
            let finding = checks::iommu::check(host, &[]).into_iter().next();
            let why = finding.map(|finding| finding.summary.replace("the IOMMU is off", "").trim_start_matches(':').trim().to_owned());
            (paint(BAD, "off:"), why.unwrap_or_default())
        }
    }
}

/// How many are shown.
const SHOWN: usize = 8;

/// Kinds of devices that people give away, of which the host would lose nothing vital: one function for each slot, displays first.
fn candidates(host: &Host) -> Vec<&PciDevice> {
    if off_for_good(host).is_some() {
        return Vec::new();
    }
    let wanted = |device: &&PciDevice| {
        device.class.is_some_and(|class| matches!(class.base(), 0x03) || matches!(class.base_and_sub(), 0x0200 | 0x0280 | 0x0108 | 0x0c03))
    };
    let kind = |device: &PciDevice| device.class.map(PciClass::base_and_sub);
    let mut of_kind: HashMap<Option<u16>, usize> = HashMap::new();
    for device in &host.devices {
        *of_kind.entry(kind(device)).or_default() += 1;
    }
    // The only USB controller has the keyboard, the only network card may carry this session.
    let not_last = |device: &&PciDevice| device.is_display() || of_kind.get(&kind(device)).is_some_and(|count| *count > 1);
    let (chooser, stakes) = (group_choice::Chooser::new(host, group_choice::From::Start), Stakes::new(host));
    let spare = |device: &PciDevice| {
        device.boot_vga != Some(true)
            && !device.is_on_vfio()
            && chooser.choose(&[device.address]).is_ok_and(|choice| stakes.losses(&choice.ceded).is_empty())
    };
    let (displays, others): (Vec<&PciDevice>, Vec<&PciDevice>) =
        host.devices.iter().filter(wanted).filter(not_last).partition(|device| device.is_display());
    let mut list: Vec<&PciDevice> = Vec::new();
    for device in displays.into_iter().chain(others) {
        if list.len() < SHOWN && !list.iter().any(|shown| shown.address.same_slot(device.address)) && spare(device) {
            list.push(device);
        }
    }
    list
}
