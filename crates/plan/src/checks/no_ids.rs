//! Is there a function of which nobody can tell what it is?

use crate::finding::{Finding, Verdict};
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::{Entry, Evidence, Host};

/// `ids-not-read` for each function without ids: it sleeps, is dead, or its attributes could not be read. Such a one is not ceded.
pub fn check(host: &Host, _devices: &[PciAddress]) -> Vec<Finding> {
    host.devices.iter().filter(|device| device.id.is_none()).map(|device| judge(host, device)).collect()
}

fn judge(host: &Host, device: &PciDevice) -> Finding {
    let address = device.address;
    Finding::new(
        "ids-not-read",
        Verdict::CannotTell,
        format!("what {address} is cannot be told: its ids could not be read, as of a function that sleeps or is dead"),
        evidence(host, device),
    )
    .remedy(format!("it is not ceded like this, nor what shares its group: `lspci -s {address}` shows whether it answers"))
    .about([address])
}

/// The first attribute that should have told, and what it said.
fn evidence(host: &Host, device: &PciDevice) -> Evidence {
    let path = |name: &str| format!("/sys/bus/pci/devices/{}/{name}", device.address);
    let said = |name: &&str| match host.capture.get(&path(name))? {
        Entry::Unreadable(why) => Some(Evidence::new(path(name), why.as_str())),
        Entry::File(bytes) => Some(Evidence::new(path(name), String::from_utf8_lossy(bytes).trim())),
        _ => None,
    };
    ["vendor", "uevent"].iter().find_map(said).unwrap_or_else(|| Evidence::new(path("vendor"), "was not read"))
}
