//! `cede log`.

use super::print_json;
use super::verify::{boot_id, operations};
use crate::cli::Global;
use crate::error::CommandError;
use crate::exit_code::Exit;
use crate::render::table::{Table, wrapped};
use crate::source;
use crate::time::utc;
use crate::ui::{Ui, WARN, paint};
use crate::view::log::LogView;
use cede_host::Scope;
use cede_model::counted;
use cede_plan::Step;
use cede_plan::journal::{self, Operation, Verb, standing};

/// Lists what was done, oldest first.
///
/// # Errors
/// The journal cannot be read.
pub fn run(global: &Global, ui: &mut Ui) -> Result<Exit, CommandError> {
    let host = source::load(global, Scope::Full)?;
    let list = operations(&host)?;
    if global.json {
        print_json(ui, &LogView::new(&list, boot_id(&host)))?;
        return Ok(Exit::Fine);
    }
    if list.is_empty() {
        writeln!(ui.out(), "cede has changed nothing on this host yet")?;
        return Ok(Exit::Fine);
    }
    let mut table = Table::new(0, 4);
    for operation in &list {
        table.row([
            &operation.number.to_string(),
            &utc(operation.time),
            &verb(operation),
            standing(&list, operation, boot_id(&host)),
            &what(operation),
        ]);
    }
    let width = ui.width();
    table.print(ui.out(), width)?;
    for (files, who) in journal::missing(&list) {
        let what = format!("{files} missing: what {who} did is not known any more");
        wrapped(ui.out(), &format!("{} ", paint(WARN, "note")), &what, width)?;
    }
    for operation in list.iter().filter(|_| global.verbose) {
        writeln!(ui.out(), "\noperation {}", operation.number)?;
        crate::render::plan::print_steps(ui, &operation.plan.steps)?;
    }
    Ok(Exit::Fine)
}

fn verb(operation: &Operation) -> String {
    match operation.verb {
        Verb::Apply => "apply".to_owned(),
        Verb::Trial => "trial".to_owned(),
        Verb::Undo(number) => format!("undo {number}"),
        Verb::Redo(number) => format!("redo {number}"),
        Verb::Bind => "bind".to_owned(),
        Verb::Hook => "hook".to_owned(),
        Verb::Release => "release".to_owned(),
        Verb::Persist => "persist".to_owned(),
    }
}

fn what(operation: &Operation) -> String {
    let devices: Vec<String> = operation.plan.devices.iter().map(|device| device.address.to_string()).collect();
    if operation.plan.is_runtime() {
        return devices.join(" ");
    }
    let files = operation.plan.steps.iter().filter_map(Step::path).count();
    format!("{} · {}", devices.join(" "), counted(files, "file"))
}
