//! Files that are there and could not be read are never taken for absent.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::Entry;
use cede_plan::intent::BindMethod::Cmdline;
use support::machine::{GPU, Loader, Machine};
use support::{after, assert_tells_what_to_do, paths, plan_on, refused};

fn with(mut machine: Machine, path: &str, why: &str) -> Machine {
    machine.capture.insert(path, Entry::Unreadable(why.into()));
    machine
}

#[track_caller]
fn assert_refused(machine: &Machine, id: &str, names: &[&str]) {
    let plan = plan_on(&machine.capture, &[GPU], Cmdline);
    assert_eq!(refused(&plan), [id], "{:?}", plan.refused);
    assert!(plan.steps.is_empty());
    assert_tells_what_to_do(&plan);
    for name in names {
        assert!(plan.refused[0].message.contains(name), "{name} is not named: {:?}", plan.refused);
    }
}

#[track_caller]
fn assert_planned(machine: &Machine) {
    let plan = plan_on(&machine.capture, &[GPU], Cmdline);
    assert!(plan.refused.is_empty() && !plan.steps.is_empty(), "{:?}", plan.refused);
}

/// A partition that only root may enter.
fn closed(machine: Machine, partition: &str) -> Machine {
    let places = ["", "/grub2/grub.cfg", "/grub/grub.cfg", "/loader/entries", "/loader/loader.conf", "/EFI/Linux"];
    let inside = |path: &str| path.starts_with(&format!("{partition}/"));
    let mut machine = machine;
    let seen: Vec<String> = machine.capture.entries().map(|(path, _)| path.to_owned()).filter(|path| inside(path)).collect();
    seen.iter().for_each(|path| _ = machine.capture.remove(path));
    places.iter().fold(machine, |machine, place| with(machine, &format!("{partition}{place}"), "EACCES"))
}

#[test]
fn a_boot_partition_that_only_root_may_enter_proves_no_boot_loader() {
    for loader in [Loader::Grub, Loader::SystemdBoot] {
        assert_refused(&closed(Machine::arch(loader), "/boot"), "boot-not-readable", &["/boot could not be read (EACCES)", "run as root"]);
    }
    // GRUB started this host, whatever else the system partition holds.
    assert_planned(&closed(Machine::arch(Loader::Grub), "/boot/efi"));
    // Nothing says so, and an entry of another loader may be there.
    let silent = Machine::arch(Loader::Grub).text("/proc/cmdline", "root=UUID=1b7a rw\n");
    assert_planned(&silent);
    assert_refused(&closed(silent.clone(), "/efi"), "boot-not-readable", &["/efi/loader/entries", "EACCES"]);
    let menu = silent.clone().absent("/etc/default/grub");
    assert_refused(&with(menu, "/boot/grub/grub.cfg", "EACCES"), "boot-not-readable", &["/boot/grub/grub.cfg", "run as root"]);
    // Fedora's GRUB.
    let fedora = with(Machine::arch(Loader::Grub), "/boot/grub2/grub.cfg", "EACCES");
    assert_refused(&fedora, "boot-not-readable", &["/boot/grub2/grub.cfg", "run as root"]);
}

#[test]
fn marks_that_cannot_be_seen_are_no_marks() {
    assert_planned(&with(Machine::debian(), "/usr/bin/dracut", "EACCES"));
    let bare = Machine::debian().absent("/etc/initramfs-tools/modules").absent("/etc/initramfs-tools/initramfs.conf");
    assert_refused(&with(bare, "/etc/dracut.conf.d", "EACCES"), "initramfs-unknown", &[]);
}

#[test]
fn initramfs_tools_is_told_from_debian_s_dracut_by_its_own_tool() {
    let dracut = Machine::debian().seen("/usr/bin/dracut");
    assert_refused(&dracut.clone().absent("/usr/sbin/mkinitramfs"), "initramfs-unsupported", &["dracut"]);
    let both = dracut.seen("/usr/sbin/mkinitramfs");
    assert_planned(&both);
    let update = "/usr/sbin/update-initramfs";
    assert_planned(&both.clone().text(update, "#!/bin/sh\nif mkinitramfs ${OPTS} \"${initramfs}.new\" \"${version}\"; then\n"));
    // `apt install dracut` takes initramfs-tools away and leaves initramfs-tools-core, which has mkinitramfs and the settings.
    for core in [both.clone().absent(update), both.text(update, "#!/bin/sh\nexec dracut --force\n")] {
        assert_refused(&core, "initramfs-unsupported", &["dracut (/usr/bin/dracut", "dracut --force"]);
    }
    assert_planned(&Machine::debian().absent("/usr/sbin/mkinitramfs").absent("/usr/sbin/update-initramfs").absent("/usr/bin/dracut"));
}

#[test]
fn an_unreadable_list_of_modules_is_not_an_empty_one() {
    let list = "/etc/initramfs-tools/modules";
    assert_refused(&with(Machine::debian(), list, "EACCES"), "initramfs-modules-not-editable", &[list, "EACCES", "run as root"]);
    assert_refused(&with(Machine::debian(), list, "Fifo"), "initramfs-modules-not-editable", &[list, "Fifo", "regular file"]);
    assert_refused(&Machine::debian().directory(list), "initramfs-modules-not-editable", &[list, "directory"]);
    let plan = plan_on(&Machine::debian().absent(list).capture, &[GPU], Cmdline);
    assert!(after(&plan, list).starts_with(b"vfio_pci"), "{:?}", plan.refused);
}

#[test]
fn unreadable_files_of_modprobe_d_refuse_unless_hidden() {
    let own = "/etc/modprobe.d/00-cede.conf";
    for machine in [Machine::arch(Loader::Grub), Machine::debian()] {
        assert_refused(&with(machine.clone(), own, "EACCES"), "modprobe-not-readable", &[own, "run as root"]);
        assert_refused(&machine.clone().directory(own), "modprobe-not-readable", &[own]);
        let local = "/etc/modprobe.d/local.conf";
        assert_refused(&with(machine.clone(), local, "EACCES"), "modprobe-not-readable", &[local, "run as root"]);
        assert_refused(&with(machine.clone(), "/etc/modprobe.d", "EACCES"), "modprobe-not-readable", &["/etc/modprobe.d could"]);
        let odd = "/etc/modprobe.d/caf\u{fffd}.conf";
        assert_refused(&with(machine.clone(), odd, "name is not UTF-8"), "modprobe-not-readable", &[odd, "rename"]);
        let vendor = with(machine.clone(), "/usr/lib/modprobe.d/local.conf", "EACCES");
        assert_refused(&vendor, "modprobe-not-readable", &["/usr/lib/modprobe.d/local.conf"]);
        assert_planned(&vendor.text(local, "# hides it\n"));
        assert_planned(&machine.directory("/etc/modprobe.d/sub.conf").absent("/etc/modprobe.d/gone.conf"));
    }
}

#[test]
fn unreadable_loader_entries_and_templates_refuse() {
    let machine = Machine::arch(Loader::SystemdBoot);
    let entry = "/boot/loader/entries/linux.conf";
    assert_refused(&with(machine.clone(), entry, "EACCES"), "boot-entry-not-readable", &[entry, "EACCES", "run as root"]);
    let template = "/etc/kernel/cmdline";
    assert_refused(&with(machine.clone(), template, "EACCES"), "boot-entry-not-readable", &[template, "run as root"]);
    assert_refused(&machine.clone().directory(template), "boot-entry-not-readable", &[template, "directory"]);
    assert_refused(&with(machine.clone(), "/efi/loader/entries", "EACCES"), "boot-entry-not-readable", &["/efi/loader/entries"]);
    let plan = plan_on(&machine.directory("/boot/loader/entries/old.conf").capture, &[GPU], Cmdline);
    assert!(paths(&plan).contains(&entry), "{:?}", plan.refused);
}

#[test]
fn presets_that_cannot_be_told_refuse() {
    let preset = "/etc/mkinitcpio.d/linux.preset";
    let arch = || Machine::arch(Loader::Grub);
    let id = "mkinitcpio-preset-not-readable";
    assert_refused(&with(arch(), preset, "EACCES"), id, &[preset, "EACCES", "run as root"]);
    assert_refused(&with(arch(), "/etc/mkinitcpio.d", "EACCES"), id, &["/etc/mkinitcpio.d could", "run as root"]);
    for line in ["PRESETS=($(ls))", "PRESETS=('default')\ndefault_config=`pick`", "PRESETS=('default')\nALL_kver=$(uname -r)"] {
        assert_refused(&arch().text(preset, &format!("{line}\n")), id, &[preset, "line "]);
    }
    // What has no bearing on the images may be computed.
    assert_planned(&arch().text(preset, "PRESETS=('default')\ndefault_image=/boot/initramfs-linux.img\ndefault_options=$(pick)\n"));
    assert_planned(&arch().text(preset, "PRESETS=default\ndefault_image=/boot/initramfs-linux.img\n"));
    let unified = arch().text(preset, "PRESETS=default\ndefault_uki=/efi/EFI/Linux/arch.efi\n");
    assert_refused(&unified, "unified-kernel-image", &["default"]);
}

#[test]
fn unreadable_configurations_of_mkinitcpio_refuse() {
    let arch = || Machine::arch(Loader::Grub);
    let drop_in = "/etc/mkinitcpio.conf.d/10-mine.conf";
    assert_refused(&with(arch(), drop_in, "EACCES"), "mkinitcpio-not-editable", &[drop_in, "run as root"]);
    assert_refused(&with(arch(), "/etc/mkinitcpio.conf.d", "EACCES"), "mkinitcpio-not-editable", &["/etc/mkinitcpio.conf.d could"]);
    let main = "/etc/mkinitcpio.conf";
    let halves = with(arch().text(drop_in, "MODULES+=(loop)\n"), main, "EACCES");
    let plan = plan_on(&halves.capture, &[GPU], Cmdline);
    assert!(plan.steps.is_empty() && plan.refused[0].message.contains(main), "{:?}", plan.refused);
}

#[test]
fn an_unreadable_directory_of_grub_s_drop_ins_refuses() {
    let dir = "/etc/default/grub.d";
    assert_refused(&with(Machine::debian(), dir, "EACCES"), "grub-not-editable", &["/etc/default/grub.d could", "run as root"]);
    let script = "/usr/sbin/grub-mkconfig";
    assert_refused(&with(Machine::debian(), script, "EIO"), "grub-not-editable", &[script, "EIO"]);
    assert_refused(&with(Machine::debian(), "/etc/default/grub.d/x.cfg", "EIO"), "grub-not-editable", &["x.cfg", "EIO"]);
}
