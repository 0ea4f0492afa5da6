//! The groups of real machines, predicted from their configuration space, against those that the kernel formed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

use cede_model::iommu::{Origin, PredictInput, PredictOptions, Prediction, predict};
use cede_model::pci::{ConfigSpace, PciAddress, PciClass, PciId, Upstream};
use cede_model::{Capture, capture_text};
use std::collections::{BTreeMap, BTreeSet};

const DEVICES: &str = "/sys/bus/pci/devices";

/// Board, its capture, how many functions have a group, how many groups there are.
const HOSTS: [(&str, &str, usize, usize); 4] = [
    ("hp-omen-obelisk-i7-8700", include_str!("../../../fixtures/hosts/hp-omen-obelisk-i7-8700/host.capture"), 22, 15),
    ("gigabyte-x570-aorus-master", include_str!("../../../fixtures/hosts/gigabyte-x570-aorus-master/host.capture"), 45, 31),
    ("asus-wrx80e-sage", include_str!("../../../fixtures/hosts/asus-wrx80e-sage/host.capture"), 88, 73),
    ("acer-alder-lake-vmd", include_str!("../../../fixtures/hosts/acer-alder-lake-vmd/host.capture"), 38, 26),
];

type Partition = BTreeSet<BTreeSet<PciAddress>>;

#[derive(Clone, Copy, PartialEq)]
enum Look {
    /// As root, with the tree of sysfs.
    Root,
    /// As root, without the tree: bus numbers have to tell.
    Flat,
    /// As root, before an IOMMU driver switched ACS on.
    AcsOff,
    /// As anyone: 64 bytes.
    User,
    /// As anyone, with the hint that link attributes give.
    UserWithHint,
}

fn number(capture: &Capture, address: PciAddress, name: &str) -> u32 {
    let text = capture.attribute(&format!("{DEVICES}/{address}/{name}")).unwrap();
    u32::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

fn id(capture: &Capture, address: PciAddress, vendor: &str, device: &str) -> PciId {
    let half = |name| u16::try_from(number(capture, address, name)).unwrap();
    PciId { vendor: half(vendor), device: half(device) }
}

fn config(capture: &Capture, address: PciAddress, look: Look) -> Vec<u8> {
    let mut bytes = capture.file(&format!("{DEVICES}/{address}/config")).unwrap().to_vec();
    match look {
        Look::User | Look::UserWithHint => bytes.truncate(64),
        Look::AcsOff => {
            if let Some(acs) = ConfigSpace::from_sysfs(&bytes).extended_capability(0x0d).known() {
                let control = usize::from(acs.offset) + 6;
                bytes[control..control + 2].fill(0);
            }
        }
        Look::Root | Look::Flat => {}
    }
    bytes
}

fn look_at(capture: &Capture, look: Look) -> Prediction {
    let addresses: Vec<PciAddress> = capture.names_in(DEVICES).map(|name| name.parse().unwrap()).collect();
    let configs: Vec<Vec<u8>> = addresses.iter().map(|address| config(capture, *address, look)).collect();
    let inputs: Vec<PredictInput<'_>> = addresses.iter().zip(&configs).map(|(at, bytes)| input(capture, *at, bytes, look)).collect();
    predict(&inputs, &PredictOptions::default())
}

fn input<'a>(capture: &Capture, address: PciAddress, bytes: &'a [u8], look: Look) -> PredictInput<'a> {
    let whole = capture.file(&format!("{DEVICES}/{address}/config")).unwrap();
    let link = capture.link(&format!("{DEVICES}/{address}")).unwrap();
    PredictInput {
        address,
        id: Some(id(capture, address, "vendor", "device")),
        subsystem: Some(id(capture, address, "subsystem_vendor", "subsystem_device")),
        class: PciClass(number(capture, address, "class")),
        config: ConfigSpace::from_sysfs(bytes),
        upstream: if look == Look::Flat { Upstream::Unknown } else { Upstream::from_device_link(link) },
        physical_function: None,
        is_express: (look == Look::UserWithHint).then(|| ConfigSpace::from_sysfs(whole).express().known().is_some()),
    }
}

fn kernels_groups(capture: &Capture) -> Partition {
    let mut groups: BTreeMap<&str, BTreeSet<PciAddress>> = BTreeMap::new();
    for name in capture.names_in(DEVICES) {
        if let Some(link) = capture.link(&format!("{DEVICES}/{name}/iommu_group")) {
            groups.entry(link.rsplit('/').next().unwrap()).or_default().insert(name.parse().unwrap());
        }
    }
    groups.into_values().collect()
}

fn partition(groups: &[Vec<PciAddress>]) -> Partition {
    groups.iter().map(|group| group.iter().copied().collect()).collect()
}

#[test]
fn the_kernels_groups_are_predicted_from_configuration_space() {
    for (board, text, functions, groups) in HOSTS {
        let capture = capture_text::parse(text).unwrap();
        let kernel = kernels_groups(&capture);
        assert_eq!((kernel.iter().flatten().count(), kernel.len()), (functions, groups), "{board}");
        for look in [Look::Root, Look::Flat, Look::AcsOff] {
            let prediction = look_at(&capture, look);
            assert_eq!(prediction.origin(), Origin::Predicted, "{board}");
            assert_eq!(partition(prediction.groups().unwrap()), kernel, "{board}");
        }
    }
}

#[test]
fn without_root_the_kernels_groups_lie_between_the_bounds() {
    for (board, text, ..) in HOSTS {
        let capture = capture_text::parse(text).unwrap();
        for look in [Look::User, Look::UserWithHint] {
            let bounds = look_at(&capture, look);
            assert_eq!((bounds.origin(), bounds.groups()), (Origin::Bounds, None), "{board}");
            for group in kernels_groups(&capture) {
                for address in &group {
                    let certain: BTreeSet<_> = bounds.certain_with(*address).iter().copied().collect();
                    let possible: BTreeSet<_> = bounds.possible(*address).iter().copied().collect();
                    assert!(
                        certain.is_subset(&group) && group.is_subset(&possible),
                        "{board} {address}: {certain:?} {group:?} {possible:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_graphics_card_goes_with_its_audio_function_and_its_port() {
    let capture = capture_text::parse(HOSTS[0].1).unwrap();
    let gpu = "01:00.0".parse().unwrap();
    let show = |prediction: &Prediction| {
        let found = prediction.inseparable(gpu).unwrap();
        let list: Vec<String> = found.companions.iter().map(|c| format!("{} {:?} bridge={}", c.address, c.tie, c.is_bridge)).collect();
        (list, found.known_by)
    };
    let with_root = ["0000:00:01.0 Group bridge=true", "0000:01:00.1 Group bridge=false"].map(String::from).to_vec();
    assert_eq!(show(&look_at(&capture, Look::Root)), (with_root, Origin::Predicted));
    let (without, origin) = show(&look_at(&capture, Look::User));
    assert_eq!((without, origin), (vec!["0000:01:00.1 Slot bridge=false".to_string()], Origin::Bounds));
}
