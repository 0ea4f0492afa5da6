//! `cargo xtask vm --prove`: `cede prove` in small machines, each with a card that can be given away, one that cannot, and one that is in use.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Outcome;
use super::arguments::Arguments;
use super::progress::Progress;
use super::recipe::Model;
use super::small::{self, Machine, Parts, Try, iommufd};

/// A network card with an option ROM, a disk, and a slot whose two functions share a group because its port does not isolate them.
const DEVICES: &str = "
    -device pcie-root-port,id=port0,chassis=1,slot=1,addr=4.0 -device e1000e,bus=port0,netdev=net0 -netdev user,id=net0,restrict=on
    -device pcie-root-port,id=port1,chassis=2,slot=2,addr=5.0 -device nvme,bus=port1,serial=one,drive=disk0
    -drive if=none,id=disk0,driver=null-co,size=16M
    -device pcie-root-port,id=port2,chassis=3,slot=3,addr=6.0,disable-acs=on
    -device nvme,bus=port2,addr=0.0,multifunction=on,serial=two,drive=disk1 -drive if=none,id=disk1,driver=null-co,size=16M
    -device e1000e,bus=port2,addr=0.1,romfile=,netdev=net1 -netdev user,id=net1,restrict=on";

/// What is tried in one machine.
struct Story {
    name: &'static str,
    model: Model,
    iommu: &'static str,
    script: &'static str,
    expected: &'static [Expected],
}

const INTEL: &str = "-device intel-iommu,intremap=on,caching-mode=on";
const INTEL_WITHOUT_REMAPPING: &str = "-device intel-iommu,intremap=off,caching-mode=on";
const AMD: &str = "-device amd-iommu,intremap=on";

/// With Debian's kernel, which has containers only.
const STORIES: [Story; 3] = [
    Story { name: "intel", model: Model::Intel, iommu: INTEL, script: include_str!("small/prove.sh"), expected: &EXPECTED },
    Story {
        name: "no-remapping",
        model: Model::Intel,
        iommu: INTEL_WITHOUT_REMAPPING,
        script: include_str!("small/prove-unsafe.sh"),
        expected: &EXPECTED_WITHOUT_REMAPPING,
    },
    Story { name: "amd", model: Model::Amd, iommu: AMD, script: include_str!("small/prove-amd.sh"), expected: &EXPECTED_AMD },
];

/// With a kernel that has iommufd too.
const IOMMUFD_STORIES: [Story; 3] = [
    Story {
        name: "iommufd-intel",
        model: Model::Intel,
        iommu: INTEL,
        script: include_str!("small/prove-iommufd.sh"),
        expected: &EXPECTED_IOMMUFD,
    },
    Story {
        name: "iommufd-no-remapping",
        model: Model::Intel,
        iommu: INTEL_WITHOUT_REMAPPING,
        script: include_str!("small/prove-iommufd-unsafe.sh"),
        expected: &EXPECTED_IOMMUFD_WITHOUT_REMAPPING,
    },
    Story {
        name: "iommufd-amd",
        model: Model::Amd,
        iommu: AMD,
        script: include_str!("small/prove-iommufd.sh"),
        expected: &EXPECTED_IOMMUFD,
    },
];

/// Tells the stories of the models; those with iommufd where its kernel is at hand, or only those, for which it is built.
pub(super) fn tell(cede: &Path, arguments: &Arguments, cache: &Path, directory: &Path) -> Outcome<()> {
    let progress = Progress::new("prove");
    let parts = Parts::fetch(cache, &progress)?;
    if arguments.iommufd {
        iommufd::build(cache, &progress)?;
    }
    let debian = parts.kernel();
    let bench = Bench { parts, cede, directory, progress };
    let is_wanted = |story: &&Story| arguments.models.contains(&story.model);
    for story in STORIES.iter().filter(is_wanted).filter(|_| !arguments.iommufd) {
        bench.tell(story, &debian)?;
    }
    let kernel = iommufd::image(cache);
    if !kernel.exists() {
        bench
            .progress
            .say(&format!("SKIPPED: iommufd, for {} is not there; `cargo xtask vm --prove --iommufd` builds it", kernel.display()));
        return Ok(());
    }
    IOMMUFD_STORIES.iter().filter(is_wanted).try_for_each(|story| bench.tell(story, &kernel))
}

struct Bench<'a> {
    parts: Parts,
    cede: &'a Path,
    directory: &'a Path,
    progress: Progress,
}

impl Bench<'_> {
    fn tell(&self, story: &Story, kernel: &Path) -> Outcome<()> {
        let work = self.directory.join(story.name);
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
        let initramfs = self.parts.initramfs(self.cede, story.script, &work)?;
        let devices = format!("{} {DEVICES}", story.iommu);
        let machine = Machine { kernel: kernel.to_owned(), initramfs, devices, work: &work };
        self.progress.say(story.name);
        expect(&small::start(&machine, &self.progress)?, &self.progress, story.expected)
    }
}

/// A try by name, its exit code, and what it must say: of a JSON document the members `passed` and of its first failure `step.errno`.
pub(super) struct Expected(pub(super) &'static str, pub(super) i32, pub(super) &'static [&'static str]);

const SEEN_BY_GUEST: [&str; 6] =
    ["proved", "8086:10d3 at 01:00.0", "1b36:0010 at 02:00.0", "BAR 3 16 KiB", "its code ran", "0000:01:00.0, returned"];

const EXPECTED: [Expected; 18] = [
    Expected("host", 4, &["refused", "is on e1000e and not on vfio-pci", "`sudo cede bind 0000:01:00.0`"]),
    Expected("no-backend", 1, &["no type 1 IOMMU", "Next: sudo modprobe vfio_iommu_type1"]),
    Expected("attach", 0, &["proved", "container", "SET_IOMMU", "Next: "]),
    Expected("attach-json", 0, &["passed=true"]),
    Expected("attached-leaves-it", 0, &["0"]),
    Expected("open", 0, &["proved", "BAR 0", "MSI-X", "RESET, again"]),
    Expected("open-disk-json", 0, &["passed=true"]),
    Expected("guest", 0, &SEEN_BY_GUEST),
    Expected("guest-json", 0, &["passed=true"]),
    Expected("no-qemu-left", 1, &[]),
    Expected("too-slow", 1, &["in 1 s", "--seconds 600"]),
    Expected("still-there", 0, &["proved"]),
    Expected("no-qemu", 1, &["no qemu-system-x86_64", "sudo apt install --no-install-recommends qemu-system-x86"]),
    Expected("foreign", 1, &["not viable", "0000:03:00.1 (e1000e)"]),
    Expected("nobody", 1, &["EACCES", "/dev/vfio/", "udev rule"]),
    Expected("nobody-with-node", 0, &["proved", "you may lock"]),
    Expected("nobody-may-not-lock", 1, &["ENOMEM", "the limit is 64 KiB", "ulimit -l"]),
    Expected("busy", 1, &["EBUSY", "is in use by sleep (process "]),
];

const EXPECTED_WITHOUT_REMAPPING: [Expected; 3] = [
    Expected("unsafe", 1, &["SET_IOMMU", "EPERM", "interrupts are not remapped"]),
    Expected("unsafe-json", 1, &["passed=false", "set-iommu.EPERM"]),
    Expected("accepted", 0, &["proved", "allow_unsafe_interrupts accepts"]),
];

const EXPECTED_AMD: [Expected; 1] = [Expected("amd", 0, &SEEN_BY_GUEST)];

const EXPECTED_IOMMUFD: [Expected; 10] = [
    Expected("nodes", 0, &["through iommufd", "nothing was attached"]),
    Expected("attach-json", 0, &["passed=true"]),
    Expected("bound", 0, &["proved", "through iommufd", "BIND_IOMMUFD", "ATTACH_IOMMUFD_PT", "BAR 3 16 KiB", "MSI-X", "RESET, again"]),
    Expected("bound-json", 0, &["passed=true"]),
    Expected("container", 0, &["proved", "through container", "SET_IOMMU"]),
    Expected("nobody", 1, &["EACCES", "you may not open /dev/iommu", "KERNEL==\"iommu\""]),
    Expected("nobody-with-iommu", 1, &["EACCES", "you may not open /dev/vfio/devices/vfio", "udev rule"]),
    Expected("nobody-with-node", 0, &["proved", "through iommufd"]),
    Expected("busy", 1, &["BIND_IOMMUFD", "EBUSY", "is in use by sleep (process "]),
    Expected("guest", 0, &SEEN_BY_GUEST),
];

const EXPECTED_IOMMUFD_WITHOUT_REMAPPING: [Expected; 3] = [
    Expected("unsafe-json", 1, &["passed=false", "bind.EPERM"]),
    Expected("unsafe", 1, &["BIND_IOMMUFD", "EPERM", "interrupts are not remapped"]),
    Expected("accepted", 0, &["proved", "allow_unsafe_interrupts accepts"]),
];

/// Looks at what was tried.
pub(super) fn expect(tries: &[Try], progress: &Progress, list: &[Expected]) -> Outcome<()> {
    for Expected(name, code, texts) in list {
        let found = tries.iter().find(|found| found.name == *name).ok_or_else(|| format!("`{name}` was not tried"))?;
        let said = facts(&found.said);
        let missing: Vec<_> = texts.iter().filter(|text| !said.contains(**text)).collect();
        if found.code != *code || !missing.is_empty() {
            return Err(format!("`{name}`: exit code {}, not {code}, or it does not say {missing:?}:\n{}", found.code, found.said));
        }
        progress.say(&format!("{name}: exit code {code}, says {texts:?}"));
    }
    Ok(())
}

/// Text with its line ends taken for blanks, or of a document what is expected of it.
fn facts(said: &str) -> String {
    let document = said.lines().find(|line| line.starts_with('{')).and_then(|line| serde_json::from_str::<Value>(line).ok());
    let Some(document) = document else { return said.split_whitespace().collect::<Vec<_>>().join(" ") };
    let steps = document.get("steps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let failed = steps.iter().find(|step| step.get("outcome").is_some_and(|outcome| outcome == "not_met"));
    let text = |step: &Value, name: &str| step.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let failure = failed.map(|step| format!("{}.{}", text(step, "step"), text(step, "errno"))).unwrap_or_default();
    format!("passed={} {failure}", document.get("passed").unwrap_or(&Value::Null))
}
