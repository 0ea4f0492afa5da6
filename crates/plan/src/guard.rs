//! What the host would lose. A device that it cannot do without is not given away.

use crate::binding;
use crate::bootloader;
use crate::intent::Identity;
use crate::parameter;
use crate::plan::Refusal;
use cede_model::Host;
use cede_model::pci::{PciAddress, PciDevice};
use std::collections::BTreeSet;

/// Mount points without which the host does not start or cannot be repaired.
const VITAL_MOUNTS: [&str; 8] = ["/", "/usr", "/etc", "/var", "/boot", "/boot/efi", "/efi", "/home"];

/// Every loss that is refused.
pub fn losses(host: &Host, ceded: &[Identity]) -> Vec<Refusal> {
    let addresses: Vec<PciAddress> = ceded.iter().map(|identity| identity.address).collect();
    only_display(host, &addresses).into_iter().chain(storage(host, &addresses)).chain(boot_not_mounted(host)).collect()
}

/// What the host will miss, and can do without.
pub fn costs(host: &Host, ceded: &[Identity]) -> Vec<String> {
    let routes = host.capture.attribute("/proc/net/route").unwrap_or_default();
    let default = routes.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        (words.next() == Some("00000000")).then_some(name)
    });
    let mut list = Vec::new();
    for name in default.collect::<BTreeSet<_>>() {
        let link = host.capture.link(&format!("/sys/class/net/{name}")).unwrap_or_default();
        if let Some(lost) = ceded.iter().find(|identity| link.contains(&format!("/{}/", identity.address))) {
            list.push(format!("{} carries {name}, the default route of this host: it will be without that network", lost.address));
        }
    }
    list
}

/// Where a boot partition is mounted (systemd: bootctl(1)).
const BOOT_MOUNTS: [&str; 3] = ["/boot", "/efi", "/boot/efi"];

/// A boot partition of `/etc/fstab` that is not mounted: what is written below its mount point would not be what the host starts from.
/// Nothing is said where the mounts could not be seen.
pub fn boot_not_mounted(host: &Host) -> Option<Refusal> {
    let mounts = String::from_utf8_lossy(host.capture.file("/proc/self/mountinfo")?);
    let is_mounted = |place: &str| mounts.lines().any(|line| line.split(' ').nth(4) == Some(place));
    let table = String::from_utf8_lossy(host.capture.file("/etc/fstab")?);
    let listed: Vec<&str> = table.lines().filter_map(mounted_at_start).collect();
    let place = BOOT_MOUNTS.into_iter().find(|place| listed.contains(place) && !is_mounted(place)).filter(|_| is_mounted("/"))?;
    Some(Refusal::new(
        "boot-not-mounted",
        format!(
            "{place} is listed in /etc/fstab and not mounted, so the boot configuration seen is not the one that is used: run `mount {place}`, then plan again"
        ),
    ))
}

/// The mount point of a line of fstab(5), unless it is mounted by hand or on the first access only.
fn mounted_at_start(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [source, place, _, options, ..] = words.as_slice() else { return None };
    let by_need = options.split(',').any(|option| matches!(option, "noauto" | "x-systemd.automount"));
    (!source.starts_with('#') && !by_need).then(|| place.trim_end_matches('/'))
}

/// The boot display is lost where no other one with a connector of its own stays with the host. Displays that the firmware did not use
/// are no loss by themselves: a host without any is looked after over the network or a serial line.
fn only_display(host: &Host, ceded: &[PciAddress]) -> Option<Refusal> {
    let screens: Vec<_> = host.devices.iter().filter(|device| device.is_display() && !is_render_only(device)).collect();
    let lost = screens.iter().filter(|device| ceded.contains(&device.address));
    let lost = lost.max_by_key(|device| device.boot_vga == Some(true))?;
    let told = ids_told(host);
    let goes = |device: &PciDevice| {
        let by_ids = device.id.is_some_and(|id| told.iter().any(|item| parameter::covers(item, &id.to_string())));
        ceded.contains(&device.address) || device.is_on_vfio() || by_ids
    };
    let in_use = |device: &PciDevice| device.boot_vga == Some(true);
    (screens.iter().all(|device| goes(device)) && screens.iter().any(|device| in_use(device))).then(|| {
        Refusal::new(
            "only-display",
            format!("{} is the only display of this host, and nothing could be repaired without a screen: add a second one, or switch the processor's own graphics on in the firmware's setup", lost.address),
        )
    })
}

/// 3D controllers (class 03 02) draw for another display.
fn is_render_only(device: &PciDevice) -> bool {
    device.class.is_some_and(|class| class.base_and_sub() == 0x0302)
}

/// Ids that vfio-pci will get at the next start as things stand.
fn ids_told(host: &Host) -> Vec<String> {
    let words = bootloader::find(host).map(|loader| loader.configured(host)).unwrap_or_default();
    let on_line = words.into_iter().rev().find(|word| parameter::split(&word.text).0 == parameter::VFIO_IDS).map(|word| word.text);
    let value = match on_line {
        Some(word) => parameter::split(&word).1.map(str::to_owned),
        None => binding::modprobe_config(host).option("vfio_pci", "ids").map(|(value, _)| value),
    };
    value.unwrap_or_default().split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

/// The chain from a ceded controller to what is mounted from it.
fn storage(host: &Host, ceded: &[PciAddress]) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = Vec::new();
    let used = used(host);
    for Use { device, target } in &used {
        let mut carriers = BTreeSet::new();
        carriers_of(host, device, 0, &mut carriers);
        let lost = carriers
            .iter()
            .find_map(|(name, link)| ceded.iter().find(|address| link.contains(&format!("/{address}/"))).map(|address| (name, address)));
        let Some((name, address)) = lost else { continue };
        let chain = if name == device { device.clone() } else { format!("{name} → {device}") };
        let what = if VITAL_MOUNTS.contains(&target.as_str()) {
            "the host lives on it; move that to another disk first, or choose another device".to_owned()
        } else if target == "swap" {
            "the host swaps to it; run `swapoff` and take it out of /etc/fstab first".to_owned()
        } else {
            format!("the host uses it; run `umount {target}` and take it out of /etc/fstab first")
        };
        refusals.push(Refusal::new("host-storage", format!("{address} carries {chain} → {target}: {what}")));
    }
    refusals.extend(unseen_storage(host, ceded, &used));
    refusals.sort_by(|a, b| a.message.cmp(&b.message));
    refusals.dedup();
    refusals
}

/// Where it cannot be told which disks carry `/` (ZFS, a capture without mounts), no storage controller is given away.
fn unseen_storage(host: &Host, ceded: &[PciAddress], used: &[Use]) -> Option<Refusal> {
    let seen = used.iter().any(|found| found.target == "/" && host.capture.link(&format!("/sys/class/block/{}", found.device)).is_some());
    let is_storage =
        |address: &&PciAddress| host.device(**address).and_then(|device| device.class).is_some_and(|class| class.base() == 0x01);
    let address = ceded.iter().find(is_storage).filter(|_| !seen)?;
    Some(Refusal::new(
        "host-storage-unknown",
        format!(
            "which disks carry / could not be seen (/proc/self/mountinfo, /sys/class/block), so {address} may be one of them: run on the host itself; for ZFS, choose another device"
        ),
    ))
}

/// A block device by kernel name and what it is used for.
struct Use {
    device: String,
    target: String,
}

/// Mounts and swap. Media that were put in by hand are no concern of the next start.
fn used(host: &Host) -> Vec<Use> {
    let mut list = Vec::new();
    let mut add = |names: Vec<String>, target: &str| list.extend(names.into_iter().map(|device| Use { device, target: target.to_owned() }));
    for line in host.capture.attribute("/proc/self/mountinfo").unwrap_or_default().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (Some(number), Some(target)) = (words.get(2), words.get(4)) else { continue };
        if ["/run/media/", "/media/"].iter().any(|place| target.starts_with(place)) {
            continue;
        }
        let source = words.iter().skip_while(|word| **word != "-").nth(2).copied().unwrap_or_default();
        let names = by_number(host, number).map_or_else(|| by_path(host, source), |name| vec![name]);
        add(with_btrfs_members(host, names), target);
    }
    for line in host.capture.attribute("/proc/swaps").unwrap_or_default().lines().skip(1) {
        add(line.split_whitespace().next().map(|source| by_path(host, source)).unwrap_or_default(), "swap");
    }
    list
}

/// Filesystems such as btrfs show a number that no block device has; their source path names one.
fn by_number(host: &Host, number: &str) -> Option<String> {
    let has = |name: &&str| host.capture.attribute(&format!("/sys/class/block/{name}/dev")) == Some(number);
    host.capture.names_in("/sys/class/block").find(has).map(str::to_owned)
}

/// A btrfs is mounted by one of its devices and needs them all.
fn with_btrfs_members(host: &Host, names: Vec<String>) -> Vec<String> {
    let members = |uuid: &str| host.capture.names_in(&format!("/sys/fs/btrfs/{uuid}/devices")).map(str::to_owned).collect::<Vec<_>>();
    let whole = host.capture.names_in("/sys/fs/btrfs").map(members).find(|list| list.iter().any(|member| names.contains(member)));
    whole.unwrap_or(names)
}

/// `/dev/NAME`; for `/dev/mapper/NAME` the device of that name, or every mapped device where names were not seen.
fn by_path(host: &Host, source: &str) -> Vec<String> {
    let Some(name) = source.strip_prefix("/dev/") else { return Vec::new() };
    let Some(mapped) = name.strip_prefix("mapper/") else { return if name.contains('/') { Vec::new() } else { vec![name.to_owned()] } };
    let all: Vec<&str> = host.capture.names_in("/sys/class/block").filter(|name| name.starts_with("dm-")).collect();
    let label = |name: &str| host.capture.attribute(&format!("/sys/class/block/{name}/dm/name"));
    match all.iter().find(|name| label(name) == Some(mapped)) {
        Some(name) => vec![(*name).to_owned()],
        None => all.iter().filter(|name| label(name).is_none()).map(|name| (*name).to_owned()).collect(),
    }
}

/// A block device and all that it is made of, with their places in `/sys/devices`.
fn carriers_of(host: &Host, name: &str, depth: u8, found: &mut BTreeSet<(String, String)>) {
    let Some(link) = host.capture.link(&format!("/sys/class/block/{name}")).filter(|_| depth < 16) else { return };
    if found.insert((name.to_owned(), link.to_owned())) {
        let slaves: Vec<&str> = host.capture.names_in(&format!("/sys/class/block/{name}/slaves")).collect();
        let below: Vec<&str> = slaves.into_iter().chain(nvme_paths(host, name, link)).collect();
        for lower in below {
            carriers_of(host, lower, depth + 1, found);
        }
    }
}

/// With native multipath a namespace `nvme0n1` is virtual, and `nvme0c1n1` is its way over controller 1 (drivers/nvme/host/multipath.c
/// `nvme_mpath_set_disk_name`).
fn nvme_paths<'a>(host: &'a Host, name: &str, link: &str) -> impl Iterator<Item = &'a str> {
    let split = name.strip_prefix("nvme").filter(|_| link.contains("/nvme-subsystem/")).and_then(|rest| rest.split_once('n'));
    let parts = split.map(|(subsystem, rest)| (format!("nvme{subsystem}c"), format!("n{}", rest.split('p').next().unwrap_or(rest))));
    let is_path = move |candidate: &&str| {
        parts.as_ref().is_some_and(|(head, tail)| {
            candidate
                .strip_prefix(head.as_str())
                .and_then(|rest| rest.strip_suffix(tail.as_str()))
                .is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
        })
    };
    host.capture.names_in("/sys/class/block").filter(is_path)
}
