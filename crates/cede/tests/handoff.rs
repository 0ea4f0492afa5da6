//! `cede handoff` through the built binary, and its text in the hands of those it is for: libvirt's schema and its test driver, QEMU.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use serde_json::Value;
use std::fs;
use support::handing_over::{Host, err, out, tool};
use support::{Dir, code, fixture};

fn libvirt_takes(xml: &str) {
    let valid = tool("virt-xml-validate", &[xml, "domain"]);
    assert!(valid.status.success(), "{}{}", out(&valid), err(&valid));
    let defined = tool("virsh", &["-c", "test:///default", "define", "--validate", xml]);
    assert!(defined.status.success(), "{}", err(&defined));
}

#[test]
fn libvirt_takes_the_domain_in_which_the_group_was_put() {
    let dir = Dir::new("define");
    let rom = fixture_rom(&dir);
    for (name, bus, slot) in [("q35", "0x03", "0x00"), ("i440fx", "0x00", "0x04")] {
        let file = fixture(&format!("libvirt/{name}.xml"));
        let output = Host::card("vfio-pci", "vfio-pci").handoff(&["01:00.0", "--to", "libvirt", "--domain", &file, "--rom", &rom]);
        let text = out(&output);
        assert_eq!(code(&output), 0, "{}", err(&output));
        for function in ["0x0' multifunction='on'", "0x1'"] {
            assert!(
                text.contains(&format!("<address type='pci' domain='0x0000' bus='{bus}' slot='{slot}' function='{function}/>")),
                "{text}"
            );
        }
        assert_eq!(
            (
                text.matches("managed='no'").count(),
                text.matches("<rom file=").count(),
                text.matches("bus='0x00' slot='0x01' function='0x0'/>").count()
            ),
            (2, 1, 0),
            "{text}"
        );
        fs::write(dir.path("new.xml"), &text).unwrap();
        libvirt_takes(&dir.path("new.xml"));
        let again = Host::card("vfio-pci", "vfio-pci").handoff(&["01:00.0", "--to", "libvirt", "--domain", &dir.path("new.xml")]);
        assert!(out(&again) == text && err(&again).contains("already"), "{}", err(&again));
        // A patch gives the same domain.
        let patch = Host::card("vfio-pci", "vfio-pci").handoff(&["01:00.0", "--to", "libvirt", "--domain", &file, "--rom", &rom, "--diff"]);
        fs::copy(&file, dir.path("patched.xml")).unwrap();
        fs::write(dir.path("patch"), patch.stdout).unwrap();
        let patched = tool("patch", &["-s", &dir.path("patched.xml"), &dir.path("patch")]);
        assert!(patched.status.success() && fs::read_to_string(dir.path("patched.xml")).unwrap() == text, "{}", err(&patched));
    }
}

/// A ROM made for the card: that of an emulated display, with the card's ids.
fn fixture_rom(dir: &Dir) -> String {
    let mut bytes = fs::read("/usr/share/seabios/vgabios-stdvga.bin").expect("apt-get install seabios");
    let data = usize::from(u16::from_le_bytes([bytes[0x18], bytes[0x19]]));
    let former: u8 = bytes[data + 4..data + 8].iter().fold(0, |sum, byte| sum.wrapping_add(*byte));
    bytes[data + 4..data + 8].copy_from_slice(&[0xde, 0x10, 0x91, 0x1f]);
    let now: u8 = bytes[data + 4..data + 8].iter().fold(0, |sum, byte| sum.wrapping_add(*byte));
    let last = bytes.len() - 1;
    bytes[last] = bytes[last].wrapping_add(former).wrapping_sub(now);
    fs::write(dir.path("it's, a.rom"), bytes).unwrap();
    dir.path("it's, a.rom")
}

#[test]
fn managed_is_as_it_was_ceded_and_half_a_group_goes_whole() {
    let output = Host::card("nouveau", "vfio-pci").handoff(&["01:00.1", "--to", "libvirt"]);
    let text = out(&output);
    assert!(
        code(&output) == 0 && text.matches("managed='yes'").count() == 1 && text.matches("managed='no'").count() == 1,
        "{text}{}",
        err(&output)
    );
    assert!(err(&output).contains("0000:01:00.0 goes along") && !text.contains("note"), "{}", err(&output));
}

#[test]
fn high_domains_and_lone_functions_have_places() {
    let host = Host::new().function("10000:e1:00.0", ["144D:A808", "10802"], 7, Some("vfio-pci")).function(
        "0000:03:10.3",
        ["8086:1520", "20000"],
        8,
        Some("vfio-pci"),
    );
    let text = out(&host.handoff(&["10000:e1:00.0", "3:10.3", "--to", "libvirt"]));
    assert!(
        text.contains("<address domain='0x10000' bus='0xe1' slot='0x00' function='0x0'/>") && !text.contains("multifunction"),
        "{text}"
    );
    assert_eq!(
        (text.matches("function='0x3'").count(), text.matches("pcie-root-port").count()),
        (1, 2),
        "it is function 0 of a slot of its own: {text}"
    );
    let text = out(&host.handoff(&["10000:e1:00.0", "--to", "qemu"]));
    assert!(text.contains("vfio-pci,sysfsdev=/sys/bus/pci/devices/10000:e1:00.0,"), "{text}");
    qemu_understands(&text, "10000:e1:00.0");
}

/// QEMU with emulated devices in the place of those of the host, which are not here: what it says of them.
fn qemu_has(lines: &str) -> String {
    let device = |line: &str| match line.split_once("vfio-pci,host=") {
        Some((head, tail)) => format!("{head}pci-testdev,{}", tail.split_once(',').unwrap().1),
        None => line.to_owned(),
    };
    let words: String = lines.lines().map(|line| device(line) + " ").collect();
    let script = format!(
        "printf 'qom-list /machine/peripheral\\nqom-list /machine/peripheral-anon\\nquit\\n' | \
         qemu-system-x86_64 -machine q35 -display none -S -monitor stdio {words}"
    );
    let output = tool("sh", &["-c", &script]);
    assert!(output.status.success(), "{}", err(&output));
    out(&output)
}

/// A host with so many functions, each of a slot and a group of its own, but for the last, which has two.
fn rich(slots: u32) -> (Host, Vec<String>) {
    let address = |slot: u32, function: u32| format!("0000:{:02x}:{:02x}.{function}", 3 + slot / 32, slot % 32);
    let addresses: Vec<String> = (0..slots).map(|slot| address(slot, 0)).chain([address(slots - 1, 1)]).collect();
    let add = |host: Host, (address, group): (&String, u32)| host.function(address, ["8086:1520", "20000"], group, Some("vfio-pci"));
    (addresses.iter().zip(9..).fold(Host::new(), add), addresses)
}

#[test]
fn qemu_has_places_for_all_that_it_is_given_or_it_is_refused() {
    for (slots, own) in [(1, true), (8, true), (9, false), (29, false), (48, false)] {
        let (host, addresses) = rich(slots);
        let arguments: Vec<&str> = addresses.iter().map(String::as_str).chain(["--to", "qemu"]).collect();
        let text = out(&host.handoff(&arguments));
        assert_eq!(!text.contains("bus=pcie.0,chassis=206,addr="), own, "{text}");
        let has = qemu_has(&text);
        assert_eq!(
            (has.matches("child<pci-testdev>").count(), has.matches("child<pcie-root-port>").count()),
            (addresses.len(), slots as usize),
            "{has}"
        );
    }
    let (host, addresses) = rich(49);
    let arguments: Vec<&str> = addresses.iter().map(String::as_str).chain(["--to", "qemu"]).collect();
    let output = host.handoff(&arguments);
    assert!(code(&output) == 4 && err(&output).contains("49 slots are too many for one guest"), "{}", err(&output));
}

/// Without VFIO here QEMU comes as far as looking for the device: every argument before that was understood.
fn qemu_understands(lines: &str, address: &str) {
    let words = tool("sh", &["-c", &format!("set -- {}; printf '%s\\n' \"$@\"", lines.replace('\n', " "))]);
    let words = out(&words);
    let mut arguments = vec!["-machine", "q35", "-display", "none", "-S"];
    arguments.extend(words.lines());
    let output = tool("qemu-system-x86_64", &arguments);
    assert!(err(&output).contains(&format!("vfio /sys/bus/pci/devices/{address}: no such host device")), "{}", err(&output));
}

#[test]
fn qemu_understands_every_argument() {
    let dir = Dir::new("qemu");
    let rom = fixture_rom(&dir);
    let output = Host::card("vfio-pci", "vfio-pci").handoff(&["01:00.0", "--to", "qemu", "--rom", &rom]);
    let text = out(&output);
    assert!(
        text.lines().count() == 3 && text.contains("addr=0x0.0x0,multifunction=on,romfile=") && text.contains(",, a.rom"),
        "{text}{}",
        err(&output)
    );
    qemu_understands(&text, "0000:01:00.0");
    assert!(err(&output).contains("x-vga=on"), "{}", err(&output));
    let cdev = |name: &str, address: &str, host: Host| {
        host.link(&format!("/sys/class/vfio-dev/{name}"), &format!("../../devices/pci0000:00/{address}/vfio-dev/{name}"))
    };
    let host = cdev("vfio1", "0000:01:00.1", cdev("vfio0", "0000:01:00.0", Host::card("vfio-pci", "vfio-pci")));
    assert!(!out(&host.handoff(&["01:00.0", "--to", "qemu"])).contains("iommufd"), "there is no /dev/iommu");
    let output = Host(host.0).with_iommufd().handoff(&["01:00.0", "--to", "qemu"]);
    assert_eq!(out(&output).matches(",iommufd=cede-iommufd").count(), 2);
    assert!(err(&output).contains("/dev/iommu, /dev/vfio/devices/vfio0, /dev/vfio/devices/vfio1"), "{}", err(&output));
    assert!(err(&output).contains("KERNEL==\"iommu\", GROUP=\"kvm\""), "the rule of the devices is not that of /dev/iommu");
}

#[test]
fn proxmox_kubevirt_and_nixos() {
    let text = out(&Host::card("vfio-pci", "vfio-pci").handoff(&["01:00.0", "--to", "proxmox"]));
    let map = "pci-0000-01-00-0\n\tmap id=10de:1f91,iommugroup=7,node=pve1,path=0000:01:00,subsystem-id=1043:109f\n";
    assert!(text.contains(map) && text.ends_with("\nhostpci0: mapping=pci-0000-01-00-0,pcie=1\n"), "{text}");
    let text = out(&Host::card("vfio-pci", "vfio-pci").handoff(&["01:00.0", "--to", "kubevirt"]));
    assert!(text.contains("- pciVendorSelector: \"10DE:1F91\"\n          resourceName: devices.kubevirt.io/10de-1f91\n"), "{text}");
    assert!(
        text.contains("gpus:\n            - deviceName: devices.kubevirt.io/10de-1f91\n")
            && text.contains("hostDevices:\n            - deviceName: devices.kubevirt.io/10de-10fa\n"),
        "{text}"
    );
    let text = out(&Host::card("nouveau", "snd_hda_intel").handoff(&["01:00.0", "--to", "nixos"]));
    assert!(text.contains("\"vfio-pci.ids=10de:1f91,10de:10fa\"") && text.contains("softdep nouveau pre: vfio-pci"), "{text}");
}

#[test]
fn what_cannot_be_handed_over_is_refused_with_a_reason() {
    let card = || Host::card("nouveau", "vfio-pci");
    let chipset = || Host::card("vfio-pci", "vfio-pci").function("0000:00:1f.0", ["8086:A306", "60100"], 7, Some("lpc_ich"));
    for (host, arguments, text) in [
        (card(), ["01:00.1", "--to", "qemu"], "0000:01:00.0 is on nouveau and not on vfio-pci"),
        (card(), ["01:00.1", "--to", "kubevirt"], "sudo cede apply 0000:01:00.0"),
        (card(), ["00:01.0", "--to", "libvirt"], "is a bridge"),
        (card(), ["05:00.0", "--to", "libvirt"], "no PCI function at 0000:05:00.0"),
        (chipset(), ["01:00.0", "--to", "libvirt"], "0000:00:1f.0 (lpc_ich) is in the same group"),
        (
            Host::new()
                .function("0000:00:02.0", ["8086:3E9B", "30000"], 2, Some("i915"))
                .text("/sys/bus/pci/devices/0000:00:02.0/boot_vga", "1\n"),
            ["00:02.0", "--to", "libvirt"],
            "display",
        ),
    ] {
        let output = host.handoff(&arguments);
        assert!(code(&output) == 4 && out(&output).is_empty() && err(&output).contains(text), "{}", err(&output));
        let json = host.handoff(&[arguments[0], "--to", arguments[2], "--json"]);
        let view: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert!(
            code(&json) == 4 && view["format"] == "cede.handoff/1" && view["text"].is_null() && view["refused"][0]["message"].is_string(),
            "{view}"
        );
    }
    let other = card().handoff(&["01:00.0", "--to", "libvirt", "--rom", "/usr/lib/ipxe/qemu/pxe-e1000e.rom"]);
    assert!(code(&other) == 4 && err(&other).contains("made for another device"), "{}", err(&other));
    let dir = Dir::new("no-domain");
    fs::write(dir.path("a.xml"), "<domain><name>a</name></domain>").unwrap();
    let closed = card().handoff(&["01:00.0", "--to", "libvirt", "--domain", &dir.path("a.xml")]);
    assert!(code(&closed) == 3 && err(&closed).contains(" handoff 0000:01:00.0 --to libvirt` without --domain"), "{}", err(&closed));
    for arguments in [
        vec!["01:00.0"],
        vec!["--to", "qemu"],
        vec!["01:00.0", "--to", "xen"],
        vec!["01:00.0", "--to", "qemu", "--domain", "a.xml"],
        vec!["01:00.0", "--to", "libvirt", "--domain", "name"],
    ] {
        assert_eq!(code(&card().handoff(&arguments)), 2, "{arguments:?}");
    }
}

#[test]
fn memory_near_the_device_and_guards_are_spoken_of_where_the_host_has_them() {
    let host = Host::card("vfio-pci", "vfio-pci")
        .text("/sys/bus/pci/devices/0000:01:00.0/numa_node", "1\n")
        .text("/sys/devices/system/node/node0/cpulist", "0-7\n")
        .text("/sys/devices/system/node/node1/cpulist", "8-15\n")
        .text("/sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "512\n")
        .text("/sys/module/apparmor/parameters/enabled", "Y\n");
    let dir = Dir::new("rom");
    let said = err(&host.handoff(&["01:00.0", "--to", "libvirt", "--rom", &fixture_rom(&dir)]));
    for text in ["<vcpu cpuset='8-15'>", "512 free huge pages of 2 MiB", "AppArmor"] {
        assert!(said.contains(text), "{said}");
    }
    let said = err(&Host::card("vfio-pci", "vfio-pci").handoff(&["01:00.0", "--to", "libvirt", "--rom", &fixture_rom(&dir)]));
    assert!(!["NUMA", "huge", "AppArmor", "SELinux"].iter().any(|word| said.contains(word)), "{said}");
}
