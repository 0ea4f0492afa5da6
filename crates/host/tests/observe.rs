//! Reading a tree: what is there is taken as it is, and traps in it are not stepped into.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

use cede_host::{ReadHost, Root, Scope, observe};
use cede_model::{Entry, Host};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

struct Tree(PathBuf);

impl Tree {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let top = std::env::temp_dir().join(format!("cede-observe-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&top);
        for (path, text) in files {
            let place = top.join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
        }
        Self(top)
    }

    fn host(&self) -> Host {
        Host::from_capture(observe(&Root::open(&self.0).unwrap(), Scope::Full))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_listed_directory_keeps_what_was_read_of_its_files() {
    let tree = Tree::new(
        "boot",
        &[("boot/config-6.1", "CONFIG_X=y\n"), ("boot/vmlinuz-6.1", "kernel"), ("lib/modules/6.1/modules.dep", "kernel/a.ko:\n")],
    );
    let host = tree.host();
    assert_eq!(host.kernels.len(), 1);
    assert_eq!(host.kernels[0].config(&host.capture, "CONFIG_X").unwrap().0, "y");
    assert_eq!(host.capture.get("/boot/vmlinuz-6.1"), Some(&Entry::Present(6)));
}

#[test]
fn fifos_directories_and_links_out_of_the_root_are_not_followed() {
    let tree = Tree::new("traps", &[("etc/default/x", ""), ("secret", "inside")]);
    symlink("/secret", tree.0.join("etc/default/grub")).unwrap();
    symlink("../../../../../../../../etc/hostname", tree.0.join("etc/mkinitcpio.conf")).unwrap();
    fs::create_dir_all(tree.0.join("etc/os-release")).unwrap();
    fs::create_dir_all(tree.0.join("etc/initramfs-tools")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(tree.0.join("etc/initramfs-tools/modules")).status().unwrap().success());
    symlink("fstab", tree.0.join("etc/fstab")).unwrap();
    let host = tree.host();
    let said = |path: &str| host.capture.get(path).unwrap().to_string();
    assert_eq!(
        (said("/etc/fstab").as_str(), said("/etc/initramfs-tools/modules").as_str()),
        ("Too many levels of symbolic links", "a FIFO")
    );
    assert_eq!(host.capture.file("/etc/default/grub"), Some(b"inside".as_slice()), "an absolute link stays below the root");
    assert_eq!(host.capture.get("/etc/mkinitcpio.conf"), Some(&Entry::Absent), "dots do not lead out");
    assert_eq!(host.capture.get("/etc/os-release"), Some(&Entry::Dir));
}

#[test]
fn odd_trees_are_read_without_a_panic() {
    let device = |address: &str, rest: &str| format!("sys/bus/pci/devices/{address}/{rest}");
    let files = [
        (device("0000:00:00.0", "vendor"), "0x8086\n"),
        (device("0000:00:00.0", "device"), "garbage\n"),
        (device("10000:e1:00.0", "uevent"), "PCI_ID=144D:A80A\nPCI_CLASS=10802\nDRIVER=nvme\n"),
        (device("0000:02:00.0", "uevent"), ""),
        (device("nonsense", "vendor"), "0x1\n"),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let tree = Tree::new("odd", &files);
    let host = tree.host();
    let seen: Vec<String> = host
        .devices
        .iter()
        .map(|device| format!("{} {:?} {:?}", device.address, device.id.map(|id| id.to_string()), device.driver_name()))
        .collect();
    assert_eq!(seen, ["0000:00:00.0 None None", "0000:02:00.0 None None", "10000:e1:00.0 Some(\"144d:a80a\") Some(\"nvme\")"]);
}

#[test]
fn thousands_of_functions_and_hundreds_of_groups_are_read() {
    let tree = Tree::new("many", &[]);
    for index in 0..3000_u32 {
        let address = format!("{:04x}:{:02x}:{:02x}.{}", index / 2000, index / 250 % 256, index / 8 % 32, index % 8);
        let dir = tree.0.join(format!("sys/bus/pci/devices/{address}"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("uevent"), format!("PCI_ID=8086:{index:04X}\nPCI_CLASS=20000\n")).unwrap();
        symlink(format!("../../../kernel/iommu_groups/{}", index / 4 * 7), dir.join("iommu_group")).unwrap();
    }
    let host = tree.host();
    let distinct = fs::read_dir(tree.0.join("sys/bus/pci/devices")).unwrap().count();
    assert_eq!(host.devices.len(), distinct);
    assert!(host.groups.len() > 256, "{}", host.groups.len());
    assert_eq!(host.groups.iter().map(|group| group.devices.len()).sum::<usize>(), distinct);
}

#[test]
fn names_that_are_no_text_are_seen_and_not_read() {
    let tree = Tree::new("names", &[("etc/modprobe.d/caf\u{fffd}-real.conf", "options a b=1\n")]);
    let dir = tree.0.join("etc/modprobe.d");
    for name in [b"caf\xe9.conf".as_slice(), b"caf\xe8.conf", b"note\xff"] {
        fs::write(dir.join(std::ffi::OsStr::from_bytes(name)), "options vfio-pci ids=1:2\n").unwrap();
    }
    let host = tree.host();
    let names: Vec<&str> = host.capture.names_in("/etc/modprobe.d").collect();
    assert_eq!(names, ["caf\u{fffd}-real.conf", "caf\u{fffd}.conf"]);
    assert_eq!(host.capture.get("/etc/modprobe.d/caf\u{fffd}.conf"), Some(&Entry::Unreadable("name is not UTF-8".into())));
    assert_eq!(host.capture.file("/etc/modprobe.d/caf\u{fffd}-real.conf"), Some(b"options a b=1\n".as_slice()));
}

#[test]
fn functions_and_groups_are_read_by_directories_and_by_links_and_never_outside() {
    let outside = Tree::new("beside", &[("type", "outside\n"), ("uevent", "PCI_ID=DEAD:BEEF\n")]);
    let tree = Tree::new(
        "ways",
        &[
            ("sys/bus/pci/devices/0000:00:00.0/vendor", "0x8086\n"),
            ("sys/devices/0000:01:00.0/vendor", "0x10de\n"),
            ("sys/kernel/iommu_groups/0/type", "DMA\n"),
            ("sys/kernel/iommu_groups/1/type/x", "a directory\n"),
            ("sys/elsewhere/type", "identity\n"),
            ("sys/kernel/iommu_groups/4/x", ""),
            ("sys/kernel/iommu_groups/5", "a file\n"),
        ],
    );
    let (groups, devices) = (tree.0.join("sys/kernel/iommu_groups"), tree.0.join("sys/bus/pci/devices"));
    symlink("../../../devices/0000:01:00.0", devices.join("0000:01:00.0")).unwrap();
    symlink(&outside.0, devices.join("0000:02:00.0")).unwrap();
    symlink("/sys/kernel/iommu_groups/0", devices.join("0000:00:00.0/iommu_group")).unwrap();
    symlink("../../elsewhere", groups.join("2")).unwrap();
    symlink(&outside.0, groups.join("3")).unwrap();
    symlink(outside.0.join("type"), groups.join("4/type")).unwrap();
    let capture = observe(&Root::open(&tree.0).unwrap(), Scope::NamedGroups);
    let group = |number: u8| capture.get(&format!("/sys/kernel/iommu_groups/{number}/type"));
    assert_eq!(group(0), Some(&Entry::File(b"DMA\n".to_vec())));
    assert_eq!(group(1), Some(&Entry::Dir));
    assert_eq!(group(2), Some(&Entry::File(b"identity\n".to_vec())), "a link inside");
    assert_eq!(group(3), None, "a link out of the root");
    assert!(matches!(group(4), Some(Entry::Unreadable(_))), "{:?}", group(4));
    assert_eq!(group(5), None);
    let device = |address: &str, name: &str| capture.get(&format!("/sys/bus/pci/devices/{address}{name}"));
    assert_eq!(device("0000:00:00.0", ""), Some(&Entry::Dir));
    assert_eq!(device("0000:00:00.0", "/vendor"), Some(&Entry::File(b"0x8086\n".to_vec())));
    assert_eq!(device("0000:00:00.0", "/iommu_group"), Some(&Entry::Link("/sys/kernel/iommu_groups/0".to_owned())));
    assert_eq!(device("0000:01:00.0", ""), Some(&Entry::Link("../../../devices/0000:01:00.0".to_owned())));
    assert_eq!(device("0000:01:00.0", "/vendor"), Some(&Entry::File(b"0x10de\n".to_vec())));
    assert_eq!(device("0000:02:00.0", "/uevent"), None, "a link out of the root");
}

#[test]
fn a_link_to_dev_null_among_drop_ins_is_an_empty_file() {
    let tree = Tree::new("masked", &[("etc/modprobe.d/x.conf", ""), ("etc/kernel/x", "")]);
    symlink("/dev/null", tree.0.join("etc/modprobe.d/vendor.conf")).unwrap();
    symlink("/dev/nothing", tree.0.join("etc/modprobe.d/other.conf")).unwrap();
    symlink("/dev/null", tree.0.join("etc/kernel/cmdline")).unwrap();
    // Seen from the running system, the device is there.
    let path = tree.0.join("etc/modprobe.d/vendor.conf");
    assert_eq!(ReadHost::read(&Root::open("/").unwrap(), path.to_str().unwrap(), 16), Entry::File(Vec::new()));
    let host = tree.host();
    assert_eq!(host.capture.get("/etc/modprobe.d/vendor.conf"), Some(&Entry::File(Vec::new())));
    assert_eq!(host.capture.get("/etc/modprobe.d/other.conf"), Some(&Entry::Absent));
    assert_eq!(host.capture.get("/etc/kernel/cmdline"), Some(&Entry::Absent));
}

#[test]
fn the_session_is_that_of_this_process_or_of_one_above_it() {
    let session = |files: &[(&str, &str)]| Tree::new("session", files).host().capture.get("/proc/self/environ").cloned();
    let taken = |text: &str| Some(Entry::File(text.into()));
    let own = ("proc/self/environ", "PASSWORD=x\0SSH_CONNECTION=1.2.3.4 5 1.2.3.5 22\0HOME=/\0");
    assert_eq!(session(&[own]), taken("SSH_CONNECTION=1.2.3.4 5 1.2.3.5 22\n"), "and nothing else of the environment");
    let sudo = [
        ("proc/self/environ", "HOME=/root\0"),
        ("proc/self/status", "Name:\tcede\nPPid:\t70\n"),
        ("proc/70/environ", "SUDO_USER=me\0"),
        ("proc/70/status", "Name:\tsudo\nPPid:\t60\n"),
        ("proc/60/status", "Name:\tbash\nPPid:\t50\n"),
    ];
    let with_shell = [&sudo[..], &[("proc/60/environ", "SSH_CONNECTION=::1 5 ::1 22\0")]].concat();
    assert_eq!(session(&with_shell), taken("SSH_CONNECTION=::1 5 ::1 22\n"));
    let with_sshd = [&sudo[..], &[("proc/50/status", "Name:\tsshd-session\nPPid:\t1\n")]].concat();
    assert_eq!(session(&with_sshd), Some(Entry::Unreadable("EACCES".into())));
    assert_eq!(session(&sudo), Some(Entry::Absent));
    let circle = [("proc/self/status", "Name:\ta\nPPid:\t7\n"), ("proc/7/status", "Name:\tb\nPPid:\t7\n")];
    assert_eq!(session(&circle), Some(Entry::Absent));
    assert_eq!(session(&[("etc/x", "")]), Some(Entry::Absent));
}

#[test]
fn what_the_guard_rests_on_is_read_and_no_more_of_it() {
    let block = "sys/class/block";
    let tree = Tree::new(
        "guard",
        &[
            (&format!("{block}/sdx/dev"), "65:112\n"),
            (&format!("{block}/sdx/device/state"), "offline\n"),
            (&format!("{block}/sdy/device/state"), "running\n"),
            (&format!("{block}/dm-0/dm/uuid"), "mpath-3600\n"),
            (&format!("{block}/dm-0/slaves/sdx/x"), ""),
            (&format!("{block}/nvme3c0n1/ana_state"), "optimized\n"),
            (&format!("{block}/nvme3n1/ana_state"), "never read\n"),
            ("etc/crypttab", "# note\nroot UUID=1 /k:LABEL=K luks,header=/dev/disk/by-id/x,tries=3,keyscript=/secret\n"),
            ("run/lvm/pvs_online/abc", "8:2\nvg:vg\ndev:/dev/sda2\n"),
            (
                "etc/lvm/backup/vg",
                "vg {\n\tphysical_volumes {\n\t\tpv0 {\n\t\t\tid = \"a-b\"\n\t\t\tdevice = \"/dev/sda2\"\n\t\t}\n\t}\n}\n",
            ),
            ("proc/net/route", "Iface\n"),
            ("proc/net/fib_trie", "Id 7:\n  |-- 0.0.0.0\n     /0 universe UNICAST\n  |-- 192.0.2.1\n     /32 link UNICAST\n"),
            ("dev/x", ""),
            ("sys/class/bluetooth/x", ""),
        ],
    );
    fs::create_dir_all(tree.0.join("dev/disk/by-id")).unwrap();
    symlink("../../sdu1", tree.0.join("dev/disk/by-id/x")).unwrap();
    symlink("../../devices/hci0", tree.0.join("sys/class/bluetooth/hci0")).unwrap();
    symlink("../../devices/hci0/hci0:256", tree.0.join("sys/class/bluetooth/hci0:256")).unwrap();
    let host = tree.host();
    let text = |path: &str| host.capture.attribute(path);
    assert_eq!(text("/sys/class/block/sdx/device/state"), Some("offline"));
    assert_eq!((text("/sys/class/block/sdy/device/state"), text("/sys/class/block/nvme3n1/ana_state")), (None, None));
    assert_eq!(text("/sys/class/block/nvme3c0n1/ana_state"), Some("optimized"));
    assert_eq!(text("/etc/crypttab"), Some("root UUID=1 /k:LABEL=K header=/dev/disk/by-id/x"));
    assert_eq!(host.capture.link("/dev/disk/by-id/x"), Some("../../sdu1"));
    assert_eq!(text("/etc/lvm/backup/vg"), Some("physical_volumes {\nid = \"a-b\"\n}"));
    assert!(text("/run/lvm/pvs_online/abc").unwrap().contains("vg:vg"));
    assert_eq!(text("/proc/net/fib_trie"), Some("Id 7:\n  |-- 0.0.0.0\n     /0 universe UNICAST"));
    assert!(host.capture.link("/sys/class/bluetooth/hci0").is_some() && host.capture.get("/sys/class/bluetooth/hci0:256").is_none());
}

#[test]
fn an_open_file_tells_the_number_of_its_node_whatever_its_name() {
    let root = Root::open("/").unwrap();
    let number = |file: &fs::File| {
        use std::os::fd::AsRawFd;
        ReadHost::device_number(&root, &format!("/proc/self/fd/{}", file.as_raw_fd()))
    };
    assert_eq!(number(&fs::File::open("/dev/null").unwrap()).as_deref(), Some("char/1:3"));
    assert_eq!(number(&fs::File::open("/proc/self/status").unwrap()), None);
    assert_eq!(ReadHost::device_number(&root, "/nonexistent"), None);
    let tree = Tree::new("numbers", &[]);
    fs::create_dir_all(&tree.0).unwrap();
    assert_eq!(ReadHost::device_number(&Root::open(&tree.0).unwrap(), "/dev/null"), None, "another system's names lead elsewhere");
}

/// Where GRUB's files are decides what GRUB can write to.
#[test]
fn links_to_grubs_files_are_followed_inside_the_root() {
    let place = |name: &str, links: &[(&str, &str)]| {
        let tree = Tree::new(&format!("place-{name}"), &[("boot/x", ""), ("efi/grub/grubenv", "block")]);
        for (target, link) in links {
            let link = tree.0.join(link);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(target, link).unwrap();
        }
        let capture = tree.host().capture;
        ["/boot/grub", "/boot/grub/grubenv"].map(|path| capture.place(path).map(str::to_owned).map_err(str::to_owned))
    };
    let known = |paths: [&str; 2]| paths.map(|path| Ok(path.to_owned()));
    assert_eq!(place("none", &[]), known(["/boot/grub", "/boot/grub/grubenv"]));
    assert_eq!(place("directory", &[("../efi/grub", "boot/grub")]), known(["/efi/grub", "/efi/grub/grubenv"]));
    assert_eq!(place("up", &[("../../../../efi/./grub/", "boot/grub")]), known(["/efi/grub", "/efi/grub/grubenv"]));
    assert_eq!(place("file", &[("/efi/grub/grubenv", "boot/grub/grubenv")]), known(["/boot/grub", "/efi/grub/grubenv"]));
    assert_eq!(place("nowhere", &[("/efi/none", "boot/grub/grubenv")]), known(["/boot/grub", "/efi/none"]));
    let circle = place("circle", &[("other", "boot/grub/grubenv"), ("grubenv", "boot/grub/other")]);
    assert_eq!(circle, [Ok("/boot/grub".to_owned()), Err("ELOOP".to_owned())]);
}
