//! Takes identities out of what was read of disks and networks. What leads where stays the same.

use super::replaced;
use crate::capture::{Capture, Entry};
use crate::counted;
use crate::uses::block_names::BLOCK;
use crate::uses::keyboards::{self, INPUT};
use crate::uses::mounts::{Mount, mounts};
use crate::uses::net::{self, NET, SESSION, SSH_CONNECTION, Session};
use crate::uses::remote::{FIBRE_CHANNEL, is_remote, server};
use crate::uses::routes::{Route, default_routes, interfaces_to, preferred, routes};
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Scrubs; returns what was scrubbed, one line each.
pub(super) fn scrub_uses(capture: &mut Capture) -> Vec<String> {
    let mut said = Vec::new();
    cut_uuids(capture);
    if let Some(text) = capture.file(INPUT).map(|bytes| keyboards::scrubbed(&String::from_utf8_lossy(bytes))) {
        capture.insert(INPUT, Entry::File(text.into_bytes()));
        said.push("input devices, of which the keyboards stay, without their names".to_owned());
    }
    let addresses = Addresses::of(capture);
    addresses.write(capture);
    if !addresses.made_up.is_empty() || capture.file("/proc/net/route").is_some() {
        said.push("network addresses, of which the interfaces that lead there stay".to_owned());
    }
    said
}

/// Names of disks and interfaces that have a serial number or a MAC address in them, and what stands for those.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    /// A text, a path or the target of a link without them.
    pub(super) fn clean(&self, text: &[u8]) -> Vec<u8> {
        self.0.iter().fold(text.to_vec(), |text, (old, new)| replaced(&text, old.as_bytes(), new.as_bytes()))
    }

    /// What was done about them.
    pub(super) fn said(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| format!("serial numbers and MAC addresses in {}", counted(self.0.len(), "name")))
    }
}

/// Multipath maps are named by the serial numbers of their disks, which their UUIDs repeat (multipath-tools: libmultipath/devmapper.c
/// `UUID_PREFIX`), and cards by their MAC addresses: two letters for the kind, `x`, the address (systemd: net_id.c `names_mac`).
pub(super) fn telling_names(capture: &Capture) -> Names {
    let mut names = BTreeMap::new();
    let hex_run = |name: &str| {
        let runs = name.split(|c: char| !c.is_ascii_hexdigit()).map(str::to_owned).collect::<Vec<_>>();
        runs.into_iter().find(|run| run.len() >= 16)
    };
    for device in capture.names_in(BLOCK) {
        let Some(mapped) = capture.attribute(&format!("{BLOCK}/{device}/dm/name")) else { continue };
        let uuid = capture.attribute(&format!("{BLOCK}/{device}/dm/uuid")).and_then(|uuid| uuid.split_once("mpath-"));
        let serial = uuid.map(|(_, serial)| serial).filter(|serial| serial.len() >= 8 && mapped.contains(serial));
        if let Some(run) = serial.map(str::to_owned).or_else(|| hex_run(mapped)) {
            let number = names.len() + 1;
            names.entry(run).or_insert_with(|| format!("{number:016}"));
        }
    }
    for interface in capture.names_in(NET) {
        let digits = ["enx", "ibx", "slx", "wlx", "wwx"].iter().find_map(|start| interface.strip_prefix(start)).unwrap_or_default();
        if digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let number = names.len() + 1;
            names.entry(digits.to_owned()).or_insert_with(|| format!("{number:012}"));
        }
    }
    Names(names)
}

/// Of the UUID of a mapped device only its maker is needed, `LVM-…`, `mpath-…`, `part1-mpath-…`, and the type where it is cryptsetup:
/// `CRYPT-LUKS2-…`.
fn cut_uuids(capture: &mut Capture) {
    let paths: Vec<String> = capture.names_in(BLOCK).map(|name| format!("{BLOCK}/{name}/dm/uuid")).collect();
    for path in paths {
        let Some(uuid) = capture.attribute(&path).map(str::to_owned) else { continue };
        let count = if uuid.starts_with("CRYPT-") { 2 } else { 1 };
        let maker: String = uuid.split('-').take(count).map(|word| format!("{word}-")).collect();
        capture.insert(path, Entry::File(format!("{maker}\n").into_bytes()));
    }
}

/// Addresses and what they become: each a network of its own in 198.18.0.0/15 (RFC 2544), routed as the true one is.
struct Addresses {
    routes: Vec<Route>,
    session: Session,
    made_up: BTreeMap<IpAddr, usize>,
}

impl Addresses {
    fn of(capture: &Capture) -> Self {
        let mut all: BTreeSet<IpAddr> = BTreeSet::new();
        all.extend(mounts(capture).unwrap_or_default().iter().filter(|mount| is_remote(mount)).filter_map(server));
        all.extend(connections(capture).iter().filter_map(|path| capture.attribute(path)?.parse::<IpAddr>().ok()));
        all.extend(controllers(capture).iter().filter_map(|path| transport(capture.attribute(path)?)));
        let made_up = all.into_iter().enumerate().map(|(index, address)| (address, index + 1)).collect();
        Self { routes: routes(capture), session: net::session(capture), made_up }
    }

    fn alias(&self, address: IpAddr) -> String {
        self.made_up.get(&address).map(|number| format!("198.{}.{}.1", 18 + number / 256, number % 256)).unwrap_or_default()
    }

    fn write(&self, capture: &mut Capture) {
        if capture.file("/proc/net/route").is_some() {
            capture.insert("/proc/net/route", Entry::File(self.v4().into_bytes()));
        }
        if capture.file("/proc/net/ipv6_route").is_some() {
            capture.insert("/proc/net/ipv6_route", Entry::File(self.v6().into_bytes()));
        }
        if capture.file(SESSION).is_some() {
            let text = match self.session {
                Session::Local => format!("{SSH_CONNECTION}127.0.0.1 1 127.0.0.1 22\n"),
                _ => format!("{SSH_CONNECTION}198.18.0.1 1 198.18.0.2 22\n"),
            };
            capture.insert(SESSION, Entry::File(text.into_bytes()));
        }
        self.rewrite_mounts(capture);
        for path in connections(capture).into_iter().chain(controllers(capture)) {
            let Some(text) = capture.attribute(&path).map(str::to_owned) else { continue };
            let new = match (text.parse().ok(), transport(&text)) {
                (Some(address), _) => self.alias(address),
                (None, Some(address)) => format!("{TRANSPORT}{}", self.alias(address)),
                (None, None) if text.contains(FIBRE_CHANNEL) => format!("{TRANSPORT}{FIBRE_CHANNEL}0"),
                // A name, or an address with the interface behind it.
                (None, None) if text.contains(TRANSPORT) => format!("{TRANSPORT}server"),
                (None, None) if path.starts_with(ISCSI) => "server".to_owned(),
                (None, None) => continue,
            };
            capture.insert(path, Entry::File(format!("{new}\n").into_bytes()));
        }
    }

    /// The default routes, and one route for each made-up address and interface.
    fn v4(&self) -> String {
        let mut text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n".to_owned();
        for route in default_routes(&self.routes, false) {
            let _ = writeln!(text, "{}\t00000000\t00000000\t0003\t0\t0\t{}\t00000000\t0\t0\t0", route.interface, route.metric);
        }
        let by_session = match &self.session {
            Session::Over(interfaces) => interfaces.clone(),
            Session::Local | Session::Unseen(_) => Vec::new(),
        };
        let by_address = self.made_up.iter().flat_map(|(address, number)| {
            preferred(interfaces_to(&self.routes, *address)).into_iter().map(move |route| (*number, route.interface.clone()))
        });
        for (number, interface) in by_session.into_iter().map(|interface| (0, interface)).chain(by_address) {
            let _ = writeln!(
                text,
                "{interface}\t00{:02X}{:02X}C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
                number % 256,
                18 + number / 256
            );
        }
        text
    }

    fn v6(&self) -> String {
        let zero = "0".repeat(32);
        let line =
            |route: &&Route| format!("{zero} 00 {zero} 00 {zero} {:08x} 00000001 00000000 00000003 {}\n", route.metric, route.interface);
        default_routes(&self.routes, true).iter().map(line).collect()
    }

    /// Of a file system that is not of this machine its type and the way to it stay.
    fn rewrite_mounts(&self, capture: &mut Capture) {
        let Some(text) = capture.file("/proc/self/mountinfo").map(|bytes| String::from_utf8_lossy(bytes).into_owned()) else { return };
        // Snapshots of ZFS have an `@` in their names; options of eCryptfs are the marks of keys (ecryptfs(7)).
        let is_meant = |mount: &Mount| is_remote(mount) || mount.kind == "ecryptfs" || (mount.kind != "zfs" && names_server(&mount.source));
        let remote: Vec<_> = mounts(capture).unwrap_or_default().into_iter().filter(is_meant).collect();
        let line = |line: &str| {
            let before = line.split(" - ").next().unwrap_or_default();
            let mount = remote
                .iter()
                .find(|mount| line.contains(&format!(" - {} ", mount.kind)) && before.split(' ').nth(2) == Some(&mount.number));
            let Some(mount) = mount else { return format!("{line}\n") };
            let address = server(mount).filter(|_| is_remote(mount)).map(|address| format!(",addr={}", self.alias(address)));
            format!("{before} - {} server:/share rw{}\n", mount.kind, address.unwrap_or_default())
        };
        let new: String = text.lines().map(line).collect();
        if !remote.is_empty() {
            capture.insert("/proc/self/mountinfo", Entry::File(new.into_bytes()));
        }
    }
}

/// True for `scheme://…`, `user@server:…`, `server:/path` and `//server/share`.
pub(super) fn names_server(source: &str) -> bool {
    source.starts_with("//") || (!source.starts_with('/') && (source.contains('@') || source.contains(":/")))
}

const ISCSI: &str = "/sys/class/iscsi_connection";

/// How the address of an NVMe controller of another machine begins.
const TRANSPORT: &str = "traddr=";

fn connections(capture: &Capture) -> Vec<String> {
    let names = capture.names_in(ISCSI).flat_map(|name| ["address", "persistent_address"].map(|what| format!("{ISCSI}/{name}/{what}")));
    names.collect()
}

fn controllers(capture: &Capture) -> Vec<String> {
    capture.names_in("/sys/class/nvme").map(|name| format!("/sys/class/nvme/{name}/address")).collect()
}

fn transport(text: &str) -> Option<IpAddr> {
    text.split(',').find_map(|part| part.trim().strip_prefix(TRANSPORT))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uses::routes::interfaces_to;

    fn text(capture: &mut Capture, path: &str, text: &str) {
        capture.insert(path, Entry::File(text.as_bytes().to_vec()));
    }

    #[test]
    fn addresses_go_and_the_ways_stay() {
        let mut capture = Capture::new();
        text(
            &mut capture,
            "/proc/net/route",
            "Iface\tD\tG\tF\tR\tU\tM\tMask\neth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\neth1\t0003A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n",
        );
        text(&mut capture, SESSION, "SSH_CONNECTION=192.168.3.9 51000 192.168.3.2 22\n");
        text(
            &mut capture,
            "/proc/self/mountinfo",
            "40 1 0:50 / /srv rw - nfs4 nas.home:/vol rw,vers=4.2,addr=192.168.3.7\n29 1 8:1 / / rw - ext4 /dev/sda1 rw\n",
        );
        text(&mut capture, "/sys/class/nvme/nvme1/address", "traddr=10.1.1.1,trsvcid=4420\n");
        let before = (net::session(&capture), net::leading_to(&capture, "10.1.1.1".parse().ok()));
        assert_eq!(scrub_uses(&mut capture).len(), 1);
        let all: String = capture.entries().filter_map(|(path, _)| capture.attribute(path)).collect();
        for secret in ["192.168", "nas.home", "/vol", "A8C0", "10.1.1.1"] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
        for (path, old, new) in [
            ("iscsi_connection/connection1:0/persistent_address", "nas.home", "server"),
            ("nvme/nvme2/address", "traddr=fe80::5054:ff:fe12:3456%eth0,trsvcid=1", "traddr=server"),
            ("nvme/nvme0/address", "0000:02:00.0", "0000:02:00.0"),
        ] {
            let path = format!("/sys/class/{path}");
            text(&mut capture, &path, old);
            scrub_uses(&mut capture);
            assert_eq!(capture.attribute(&path), Some(new));
        }
        let target = transport(capture.attribute("/sys/class/nvme/nvme1/address").unwrap());
        assert_eq!(before, (net::session(&capture), net::leading_to(&capture, target)));
        let list = mounts(&capture).unwrap();
        let server: IpAddr = list[0].option("addr").unwrap().parse().unwrap();
        assert_eq!(interfaces_to(&routes(&capture), server)[0].interface, "eth1");
        assert_eq!((list[0].kind.as_str(), list[1].source.as_str()), ("nfs4", "/dev/sda1"));
        let once = capture.clone();
        scrub_uses(&mut capture);
        assert_eq!(net::session(&capture), net::session(&once));
    }

    #[test]
    fn names_that_tell_a_serial_number_go_everywhere_alike() {
        let mut capture = Capture::new();
        text(&mut capture, "/sys/class/block/dm-0/dm/name", "3600508b4000156d700012000000b0000\n");
        text(&mut capture, "/sys/class/block/dm-0/dm/uuid", "mpath-3600508b4000156d700012000000b0000\n");
        text(&mut capture, "/sys/class/block/dm-1/dm/uuid", "LVM-WUvJy0ZtJ1\n");
        text(&mut capture, "/proc/self/mountinfo", "29 1 254:0 / / rw - ext4 /dev/mapper/3600508b4000156d700012000000b0000 rw\n");
        capture.insert(
            "/sys/class/net/enx0011aabbccdd",
            Entry::Link("../../devices/pci0000:00/0000:00:14.0/usb1/1-1/net/enx0011aabbccdd".into()),
        );
        assert_eq!(crate::scrub::Scrubber::default().scrub(&mut capture), ["serial numbers and MAC addresses in 2 names"]);
        let name = capture.attribute("/sys/class/block/dm-0/dm/name").unwrap().to_owned();
        assert!(!name.contains("3600508b") && mounts(&capture).unwrap()[0].source.ends_with(&name));
        assert_eq!(capture.attribute("/sys/class/block/dm-0/dm/uuid"), Some("mpath-"));
        assert_eq!(capture.attribute("/sys/class/block/dm-1/dm/uuid"), Some("LVM-"));
        let interface = capture.names_in(NET).next().unwrap().to_owned();
        assert!(!interface.contains("aabb") && capture.link(&format!("{NET}/{interface}")).unwrap().ends_with(&interface));
    }

    #[test]
    fn many_servers_have_an_address_each() {
        let mut capture = Capture::new();
        text(&mut capture, "/proc/net/route", "Iface\tD\tG\tF\tR\tU\tM\tMask\neth1\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\n");
        let path = |number: usize| format!("{ISCSI}/connection{number}:0/address");
        (1..=300).for_each(|number| text(&mut capture, &path(number), &format!("10.0.{}.{}", number / 256, number % 256)));
        scrub_uses(&mut capture);
        let new: BTreeSet<IpAddr> = (1..=300).map(|number| capture.attribute(&path(number)).unwrap().parse().unwrap()).collect();
        assert_eq!(new.len(), 300);
        assert!(new.iter().all(|address| interfaces_to(&routes(&capture), *address)[0].interface == "eth1"));
    }
}
