//! What the host has at stake, read once for all the choices that are judged by it.

use super::display::{self, ids_told_at};
use crate::binding::modprobe_config;
use crate::by_address;
use crate::parameter;
use cede_model::Host;
use cede_model::Observed;
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::uses::graph::{Fate, Graph};
use cede_model::uses::keyboards::{Keyboard, keyboards};
use cede_model::uses::net::{self, Session};
use cede_model::uses::routes::other_defaults;
use cede_model::uses::storage::{Storage, Used};
use std::cell::OnceCell;
use std::collections::BTreeSet;

/// Disks, networks, keyboards and screens of a host, each read when it is first asked for: on a large host reading them costs far more than
/// judging one group by them.
pub struct Stakes<'a> {
    pub(super) host: &'a Host,
    storage: OnceCell<Kept>,
    network: OnceCell<Network>,
    keyboards: OnceCell<Observed<Vec<Keyboard>>>,
    screens: OnceCell<Vec<&'a PciDevice>>,
    going: OnceCell<Vec<PciAddress>>,
}

/// What is kept on disks, and for each use of them what it rests on.
pub(super) struct Kept {
    pub(super) storage: Storage,
    /// In the order of [`Storage::used`].
    pub(super) rests: Vec<Rest>,
}

/// What a use rests on.
pub(super) struct Rest {
    /// Functions whose going touches it: those on the way to it, and of virtual ones the physical.
    pub(super) on: BTreeSet<PciAddress>,
    /// What becomes of it when none of them goes.
    pub(super) untouched: Fate,
}

impl Kept {
    fn read(host: &Host) -> Self {
        let storage = Storage::read(&host.capture);
        let physical = |address: &PciAddress| host.device(*address)?.physical_function;
        let rest = |used: &Used| {
            let mut on = storage.graph.functions_below(&used.key);
            on.extend(on.iter().filter_map(physical).collect::<Vec<_>>());
            Rest { on, untouched: storage.graph.fate(&used.key, &|_| false) }
        };
        Self { rests: storage.used.iter().map(rest).collect(), storage }
    }
}

/// Interfaces, and what depends on them.
pub(super) struct Network {
    pub(super) graph: Graph,
    /// Of IPv4 and IPv6, the interfaces of the default route and those that would take over.
    pub(super) defaults: [(Vec<String>, Vec<String>); 2],
    /// Names of the tables besides the main one that have a default route.
    pub(super) other_defaults: Vec<String>,
    pub(super) session: Session,
}

impl<'a> Stakes<'a> {
    /// Those of a host.
    pub fn new(host: &'a Host) -> Self {
        Self {
            host,
            storage: OnceCell::new(),
            network: OnceCell::new(),
            keyboards: OnceCell::new(),
            screens: OnceCell::new(),
            going: OnceCell::new(),
        }
    }

    /// Those of a host until its next start, at which more may go.
    pub(super) fn now(host: &'a Host) -> Self {
        let stakes = Self::new(host);
        let _ = stakes.going.set(Vec::new());
        stakes
    }

    pub(super) fn kept(&self) -> &Kept {
        self.storage.get_or_init(|| Kept::read(self.host))
    }

    pub(super) fn network(&self) -> &Network {
        let capture = &self.host.capture;
        self.network.get_or_init(|| Network {
            graph: net::graph(capture),
            defaults: [net::defaults(capture, false), net::defaults(capture, true)],
            other_defaults: other_defaults(capture).into_iter().map(str::to_owned).collect(),
            session: net::session(capture),
        })
    }

    pub(super) fn keyboards(&self) -> &Observed<Vec<Keyboard>> {
        self.keyboards.get_or_init(|| keyboards(&self.host.capture))
    }

    /// The displays that have connectors of their own.
    pub(super) fn screens(&self) -> &[&'a PciDevice] {
        self.screens.get_or_init(|| self.host.devices.iter().filter(|device| display::has_connectors(device)).collect())
    }

    /// Functions that the host has now and vfio-pci takes at the next start as things stand: an operation before, or their owner, said so.
    pub(super) fn going(&self) -> &[PciAddress] {
        self.going.get_or_init(|| going(self.host))
    }
}

fn going(host: &Host) -> Vec<PciAddress> {
    let told = told_at(host);
    let goes = |device: &&PciDevice| !device.is_on_vfio() && told(device).is_some();
    host.devices.iter().filter(goes).map(|device| device.address).collect()
}

/// Where it is said that vfio-pci is to have a function from the next start on: `/etc/modprobe.d/vfio.conf:2`.
pub(crate) fn told_at(host: &Host) -> impl Fn(&PciDevice) -> Option<String> {
    let ((ids, ids_at), config) = (ids_told_at(host), modprobe_config(host));
    let by_address = by_address::told(&config);
    let line = config.install("vfio_pci").map(|(_, source)| format!("{}:{}", source.path, source.line)).unwrap_or_default();
    move |device| {
        let id = device.id?;
        let whole = device.subsystem.map_or_else(|| id.to_string(), |subsystem| format!("{id}:{subsystem}"));
        let is_at = |told: &by_address::Told| told.address() == Some(device.address) && told.is_of(id);
        if ids.iter().any(|item| parameter::covers(item, &whole)) {
            return Some(ids_at.clone());
        }
        by_address.iter().any(is_at).then(|| line.clone())
    }
}
