//! The functions that the host will not have any more.

use super::stakes::Stakes;
use crate::intent::Identity;
use cede_model::Host;
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::uses::graph::{Chain, Fate, Graph};

/// What goes: functions that a guest has already carry nothing of the host, and a virtual function goes with its physical one.
pub(super) struct Gone<'a> {
    host: &'a Host,
    addresses: Vec<PciAddress>,
    /// Those that go at the next start whatever is decided now.
    already: Vec<PciAddress>,
}

impl<'a> Gone<'a> {
    pub(super) fn new(stakes: &'a Stakes<'_>, ceded: &[Identity]) -> Self {
        let host = stakes.host;
        let is_used = |address: &PciAddress| !host.device(*address).is_some_and(PciDevice::is_on_vfio);
        let addresses: Vec<PciAddress> = ceded.iter().map(|identity| identity.address).filter(is_used).collect();
        let already = stakes.going().iter().copied().filter(|address| !addresses.contains(address)).collect();
        Self { host, addresses, already }
    }

    /// Those that were named; virtual functions go with them.
    pub(super) fn addresses(&self) -> &[PciAddress] {
        &self.addresses
    }

    pub(super) fn has(&self, address: PciAddress) -> bool {
        self.addresses.contains(&address) || self.host.device(address).is_some_and(|device| self.takes(device))
    }

    /// As [`Self::has`], of a function at hand.
    pub(super) fn takes(&self, device: &PciDevice) -> bool {
        is_of(&self.addresses, device)
    }

    /// True for a function that goes at the next start without being named now.
    pub(super) fn had_gone(&self, address: PciAddress) -> bool {
        !self.already.is_empty() && self.host.device(address).is_some_and(|device| is_of(&self.already, device))
    }

    /// What becomes of a thing. One that would go on with less is lost where the rest of it goes at the next start already.
    pub(super) fn fate(&self, graph: &Graph, key: &str) -> Fate {
        match graph.fate(key, &|address| self.has(address)) {
            Fate::Degraded(chain) if !self.already.is_empty() => {
                match graph.fate(key, &|address| self.has(address) || self.had_gone(address)) {
                    Fate::Lost(rest) => Fate::Lost(Chain { over_network: rest.over_network, ..chain }),
                    _ => Fate::Degraded(chain),
                }
            }
            fate => fate,
        }
    }

    /// True for a thing that the next start does not find, whatever is decided now.
    pub(super) fn was_lost(&self, graph: &Graph, key: &str) -> bool {
        !self.already.is_empty() && matches!(graph.fate(key, &|address| self.had_gone(address)), Fate::Lost(_))
    }

    /// Behind the way to a thing that is lost only because others went before: ` (0000:00:17.0 ahci goes at the next start already)`.
    pub(super) fn others(&self, graph: &Graph, key: &str) -> String {
        if !matches!(graph.fate(key, &|address| self.has(address)), Fate::Degraded(_)) {
            return String::new();
        }
        let below = graph.functions_below(key);
        let names: Vec<String> =
            below.into_iter().filter(|address| self.had_gone(*address)).map(|address| self.function(address)).collect();
        let verb = if names.len() == 1 { "goes" } else { "go" };
        format!(" ({} {verb} at the next start already)", names.join(", "))
    }

    /// The first one of a kind.
    pub(super) fn first(&self, is_meant: impl Fn(&PciDevice) -> bool) -> Option<&'a PciDevice> {
        self.addresses.iter().filter_map(|address| self.host.device(*address)).find(|device| is_meant(device))
    }

    /// `0000:02:00.0 nvme`.
    pub(super) fn function(&self, address: PciAddress) -> String {
        let driver = self.host.device(address).and_then(PciDevice::driver_name);
        driver.map_or_else(|| address.to_string(), |driver| format!("{address} {driver}"))
    }

    /// `0000:02:00.0 nvme → nvme0n1p3 → LUKS luks-… → LVM vg0/root`.
    pub(super) fn shown(&self, chain: &Chain) -> String {
        let links = chain.links.iter().map(ToString::to_string);
        std::iter::once(self.function(chain.function)).chain(links).collect::<Vec<_>>().join(" → ")
    }
}

fn is_of(list: &[PciAddress], device: &PciDevice) -> bool {
    list.contains(&device.address) || device.physical_function.is_some_and(|address| list.contains(&address))
}
