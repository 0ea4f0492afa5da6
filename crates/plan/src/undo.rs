//! Undo is the next operation: a plan made from what the journal says that we did, and from the host as it is now.
//!
//! Exactly what we added goes. Where nothing else of ours stays on the host, every file becomes what others would have made of it without us;
//! else one operation is taken out, and what later ones need is planned anew on top.

mod apart;
mod copies;
mod history;

use crate::boot_images;
use crate::bootloader;
use crate::digest::sha256;
use crate::guard::{self, Loss};
use crate::initramfs::{self, Early};
use crate::intent::Identity;
use crate::journal::{self, Operation};
use crate::merge::Clash;
use crate::parameter;
use crate::plan::{Condition, Expectation, Plan, Refusal, RestsOn, Step, When};
use crate::planner;
use crate::verify::carries;
use cede_model::pci::PciAddress;
use cede_model::{Capture, Entry, Host};

/// A file that someone else changed where we changed it: three versions, and nothing is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The file.
    pub path: String,
    /// Without our change.
    pub before: Option<Vec<u8>>,
    /// As we left it.
    pub ours: Option<Vec<u8>>,
    /// As it is now.
    pub now: Option<Vec<u8>>,
    /// The lines of it, where they can be named.
    pub clash: Option<Clash>,
    /// What else is in the way of it.
    pub trouble: Option<String>,
}

/// Why an operation cannot be taken back. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CannotUndo {
    /// Files that someone else changed where we did.
    Conflicts(Vec<Conflict>),
    /// A later operation rests on this one, and what it needs cannot be planned anew.
    Needed {
        /// The later operation.
        by: u32,
        /// Why it cannot be planned.
        why: Vec<Refusal>,
    },
}

/// What undoing starts from.
struct Undo<'a> {
    host: &'a Host,
    operation: &'a Operation,
    /// Operations that are taken out together: this one, or all that were carried out since nothing of ours was there.
    out: Vec<&'a Operation>,
    /// Operations that stay in force.
    rest: Vec<&'a Operation>,
}

/// A file, and what is to be in it.
struct Target {
    path: String,
    now: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

/// The plan that takes an operation back. The host's capture must hold every file that the operations wrote.
///
/// # Errors
/// Files that someone else changed where we did, or that cannot be read; a later operation that needs what this one wrote.
pub fn undo(host: &Host, operations: &[Operation], operation: &Operation) -> Result<Plan, CannotUndo> {
    if operation.verb.is_apart() {
        return apart::undo(host, operation).map_err(CannotUndo::Conflicts);
    }
    let missing = journal::missing(operations).into_iter().map(|(files, who)| {
        format!("{files} missing: what {who} wrote counts as somebody else's, and stays; bring that back first, if you have it")
    });
    // A trial has files of its own, and is taken back apart.
    let operations = &journal::lasting(operations);
    let rest: Vec<&Operation> =
        operations.iter().filter(|other| other.number != operation.number && journal::in_force(operations, other)).collect();
    let out = if rest.is_empty() { history::since_nothing(operations) } else { vec![operation] };
    let undo = Undo { host, operation, out, rest };
    let mut targets = undo.targets().map_err(CannotUndo::Conflicts)?;
    let mut plan = Plan { devices: operation.plan.devices.clone(), bind: operation.plan.bind, ..Plan::default() };
    plan.notes.extend(missing);
    let mut tools = undo.tools();
    undo.plan_again(&mut targets, &mut tools, &mut plan)?;
    tools.sort_by_key(|step| (makes_menu(step), step.argv().is_none()));
    plan.notes
        .extend(targets.iter().filter(|target| target.now.is_none() && target.after.is_none()).filter_map(|target| undo.note(target)));
    let after = Host::from_capture(undo.with(&targets));
    plan.notes.extend(undo.told_still(&after));
    let steps = targets.iter().filter(|target| target.now != target.after);
    plan.steps.extend(steps.map(|target| Step::ReplaceFile {
        path: target.path.clone(),
        before: target.now.clone(),
        after: target.after.clone(),
    }));
    plan.rests_on = plan.steps.iter().filter_map(Step::path).map(|path| undo.rests_on(path)).collect();
    // Also where the files are back already: images and menu may still hold what they said.
    plan.steps.extend(tools);
    undo.expect(&targets, &after, &mut plan);
    Ok(plan)
}

/// The menu names the images, so it is made after them; what copies them comes between.
fn makes_menu(step: &Step) -> bool {
    step.argv().and_then(<[String]>::first).is_some_and(|tool| tool.contains("grub"))
}

impl Undo<'_> {
    /// The tools of every operation that is taken out, each once, and the copies of images that the boot loader starts now.
    fn tools(&self) -> Vec<Step> {
        let mut list: Vec<Step> = Vec::new();
        for step in self.out.iter().flat_map(|operation| &operation.plan.steps).filter(|step| step.argv().is_some()) {
            if !list.contains(step) {
                list.push(step.clone());
            }
        }
        if list.iter().any(|step| !makes_menu(step)) {
            list.extend(self.image_copies());
        }
        list
    }

    /// Kernels may have come and gone since, and their copies with them.
    fn image_copies(&self) -> Vec<Step> {
        let proofs = self.image_proofs();
        let name = initramfs::find(self.host).map_or("", |generator| generator.name());
        let entries = bootloader::find_changed(self.host).map(|loader| loader.entries(self.host)).unwrap_or_default();
        let of_operations = || {
            let steps = self.out.iter().flat_map(|operation| &operation.plan.steps);
            let there = |path: &str| self.host.capture.is_there(path);
            steps.filter(|step| matches!(step, Step::CopyImage { from, to } if there(from) && there(to))).cloned().collect()
        };
        boot_images::copies(self.host, &entries, &proofs, name).map_or_else(|_| of_operations(), |copies| copies.steps)
    }

    /// What could be proved of the images of this host.
    fn image_proofs(&self) -> Vec<Condition> {
        let change = initramfs::find(self.host).and_then(|generator| generator.change(self.host, &Early::default()));
        change.map(|change| change.proofs).unwrap_or_default()
    }

    /// What the operations that are taken out wanted to hold before the reboot.
    fn wanted(&self) -> impl Iterator<Item = &Condition> {
        let adding = self.out.iter().filter(|operation| operation.verb.adds());
        adding.flat_map(|operation| &operation.plan.expects).filter(|expectation| expectation.when == When::Now).map(|e| &e.what)
    }

    /// Every file and what is left of it.
    fn targets(&self) -> Result<Vec<Target>, Vec<Conflict>> {
        let mut conflicts = Vec::new();
        let mut targets = Vec::new();
        for path in history::paths(&self.out) {
            match self.target(path) {
                Ok(target) => targets.push(target),
                Err(conflict) => conflicts.push(*conflict),
            }
        }
        // Last first: what a later one wrote goes by what it found.
        for operation in self.out.iter().rev().filter(|operation| operation.verb.adds()) {
            for path in copies::unknown_to(self.host, operation) {
                if let Err(conflict) = self.take_from_copy(operation, &path, &mut targets) {
                    conflicts.push(*conflict);
                }
            }
        }
        if conflicts.is_empty() { Ok(targets) } else { Err(conflicts) }
    }

    fn target(&self, path: &str) -> Result<Target, Box<Conflict>> {
        let changes = history::changes(&self.out, path);
        let now = self.host.capture.file(path).map(<[u8]>::to_vec);
        let ours = changes.last().and_then(|change| change.after).map(<[u8]>::to_vec);
        let conflict = |before, clash, trouble: Option<String>| {
            Box::new(Conflict { path: path.to_owned(), before, ours: ours.clone(), now: now.clone(), clash, trouble })
        };
        match self.host.capture.get(path) {
            Some(Entry::Unreadable(why)) => return Err(conflict(None, None, Some(format!("it cannot be read ({why})")))),
            Some(Entry::Dir) => return Err(conflict(None, None, Some("it is a directory now".to_owned()))),
            _ => {}
        }
        match history::without(path, &changes, now.as_deref()) {
            Ok(after) => Ok(Target { path: path.to_owned(), now, after }),
            Err(history::NotCarried { clean, clash }) => Err(conflict(clean, Some(clash), None)),
        }
    }

    /// A boot entry that was made from our command line.
    fn take_from_copy(&self, operation: &Operation, path: &str, targets: &mut Vec<Target>) -> Result<(), Box<Conflict>> {
        let at = targets.iter().position(|target| target.path == path);
        let now = self.host.capture.file(path).map(<[u8]>::to_vec);
        let present = at.and_then(|at| targets.get(at)).map_or_else(|| now.clone(), |target| target.after.clone());
        let Some(present) = present else { return Ok(()) };
        let after = copies::without(operation, &present).map_err(|clash| {
            let trouble = Some("it was made from a command line that cede changed".to_owned());
            Box::new(Conflict { path: path.to_owned(), before: None, ours: None, now: now.clone(), clash: Some(clash), trouble })
        })?;
        match at.and_then(|at| targets.get_mut(at)) {
            Some(target) => target.after = Some(after),
            None if after != present => targets.push(Target { path: path.to_owned(), now, after: Some(after) }),
            None => {}
        }
        Ok(())
    }

    /// What later operations need and this one wrote is planned anew over the files without it.
    fn plan_again(&self, targets: &mut Vec<Target>, tools: &mut Vec<Step>, plan: &mut Plan) -> Result<(), CannotUndo> {
        for later in self.rest.iter().filter(|other| other.number > self.operation.number) {
            let addresses: Vec<PciAddress> = later.plan.devices.iter().map(|device| device.address).collect();
            // It is in force, and taking another one out of the way loses nothing more, but perhaps less under another name.
            let again = planner::plan_accepting(&Host::from_capture(self.with(targets)), &addresses, later.plan.bind, &Loss::ALL);
            if !again.refused.is_empty() {
                return Err(CannotUndo::Needed { by: later.number, why: again.refused });
            }
            // Its images are proved too, so they are made anew whatever else was done to its files.
            let own = later.plan.steps.iter().filter(|step| step.path().is_none()).cloned();
            for step in again.steps.into_iter().chain(own) {
                match step {
                    Step::ReplaceFile { path, after, .. } => self.set(targets, path, after),
                    tool @ (Step::RunTool { .. } | Step::CopyImage { .. }) => {
                        if !tools.contains(&tool) {
                            tools.push(tool);
                        }
                    }
                    Step::RemoveImage { .. } | Step::WriteAttribute { .. } => {}
                }
            }
            let holds = |expectation: &Expectation| expectation.when == When::Now && !matches!(expectation.what, Condition::FileIs { .. });
            plan.expects.extend(again.expects.into_iter().filter(holds));
        }
        Ok(())
    }

    fn set(&self, targets: &mut Vec<Target>, path: String, after: Option<Vec<u8>>) {
        match targets.iter_mut().find(|target| target.path == path) {
            Some(target) => target.after = after,
            None => targets.push(Target { now: self.host.capture.file(&path).map(<[u8]>::to_vec), path, after }),
        }
    }

    /// The host as it will be.
    fn with(&self, targets: &[Target]) -> Capture {
        let mut capture = self.host.capture.clone();
        for target in targets {
            capture.insert(target.path.as_str(), target.after.clone().map_or(Entry::Absent, Entry::File));
        }
        capture
    }

    fn note(&self, target: &Target) -> Option<String> {
        let had = |change: &history::Change<'_>| change.after.is_some();
        let ours = history::changes(&self.out, &target.path).last().is_some_and(had);
        ours.then(|| format!("{} was removed since, and our change with it", target.path))
    }

    /// Others may have copied or moved what we wrote, or have said the same all along.
    fn told_still(&self, after: &Host) -> Vec<String> {
        let told = guard::told_at(after);
        let stays = |device: &Identity| self.rest.iter().flat_map(|other| &other.plan.devices).any(|other| other.address == device.address);
        let still = self.operation.plan.devices.iter().filter(|device| !stays(device)).filter_map(|device| {
            let place = told(after.device(device.address).filter(|found| device.matches(found))?)?;
            Some(format!("{device} goes to vfio-pci at the next start all the same: {place} says so; take it out there if it is not to"))
        });
        still.collect()
    }

    fn rests_on(&self, path: &str) -> RestsOn {
        RestsOn { path: path.to_owned(), sha256: self.host.capture.file(path).map(sha256) }
    }

    fn expect(&self, targets: &[Target], after: &Host, plan: &mut Plan) {
        let digest = |target: &Target| Condition::FileIs { path: target.path.clone(), sha256: target.after.as_deref().map(sha256) };
        let mut now: Vec<Condition> = targets.iter().map(digest).collect();
        for image in self.images() {
            let gone = targets.iter().filter(|target| target.after.is_none() && target.path.starts_with("/etc/modprobe.d/"));
            now.extend(gone.map(|target| Condition::ImageLacksFile { image: image.clone(), path: target.path.clone() }));
            now.push(Condition::ImageOpens { image });
        }
        now.extend(planner::menu_condition(self.host, &plan.steps));
        now.extend(self.boot_conditions(after));
        plan.expects.splice(0..0, now.into_iter().map(Expectation::now));
        let stays = |address: PciAddress| self.rest.iter().flat_map(|other| &other.plan.devices).any(|device| device.address == address);
        let back = self.operation.plan.devices.iter().filter(|device| !stays(device.address));
        let conditions = back.map(|device| Condition::NotOn { device: device.clone(), driver: "vfio-pci".to_owned() });
        plan.expects.extend(conditions.map(Expectation::after_reboot));
    }

    /// The images that the tools make: those of the operation, and those of kernels that came since.
    fn images(&self) -> Vec<String> {
        let of_operation = self.wanted().filter_map(|what| what.image().map(str::to_owned));
        let copies = self.image_copies().into_iter().filter_map(|step| match step {
            Step::CopyImage { to, .. } => Some(to),
            _ => None,
        });
        let of_host = self.image_proofs();
        let of_host = of_host.iter().filter_map(|proof| proof.image().map(str::to_owned));
        let mut list: Vec<String> = of_operation.chain(of_host).chain(copies).collect();
        list.sort();
        list.dedup();
        list.retain(|image| self.host.capture.is_there(image));
        list
    }

    /// What the operation wanted of the boot entries, turned to what the files say once they are back: the user may have had a parameter all along.
    fn boot_conditions(&self, after: &Host) -> Vec<Condition> {
        let words: Vec<String> = bootloader::find_changed(after)
            .map(|loader| loader.configured(after).into_iter().map(|word| word.text).collect())
            .unwrap_or_default();
        let turned = self.wanted().filter_map(|what| match what {
            Condition::EntriesCarry { parameter } if words.iter().any(|word| carries(word, parameter)) => None,
            Condition::EntriesCarry { parameter } => Some(Condition::EntriesLack { parameter: parameter.clone() }),
            Condition::EntriesLack { parameter } if words.iter().any(|word| parameter::same(word, parameter)) => {
                Some(Condition::EntriesCarry { parameter: parameter.clone() })
            }
            _ => None,
        });
        let mut list: Vec<Condition> = Vec::new();
        for condition in turned {
            if !list.contains(&condition) {
                list.push(condition);
            }
        }
        list
    }
}
