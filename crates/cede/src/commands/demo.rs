//! `cede demo`: the whole road on the simulated host, by the code of the other commands.

use super::{apply, check, groups, status, undo, verify};
use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::plan::print_plan;
use crate::ui::{FAINT, GOOD, HEADING, Ui, paint};
use crate::view::operation::OperationView;
use cede_host::{Scope, SimHost, observe};
use cede_model::pci::PciAddress;
use cede_model::{Capture, Entry, Host, capture_text};
use cede_plan::journal::{self, Operation};
use cede_plan::{BindMethod, planner};

/// A laptop as the wikis describe it, invented for this.
const LAPTOP: &str = include_str!("../../../../fixtures/hosts/arch-gtx1650-laptop/host.capture");

/// Its graphics card.
const CARD: PciAddress = PciAddress { domain: 0, bus: 1, devfn: 0 };

/// Walks the road.
///
/// # Errors
/// Something on it did not come out as it must: a bug in cede.
pub fn run(ui: &mut Ui) -> Result<Exit, CommandError> {
    let capture = capture_text::parse(LAPTOP).map_err(|error| CommandError::new(Exit::Bug, format!("the built-in laptop: {error}")))?;
    let sim = SimHost::new(capture);
    let mut demo = Demo { before: persistent(&sim.snapshot()), sim, ui };
    let head = "A simulated laptop in memory: Arch Linux, GRUB, mkinitcpio, GeForce GTX 1650.\nNothing of this machine is touched.";
    writeln!(demo.ui.out(), "{}", paint(FAINT, head))?;
    demo.look()?;
    demo.change()?;
    demo.back()?;
    writeln!(demo.ui.out(), "\n{} every file of the laptop is byte for byte what it was", paint(GOOD, "Done:"))?;
    Ok(Exit::Fine)
}

struct Demo<'a> {
    sim: SimHost,
    before: Capture,
    ui: &'a mut Ui,
}

impl Demo<'_> {
    fn title(&mut self, command: &str) -> Result<(), CommandError> {
        Ok(writeln!(self.ui.out(), "\n{}", paint(HEADING, format_args!("laptop$ {command}")))?)
    }

    fn host(&self) -> Host {
        Host::from_capture(observe(&self.sim, Scope::Full))
    }

    fn look(&mut self) -> Result<(), CommandError> {
        let host = self.host();
        self.title("cede status")?;
        status::show(&host, &Global::at_the_host(), self.ui)?;
        self.title("cede check")?;
        expect(check::show(&host, &[], false, self.ui)?, Exit::Problems)?;
        self.title("cede groups 01:00.0")?;
        groups::show(&host, &[CARD], false, self.ui)
    }

    fn change(&mut self) -> Result<(), CommandError> {
        self.title("sudo cede apply 01:00.0 --yes")?;
        let plan = planner::plan(&self.host(), &[CARD], BindMethod::Cmdline);
        print_plan(self.ui, &plan, false)?;
        expect(apply::carry_out(&self.sim, &plan, self.ui, &mut OperationView::new("apply"))?, Exit::Reboot)?;
        self.reboot()?;
        self.title("cede verify")?;
        expect(verify::show(&self.host(), &Global::at_the_host(), self.ui)?, Exit::Fine)?;
        self.title("cede groups 01:00.0")?;
        groups::show(&self.host(), &[CARD], false, self.ui)
    }

    fn back(&mut self) -> Result<(), CommandError> {
        self.title("sudo cede undo --yes")?;
        let list = verify::operations(&self.host())?;
        let Some(operation) = list.iter().find(|operation| journal::in_force(&list, operation)) else { return Err(bug("nothing to undo")) };
        self.undo(&list, operation)?;
        self.reboot()?;
        self.title("cede verify")?;
        expect(verify::show(&self.host(), &Global::at_the_host(), self.ui)?, Exit::Fine)?;
        if persistent(&self.sim.snapshot()) == self.before { Ok(()) } else { Err(bug("a file differs after undo")) }
    }

    fn undo(&mut self, list: &[Operation], operation: &Operation) -> Result<(), CommandError> {
        let mut view = OperationView::new("undo");
        let plan = undo::propose(&self.sim, list, operation, self.ui, &mut view)?;
        expect(undo::carry_out(&self.sim, operation, &plan, self.ui, &mut view)?, Exit::Reboot)
    }

    fn reboot(&mut self) -> Result<(), CommandError> {
        self.title("sudo reboot")?;
        self.sim.reboot();
        Ok(writeln!(self.ui.out(), "{}", paint(FAINT, "(the simulated laptop starts anew: menu, image, kernel)"))?)
    }
}

/// The files that survive a reboot, without our own journal.
fn persistent(capture: &Capture) -> Capture {
    let mut kept = Capture::new();
    let survives = |path: &str| ["/etc/", "/boot/", "/usr/"].iter().any(|prefix| path.starts_with(prefix));
    kept.extend(
        capture
            .entries()
            .filter(|(path, entry)| survives(path) && matches!(entry, Entry::File(_)))
            .map(|(path, entry)| (path.to_owned(), entry.clone())),
    );
    kept
}

fn expect(got: Exit, wanted: Exit) -> Result<(), CommandError> {
    if got == wanted { Ok(()) } else { Err(bug(&format!("a step ended with {got:?} instead of {wanted:?}"))) }
}

fn bug(what: &str) -> CommandError {
    CommandError::new(Exit::Bug, format!("the demo went wrong: {what}"))
}
