//! What the host reaches others by, and what it has from them: interfaces, routes, remote disks, the SSH session of this command.

use super::Reader;
use crate::read_host::{ATTRIBUTE_LIMIT, ReadHost};
use cede_model::Entry;
use cede_model::uses::net::{NET, SESSION, SSH_CONNECTION};
use cede_model::uses::routes::{self, TABLES, default_routes, routes};

/// Longest line of parents that is followed.
const PARENTS: usize = 64;

/// An environment may be long; `SSH_CONNECTION` of a longer one is not looked for.
const ENVIRONMENT_LIMIT: usize = 1 << 20;

pub(super) fn observe(reader: &mut Reader<'_>) {
    for name in reader.list(NET) {
        let path = format!("{NET}/{name}");
        reader.link(&path);
        reader.text(&format!("{path}/uevent"));
        reader.text(&format!("{path}/operstate"));
        for lower in reader.host.list(&path).unwrap_or_default().iter().filter(|entry| entry.starts_with("lower_")) {
            reader.link(&format!("{path}/{lower}"));
        }
    }
    reader.text("/proc/net/route");
    reader.text("/proc/net/ipv6_route");
    if default_routes(&routes(reader.capture), false).is_empty() {
        reader.text(TABLES);
        let reduced = routes::tables_reduced(reader.capture);
        reader.capture.insert(TABLES, Entry::File(reduced.into_bytes()));
    }
    for connection in reader.list("/sys/class/iscsi_connection") {
        for name in ["address", "persistent_address"] {
            reader.text(&format!("/sys/class/iscsi_connection/{connection}/{name}"));
        }
    }
    for controller in reader.list("/sys/class/nvme") {
        reader.text(&format!("/sys/class/nvme/{controller}/address"));
    }
    for name in reader.list("/sys/firmware/ibft").iter().filter(|name| name.starts_with("ethernet")) {
        reader.link(&format!("/sys/firmware/ibft/{name}/device"));
    }
    let session = session(reader.host);
    reader.capture.insert(SESSION, session);
}

/// `SSH_CONNECTION` of this process or of the nearest one above it that has one: sudo and su take it out. Where none can be read below an
/// sshd, that is said.
fn session(host: &dyn ReadHost) -> Entry {
    let mut process = "self".to_owned();
    let mut below_sshd = false;
    for _ in 0..PARENTS {
        if let Some(connection) = connection(&host.read(&format!("/proc/{process}/environ"), ENVIRONMENT_LIMIT)) {
            return Entry::File(connection);
        }
        let status = host.read(&format!("/proc/{process}/status"), ATTRIBUTE_LIMIT);
        let Some((name, parent)) = name_and_parent(&status) else { break };
        // Since OpenSSH 9.8 a session has a program of its own.
        below_sshd |= matches!(name.as_str(), "sshd" | "sshd-session");
        process = parent;
    }
    if below_sshd { Entry::Unreadable("EACCES".to_owned()) } else { Entry::Absent }
}

fn connection(environment: &Entry) -> Option<Vec<u8>> {
    let Entry::File(bytes) = environment else { return None };
    let line = bytes.split(|byte| *byte == 0).find(|variable| variable.starts_with(SSH_CONNECTION.as_bytes()))?;
    Some([line, b"\n"].concat())
}

/// `Name:` and `PPid:` of proc_pid_status(5); `None` for the first process of all.
fn name_and_parent(status: &Entry) -> Option<(String, String)> {
    let Entry::File(bytes) = status else { return None };
    let text = String::from_utf8_lossy(bytes).into_owned();
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned());
    Some((value("Name:")?, value("PPid:").filter(|parent| parent != "0")?))
}
