//! What a host cannot, and why, as the built binary says it: an IOMMU that is off, loaders and generators that are not changed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Capture, Entry, capture_text};
use std::fs;
use support::handing_over::out;
use support::{Dir, cede, code, laptop};

/// The laptop, changed; the directory goes with the test.
struct Changed {
    capture: Capture,
    dir: Dir,
}

impl Changed {
    fn new(name: &str) -> Self {
        let capture = capture_text::parse(&fs::read_to_string(laptop()).unwrap()).unwrap();
        Self { capture, dir: Dir::new(name) }
    }

    fn text(mut self, path: &str, text: &str) -> Self {
        self.capture.insert(path, Entry::File(text.as_bytes().to_vec()));
        self
    }

    fn entry(mut self, path: &str, entry: Entry) -> Self {
        self.capture.insert(path, entry);
        self
    }

    fn said(&self, arguments: &[&str]) -> (i32, String) {
        fs::write(self.dir.0.join("capture"), capture_text::render(&self.capture)).unwrap();
        let output = cede(&[&["--host", &self.dir.path("capture")], arguments].concat());
        (code(&output), out(&output).split_whitespace().collect::<Vec<_>>().join(" "))
    }

    #[track_caller]
    fn says(&self, arguments: &[&str], wanted: i32, parts: &[&str]) {
        let (code, text) = self.said(arguments);
        parts.iter().for_each(|part| assert!(text.contains(part), "{part} is not in {text}"));
        assert_eq!(code, wanted, "{text}");
    }
}

#[test]
fn xen_is_told_by_check_and_status_and_refused_by_plan() {
    let xen = Changed::new("causes-xen").text("/sys/hypervisor/type", "xen\n");
    xen.says(&["check"], 1, &["the IOMMU is off: this system runs under Xen", "/sys/hypervisor/type: xen", "xl pci-assignable-add"]);
    xen.says(&["status"], 0, &["off: this system runs under Xen", "Can go nothing as long as the IOMMU is off", "Next: cede"]);
    xen.says(&["plan", "01:00.0"], 4, &["runs under Xen"]);
}

#[test]
fn each_cause_is_told_as_itself() {
    let line = "/proc/cmdline";
    Changed::new("causes-acpi").text(line, "root=UUID=1b7a acpi=off\n").says(
        &["check"],
        1,
        &["started with acpi=off, and finds the IOMMU"],
    );
    let closed = Changed::new("causes-line").entry("/lib/modules/6.11.5-arch1-1/config", Entry::Absent);
    closed.entry(line, Entry::Unreadable("EACCES".into())).says(&["check"], 1, &["why cannot be told", "EACCES"]);
    let last = Changed::new("causes-last").text(line, "root=UUID=1b7a intel_iommu=on,sm_on intel_iommu=off\n");
    last.says(&["check"], 1, &["started with intel_iommu=off"]);
    let config = "CONFIG_PCI=y\n# CONFIG_INTEL_IOMMU is not set\n";
    let built = Changed::new("causes-built").text("/lib/modules/6.11.5-arch1-1/config", config);
    built.says(&["check"], 1, &["built without the driver", "CONFIG_INTEL_IOMMU is not set"]);
    built.says(&["plan", "01:00.0"], 4, &["use a kernel that has it"]);
}

#[test]
fn loaders_and_generators_that_are_not_changed_have_names() {
    let bare = Changed::new("causes-refind").entry("/etc/default/grub", Entry::Absent).entry("/boot/grub/grub.cfg", Entry::Absent);
    let refind = bare.text("/boot/refind_linux.conf", "\"Boot\" \"root=UUID=1b7a\"\n").text("/proc/cmdline", "root=UUID=1b7a rw\n");
    refind.says(&["status"], 0, &["rEFInd (not changed by cede), initramfs by mkinitcpio"]);
    refind.says(&["plan", "01:00.0"], 4, &["first line of /boot/refind_linux.conf", "to add: `intel_iommu=on`"]);
    let (_, json) = refind.said(&["status", "--json"]);
    assert!(json.contains("\"boot_loader\":\"rEFInd\""), "{json}");
    let beside = Changed::new("causes-beside").text("/boot/limine.conf", "/Arch\n").text("/proc/cmdline", "root=UUID=1b7a rw\n");
    beside.says(&["status"], 0, &["boot loader not known"]);
    beside.says(&["plan", "01:00.0"], 4, &["more than one boot loader is set up", "GRUB", "Limine"]);
    let dracut = Changed::new("causes-dracut").entry("/usr/bin/mkinitcpio", Entry::Absent).entry("/usr/bin/dracut", Entry::Present(1));
    dracut.says(&["status"], 0, &["GRUB, initramfs by dracut (not changed by cede)"]);
    dracut.says(&["plan", "01:00.0"], 4, &["/etc/dracut.conf.d/vfio.conf", "dracut --force --regenerate-all"]);
}

#[test]
fn status_has_no_trailing_blanks_and_lists_nothing_where_nothing_can_go() {
    let tables = "/sys/firmware/acpi/tables";
    let firmware = Changed::new("causes-firmware").entry(&format!("{tables}/DMAR"), Entry::Absent).entry(tables, Entry::Dir);
    let firmware = firmware.entry(&format!("{tables}/IVRS"), Entry::Absent);
    firmware.says(&["status"], 0, &["the firmware offers none", "Can go nothing as long as"]);
    assert!(firmware.said(&["status", "--json"]).1.contains("\"candidates\":[]"));
    let able = Changed::new("causes-able");
    able.says(&["status"], 0, &["Can go 0000:01:00.0"]);
    for arguments in [["--color", "never", "status"], ["--color", "always", "status"]] {
        let output = cede(&[&["--host", laptop().to_str().unwrap()], arguments.as_slice()].concat());
        let trailing = |line: &str| line.trim_end() != line || line.ends_with(" \u{1b}[0m");
        assert!(!out(&output).lines().any(trailing), "{:?}", out(&output));
    }
}

#[test]
fn a_function_without_ids_is_told_and_an_odd_uevent_hides_no_driver() {
    let sleeping = "/sys/bus/pci/devices/0000:01:00.1";
    let mut dead = Changed::new("causes-ids");
    let paths: Vec<String> = dead.capture.below(format!("{sleeping}/")).map(|(path, _)| path.to_owned()).collect();
    paths.iter().for_each(|path| _ = dead.capture.remove(path));
    let dead = dead.text(&format!("{sleeping}/vendor"), "0xffff\n");
    dead.says(&["check"], 1, &["cannot tell what 0000:01:00.1 is cannot be told", "/vendor: 0xffff", "lspci -s 0000:01:00.1"]);
    assert!(!Changed::new("causes-awake").said(&["check"]).1.contains("its ids"));
    let uevent = b"DRIVER=igb\nPCI_CLASS=20000\nPCI_ID=8086:1533\nOF_NAME=caf\xe9\n";
    let odd = Changed::new("causes-uevent").entry("/sys/bus/pci/devices/0000:09:00.0/uevent", Entry::File(uevent.to_vec()));
    odd.says(&["devices"], 0, &["0000:09:00.0", "8086:1533", "igb"]);
}

#[test]
fn one_of_a_kind_is_in_the_singular() {
    let mut one = Changed::new("causes-one");
    one.capture = support::handing_over::Host::new().function("0000:01:00.0", ["10DE:1F91", "30000"], 7, Some("nouveau")).0;
    one.says(&["groups"], 0, &["1 group, read from the kernel"]);
    one.says(&["check", "01:00.0"], 0, &["the IOMMU is on: 1 IOMMU group", "group 7 goes as a whole: 1 function"]);
    one.says(&["status"], 0, &["on: 1 group"]);
}
