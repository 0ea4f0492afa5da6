//! Storage that comes over the network, and the interfaces that lead to it.

use super::graph::{Kind, Node, functions_on};
use super::mounts::Mount;
use super::net;
use crate::capture::Capture;
use core::net::IpAddr;

/// File systems of other machines.
const KINDS: [&str; 8] = ["nfs", "nfs4", "cifs", "smb3", "ceph", "afs", "fuse.sshfs", "fuse.glusterfs"];

/// Block devices of other machines, by the beginnings of their names: their servers are not shown in /sys.
const DISKS: [&str; 4] = ["nbd", "rbd", "drbd", "etherd!"];

/// How an address of NVMe over Fibre Channel begins.
pub const FIBRE_CHANNEL: &str = "nn-";

/// True for a file system of another machine.
pub fn is_remote(mount: &Mount) -> bool {
    KINDS.contains(&mount.kind.as_str())
}

/// A file system of another machine, as a node over the interfaces that lead there. Names of servers are not shown. Where the kernel
/// does not tell the server's address, a program of the user's is taken to reach it as everything else.
pub fn file_system(capture: &Capture, mount: &Mount) -> Node {
    let kind = mount.kind.trim_start_matches("fuse.");
    let carried = match server(mount) {
        None if kind == mount.kind => Carried::by_any(capture),
        address => Carried { below: net::leading_to(capture, address), ..Carried::default() },
    };
    Node { kind: Kind::Remote, name: format!("{kind}{}", carried.note), below: carried.below, ..Node::default() }
}

/// The address of a server: `addr=` (NFS, SMB), `mon_addr=` (Ceph), or `server:/path`, `//server/share`, `monitor:port,monitor:port:/`.
pub fn server(mount: &Mount) -> Option<IpAddr> {
    ["addr", "mon_addr"].iter().find_map(|name| address(mount.option(name)?)).or_else(|| address(&mount.source))
}

fn address(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split(']').next()?.parse().ok();
    }
    let head = text.trim_start_matches('/').split([',', '/']).next()?.trim_end_matches(':');
    head.parse().ok().or_else(|| head.rsplit_once(':')?.0.parse().ok())
}

/// What a block device of another machine goes over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Carried {
    /// The nodes of the interfaces.
    pub below: Vec<String>,
    /// What is to be said behind its name.
    pub note: &'static str,
    /// What else it rests on and is not shown.
    pub unseen: Option<String>,
}

impl Carried {
    /// Where the other machine is not shown, any interface that is up may lead there.
    fn by_any(capture: &Capture) -> Self {
        Self { below: net::up(capture), note: " (from where is not shown)", unseen: None }
    }

    fn over(capture: &Capture, address: Option<IpAddr>) -> Self {
        match address {
            Some(_) => Self { below: net::leading_to(capture, address), ..Self::default() },
            None => Self::by_any(capture),
        }
    }
}

/// What a block device of another machine goes over; `None` for a local one.
pub fn carriers(capture: &Capture, name: &str, link: &str) -> Option<Carried> {
    if !functions_on(link).is_empty() {
        return None;
    }
    if DISKS.iter().any(|start| name.starts_with(start)) {
        // A DRBD disk is also kept on a local one.
        let unseen = name.starts_with("drbd").then(|| format!("the local disk of {name} is not shown by the kernel"));
        return Some(Carried { unseen, ..Carried::by_any(capture) });
    }
    if let Some(controller) = link.split_once("/nvme-fabrics/ctl/").and_then(|(_, rest)| rest.split('/').next()) {
        return Some(fabrics(capture, name, controller));
    }
    // Fibre Channel over Ethernet.
    if let Some(interface) = link.split_once("/net/").and_then(|(_, rest)| rest.split('/').next()) {
        return Some(Carried { below: vec![net::key(interface)], ..Carried::default() });
    }
    let session = link.split('/').find_map(|part| part.strip_prefix("session").filter(|number| number.parse::<u32>().is_ok()))?;
    let connection = format!("/sys/class/iscsi_connection/connection{session}:0");
    let address =
        ["address", "persistent_address"].iter().find_map(|name| capture.attribute(&format!("{connection}/{name}"))?.parse().ok());
    Some(Carried::over(capture, address))
}

/// `traddr=192.168.1.2,trsvcid=4420` (drivers/nvme/host/fabrics.c `nvmf_get_address`); over Fibre Channel `traddr=nn-0x…:pn-0x…`.
fn fabrics(capture: &Capture, name: &str, controller: &str) -> Carried {
    let text = capture.attribute(&format!("/sys/class/nvme/{controller}/address")).unwrap_or_default();
    let target = text.split(',').find_map(|part| part.trim().strip_prefix("traddr=")).unwrap_or_default();
    if target.starts_with(FIBRE_CHANNEL) {
        let unseen = Some(format!("the Fibre Channel adapter of {name} is not shown by the kernel"));
        return Carried { unseen, ..Carried::default() };
    }
    Carried::over(capture, target.parse().ok())
}

/// The interfaces that the firmware used to find its disk over the network (drivers/firmware/iscsi_ibft.c).
pub fn firmware(capture: &Capture) -> Vec<(String, Node)> {
    let table = "/sys/firmware/ibft";
    let names = capture.names_in(table).filter(|name| name.starts_with("ethernet"));
    let node = |name: &str| {
        let functions = functions_on(capture.link(&format!("{table}/{name}/device"))?);
        Some((format!("ibft/{name}"), Node { name: format!("iSCSI boot {name}"), functions, ..Node::default() }))
    };
    names.filter_map(node).collect()
}
