//! Listings of real machines, as people posted them: the groups foretold from the text, against those that the kernel formed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

use cede_model::Host;
use cede_model::iommu::foretell::{GroupOrigin, GroupTable};
use cede_model::lspci;
use cede_model::pci::PciAddress;
use std::collections::BTreeSet;

type Partition = BTreeSet<BTreeSet<PciAddress>>;

/// Machines whose partition comes out otherwise than the kernel's, and why. All others are exactly right.
const MISSES: [(&str, &str); 1] =
    [("noacs-sreeragvn", "the listing is `lspci -nn`: no capabilities, no bus numbers; only bounds can be given")];

/// Name, listing, and groups of the machines in fixtures/lspci.
macro_rules! machines {
    ($($name:literal),* $(,)?) => {
        [$(($name,
            include_bytes!(concat!("../../../fixtures/lspci/", $name, "/listing.txt")).as_slice(),
            include_str!(concat!("../../../fixtures/lspci/", $name, "/groups.txt")))),*]
    };
}

const MACHINES: [(&str, &[u8], &str); 17] = machines![
    "acer-wmi-lynne",
    "asm1812-switch",
    "asus-pn51",
    "emerson-mcom10-r1505g",
    "h310-ytec-coreboot",
    "hp-omen-obelisk-i7-8700",
    "joe-minor-xhci",
    "klara-modin",
    "mac-mini-2018-egpu",
    "n100-kallweit",
    "nemkin-usb",
    "noacs-sreeragvn",
    "orion-o6-arm64",
    "tb4-schaubschlaeger",
    "wrx80-sage-lambda-a",
    "wrx80-sage-lambda-b",
    "x570-aorus-master",
];

fn kernels_groups(text: &str) -> Partition {
    text.lines().map(|line| line.split(' ').map(|address| address.parse().unwrap()).collect()).collect()
}

/// What is foretold of a listing; groups that it shows itself are taken out first.
fn foretold(text: &str) -> (GroupOrigin, Host, GroupTable) {
    let unanswered: String = text.lines().filter(|line| !line.contains("IOMMU group")).map(|line| format!("{line}\n")).collect();
    let mut listings = lspci::read(unanswered.as_bytes());
    assert_eq!(listings.len(), 1);
    let host = Host::from_capture(listings.swap_remove(0).capture);
    let table = GroupTable::of(&host);
    (table.origin, host, table)
}

/// The answer may be of a part of the machine; what it does not mention is left out on both sides.
fn partition(table: &GroupTable, known: &Partition) -> Partition {
    let mentioned: BTreeSet<&PciAddress> = known.iter().flatten().collect();
    let rows =
        table.rows.iter().map(|row| row.devices.iter().filter(|address| mentioned.contains(address)).copied().collect::<BTreeSet<_>>());
    rows.filter(|row| !row.is_empty()).collect()
}

fn without_controls(text: &str) -> String {
    let cleared = |line: &str| if line.contains("ACSCtl:") { line.replace('+', "-") } else { line.to_owned() };
    text.lines().map(|line| cleared(line) + "\n").collect()
}

#[test]
fn the_kernels_groups_are_foretold_from_what_people_posted() {
    let (mut right, mut wrong) = (0, Vec::new());
    for (name, listing, groups) in MACHINES {
        let text = String::from_utf8_lossy(listing).into_owned();
        let kernel = kernels_groups(groups);
        for (look, text) in [("as posted", text.clone()), ("with ACS off", without_controls(&text))] {
            let (origin, _, table) = foretold(&text);
            if origin == GroupOrigin::Predicted && partition(&table, &kernel) == kernel {
                right += 1;
            } else {
                let found = partition(&table, &kernel);
                let differ = |one: &Partition, two: &Partition| format!("{:?}", one.difference(two).collect::<Vec<_>>());
                println!("{name} {look}: {origin:?}\n kernel {}\n found  {}", differ(&kernel, &found), differ(&found, &kernel));
                wrong.push(name);
            }
        }
    }
    let expected: Vec<&str> = MISSES.iter().flat_map(|(name, _)| [*name; 2]).collect();
    assert_eq!((right, wrong), (32, expected));
}

/// Where only bounds are known, the truth lies between them.
#[test]
fn without_root_the_kernels_groups_lie_between_the_bounds() {
    for (name, listing, groups) in MACHINES {
        let text = String::from_utf8_lossy(listing).into_owned();
        let mut user = String::new();
        for line in text.lines().filter(|line| !line.contains("ACSC") && !line.contains("Capabilities:")) {
            user.push_str(line);
            user.push_str(if line.contains("Control: I/O") { "\n\tCapabilities: <access denied>\n" } else { "\n" });
        }
        let kernel = kernels_groups(groups);
        let (_, host, _) = foretold(&user);
        let prediction = cede_model::iommu::foretell::foretell(&host);
        for group in &kernel {
            for address in group {
                let certain: BTreeSet<PciAddress> = prediction.certain_with(*address).iter().copied().collect();
                let possible: BTreeSet<PciAddress> = prediction.possible(*address).iter().copied().collect();
                assert!(certain.is_subset(group), "{} {address}: {certain:?} {group:?}", name);
                assert!(group.is_subset(&possible), "{} {address}: {group:?} {possible:?}", name);
            }
        }
    }
}
