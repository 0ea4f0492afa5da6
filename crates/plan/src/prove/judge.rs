//! From records to a verdict.

use super::cause;
use super::compare::{self, Finding, bytes};
use super::facts::Facts;
use super::record::{Record, Seen, Subject};
use super::report::{Item, Outcome, Report};
use super::sighting;
use super::step::Step;
use super::wish::{Depth, Interface, Wish};
use std::time::Duration;

/// The version of VFIO's interface that there is (include/uapi/linux/vfio.h `VFIO_API_VERSION`).
const VERSION: i32 = 0;

/// A reset that takes longer is worth a word: the kernel waits for the device (drivers/pci/pci.c `pci_dev_wait`).
const SLOW: Duration = Duration::from_secs(2);

/// Judges what was done. What should have been done and was not is a failure too.
pub fn judge(wish: &Wish, records: &[Record], facts: Facts<'_>) -> Report {
    let mut items: Vec<Item> = records.iter().flat_map(|record| items(record, wish, records, facts)).collect();
    items.extend(remarks(wish, facts));
    let mut report = Report { wish: wish.clone(), items };
    if report.failure().is_none() {
        report.items.extend(undone(wish, records));
    }
    report
}

fn items(record: &Record, wish: &Wish, records: &[Record], facts: Facts<'_>) -> Vec<Item> {
    match &record.answer {
        Ok(Seen::Guest(..)) => sighting::items(record, wish, records, facts),
        _ => vec![item(record, wish, records, facts)],
    }
}

fn item(record: &Record, wish: &Wish, records: &[Record], facts: Facts<'_>) -> Item {
    let (step, subject) = (record.step, &record.subject);
    let (outcome, text, errno, remedy) = match &record.answer {
        Ok(seen) => {
            let (outcome, text) = good(record, seen, records, facts);
            (outcome, text, None, (outcome == Outcome::Bad).then(|| remedy(record, wish, facts)))
        }
        Err(errno) => {
            let cause = cause::of(step, *errno, subject, wish, facts);
            let outcome = if is_expected(record, records) { Outcome::Notice } else { Outcome::Bad };
            (outcome, cause.why, Some(*errno), Some(cause.remedy))
        }
    };
    Item { step, subject: subject.clone(), outcome, text, errno, remedy, took: record.took }
}

/// A device that says it cannot be reset is not reset; and not every bus can be.
fn is_expected(record: &Record, records: &[Record]) -> bool {
    let cannot = |other: &Record| other.subject == record.subject && matches!(other.answer, Ok(Seen::Info { can_reset: false, .. }));
    match record.step {
        Step::Reset | Step::ResetAgain => records.iter().any(cannot),
        Step::ResetSet => true,
        _ => false,
    }
}

/// What to do about an answer that is no error and wrong all the same.
fn remedy(record: &Record, wish: &Wish, facts: Facts<'_>) -> String {
    let errno = if record.step == Step::Type1 { super::Errno::ENODEV } else { super::Errno::EPERM };
    match record.step {
        Step::Status | Step::Type1 => cause::of(record.step, errno, &record.subject, wish, facts).remedy,
        Step::Version => "this cede is too old for the kernel: look for a newer one".to_owned(),
        _ => {
            let place = record.subject.address().map_or("vfio".to_owned(), |address| address.to_string());
            format!("`sudo dmesg | grep {place} | tail`; only a restart of the host may bring it back")
        }
    }
}

fn good(record: &Record, seen: &Seen, records: &[Record], facts: Facts<'_>) -> Finding {
    match (record.step, seen) {
        (Step::Version, Seen::Number(VERSION)) => (Outcome::Good, format!("version {VERSION}")),
        (Step::Version, Seen::Number(other)) => {
            (Outcome::Bad, format!("the kernel speaks version {other} of VFIO, cede version {VERSION}"))
        }
        (Step::Type1, Seen::Number(0)) => (Outcome::Bad, "the kernel has no type 1 IOMMU for containers".to_owned()),
        (Step::Type1, _) => (Outcome::Good, "type 1 IOMMU, version 2".to_owned()),
        (Step::Status, Seen::Viable(viable)) => status(*viable, &record.subject, facts),
        (Step::SetIommu, _) => (Outcome::Good, "domain made, groups attached".to_owned()),
        (_, Seen::Info { is_pci: false, .. }) => (Outcome::Bad, "VFIO says that it is no PCI device".to_owned()),
        (_, Seen::Info { can_reset: true, .. }) => (Outcome::Good, "opened; can be reset alone".to_owned()),
        (_, Seen::Info { .. }) => (Outcome::Notice, "opened; cannot be reset alone".to_owned()),
        (_, Seen::Regions(regions, resource)) => compare::regions(regions, resource.as_deref()),
        (_, Seen::Interrupts(counts)) => compare::interrupts(*counts, sysfs_config(record, records)),
        (_, Seen::Config(through, sysfs)) => compare::config(through, sysfs.as_deref(), id(record, facts)),
        (_, Seen::Mapped { iova, bytes: count }) => (Outcome::Good, format!("{} at {iova:#x}", bytes(*count))),
        (_, Seen::Unmapped(count, mapped)) if count == mapped => (Outcome::Good, bytes(*count)),
        (_, Seen::Unmapped(count, mapped)) => (Outcome::Bad, format!("{count} of {mapped} bytes were unmapped")),
        (_, Seen::ResetSet(list)) => reset_set(list, records),
        (_, Seen::Alive(first)) => alive(record, *first, facts),
        (_, Seen::Qemu(path, version)) => {
            (Outcome::Good, format!("{path}{}", version.map(|(major, minor)| format!(", version {major}.{minor}")).unwrap_or_default()))
        }
        (_, Seen::NoAnswer) => {
            (Outcome::Bad, "the kernel does not answer: it waits for the device, and this process ends only when it gives up".to_owned())
        }
        _ => (Outcome::Good, String::new()),
    }
}

fn status(viable: bool, subject: &Subject, facts: Facts<'_>) -> Finding {
    let Subject::Group(id) = subject else { return (Outcome::Bad, "not a group".to_owned()) };
    if viable {
        return (Outcome::Good, "viable".to_owned());
    }
    let names: Vec<String> =
        facts.foreign(*id).iter().map(|device| format!("{} ({})", device.address, device.driver_name().unwrap_or_default())).collect();
    let who = if names.is_empty() { "a driver has one of its functions".to_owned() } else { format!("{} is in it", names.join(", ")) };
    (Outcome::Bad, format!("not viable: {who}, and not on vfio-pci"))
}

fn sysfs_config<'a>(record: &Record, records: &'a [Record]) -> Option<&'a [u8]> {
    records.iter().filter(|other| other.subject == record.subject).find_map(|other| match &other.answer {
        Ok(Seen::Config(_, sysfs)) => sysfs.as_deref(),
        _ => None,
    })
}

fn id(record: &Record, facts: Facts<'_>) -> Option<cede_model::pci::PciId> {
    facts.host.device(record.subject.address()?)?.id
}

fn is_virtual(record: &Record, facts: Facts<'_>) -> bool {
    let device = record.subject.address().and_then(|address| facts.host.device(address));
    device.is_some_and(|device| device.physical_function.is_some())
}

/// Functions that a reset of the bus takes along must go to the same guest where that is the only reset there is.
fn reset_set(list: &[cede_model::pci::PciAddress], records: &[Record]) -> Finding {
    let names: Vec<String> = list.iter().map(ToString::to_string).collect();
    let all = list.iter().all(|address| records.iter().any(|record| record.subject.address() == Some(*address)));
    let text = format!("a reset of the bus takes {}", names.join(", "));
    if all { (Outcome::Good, text) } else { (Outcome::Notice, format!("{text}: so it is not done while another has one of them")) }
}

fn alive(record: &Record, first: Option<[u8; 4]>, facts: Facts<'_>) -> Finding {
    let [a, b, c, d] = match first {
        Some(bytes) if bytes != [0xff; 4] => bytes,
        // Of a virtual function sysfs shows no ids (SR-IOV 1.1, 3.4.1.1).
        Some(_) if record.step == Step::Close && is_virtual(record, facts) => return (Outcome::Good, "closed".to_owned()),
        _ => return (Outcome::Bad, "it does not answer any more: it was lost in a reset".to_owned()),
    };
    let expected = id(record, facts).map(|id| [id.vendor.to_le_bytes(), id.device.to_le_bytes()].concat());
    if expected.is_some_and(|expected| expected != [a, b, c, d]) {
        return (Outcome::Bad, "it answers with other ids than before".to_owned());
    }
    match record.took > SLOW {
        true => (Outcome::Notice, "it answers; each start of a guest takes that long".to_owned()),
        false => (Outcome::Good, "it answers".to_owned()),
    }
}

/// What holds beside the steps.
fn remarks(wish: &Wish, facts: Facts<'_>) -> Vec<Item> {
    let mut list = Vec::new();
    let mut add = |step, subject, text: String, remedy: Option<String>| {
        list.push(Item { step, subject, outcome: Outcome::Notice, text, errno: None, remedy, took: Duration::ZERO });
    };
    let (step, node) = match wish.interface {
        Interface::Container => (Step::SetIommu, "/dev/vfio/vfio"),
        Interface::Iommufd => (Step::Bind, "/dev/iommu"),
    };
    if facts.around.unsafe_interrupts && facts.around.remapping() == Some(false) {
        let text = "interrupts are not remapped, and allow_unsafe_interrupts accepts that: a guest can send any interrupt to the host";
        add(step, Subject::Node(node), text.to_owned(), None);
    }
    if let Some(limit) = facts.around.memlock {
        let text = format!("you may lock {}: a guest started by you with more memory than that does not start", bytes(limit));
        add(
            Step::Map,
            Subject::Node(node),
            text,
            Some("root and libvirt are not bound by it; for yourself, /etc/security/limits.d".to_owned()),
        );
    }
    if wish.interface == Interface::Iommufd && wish.depth == Depth::Attach {
        let text = "through iommufd a device is attached only by opening it, so nothing was attached";
        add(step, Subject::Node(node), text.to_owned(), Some("cede prove ADDR --depth open".to_owned()));
    }
    list
}

/// The last step that must have been seen for each function or group.
fn undone(wish: &Wish, records: &[Record]) -> Option<Item> {
    let done = |step: Step, subject: &Subject| records.iter().any(|record| record.step == step && record.subject == *subject);
    let missing = |step: Step, subject: Subject| (!done(step, &subject)).then_some((step, subject));
    let (step, subject) = match (wish.depth, wish.interface) {
        (Depth::Attach, Interface::Container) => wish
            .groups()
            .into_iter()
            .find_map(|group| missing(Step::SetContainer, Subject::Group(group)))
            .or_else(|| missing(Step::SetIommu, Subject::Node("/dev/vfio/vfio"))),
        (Depth::Attach, Interface::Iommufd) => wish.targets.iter().find_map(|target| missing(Step::Node, Subject::Device(target.address))),
        (Depth::Guest, _) => wish.targets.iter().find_map(|target| missing(Step::Close, Subject::Returned(target.address))),
        (Depth::Open, _) => wish.targets.iter().find_map(|target| missing(Step::Close, Subject::Device(target.address))),
    }?;
    let text = "this was not done, so nothing is proved".to_owned();
    Some(Item { step, subject, outcome: Outcome::Bad, text, errno: None, remedy: None, took: Duration::ZERO })
}
