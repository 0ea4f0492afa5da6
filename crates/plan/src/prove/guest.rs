//! The guest of a proof: a machine of firmware and the devices. It has no disk and no system, and none is started from the devices.

use super::wish::{Interface, Target, Wish};
use crate::handoff::layout::together;
use crate::handoff::qemu::host_of;

/// Where QEMU may be: Debian, Arch, Fedora, SUSE; RHEL.
pub const PROGRAMS: [&str; 4] = [
    "/usr/bin/qemu-system-x86_64",
    "/usr/libexec/qemu-kvm",
    "/usr/local/bin/qemu-system-x86_64",
    "/run/current-system/sw/bin/qemu-system-x86_64",
];

/// Root ports stand in slots 1 to so many; beyond are the guest's own devices.
pub const PORTS: usize = 28;

/// The version of QEMU that takes iommufd.
const SINCE: (u32, u32) = (9, 0);

/// Memory of the guest in MiB. All of it is locked.
pub const MEMORY: u64 = 64;

/// The slots of the guest: what shares one on the host shares one there.
pub fn slots(targets: &[Target]) -> Vec<Vec<(u8, &Target)>> {
    together(targets, |target| target.address)
}

/// Bus and function of each target in the guest: SeaBIOS numbers buses as it meets the ports, which stand in the order of the slots.
pub fn places(targets: &[Target]) -> Vec<(u8, u8, &Target)> {
    let numbered = slots(targets).into_iter().zip(1..);
    numbered.flat_map(|(slot, bus)| slot.into_iter().map(move |(function, target)| (bus, function, target))).collect()
}

/// The way that this QEMU knows.
pub fn interface(wish: &Wish, version: Option<(u32, u32)>) -> Interface {
    if version.is_some_and(|version| version >= SINCE) { wish.interface } else { Interface::Container }
}

/// The arguments of QEMU.
///
/// The network card that has no network is there to be the one thing to start from, and cannot be: with it `strict` keeps the firmware from
/// starting anything else, so that no network boot ROM asks the network (QEMU, softmmu/bootdevice.c `get_boot_devices_list`).
pub fn arguments(wish: &Wish, interface: Interface) -> Vec<String> {
    let memory = format!("-m {MEMORY}");
    let fixed = [
        // Emulation suffices, and needs no processor with virtualisation; RHEL's QEMU is without it.
        "-machine q35 -accel tcg -accel kvm",
        &memory,
        "-nodefaults -no-user-config -display none -vga none -nic none -serial none -monitor none -parallel none",
        "-boot strict=on,menu=off -device virtio-net-pci,romfile=,bootindex=0,addr=1e.0",
        "-global apic-common.vapic=off",
        "-chardev stdio,id=firmware,signal=off -device isa-debugcon,iobase=0x402,chardev=firmware",
    ];
    let mut words: Vec<String> = fixed.iter().flat_map(|line| line.split(' ')).map(str::to_owned).collect();
    if interface == Interface::Iommufd {
        words.extend(["-object".to_owned(), "iommufd,id=iommufd".to_owned()]);
    }
    for (slot, number) in slots(&wish.targets).iter().zip(1..) {
        let number: usize = number;
        words.extend(["-device".to_owned(), format!("pcie-root-port,id=port{number},bus=pcie.0,chassis={number},addr={number:x}.0")]);
        for (function, target) in slot {
            let multi = if slot.len() > 1 && *function == 0 { ",multifunction=on" } else { "" };
            let way = if interface == Interface::Iommufd { ",iommufd=iommufd" } else { "" };
            let device = format!("vfio-pci,{},bus=port{number},addr=0.{function:x}{multi}{way}", host_of(target.address));
            words.extend(["-device".to_owned(), device]);
        }
    }
    words
}

/// The version in what `--version` prints: `QEMU emulator version 7.2.22 (Debian …)`.
pub fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_once(" version ")?.1.split(['.', ' ', '\n']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The command that installs QEMU, by the system's name.
pub fn installation(os: Option<&str>) -> &'static str {
    match os.unwrap_or_default() {
        "debian" | "ubuntu" | "linuxmint" | "pop" | "proxmox" => "sudo apt install --no-install-recommends qemu-system-x86",
        "fedora" => "sudo dnf install qemu-system-x86-core",
        "rhel" | "centos" | "rocky" | "almalinux" => "sudo dnf install qemu-kvm-core",
        "arch" | "endeavouros" | "manjaro" | "cachyos" => "sudo pacman -S qemu-system-x86",
        os if os.starts_with("opensuse") || os == "sles" => "sudo zypper install qemu-x86",
        _ => "install the package that brings qemu-system-x86_64, and run it again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::Depth;

    fn wish(addresses: &[&str]) -> Wish {
        let target = |text: &&str| Target { address: text.parse().unwrap(), group: 1, node: None };
        Wish { depth: Depth::Guest, interface: Interface::Container, targets: addresses.iter().map(target).collect() }
    }

    #[test]
    fn functions_of_a_slot_stay_together_and_a_lonely_second_one_is_seen() {
        let wish = wish(&["01:00.0", "01:00.1", "02:00.1", "10000:e1:00.0"]);
        let places: Vec<_> =
            places(&wish.targets).iter().map(|(bus, function, target)| (*bus, *function, target.address.to_string())).collect();
        let expected = [(1, 0, "0000:01:00.0"), (1, 1, "0000:01:00.1"), (2, 0, "0000:02:00.1"), (3, 0, "10000:e1:00.0")];
        assert_eq!(places, expected.map(|(bus, function, address)| (bus, function, address.to_owned())));
        let words = arguments(&wish, Interface::Iommufd).join(" ");
        for part in [
            "host=0000:01:00.0,bus=port1,addr=0.0,multifunction=on,iommufd=iommufd",
            "host=0000:01:00.1,bus=port1,addr=0.1,iommufd=iommufd",
            "host=0000:02:00.1,bus=port2,addr=0.0,iommufd",
            "sysfsdev=/sys/bus/pci/devices/10000:e1:00.0,bus=port3,addr=0.0",
            "-object iommufd,id=iommufd",
        ] {
            assert!(words.contains(part), "{words}");
        }
        assert!(!arguments(&wish, Interface::Container).join(" ").contains("iommufd"));
    }

    #[test]
    fn only_a_newer_qemu_takes_iommufd() {
        let mut wish = wish(&["01:00.0"]);
        wish.interface = Interface::Iommufd;
        for (text, found, way) in [
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright", Some((7, 2)), Interface::Container),
            ("QEMU emulator version 11.1.3\n", Some((11, 1)), Interface::Iommufd),
            ("QEMU emulator version 9.0", Some((9, 0)), Interface::Iommufd),
            ("something else", None, Interface::Container),
        ] {
            assert_eq!((version(text), interface(&wish, version(text))), (found, way), "{text}");
        }
    }
}
