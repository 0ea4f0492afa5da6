//! `cargo xtask vm --prove`: `cede prove` in small machines, each with a card that can be given away, one that cannot, and one that is in use.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Outcome;
use super::progress::Progress;
use super::small::{self, Machine, Parts, Try};

/// A network card with an option ROM, a disk, and a slot whose two functions share a group because its port does not isolate them.
const DEVICES: &str = "
    -device pcie-root-port,id=port0,chassis=1,slot=1,addr=1.0 -device e1000e,bus=port0,netdev=net0 -netdev user,id=net0,restrict=on
    -device pcie-root-port,id=port1,chassis=2,slot=2,addr=2.0 -device nvme,bus=port1,serial=one,drive=disk0
    -drive if=none,id=disk0,driver=null-co,size=16M
    -device pcie-root-port,id=port2,chassis=3,slot=3,addr=3.0,disable-acs=on
    -device nvme,bus=port2,addr=0.0,multifunction=on,serial=two,drive=disk1 -drive if=none,id=disk1,driver=null-co,size=16M
    -device e1000e,bus=port2,addr=0.1,romfile=,netdev=net1 -netdev user,id=net1,restrict=on";

const REMAPPING: &str = "-device intel-iommu,intremap=on,caching-mode=on";
const NO_REMAPPING: &str = "-device intel-iommu,intremap=off,caching-mode=on";

const STORY: &str = include_str!("small/prove.sh");
const STORY_WITHOUT_REMAPPING: &str = include_str!("small/prove-unsafe.sh");

/// Tells both stories.
pub(super) fn tell(cede: &Path, cache: &Path, directory: &Path) -> Outcome<()> {
    let progress = Progress::new("prove");
    let parts = Parts::fetch(cache, &progress)?;
    let bench = Bench { parts, cede, directory, progress };
    bench.tell("remapping", STORY, REMAPPING, &EXPECTED)?;
    bench.tell("no-remapping", STORY_WITHOUT_REMAPPING, NO_REMAPPING, &EXPECTED_WITHOUT_REMAPPING)
}

struct Bench<'a> {
    parts: Parts,
    cede: &'a Path,
    directory: &'a Path,
    progress: Progress,
}

impl Bench<'_> {
    fn tell(&self, name: &str, story: &str, iommu: &str, expected: &[Expected]) -> Outcome<()> {
        let work = self.directory.join(name);
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
        let initramfs = self.parts.initramfs(self.cede, story, &work)?;
        let machine = Machine { kernel: self.parts.kernel(), initramfs, devices: format!("{iommu} {DEVICES}"), work: &work };
        expect(&small::start(&machine, &self.progress)?, &self.progress, expected)
    }
}

/// A try by name, its exit code, and what it must say: of a JSON document the members `passed` and of its first failure `step.errno`.
struct Expected(&'static str, i32, &'static [&'static str]);

const EXPECTED: [Expected; 12] = [
    Expected("host", 4, &["refused", "is on e1000e and not on vfio-pci"]),
    Expected("no-backend", 1, &["no type 1 IOMMU", "Next: sudo modprobe vfio_iommu_type1"]),
    Expected("attach", 0, &["proved", "container", "SET_IOMMU", "Next: "]),
    Expected("attach-json", 0, &["passed=true"]),
    Expected("attached-leaves-it", 0, &["0"]),
    Expected("open", 0, &["proved", "BAR 0", "MSI-X", "RESET, again"]),
    Expected("open-disk-json", 0, &["passed=true"]),
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

fn expect(tries: &[Try], progress: &Progress, list: &[Expected]) -> Outcome<()> {
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
