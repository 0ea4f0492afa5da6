//! Random sequences of apply, undo, redo, kernel updates, reboots and hand edits on the simulated host. Once everything of ours is undone, every
//! file holds what the hand edits alone would have made of it; or a conflict was shown and nothing was written.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_host::apply::{apply, look, look_at_files};
use cede_host::{Machine, SimHost};
use cede_model::pci::PciAddress;
use cede_model::{Capture, Entry, capture_text};
use cede_plan::journal::{self, Operation, Verb};
use cede_plan::plan::Condition;
use cede_plan::{BindMethod, Plan, Step, diff, planner, redo, undo};
use std::collections::BTreeMap;
use support::host;

const LAPTOP: &str = include_str!("../../../fixtures/hosts/arch-gtx1650-laptop/host.capture");
const GRUB: &str = "/etc/default/grub";
const MKINITCPIO: &str = "/etc/mkinitcpio.conf";
const OWN: &str = "/etc/modprobe.d/00-cede.conf";

type Files = BTreeMap<String, Vec<u8>>;

/// Numbers that look random and are the same for the same seed (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % limit
    }
}

/// One sequence at work: the machine, and the files as the hand edits alone make them.
struct Story {
    sim: SimHost,
    without_us: Files,
    random: Random,
    told: Vec<String>,
    count: usize,
}

/// What came of a sequence.
#[derive(Default)]
struct Counts {
    applied: usize,
    undone: usize,
    redone: usize,
    edits: usize,
    kernels: usize,
    conflicts: usize,
    clean: usize,
}

fn etc(capture: &Capture) -> Files {
    let files = capture.below("/etc/").filter_map(|(path, entry)| match entry {
        Entry::File(bytes) => Some((path.to_owned(), bytes.clone())),
        _ => None,
    });
    files.collect()
}

/// What a plan changes, for a failure's message.
fn diffs(plan: &Plan) -> String {
    let text = |step: &Step| match step {
        Step::ReplaceFile { path, before, after } => diff::unified(path, before.as_deref(), after.as_deref()),
        Step::RunTool { argv, .. } => argv.join(" "),
        Step::CopyImage { from, to } => format!("cp {from} {to}"),
        Step::RemoveImage { path } => format!("rm {path}"),
        Step::WriteAttribute { path, after, .. } => format!("{after} > {path}"),
    };
    plan.steps.iter().map(text).collect()
}

impl Story {
    fn new(seed: u64) -> Self {
        let sim = SimHost::new(capture_text::parse(LAPTOP).unwrap());
        let without_us = etc(&sim.snapshot());
        Self { sim, without_us, random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1), told: Vec::new(), count: 0 }
    }

    fn operations(&self) -> Vec<Operation> {
        journal::operations(&host(&self.sim).capture).unwrap()
    }

    fn tell(&mut self, what: String) {
        self.told.push(what);
    }

    fn apply(&mut self, counts: &mut Counts) {
        let devices = ["01:00.0", "00:1f.3", "00:14.0", "02:00.0", "03:00.0", "00:02.0"];
        let device: PciAddress = devices[self.random.below(devices.len())].parse().unwrap();
        let bind = if self.random.below(3) == 0 { BindMethod::Modprobe } else { BindMethod::Cmdline };
        let plan = planner::plan(&host(&self.sim), &[device], bind);
        let plan = planner::plan_proved(&look(&self.sim, &plan.expects), &[device], bind, &plan.accepted);
        if plan.refused.is_empty() && !plan.is_empty() {
            self.tell(format!("apply {device} {bind:?}"));
            apply(&self.sim, &plan, Verb::Apply, &mut |_| {}).unwrap_or_else(|error| panic!("{error}: {:#?}", self.told));
            counts.applied += 1;
        }
    }

    /// False where it is a conflict; then nothing was written.
    fn undo(&mut self, operations: &[Operation], operation: &Operation, counts: &mut Counts) -> bool {
        self.tell(format!("undo {}", operation.number));
        let before = etc(&self.sim.snapshot());
        match undo::undo(&look_at_files(&self.sim, operations), operations, operation) {
            Err(trouble) => {
                self.tell(format!("  {trouble:?}"));
                assert_eq!(etc(&self.sim.snapshot()), before);
                counts.conflicts += 1;
                false
            }
            Ok(plan) => {
                apply(&self.sim, &plan, Verb::Undo(operation.number), &mut |_| {})
                    .unwrap_or_else(|error| panic!("{error}: {:#?}\n{}", self.told, diffs(&plan)));
                counts.undone += 1;
                true
            }
        }
    }

    fn undo_any(&mut self, counts: &mut Counts) {
        let operations = self.operations();
        let in_force: Vec<&Operation> = operations.iter().filter(|operation| journal::in_force(&operations, operation)).collect();
        if !in_force.is_empty() {
            let operation = in_force[self.random.below(in_force.len())];
            self.undo(&operations, operation, counts);
        }
    }

    fn redo(&mut self, counts: &mut Counts) {
        let operations = self.operations();
        let Some(operation) = redo::last_undone(&operations) else { return };
        let now = host(&self.sim);
        let addresses = redo::addresses(operation);
        let plan = planner::plan(&now, &addresses, operation.plan.bind);
        let plan = planner::plan_proved(&look(&self.sim, &plan.expects), &addresses, plan.bind, &plan.accepted);
        assert_eq!(redo::trouble(&now, operation, &plan), None);
        if plan.refused.is_empty() && !plan.is_empty() {
            self.tell(format!("redo {}", operation.number));
            apply(&self.sim, &plan, Verb::Redo(operation.number), &mut |_| {}).unwrap_or_else(|error| panic!("{error}: {:#?}", self.told));
            counts.redone += 1;
        }
    }

    /// The package manager brings another kernel under the same name, and runs its hooks.
    fn kernel_update(&mut self) {
        self.count += 1;
        let release = format!("6.12.{}-arch1-1", self.count);
        self.tell(format!("kernel {release}"));
        self.sim.others(|state| {
            let old = state.names_in("/lib/modules").next().unwrap().to_owned();
            let (from, to) = (format!("/lib/modules/{old}/"), format!("/lib/modules/{release}/"));
            let tree: Vec<(String, Entry)> = state.below(from.as_str()).map(|(path, entry)| (path.to_owned(), entry.clone())).collect();
            for (path, entry) in tree {
                state.remove(&path);
                state.insert(path.replace(&from, &to), entry);
            }
        });
        for argv in [&["/usr/bin/mkinitcpio", "-P"][..], &["/usr/bin/grub-mkconfig", "-o", "/boot/grub/grub.cfg"]] {
            let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
            assert!(self.sim.run(&argv, &mut |_| {}).unwrap().success);
        }
    }

    /// The same edit of the file as it is and of the file as it would be without us.
    fn edit(&mut self, counts: &mut Counts) {
        let now = etc(&self.sim.snapshot());
        let path = [GRUB, MKINITCPIO, OWN][self.random.below(3)];
        let (clean, actual) = (self.without_us.get(path).cloned(), now.get(path).cloned());
        let Some(edit) = self.choose(clean.as_deref().unwrap_or_default(), actual.as_deref().unwrap_or_default()) else { return };
        let (new_clean, new_actual) = (edit.of(clean.as_deref().unwrap_or_default()), edit.of(actual.as_deref().unwrap_or_default()));
        self.tell(format!("{path}: {edit:?}"));
        self.without_us.insert(path.to_owned(), new_clean);
        self.sim.others(|state| state.insert(path, Entry::File(new_actual)));
        counts.edits += 1;
    }

    fn choose(&mut self, clean: &[u8], actual: &[u8]) -> Option<Edit> {
        self.count += 1;
        let number = self.count;
        let lines = |text: &[u8]| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
        let all = lines(actual);
        let common: Vec<Vec<u8>> = lines(clean)
            .into_iter()
            .filter(|line| !line.is_empty() && all.iter().filter(|other| *other == line).count() == 1)
            .filter(|line| lines(clean).iter().filter(|other| *other == line).count() == 1)
            .collect();
        let values = |name: &str| [clean, actual].iter().all(|text| lines(text).iter().any(|line| line.starts_with(name.as_bytes())));
        let anchor = (!common.is_empty()).then(|| common[self.random.below(common.len())].clone());
        match self.random.below(7) {
            0 => Some(Edit::Append(format!("# added {number}\n"))),
            1 => anchor.map(|line| Edit::Before(line, format!("# before {number}\n"))),
            2 => anchor.filter(|line| line.starts_with(b"#")).map(|line| Edit::Change(line, format!(" changed {number}"))),
            3 => anchor.filter(|line| line.starts_with(b"#")).map(Edit::Delete),
            4 if values("GRUB_CMDLINE_LINUX_DEFAULT=\"") => {
                Some(Edit::WordBack("GRUB_CMDLINE_LINUX_DEFAULT=\"", '"', format!("w{number}=1")))
            }
            5 if values("GRUB_CMDLINE_LINUX_DEFAULT=\"") => {
                Some(Edit::WordFront("GRUB_CMDLINE_LINUX_DEFAULT=\"", '"', format!("w{number}=1")))
            }
            _ if values("MODULES=(") => Some(Edit::WordBack("MODULES=(", ')', "i915?".to_owned())),
            _ => None,
        }
    }
}

/// Something that a person does to a file.
#[derive(Debug)]
enum Edit {
    Append(String),
    Before(Vec<u8>, String),
    Change(Vec<u8>, String),
    Delete(Vec<u8>),
    WordBack(&'static str, char, String),
    WordFront(&'static str, char, String),
}

impl Edit {
    fn of(&self, text: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(text.to_vec()).unwrap();
        let each = |change: &dyn Fn(&str) -> String| text.split_inclusive('\n').map(change).collect::<String>();
        let is = |line: &str, wanted: &[u8]| line.trim_end_matches('\n').as_bytes() == wanted;
        let out = match self {
            Self::Append(line) if text.is_empty() || text.ends_with('\n') => format!("{text}{line}"),
            Self::Append(line) => format!("{text}\n{line}"),
            Self::Before(anchor, new) => each(&|line| if is(line, anchor) { format!("{new}{line}") } else { line.to_owned() }),
            Self::Change(anchor, new) => each(&|line| {
                if is(line, anchor) {
                    line.replacen(line.trim_end_matches('\n'), &format!("{}{new}", line.trim_end_matches('\n')), 1)
                } else {
                    line.to_owned()
                }
            }),
            Self::Delete(anchor) => each(&|line| if is(line, anchor) { String::new() } else { line.to_owned() }),
            Self::WordBack(head, end, word) => {
                each(&|line| in_value(line, head, *end, &|value| format!("{value} {word}").trim_start().to_owned()))
            }
            Self::WordFront(head, end, word) => {
                each(&|line| in_value(line, head, *end, &|value| format!("{word} {value}").trim_end().to_owned()))
            }
        };
        out.into_bytes()
    }
}

fn in_value(line: &str, head: &str, end: char, change: &dyn Fn(&str) -> String) -> String {
    let Some((value, tail)) = line.strip_prefix(head).and_then(|rest| rest.rsplit_once(end)) else { return line.to_owned() };
    format!("{head}{}{end}{tail}", change(value))
}

fn sequence(seed: u64, counts: &mut Counts) {
    let mut story = Story::new(seed);
    for _ in 0..4 + story.random.below(12) {
        match story.random.below(12) {
            0..=2 => story.apply(counts),
            3..=4 => story.undo_any(counts),
            5 => story.redo(counts),
            6 => {
                story.kernel_update();
                counts.kernels += 1;
            }
            7 => story.sim.reboot(),
            _ => story.edit(counts),
        }
    }
    loop {
        let operations = story.operations();
        let in_force: Vec<&Operation> = operations.iter().filter(|operation| journal::in_force(&operations, operation)).collect();
        let Some(operation) = (!in_force.is_empty()).then(|| in_force[story.random.below(in_force.len())]) else { break };
        if !story.undo(&operations, operation, counts) {
            return;
        }
    }
    let left = etc(&story.sim.snapshot());
    let show =
        |files: &Files| files.iter().map(|(path, bytes)| (path.clone(), String::from_utf8_lossy(bytes).into_owned())).collect::<Vec<_>>();
    let differing: Vec<&String> =
        left.keys().chain(story.without_us.keys()).filter(|path| left.get(*path) != story.without_us.get(*path)).collect();
    if let Some(path) = differing.first() {
        let text = |files: &Files| files.get(*path).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        panic!("seed {seed}: {path}\n{:#?}\nis      {:?}\nwithout {:?}", story.told, text(&left), text(&story.without_us));
    }
    assert_eq!(show(&left), show(&story.without_us), "seed {seed}");
    story.sim.reboot();
    assert!(!host(&story.sim).devices.iter().any(cede_model::pci::PciDevice::is_on_vfio), "seed {seed}: {:#?}", story.told);
    counts.clean += 1;
}

#[test]
fn undo_leaves_what_hand_edits_alone_would_have_made() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (first, count) = (number("CEDE_UNDO_FIRST", 1), number("CEDE_UNDO_SEQUENCES", 150));
    let mut counts = Counts::default();
    for seed in first..first + count {
        sequence(seed, &mut counts);
    }
    let Counts { applied, undone, redone, edits, kernels, conflicts, clean } = counts;
    println!(
        "{count} sequences: {applied} applied, {undone} undone, {redone} redone, {edits} edits, {kernels} kernels, {conflicts} conflicts, {clean} clean"
    );
    assert!(applied > 0 && undone > 0 && redone > 0 && edits > 0 && kernels > 0);
    assert!(conflicts * 10 < usize::try_from(count).unwrap(), "{conflicts} conflicts in {count} sequences");
}

/// Whoever takes a card out, or puts it into another slot, is told to undo.
#[test]
fn what_was_given_away_and_is_gone_can_be_undone() {
    let sim = SimHost::new(capture_text::parse(LAPTOP).unwrap());
    let (card, old) = ("01:00.0".parse().unwrap(), etc(&sim.snapshot()));
    let plan = planner::plan(&host(&sim), &[card], BindMethod::Cmdline);
    apply(&sim, &plan, Verb::Apply, &mut |_| {}).unwrap();
    for moved_to in [None, Some("0000:03:00.")] {
        let without = sim.snapshot();
        let mut capture = Capture::new();
        for (path, entry) in without.entries() {
            match (path.contains("/0000:01:00."), moved_to) {
                (false, _) => capture.insert(path, entry.clone()),
                (true, Some(to)) => capture.insert(path.replace("0000:01:00.", to), entry.clone()),
                (true, None) => {}
            }
        }
        let sim = SimHost::new(capture);
        assert!(host(&sim).device(card).is_none());
        let operations = journal::operations(&host(&sim).capture).unwrap();
        let back = undo::undo(&look_at_files(&sim, &operations), &operations, &operations[0]).unwrap();
        apply(&sim, &back, Verb::Undo(1), &mut |_| {}).unwrap();
        assert_eq!(etc(&sim.snapshot()), old, "{moved_to:?}");
        assert!(apply(&sim, &plan, Verb::Redo(1), &mut |_| {}).unwrap_err().to_string().contains("is not there any more"));
    }
}

/// From a live system, or with another loader's files beside it, nothing tells what starts the host; the journal says what was changed.
#[test]
fn what_was_applied_is_undone_where_the_loader_cannot_be_told() {
    let (card, limine) = ("01:00.0".parse().unwrap(), ("/boot/limine.conf", "timeout: 5\n".to_owned()));
    let cmdline = |words: &str| ("/proc/cmdline", format!("{words}\n"));
    let stub = "/sys/firmware/efi/efivars/StubInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    for changes in [
        vec![limine, cmdline("")],
        vec![cmdline("BOOT_IMAGE=/arch/boot/x86_64/vmlinuz-linux initrd=/arch/boot/x86_64/initramfs-linux.img archisobasedir=arch")],
        vec![cmdline("archisobasedir=arch"), (stub, "x".to_owned())],
    ] {
        let sim = SimHost::new(capture_text::parse(LAPTOP).unwrap());
        let old = etc(&sim.snapshot());
        let plan = planner::plan(&host(&sim), &[card], BindMethod::Cmdline);
        apply(&sim, &plan, Verb::Apply, &mut |_| {}).unwrap();
        sim.others(|state| changes.iter().for_each(|(path, text)| state.insert(*path, Entry::File(text.clone().into_bytes()))));
        let operations = journal::operations(&host(&sim).capture).unwrap();
        let plan = undo::undo(&look_at_files(&sim, &operations), &operations, &operations[0]).unwrap();
        apply(&sim, &plan, Verb::Undo(1), &mut |_| {}).unwrap_or_else(|error| panic!("{changes:?}: {error}"));
        assert_eq!(etc(&sim.snapshot()), old, "{changes:?}");
        let words = plan.expects.iter().filter(|expectation| matches!(expectation.what, Condition::EntriesLack { .. })).count();
        assert_eq!(words, 2, "{:?}", plan.expects);
    }
}
