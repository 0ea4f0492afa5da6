//! What the host would lose. A device that it cannot do without is not given away.

use crate::intent::Identity;
use crate::plan::Refusal;
use cede_model::Host;
use cede_model::pci::PciAddress;
use std::collections::BTreeSet;

/// Mount points without which the host does not start or cannot be repaired.
const VITAL_MOUNTS: [&str; 8] = ["/", "/usr", "/etc", "/var", "/boot", "/boot/efi", "/efi", "/home"];

/// Every loss that is refused.
pub fn losses(host: &Host, ceded: &[Identity]) -> Vec<Refusal> {
    let addresses: Vec<PciAddress> = ceded.iter().map(|identity| identity.address).collect();
    only_display(host, &addresses).into_iter().chain(storage(host, &addresses)).collect()
}

fn only_display(host: &Host, ceded: &[PciAddress]) -> Option<Refusal> {
    let displays: Vec<_> = host.devices.iter().filter(|device| device.is_display()).collect();
    let lost = displays.iter().find(|device| ceded.contains(&device.address) && device.boot_vga == Some(true))?;
    let left = displays.iter().any(|device| !ceded.contains(&device.address));
    (!left).then(|| {
        Refusal::new(
            "only-display",
            format!("{} is the only display of this host: without it there is no screen to repair anything from", lost.address),
        )
    })
}

/// The chain from a ceded controller to what is mounted from it.
fn storage(host: &Host, ceded: &[PciAddress]) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = Vec::new();
    for (device, target) in mounted(host) {
        let mut carriers = BTreeSet::new();
        carriers_of(host, &device, 0, &mut carriers);
        let lost = carriers
            .iter()
            .find_map(|(name, link)| ceded.iter().find(|address| link.contains(&format!("/{address}/"))).map(|address| (name, address)));
        if let Some((name, address)) = lost {
            let chain = if *name == device { device.clone() } else { format!("{name} → {device}") };
            refusals.push(Refusal::new("host-storage", format!("{address} carries {chain} → {target}: the host lives on it")));
        }
    }
    refusals.sort_by(|a, b| a.message.cmp(&b.message));
    refusals.dedup();
    refusals
}

/// Block devices by kernel name with what they are used for: vital mounts and swap.
fn mounted(host: &Host) -> Vec<(String, String)> {
    let mut list = Vec::new();
    for line in host.capture.attribute("/proc/self/mountinfo").unwrap_or_default().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (Some(number), Some(target)) = (words.get(2), words.get(4)) else { continue };
        if VITAL_MOUNTS.contains(target) {
            let source = words.iter().skip_while(|word| **word != "-").nth(2).copied().unwrap_or_default();
            list.extend(by_number(host, number).or_else(|| by_path(source)).map(|name| (name, (*target).to_owned())));
        }
    }
    for line in host.capture.attribute("/proc/swaps").unwrap_or_default().lines().skip(1) {
        list.extend(line.split_whitespace().next().and_then(by_path).map(|name| (name, "swap".to_owned())));
    }
    list
}

/// Filesystems such as btrfs show a number that no block device has; their source path names one.
fn by_number(host: &Host, number: &str) -> Option<String> {
    let has = |name: &&str| host.capture.attribute(&format!("/sys/class/block/{name}/dev")) == Some(number);
    host.capture.names_in("/sys/class/block").find(has).map(str::to_owned)
}

fn by_path(source: &str) -> Option<String> {
    source.strip_prefix("/dev/").filter(|name| !name.contains('/')).map(str::to_owned)
}

/// A block device and all that it is made of, with their places in `/sys/devices`.
fn carriers_of(host: &Host, name: &str, depth: u8, found: &mut BTreeSet<(String, String)>) {
    let Some(link) = host.capture.link(&format!("/sys/class/block/{name}")).filter(|_| depth < 16) else { return };
    if found.insert((name.to_owned(), link.to_owned())) {
        let slaves: Vec<&str> = host.capture.names_in(&format!("/sys/class/block/{name}/slaves")).collect();
        for slave in slaves {
            carriers_of(host, slave, depth + 1, found);
        }
    }
}
