//! The plan of a trial: images and an entry of our own, and the choice for one start.

use super::{IMAGE, SETTINGS, TrialWish, parameter, settings, units};
use crate::binding;
use crate::bootloader::TrialEntry;
use crate::digest::sha256;
use crate::initramfs::{Early, TrialImage};
use crate::intent::BindMethod;
use crate::iommu_cause;
use crate::journal;
use crate::plan::{Condition, Expectation, Plan, Refusal, Step};
use crate::planner::{self, Groundwork};
use cede_model::Host;
use cede_model::pci::PciAddress;

/// Makes the plan. As with [`planner::plan`], what stands in the way is in its `refused`, and then it has no steps.
pub fn plan(host: &Host, wanted: &[PciAddress], bind: BindMethod, wish: &TrialWish) -> Plan {
    let mut plan = Plan { bind, accepted: wish.accepted.clone(), ..Plan::default() };
    if let Err(refusals) = draft(host, wanted, wish, &mut plan) {
        plan.steps.clear();
        plan.expects.clear();
        plan.refused = refusals;
    }
    plan
}

fn draft(host: &Host, wanted: &[PciAddress], wish: &TrialWish, plan: &mut Plan) -> Result<(), Vec<Refusal>> {
    let ground = planner::groundwork(host, wanted, plan)?;
    let number = next_number(host).map_err(|refusal| vec![refusal])?;
    steps(host, &ground, number, wish, plan)?;
    plan.expects.push(Expectation::after_reboot(Condition::RunningWith { parameter: parameter(number) }));
    planner::expect_after_reboot(host, &ground.wish, plan);
    Ok(())
}

/// The number that the operation will have: the trial's command line bears it.
fn next_number(host: &Host) -> Result<u32, Refusal> {
    let refused = |why: String| Refusal::new("trial-journal", why);
    let operations = journal::operations(&host.capture).map_err(|error| refused(error.to_string()))?;
    if let Some(trial) = super::in_force(&operations) {
        return Err(refused(format!("operation {} is a trial already: `cede confirm` or `cede undo` ends it", trial.number)));
    }
    let last = operations.last().map_or(0, |operation| operation.number);
    last.checked_add(1).ok_or_else(|| refused(format!("{} has no number left: move its files away", journal::OPERATIONS)))
}

fn steps(host: &Host, ground: &Groundwork, number: u32, wish: &TrialWish, plan: &mut Plan) -> Result<(), Vec<Refusal>> {
    let (generator, loader) = planner::tools(host, &ground.wish)?;
    let modprobe = binding::modprobe_steps(host, &ground.natives, plan.bind, &ground.ids, &plan.devices)?;
    let units = units::units(host, number, wish)?;
    let entry = TrialEntry {
        title: super::title(number),
        words: [vec![parameter(number)], units.words, panic_word(host)].concat(),
        settings: !modprobe.is_empty(),
        by_hand: wish.by_hand,
    };
    let boot = loader.trial(host, &ground.wish, &entry)?;
    let path = |name: &str| format!("{}/{name}", boot.directory);
    if let Some(path) = [path(IMAGE), path(SETTINGS)].into_iter().find(|path| host.capture.is_there(path)) {
        return Err(
            Refusal::new("trial-file-there", format!("{path} is there already and is not from a trial in force: move it away")).into()
        );
    }
    let early = Early { files: Vec::new(), natives: ground.natives.modules.clone(), needs_shell: plan.bind == BindMethod::Override };
    let image = generator.trial(host, &early, &TrialImage { base: boot.base.clone(), path: path(IMAGE) })?;
    let archive = settings::archive(&modprobe, &boot.directory)?;
    plan.expects.extend(archive.iter().flat_map(|step| archived(step, &modprobe)).map(Expectation::now));
    plan.steps.extend(archive.into_iter().chain(image.files).chain(units.files).chain(image.tools));
    plan.steps.extend(std::iter::once(boot.entry).chain(boot.check).chain(boot.once));
    plan.notes.extend(image.notes);
    plan.notes.push(note(wish, number, loader.name()));
    plan.expects.extend(plan.steps.iter().filter_map(planner::file_condition).chain(image.proofs).map(Expectation::now));
    let paths: Vec<String> = boot.rests_on.iter().cloned().chain(image.rests_on).chain(planner::modprobe_paths(host)).collect();
    let unchanged = boot.rests_on.into_iter().filter(|path| !plan.steps.iter().any(|step| step.path() == Some(path)));
    let unchanged: Vec<Condition> =
        unchanged.filter_map(|path| Some(Condition::FileIs { sha256: Some(sha256(host.capture.file(&path)?)), path })).collect();
    plan.expects.extend(unchanged.into_iter().map(Expectation::now));
    let written = plan.steps.iter().filter_map(|step| step.path().map(str::to_owned));
    plan.rests_on = planner::rests_on(host, paths.into_iter().chain(written).collect());
    Ok(())
}

/// What the archive must hold.
fn archived(archive: &Step, modprobe: &[Step]) -> Vec<Condition> {
    let Some(image) = archive.path() else { return Vec::new() };
    let held = modprobe.iter().filter_map(|step| match step {
        Step::ReplaceFile { path, after: Some(after), .. } => {
            Some(Condition::ImageHasFile { image: image.to_owned(), path: path.clone(), sha256: sha256(after) })
        }
        _ => None,
    });
    held.collect()
}

/// A trial that panics starts the machine anew, after time enough to read why; initramfs-tools does the same where it finds no root file
/// system. Who has set it keeps it.
fn panic_word(host: &Host) -> Vec<String> {
    let set = iommu_cause::running_words(host).iter().any(|word| word.starts_with("panic="));
    if set { Vec::new() } else { vec!["panic=60".to_owned()] }
}

fn note(wish: &TrialWish, number: u32, loader: &str) -> String {
    if wish.by_hand {
        format!(
            "nothing chooses the trial: pick `{}` in the menu of {loader} at the next start; every other start is as before",
            super::title(number)
        )
    } else {
        "the next start is the trial, once; whatever becomes of it, the one after it is as before".to_owned()
    }
}
