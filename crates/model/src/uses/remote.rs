//! Storage that comes over the network, and the interfaces that lead to it.

use super::graph::{Kind, Node, functions_on};
use super::mounts::Mount;
use super::net;
use crate::capture::Capture;
use core::net::IpAddr;

/// File systems of other machines.
const KINDS: [&str; 9] = ["nfs", "nfs4", "cifs", "smb3", "ceph", "afs", "fuse.sshfs", "fuse.glusterfs", "ocfs2"];

/// Block devices of other machines, by the beginnings of their names: their servers are not shown in /sys.
const DISKS: [&str; 4] = ["nbd", "rbd", "drbd", "etherd!"];

/// True for a file system of another machine.
pub fn is_remote(mount: &Mount) -> bool {
    KINDS.contains(&mount.kind.as_str())
}

/// A file system of another machine, as a node over the interfaces that lead there. Names of servers are not shown.
pub fn file_system(capture: &Capture, mount: &Mount) -> Node {
    let by_option = mount.option("addr").and_then(|text| text.parse().ok());
    // `server:/path`, `//server/share`, `monitor:port,monitor:port:/`.
    let server = mount.source.trim_start_matches('/').split([',', '/']).next().unwrap_or_default().trim_end_matches(':');
    let by_source = || server.parse().ok().or_else(|| server.rsplit_once(':')?.0.trim_matches(['[', ']']).parse().ok());
    let below = net::leading_to(capture, by_option.or_else(by_source));
    Node { kind: Kind::Remote, name: mount.kind.trim_start_matches("fuse.").to_owned(), below, ..Node::default() }
}

/// What a block device of another machine goes over; `None` for a local one.
pub fn carriers(capture: &Capture, name: &str, link: &str) -> Option<Vec<String>> {
    if !functions_on(link).is_empty() {
        return None;
    }
    if DISKS.iter().any(|start| name.starts_with(start)) {
        return Some(net::leading_to(capture, None));
    }
    if let Some(controller) = link.split_once("/nvme-fabrics/ctl/").and_then(|(_, rest)| rest.split('/').next()) {
        return Some(net::leading_to(capture, fabrics_address(capture, controller)));
    }
    let session = link.split('/').find_map(|part| part.strip_prefix("session").filter(|number| number.parse::<u32>().is_ok()))?;
    let connection = format!("/sys/class/iscsi_connection/connection{session}:0");
    let address =
        ["address", "persistent_address"].iter().find_map(|name| capture.attribute(&format!("{connection}/{name}"))?.parse().ok());
    Some(net::leading_to(capture, address))
}

/// `traddr=192.168.1.2,trsvcid=4420` (drivers/nvme/host/fabrics.c `nvmf_get_address`).
fn fabrics_address(capture: &Capture, controller: &str) -> Option<IpAddr> {
    let text = capture.attribute(&format!("/sys/class/nvme/{controller}/address"))?;
    text.split(',').find_map(|part| part.trim().strip_prefix("traddr="))?.parse().ok()
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
