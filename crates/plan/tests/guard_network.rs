//! Networks, odd ones first: the card that the host's own traffic goes over is traced through bonds, bridges and what is made of them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Entry, Host};
use cede_plan::guard::{costs, losses};
use cede_plan::intent::{BindMethod, Identity};
use cede_plan::plan::Refusal;
use support::machine::{Loader, Machine};
use support::pci::Function;
use support::{assert_tells_what_to_do, at, plan_on};

const CARD: &str = "05:00.0";
const HEAD: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n";

/// The laptop with two network cards, of which the first one is ceded.
#[derive(Clone)]
struct Net(Machine, String);

impl Net {
    fn new() -> Self {
        let cards = [("0000:05:00.0", "igb"), ("0000:06:00.0", "iwlwifi")]
            .map(|(address, driver)| Function::new(address, "pci0000:00/0000:00:1d.1", (0x8086, 0x1533), 0x02_0000).driver(driver));
        let machine = Machine::arch(Loader::Grub).functions(&cards).text("/proc/self/mountinfo", "28 1 8:1 / / rw - tmpfs x rw\n");
        let net = Self(machine.text("/proc/swaps", ""), HEAD.to_owned());
        net.card("eth0", "0000:05:00.0").card("wlan0", "0000:06:00.0")
    }

    fn card(self, name: &str, address: &str) -> Self {
        self.link(name, &format!("pci0000:00/0000:00:1d.1/{address}/net/{name}")).text(&format!("/sys/class/net/{name}/operstate"), "up\n")
    }

    fn link(self, name: &str, path: &str) -> Self {
        Self(self.0.link(&format!("/sys/class/net/{name}"), &format!("../../devices/{path}")), self.1)
    }

    fn text(self, path: &str, text: &str) -> Self {
        Self(self.0.text(path, text), self.1)
    }

    /// A virtual interface of a kind above others.
    fn above(self, name: &str, kind: &str, lower: &[&str]) -> Self {
        let mut net =
            self.link(name, &format!("virtual/net/{name}")).text(&format!("/sys/class/net/{name}/uevent"), &format!("DEVTYPE={kind}\n"));
        for below in lower {
            net.0 = net.0.link(&format!("/sys/class/net/{name}/lower_{below}"), "x");
        }
        net
    }

    fn route(mut self, interface: &str, destination: &str, mask: &str, metric: u32) -> Self {
        self.1.push_str(&format!("{interface}\t{destination}\t00000000\t0003\t0\t0\t{metric}\t{mask}\t0\n"));
        let text = self.1.clone();
        self.text("/proc/net/route", &text)
    }

    fn default(self, interface: &str) -> Self {
        self.route(interface, "00000000", "00000000", 100)
    }

    /// 192.168.LAST.0/24.
    fn near(self, interface: &str, third: u8) -> Self {
        self.route(interface, &format!("00{third:02X}A8C0"), "00FFFFFF", 0)
    }

    fn ssh(self, connection: &str) -> Self {
        self.text("/proc/self/environ", &format!("SSH_CONNECTION={connection}\n"))
    }

    fn lost(&self, address: &str) -> Vec<(&'static str, String)> {
        let host = Host::from_capture(self.0.capture.clone());
        let identity = Identity::of(host.device(at(address)).unwrap()).unwrap();
        losses(&host, &[identity]).into_iter().map(|lost| (lost.loss.id(), Refusal::from(lost).message)).collect()
    }

    #[track_caller]
    fn loses(&self, id: &str, chain: &str) {
        let lost = self.lost(CARD);
        assert!(lost.iter().any(|(found, message)| *found == id && message.contains(chain)), "{id} by {chain} is not in {lost:#?}");
        assert_tells_what_to_do(&plan_on(&self.0.capture, &[CARD], BindMethod::Cmdline));
    }

    #[track_caller]
    fn loses_nothing(&self) {
        assert_eq!(self.lost(CARD), []);
    }

    fn notes(&self) -> Vec<String> {
        let host = Host::from_capture(self.0.capture.clone());
        costs(&host, &[Identity::of(host.device(at(CARD)).unwrap()).unwrap()])
    }
}

#[test]
fn the_default_route_and_what_it_goes_over() {
    Net::new().default("eth0").loses("network-route", "0000:05:00.0 igb → eth0 → the default route: ");
    Net::new().default("wlan0").loses_nothing();
    Net::new().near("eth0", 1).loses_nothing();
    let vlan = Net::new().above("eth0.5", "vlan", &["eth0"]).default("eth0.5");
    vlan.loses("network-route", "eth0 → VLAN eth0.5 → the default route");
    let guests = Net::new().above("vnet0", "", &[]).above("br0", "bridge", &["eth0", "vnet0"]).default("br0");
    guests.loses("network-route", "eth0 → bridge br0 → the default route");
    assert_eq!(guests.lost("06:00.0"), []);
    let v6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000002 00000000 00000003     eth0\n";
    Net::new().default("wlan0").text("/proc/net/ipv6_route", v6).loses("network-route", "eth0 → the default route");
    assert_eq!(Net::new().default("eth0").text("/proc/net/ipv6_route", v6).lost(CARD).len(), 1, "the same way is said once");
}

#[test]
fn a_way_that_only_waits_is_a_note() {
    let two = Net::new().default("eth0").route("wlan0", "00000000", "00000000", 600);
    two.loses("network-route", "wlan0 would take over");
    let behind = Net::new().default("wlan0").route("eth0", "00000000", "00000000", 600);
    behind.loses_nothing();
    assert_eq!(behind.notes(), ["0000:05:00.0 igb → eth0 → a default route that another one is preferred to"]);
}

#[test]
fn bonds_go_on_while_another_member_is_up() {
    let bond = Net::new().above("bond0", "bond", &["eth0", "wlan0"]).above("br0", "bridge", &["bond0"]).default("br0");
    bond.loses_nothing();
    assert_eq!(bond.notes(), ["0000:05:00.0 igb → eth0 → bond bond0 → bridge br0 goes on with the other members"]);
    let down = bond.text("/sys/class/net/wlan0/operstate", "down\n");
    down.loses("network-route", "eth0 → bond bond0 → bridge br0 → the default route");
    // The kernel shows the mode of a team nowhere.
    Net::new().above("team0", "", &["eth0", "wlan0"]).default("team0").loses("network-route", "eth0 → team0");
}

#[test]
fn what_a_route_goes_over_and_is_not_shown_may_be_any_card() {
    let dialled = Net::new().above("ppp0", "ppp", &[]).default("ppp0");
    dialled.loses("network-route", "0000:05:00.0 igb → eth0 may carry ppp0 → the default route: what ppp0 goes over is not shown");
    let gpu = plan_on(&dialled.0.capture, &["01:00.0"], BindMethod::Cmdline);
    assert!(gpu.refused.is_empty(), "{:?}", gpu.refused);
}

#[test]
fn cards_on_usb_and_virtual_functions() {
    let usb = Net::new().link("enu1", "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/net/enu1").default("enu1");
    usb.loses_nothing();
    let lost = usb.lost("00:14.0");
    assert!(lost[0].1.contains("0000:00:14.0 xhci_hcd → enu1 → the default route"), "{lost:?}");
    // The host uses a virtual function, and its physical one goes.
    let guest = Function::new("0000:05:02.0", "pci0000:00/0000:00:1d.1", (0x8086, 0x154c), 0x02_0000).driver("iavf");
    let mut net = Net::new().card("eth5", "0000:05:02.0").default("eth5");
    net.0 = net.0.functions(&[guest]).link("/sys/bus/pci/devices/0000:05:02.0/physfn", "../0000:05:00.0");
    let lost = net.lost(CARD);
    assert!(lost[0].1.contains("0000:05:02.0 iavf → eth5 → the default route"), "{lost:?}");
}

#[test]
fn the_session_is_found_by_either_end() {
    let near = || Net::new().near("eth0", 1).near("wlan0", 2).default("wlan0");
    near()
        .ssh("192.168.1.9 51000 192.168.1.2 22")
        .loses("ssh-session", "0000:05:00.0 igb → eth0 → this SSH session: the connection over which this is typed ends");
    near().ssh("192.168.2.9 51000 192.168.2.2 22").loses_nothing();
    near().ssh("10.0.0.9 51000 192.168.1.2 22").loses("ssh-session", "eth0");
    near().ssh("::ffff:192.168.1.9 51000 ::ffff:192.168.1.2 22").loses("ssh-session", "eth0");
    near().ssh("fe80::9%eth0 51000 fe80::2%eth0 22").loses("ssh-session", "eth0");
    for from_here in ["127.0.0.1 51000 127.0.0.1 22", "::1 5 ::1 22", "192.168.1.2 51000 192.168.1.2 22"] {
        near().ssh(from_here).loses_nothing();
    }
    // An address of 32 bits with everything behind a router.
    Net::new().default("eth0").ssh("203.0.113.9 51000 198.51.100.2 22").loses("ssh-session", "eth0 may carry this SSH session");
    // The session's own network is in another table, such as a VRF's.
    Net::new().default("wlan0").ssh("203.0.113.9 51000 198.51.100.2 22").loses("ssh-session", "eth0 may carry this SSH session");
    // From afar to the address of one card, while a default route of the other one only waits.
    let two = near().near("eth0", 1).route("eth0", "00000000", "00000000", 600);
    two.ssh("203.0.113.9 51000 192.168.2.2 22").loses_nothing();
    Net::new()
        .near("wlan0", 2)
        .ssh("2001:db8::9 5 2001:db8::2 22")
        .loses("ssh-session", "eth0 may carry this SSH session: the interface of this SSH session could not be told");
    Net::new().ssh("garbage").loses("ssh-session", "could not be understood");
    let mut closed = Net::new();
    closed.0.capture.insert("/proc/self/environ", Entry::Unreadable("EACCES".into()));
    closed.loses("ssh-session", "could not be read (EACCES)");
    closed.0.capture.insert("/proc/self/environ", Entry::Absent);
    closed.loses_nothing();
    let bond = Net::new().above("bond0", "bond", &["eth0", "wlan0"]).near("bond0", 1);
    bond.ssh("192.168.1.9 51000 192.168.1.2 22").loses_nothing();
}

#[test]
fn roots_and_disks_of_other_machines() {
    let net = || Net::new().near("eth0", 1).default("wlan0");
    let mounts = |net: Net, line: &str| net.text("/proc/self/mountinfo", &format!("{line}\n"));
    let nfs = "29 1 0:50 / / rw - nfs4 nas:/root rw,vers=4.2,clientaddr=192.168.1.2,addr=192.168.1.7";
    mounts(net(), nfs).loses("network-storage", "0000:05:00.0 igb → eth0 → nfs4 → /: the host reaches it over that interface");
    mounts(net(), &nfs.replace(",addr=192.168.1.7", ",addr=192.168.9.7")).loses_nothing();
    mounts(net(), "29 1 0:50 / /srv rw - ceph 192.168.1.7:6789:/ rw").loses("network-storage", "eth0 → ceph → /srv");
    let sshfs = "29 1 0:50 / /mnt/x rw - fuse.sshfs me@there:/x rw";
    // By name only: it may be behind the default route.
    assert_eq!(mounts(net(), sshfs).lost(CARD), []);
    let other = mounts(net(), sshfs).lost("06:00.0");
    assert!(other.iter().any(|(id, message)| *id == "network-storage" && message.contains("wlan0 → sshfs → /mnt/x")), "{other:?}");
    let disk = |net: Net, name: &str, path: &str| {
        let net = net.text(&format!("/sys/class/block/{name}/dev"), "65:0\n");
        let machine = net.0.link(&format!("/sys/class/block/{name}"), &format!("../../devices/{path}"));
        mounts(Net(machine, net.1), &format!("29 1 65:0 / / rw - ext4 /dev/{name} rw"))
    };
    let iscsi = disk(net(), "sdb", "platform/host3/session1/target3:0:0/3:0:0:0/block/sdb");
    let iscsi = iscsi.text("/sys/class/iscsi_connection/connection1:0/persistent_address", "192.168.1.7\n");
    iscsi.loses("network-storage", "eth0 → sdb → /");
    let offloaded = disk(net(), "sdb", "pci0000:00/0000:00:1d.1/0000:05:00.0/host3/session1/target3:0:0/3:0:0:0/block/sdb");
    offloaded.loses("root-disk", "0000:05:00.0 igb → sdb → /");
    let fabric = disk(net(), "nvme1n1", "virtual/nvme-fabrics/ctl/nvme1/nvme1n1");
    fabric.text("/sys/class/nvme/nvme1/address", "traddr=192.168.1.7,trsvcid=4420\n").loses("network-storage", "eth0 → nvme1n1 → /");
    let nbd = disk(Net::new().default("eth0"), "nbd0", "virtual/block/nbd0");
    nbd.loses("network-storage", "eth0 → nbd0 (from where is not shown) → /");
    let mut firmware = net();
    firmware.0 = firmware.0.link("/sys/firmware/ibft/ethernet0/device", "../../../devices/pci0000:00/0000:00:1d.1/0000:05:00.0");
    firmware.loses("boot-disk", "0000:05:00.0 igb → iSCSI boot ethernet0 → the disk that the firmware starts from");
}

#[test]
fn routes_in_other_tables_may_go_over_any_card() {
    let trie =
        "Id 100:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\nMain:\n  |-- 192.168.1.0\n     /24 link UNICAST\n";
    let ruled = |net: Net| net.text("/proc/net/fib_trie", trie);
    ruled(Net::new().near("eth0", 1)).loses("network-route", "0000:05:00.0 igb → eth0 may carry the default route of the table `Id 100`: ");
    ruled(Net::new().default("wlan0")).loses_nothing();
    let main_only = trie.replace("Id 100", "Main");
    Net::new().near("eth0", 1).text("/proc/net/fib_trie", &main_only).loses_nothing();
    let tunnel = Net::new().above("vx0", "vxlan", &[]).above("tap0", "", &[]).above("br0", "bridge", &["vx0", "tap0"]).default("br0");
    tunnel.loses("network-route", "eth0 may carry br0 → the default route: what vx0 goes over is not shown");
    Net::new().above("tap0", "", &[]).above("br0", "bridge", &["tap0"]).default("br0").loses_nothing();
}

#[test]
fn disks_of_other_machines_of_which_little_is_shown() {
    let mounts = |net: Net, line: &str| net.text("/proc/self/mountinfo", &format!("{line}\n"));
    let disk = |net: Net, name: &str, path: &str| {
        let net = net.text(&format!("/sys/class/block/{name}/dev"), "65:0\n");
        let machine = net.0.link(&format!("/sys/class/block/{name}"), &format!("../../devices/{path}"));
        mounts(Net(machine, net.1), &format!("29 1 65:0 / / rw - ext4 /dev/{name} rw"))
    };
    // Any card may lead to a server that is not shown, but one that is down.
    let nbd = disk(Net::new().default("wlan0"), "nbd0", "virtual/block/nbd0");
    nbd.loses("network-storage", "eth0 → nbd0 (from where is not shown) → /");
    nbd.text("/sys/class/net/eth0/operstate", "down\n").loses_nothing();
    let v6 = "20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n";
    let by_v6 = mounts(Net::new().default("wlan0").text("/proc/net/ipv6_route", v6), "29 1 0:50 / / rw - nfs [2001:db8::9]:/srv rw");
    by_v6.loses("network-storage", "eth0 → nfs → /");
    let ceph = "29 1 0:50 / /srv rw - ceph me@0a1b.fs=/ rw,mon_addr=192.168.1.7:6789/192.168.1.8:6789";
    mounts(Net::new().near("eth0", 1).default("wlan0"), ceph).loses("network-storage", "eth0 → ceph → /srv");
    // The route that is in use counts, not the one that waits.
    let waiting = Net::new().default("wlan0").route("eth0", "00000000", "00000000", 600);
    mounts(waiting, "29 1 0:50 / /srv rw - nfs4 nas:/ rw,addr=203.0.113.7").loses_nothing();
    let over_ethernet = Net::new().above("eth0.200", "vlan", &["eth0"]);
    let over_ethernet = disk(over_ethernet, "sdf", "virtual/net/eth0.200/ctlr_0/host8/rport-8:0-1/target8:0:0/8:0:0:0/block/sdf");
    over_ethernet.loses("network-storage", "eth0 → VLAN eth0.200 → sdf → /");
    let fabric = disk(Net::new().default("eth0"), "nvme5n1", "virtual/nvme-fabrics/ctl/nvme5/nvme5n1");
    let fabric = fabric.text("/sys/class/nvme/nvme5/address", "traddr=nn-0x20:pn-0x10,host_traddr=nn-0x21:pn-0x11\n");
    assert_eq!(fabric.lost(CARD).iter().map(|(id, _)| *id).collect::<Vec<_>>(), ["network-route"]);
    let lost = fabric.lost("02:00.0");
    assert!(lost[0].0 == "unseen-storage" && lost[0].1.contains("the Fibre Channel adapter of nvme5n1 is not shown"), "{lost:?}");
}

#[test]
fn an_array_over_two_networks_goes_on_with_less() {
    let mut net = Net::new().near("eth0", 1).near("wlan0", 2).text("/sys/class/block/dm-0/dev", "254:0\n");
    for (disk, session) in [("sdi", 1), ("sdj", 2)] {
        let path = format!("../../devices/platform/host9/session{session}/target9:0:0/9:0:0:0/block/{disk}");
        net.0 = net.0.link(&format!("/sys/class/block/{disk}"), &path).directory(&format!("/sys/class/block/dm-0/slaves/{disk}"));
        let connection = format!("/sys/class/iscsi_connection/connection{session}:0/address");
        net = net.text(&connection, &format!("192.168.{session}.7\n"));
    }
    net.0 = net.0.link("/sys/class/block/dm-0", "../../devices/virtual/block/dm-0");
    let net = net.text("/sys/class/block/dm-0/dm/name", "mpatha\n").text("/sys/class/block/dm-0/dm/uuid", "mpath-1\n");
    let net = net.text("/proc/self/mountinfo", "29 1 254:0 / / rw - ext4 /dev/mapper/mpatha rw\n");
    net.loses("redundancy", "0000:05:00.0 igb → eth0 → sdi → multipath mpatha → /");
}
