//! Functions that vfio-pci gets by address, where ids cannot tell them from others: `driver_override`, set before vfio-pci is loaded and so,
//! by softdep, before any native driver.
//!
//! One `install vfio-pci` line of modprobe.d does it. kmod runs it wherever vfio-pci is asked for: in the image and in the system, by udev, by
//! systemd and by lists of modules, with busybox's init and with systemd's. Of several such lines the first counts (kmod
//! `kmod_module_get_install_commands`). It takes a shell and `modprobe`, no more, and writes nothing where the function at the place is another.

use crate::binding::{OWN_FILE, modprobe_config};
use crate::edit::modprobe::ModprobeConfig;
use crate::intent::Identity;
use crate::plan::Refusal;
use cede_model::Host;
use cede_model::pci::device::PCI_DEVICES;
use cede_model::pci::{PciAddress, PciId};

/// The attributes that must be as they were, in the order of a function's words.
pub const ATTRIBUTES: [&str; 5] = ["vendor", "device", "subsystem_vendor", "subsystem_device", "class"];

/// The first lines. The function `cede` gets a directory of sysfs and what its attributes must say.
const HEAD: &str = concat!(
    "# By address, where the function there is the one meant; a stranger is left alone, and the kernel's log says so.\n",
    "install vfio-pci \\\n",
    " cede() { d=$1; for f in vendor device subsystem_vendor subsystem_device class; do shift; v=; { read -r v <$d/$f; } 2>/dev/null; \\\n",
    "  [ \"$v\" = \"$1\" ] || { echo \"cede: $d is gone or another device: left alone\" >/dev/kmsg; return; }; done; \\\n",
    "  echo vfio-pci >$d/driver_override; }; \\\n",
);

/// The last line: what the command stands for.
const TAIL: &str = " /sbin/modprobe --ignore-install vfio-pci $CMDLINE_OPTS\n";

/// A function as the line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its directory in sysfs, which holds its address and, below `/sys/devices`, the way to it.
    pub directory: String,
    /// What [`ATTRIBUTES`] must say.
    pub values: Vec<String>,
}

impl Told {
    /// The function's address.
    pub fn address(&self) -> Option<PciAddress> {
        self.directory.rsplit('/').next()?.parse().ok()
    }

    /// True where the function that is meant has these ids.
    pub fn is_of(&self, id: PciId) -> bool {
        let said = |at: usize, word: u16| self.values.get(at).is_some_and(|value| *value == format!("{word:#06x}"));
        said(0, id.vendor) && said(1, id.device)
    }

    fn of(host: &Host, identity: &Identity) -> Result<Self, Refusal> {
        let address = identity.address;
        let link = host.capture.link(&format!("{PCI_DEVICES}{address}")).and_then(|target| target.split_once("/devices/"));
        let directory = link.map_or_else(|| format!("{PCI_DEVICES}{address}"), |(_, below)| format!("/sys/devices/{below}"));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | ':' | '.' | '-' | '_');
        let class = identity.class.filter(|_| directory.chars().all(plain)).ok_or_else(|| {
            let message = format!("what {address} is cannot be told well enough to find it again: look at `lspci -nns {address}`");
            Refusal::new("device-not-identified", message)
        })?;
        let (vendor, device) = identity.subsystem.map_or((0, 0), |id| (id.vendor, id.device));
        let words = [identity.id.vendor, identity.id.device, vendor, device].map(|word| format!("{word:#06x}"));
        Ok(Self { directory, values: words.into_iter().chain([format!("{:#08x}", class.0)]).collect() })
    }

    fn line(&self) -> String {
        format!(" cede {} {}; \\\n", self.directory, self.values.join(" "))
    }
}

/// The functions that vfio-pci gets by address, as these files have it.
pub fn told(config: &ModprobeConfig) -> Vec<Told> {
    let command = config.install("vfio_pci").map(|(command, _)| command).unwrap_or_default();
    let calls = command.split(';').filter_map(|part| part.trim().strip_prefix("cede /"));
    let read = |words: &str| {
        let mut words = words.split_whitespace();
        Some(Told { directory: format!("/{}", words.next()?), values: words.map(str::to_owned).collect() })
    };
    calls.filter_map(read).filter(|told| told.values.len() == ATTRIBUTES.len()).collect()
}

/// Our file with the functions told; `text` is what it holds already.
///
/// # Errors
/// Another `install` line for vfio-pci stands in the way, or a function cannot be told.
pub fn with_functions(host: &Host, text: &[u8], ceded: &[Identity]) -> Result<Vec<u8>, Refusal> {
    let config = modprobe_config(host);
    let present = told(&config);
    let wanted = ceded.iter().map(|identity| Told::of(host, identity)).collect::<Result<Vec<_>, _>>()?;
    let new: String = wanted.iter().filter(|told| !present.contains(told)).map(Told::line).collect();
    if new.is_empty() {
        return Ok(text.to_vec());
    }
    match config.install("vfio_pci") {
        None => Ok([text, HEAD.as_bytes(), new.as_bytes(), TAIL.as_bytes()].concat()),
        Some((_, source)) => {
            let at = (source.path == OWN_FILE).then(|| text.windows(TAIL.len()).position(|part| part == TAIL.as_bytes())).flatten();
            let (before, after) = at.and_then(|at| text.split_at_checked(at)).ok_or_else(|| {
                Refusal::new(
                    "install-decided-elsewhere",
                    format!(
                        "{}:{} says what is done in place of loading vfio-pci, and only one such line counts: take it out",
                        source.path, source.line
                    ),
                )
            })?;
            Ok([before, new.as_bytes(), after].concat())
        }
    }
}
