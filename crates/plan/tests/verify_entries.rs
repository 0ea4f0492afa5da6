//! What generators write, as verification reads it. Other systems' entries of GRUB's menu prove nothing and are asked for nothing; the lists
//! of early modules are as mkinitcpio 41 and initramfs-tools 0.142 were seen to write them.

#![allow(clippy::panic, reason = "clippy's exemption of tests does not reach what stands beside the tests here")]

mod support;

use cede_model::{Capture, Entry, Host};
use cede_plan::plan::{Condition, Expectation, When};
use cede_plan::verify::{Result3, made, verify};
use support::machine::{Loader, Machine};

const OWN: &str = "### BEGIN /etc/grub.d/10_linux ###\nmenuentry 'Debian' --class debian $menuentry_id_option 'gnulinux-simple-1b7a' {\n\tlinux\t/boot/vmlinuz-6.1.0-28-amd64 root=UUID=1b7a ro quiet WORDS\n\tinitrd\t/boot/initrd.img-6.1.0-28-amd64\n}\nsubmenu 'Advanced' $menuentry_id_option 'gnulinux-advanced-1b7a' {\n\tmenuentry 'Debian, with Linux 6.1.0-28-amd64' --class debian {\n\t\tlinux\t/boot/vmlinuz-6.1.0-28-amd64 root=UUID=1b7a ro quiet WORDS\n\t}\n\tmenuentry 'Debian, with Linux 6.1.0-28-amd64 (recovery mode)' --class debian {\n\t\tlinux\t/boot/vmlinuz-6.1.0-28-amd64 root=UUID=1b7a ro single\n\t}\n}\n### END /etc/grub.d/10_linux ###\n";

const OTHERS: &str = "### BEGIN /etc/grub.d/20_memtest86+ ###\nmenuentry 'Memory test' {\n\tlinux\t/boot/memtest86+x64.bin\n}\n### END /etc/grub.d/20_memtest86+ ###\n### BEGIN /etc/grub.d/30_os-prober ###\nmenuentry 'Fedora (on /dev/sda2)' --class gnu-linux {\n\tlinux /boot/vmlinuz root=/dev/sda2\n}\n### END /etc/grub.d/30_os-prober ###\n### BEGIN /etc/grub.d/40_custom ###\nmenuentry 'rescue disk' {\n\tlinux /rescue/vmlinuz x\n}\n### END /etc/grub.d/40_custom ###\n";

fn judged(menu: &str, parameter: &str) -> (Result3, String) {
    let machine = Machine::arch(Loader::Grub).text("/boot/grub/grub.cfg", menu);
    let expectation = Expectation::now(Condition::EntriesCarry { parameter: parameter.to_owned() });
    let report = verify(&Host::from_capture(machine.capture), &[expectation], When::Now);
    let outcome = report.outcomes.into_iter().next().unwrap_or_else(|| panic!("nothing was judged"));
    (outcome.result, outcome.cause.unwrap_or_default())
}

#[test]
fn only_this_systems_entries_count() {
    let carries = format!("{}{OTHERS}", OWN.replace("WORDS", "intel_iommu=on vfio-pci.ids=10de:1f91,10de:10fa"));
    for parameter in ["intel_iommu=on", "vfio-pci.ids=10de:1f91,10de:10fa", "vfio-pci.ids=10de:10fa"] {
        assert_eq!(judged(&carries, parameter), (Result3::Met, String::new()), "{parameter}");
    }
    let (result, cause) = judged(&carries, "vfio-pci.ids=8086:1533");
    assert!(result == Result3::NotMet && cause.contains("Debian"), "{cause}");
    let (result, _) = judged(&format!("{}{OTHERS}", OWN.replacen("WORDS", "intel_iommu=on", 1).replace("WORDS", "")), "intel_iommu=on");
    assert_eq!(result, Result3::NotMet);
    let (result, _) = judged(OTHERS, "intel_iommu=on");
    assert_eq!(result, Result3::CannotTell);
}

const IMAGE: &str = "/boot/initramfs-linux.img";

fn loads(files: &[(&str, &str)]) -> Result3 {
    let mut capture = Capture::new();
    capture.insert(format!("{IMAGE}!"), Entry::Dir);
    for (path, text) in files {
        capture.insert(format!("{IMAGE}!/{path}"), Entry::File(text.as_bytes().to_vec()));
    }
    let expectation = Expectation::now(Condition::ImageLoads { image: IMAGE.to_owned(), module: "vfio_pci".to_owned() });
    let report = verify(&Host::from_capture(capture), &[expectation], When::Now);
    report.outcomes.first().map_or_else(|| panic!("nothing was judged"), |outcome| outcome.result)
}

#[test]
fn each_generators_list_of_early_modules_is_read() {
    let busybox = ("config", "MODULES=\"vfio_pci vfio vfio_iommu_type1 nouveau\"\nEARLYHOOKS=\"udev\"\nHOOKS=\"udev\"\n");
    let list = "etc/modules-load.d/MODULES.conf";
    assert_eq!(loads(&[busybox]), Result3::Met);
    assert_eq!(loads(&[busybox, (list, "vfio_pci\nvfio\nvfio_iommu_type1\nnouveau\n")]), Result3::Met);
    // MODULES was a string: one name of three words, which systemd-modules-load does not find; its init reads no `config`.
    assert_eq!(loads(&[busybox, (list, "vfio_pci vfio vfio_iommu_type1\n")]), Result3::NotMet);
    assert_eq!(loads(&[("config", "EARLYHOOKS=\"udev\"\n")]), Result3::NotMet);
    assert_eq!(loads(&[("conf/modules", "vfio_pci \nvfio \nvfio_iommu_type1 \n")]), Result3::Met);
    assert_eq!(loads(&[("conf/modules", "loop max_loop=8\n")]), Result3::NotMet);
}

/// Between an operation and the start that it is for, kernels come and go and files are edited; none of that makes the start another one.
#[test]
fn what_was_made_for_the_next_start_is_judged_as_far_as_it_is_still_meant() {
    let menu = OWN.replace("WORDS", "intel_iommu=on");
    let now = |what: Condition| Expectation::now(what);
    let (kernel, gone) = ("/boot/vmlinuz-6.1.0-28-amd64".to_owned(), "/boot/vmlinuz-6.1.0-27-amd64".to_owned());
    let module = |release: &str| Condition::ImageHasModule {
        image: IMAGE.to_owned(),
        kernel: Some(release.to_owned()),
        module: "vfio_pci".to_owned(),
    };
    let expects = [
        now(Condition::FileIs { path: "/etc/default/grub".to_owned(), sha256: Some("0".repeat(64)) }),
        now(module("6.1.0-27-amd64")),
        now(Condition::ImageOpens { image: "/boot/initramfs-other.img".to_owned() }),
        now(Condition::ImageOpens { image: IMAGE.to_owned() }),
        now(Condition::EntriesCarry { parameter: "intel_iommu=on".to_owned() }),
        now(Condition::MenuStarts { kernels: vec![kernel.clone(), gone] }),
        Expectation { when: When::AfterReboot, what: Condition::IommuOn },
    ];
    let mut capture = Machine::arch(Loader::Grub).text("/boot/grub/grub.cfg", &menu).capture;
    capture.insert(format!("{IMAGE}!"), Entry::Dir);
    for path in [kernel, "/boot/initrd.img-6.1.0-28-amd64".to_owned()] {
        capture.insert(path, Entry::Present(1));
    }
    let said = |capture: &Capture| {
        let report = made(&Host::from_capture(capture.clone()), &expects);
        report.outcomes.into_iter().map(|outcome| (outcome.what, outcome.result)).collect::<Vec<_>>()
    };
    let as_planned = said(&capture);
    let results: Vec<Result3> = as_planned.iter().map(|(_, result)| *result).collect();
    // The first image was not looked at.
    assert_eq!(results, [Result3::CannotTell, Result3::Met, Result3::Met, Result3::Met], "{as_planned:?}");
    capture.insert("/boot/grub/grub.cfg", Entry::File(OWN.replace("WORDS", "").into_bytes()));
    let [_, _, (_, carried), _] = said(&capture).try_into().unwrap_or_else(|other| panic!("{other:?}"));
    assert_eq!(carried, Result3::NotMet);
    capture.insert(format!("{IMAGE}!"), Entry::Unreadable("it is cut off".to_owned()));
    assert_ne!(said(&capture).get(1).map(|(_, result)| *result), Some(Result3::Met));
}
