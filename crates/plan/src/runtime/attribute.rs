//! The attributes of sysfs by which functions change their drivers (Documentation/ABI/testing/sysfs-bus-pci).

use cede_model::pci::PciAddress;
use cede_model::pci::device::PCI_DEVICES;
use std::fmt;

/// Where drivers stand.
pub(crate) const PCI_DRIVERS: &str = "/sys/bus/pci/drivers/";

/// An attribute that cede writes; there are no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// `driver_override` of a function: the name of the only driver that may have it. Setting it neither unbinds nor binds.
    Override(PciAddress),
    /// `sriov_numvfs` of a function: how many virtual functions it has.
    VirtualFunctions(PciAddress),
    /// `sriov_drivers_autoprobe` of a function: whether drivers take new ones by themselves.
    Autoprobe(PciAddress),
    /// `unbind` of a driver, which takes an address.
    Unbind(String),
    /// `bind` of a driver, which takes an address.
    Bind(String),
}

impl Attribute {
    /// The attribute of a path; `None` for any other file.
    pub fn parse(path: &str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix(PCI_DEVICES) {
            let (address, name) = rest.split_once('/')?;
            let address: PciAddress = address.parse().ok()?;
            let attribute = match name {
                "driver_override" => Self::Override(address),
                "sriov_numvfs" => Self::VirtualFunctions(address),
                "sriov_drivers_autoprobe" => Self::Autoprobe(address),
                _ => return None,
            };
            return Some(attribute).filter(|attribute| attribute.to_string() == path);
        }
        let (driver, name) = path.strip_prefix(PCI_DRIVERS)?.split_once('/')?;
        match name {
            _ if matches!(driver, "" | "." | "..") => None,
            "unbind" => Some(Self::Unbind(driver.to_owned())),
            "bind" => Some(Self::Bind(driver.to_owned())),
            _ => None,
        }
    }

    /// The function that writing this value is about.
    pub fn function(&self, value: &str) -> Option<PciAddress> {
        match self {
            Self::Override(address) | Self::VirtualFunctions(address) | Self::Autoprobe(address) => Some(*address),
            Self::Unbind(_) | Self::Bind(_) => value.parse().ok(),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Override(address) => write!(f, "{PCI_DEVICES}{address}/driver_override"),
            Self::VirtualFunctions(address) => write!(f, "{PCI_DEVICES}{address}/sriov_numvfs"),
            Self::Autoprobe(address) => write!(f, "{PCI_DEVICES}{address}/sriov_drivers_autoprobe"),
            Self::Unbind(driver) => write!(f, "{PCI_DRIVERS}{driver}/unbind"),
            Self::Bind(driver) => write!(f, "{PCI_DRIVERS}{driver}/bind"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_file_is_an_attribute() {
        for (path, known) in [
            ("/sys/bus/pci/devices/0000:01:00.0/driver_override", true),
            ("/sys/bus/pci/devices/0000:01:00.0/sriov_numvfs", true),
            ("/sys/bus/pci/drivers/Intel(R) x/bind", true),
            ("/sys/bus/pci/drivers/nvme/unbind", true),
            ("/sys/bus/pci/drivers/nvme/new_id", false),
            ("/sys/bus/pci/drivers/../bind", false),
            ("/sys/bus/pci/drivers//bind", false),
            ("/sys/bus/pci/drivers/a/b/bind", false),
            ("/sys/bus/pci/devices/01:00.0/driver_override", false),
            ("/sys/bus/pci/devices/0000:01:00.0/../../x/driver_override", false),
            ("/sys/bus/pci/devices/0000:01:00.0/remove", false),
            ("/etc/shadow", false),
        ] {
            let found = Attribute::parse(path);
            assert_eq!(found.is_some(), known, "{path}");
            assert!(found.is_none_or(|attribute| attribute.to_string() == path), "{path}");
        }
    }
}
