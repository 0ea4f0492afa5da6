//! Machines that were once foretold wrongly, kept from `cargo xtask oracle`: the groups that the kernel made, and those foretold without them.

#![allow(clippy::unwrap_used, reason = "clippy's exemption of tests does not reach what stands beside the tests here")]

use cede_model::iommu::Topology;
use cede_model::iommu::state::IVRS;
use cede_model::pci::PciAddress;
use cede_model::{Capture, Host, capture_text};
use std::collections::BTreeSet;

const AMD: &str = include_str!("../../../fixtures/hosts/qemu-amd-virtual-functions/host.capture");
const VIRTIO: &str = include_str!("../../../fixtures/hosts/qemu-virtio-unit/host.capture");

type Partition = BTreeSet<BTreeSet<PciAddress>>;

fn made(capture: &Capture) -> Partition {
    Host::from_capture(capture.clone()).groups.iter().map(|group| group.devices.iter().copied().collect()).collect()
}

/// With neither groups nor, where so wished, AMD's table.
fn foretold(capture: &Capture, with_table: bool) -> Partition {
    let mut bare = capture.clone();
    let is_left_out = |path: &str| path.contains("iommu_group") || path == IVRS && !with_table;
    let left_out: Vec<String> = capture.entries().map(|(path, _)| path.to_owned()).filter(|path| is_left_out(path)).collect();
    left_out.iter().for_each(|path| drop(bare.remove(path)));
    let topology = Topology::of(&Host::from_capture(bare));
    topology.prediction().groups().unwrap().iter().map(|group| group.iter().copied().collect()).collect()
}

#[test]
fn what_amds_table_does_not_name_has_no_group() {
    let capture = capture_text::parse(AMD).unwrap();
    assert_eq!(foretold(&capture, true), made(&capture));
    let without: Vec<PciAddress> = foretold(&capture, false).difference(&made(&capture)).flatten().copied().collect();
    let named = ["00:04.1", "00:04.2", "00:04.3", "00:0b.1", "00:0b.2", "00:0b.3", "00:0b.4"];
    assert_eq!(without, named.map(|text| text.parse().unwrap()), "the table is what tells");
}

#[test]
fn virtios_unit_has_no_group() {
    let capture = capture_text::parse(VIRTIO).unwrap();
    let made = made(&capture);
    assert_eq!(foretold(&capture, true), made);
    assert!(made.len() > 5 && !made.iter().flatten().any(|address| *address == "00:02.0".parse().unwrap()));
}
