use super::*;
use crate::pci::Field;

const ENDPOINT: u8 = 0;
const ROOT_PORT: u8 = 4;
const UPSTREAM: u8 = 5;
const DOWNSTREAM: u8 = 6;
const PCIE_TO_PCI: u8 = 7;
const INTEGRATED: u8 = 9;

/// One function laid out for a test; QEMU's numbers unless told otherwise.
#[derive(Clone)]
struct Sample {
    address: PciAddress,
    id: PciId,
    class: PciClass,
    bytes: Vec<u8>,
    upstream: Upstream,
    physical_function: Option<PciAddress>,
    is_express: Option<bool>,
}

fn at(address: &str) -> PciAddress {
    address.parse().unwrap()
}

fn conventional(address: &str) -> Sample {
    Sample {
        address: at(address),
        id: PciId { vendor: 0x1b36, device: 0x0001 },
        class: PciClass(0x020000),
        bytes: vec![0; 256],
        upstream: Upstream::Unknown,
        physical_function: None,
        is_express: None,
    }
    .numbered(0x1b36, 0x0001)
}

fn express(address: &str, kind: u8) -> Sample {
    let mut sample = conventional(address);
    sample.bytes.resize(4096, 0);
    (sample.bytes[0x06], sample.bytes[0x34]) = (0x10, 0x40);
    (sample.bytes[0x40], sample.bytes[0x42]) = (0x10, kind << 4 | 2);
    sample
}

fn root_port(address: &str, secondary: u8) -> Sample {
    express(address, ROOT_PORT).bridge(secondary, secondary).acs()
}

impl Sample {
    fn input(&self) -> PredictInput<'_> {
        PredictInput {
            address: self.address,
            id: Some(self.id),
            subsystem: None,
            class: self.class,
            config: ConfigSpace::from_sysfs(&self.bytes),
            upstream: self.upstream,
            physical_function: self.physical_function,
            is_express: self.is_express,
        }
    }

    fn numbered(mut self, vendor: u16, device: u16) -> Self {
        self.id = PciId { vendor, device };
        self.bytes[..2].copy_from_slice(&vendor.to_le_bytes());
        self.bytes[2..4].copy_from_slice(&device.to_le_bytes());
        self
    }

    fn bridge(mut self, secondary: u8, subordinate: u8) -> Self {
        self.class = PciClass(0x060400);
        self.bytes[0x0e] |= 1;
        (self.bytes[0x19], self.bytes[0x1a]) = (secondary, subordinate);
        self
    }

    fn acs(mut self) -> Self {
        self.bytes[0x100..0x106].copy_from_slice(&[0x0d, 0, 1, 0, 0x5f, 0]);
        self
    }

    fn multi(mut self) -> Self {
        self.bytes[0x0e] |= 0x80;
        self
    }

    fn class(mut self, class: u32) -> Self {
        self.class = PciClass(class);
        self
    }

    fn seen(mut self, bytes: usize) -> Self {
        self.bytes.truncate(bytes);
        self
    }

    fn below(mut self, upstream: Upstream) -> Self {
        self.upstream = upstream;
        self
    }

    fn virtual_of(mut self, physical: &str) -> Self {
        self.physical_function = Some(at(physical));
        self
    }
}

fn of(samples: &[Sample]) -> Prediction {
    of_with(samples, PredictOptions::default())
}

fn of_with(samples: &[Sample], options: PredictOptions) -> Prediction {
    predict(&samples.iter().map(Sample::input).collect::<Vec<_>>(), &options)
}

fn shown(sets: &[Vec<PciAddress>]) -> String {
    let short = |address: &PciAddress| address.to_string().trim_start_matches("0000:").to_string();
    sets.iter().map(|set| set.iter().map(short).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(" | ")
}

#[track_caller]
fn assert_groups(samples: &[Sample], expected: &str) {
    let prediction = of(samples);
    assert_eq!((shown(prediction.certain()).as_str(), prediction.origin()), (expected, Origin::Predicted));
}

#[test]
fn a_root_port_with_acs_stands_alone() {
    assert_groups(&[root_port("00:01.0", 1), express("01:00.0", ENDPOINT)], "00:01.0 | 01:00.0");
}

#[test]
fn a_root_port_without_acs_takes_what_is_below() {
    let port = express("00:01.0", ROOT_PORT).bridge(1, 1);
    assert_groups(&[port, express("01:00.0", ENDPOINT), express("00:02.0", INTEGRATED)], "00:01.0 01:00.0 | 00:02.0");
}

#[test]
fn functions_of_a_slot_share_a_group_unless_they_isolate() {
    let card = [express("01:00.0", ENDPOINT).multi(), express("01:00.1", ENDPOINT), express("01:00.2", ENDPOINT).acs()];
    assert_groups(&[vec![root_port("00:01.0", 1)], card.to_vec()].concat(), "00:01.0 | 01:00.0 01:00.1 | 01:00.2");
    let ports = [root_port("00:1c.0", 1).multi(), express("00:1c.1", ROOT_PORT).bridge(2, 2), express("00:1c.2", ROOT_PORT).bridge(3, 3)];
    let below = [express("01:00.0", ENDPOINT), express("02:00.0", ENDPOINT), express("03:00.0", ENDPOINT)];
    assert_groups(&[ports, below].concat(), "00:1c.0 | 00:1c.1 00:1c.2 02:00.0 03:00.0 | 01:00.0");
}

#[test]
fn a_switch_whose_downstream_ports_lack_acs_splits_all_the_same() {
    let switch = [
        root_port("00:01.0", 1),
        express("01:00.0", UPSTREAM).bridge(2, 4),
        express("02:00.0", DOWNSTREAM).bridge(3, 3),
        express("02:01.0", DOWNSTREAM).bridge(4, 4),
        express("03:00.0", ENDPOINT),
        express("04:00.0", ENDPOINT),
    ];
    assert_groups(&switch, "00:01.0 | 01:00.0 | 02:00.0 03:00.0 | 02:01.0 04:00.0");
    let isolation: Vec<_> = switch.iter().map(|port| of(&switch).isolates(port.address)).collect();
    assert_eq!(isolation, [Some(true), Some(true), Some(false), Some(false), Some(true), Some(true)]);
    let mut open = switch.clone();
    open[0] = express("00:01.0", ROOT_PORT).bridge(1, 4);
    assert_groups(&open, "00:01.0 01:00.0 02:00.0 02:01.0 03:00.0 04:00.0");
}

#[test]
fn switch_ports_that_take_themselves_for_the_other_kind_count_as_endpoints() {
    let port = root_port("00:01.0", 1);
    let wrong = [
        port,
        express("01:00.0", DOWNSTREAM).bridge(2, 3),
        express("02:00.0", DOWNSTREAM).bridge(3, 3).acs(),
        express("03:00.0", ENDPOINT),
    ];
    assert_groups(&wrong, "00:01.0 | 01:00.0 | 02:00.0 | 03:00.0");
    let inner = [
        root_port("00:01.0", 1),
        express("01:00.0", UPSTREAM).bridge(2, 4),
        express("02:05.0", UPSTREAM).bridge(3, 4),
        express("03:01.0", ROOT_PORT).bridge(4, 4),
        conventional("03:03.0"),
    ];
    assert_groups(&inner, "00:01.0 | 01:00.0 | 02:05.0 | 03:01.0 | 03:03.0");
    let mut several = inner.clone();
    several[2] = several[2].clone().multi();
    assert_groups(&several, "00:01.0 | 01:00.0 | 02:05.0 03:01.0 03:03.0");
}

#[test]
fn conventional_pci_is_one_group_with_its_bridge() {
    let nested = [
        root_port("00:01.0", 1),
        express("01:00.0", PCIE_TO_PCI).bridge(2, 3),
        conventional("02:00.0"),
        conventional("02:01.0").bridge(3, 3),
        conventional("03:04.0"),
    ];
    assert_groups(&nested, "00:01.0 | 01:00.0 02:00.0 02:01.0 03:04.0");
}

#[test]
fn an_iommu_does_not_translate_for_itself() {
    let amd = express("00:00.2", INTEGRATED).numbered(0x1022, 0x1631).class(0x080600);
    let virtio = conventional("00:02.0").numbered(0x1af4, 0x1057);
    assert_groups(&[amd, virtio, conventional("00:03.0").numbered(0x1af4, 0x1041)], "00:03.0");
}

#[test]
fn the_bridge_of_old_chipsets_takes_what_is_below() {
    let bridge = conventional("00:1e.0").numbered(0x8086, 0x244e).bridge(1, 1);
    let samples = [bridge, conventional("01:01.0"), conventional("01:02.0"), express("00:02.0", INTEGRATED).numbered(0x8086, 0x9a49)];
    assert_groups(&samples, "00:02.0 | 00:1e.0 01:01.0 01:02.0");
}

#[test]
fn chipset_functions_without_express_share_and_integrated_endpoints_of_intel_do_not() {
    let chipset = [conventional("00:1f.0").multi(), conventional("00:1f.3"), express("00:1f.4", INTEGRATED).numbered(0x8086, 0x15fb)];
    assert_groups(&chipset, "00:1f.0 00:1f.3 | 00:1f.4");
}

#[test]
fn functions_that_do_dma_as_another_one_share_its_group() {
    let port = || root_port("00:01.0", 1);
    let marvell = express("01:00.0", ENDPOINT).numbered(0x1b4b, 0x9230);
    let own = express("01:00.1", ENDPOINT).acs();
    assert_groups(&[port(), marvell, own], "00:01.0 | 01:00.0 01:00.1");
    let ntb = express("01:00.0", ENDPOINT).numbered(0x10b5, 0x87b0);
    assert_groups(&[port(), ntb, express("01:03.0", ENDPOINT).acs()], "00:01.0 | 01:00.0 01:03.0");
}

#[test]
fn what_a_switchtec_does_dma_as_cannot_be_told() {
    let ntb = express("01:00.1", ENDPOINT).numbered(0x11f8, 0x8532).class(0x068000).acs();
    let prediction = of(&[root_port("00:01.0", 1), express("01:00.0", ENDPOINT).multi().acs(), ntb]);
    assert_eq!(prediction.origin(), Origin::Bounds);
    assert_eq!(prediction.possible(at("01:00.0")), [at("01:00.0"), at("01:00.1")]);
}

#[test]
fn everything_in_a_domain_of_vmd_goes_with_the_vmd_endpoint() {
    let mut samples = vec![express("00:0e.0", INTEGRATED).numbered(0x8086, 0x467f)];
    samples.extend([root_port("10000:e0:06.0", 0xe1), express("10000:e1:00.0", ENDPOINT)]);
    assert_groups(&samples, "00:0e.0 10000:e0:06.0 10000:e1:00.0");
    samples.push(express("00:0d.0", INTEGRATED).numbered(0x8086, 0x467f));
    let two = of(&samples);
    assert_eq!((two.origin(), two.possible(at("00:0d.0")).len()), (Origin::Bounds, 4), "which one, the tree has to say");
    samples[1].upstream = Upstream::Vmd(at("00:0d.0"));
    assert_groups(&samples, "00:0d.0 10000:e0:06.0 10000:e1:00.0 | 00:0e.0");
}

#[test]
fn virtual_functions_stand_alone_also_on_a_bus_without_a_bridge() {
    let samples = [
        root_port("00:01.0", 1).bridge(1, 2),
        express("01:00.0", ENDPOINT).multi().acs(),
        express("01:00.1", ENDPOINT).acs(),
        express("01:00.2", ENDPOINT).virtual_of("01:00.0"),
        express("01:00.3", ENDPOINT).virtual_of("01:00.1"),
        express("02:00.0", ENDPOINT).virtual_of("01:00.0").seen(64),
    ];
    assert_groups(&samples, "00:01.0 | 01:00.0 | 01:00.1 | 01:00.2 | 01:00.3 | 02:00.0");
    let mut open = samples.to_vec();
    open[0] = express("00:01.0", ROOT_PORT).bridge(1, 2);
    assert_eq!(of(&open).certain_with(at("02:00.0")).len(), 6);
    let slot: Vec<_> = of(&samples).inseparable(at("01:00.2")).unwrap().companions;
    assert_eq!(slot, [], "virtual functions are handed out one by one");
}

#[test]
fn an_amd_iommu_and_the_host_bridge_before_it_have_no_group() {
    let samples = [
        conventional("00:00.0").numbered(0x1022, 0x1480).class(0x060000).multi(),
        conventional("00:00.2").numbered(0x1022, 0x1481).class(0x080600),
        conventional("00:01.0").numbered(0x1022, 0x1482).class(0x060000),
    ];
    assert_groups(&samples, "00:01.0");
    assert_eq!(of(&samples).possible(at("00:00.2")), []);
}

#[test]
fn the_ivrs_table_isolates_old_amd_south_bridges() {
    let bridge = conventional("00:14.4").numbered(0x1002, 0x4384).bridge(1, 1).multi();
    let samples = [conventional("00:14.0").numbered(0x1002, 0x4385).multi(), bridge, conventional("01:05.0")];
    assert_eq!(shown(of(&samples).certain()), "00:14.0 00:14.4 01:05.0");
    assert_eq!(shown(of_with(&samples, PredictOptions { ivrs: true, ..PredictOptions::default() }).certain()), "00:14.0 | 00:14.4 01:05.0");
}

#[test]
fn with_64_bytes_the_bounds_are_said() {
    let user = [
        root_port("00:01.0", 1).seen(64),
        express("01:00.0", ENDPOINT).multi().seen(64),
        express("01:00.1", ENDPOINT).seen(64),
        conventional("00:1e.0").bridge(2, 2).seen(64),
        conventional("02:05.0").seen(64),
        conventional("00:1f.0").multi().seen(64),
        conventional("00:1f.3").seen(64),
    ];
    let bounds = of(&user);
    assert_eq!((bounds.origin(), bounds.groups()), (Origin::Bounds, None));
    assert_eq!((bounds.isolates(at("00:01.0")), bounds.isolates(at("00:1f.0"))), (None, Some(false)));
    assert_eq!(shown(bounds.certain()), "00:01.0 | 00:1e.0 02:05.0 | 00:1f.0 00:1f.3 | 01:00.0 | 01:00.1");
    assert_eq!(bounds.possible(at("01:00.1")), [at("00:01.0"), at("01:00.0"), at("01:00.1")]);
    assert_eq!(bounds.possible(at("02:05.0")), bounds.certain_with(at("02:05.0")));
    let gpu = bounds.inseparable(at("01:00.0")).unwrap();
    assert_eq!(gpu.companions, [Companion { address: at("01:00.1"), is_bridge: false, tie: Tie::Slot }]);
    assert_eq!(gpu.known_by, Origin::Bounds);
}

#[test]
fn link_attributes_tell_a_conventional_bridge_from_a_port() {
    let bridge = |is_express| Sample { is_express, ..express("00:1e.0", ROOT_PORT).bridge(1, 1).seen(64) };
    let below = conventional("01:00.0").seen(64);
    assert_eq!(of(&[bridge(None), below.clone()]).origin(), Origin::Bounds);
    assert_eq!(of(&[bridge(Some(true)), below.clone()]).origin(), Origin::Bounds);
    assert_groups(&[bridge(Some(false)), below], "00:1e.0 01:00.0");
}

#[test]
fn bytes_that_change_nothing_need_not_be_read() {
    assert_groups(&[root_port("00:01.0", 1), express("01:00.0", ENDPOINT).seen(64)], "00:01.0 | 01:00.0");
}

#[test]
fn a_function_that_does_not_answer_is_unknown() {
    let mut dead = root_port("00:01.0", 1);
    dead.bytes.fill(0xff);
    let samples = [dead.clone(), root_port("00:02.0", 2), express("01:00.0", ENDPOINT), express("02:00.0", ENDPOINT)];
    let bounds = of(&samples);
    assert_eq!(bounds.origin(), Origin::Bounds);
    assert_eq!(bounds.possible(at("01:00.0")).len(), 4, "without the tree, it may be anywhere in the domain");
    let mut with_tree = samples.to_vec();
    with_tree[2].upstream = Upstream::Bridge(at("00:01.0"));
    with_tree[3].upstream = Upstream::Bridge(at("00:02.0"));
    assert_eq!(of(&with_tree).possible(at("01:00.0")), [at("00:01.0"), at("01:00.0")]);
    assert_eq!(of(&with_tree).possible(at("02:00.0")), [at("02:00.0")]);
}

#[test]
fn listings_that_cannot_be_true_end_in_bounds() {
    let circle =
        [root_port("00:01.0", 1).below(Upstream::Bridge(at("01:00.0"))), root_port("01:00.0", 2).below(Upstream::Bridge(at("00:01.0")))];
    let own = [root_port("00:01.0", 0).below(Upstream::Bridge(at("00:01.0"))), express("00:02.0", INTEGRATED)];
    let two_bridges = [root_port("00:01.0", 1), root_port("00:02.0", 1), express("01:00.0", ENDPOINT)];
    let missing = [root_port("00:01.0", 1), express("05:00.0", ENDPOINT).below(Upstream::Bridge(at("00:05.0")))];
    let gap = [root_port("00:01.0", 1).bridge(1, 9), express("05:00.0", ENDPOINT)];
    for samples in [&circle[..], &own, &two_bridges, &missing, &gap] {
        let bounds = of(samples);
        assert_eq!(bounds.origin(), Origin::Bounds);
        assert_eq!(bounds.possible(samples[0].address).len(), samples.len());
        assert_eq!(bounds.certain().iter().flatten().count(), samples.len());
    }
}

#[test]
fn nothing_and_the_same_twice() {
    let nothing = of(&[]);
    assert_eq!((nothing.groups(), nothing.inseparable(at("00:00.0"))), (Some(&[][..]), None));
    let twice = [root_port("00:01.0", 1), express("00:01.0", ROOT_PORT).bridge(1, 1), express("01:00.0", ENDPOINT)];
    assert_groups(&twice, "00:01.0 | 01:00.0");
}

#[test]
fn a_virtual_function_of_nobody_or_of_itself_does_no_harm() {
    let lone = express("01:00.1", ENDPOINT).virtual_of("09:00.0");
    let own = express("01:00.2", ENDPOINT).virtual_of("01:00.2");
    let below = express("02:00.0", ENDPOINT).below(Upstream::Bridge(at("01:00.2")));
    let prediction = of(&[root_port("00:01.0", 1), lone, own, below]);
    assert_eq!(prediction.certain().iter().flatten().count(), 4);
}

/// What is unknown can only widen what is possible and narrow what is certain, whatever is hidden.
#[test]
fn hiding_bytes_never_makes_a_wrong_claim() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for round in 0..300 {
        let mut full = Vec::new();
        let mut next_bus = 1;
        let mut buses = vec![0_u8];
        while let Some(bus) = buses.pop() {
            for device in 0..random(4) {
                for function in 0..=random(3) {
                    let address = PciAddress::new(0, bus, device as u8, function as u8).unwrap().to_string();
                    let kind = [ENDPOINT, ROOT_PORT, UPSTREAM, DOWNSTREAM, PCIE_TO_PCI, INTEGRATED][random(6) as usize];
                    let mut sample = if random(4) == 0 { conventional(&address) } else { express(&address, kind) };
                    if random(3) == 0 && next_bus < 20 {
                        sample = sample.bridge(next_bus, next_bus).below(Upstream::Unknown);
                        buses.push(next_bus);
                        next_bus += 1;
                    }
                    if random(2) == 0 && sample.bytes.len() == 4096 {
                        sample = sample.acs();
                    }
                    full.push(if function > 0 || random(2) == 0 { sample.multi() } else { sample });
                }
            }
        }
        let truth = of(&full);
        assert_eq!(truth.origin(), Origin::Predicted, "{round}");
        let hidden: Vec<Sample> = full.iter().map(|s| if random(2) == 0 { s.clone().seen(64) } else { s.clone() }).collect();
        let bounds = of(&hidden);
        for sample in &full {
            let group = truth.certain_with(sample.address);
            assert!(bounds.certain_with(sample.address).iter().all(|other| group.contains(other)), "{round} {}", sample.address);
            assert!(group.iter().all(|other| bounds.possible(sample.address).contains(other)), "{round} {}", sample.address);
        }
    }
}

#[test]
fn bytes_are_only_looked_at_where_they_matter() {
    let config = ConfigSpace::from_sysfs(&[]);
    assert_eq!(config.acs(), Field::Hidden);
    let unread = conventional("00:1f.0").seen(0);
    let bounds = of(&[unread.clone(), Sample { address: at("00:1f.3"), ..unread }]);
    assert_eq!((bounds.origin(), bounds.possible(at("00:1f.0")).len(), bounds.certain().len()), (Origin::Bounds, 2, 2));
}
