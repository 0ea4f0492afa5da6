//! Where vfio-pci is told of ids: does it come before the native drivers?

use crate::binding::{self, Natives};
use crate::bootloader;
use crate::finding::{Finding, Verdict};
use crate::initramfs;
use crate::intent::Identity;
use crate::parameter;
use cede_model::pci::{PciAddress, PciDevice};
use cede_model::{Evidence, Host};

/// `early-load` where ids are configured: a problem where a native driver has such a function now, advice where only luck decides.
pub fn check(host: &Host, _devices: &[PciAddress]) -> Vec<Finding> {
    let Some((ids, source)) = configured_ids(host) else { return Vec::new() };
    let told = |device: &&PciDevice| device.id.is_some_and(|id| ids.iter().any(|item| parameter::covers(item, &id.to_string())));
    let meant: Vec<Identity> = host.devices.iter().filter(told).filter_map(Identity::of).collect();
    let natives = Natives::of(host, &meant);
    let config = binding::modprobe_config(host);
    let unordered: Vec<&String> = natives
        .modules
        .iter()
        .filter(|module| !config.softdep(module).is_some_and(|softdep| softdep.pre.iter().any(|name| name.replace('-', "_") == "vfio_pci")))
        .collect();
    let listed = initramfs::find(host)
        .map(|generator| generator.early_modules(host).unwrap_or_default().iter().any(|name| name == "vfio_pci"))
        .unwrap_or(false);
    let taken: Vec<&PciDevice> = meant
        .iter()
        .filter_map(|identity| host.device(identity.address))
        .filter(|device| device.driver.known().is_some() && !device.is_on_vfio())
        .collect();
    judge(&taken, &unordered, listed, source, &meant)
}

fn judge(taken: &[&PciDevice], unordered: &[&String], listed: bool, source: Evidence, meant: &[Identity]) -> Vec<Finding> {
    let modules = unordered.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let about = meant.iter().map(|identity| identity.address);
    let drivers = taken
        .iter()
        .map(|device| Evidence::new(format!("/sys/bus/pci/devices/{}/driver", device.address), device.driver_name().unwrap_or_default()));
    let remedy = meant.first().map(|identity| format!("`cede plan {}` shows what is missing", identity.address)).unwrap_or_default();
    let finding = match (taken.first(), unordered.is_empty(), listed) {
        (Some(first), _, _) => {
            let driver = first.driver_name().unwrap_or_default();
            Finding::new(
                "early-load",
                Verdict::Problem,
                format!(
                    "vfio-pci is told of {}, and {driver} has it: it was loaded first, or this boot did not have the setting yet",
                    first.address
                ),
                source,
            )
            .also(drivers)
            .remedy(remedy)
        }
        (None, false, _) => {
            Finding::new("early-load", Verdict::Advice, format!("nothing makes vfio-pci come before {modules}"), source).remedy(remedy)
        }
        (None, true, false) => {
            Finding::new("early-load", Verdict::Advice, "vfio-pci is not in the initramfs's list of modules", source).remedy(remedy)
        }
        (None, true, true) => Finding::new("early-load", Verdict::Fine, "vfio-pci is loaded early, before the native drivers", source),
    };
    if meant.is_empty() { Vec::new() } else { vec![finding.about(about)] }
}

/// Ids that vfio-pci gets, and from where: the command line beats modprobe.d.
fn configured_ids(host: &Host) -> Option<(Vec<String>, Evidence)> {
    let list = |value: &str| value.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let words = bootloader::find(host).map(|loader| loader.configured(host)).unwrap_or_default();
    if let Some(word) = words.into_iter().rev().find(|word| parameter::split(&word.text).0 == parameter::VFIO_IDS) {
        let source = word.source.unwrap_or_else(|| Evidence::new("kernel command line", word.text.as_str()));
        return Some((list(parameter::split(&word.text).1.unwrap_or_default()), source));
    }
    let (value, source) = binding::modprobe_config(host).option("vfio_pci", "ids")?;
    Some((list(&value), Evidence::at_line(source.path, u32::try_from(source.line).unwrap_or(0), format!("ids={value}"))))
}
