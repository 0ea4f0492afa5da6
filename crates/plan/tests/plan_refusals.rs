//! What goes together, and what is refused: each refusal names the object and ends in something to do.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::Host;
use cede_plan::guard::Loss;
use cede_plan::intent::BindMethod::{self, Cmdline};
use cede_plan::plan::Plan;
use cede_plan::planner::plan_accepting;
use support::machine::{GPU, Loader, Machine, intel_functions};
use support::pci::Function;
use support::{after, assert_tells_what_to_do, at, paths, plan_on, refused};

fn arch() -> Machine {
    Machine::arch(Loader::Grub)
}

fn addresses(plan: &Plan) -> Vec<String> {
    plan.devices.iter().map(|identity| identity.address.to_string()).collect()
}

#[track_caller]
fn assert_refused(machine: &Machine, wanted: &[&str], ids: &[&str], names: &[&str]) {
    let plan = plan_on(&machine.capture, wanted, Cmdline);
    assert_eq!(refused(&plan), ids, "{:?}", plan.refused);
    assert!(plan.steps.is_empty() && plan.expects.is_empty());
    assert_tells_what_to_do(&plan);
    for name in names {
        assert!(plan.refused.iter().any(|refusal| refusal.message.contains(name)), "{name} is not named: {:?}", plan.refused);
    }
}

fn grub_line(plan: &Plan) -> String {
    String::from_utf8_lossy(after(plan, "/etc/default/grub")).lines().find(|line| line.contains("LINUX_DEFAULT")).unwrap().to_owned()
}

#[test]
fn the_foretold_group_goes_as_a_whole() {
    let plan = plan_on(&arch().capture, &["01:00.1"], Cmdline);
    assert_eq!(addresses(&plan), ["0000:01:00.0", "0000:01:00.1"]);
    assert_eq!(plan.stays, [at("00:01.0")]);
    assert!(plan.notes.iter().any(|note| note.contains("01:00.0 goes along")), "{:?}", plan.notes);
    assert!(grub_line(&plan).contains("intel_iommu=on vfio-pci.ids=10de:1f91,10de:10fa"), "{}", grub_line(&plan));
}

#[test]
fn the_kernels_group_counts_where_the_iommu_is_on() {
    let machine = arch().iommu_on().text("/proc/cmdline", "BOOT_IMAGE=/vmlinuz-linux root=UUID=1b7a intel_iommu=on\n");
    let plan = plan_on(&machine.capture, &[GPU], Cmdline);
    assert_eq!((addresses(&plan).len(), plan.stays.clone()), (2, vec![at("00:01.0")]), "{:?}", plan.refused);
    // The running kernel has the parameter and the next one would not.
    assert!(grub_line(&plan).contains("intel_iommu=on"), "{}", grub_line(&plan));
    let by_default = arch().iommu_on();
    let plan = plan_on(&by_default.capture, &[GPU], Cmdline);
    assert!(!grub_line(&plan).contains("intel_iommu"), "{}", grub_line(&plan));
}

#[test]
fn dummy_host_bridges_of_amd_do_not_stand_in_the_way() {
    let root = "pci0000:00";
    let functions = [
        Function::new("0000:00:00.2", root, (0x1022, 0x1481), 0x08_0600).express(None),
        Function::new("0000:00:03.0", root, (0x1022, 0x1482), 0x06_0000).express(None).group(7),
        Function::new("0000:00:03.1", root, (0x1022, 0x1483), 0x06_0400).express(Some(4)).bridge_to(9).driver("pcieport").group(7),
        Function::new("0000:09:00.0", "pci0000:00/0000:00:03.1", (0x10de, 0x2206), 0x03_0000).vga(false).driver("nouveau").group(7),
        Function::new("0000:09:00.1", "pci0000:00/0000:00:03.1", (0x10de, 0x1aef), 0x04_0300).driver("snd_hda_intel").group(7),
        Function::new("0000:0b:00.0", "pci0000:00/0000:00:07.1", (0x1002, 0x1638), 0x03_0000).vga(true).driver("amdgpu").group(8),
    ];
    let machine = Machine::debian_amd().functions(&functions);
    let plan = plan_on(&machine.capture, &["09:00.0"], Cmdline);
    assert_eq!(addresses(&plan), ["0000:09:00.0", "0000:09:00.1"], "{:?}", plan.refused);
    assert_eq!(plan.stays, [at("00:03.0"), at("00:03.1")]);
    let text = String::from_utf8_lossy(after(&plan, "/etc/default/grub")).into_owned();
    assert!(text.contains("GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), "{text}");
    assert_refused(&machine, &["00:00.2"], &["bridge"], &["00:00.2"]);
}

#[test]
fn what_cannot_be_given_is_refused() {
    assert_refused(&arch(), &["00:01.0"], &["bridge"], &["0000:00:01.0"]);
    assert_refused(&arch(), &["07:00.0"], &["no-such-device"], &["0000:07:00.0"]);
    let outside = Function::new("0000:05:00.0", "pci0000:00/0000:00:1d.0", (0x8086, 0x1533), 0x02_0000).driver("igb");
    assert_refused(&arch().iommu_on().functions(&[outside]), &["05:00.0"], &["no-group"], &["0000:05:00.0"]);
    let isa = Function::new("0000:00:1f.0", "pci0000:00", (0x8086, 0xa30d), 0x06_0100).express(None).driver("lpc_ich").group(9);
    let audio = Function::new("0000:00:1f.3", "pci0000:00", (0x8086, 0xa348), 0x04_0300).express(None).driver("snd_hda_intel").group(9);
    assert_refused(&arch().iommu_on().functions(&[isa, audio]), &["00:1f.3"], &["group-has-chipset-device"], &["0000:00:1f.0", "lpc_ich"]);
    let mut off = arch();
    off = off.absent("/sys/firmware/acpi/tables/DMAR").absent("/sys/firmware/acpi/tables/IVRS");
    assert_refused(&off, &[GPU], &["iommu-off-in-firmware"], &["DMAR"]);
    let mut asleep = arch();
    for name in ["vendor", "device"] {
        asleep.capture.remove(&format!("/sys/bus/pci/devices/0000:01:00.1/{name}"));
    }
    asleep = asleep.bytes("/sys/bus/pci/devices/0000:01:00.1/config", &[0xff; 64]);
    assert_refused(&asleep, &[GPU], &["device-does-not-answer"], &["0000:01:00.1"]);
    let dead = arch().text("/sys/bus/pci/devices/0000:01:00.0/vendor", "0xffff\n");
    assert_refused(&dead, &[GPU], &["device-does-not-answer"], &["0000:01:00.0"]);
    let direct = arch().iommu_on().text("/sys/kernel/iommu_groups/1/reserved_regions", "0x9d800000 0x9fffffff direct\n");
    assert_refused(&direct, &[GPU], &["direct-mapping"], &["group 1"]);
}

#[test]
fn twins_are_told_apart_by_their_subsystem_or_by_address() {
    let twin = Function::new("0000:03:00.0", "pci0000:00/0000:00:1d.1", (0x10de, 0x1f91), 0x03_0000).vga(false).driver("nouveau");
    let two = arch().functions(std::slice::from_ref(&twin));
    let plan = plan_on(&two.capture, &[GPU], Cmdline);
    assert!(
        plan.bind == BindMethod::Override && !grub_line(&plan).contains("vfio") && plan.notes.iter().any(|note| note.contains("are alike"))
    );
    let telling = two.clone().text("/etc/modprobe.d/z.conf", "options vfio-pci ids=10de:1f91\n");
    assert_refused(&telling, &[GPU], &["ids-take-the-twin"], &["0000:03:00.0", "10de:1f91"]);
    let scripted = two.clone().text("/etc/modprobe.d/vfio.conf", "install vfio-pci /usr/local/bin/vfio-pci-override.sh\n");
    assert_refused(&scripted, &[GPU], &["install-decided-elsewhere"], &["/etc/modprobe.d/vfio.conf:1"]);
    let hooks = "HOOKS=(systemd autodetect modconf block filesystems)\n";
    assert_refused(&two.clone().text("/etc/mkinitcpio.conf", hooks), &[GPU], &["mkinitcpio-not-editable"], &["`base`"]);
    let plan = plan_on(&arch().functions(std::slice::from_ref(&twin)).capture, &[GPU, "03:00.0"], Cmdline);
    assert!(plan.refused.is_empty() && grub_line(&plan).matches("10de:1f91").count() == 1, "{:?}", plan.refused);
    let other = twin.subsystem((0x1458, 0x3fc8));
    let plan = plan_on(&arch().functions(&[other]).capture, &[GPU], Cmdline);
    assert!(grub_line(&plan).contains("vfio-pci.ids=10de:1f91:1043:109f,10de:10fa"), "{:?}", plan.refused);
}

#[test]
fn the_only_display_stays() {
    let without = |machine: Machine, gone: &str| {
        let mut machine = machine;
        let prefix = format!("/sys/bus/pci/devices/{gone}");
        let paths: Vec<String> =
            machine.capture.entries().map(|(path, _)| path.to_owned()).filter(|path| path.starts_with(&prefix)).collect();
        paths.iter().for_each(|path| _ = machine.capture.remove(path));
        machine
    };
    let alone = without(arch(), "0000:00:02.0");
    let boots = Function { boot_vga: Some(true), ..intel_functions()[5].clone() };
    assert_refused(&alone.clone().functions(&[boots]), &[GPU], &["only-display"], &["0000:01:00.0"]);
    // A display controller other than VGA: the firmware did not boot on it, and such hosts are looked after over a serial line.
    let other = Function { class: 0x03_8000, boot_vga: None, ..intel_functions()[5].clone() };
    assert!(plan_on(&alone.clone().functions(&[other]).capture, &[GPU], Cmdline).refused.is_empty());
    // A host without a screen has a card that its firmware did not use.
    assert!(plan_on(&alone.capture, &[GPU], Cmdline).refused.is_empty());
    // The processor's graphics, where the other one only draws for it.
    let render = Function { class: 0x03_0200, boot_vga: None, ..intel_functions()[5].clone() };
    assert_refused(&arch().functions(&[render]), &["00:02.0"], &["only-display"], &["0000:00:02.0"]);
    // One is on vfio-pci, or will be at the next start.
    let ceded = Function { driver: Some("vfio-pci"), ..intel_functions()[5].clone() };
    assert_refused(&arch().functions(&[ceded]), &["00:02.0"], &["only-display"], &["0000:00:02.0"]);
    let told = arch().text("/etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT=\"vfio-pci.ids=10de:1f91,10de:10fa\"\n");
    assert_refused(&told, &["00:02.0"], &["only-display"], &["0000:00:02.0"]);
    assert_refused(&arch(), &["00:02.0"], &["boot-display"], &["0000:00:02.0 i915", "0000:01:00.0"]);
}

fn mounted(machine: Machine, lines: &[&str]) -> Machine {
    machine.text("/proc/self/mountinfo", &lines.join("\n"))
}

#[test]
fn built_in_drivers_and_missing_modules_are_refused() {
    let usb = |machine: Machine| {
        let usb = Function::new("0000:01:00.2", "pci0000:00/0000:00:01.0", (0x10de, 0x1ad6), 0x0c_0330).driver("xhci_hcd");
        machine.functions(&[usb])
    };
    assert_refused(
        &usb(arch()),
        &[GPU],
        &["native-driver-built-in", "native-driver-built-in"],
        &["xhci_pci", "0000:01:00.2", "6.13.2-arch1-1", "6.12.10-1-lts"],
    );
    let both = |mut machine: Machine| {
        for release in ["6.13.2-arch1-1", "6.12.10-1-lts"] {
            let list = "kernel/drivers/usb/host/xhci-pci.ko\nkernel/drivers/vfio/pci/vfio-pci.ko\nkernel/drivers/vfio/vfio.ko\nkernel/drivers/vfio/vfio_iommu_type1.ko\n";
            machine = machine.text(&format!("/lib/modules/{release}/modules.builtin"), list);
        }
        machine
    };
    let plan = plan_on(&both(usb(arch())).capture, &[GPU], Cmdline);
    assert!(plan.refused.is_empty(), "{:?}", plan.refused);
    let plan = plan_on(&both(arch()).capture, &[GPU], BindMethod::Modprobe);
    assert_eq!(refused(&plan), ["vfio-pci-built-in"]);
    assert_tells_what_to_do(&plan);
    let lacking = arch().text("/lib/modules/6.12.10-1-lts/modules.dep", "kernel/drivers/nvme/host/nvme.ko.zst:\n");
    assert_refused(&lacking, &[GPU], &["no-vfio-pci"], &["6.12.10-1-lts"]);
    let left_over = lacking.absent("/lib/modules/6.12.10-1-lts/modules.builtin");
    assert!(plan_on(&left_over.capture, &[GPU], Cmdline).refused.is_empty());
}

#[test]
fn hosts_that_others_own_are_refused() {
    let marks =
        ["/etc/NIXOS", "/run/ostree-booted", "/etc/kernel/proxmox-boot-uuids", "/etc/kernelstub/configuration", "/boot/grub2/grub.cfg"];
    for mark in marks {
        assert_refused(&arch().seen(mark), &[GPU], &["boot-loader-unsupported"], &[]);
    }
    let dracut =
        Machine::debian().absent("/etc/initramfs-tools/modules").absent("/etc/initramfs-tools/initramfs.conf").seen("/usr/bin/dracut");
    assert_refused(&dracut, &[GPU], &["initramfs-unsupported"], &["dracut"]);
    let uki = "ALL_kver=\"/boot/vmlinuz-linux\"\nPRESETS=('default')\ndefault_uki=\"/efi/EFI/Linux/arch.efi\"\n";
    assert_refused(&arch().text("/etc/mkinitcpio.d/linux.preset", uki), &[GPU], &["unified-kernel-image"], &["default"]);
    let mut nothing = arch();
    nothing = nothing.absent("/etc/default/grub").absent("/boot/grub/grub.cfg").text("/proc/cmdline", "root=UUID=1b7a rw\n");
    assert_refused(&nothing, &[GPU], &["boot-loader-unknown"], &[]);
}

#[test]
fn debian_s_default_leaves_only_its_own_graphics_out() {
    let plan = plan_on(&Machine::debian().capture, &[GPU], Cmdline);
    assert!(plan.refused.is_empty(), "{:?}", plan.refused);
    assert!(String::from_utf8_lossy(after(&plan, "/etc/default/grub")).contains("DEFAULT=\"quiet\"\n"));
    let drop_in = "/etc/default/grub.d/95-cede.cfg";
    assert!(!String::from_utf8_lossy(after(&plan, drop_in)).contains("intel_iommu"));
    let host = Host::from_capture(Machine::debian().capture);
    let graphics = plan_accepting(&host, &[at("00:02.0")], Cmdline, &[Loss::BootDisplay]);
    assert!(String::from_utf8_lossy(after(&graphics, drop_in)).contains("intel_iommu=on"), "{:?}", paths(&graphics));
}

#[test]
fn amd_needs_nothing_but_the_off_taken_out() {
    let machine = Machine::debian_amd();
    let plan = plan_on(&machine.capture, &[GPU], Cmdline);
    assert!(plan.refused.is_empty(), "{:?}", plan.refused);
    assert!(String::from_utf8_lossy(after(&plan, "/etc/default/grub")).contains("LINUX_DEFAULT=\"quiet\"\n"));
    let drop_in = String::from_utf8_lossy(after(&plan, "/etc/default/grub.d/95-cede.cfg")).into_owned();
    assert!(drop_in.contains("vfio-pci.ids=10de:1f91,10de:10fa") && !drop_in.contains("iommu=on"), "{drop_in}");
}

#[test]
fn virtual_functions_and_those_who_have_them_are_refused() {
    let devices = "/sys/bus/pci/devices";
    let port = "pci0000:00/0000:00:1d.1";
    let physical = Function::new("0000:05:00.0", port, (0x8086, 0x1572), 0x02_0000).driver("i40e").group(20);
    let guest = Function::new("0000:05:02.0", port, (0x8086, 0x154c), 0x02_0000).driver("iavf").group(21);
    let link = format!("{devices}/0000:05:02.0/physfn");
    let machine = arch().functions(&[physical.clone(), guest]).link(&link, "../0000:05:00.0");
    assert_refused(&machine, &["05:02.0"], &["virtual-function"], &["0000:05:02.0", "0000:05:00.0", "does not exist yet"]);
    let machine = machine.text(&format!("{devices}/0000:05:00.0/sriov_totalvfs"), "64\n");
    let numvfs = format!("{devices}/0000:05:00.0/sriov_numvfs");
    let busy = machine.clone().text(&numvfs, "1\n");
    assert_refused(&busy, &["05:00.0"], &["virtual-functions-in-use"], &["0000:05:00.0", "1 virtual", &numvfs]);
    let plan = plan_on(&machine.text(&numvfs, "0\n").capture, &["05:00.0"], Cmdline);
    assert!(plan.refused.is_empty(), "{:?}", plan.refused);
    // Without isolation between them both are of one group.
    let shared = Function { group: Some(20), address: "0000:05:00.1", ..physical };
    let machine = busy.iommu_on().functions(&[shared]);
    assert_refused(&machine, &["05:00.1"], &["virtual-functions-in-use"], &["0000:05:00.0"]);
}

#[test]
fn groups_of_the_no_iommu_mode_are_no_groups() {
    let mode = |machine: Machine| {
        let card = Function::new("0000:05:00.0", "pci0000:00/0000:00:1d.1", (0x8086, 0x1533), 0x02_0000).driver("vfio-pci").group(40);
        machine.functions(&[card]).text("/sys/kernel/iommu_groups/40/name", "vfio-noiommu\n")
    };
    assert_refused(&mode(arch().iommu_on()), &["05:00.0"], &["no-group"], &["0000:05:00.0"]);
    let plan = plan_on(&mode(arch()).capture, &["05:00.0"], Cmdline);
    assert!(plan.refused.is_empty() && grub_line(&plan).contains("intel_iommu=on"), "{:?}", plan.refused);
}

#[test]
fn a_boot_partition_that_is_not_mounted_is_refused() {
    let root = "29 1 8:2 / / rw - ext4 /dev/sda2 rw";
    let table = |options: &str, place: &str| {
        format!("# <file system>\n#UUID=1 /efi vfat defaults\nUUID=0A1B-2C3D\t{place}  vfat {options} 0 2\nUUID=1b7a / ext4 rw 0 1\n")
    };
    let host = |table: &str, lines: &[&str]| mounted(arch().text("/etc/fstab", table), lines);
    for place in ["/boot", "/efi", "/boot/efi", "/boot/efi/"] {
        let name = place.trim_end_matches('/');
        assert_refused(
            &host(&table("umask=0077", place), &[root]),
            &[GPU],
            &["boot-not-mounted"],
            &[&format!("mount {name}`"), "/etc/fstab"],
        );
        let line = format!("40 29 8:1 / {name} rw - vfat /dev/sda1 rw");
        assert_planned(&host(&table("umask=0077", place), &[root, &line]));
        for options in ["defaults,noauto", "x-systemd.automount,umask=0077"] {
            assert_planned(&host(&table(options, place), &[root]));
        }
        // The mounts could not be seen, or are those of another root.
        assert_planned(&host(&table("defaults", place), &[""]));
        assert_planned(&arch().text("/etc/fstab", &table("defaults", place)));
    }
    assert_planned(&host("\n/boot\n# x /boot vfat rw\ntmpfs /boot/other tmpfs rw\ncaf\u{e9} /home ext4\n", &[root]));
    assert_refused(
        &host(&table("nofail", "/boot"), &[root, "40 29 8:1 / /boot2 rw - vfat /dev/sda1 rw"]),
        &[GPU],
        &["boot-not-mounted"],
        &[],
    );
}

#[track_caller]
fn assert_planned(machine: &Machine) {
    let plan = plan_on(&machine.capture, &[GPU], Cmdline);
    assert!(plan.refused.is_empty() && !plan.steps.is_empty(), "{:?}", plan.refused);
}
