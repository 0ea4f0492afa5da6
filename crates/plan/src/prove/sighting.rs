//! What a guest saw of the devices.

use super::compare::bytes;
use super::facts::Facts;
use super::guest::{self, MEMORY};
use super::record::{End, Record, Seen, Subject};
use super::report::{Item, Outcome};
use super::seabios::{self, Boot};
use super::step::Step;
use super::wish::{Target, Wish};
use std::time::Duration;

/// The region of an option ROM.
const ROM: u32 = 6;

/// The items of one guest; none where the record is of something else.
pub fn items(record: &Record, wish: &Wish, records: &[Record], facts: Facts<'_>) -> Vec<Item> {
    let Ok(Seen::Guest(end, text)) = &record.answer else { return Vec::new() };
    let boot = seabios::read(text);
    let (outcome, text, remedy) = guest(end, &boot, way(wish, records), facts);
    let first = Item { step: Step::Guest, subject: Subject::Guest, outcome, text, errno: None, remedy, took: record.took };
    let sights = guest::places(&wish.targets).into_iter().flat_map(|(bus, function, target)| {
        let sight = Sight { place: (bus, 0, function), target, boot: &boot, records, facts };
        [sight.ids(), sight.bars()]
    });
    // Where QEMU did not even start, nobody looked.
    let sights = sights.filter(|_| boot.began);
    std::iter::once(first).chain(sights).chain(rom(&boot, wish, records).filter(|_| boot.done)).collect()
}

/// An older QEMU takes the devices by another way than they were opened by.
fn way(wish: &Wish, records: &[Record]) -> &'static str {
    let mut versions = records.iter().filter_map(|record| match &record.answer {
        Ok(Seen::Qemu(_, version)) => Some(*version),
        _ => None,
    });
    let is_other = versions.next_back().is_some_and(|version| guest::interface(wish, version) != wish.interface);
    if is_other { "; this QEMU takes devices through the container only" } else { "" }
}

fn guest(end: &End, boot: &Boot, way: &str, facts: Facts<'_>) -> (Outcome, String, Option<String>) {
    let said = boot.complaints.last().map(|line| format!(": {line}")).unwrap_or_default();
    let bad = |text: String, remedy: &str| (Outcome::Bad, text, Some(remedy.to_owned()));
    match end {
        End::Done if boot.done => (Outcome::Good, format!("SeaBIOS came to its end{way}"), None),
        End::Done if boot.gave_up.is_some() => bad(
            format!("SeaBIOS found no room for the BARs and gave up: {}", boot.gave_up.as_deref().unwrap_or_default()),
            "name fewer devices with `--depth guest`; a guest with OVMF may have room for them",
        ),
        End::Done => bad(format!("QEMU ended before SeaBIOS did{said}"), "run it again"),
        End::TimedOut(seconds) if boot.began => bad(
            format!("SeaBIOS did not come to its end in {seconds} s: an option ROM that does not return, or a slow host"),
            "run it again with `--seconds 600`; a ROM that hangs is left out with `romfile=` in the guest",
        ),
        End::TimedOut(seconds) => bad(format!("SeaBIOS did not begin within {seconds} s{said}"), "run it again with `--seconds 600`"),
        End::Exited(status) => (Outcome::Bad, format!("QEMU ended ({status}){said}{way}"), Some(remedy(boot, facts))),
    }
}

/// QEMU's complaints (hw/vfio/common.c, hw/vfio/pci.c) and what to do about them.
fn remedy(boot: &Boot, facts: Facts<'_>) -> String {
    let says = |text: &str| boot.complaints.iter().any(|line| line.to_ascii_lowercase().contains(text));
    if says("cannot allocate memory") || says("memlock") {
        let limit = facts.around.memlock.map(|limit| format!(", and {} are allowed", bytes(limit))).unwrap_or_default();
        return format!("the guest locks {MEMORY} MiB{limit}: `sudo cede prove`, or raise the limit (/etc/security/limits.d)");
    }
    if says("depends on group") || says("not owned") {
        return "a reset takes functions of other groups along: name those too".to_owned();
    }
    if says("permission denied") {
        return "the guest needs the same nodes as you: sudo cede prove".to_owned();
    }
    if says("could not find") || says("bios") {
        return "install SeaBIOS: the package is called seabios, or seabios-bin".to_owned();
    }
    "`sudo dmesg | grep -i vfio | tail`: the kernel's log may say more".to_owned()
}

/// One function in the guest.
struct Sight<'a> {
    place: (u8, u8, u8),
    target: &'a Target,
    boot: &'a Boot,
    records: &'a [Record],
    facts: Facts<'a>,
}

impl Sight<'_> {
    fn item(&self, step: Step, outcome: Outcome, text: String) -> Item {
        let subject = Subject::Device(self.target.address);
        let remedy = (outcome == Outcome::Bad).then(|| format!("`sudo dmesg | grep {subject} | tail`: the kernel's log may say more"));
        Item { step, subject, outcome, text, errno: None, remedy, took: Duration::ZERO }
    }

    fn ids(&self) -> Item {
        let found = self.boot.functions.iter().find(|(place, _)| *place == self.place).map(|(_, id)| *id);
        let wanted = self.facts.host.device(self.target.address).and_then(|device| device.id);
        let (bus, device, function) = self.place;
        let (outcome, text) = match (found, wanted) {
            (None, _) => (Outcome::Bad, "the guest's firmware does not see it".to_owned()),
            (Some(found), Some(wanted)) if found != wanted => (Outcome::Bad, format!("it is {found} in the guest and {wanted} here")),
            (Some(found), _) => (Outcome::Good, format!("{found} at {bus:02x}:{device:02x}.{function}")),
        };
        self.item(Step::GuestIds, outcome, text)
    }

    fn bars(&self) -> Item {
        let wanted = regions(self.records, self.target);
        let mapped = |bar: u32| self.boot.bars.iter().find(|found| found.place == self.place && found.bar == bar);
        let mut words = Vec::new();
        for (bar, size) in wanted.iter().filter(|(bar, _)| *bar < ROM) {
            match mapped(*bar) {
                Some(found) if found.size == *size => words.push(format!("BAR {bar} {}", bytes(*size))),
                Some(found) => {
                    let text = format!("BAR {bar} has {} in the guest and {} here", bytes(found.size), bytes(*size));
                    return self.item(Step::GuestBars, Outcome::Bad, text);
                }
                None => {
                    return self.item(Step::GuestBars, Outcome::Bad, format!("BAR {bar} ({}) found no room in the guest", bytes(*size)));
                }
            }
        }
        let text = if words.is_empty() { "it has none".to_owned() } else { words.join(", ") };
        self.item(Step::GuestBars, Outcome::Good, text)
    }
}

/// The regions of a function that are there, as the opening showed them.
fn regions(records: &[Record], target: &Target) -> Vec<(u32, u64)> {
    let of = records.iter().filter(|record| record.subject == Subject::Device(target.address));
    let regions = of.filter_map(|record| match &record.answer {
        Ok(Seen::Regions(list, _)) => Some(list),
        _ => None,
    });
    regions.flatten().filter(|region| region.size > 0).map(|region| (region.index, region.size)).collect()
}

/// SeaBIOS does not say whose ROM it runs.
fn rom(boot: &Boot, wish: &Wish, records: &[Record]) -> impl Iterator<Item = Item> {
    let owners = wish.targets.iter().filter(|target| regions(records, target).iter().any(|(index, _)| *index == ROM)).count();
    let (outcome, text) = match (owners, boot.roms) {
        (0, 0) => return None.into_iter(),
        (_, 0) => (Outcome::Notice, "no option ROM ran: what is there has no part for a BIOS, or hides it".to_owned()),
        (owners, ran) if ran < owners => (Outcome::Notice, format!("{ran} of {owners} option ROMs ran: some have no part for a BIOS")),
        (_, 1) => (Outcome::Good, "its code ran".to_owned()),
        (_, ran) => (Outcome::Good, format!("the code of {ran} ran")),
    };
    Some(Item { step: Step::GuestRom, subject: Subject::Guest, outcome, text, errno: None, remedy: None, took: Duration::ZERO }).into_iter()
}
