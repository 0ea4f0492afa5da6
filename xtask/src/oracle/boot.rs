//! One start of a machine.

use super::Outcome;
use super::kernel::Kernel;
use super::topology::{Machine, Unit};
use cede_model::{Capture, capture_text};
use flate2::read::ZlibDecoder;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// After the capture, so that half of one is not taken for a whole.
pub(super) const END: &[u8] = b"\nthe capture is whole\n";

/// Seconds after which a start has failed.
const LIMIT: &str = "600";

/// Starts of a machine: an emulated timer fails one now and then on a busy host.
const ATTEMPTS: usize = 3;

/// What keeps a start short and has to do with no PCI function. `panic=-1` ends a machine that fails at once; `no_timer_check`, because
/// the timer is emulated and late on a busy host.
const QUIET: &str = "console=ttyS0 quiet panic=-1 norandmaps no_timer_check mitigations=off selinux=0 apparmor=0 pcie_ports=compat \
cryptomgr.notests initcall_blacklist=init_kprobe_trace,load_system_certificate_list,cubictcp_register,crypto_kdf108_init,init_encrypted,\
jent_mod_init";

/// Whether addresses are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Translation {
    /// As a host is before its owner switches the IOMMU on.
    Off,
    /// By the unit.
    On,
}

/// What is needed to start machines with one kernel.
pub(super) struct Bench<'a> {
    /// The kernel.
    pub(super) kernel: &'a Kernel,
    /// Its initramfs.
    pub(super) initramfs: &'a Path,
    /// For files of a start.
    pub(super) work: &'a Path,
}

impl Bench<'_> {
    /// Starts the machine and gives what was read of it, and how many starts that took.
    pub(super) fn capture(&self, machine: &Machine, translation: Translation) -> Outcome<(Capture, usize)> {
        let mut said = String::new();
        for attempt in 1..=ATTEMPTS {
            match self.start(machine, translation) {
                Ok(capture) => return Ok((capture, attempt)),
                Err(error) => said = error,
            }
        }
        Err(format!("{ATTEMPTS} starts gave nothing\n{said}"))
    }

    fn start(&self, machine: &Machine, translation: Translation) -> Outcome<Capture> {
        let (packed, console) = (self.work.join("capture"), self.work.join("console"));
        let _ = fs::remove_file(&packed);
        let output = Command::new("timeout")
            .args(["-k", "5", LIMIT, "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(arguments(machine))
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(self.initramfs)
            .args(["-append", &command_line(machine, translation)])
            .args(["-debugcon", &format!("file:{}", packed.display()), "-serial", &format!("file:{}", console.display())])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("qemu-system-x86_64: {error}"))?;
        let bytes = fs::read(&packed).unwrap_or_default();
        let said = || {
            let console = fs::read(&console).unwrap_or_default();
            format!("{}\n{}\n{}", output.status, String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&console))
        };
        let whole = bytes.strip_suffix(END).ok_or_else(said)?;
        let mut text = String::new();
        ZlibDecoder::new(whole).read_to_string(&mut text).map_err(|error| format!("capture: {error}"))?;
        capture_text::parse(&text).map_err(|error| format!("capture: {error}"))
    }
}

/// The machine for QEMU, without kernel and output; also what is shown where something differs.
pub(super) fn arguments(machine: &Machine) -> Vec<String> {
    let fixed = "-machine q35,kernel-irqchip=split,usb=off -accel tcg -cpu qemu64 -smp 1 -m 256 -nodefaults -no-user-config -display none -vga none -no-reboot";
    let words = fixed.split(' ').map(str::to_owned);
    words.chain(machine.devices.iter().flat_map(|device| device.split(' ').map(str::to_owned))).collect()
}

/// The kernel's command line; behind `--` the arguments of the guest's program. Switched off is said as a person would say it. For
/// AMD that is `iommu=off`, as `amd_iommu=off` still has ACS switched on (Linux 6.12 drivers/iommu/amd/init.c, `detect_ivrs`); for
/// virtio the driver is left out, which has ACS switched on as well (drivers/acpi/viot.c), so there the off state is not as pure.
pub(super) fn command_line(machine: &Machine, translation: Translation) -> String {
    let state = match (machine.unit, translation) {
        (Unit::Intel | Unit::IntelNewer, Translation::Off) => "intel_iommu=off",
        (Unit::Intel | Unit::IntelNewer, Translation::On) => "intel_iommu=on",
        (Unit::Amd, Translation::Off) => "iommu=off",
        (Unit::Amd | Unit::Virtio, _) => "",
    };
    let modules = match (machine.unit, translation) {
        (Unit::Virtio, Translation::On) => "virtio-iommu pci-pf-stub",
        _ => "pci-pf-stub",
    };
    format!("{QUIET} {} {state} -- {} {modules}", machine.words.join(" "), super::GUEST)
}
