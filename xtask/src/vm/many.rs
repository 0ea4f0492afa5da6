//! `cargo xtask vm --bind many`: 256 virtual functions given to vfio-pci at once in a small machine, beside what other tools take for the same
//! functions in the same start.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::Outcome;
use super::progress::Progress;
use super::small::{self, Machine, Parts};

/// Virtual functions of each of three controllers; QEMU allows 127.
const EACH: [u32; 3] = [86, 86, 84];

/// The tools that cede is measured beside, and what they run on.
const PACKAGES: [&str; 6] = ["driverctl", "dpdk", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libexpat1"];
const PROGRAMS: [&str; 3] = ["/bin/bash", "/usr/bin/lspci", "/usr/bin/udevadm"];

const STORY: &str = include_str!("small/many.sh");

/// Measures, and prints what each took.
pub(super) fn tell(cede: &Path, cache: &Path, directory: &Path) -> Outcome<()> {
    let progress = Progress::new("many");
    let parts = Parts::fetch(cache, &progress)?;
    let _ = fs::remove_dir_all(directory);
    small::install(&directory.join("root"), &PACKAGES, &PROGRAMS, &[])?;
    let initramfs = parts.initramfs(cede, STORY, directory)?;
    let tries = small::start(&Machine { kernel: parts.kernel(), initramfs, devices: devices(), work: directory }, &progress)?;
    for one in &tries {
        progress.say(&format!("{}: {}", one.name, one.said.split_whitespace().collect::<Vec<_>>().join(" ")));
        if one.code != 0 {
            return Err(format!("`{}`: exit code {}\n{}", one.name, one.code, one.said));
        }
    }
    if tries.iter().any(|one| one.name == "over") { Ok(()) } else { Err("it ended early".into()) }
}

fn devices() -> String {
    let mut text = "-device intel-iommu,intremap=on,caching-mode=on".to_owned();
    for (number, count) in EACH.iter().enumerate() {
        let (slot, pairs, vectors, queues) = (number + 1, 2 * count + 2, count + 1, 2 * count);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            " -device pcie-root-port,id=port{number},chassis={slot},slot={slot},addr={slot}.0 -device nvme-subsys,id=subsystem{number}
             -device nvme,serial=many{number},subsys=subsystem{number},bus=port{number},max_ioqpairs={pairs},msix_qsize={vectors},sriov_max_vfs={count},sriov_vq_flexible={queues},sriov_vi_flexible={count}"
        );
    }
    text
}
