//! Looks at a host beyond what is observed of every one: what expectations and operations speak of.

use crate::images;
use crate::machine::Machine;
use crate::observe::{Scope, observe};
use crate::read_host::{FILE_LIMIT, ReadHost};
use cede_model::{Capture, Host};
use cede_plan::journal::{Operation, Verb};
use cede_plan::plan::{Condition, Expectation, Step};
use cede_plan::trial;

/// A full look at the host with the images opened that the expectations speak of, and the files read that they name.
pub fn look(machine: &dyn Machine, expects: &[Expectation]) -> Host {
    let is_runtime = expects.iter().any(|expectation| matches!(expectation.what, Condition::Serves { .. }));
    let mut capture = observe(machine, if is_runtime { Scope::Runtime } else { Scope::Full });
    for expectation in expects {
        if let Condition::FileIs { path, .. } = &expectation.what {
            read_file(machine, &mut capture, path);
        }
    }
    open_images(machine, expects, &mut capture);
    Host::from_capture(capture)
}

/// Opens the images that the expectations speak of, as far as none has.
pub fn open_images<'a>(machine: &dyn Machine, expects: impl IntoIterator<Item = &'a Expectation>, capture: &mut Capture) {
    for image in expects.into_iter().filter_map(|expectation| expectation.what.image()) {
        if capture.get(&format!("{image}!")).is_none() {
            images::open(machine, image, capture);
        }
    }
}

/// A full look with every file that operations wrote, for planning an undo.
pub fn look_at_files(host: &dyn ReadHost, operations: &[Operation]) -> Host {
    let mut capture = observe(host, Scope::Full);
    for path in operations.iter().flat_map(|operation| &operation.plan.steps).filter_map(Step::path) {
        read_file(host, &mut capture, path);
    }
    for path in operations.iter().filter(|operation| operation.verb == Verb::Trial).flat_map(trial::made) {
        let entry = host.probe(&path);
        capture.insert(path, entry);
    }
    Host::from_capture(capture)
}

fn read_file(host: &dyn ReadHost, capture: &mut Capture, path: &str) {
    let entry = host.read(path, FILE_LIMIT);
    capture.insert(path, entry);
}
