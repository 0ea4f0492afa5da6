//! Every effect of an apply and of an undo fails, or is the last one before the power goes, for each pair of boot loader and generator: the
//! host is exactly old or exactly new afterwards, starts, and what was said is true.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_host::SimHost;
use cede_host::apply::{ApplyError, apply, look_at_files, recover};
use cede_host::machine::{EffectError, Lock, Machine, Space, ToolEnd};
use cede_host::read_host::ReadHost;
use cede_model::{Capture, Entry, capture_text};
use cede_plan::journal::{self, End, Operation, Verb};
use cede_plan::{BindMethod, Plan, planner, undo};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::faulty::{is_otherwise_its_sim, persistent, reads_its_sim};
use support::host;

const LAPTOP: &str = include_str!("../../../fixtures/hosts/arch-gtx1650-laptop/host.capture");

/// What happens at one effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It fails, this once.
    Once,
    /// It and every later one fails: the power is cut, or the file system went read-only.
    Forever,
    /// It and every later one that needs room fails.
    Full,
    /// A tool fails after its work is done, or is killed then.
    ToolFails,
    /// A tool leaves half of what it makes, and says that all is well.
    ToolLeavesHalf,
    /// A tool does nothing, and says that all is well.
    ToolLies,
    /// A tool leaves half and is ended by cede.
    ToolHangs,
}

const EFFECTS: [(Fault, bool); 5] =
    [(Fault::Once, false), (Fault::Once, true), (Fault::Forever, false), (Fault::Forever, true), (Fault::Full, false)];
const TOOLS: [Fault; 4] = [Fault::ToolFails, Fault::ToolLeavesHalf, Fault::ToolLies, Fault::ToolHangs];

struct Faulty {
    sim: SimHost,
    count: AtomicUsize,
    tools: AtomicUsize,
    /// Which effect, or which run of a tool.
    at: usize,
    fault: Fault,
    /// The effect that fails has been done all the same: the machine died before it could say so.
    done_first: bool,
}

impl Faulty {
    fn effect<T>(&self, frees: bool, mut f: impl FnMut() -> Result<T, EffectError>) -> Result<T, EffectError> {
        let now = self.count.fetch_add(1, Ordering::SeqCst);
        let fails = match self.fault {
            Fault::Once => now == self.at,
            Fault::Forever => now >= self.at,
            Fault::Full => now >= self.at && !frees,
            _ => false,
        };
        if !fails {
            return f();
        }
        if self.done_first && now == self.at {
            let _ = f();
        }
        Err(if self.fault == Fault::Full { EffectError::NoSpace("full".into()) } else { EffectError::File("injected fault".into()) })
    }

    /// What the tool makes, cut in half.
    fn halve(&self, old: &Capture) {
        let new = self.sim.snapshot();
        for (path, entry) in new.entries().filter(|(path, _)| path.starts_with("/boot/")) {
            if let Entry::File(bytes) = entry
                && old.file(path) != Some(bytes)
            {
                self.sim.replace(path, Some(bytes), Some(&bytes[..bytes.len() / 2])).unwrap();
            }
        }
    }
}

reads_its_sim!(Faulty);

impl Machine for Faulty {
    fn replace(&self, path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> Result<(), EffectError> {
        self.effect(after.is_none(), || self.sim.replace(path, before, after))
    }
    fn create_private(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError> {
        self.effect(false, || self.sim.create_private(path, bytes))
    }
    fn append(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError> {
        self.effect(false, || self.sim.append(path, bytes))
    }
    fn run(&self, argv: &[String], line: &mut dyn FnMut(&str)) -> Result<ToolEnd, EffectError> {
        let end = |success, status: &str| Ok(ToolEnd { success, status: status.to_owned(), output: String::new() });
        let meant = self.tools.fetch_add(1, Ordering::SeqCst) == self.at;
        let old = self.sim.snapshot();
        match self.fault {
            Fault::ToolLies if meant => end(true, "exit status: 0"),
            Fault::ToolFails | Fault::ToolLeavesHalf | Fault::ToolHangs if meant => {
                let ended = self.sim.run(argv, line)?;
                match self.fault {
                    Fault::ToolFails => return end(false, "signal: 9 (SIGKILL)"),
                    Fault::ToolLeavesHalf => self.halve(&old),
                    _ => {
                        self.halve(&old);
                        return end(false, "ended by cede: it ran longer than 3600 s");
                    }
                }
                Ok(ended)
            }
            _ => {
                // A tool that finds no room has left half of what it makes.
                let result = self.effect(false, || self.sim.run(argv, line));
                if result.is_err() && !self.done_first && self.fault != Fault::Once {
                    let _ = self.sim.run(argv, line);
                    self.halve(&old);
                }
                result.or_else(|_| end(false, "exit status: 1"))
            }
        }
    }
    is_otherwise_its_sim!();
}

type Files = Vec<(String, Vec<u8>)>;

fn operations(machine: &dyn Machine) -> Vec<Operation> {
    journal::operations(&host(machine).capture).unwrap()
}

/// Devices that the host gives to vfio-pci once it is started anew.
fn on_vfio_after_reboot(sim: &SimHost) -> usize {
    sim.reboot();
    host(sim).devices.iter().filter(|device| device.is_on_vfio()).count()
}

/// An operation, the host before it, and what it makes of it.
struct Story {
    start: Capture,
    verb: Verb,
    old: Files,
    new: Files,
    effects: usize,
    tools: usize,
    on_vfio: [usize; 2],
}

impl Story {
    fn new(start: Capture, verb: Verb) -> Self {
        let mut story = Self { start, verb, old: Vec::new(), new: Vec::new(), effects: 0, tools: 0, on_vfio: [0; 2] };
        let machine = story.machine(usize::MAX, Fault::Once, false);
        story.old = persistent(&machine.sim);
        story.carry_out(&machine).unwrap();
        story.new = persistent(&machine.sim);
        story.effects = machine.count.load(Ordering::SeqCst);
        story.tools = machine.tools.load(Ordering::SeqCst);
        story.on_vfio = if verb == Verb::Apply { [0, 2] } else { [2, 0] };
        assert!(story.old != story.new && story.effects > 8 && story.tools > 0);
        story
    }

    fn machine(&self, at: usize, fault: Fault, done_first: bool) -> Faulty {
        Faulty { sim: SimHost::new(self.start.clone()), count: AtomicUsize::new(0), tools: AtomicUsize::new(0), at, fault, done_first }
    }

    fn plan(&self, machine: &dyn Machine) -> Plan {
        let plan = match self.verb {
            Verb::Apply => planner::plan(&host(machine), &["01:00.0".parse().unwrap()], BindMethod::Cmdline),
            _ => {
                let list = operations(machine);
                undo::undo(&look_at_files(machine, &list), &list, &list[0]).unwrap()
            }
        };
        assert!(plan.refused.is_empty() && !plan.steps.is_empty(), "{:?}", plan.refused);
        plan
    }

    fn carry_out(&self, machine: &Faulty) -> Result<(), ApplyError> {
        apply(machine, &self.plan(machine), self.verb, &mut |_| {}).map(|_| ())
    }

    /// True for new, false for old.
    fn landed(&self, sim: &SimHost, about: &str) -> bool {
        let now = persistent(sim);
        assert!(now == self.old || now == self.new, "{about}: neither old nor new");
        now == self.new
    }

    fn try_one(&self, at: usize, fault: Fault, done_first: bool) -> bool {
        let about = format!("{:?} {fault:?} at {at}, done first: {done_first}", self.verb);
        let machine = self.machine(at, fault, done_first);
        let result = self.carry_out(&machine);
        // The power may have gone before anything was said; else what was said is true at once.
        match &result {
            Ok(()) => assert!(self.landed(&machine.sim, &about), "{about}"),
            Err(ApplyError::PartlyChanged { .. }) => assert!(matches!(fault, Fault::Forever | Fault::Full), "{about}: {result:?}"),
            Err(_) => assert!(!self.landed(&machine.sim, &about), "{about}: {result:?}"),
        }
        recover(&machine.sim, &mut |_| {}).unwrap();
        let list = operations(&machine.sim);
        assert!(journal::interrupted(&list, None).is_none(), "{about}");
        let new = self.landed(&machine.sim, &about);
        let says_new = list.iter().any(|operation| operation.verb == self.verb && operation.end == Some(End::Applied));
        assert_eq!(says_new, new, "{about}: the journal says otherwise");
        assert_eq!(machine.sim.snapshot().names_in(journal::KEPT).count(), 0, "{about}: copies stay behind");
        assert_eq!(on_vfio_after_reboot(&machine.sim), self.on_vfio[usize::from(new)], "{about}: it starts as it should");
        new
    }

    /// Numbers of tries, and of those that landed on new.
    fn try_all(&self) -> (usize, usize) {
        let effects = EFFECTS.iter().flat_map(|(fault, done_first)| (0..self.effects).map(|at| (at, *fault, *done_first)));
        let tools = TOOLS.iter().flat_map(|fault| (0..self.tools).map(|at| (at, *fault, false)));
        effects
            .chain(tools)
            .fold((0, 0), |(tried, new), (at, fault, done_first)| (tried + 1, new + usize::from(self.try_one(at, fault, done_first))))
    }
}

/// The laptop with what an overlay changes of it.
fn start(overlay: Option<&str>) -> Capture {
    let mut capture = capture_text::parse(LAPTOP).unwrap();
    for (path, entry) in overlay.map(|text| capture_text::parse(text).unwrap()).iter().flat_map(Capture::entries) {
        match entry {
            Entry::Absent => _ = capture.remove(path),
            other => capture.insert(path, other.clone()),
        }
    }
    SimHost::new(capture).snapshot()
}

fn matrix(overlay: Option<&str>) {
    let there = Story::new(start(overlay), Verb::Apply);
    let applied = there.machine(usize::MAX, Fault::Once, false);
    there.carry_out(&applied).unwrap();
    let back = Story::new(applied.sim.snapshot(), Verb::Undo(1));
    assert_eq!(back.new, there.old, "undo brings every byte back");
    for story in [there, back] {
        let (tried, new) = story.try_all();
        assert!(tried > 60 && new > 0 && new < tried / 3, "{tried} {new}");
    }
}

/// A machine of which one file system has this much room, and whose images are so large.
struct Tight(Faulty, &'static str, u64, u64);

impl ReadHost for Tight {
    fn read(&self, path: &str, limit: usize) -> Entry {
        self.0.read(path, limit)
    }
    fn read_head(&self, path: &str, limit: usize) -> Entry {
        self.0.read_head(path, limit)
    }
    fn probe(&self, path: &str) -> Entry {
        match self.0.probe(path) {
            Entry::Present(_) if path.starts_with("/boot/initr") => Entry::Present(self.3),
            other => other,
        }
    }
    fn read_link(&self, path: &str) -> Entry {
        self.0.read_link(path)
    }
    fn list(&self, path: &str) -> Result<Vec<String>, Entry> {
        self.0.list(path)
    }
}

impl Machine for Tight {
    fn replace(&self, path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> Result<(), EffectError> {
        self.0.replace(path, before, after)
    }
    fn create_private(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError> {
        self.0.create_private(path, bytes)
    }
    fn append(&self, path: &str, bytes: &[u8]) -> Result<(), EffectError> {
        self.0.append(path, bytes)
    }
    fn run(&self, argv: &[String], line: &mut dyn FnMut(&str)) -> Result<ToolEnd, EffectError> {
        self.0.run(argv, line)
    }
    fn runs_tools(&self) -> bool {
        true
    }
    fn lock(&self) -> Result<Box<dyn Lock>, EffectError> {
        self.0.lock()
    }
    fn space(&self, path: &str) -> Option<Space> {
        let here = path.starts_with(self.1);
        let mounted_at = if here { self.1 } else { "/" }.to_owned();
        Some(Space { mounted_at, device: u64::from(here), free: if here { self.2 } else { 1 << 30 } })
    }
    fn time(&self) -> u64 {
        self.0.time()
    }
    fn image(&self, path: &str) -> Result<Vec<u8>, Entry> {
        self.0.image(path)
    }
}

#[test]
fn room_for_images_and_their_copies_is_looked_at_first() {
    let story = Story::new(start(None), Verb::Apply);
    for (place, free, enough) in [("/boot", 5 << 20, false), ("/boot", 64 << 20, true), ("/var", 1 << 10, false), ("/var", 64 << 20, true)]
    {
        let machine = Tight(story.machine(usize::MAX, Fault::Once, false), place, free, 1 << 10);
        let result = apply(&machine, &story.plan(&machine), Verb::Apply, &mut |_| {});
        assert_eq!(result.is_ok(), enough, "{place} {free}: {result:?}");
        if let Err(error) = result {
            let said = error.to_string();
            assert!(said.starts_with(&format!("{place} has too little room: ")) && said.ends_with("nothing was changed"), "{said}");
            assert_eq!(machine.0.count.load(Ordering::SeqCst), 0, "nothing was written, not even to the journal");
        }
    }
}

/// With less than a quarter more mkinitcpio writes over the image that the next start needs.
#[test]
fn mkinitcpio_has_the_room_in_which_it_writes_beside_the_old_image() {
    let debian = include_str!("../../../fixtures/boot/grub-initramfs-tools.capture");
    for (changes, free, enough) in [(None, 120 << 20, false), (None, 140 << 20, true), (Some(debian), 120 << 20, true)] {
        let story = Story::new(start(changes), Verb::Apply);
        let machine = Tight(story.machine(usize::MAX, Fault::Once, false), "/boot", free, 100 << 20);
        let result = apply(&machine, &story.plan(&machine), Verb::Apply, &mut |_| {});
        assert_eq!(result.is_ok(), enough, "{free}: {result:?}");
    }
}

#[test]
fn grub_and_mkinitcpio() {
    matrix(None);
}

#[test]
fn grub_and_initramfs_tools() {
    matrix(Some(include_str!("../../../fixtures/boot/grub-initramfs-tools.capture")));
}

#[test]
fn systemd_boot_and_mkinitcpio() {
    matrix(Some(include_str!("../../../fixtures/boot/systemd-boot-mkinitcpio.capture")));
}

#[test]
fn systemd_boot_and_initramfs_tools() {
    matrix(Some(include_str!("../../../fixtures/boot/systemd-boot-initramfs-tools.capture")));
}
