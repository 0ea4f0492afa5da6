//! Loader entries: what is added reaches the kernel verbatim, and fallback entries stay.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::Capture;
use cede_plan::intent::BindMethod::Cmdline;
use cede_plan::plan::step::inverse;
use support::machine::{GPU, Loader, Machine};
use support::{after, applied, assert_tells_what_to_do, paths, plan_on, refused};

const ENTRY: &str = "/boot/loader/entries/linux.conf";

fn options(capture: &Capture, path: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(capture.file(path).unwrap()).into_owned();
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("options")).filter(|rest| rest.starts_with([' ', '\t']));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn every_entry_but_the_fallback_gets_the_words() {
    let machine = Machine::arch(Loader::SystemdBoot).text("/etc/kernel/cmdline", "root=UUID=1b7a rw\n");
    let plan = plan_on(&machine.capture, &[GPU], Cmdline);
    assert!(plan.refused.is_empty(), "{:?}", plan.refused);
    let done = applied(&machine.capture, &plan.steps);
    for entry in ["linux", "linux-lts"] {
        let words = options(&done, &format!("/boot/loader/entries/{entry}.conf"));
        assert_eq!(words, ["root=UUID=1b7a", "rw", "loglevel=3", "quiet", "intel_iommu=on", "vfio-pci.ids=10de:1f91,10de:10fa"]);
    }
    assert!(!paths(&plan).contains(&"/boot/loader/entries/linux-fallback.conf"));
    assert_eq!(done.file("/etc/kernel/cmdline").unwrap(), b"root=UUID=1b7a rw intel_iommu=on vfio-pci.ids=10de:1f91,10de:10fa\n");
    assert!(plan_on(&done, &[GPU], Cmdline).is_empty());
    let back = applied(&done, &inverse(&plan.steps));
    machine.capture.entries().for_each(|(path, entry)| assert_eq!(back.get(path), Some(entry)));
}

#[test]
fn odd_entries_keep_their_words() {
    let cases: [(&str, &[&str]); 9] = [
        ("title A\nlinux /v\noptions a b\noptions c\n", &["a", "b", "c", "+"]),
        ("title A\r\nlinux /v\r\noptions a b\r\n", &["a", "b", "+"]),
        ("linux /v\noptions a intel_iommu=off iommu=pt", &["a", "iommu=pt", "+"]),
        ("linux\t/v\noptions\ta  intel_iommu=off intel_iommu=off\t b\n", &["a", "b", "+"]),
        ("# options x\nlinux /v\n", &["+"]),
        ("linux /v\noptions a -- init=arg\n", &["a", "+", "--", "init=arg"]),
        ("linux /v\noptions vfio-pci.ids=1b21:1 a\n", &["vfio-pci.ids=1b21:1,10de:1f91,10de:10fa", "a", "on"]),
        ("linux /v\noptions dyndbg=\"file a +p\" quiet\n", &["dyndbg=\"file", "a", "+p\"", "quiet", "+"]),
        ("title \u{e9}t\u{e9}\nefi /EFI/a.efi\noptions root=UUID=1b7a a\narchitecture x64\n", &["root=UUID=1b7a", "a", "+"]),
    ];
    for (before, expected) in cases {
        let machine = Machine::arch(Loader::SystemdBoot).text(ENTRY, before);
        let plan = plan_on(&machine.capture, &[GPU], Cmdline);
        assert!(plan.refused.is_empty(), "{before:?}: {:?}", plan.refused);
        let done = applied(&machine.capture, &plan.steps);
        let wanted: Vec<&str> = expected
            .iter()
            .flat_map(|word| match *word {
                "+" => vec!["intel_iommu=on", "vfio-pci.ids=10de:1f91,10de:10fa"],
                "on" => vec!["intel_iommu=on"],
                word => vec![word],
            })
            .collect();
        assert_eq!(options(&done, ENTRY), wanted, "{before:?}");
        assert!(plan_on(&done, &[GPU], Cmdline).is_empty(), "{before:?}");
    }
}

#[test]
fn what_starts_no_kernel_of_this_host_is_left_alone() {
    let untouched = [
        ("shell.conf", "title Shell\nefi /shellx64.efi\noptions -nomap\n"),
        ("memtest.conf", "title Memory test\nlinux /memtest86+/memtest.bin\n"),
        (".linux.conf", "title Linux\nlinux /vmlinuz-linux\noptions root=UUID=1b7a\n"),
        ("auto-linux.conf", "title Linux\nlinux /vmlinuz-linux\noptions root=UUID=1b7a\n"),
    ];
    let path = |name: &str| format!("/boot/loader/entries/{name}");
    let machine = untouched.iter().fold(Machine::arch(Loader::SystemdBoot), |machine, (name, entry)| machine.text(&path(name), entry));
    let plan = plan_on(&machine.capture, &[GPU], Cmdline);
    assert!(plan.refused.is_empty() && paths(&plan).contains(&ENTRY), "{:?}", plan.refused);
    untouched.iter().for_each(|(name, _)| assert!(!paths(&plan).contains(&path(name).as_str()), "{name}"));
}

#[test]
fn a_host_with_nothing_but_a_fallback_starts_by_it() {
    let preset = "PRESETS=('fallback')\nfallback_image=\"/boot/initramfs-linux-fallback.img\"\n";
    let mut machine = Machine::arch(Loader::SystemdBoot).text("/etc/mkinitcpio.d/linux.preset", preset);
    for name in ["linux", "linux-lts"] {
        machine.capture.remove(&format!("/boot/loader/entries/{name}.conf"));
    }
    let plan = plan_on(&machine.capture, &[GPU], Cmdline);
    let entry = String::from_utf8_lossy(after(&plan, "/boot/loader/entries/linux-fallback.conf")).into_owned();
    assert!(entry.contains("options root=UUID=1b7a rw intel_iommu=on vfio-pci.ids="), "{entry}");
}

const OWN_ID: &str = "3f2504e04f8941d39a0c0305e82c3301";
const OTHER_ID: &str = "aaaabbbbccccddddeeeeffff00001111";

fn entry(id: &str, options: &str) -> String {
    format!("title Linux\nmachine-id {id}\nlinux /vmlinuz\noptions {options}\n")
}

#[test]
fn entries_of_another_system_are_left_alone() {
    let path = "/boot/loader/entries/other.conf";
    let own = || Machine::arch(Loader::SystemdBoot).text("/etc/machine-id", &format!("{OWN_ID}\n"));
    // Whether it is ours, what stands there, and what the host's id is.
    let cases = [
        (false, entry(OTHER_ID, "quiet"), own()),
        (false, entry(OTHER_ID, "root=UUID=2c8b rw"), own()),
        (false, entry(&OTHER_ID.to_uppercase(), "root=/dev/sdb2"), own()),
        (false, "linux /v\noptions root=UUID=2c8b\n".to_owned(), own()),
        (false, entry(OTHER_ID, "root=UUID=1b7a rootflags=subvol=@other"), own()),
        (true, entry(OWN_ID, "root=UUID=2c8b rw"), own()),
        (true, entry(&OWN_ID.to_uppercase(), "quiet"), own()),
        (true, entry(OTHER_ID, "root=UUID=1b7a rw"), own()),
        (true, entry("nonsense", "quiet"), own()),
        (true, entry(OTHER_ID, "quiet"), own().text("/etc/machine-id", "uninitialized\n")),
        (true, entry(OTHER_ID, "quiet"), own().absent("/etc/machine-id")),
    ];
    for (ours, text, machine) in cases {
        let machine = machine.text(path, &text);
        let plan = plan_on(&machine.capture, &[GPU], Cmdline);
        assert!(plan.refused.is_empty(), "{text}: {:?}", plan.refused);
        assert_eq!(paths(&plan).contains(&path), ours, "{text}");
        assert!(paths(&plan).contains(&ENTRY) && plan_on(&applied(&machine.capture, &plan.steps), &[GPU], Cmdline).is_empty());
    }
    let mut strange = own();
    for name in ["linux", "linux-lts", "linux-fallback"] {
        strange = strange.text(&format!("/boot/loader/entries/{name}.conf"), &entry(OTHER_ID, "root=UUID=2c8b"));
    }
    let plan = plan_on(&strange.capture, &[GPU], Cmdline);
    assert_eq!(refused(&plan), ["no-boot-entry"], "{:?}", plan.refused);
    assert_tells_what_to_do(&plan);
}

#[test]
fn a_partition_that_is_seen_at_two_places_is_changed_once() {
    let text = "linux /v\noptions root=UUID=1b7a rw\n";
    let place = |at: &str| format!("{at}/loader/entries/new.conf");
    let both = || Machine::arch(Loader::SystemdBoot).text(&place("/efi"), text).text(&place("/boot/efi"), text);
    let root = "29 1 8:2 / / rw - ext4 /dev/sda2 rw\n";
    let (efi, boot_efi) = ("40 29 8:1 / /efi rw - vfat /dev/sda1 rw\n", "41 29 8:1 / /boot/efi rw - vfat /dev/sda1 rw\n");
    let other = "41 29 8:17 / /boot/efi rw - vfat /dev/sdb1 rw\n";
    let cases: [(String, &[&str]); 6] = [
        ([root, efi].concat(), &["/efi"]),
        ([root, boot_efi].concat(), &["/boot/efi"]),
        ([root, efi, boot_efi].concat(), &["/efi"]),
        (root.to_owned(), &["/efi"]),
        ([root, efi, other].concat(), &["/efi", "/boot/efi"]),
        (String::new(), &["/efi", "/boot/efi"]),
    ];
    for (mounts, changed) in cases {
        let plan = plan_on(&both().text("/proc/self/mountinfo", &mounts).capture, &[GPU], Cmdline);
        let new: Vec<&str> = paths(&plan).into_iter().filter_map(|path| path.strip_suffix("/loader/entries/new.conf")).collect();
        assert_eq!(new, changed, "{mounts}: {:?}", plan.refused);
    }
    let differs = both().text(&place("/efi"), "linux /v\noptions root=UUID=1b7a\n").text("/proc/self/mountinfo", &[root, efi].concat());
    assert_eq!(paths(&plan_on(&differs.capture, &[GPU], Cmdline)).iter().filter(|path| path.ends_with("/new.conf")).count(), 2);
}
