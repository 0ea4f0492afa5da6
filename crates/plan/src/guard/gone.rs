//! The functions that the host will not have any more.

use crate::intent::Identity;
use cede_model::Host;
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::uses::graph::Chain;

/// What goes: functions that a guest has already carry nothing of the host, and a virtual function goes with its physical one.
pub(super) struct Gone<'a> {
    host: &'a Host,
    addresses: Vec<PciAddress>,
}

impl<'a> Gone<'a> {
    pub(super) fn new(host: &'a Host, ceded: &[Identity]) -> Self {
        let is_used = |address: &PciAddress| !host.device(*address).is_some_and(PciDevice::is_on_vfio);
        Self { host, addresses: ceded.iter().map(|identity| identity.address).filter(is_used).collect() }
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
        let is_gone = |address| self.addresses.contains(&address);
        is_gone(device.address) || device.physical_function.is_some_and(is_gone)
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
