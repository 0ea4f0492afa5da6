//! Room on the file systems that an operation writes to, looked at before anything is written.

use crate::machine::{Machine, Space};
use cede_model::Entry;
use cede_plan::journal;
use cede_plan::plan::{Plan, Step};

/// Room beyond what is counted: directories, journal lines, a menu that grows.
const MARGIN: u64 = 1 << 20;

/// What an image may grow by: the vfio modules and what they bring along.
const GROWTH: u64 = 4 << 20;

/// What an image takes where there is none to compare it with.
const NEW_IMAGE: u64 = 64 << 20;

/// What is written somewhere below a path.
struct Need {
    path: String,
    bytes: u64,
}

/// Fails where a file system has less room than the operation may need.
///
/// # Errors
/// Which, how much is needed, how much there is, and what to do.
pub(crate) fn check(machine: &dyn Machine, plan: &Plan) -> Result<(), String> {
    let mut places: Vec<(Space, u64)> = Vec::new();
    for need in needs(machine, plan) {
        let Some(space) = machine.space(&need.path) else { continue };
        match places.iter_mut().find(|(other, _)| other.device == space.device) {
            Some((_, bytes)) => *bytes = bytes.saturating_add(need.bytes),
            None => places.push((space, need.bytes.saturating_add(MARGIN))),
        }
    }
    match places.iter().find(|(space, bytes)| space.free < *bytes) {
        None => Ok(()),
        Some((space, bytes)) => Err(format!(
            "{} has too little room: {} free, up to {} needed while files and images are replaced; remove what is not needed there, as old kernels and their images, then run this again",
            space.mounted_at,
            mebibytes(space.free, false),
            mebibytes(*bytes, true)
        )),
    }
}

fn needs(machine: &dyn Machine, plan: &Plan) -> Vec<Need> {
    let files = plan.steps.iter().filter_map(|step| match step {
        Step::ReplaceFile { path, after: Some(after), .. } => Some(Need { path: path.clone(), bytes: size(after.len()) }),
        _ => None,
    });
    let begin = journal::line(&journal::begin(journal::Verb::Apply, 0, None, plan));
    let mut needs: Vec<Need> = files.chain([Need { path: journal::OPERATIONS.to_owned(), bytes: size(begin.len()) }]).collect();
    if !machine.runs_tools() || !plan.steps.iter().any(|step| step.path().is_none()) {
        return needs;
    }
    let images: Vec<(String, Option<u64>)> =
        journal::generated(plan).into_iter().map(|path| (path.clone(), image_size(machine, &path))).collect();
    let present = || images.iter().filter_map(|(path, bytes)| Some((path, (*bytes)?)));
    needs.push(Need { path: journal::KEPT.to_owned(), bytes: present().map(|(_, bytes)| bytes).sum() });
    let largest = present().max_by_key(|(_, bytes)| *bytes);
    // A generator, and the roll-back, write one beside the old one.
    needs.extend(largest.map(|(path, bytes)| Need { path: path.clone(), bytes: bytes.saturating_add(spare(plan, bytes)) }));
    let new = largest.map_or(NEW_IMAGE, |(_, bytes)| bytes);
    needs.extend(
        images
            .iter()
            .map(|(path, bytes)| Need { path: path.clone(), bytes: if bytes.is_some() { GROWTH } else { new.saturating_add(GROWTH) } }),
    );
    needs
}

/// What must be free beyond the size of an image, that its generator writes beside it: mkinitcpio, where it is run as it is, writes over it where a
/// quarter more is not (mkinitcpio 32 to 41, `build_image`).
fn spare(plan: &Plan, image: u64) -> u64 {
    let is_mkinitcpio = |argv: &[String]| argv.first().is_some_and(|tool| tool.ends_with("/mkinitcpio"));
    if plan.steps.iter().filter_map(Step::argv).any(is_mkinitcpio) { image / 4 } else { 0 }
}

/// The size of an image that is there.
fn image_size(machine: &dyn Machine, path: &str) -> Option<u64> {
    match machine.probe(path) {
        Entry::Present(size) => Some(size),
        _ => None,
    }
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn mebibytes(bytes: u64, up: bool) -> String {
    format!("{} MiB", if up { bytes.div_ceil(1 << 20) } else { bytes >> 20 })
}
