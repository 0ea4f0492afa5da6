//! Random machines: what hangs on the slots of their root buses.

use super::parts::{self, BALLOON, Bridge, Bus, ENDPOINTS};
use super::random::Random;

/// What translates addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// VT-d, Debian's kernel.
    Intel,
    /// VT-d, the backported kernel.
    IntelNewer,
    /// AMD-Vi, the backported kernel, as Linux 6.1 does not start with it.
    Amd,
    /// virtio's, the backported kernel, as Debian's has no driver.
    Virtio,
}

impl Unit {
    /// Machine by machine in turn.
    pub(super) const ALL: [Self; 4] = [Self::Intel, Self::Amd, Self::Virtio, Self::IntelNewer];

    /// QEMU's device, at a place of its own where it is a PCI function.
    fn device(self) -> &'static str {
        match self {
            Self::Intel | Self::IntelNewer => "intel-iommu,intremap=on,caching-mode=on",
            Self::Amd => "amd-iommu,intremap=on",
            Self::Virtio => "virtio-iommu-pci,addr=2",
        }
    }

    /// The chipset's: host bridge, ISA bridge, disks, SMBus; and the unit itself where it is one.
    fn own_functions(self) -> usize {
        match self {
            Self::Intel | Self::IntelNewer => 4,
            Self::Amd | Self::Virtio => 5,
        }
    }
}

/// A machine to build.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// Its number in the seed.
    pub(super) number: u64,
    /// What translates addresses.
    pub(super) unit: Unit,
    /// Each argument of `-device` or `-object`, in order.
    pub(super) devices: Vec<String>,
    /// Words for the kernel's command line.
    pub(super) words: Vec<String>,
    /// Functions that must be found, without virtual ones.
    pub(super) functions: usize,
    /// Virtual functions that must come when they are switched on.
    pub(super) virtual_functions: usize,
    /// Slots of root buses with something in them.
    pub(super) topologies: usize,
}

/// Slots of the first root bus that nothing else of the machine takes.
const FIRST_SLOT: u8 = 4;
/// The deepest chain of bridges.
const DEEPEST: u8 = 5;
/// Functions of a machine beyond which nothing is added: bus numbers and windows of I/O ports end somewhere.
const MOST_FUNCTIONS: usize = 60;

/// The machine of a seed with this number, with so many topologies.
pub(super) fn machine(seed: u64, number: u64, topologies: usize) -> Machine {
    let at = usize::try_from(number).unwrap_or(0) % Unit::ALL.len();
    let unit = Unit::ALL.get(at).copied().unwrap_or(Unit::Intel);
    let machine = Machine {
        number,
        unit,
        devices: vec![format!("-device {}", unit.device())],
        words: Vec::new(),
        functions: unit.own_functions(),
        virtual_functions: 0,
        topologies,
    };
    let mut builder = Builder { machine, random: Random::new(seed, number), made: 0, most: 0, odd: false };
    builder.build(topologies);
    builder.machine
}

struct Builder {
    machine: Machine,
    random: Random,
    /// Names given so far.
    made: usize,
    /// Functions beyond which the present topology does not grow.
    most: usize,
    /// Below a bridge behind which extended configuration space may not be seen, and virtual functions with it.
    odd: bool,
}

impl Builder {
    fn build(&mut self, topologies: usize) {
        let mut slot = FIRST_SLOT;
        let mut complexes: Vec<(String, u8)> = Vec::new();
        for _ in 0..topologies {
            if complexes.len() < 3 && self.random.percent(12) {
                let number = complexes.len() + 1;
                self.add(&format!("pxb-pcie,id=root{number},bus_nr={},bus=pcie.0,addr={slot:x}", number * 64));
                complexes.push((format!("root{number}"), 0));
                slot += 1;
            }
            let room = MOST_FUNCTIONS.saturating_sub(self.machine.functions) / 2;
            self.most = self.machine.functions + room.clamp(1, usize::from(self.random.between(2, 16)));
            match complexes.last_mut().filter(|_| self.random.percent(60)) {
                Some((bus, next)) => {
                    let (bus, place) = (bus.clone(), format!("{next:x}.0,multifunction=off"));
                    *next += 1;
                    // QEMU takes nothing else there.
                    let bridge = self.random_bridge(Bus::Root);
                    self.bridge(bridge, &bus, &place, 0);
                    self.odd = false;
                }
                None => {
                    self.slot("pcie.0", Bus::Root, slot, 0);
                    slot += self.random.between(1, 2);
                }
            }
        }
        self.parameters();
    }

    /// One slot: a function, or several.
    fn slot(&mut self, bus: &str, kind: Bus, device: u8, depth: u8) {
        if self.random.percent(70) {
            let flag = if self.random.percent(12) { "on" } else { "off" };
            return self.function(bus, kind, &format!("{device:x}.0,multifunction={flag}"), depth);
        }
        let mut number = 0;
        let step = self.random.weigh(&[(80, 1), (15, 2), (5, 3)]);
        let last = self.random.weigh(&[(50, 1), (35, 3), (15, 7)]);
        while number <= last && self.has_room() {
            let flag = if number == 0 || self.random.percent(40) { "on" } else { "off" };
            self.member(bus, kind, &format!("{device:x}.{number},multifunction={flag}"), depth);
            number += step;
        }
    }

    /// A function alone in its slot, where virtual ones have room.
    fn function(&mut self, bus: &str, kind: Bus, place: &str, depth: u8) {
        let has_room = matches!(kind, Bus::Root | Bus::Port) && !self.odd && self.machine.unit != Unit::Virtio;
        if has_room && self.random.percent(12) {
            return self.with_virtual_functions(bus, place);
        }
        self.member(bus, kind, place, depth);
    }

    fn member(&mut self, bus: &str, kind: Bus, place: &str, depth: u8) {
        let chance = match kind {
            Bus::Root => 70,
            Bus::Port => 45,
            Bus::Switch => 80,
            Bus::Conventional => 30,
        };
        if depth < DEEPEST && self.has_room() && self.random.percent(chance) {
            let bridge = self.random_bridge(kind);
            let outer = self.odd;
            self.odd |= kind == Bus::Switch && bridge == Bridge::Upstream;
            self.bridge(bridge, bus, place, depth);
            self.odd = outer;
            return;
        }
        let endpoint = self.endpoint();
        self.add(&format!("{endpoint},bus={bus},addr={place}"));
    }

    /// A machine has one balloon at most.
    fn endpoint(&mut self) -> &'static str {
        match self.random.pick(&ENDPOINTS) {
            BALLOON if self.machine.devices.iter().any(|device| device.contains(BALLOON)) => "virtio-rng-pci",
            endpoint => endpoint,
        }
    }

    /// QEMU's virtio unit refuses functions behind a conventional bridge, which it knows by the bridge's number alone; the kernel then
    /// makes no group for them.
    fn random_bridge(&mut self, kind: Bus) -> Bridge {
        match self.random.weigh(&parts::bridges(kind)) {
            Bridge::ToPci | Bridge::Pci | Bridge::Intel82801 if self.machine.unit == Unit::Virtio => Bridge::PlainRootPort,
            bridge => bridge,
        }
    }

    fn bridge(&mut self, bridge: Bridge, bus: &str, place: &str, depth: u8) {
        self.made += 1;
        let (id, device) = (format!("b{}", self.made), bridge.device(self.made));
        self.add(&format!("{device},id={id},bus={bus},addr={place}"));
        let behind = bridge.leads_to();
        self.odd |= behind == Bus::Conventional;
        if behind == Bus::Port {
            if self.has_room() && self.random.percent(88) {
                self.slot(&id, behind, 0, depth + 1);
            }
            return;
        }
        // QEMU's bridge from PCI Express keeps the first slot for its hot-plug controller.
        let mut device = self.random.between(u8::from(bridge == Bridge::ToPci), 3);
        for _ in 0..self.random.between(0, 4) {
            if self.has_room() {
                self.slot(&id, behind, device, depth + 1);
                device += self.random.between(1, 4);
            }
        }
    }

    fn with_virtual_functions(&mut self, bus: &str, place: &str) {
        self.made += 1;
        let (number, count) = (self.made, self.random.between(1, 7));
        self.machine.devices.push(format!("-device nvme-subsys,id=s{number}"));
        let queues = 2 * usize::from(count) + 2;
        self.add(&format!(
            "nvme,serial=v,subsys=s{number},sriov_max_vfs={count},max_ioqpairs={queues},msix_qsize={},sriov_vq_flexible={},sriov_vi_flexible={count},bus={bus},addr={place}",
            queues + 1,
            2 * count,
        ));
        self.machine.virtual_functions += usize::from(count);
    }

    fn add(&mut self, device: &str) {
        self.machine.devices.push(format!("-device {device}"));
        self.machine.functions += 1;
    }

    fn has_room(&self) -> bool {
        self.machine.functions < self.most
    }

    /// What the owner of a machine may have told the kernel about ACS.
    fn parameters(&mut self) {
        let mut words = vec!["realloc"];
        if self.random.percent(15) {
            words.push(self.random.pick(&["disable_acs_redir=pci:1b36:c", "disable_acs_redir=0000:00:04.0", "disable_acs_redir=pci:0:0"]));
        } else if self.random.percent(15) {
            words.push(self.random.pick(&[
                "config_acs=0000000@pci:1b36:c",
                "config_acs=xx1x0x1@pci:1b36:c",
                "config_acs=1111111@pci:8086:3420",
            ]));
        }
        self.machine.words.push(format!("pci={}", words.join(",")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_number_is_a_machine() {
        assert_eq!(machine(3, 8, 6).devices, machine(3, 8, 6).devices);
        assert_ne!(machine(3, 8, 6).devices, machine(3, 12, 6).devices);
        assert_ne!(machine(3, 8, 6).devices, machine(4, 8, 6).devices);
    }

    #[test]
    fn every_function_is_counted_and_has_a_place_of_its_own() {
        for number in 0..200 {
            let machine = machine(9, number, 6);
            let placed: Vec<&String> = machine.devices.iter().filter(|device| device.contains("bus=")).collect();
            assert_eq!(placed.len() + machine.unit.own_functions(), machine.functions);
            let place = |device: &&String| {
                device.split(',').filter(|word| word.starts_with("bus=") || word.starts_with("addr=")).collect::<String>()
            };
            assert_eq!(placed.iter().map(place).collect::<BTreeSet<_>>().len(), placed.len(), "{placed:?}");
            assert!(machine.functions <= MOST_FUNCTIONS + 6, "{number}: {}", machine.functions);
            assert!(placed.iter().filter(|device| device.contains(BALLOON)).count() <= 1);
            let bridges = placed.iter().filter_map(|device| device.split("pcie-pci-bridge,id=").nth(1)?.split(',').next());
            for bridge in bridges {
                assert!(!placed.iter().any(|device| device.contains(&format!("bus={bridge},addr=0."))), "{placed:?}");
            }
        }
    }

    #[test]
    fn all_kinds_come() {
        let machines: Vec<Machine> = (0..200).map(|number| machine(9, number, 6)).collect();
        let all = machines.iter().flat_map(|machine| &machine.devices).cloned().collect::<Vec<_>>().join("\n");
        for part in ENDPOINTS {
            assert!(all.contains(&format!("-device {part},bus=")), "{part}");
        }
        for part in [
            "pxb-pcie",
            "sriov_max_vfs=7",
            "bus=root2",
            "x3130-upstream",
            "xio3130-downstream",
            "pcie-root-port,disable-acs=on",
            "addr=0.7",
        ] {
            assert!(all.contains(part), "{part}");
        }
        let virtio = |machine: &&Machine| machine.unit == Unit::Virtio;
        let conventional = ["pci-bridge", "i82801b11-bridge"];
        assert!(machines.iter().filter(virtio).all(|machine| !conventional.iter().any(|part| machine.devices.join(" ").contains(part))));
    }
}
