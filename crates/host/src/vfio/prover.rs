//! The steps of a proof, one after the other. They are done by a thread of their own, for the kernel may wait in one of them for as long as
//! a device does not come back, and nothing ends that.

use super::container::{Container, Group, open_node};
use super::device::Device;
use super::guest::Qemu;
use super::ioctl::{self, Answer};
use super::iommufd::{Iommufd, Space};
use super::memory::{Mapping, Maps};
use crate::files::root::Root;
use crate::read_host::ATTRIBUTE_LIMIT;
use cede_model::pci::PciAddress;
use cede_plan::prove::wish::Target;
use cede_plan::prove::{Depth, Errno, Interface, Record, Seen, Step, Subject, Wish};
use rustix::io::Errno as SystemErrno;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What happens while a proof is made.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step begins.
    Begins(Step, Subject),
    /// It has ended.
    Done(Record),
}

const GRACE: Duration = Duration::from_secs(15);

const CONTAINER: Subject = Subject::Node("/dev/vfio/vfio");
const IOMMUFD: Subject = Subject::Node("/dev/iommu");

/// Does what is wished for, as deep as it goes, and stops where nothing more can be done. A step that takes longer than `limit` is the last.
pub fn prove(root: Root, wish: &Wish, limit: Duration, tell: &mut dyn FnMut(&Event)) -> Vec<Record> {
    let (sender, events) = channel();
    let prover = Prover { root, wish: wish.clone(), events: sender, limit, returned: Cell::new(false) };
    thread::spawn(move || prover.run());
    // QEMU is ended at the limit, which takes some time too.
    follow(&events, limit + GRACE, tell)
}

fn follow(events: &Receiver<Event>, limit: Duration, tell: &mut dyn FnMut(&Event)) -> Vec<Record> {
    let mut records = Vec::new();
    let mut at = None;
    loop {
        match events.recv_timeout(limit) {
            Ok(event) => {
                tell(&event);
                match event {
                    Event::Begins(step, subject) => at = Some((step, subject)),
                    Event::Done(record) => {
                        at = None;
                        records.push(record);
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => return records,
            Err(RecvTimeoutError::Timeout) => {
                records.extend(at.map(|(step, subject)| Record { step, subject, answer: Ok(Seen::NoAnswer), took: limit }));
                return records;
            }
        }
    }
}

struct Prover {
    root: Root,
    wish: Wish,
    events: Sender<Event>,
    limit: Duration,
    /// True once a guest has had the devices.
    returned: Cell<bool>,
}

impl Prover {
    fn run(&self) {
        if self.round() && self.wish.depth >= Depth::Guest && self.guest().is_some() {
            self.returned.set(true);
            self.round();
        }
    }

    /// Attaches, and opens where that is wished for. True where every device is there afterwards.
    fn round(&self) -> bool {
        match self.wish.interface {
            Interface::Container => self.by_container(),
            Interface::Iommufd => self.by_iommufd(),
        }
        .is_some()
    }

    fn guest(&self) -> Option<()> {
        let qemu = self.step(Step::FindQemu, &Subject::Guest, || Qemu::find(&self.root), Qemu::seen)?;
        self.step(Step::Guest, &Subject::Guest, || qemu.run(&self.wish, self.limit), Seen::clone).map(|_| ())
    }

    fn subject(&self, address: PciAddress) -> Subject {
        if self.returned.get() { Subject::Returned(address) } else { Subject::Device(address) }
    }

    /// The way to the devices is told of once, unless it is lost meanwhile.
    fn is_told(&self, subject: &Subject, answer: &Result<Seen, Errno>) -> bool {
        answer.is_err() || !self.returned.get() || subject.address().is_some()
    }

    /// Does one step and tells of it; `None` where it failed.
    fn step<T>(&self, step: Step, subject: &Subject, run: impl FnOnce() -> Answer<T>, see: impl FnOnce(&T) -> Seen) -> Option<T> {
        // Nobody listens any more once the time is over.
        let _ = self.events.send(Event::Begins(step, subject.clone()));
        let start = Instant::now();
        let result = run();
        let took = start.elapsed();
        let answer = result.as_ref().map(see).map_err(|errno: &SystemErrno| Errno(errno.raw_os_error()));
        if self.is_told(subject, &answer) {
            let _ = self.events.send(Event::Done(Record { step, subject: subject.clone(), answer, took }));
        }
        result.ok()
    }

    fn by_container(&self) -> Option<()> {
        let container = self.step(Step::Container, &CONTAINER, || Container::open(&self.root), |_| Seen::Done)?;
        let number = |number: &i32| Seen::Number(*number);
        self.step(Step::Version, &CONTAINER, || container.version(), number)?;
        self.step(Step::Type1, &CONTAINER, || container.has_type1(), number).filter(|has| *has != 0)?;
        let groups = self.attach_groups(&container)?;
        match self.wish.depth >= Depth::Open {
            true => self.examine(&container, &CONTAINER, |target| self.open_of_group(target, &groups)),
            false => Some(()),
        }
    }

    /// The domain can be made once a group is there; the others join it.
    fn attach_groups(&self, container: &Container) -> Option<BTreeMap<u32, Group>> {
        let mut groups = BTreeMap::new();
        for id in self.wish.groups() {
            let subject = Subject::Group(id);
            let group = self.step(Step::Group, &subject, || Group::open(&self.root, id), |_| Seen::Done)?;
            self.step(Step::Status, &subject, || group.is_viable(), |viable| Seen::Viable(*viable)).filter(|viable| *viable)?;
            self.step(Step::SetContainer, &subject, || group.join(container), |()| Seen::Done)?;
            if groups.is_empty() {
                self.step(Step::SetIommu, &CONTAINER, || container.set_iommu(), |()| Seen::Done)?;
            }
            groups.insert(id, group);
        }
        Some(groups)
    }

    fn open_of_group(&self, target: &Target, groups: &BTreeMap<u32, Group>) -> Option<Device> {
        let group = groups.get(&target.group)?;
        let open = || ioctl::device(&group.0, &target.address.to_string());
        self.step(Step::GetDevice, &self.subject(target.address), open, |_| Seen::Done).map(Device)
    }

    fn by_iommufd(&self) -> Option<()> {
        let iommu = self.step(Step::Iommufd, &IOMMUFD, || Iommufd::open(&self.root), |_| Seen::Done)?;
        let space = self.step(Step::Ioas, &IOMMUFD, || iommu.space(), |_| Seen::Done)?;
        if self.wish.depth >= Depth::Open {
            return self.examine(&space, &IOMMUFD, |target| self.bind(target, &space));
        }
        for target in &self.wish.targets {
            self.open_node(target)?;
        }
        Some(())
    }

    fn open_node(&self, target: &Target) -> Option<OwnedFd> {
        let path = target.node.as_deref().unwrap_or_default();
        self.step(Step::Node, &self.subject(target.address), || open_node(&self.root, path), |_| Seen::Done)
    }

    fn bind(&self, target: &Target, space: &Space) -> Option<Device> {
        let subject = self.subject(target.address);
        let node = self.open_node(target)?;
        self.step(Step::Bind, &subject, || space.bind(&node), |()| Seen::Done)?;
        self.step(Step::AttachIoas, &subject, || space.attach(&node), |()| Seen::Done)?;
        Some(Device(node))
    }

    /// All devices are open at once, as they are for a guest: a reset of their bus is allowed only then.
    fn examine(&self, maps: &dyn Maps, way: &Subject, open: impl Fn(&Target) -> Option<Device>) -> Option<()> {
        let mut devices = Vec::new();
        for target in &self.wish.targets {
            devices.push((target.address, open(target)?));
        }
        for (address, device) in &devices {
            self.look(*address, device);
        }
        self.map(maps, way);
        for (address, device) in &devices {
            self.reset(*address, device);
        }
        let closed: Vec<bool> = devices.into_iter().map(|(address, device)| self.close(address, device)).collect();
        closed.into_iter().all(|is_there| is_there).then_some(())
    }

    fn look(&self, address: PciAddress, device: &Device) {
        let subject = self.subject(address);
        self.step(Step::Info, &subject, || device.info(), Seen::clone);
        self.step(Step::Regions, &subject, || device.regions(), |list| Seen::Regions(list.clone(), self.attribute(address, "resource")));
        self.step(Step::Config, &subject, || device.config(), |bytes| Seen::Config(bytes.clone(), self.attribute(address, "config")));
        self.step(Step::Interrupts, &subject, || device.interrupts(), Seen::clone);
    }

    fn map(&self, maps: &dyn Maps, way: &Subject) {
        let see = |mapping: &Mapping<'_>| Seen::Mapped { iova: mapping.iova, bytes: Mapping::BYTES };
        if let Some(mapping) = self.step(Step::Map, way, || Mapping::new(maps), see) {
            self.step(Step::Unmap, way, || mapping.unmap(), |count| Seen::Unmapped(*count, Mapping::BYTES));
        }
    }

    fn reset(&self, address: PciAddress, device: &Device) {
        let subject = self.subject(address);
        self.step(Step::ResetSet, &subject, || device.reset_set(), Seen::clone);
        if self.step(Step::Reset, &subject, || device.reset(), Seen::clone).is_some() {
            self.step(Step::ResetAgain, &subject, || device.reset(), Seen::clone);
        }
    }

    /// True where it is there afterwards.
    fn close(&self, address: PciAddress, device: Device) -> bool {
        let read = || {
            drop(device);
            Ok(self.attribute(address, "config"))
        };
        let see = |bytes: &Option<Vec<u8>>| Seen::Alive(bytes.as_deref().and_then(<[u8]>::first_chunk).copied());
        let bytes = self.step(Step::Close, &self.subject(address), read, see).flatten().unwrap_or_default();
        bytes.iter().any(|byte| *byte != 0xff)
    }

    fn attribute(&self, address: PciAddress, name: &str) -> Option<Vec<u8>> {
        self.root.read(format!("/sys/bus/pci/devices/{address}/{name}"), ATTRIBUTE_LIMIT).ok()
    }
}
