//! The image that starts may be a copy of the one that the generator makes; what is refreshed and proved is the copy.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_plan::intent::BindMethod::{Cmdline, Modprobe};
use cede_plan::plan::{Condition, Plan, Step};
use support::machine::{DEBIAN_ID, GPU, Loader, Machine};
use support::{after, applied, assert_tells_what_to_do, plan_on, refused};

const MADE: &str = "/boot/initrd.img-6.1.0-28-amd64";

fn copy() -> String {
    format!("/boot/efi/{DEBIAN_ID}/6.1.0-28-amd64/initrd.img-6.1.0-28-amd64")
}

fn entry() -> String {
    format!("/boot/efi/loader/entries/{DEBIAN_ID}-6.1.0-28-amd64.conf")
}

fn proofs_of<'a>(plan: &'a Plan, image: &'a str) -> impl Iterator<Item = &'a Condition> {
    plan.expects.iter().map(|expectation| &expectation.what).filter(move |what| what.image() == Some(image))
}

#[test]
fn the_copy_on_the_boot_partition_is_refreshed_after_the_tool_and_proved() {
    for bind in [Cmdline, Modprobe] {
        let plan = plan_on(&Machine::debian_systemd_boot().capture, &[GPU], bind);
        assert!(plan.refused.is_empty(), "{:?}", plan.refused);
        let place = |wanted: &dyn Fn(&Step) -> bool| plan.steps.iter().position(wanted).unwrap();
        let tool = place(&|step| step.argv().is_some_and(|argv| argv[0] == "/usr/sbin/update-initramfs"));
        let copied = place(&|step| *step == Step::CopyImage { from: MADE.to_owned(), to: copy() });
        assert!(tool < copied);
        let path = copy();
        let of_copy: Vec<Condition> = proofs_of(&plan, &path).cloned().collect();
        assert_eq!(of_copy, proofs_of(&plan, MADE).map(|what| what.clone().of_image(&path)).collect::<Vec<_>>());
        assert!(of_copy.iter().any(|what| matches!(what, Condition::ImageLoads { .. })), "{of_copy:?}");
    }
}

/// The next run of kernel-install then finds the entry as it would write it.
#[test]
fn the_entry_is_as_kernel_install_would_make_it_from_the_new_template() {
    let plan = plan_on(&Machine::debian_systemd_boot().capture, &[GPU], Cmdline);
    let template = String::from_utf8_lossy(after(&plan, "/etc/kernel/cmdline")).into_owned();
    assert_eq!(template, "root=UUID=1b7a ro quiet vfio-pci.ids=10de:1f91,10de:10fa\n");
    let entry = String::from_utf8_lossy(after(&plan, &entry())).into_owned();
    assert!(entry.contains(&format!("\noptions    {} systemd.machine_id={DEBIAN_ID}\n", template.trim_end())), "{entry}");
}

#[test]
fn where_all_is_as_wished_nothing_is_copied() {
    let machine = Machine::debian_systemd_boot();
    let plan = plan_on(&machine.capture, &[GPU], Cmdline);
    assert!(plan_on(&applied(&machine.capture, &plan.steps), &[GPU], Cmdline).is_empty());
}

#[test]
fn what_the_loader_reads_where_the_tool_writes_it_needs_no_copy() {
    let entry = |initrd: &str| format!("linux /vmlinuz-linux\ninitrd /intel-ucode.img\ninitrd {initrd}\noptions root=UUID=1b7a rw\n");
    for initrd in ["/initramfs-linux.img", "initramfs-linux.img", "//initramfs-linux.img"] {
        let machine = Machine::arch(Loader::SystemdBoot).text("/boot/loader/entries/linux.conf", &entry(initrd));
        let plan = plan_on(&machine.capture, &[GPU], Cmdline);
        assert!(plan.refused.is_empty(), "{initrd}: {:?}", plan.refused);
        assert!(!plan.steps.iter().any(|step| matches!(step, Step::CopyImage { .. })), "{initrd}");
    }
    // The same partition seen at another place.
    let plan = plan_on(
        &Machine::arch(Loader::SystemdBoot).text("/efi/loader/entries/x.conf", &entry("/initramfs-linux.img")).capture,
        &[GPU],
        Cmdline,
    );
    assert!(plan.refused.is_empty() && !plan.steps.iter().any(|step| matches!(step, Step::CopyImage { .. })), "{:?}", plan.refused);
}

#[test]
fn an_image_of_unknown_origin_is_refused() {
    let entry = |initrd: &str| format!("linux /v\ninitrd {initrd}\noptions root=UUID=1b7a rw\n");
    let arch = |initrd: &str| Machine::arch(Loader::SystemdBoot).text("/boot/loader/entries/linux.conf", &entry(initrd));
    let path = "/boot/efi/loader/entries/x.conf";
    let missing = format!("/{DEBIAN_ID}/6.1.0-28-amd64/x/initrd.img-6.1.0-28-amd64");
    for machine in [
        arch("/other.img"),
        arch("/../boot/../root/initramfs-linux.img"),
        Machine::debian_systemd_boot().text(path, &entry("/id/6.1.0-9-amd64/initrd.img-6.1.0-9-amd64")),
        Machine::debian_systemd_boot().text(path, &entry(&missing)).absent(&format!("/boot/efi{missing}")),
    ] {
        let plan = plan_on(&machine.capture, &[GPU], Cmdline);
        assert_eq!(refused(&plan), ["boot-image-unknown"], "{:?}", plan.refused);
        assert_tells_what_to_do(&plan);
    }
}
