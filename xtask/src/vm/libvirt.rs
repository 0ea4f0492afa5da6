//! `cargo xtask vm --bind libvirt`: a small machine in which libvirtd starts guests of firmware alone with a disk of the machine: one that libvirt
//! takes from its driver itself, one that cede has bound, and one that the guest's hook binds; and the disk comes back each time.

use std::fs;
use std::path::Path;

use super::Outcome;
use super::progress::Progress;
use super::prove::{Expected, expect};
use super::small::{self, Machine, Parts};
use super::story::bind::file_system;

/// What libvirt comes in, but for the libraries that its client has too.
const PACKAGES: [&str; 2] = ["libvirt-daemon", "libvirt-daemon-driver-qemu"];
const PROGRAMS: [&str; 3] = ["/usr/sbin/libvirtd", "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so", CLIENT];
const CLIENT: &str = "/usr/bin/virsh";

/// Descriptions of processors, and the schemas of what is defined.
const DATA: &str = "/usr/share/libvirt";

const STORY: &str = include_str!("small/libvirt.sh");

const DEVICES: &str = "-device intel-iommu,intremap=on,caching-mode=on
    -device pcie-root-port,id=port0,chassis=1,slot=1,addr=4.0 -device nvme,bus=port0,serial=data,drive=data";

const SEEN: [&str; 1] = ["PCI device 1b36:0010"];
const WHOLE: [&str; 2] = ["data is whole", "nvme"];

const EXPECTED: [Expected; 41] = [
    Expected("libvirtd", 0, &[]),
    Expected("whole", 0, &WHOLE),
    Expected("define-given", 0, &["warning: <devices>"]),
    Expected("define-managed", 0, &[]),
    Expected("define-hooked", 0, &[]),
    Expected("attach-managed", 0, &["managed='yes'", "attached"]),
    Expected("managed", 0, &["<hostdev mode='subsystem' type='pci' managed='yes'>"]),
    Expected("start-managed", 0, &["started"]),
    Expected("taken", 0, &["vfio-pci"]),
    Expected("seen-managed", 0, &SEEN),
    Expected("destroy-managed", 0, &["destroyed"]),
    Expected("returned", 0, &WHOLE),
    Expected("bind", 0, &["vfio-pci"]),
    Expected("attach", 0, &["managed='no'", "attached"]),
    Expected(
        "given",
        0,
        &["<hostdev mode='subsystem' type='pci' managed='no'>", "<address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>"],
    ),
    Expected("start", 0, &["started"]),
    Expected("seen", 0, &SEEN),
    Expected("in-use", 4, &["refused", "qemu-system-x86"]),
    Expected("process", 0, &["/dev/vfio/"]),
    Expected("destroy", 0, &["destroyed"]),
    Expected("left", 0, &["vfio-pci"]),
    Expected("release", 0, &["nvme"]),
    Expected("released", 0, &WHOLE),
    Expected("said-again", 0, &["managed='yes'", "systemctl restart libvirtd"]),
    Expected("destroy-again", 0, &["destroyed"]),
    Expected("not-returned", 0, &["vfio-pci"]),
    Expected("libvirtd-anew", 0, &[]),
    Expected("destroy-anew", 0, &["destroyed"]),
    Expected("returned-anew", 0, &WHOLE),
    Expected("attach-hooked", 0, &["managed='no'", "attached"]),
    Expected("hook", 0, &["/etc/libvirt/hooks/qemu.d/50-cede-hooked"]),
    Expected("libvirtd-again", 0, &[]),
    Expected("mounted", 1, &["Hook script execution failed", "refused", "/mnt"]),
    Expected("still-mounted", 0, &["data is whole"]),
    Expected("start-hooked", 0, &["started"]),
    Expected("bound-by-hook", 0, &["vfio-pci"]),
    Expected("seen-hooked", 0, &SEEN),
    Expected("destroy-hooked", 0, &["destroyed"]),
    Expected("released-by-hook", 0, &WHOLE),
    Expected("undo", 0, &["50-cede-hooked"]),
    Expected("log", 0, &[]),
];

/// Starts the machine, and looks at what libvirt and cede said in it.
pub(super) fn tell(cede: &Path, cache: &Path, directory: &Path) -> Outcome<()> {
    if !Path::new(CLIENT).exists() {
        return Err(format!("{CLIENT} is missing; as root: apt-get install --no-install-recommends libvirt-clients"));
    }
    let progress = Progress::new("libvirt");
    let parts = Parts::fetch(cache, &progress)?;
    let _ = fs::remove_dir_all(directory);
    small::install(&directory.join("root"), &PACKAGES, &PROGRAMS, &[DATA])?;
    let disk = file_system(directory, "data")?;
    let initramfs = parts.initramfs(cede, STORY, directory)?;
    let devices = format!("{DEVICES} -drive if=none,id=data,format=raw,cache=unsafe,file={}", disk.display());
    let tries = small::start(&Machine { kernel: parts.kernel(), initramfs, devices, work: directory }, &progress)?;
    expect(&tries, &progress, &EXPECTED)
}
