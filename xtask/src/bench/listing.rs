//! A listing of lspci of an invented host with hundreds of virtual functions behind each port: what foretelling and explaining are
//! measured on.

use super::Result;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// A physical function and its virtual ones: all numbers of one bus.
const BEHIND_PORT: usize = 256;

/// Ports of one domain.
const PORTS: usize = 200;

/// A listing on disk, removed when dropped.
pub(super) struct Listing {
    path: PathBuf,
}

impl Listing {
    /// Writes a listing of `count` functions below `parent`.
    pub(super) fn make(parent: &Path, count: usize) -> Result<Self> {
        let path = parent.join(format!("cede-bench-{}-{count}.lspci", std::process::id()));
        fs::write(&path, text(count))?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        // What cannot be removed stays in a directory for temporary files.
        let _ = fs::remove_file(&self.path);
    }
}

/// The function that is explained: the first physical one.
pub(super) const EXPLAINED: &str = "0000:01:00.0";

fn text(count: usize) -> String {
    let mut text = String::new();
    let mut left = count;
    for port in 0.. {
        let (domain, slot) = (port / PORTS, port % PORTS);
        let Some(behind) = left.checked_sub(1).filter(|behind| *behind > 0) else { return text };
        let behind = behind.min(BEHIND_PORT);
        write_port(&mut text, domain, slot);
        for number in 0..behind {
            write_function(&mut text, (domain, slot + 1, number), behind - 1);
        }
        left -= 1 + behind;
    }
    text
}

/// Every second port has ACS. Writing to a string cannot fail.
fn write_port(text: &mut String, domain: usize, slot: usize) {
    let bus = slot + 1;
    let _ = writeln!(text, "{domain:04x}:00:{:02x}.{} PCI bridge [0604]: Intel Corporation Port [8086:2030] (rev 04)", slot / 8, slot % 8);
    let _ = writeln!(text, "\tControl: I/O+ Mem+ BusMaster+\n\tBus: primary=00, secondary={bus:02x}, subordinate={bus:02x}, sec-latency=0");
    text.push_str("\tCapabilities: [90] Express (v2) Root Port (Slot+), MSI 00\n");
    if slot.is_multiple_of(2) {
        text.push_str("\tCapabilities: [110 v1] Access Control Services\n");
        text.push_str("\t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-\n");
        text.push_str("\t\tACSCtl:\tSrcValid- TransBlk- ReqRedir- CmpltRedir- UpstreamFwd- EgressCtrl- DirectTrans-\n");
    }
    text.push('\n');
}

fn write_function(text: &mut String, (domain, bus, number): (usize, usize, usize), virtuals: usize) {
    let (device, function) = (number / 8, number % 8);
    let _ = writeln!(
        text,
        "{domain:04x}:{bus:02x}:{device:02x}.{function} Ethernet controller [0200]: Intel Corporation NIC [8086:154c] (rev 02)"
    );
    text.push_str("\tControl: I/O- Mem+ BusMaster+\n\tCapabilities: [a0] Express (v2) Endpoint, MSI 00\n");
    if number == 0 {
        let _ = writeln!(text, "\tCapabilities: [160 v1] Single Root I/O Virtualization (SR-IOV)");
        let _ = writeln!(text, "\t\tInitial VFs: 255, Total VFs: 255, Number of VFs: {virtuals}, Function Dependency Link: 00");
        text.push_str("\t\tVF offset: 1, stride: 1, Device ID: 154c\n");
    }
    text.push_str("\tKernel driver in use: iavf\n\n");
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn as_many_functions_as_asked_for() {
        for count in [8, 400, 10_000] {
            let found = text(count).lines().filter(|line| line.starts_with("00")).count();
            assert!(found == count || found + 1 == count, "{count}: {found}");
        }
    }
}
