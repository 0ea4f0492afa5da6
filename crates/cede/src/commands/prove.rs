//! `cede prove`.

use super::print_json;
use crate::cli::{Global, ProveArgs};
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render;
use crate::render::table::wrapped;
use crate::source;
use crate::ui::{BAD, Ui, WARN, paint};
use crate::view::prove::ProveView;
use cede_host::vfio::{self, Event};
use cede_host::{Root, Scope};
use cede_model::Host;
use cede_plan::Refusal;
use cede_plan::prove::{Depth, Facts, Interface, Report, Wish, judge, wish};
use std::time::Duration;

/// Proves that a guest could have the devices.
///
/// # Errors
/// The host cannot be read, or is not this one.
pub fn run(arguments: &ProveArgs, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    if global.host.is_some() || global.root.is_some() {
        return Err(CommandError::usage("only devices of the running host can be proved").hint("run it there: `sudo cede prove ADDR`"));
    }
    let host = source::load(global, Scope::Full)?;
    source::require_functions(&host)?;
    let depth = Depth::from(arguments.depth);
    match wish(&host, &arguments.addresses, depth, arguments.interface.map(Interface::from)) {
        Ok(wish) => prove(&host, &wish, Duration::from_secs(arguments.seconds), global, ui),
        Err(refusals) => refuse(depth, &refusals, global, ui),
    }
}

fn refuse(depth: Depth, refusals: &[Refusal], global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    if global.json {
        print_json(ui, &ProveView::refused(depth.name(), refusals))?;
        return Ok(Exit::Refused);
    }
    let width = ui.width();
    for refusal in refusals {
        wrapped(ui.err(), &format!("{} ", paint(BAD, "refused:")), &refusal.message, width)?;
    }
    Ok(Exit::Refused)
}

fn prove(host: &Host, wish: &Wish, limit: Duration, global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    announce(wish, ui)?;
    let root = source::open_root(global)?;
    let mut unsaid = Ok(());
    let records = vfio::prove(Root::open("/").map_err(|error| CommandError::unreadable(error.to_string()))?, wish, limit, &mut |event| {
        if let Event::Begins(step, subject) = event
            && global.verbose
            && unsaid.is_ok()
        {
            unsaid = writeln!(ui.err(), "{}: {}", subject, step.call());
        }
    });
    unsaid?;
    let around = vfio::surroundings(&root, wish);
    let report: Report = judge(wish, &records, Facts { host, around: &around });
    if global.json {
        print_json(ui, &ProveView::new(&report))?;
    } else {
        render::prove::print(ui, &report, global)?;
    }
    Ok(if report.passed() { Exit::Fine } else { Exit::Problems })
}

/// What is done to the devices is said before it is done.
fn announce(wish: &Wish, ui: &mut Ui) -> Result<(), CommandError> {
    let width = ui.width();
    let names: Vec<String> = wish.targets.iter().map(|target| target.address.to_string()).collect();
    let head = format!("{} {}: ", paint(WARN, "depth"), wish.depth.name());
    Ok(wrapped(ui.err(), &head, &format!("{}: {}", names.join(" "), wish.depth.touches()), width)?)
}
