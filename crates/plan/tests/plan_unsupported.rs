//! Boot loaders and generators that cede names and does not change, and those that are told from one another by what a start left.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Entry, Host};
use cede_plan::intent::BindMethod::Cmdline;
use cede_plan::{bootloader, initramfs};
use support::machine::{GPU, Loader, Machine};
use support::{assert_tells_what_to_do, paths, plan_on, refused};

const LOADER_INFO: &str = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
const STUB_INFO: &str = "/sys/firmware/efi/efivars/StubInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
const FIRMWARE: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

fn arch() -> Machine {
    Machine::arch(Loader::Grub)
}

/// The Arch laptop without a trace of a boot loader.
fn bare() -> Machine {
    arch().absent("/etc/default/grub").absent("/boot/grub/grub.cfg").text("/proc/cmdline", "root=UUID=1b7a rw quiet\n")
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// The firmware started this program.
fn by_firmware(machine: Machine, program: &str) -> Machine {
    let file = utf16(program);
    let length = u8::try_from(file.len()).unwrap() + 4;
    let mut option = vec![7, 0, 0, 0, 1, 0, 0, 0, length + 4, 0];
    option.extend(utf16("Linux"));
    option.extend([4, 4, length, 0]);
    option.extend(file);
    option.extend([0x7f, 0xff, 4, 0]);
    let variables = "/sys/firmware/efi/efivars";
    machine
        .bytes(&format!("{variables}/BootCurrent-{FIRMWARE}"), &[6, 0, 0, 0, 1, 0])
        .bytes(&format!("{variables}/Boot0001-{FIRMWARE}"), &option)
}

fn by_loader(machine: Machine, info: &str) -> Machine {
    machine.bytes(LOADER_INFO, &[vec![6, 0, 0, 0], utf16(info)].concat())
}

fn loader_of(machine: &Machine) -> Option<(&'static str, bool)> {
    bootloader::named(&Host::from_capture(machine.capture.clone())).map(|named| (named.name, named.supported))
}

fn generator_of(machine: &Machine) -> Option<(&'static str, bool)> {
    initramfs::named(&Host::from_capture(machine.capture.clone())).map(|named| (named.name, named.supported))
}

#[track_caller]
fn assert_refused(machine: &Machine, id: &str, parts: &[&str]) {
    let plan = plan_on(&machine.capture, &[GPU], Cmdline);
    assert_eq!((refused(&plan), plan.steps.len()), (vec![id], 0), "{:?}", plan.refused);
    assert_tells_what_to_do(&plan);
    parts.iter().for_each(|part| assert!(plan.refused[0].message.contains(part), "{part} is not in {}", plan.refused[0].message));
}

#[test]
fn loaders_are_named_by_their_files_and_told_how_by_hand() {
    let cases = [
        ("/boot/refind_linux.conf", "rEFInd", "first line of /boot/refind_linux.conf"),
        ("/efi/EFI/refind/refind.conf", "rEFInd", "refind_linux.conf"),
        ("/boot/limine.conf", "Limine", "`cmdline:`"),
        ("/etc/default/limine", "Limine", "KERNEL_CMDLINE[default]"),
        ("/boot/syslinux/syslinux.cfg", "syslinux", "APPEND"),
        ("/boot/extlinux.conf", "syslinux", "update-extlinux"),
        ("/boot/extlinux/extlinux.conf", "syslinux", "APPEND"),
        ("/etc/zfsbootmenu/config.yaml", "ZFSBootMenu", "org.zfsbootmenu:commandline"),
        ("/boot/firmware/cmdline.txt", "the Raspberry Pi's firmware", "one line"),
        ("/efi/EFI/Linux/arch-linux.efi", "a unified kernel image", "/etc/kernel/cmdline"),
        ("/etc/NIXOS", "NixOS", "--to nixos"),
        ("/etc/kernel/proxmox-boot-uuids", "proxmox-boot-tool", "where GRUB starts it"),
        ("/run/ostree-booted", "ostree", "rpm-ostree kargs"),
        ("/boot/grub2/grub.cfg", "GRUB below /boot/grub2, as openSUSE has it", "grub2-mkconfig -o /boot/grub2/grub.cfg"),
    ];
    for (mark, name, by_hand) in cases {
        let machine = bare().seen(mark);
        assert_eq!(loader_of(&machine), Some((name, false)), "{mark}");
        let plan = plan_on(&machine.capture, &[GPU], Cmdline);
        let refusal = plan.refused.iter().find(|refusal| refusal.id == "boot-loader-unsupported").unwrap();
        for part in [name, mark, by_hand, "to add: `intel_iommu=on`, `vfio-pci.ids=10de:1f91,10de:10fa`"] {
            assert!(refusal.message.contains(part), "{part} is not in {}", refusal.message);
        }
        assert!(plan.steps.is_empty());
        assert_tells_what_to_do(&plan);
    }
    let fedora = bare().seen("/boot/grub2/grub.cfg").seen("/usr/sbin/grubby");
    assert_refused(&fedora, "boot-loader-unsupported", &["as Fedora has it", "grubby --update-kernel=ALL"]);
    let board = bare().seen("/boot/extlinux/extlinux.conf").directory("/sys/firmware/devicetree");
    assert_refused(&board, "boot-loader-unsupported", &["U-Boot", "u-boot-update"]);
    let off = bare().seen("/boot/limine.conf").text("/proc/cmdline", "root=UUID=1b7a intel_iommu=off vfio-pci.ids=1:2\n");
    let words = ["to take out: `intel_iommu=off`, `vfio-pci.ids=1:2`", "to add: `vfio-pci.ids=1:2,10de:1f91,10de:10fa`, `intel_iommu=on`"];
    assert_refused(&off, "boot-loader-unsupported", &words);
}

#[test]
fn what_was_at_work_beats_what_lies_beside_it() {
    // GRUB wrote the command line: leftovers of others do not matter.
    let grub = arch().seen("/boot/refind_linux.conf").seen("/boot/limine.conf").seen("/efi/EFI/Linux/old.efi");
    assert_eq!(loader_of(&grub), Some(("GRUB", true)));
    assert!(paths(&plan_on(&grub.capture, &[GPU], Cmdline).clone()).contains(&"/etc/default/grub"));
    let chained = by_firmware(arch().seen("/boot/refind_linux.conf"), "\\EFI\\refind\\refind_x64.efi");
    assert_eq!(loader_of(&chained), Some(("GRUB", true)));
    // And here it did not, though its files are whole.
    let silent = |machine: Machine| machine.text("/proc/cmdline", "initrd=\\initramfs-linux.img root=UUID=1b7a rw\n");
    for (machine, name) in [
        (by_firmware(silent(arch()), "\\EFI\\refind\\refind_x64.efi"), "rEFInd"),
        (by_firmware(silent(arch()), "\\EFI\\ZBM\\VMLINUZ.EFI"), "ZFSBootMenu"),
        (by_firmware(silent(arch()), "\\vmlinuz-linux"), "the kernel's EFI stub"),
        (by_firmware(silent(arch()), "\\EFI\\Linux\\arch-linux.efi"), "a unified kernel image"),
        (by_loader(silent(arch()), "Limine 9.3.0"), "Limine"),
        (silent(arch()).seen(STUB_INFO), "a unified kernel image"),
    ] {
        assert_eq!(loader_of(&machine), Some((name, false)));
        assert_refused(&machine, "boot-loader-unsupported", &[name]);
    }
    for info in ["GRUB 2.12", "GRUB 2.14-1"] {
        assert_eq!(loader_of(&by_loader(silent(arch()).seen("/boot/limine.conf"), info)), Some(("GRUB", true)));
    }
    let direct = by_firmware(silent(arch()).seen("/boot/limine.conf"), "\\EFI\\arch\\grubx64.efi");
    assert_eq!(loader_of(&direct), Some(("GRUB", true)));
    // A shim starts whatever is beside it.
    let shim = by_firmware(silent(arch()).seen("/boot/limine.conf"), "\\EFI\\debian\\shimx64.efi");
    assert_refused(&shim, "boot-loader-ambiguous", &["GRUB", "Limine"]);
}

#[test]
fn grub_is_known_by_the_command_line_though_its_menu_does_not_name_the_kernel() {
    // A kernel that was removed since, a snapshot's entry, one of the user's own, and a variable in place of the device.
    for (image, menu) in [
        ("/boot/vmlinuz-6.1.0-27-amd64", None),
        ("/@snapshots/3/snapshot/boot/vmlinuz-linux", None),
        ("(hd0,gpt2)/vmlinuz-own", None),
        (
            "/vmlinuz-own root=UUID=1b7a initrd=/own.img",
            Some(("/boot/grub/custom.cfg", "menuentry x {\n linux /vmlinuz-own initrd=/own.img\n}\n")),
        ),
        (
            "(lvm/vg-boot)/vmlinuz-linux",
            Some(("/boot/grub/grub.cfg", "### BEGIN /etc/grub.d/10_linux ###\nmenuentry x {\n linux ($root)/vmlinuz-linux\n}\n")),
        ),
    ] {
        let machine = arch().seen("/boot/EFI/refind/refind.conf").text("/proc/cmdline", &format!("BOOT_IMAGE={image} root=UUID=1b7a ro\n"));
        let machine = menu.into_iter().fold(machine, |machine, (path, text)| machine.text(path, text));
        for machine in [by_firmware(machine.clone(), "\\EFI\\debian\\shimx64.efi"), machine] {
            assert_eq!(loader_of(&machine), Some(("GRUB", true)), "{image}");
            assert!(paths(&plan_on(&machine.capture, &[GPU], Cmdline)).contains(&"/etc/default/grub"), "{image}");
        }
    }
}

#[test]
fn a_loader_at_work_whose_files_are_elsewhere_is_no_reason_to_change_another() {
    let silent = "initrd=\\initramfs-linux.img root=UUID=1b7a rw\n";
    let systemd = by_loader(arch().text("/proc/cmdline", silent), "systemd-boot 257.2-1-arch");
    let seen = ["systemd-boot started this system (", "LoaderInfo-", "mount"];
    for machine in
        [systemd.clone(), systemd.clone().seen("/boot/limine.conf"), systemd.absent("/etc/default/grub").absent("/boot/grub/grub.cfg")]
    {
        assert_refused(&machine, "boot-loader-unseen", &seen);
        assert_eq!(loader_of(&machine), None);
    }
    let entries = || Machine::arch(Loader::SystemdBoot).absent(LOADER_INFO);
    let grub = by_loader(entries(), "GRUB 2.12");
    for machine in
        [grub, by_firmware(entries(), "\\EFI\\arch\\grubx64.efi"), entries().text("/proc/cmdline", "BOOT_IMAGE=/vmlinuz-linux ro\n")]
    {
        assert_refused(&machine, "boot-loader-unseen", &["GRUB started this system (", "mount"]);
    }
    // Whoever may not look is told so first.
    let mut closed = by_loader(arch().text("/proc/cmdline", silent), "systemd-boot 252");
    closed.capture.insert("/boot/efi/loader/entries", Entry::Unreadable("EACCES".into()));
    assert_refused(&closed, "boot-not-readable", &["/boot/efi/loader/entries", "run as root"]);
}

#[test]
fn settings_of_grub_without_a_menu_are_left_over() {
    let left = |machine: Machine| machine.text("/etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n").absent("/boot/grub/grub.cfg");
    // The variables of the firmware are not mounted.
    let systemd = left(Machine::arch(Loader::SystemdBoot).absent(LOADER_INFO));
    assert_eq!(loader_of(&systemd), Some(("systemd-boot", true)));
    assert_eq!(loader_of(&left(bare()).seen("/boot/limine.conf")), Some(("Limine", false)));
    assert_refused(&left(bare()), "boot-loader-unknown", &["GRUB with its menu"]);
    // In a mounted system no command line tells; and by this one it was GRUB, wherever its menu is.
    assert_eq!(loader_of(&left(bare()).absent("/proc/cmdline")), Some(("GRUB", true)));
    assert_eq!(loader_of(&left(arch())), Some(("GRUB", true)));
    assert_refused(
        &left(arch()),
        "grub-menu-elsewhere",
        &["/boot/grub/grub.cfg, which is not there", "grub-mkconfig -o MENU", "to add: `intel_iommu=on`"],
    );
}

#[test]
fn a_unified_image_has_its_own_words_whatever_they_say() {
    // Made from /proc/cmdline of a start by GRUB, of which all is left.
    let moved = arch().bytes(STUB_INFO, b"x").seen("/efi/EFI/Linux/arch.efi");
    let by_systemd = by_loader(moved.clone().text("/proc/cmdline", "root=UUID=1b7a rw\n"), "systemd-boot 257");
    for machine in
        [moved.clone(), by_systemd, by_firmware(moved, "\\EFI\\Linux\\arch.efi"), Machine::arch(Loader::SystemdBoot).seen(STUB_INFO)]
    {
        assert_refused(&machine, "boot-loader-unsupported", &["a unified kernel image", "StubInfo", "loader/entries"]);
    }
    // ZFSBootMenu's image has that stub too, and starts the kernel by kexec.
    let zbm = by_firmware(arch().seen(STUB_INFO).text("/proc/cmdline", "root=zfs:zroot/ROOT/arch rw\n"), "\\EFI\\ZBM\\VMLINUZ.EFI");
    assert_refused(&zbm, "boot-loader-unsupported", &["ZFSBootMenu", "zfs set"]);
}

#[test]
fn boot_image_alone_is_no_proof_of_grub() {
    // syslinux writes the same word, and the initramfs beside it.
    let words = "BOOT_IMAGE=/vmlinuz-linux initrd=/initramfs-linux.img root=UUID=1b7a rw\n";
    let syslinux = arch().text("/proc/cmdline", words).seen("/boot/syslinux/syslinux.cfg");
    assert_eq!(loader_of(&syslinux), Some(("syslinux", false)));
    assert_refused(&syslinux, "boot-loader-unsupported", &["syslinux", "/proc/cmdline"]);
    // LILO writes a label, which is no kernel of the menu.
    let label = arch().text("/proc/cmdline", "BOOT_IMAGE=linux ro root=803\n");
    assert_eq!(loader_of(&label), Some(("GRUB", true)));
    assert_refused(&label.seen("/boot/limine.conf"), "boot-loader-ambiguous", &["/etc/default/grub", "/boot/limine.conf", "remove"]);
    // An entry of somebody's own that says initrd= is an entry of GRUB all the same, and so is one with a device before the path.
    let menu = "### BEGIN /etc/grub.d/10_linux ###\nmenuentry 'x' {\n linux (hd0,gpt2)/vmlinuz-linux initrd=/initramfs-linux.img\n}\n";
    let own = arch().text("/boot/grub/grub.cfg", menu).text("/proc/cmdline", words).seen("/boot/limine.conf");
    assert_eq!(loader_of(&own), Some(("GRUB", true)));
    // A menu that only root may read does not speak against it.
    let mut closed = arch().seen("/boot/limine.conf");
    closed.capture.insert("/boot/grub/grub.cfg", Entry::Unreadable("EACCES".into()));
    assert_eq!(loader_of(&closed), Some(("GRUB", true)));
    // Whoever may not look at the system partition cannot tell what else is there.
    let mut hidden = arch().text("/proc/cmdline", "root=UUID=1b7a\n");
    hidden.capture.insert("/boot/efi/EFI/refind/refind.conf", Entry::Unreadable("EACCES".into()));
    assert_refused(&hidden, "boot-not-readable", &["/boot/efi/EFI/refind/refind.conf", "run as root"]);
}

#[test]
fn generators_are_named_and_told_how_by_hand() {
    let without = || Machine::debian().absent("/etc/initramfs-tools/modules").absent("/etc/initramfs-tools/initramfs.conf");
    for (mark, name, by_hand) in [
        ("/usr/bin/dracut", "dracut", "force_drivers+=\" vfio_pci vfio vfio_iommu_type1 \""),
        ("/usr/bin/booster", "booster", "modules_force_load"),
        ("/sbin/mkinitfs", "mkinitfs", "run `mkinitfs`"),
        ("/etc/genkernel.conf", "genkernel", "ALLRAMDISKMODULES"),
        ("/etc/tinyramfs/config", "tinyramfs", "use another"),
        ("/usr/sbin/update-tirfs", "tiny-initramfs", "use another"),
    ] {
        assert_eq!(generator_of(&without().seen(mark)), Some((name, false)));
        assert_refused(&without().seen(mark), "initramfs-unsupported", &[name, mark, by_hand]);
    }
    assert_eq!(generator_of(&without()), None);
    // Both are said at once.
    let both = without().absent("/etc/default/grub").absent("/boot/grub/grub.cfg").seen("/usr/bin/dracut").seen("/boot/limine.conf");
    let plan = plan_on(&both.text("/proc/cmdline", "root=UUID=1b7a\n").capture, &[GPU], Cmdline);
    assert_eq!(refused(&plan), ["initramfs-unsupported", "boot-loader-unsupported"]);
}

#[test]
fn mkinitcpio_beside_another_goes_by_who_makes_the_images() {
    let package = |machine: Machine, name: &str| machine.seen(&format!("/usr/share/libalpm/hooks/90-{name}-install.hook"));
    let masked = |machine: Machine, name: &str| machine.link(&format!("/etc/pacman.d/hooks/90-{name}-install.hook"), "/dev/null");
    let two = || package(arch().seen("/usr/bin/dracut"), "mkinitcpio");
    // dracut's package has no hook of its own.
    assert_eq!(generator_of(&two()), Some(("mkinitcpio", true)));
    let called = two().seen("/etc/pacman.d/hooks/90-dracut-install.hook");
    assert_refused(&called, "initramfs-ambiguous", &["mkinitcpio", "dracut (/usr/bin/dracut)", "remove"]);
    assert_eq!(generator_of(&called), None);
    assert_eq!(generator_of(&masked(called.clone(), "mkinitcpio")), Some(("dracut", false)));
    assert_eq!(generator_of(&masked(called, "dracut")), Some(("mkinitcpio", true)));
    // Nobody is called: nothing tells.
    assert_refused(&arch().seen("/usr/bin/dracut"), "initramfs-ambiguous", &["mkinitcpio", "dracut"]);
    // Only the settings are left of mkinitcpio, or of the other.
    assert_eq!(generator_of(&arch().absent("/usr/bin/mkinitcpio").seen("/usr/bin/dracut")), Some(("dracut", false)));
    assert_eq!(generator_of(&arch().directory("/etc/dracut.conf.d").seen("/etc/booster.yaml")), Some(("mkinitcpio", true)));
    let conf =
        |name: &str| arch().seen("/usr/bin/dracut").text("/etc/kernel/install.conf", &format!("layout=bls\ninitrd_generator={name}\n"));
    assert_eq!(generator_of(&conf("dracut")), Some(("dracut", false)));
    assert_eq!(generator_of(&conf("mkinitcpio")), Some(("mkinitcpio", true)));
    assert_eq!(generator_of(&conf("none")), None);
    assert_refused(&conf("none"), "initramfs-ambiguous", &["`echo initrd_generator=NAME >> /etc/kernel/install.conf`"]);
    // Settings of one without its tool.
    let left = arch().text("/etc/initramfs-tools/initramfs.conf", "MODULES=most\n");
    assert_eq!(generator_of(&left.clone().absent("/usr/sbin/mkinitramfs")), Some(("mkinitcpio", true)));
    assert_eq!(generator_of(&left.seen("/usr/sbin/mkinitramfs")), None);
    let moved = Machine::debian().text("/etc/mkinitcpio.conf", "MODULES=()\n").absent("/usr/bin/mkinitcpio").seen("/usr/sbin/mkinitramfs");
    assert_eq!(generator_of(&moved), Some(("initramfs-tools", true)));
    let booted =
        Machine::arch(Loader::SystemdBoot).seen("/usr/bin/booster").text("/proc/cmdline", "initrd=\\booster-linux.img root=UUID=1b7a\n");
    assert_refused(&package(booted, "mkinitcpio"), "initramfs-unsupported", &["booster", "booster-linux.img", "/etc/booster.yaml"]);
}
