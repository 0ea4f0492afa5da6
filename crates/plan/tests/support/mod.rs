//! Hosts to plan on, made fact by fact.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy's exemption of tests does not reach what stands beside the tests here")]

pub mod machine;
pub mod pci;
pub mod shell;
pub mod stack;

use cede_model::pci::PciAddress;
use cede_model::{Capture, Entry, Host};
use cede_plan::intent::BindMethod;
use cede_plan::plan::{Plan, Step};
use cede_plan::planner::plan;

pub fn at(text: &str) -> PciAddress {
    text.parse().unwrap()
}

/// Plans for the functions at these addresses.
pub fn plan_on(capture: &Capture, addresses: &[&str], bind: BindMethod) -> Plan {
    let addresses: Vec<PciAddress> = addresses.iter().map(|text| at(text)).collect();
    plan(&Host::from_capture(capture.clone()), &addresses, bind)
}

/// The plan's file steps carried out on the capture; each must find what it expects.
pub fn applied(capture: &Capture, steps: &[Step]) -> Capture {
    let mut capture = capture.clone();
    for step in steps {
        let Step::ReplaceFile { path, before, after } = step else { continue };
        assert_eq!(capture.file(path), before.as_deref(), "{path} is not as the step expects");
        match after {
            Some(bytes) => capture.insert(path.clone(), Entry::File(bytes.clone())),
            None => capture.insert(path.clone(), Entry::Absent),
        }
    }
    capture
}

/// The ids of the refusals.
pub fn refused(plan: &Plan) -> Vec<&'static str> {
    plan.refused.iter().map(|refusal| refusal.id).collect()
}

/// Every refusal must name an object and end in something to do.
pub fn assert_tells_what_to_do(plan: &Plan) {
    const DOING: [&str; 20] = [
        "`",
        "switch ",
        "remove ",
        "use ",
        "give ",
        "name ",
        "look for ",
        "choose ",
        "add ",
        "write ",
        "move ",
        "run ",
        "set ",
        "take ",
        "correct ",
        "restore",
        "install ",
        "rename ",
        "edit ",
        "convert ",
    ];
    for refusal in &plan.refused {
        let tail = refusal.message.rsplit([':', ';']).next().unwrap_or_default();
        assert!(DOING.iter().any(|word| tail.contains(word)), "{}: nothing to do in {:?}", refusal.id, refusal.message);
    }
}

/// The files that a plan writes.
pub fn paths(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().filter_map(Step::path).collect()
}

/// What a plan makes of a file.
pub fn after<'a>(plan: &'a Plan, wanted: &str) -> &'a [u8] {
    let found = plan.steps.iter().find_map(|step| match step {
        Step::ReplaceFile { path, after: Some(after), .. } if path == wanted => Some(after.as_slice()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{wanted} is not written: {:?} {:?}", paths(plan), plan.refused))
}
