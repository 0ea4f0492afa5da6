//! Disks and network cards of a real machine, stacked by the usual tools: what the guard says of each, as it was said there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy's exemption of tests does not reach what stands beside the tests here")]

use cede_model::{Host, capture_text};
use cede_plan::guard::{costs, losses};
use cede_plan::intent::Identity;

const CAPTURE: &str = include_str!("../../../fixtures/storage/nvme-stack/host.capture");

fn host() -> Host {
    Host::from_capture(capture_text::parse(CAPTURE).unwrap())
}

fn identities(host: &Host, addresses: &[&str]) -> Vec<Identity> {
    addresses.iter().map(|address| Identity::of(host.device(address.parse().unwrap()).unwrap()).unwrap()).collect()
}

/// Each loss and the way to it.
fn said(addresses: &[&str]) -> Vec<String> {
    let host = host();
    losses(&host, &identities(&host, addresses)).into_iter().map(|lost| format!("{}: {}", lost.loss.id(), lost.way)).collect()
}

#[test]
fn every_disk_is_traced_through_its_stack() {
    let mirrored = "p1 → RAID md0 → LUKS secret → LVM vault/data → /srv/data";
    for (address, expected) in [
        ("0000:02:00.0", Some(format!("redundancy: 0000:02:00.0 nvme → nvme0n1{mirrored}"))),
        ("0000:03:00.0", Some(format!("redundancy: 0000:03:00.0 nvme → nvme1n1{mirrored}"))),
        ("0000:04:00.0", Some("swap: 0000:04:00.0 nvme → nvme2n1p1 → swap".to_owned())),
        ("0000:05:00.0", Some("mounted-disk: 0000:05:00.0 nvme → nvme3n1 → btrfs pool → /srv/pool".to_owned())),
        ("0000:06:00.0", Some("mounted-disk: 0000:06:00.0 nvme → nvme4n1 → btrfs pool → /srv/pool".to_owned())),
        ("0000:07:00.0", Some("mounted-disk: 0000:07:00.0 nvme → nvme5n1 → LUKS plain → /srv/plain".to_owned())),
        ("0000:08:00.0", None),
        ("0000:00:02.0", Some("root-disk: 0000:00:02.0 virtio-pci → vda1 → /".to_owned())),
    ] {
        assert_eq!(said(&[address]), expected.into_iter().collect::<Vec<_>>(), "{address}");
    }
    assert_eq!(said(&["0000:02:00.0", "0000:03:00.0"]), [format!("mounted-disk: 0000:02:00.0 nvme → nvme0n1{mirrored}")]);
}

#[test]
fn what_is_not_in_the_table_need_not_be_taken_out_of_it() {
    let host = host();
    let advice = |address: &str| losses(&host, &identities(&host, &[address])).remove(0).advice;
    assert_eq!(advice("0000:04:00.0"), "the host swaps to it; run `swapoff /dev/nvme2n1p1` first");
    assert_eq!(advice("0000:07:00.0"), "the host uses it; run `umount /srv/plain` first");
}

#[test]
fn one_card_of_a_bond_costs_and_both_are_the_default_route() {
    let host = host();
    let cost = costs(&host, &identities(&host, &["0000:09:00.0"]));
    assert_eq!(cost, ["0000:09:00.0 e1000e → enp9s0 → bond bond0 → bridge br0 goes on with the other members"]);
    assert!(said(&["0000:09:00.0"]).is_empty() && said(&["0000:0a:00.0"]).is_empty());
    let both = said(&["0000:09:00.0", "0000:0a:00.0"]);
    assert_eq!(both.len(), 1);
    assert!(both.iter().all(|way| way.starts_with("network-route: ") && way.ends_with(" → bond bond0 → bridge br0 → the default route")));
}
