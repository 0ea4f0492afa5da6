//! Storage of which little is shown, or that is seldom met: what cannot be told is not given away, and what can be told is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use support::stack::{NVME_PATH, ROOT_ON_SATA, Stack};

const MULTIPATH: &str = "mpath-3600508b4000156d7";

#[test]
fn mapped_devices_are_called_what_they_are() {
    for (uuid, shown) in [
        ("CRYPT-VERITY-0a1b-x", "verity x"),
        ("CRYPT-INTEGRITY-x", "integrity x"),
        ("CRYPT-SUBDEV-0a1b-x", "integrity x"),
        ("CRYPT-BITLK-0a1b-x", "BitLocker x"),
        ("CRYPT-PLAIN-x", "LUKS x"),
        ("DMRAID-isw_x", "dm x"),
    ] {
        let stack = Stack::new().dm(("dm-0", "254:0"), &["nvme0n1p3"], "x", uuid).mounted(&["29 1 254:0 / / ro - ext4 /dev/mapper/x ro"]);
        stack.loses("root-disk", &format!("nvme0n1p3 → {shown} → /: "));
    }
}

#[test]
fn a_way_that_does_not_work_is_no_other_way() {
    let root = &["29 1 254:0 / / rw - xfs /dev/mapper/mpatha rw"];
    let mapped = || Stack::new().dm(("dm-0", "254:0"), &["nvme0n1", "sda"], "mpatha", MULTIPATH).mounted(root);
    mapped().text("/sys/class/block/sda/device/state", "running\n").loses("redundancy", "multipath mpatha");
    mapped().text("/sys/class/block/sda/device/state", "transport-offline\n").loses("root-disk", "multipath mpatha");
    let head = "virtual/nvme-subsystem/nvme-subsys0/nvme0n1";
    let native = |attribute: &str, state: &str| {
        let stack = Stack::new().disk("nvme0n1", "259:0", head).disk("nvme0c0n1", "", &NVME_PATH.replace("nvme0n1", "nvme0c0n1"));
        let other = "pci0000:00/0000:00:1c.0/0000:06:00.0/nvme/nvme1/nvme0c1n1";
        let stack = stack.disk("nvme0c1n1", "", other).mounted(&["29 1 259:0 / / rw - ext4 /dev/nvme0n1 rw"]);
        stack.text(&format!("/sys/class/block/nvme0c1n1/{attribute}"), state)
    };
    native("device/state", "live\n").loses("redundancy", "nvme0c0n1 → nvme0n1");
    native("device/state", "connecting\n").loses("root-disk", "nvme0c0n1 → nvme0n1");
    native("ana_state", "non-optimized\n").loses("redundancy", "nvme0c0n1 → nvme0n1");
    native("ana_state", "inaccessible\n").loses("root-disk", "nvme0c0n1 → nvme0n1");
}

#[test]
fn an_array_does_not_start_without_its_journal() {
    let stack = Stack::new().md("md0", "9:0", "raid5", &["sda1", "sda2", "nvme0n1p3"]).mounted(&["29 1 9:0 / / rw - xfs /dev/md0 rw"]);
    stack.loses("redundancy", "nvme0n1p3 → RAID md0");
    stack.text("/sys/class/block/md0/md/dev-nvme0n1p3/state", "journal\n").loses("root-disk", "nvme0n1p3 → RAID md0");
}

#[test]
fn what_unlocks_a_volume_is_part_of_the_start() {
    let locked = |table: &str, line: &str| {
        let stack = Stack::new().dm(("dm-0", "254:0"), &["sda2"], "root", "CRYPT-LUKS2-0a1b-root");
        let stack = stack.mounted(&["29 1 254:0 / / rw - ext4 /dev/mapper/root rw"]).udev("259:1", "E:ID_FS_LABEL=KEYS\n");
        stack.text("/etc/crypttab", &format!("{table}\n")).text("/proc/cmdline", &format!("root=/dev/mapper/root {line}\n"))
    };
    locked("root UUID=0a1b none luks,header=/dev/nvme0n1p1", "")
        .loses("boot-disk", "0000:02:00.0 nvme → nvme0n1p1 → what unlocks root: the host starts from it");
    locked("root UUID=0a1b /key:LABEL=KEYS luks", "").loses("boot-disk", "what unlocks root");
    locked("", "rd.luks.key=/key:LABEL=KEYS").loses("boot-disk", "what unlocks the system");
    locked("root UUID=0a1b none luks", "rd.luks.options=header=/h:LABEL=OTHER").loses_nothing();
    locked("data UUID=3c4d /key:LABEL=KEYS luks,nofail", "").loses_nothing();
}

#[test]
fn a_volume_group_wants_to_be_whole() {
    let grouped = |group: &str| {
        let stack =
            Stack::new().dm(("dm-0", "254:0"), &["sda2"], "vg-root", "LVM-x").mounted(&["29 1 254:0 / / rw - ext4 /dev/vg/root rw"]);
        let stack = stack.text("/run/lvm/pvs_online/aaaa", "8:2\nvg:vg\ndev:/dev/sda2\n");
        stack.text("/run/lvm/pvs_online/bbbb", &format!("259:3\nvg:{group}\ndev:/dev/nvme0n1p3\n"))
    };
    grouped("vg").loses("root-disk", "nvme0n1p3 → LVM vg (not whole without it) → /: ");
    grouped("guests").loses_nothing();
    grouped("").loses_nothing();
    // Joined since the start: only lvm2's own record and udev's UUID tell.
    let joined = |group: &str, id: &str| {
        let record = format!("physical_volumes {{\nid = \"11111\"\nid = \"{id}\"\n}}\n");
        let stack = grouped("").udev("8:2", "E:ID_FS_UUID=11111\n").udev("259:2", "E:ID_FS_UUID=22222\nE:ID_FS_TYPE=LVM2_member\n");
        stack.text(&format!("/etc/lvm/backup/{group}"), &record)
    };
    joined("vg", "22222").loses("root-disk", "0000:02:00.0 nvme → nvme0n1p2 → LVM vg (not whole without it) → /: ");
    joined("guests", "22222").loses_nothing();
    joined("vg", "33333").loses_nothing();
}

#[test]
fn boot_partitions_that_nothing_was_read_of() {
    let trap = "40 28 0:45 / /boot/efi rw - autofs systemd-1 rw,fd=30";
    let table = |stack: Stack| stack.text("/etc/fstab", "UUID=0A1B-2C3D /boot/efi vfat noauto,x-systemd.automount 0 2\n");
    let trapped = || table(Stack::new().mounted(&[ROOT_ON_SATA, trap]));
    trapped().udev("259:1", "E:ID_FS_UUID=0A1B-2C3D\n").loses("boot-disk", "nvme0n1p1 → /boot/efi");
    trapped().udev("8:2", "E:ID_FS_UUID=0A1B-2C3D\n").loses_nothing();
    trapped().loses("unseen-storage", "which disk /boot/efi is on could not be seen (UUID=0A1B-2C3D, /run/udev/data)");
    let loaded = |mut stack: Stack| {
        let text = "1B7A2C3D-0000-4000-A000-000000000007\0".encode_utf16().flat_map(u16::to_le_bytes);
        let variable: Vec<u8> = [6, 0, 0, 0].into_iter().chain(text).collect();
        stack.0 = stack.0.bytes("/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", &variable);
        stack
    };
    let known = Stack::new().mounted(&[ROOT_ON_SATA]).udev("259:1", "E:ID_PART_ENTRY_UUID=1b7a2c3d-0000-4000-a000-000000000007\n");
    loaded(known).loses("boot-disk", "nvme0n1p1 → the firmware's boot partition");
    loaded(Stack::new().mounted(&[ROOT_ON_SATA])).loses("unseen-storage", "the firmware's boot partition could not be seen");
    loaded(Stack::new().mounted(&[ROOT_ON_SATA, "30 28 8:2 / /efi rw - vfat /dev/sda2 rw"])).loses_nothing();
}

#[test]
fn places_and_names_that_are_seldom_met() {
    let listed = Stack::new().mounted(&[ROOT_ON_SATA, "29 28 259:3 / /media/data rw - ext4 /dev/nvme0n1p3 rw"]);
    listed
        .text("/etc/fstab", "/dev/nvme0n1p3 /media/data ext4 defaults 0 2\n")
        .loses("mounted-disk", "nvme0n1p3 → /media/data: the host uses it, and its start stops");
    Stack::new().mounted(&[ROOT_ON_SATA, "29 28 259:3 / /sysroot ro - xfs /dev/nvme0n1p3 ro"]).loses("root-disk", "nvme0n1p3 → /sysroot");
    let smart_array = Stack::new().disk("cciss!c0d0p2", "104:2", &NVME_PATH.replace("nvme0n1", "cciss!c0d0/cciss!c0d0p2"));
    let smart_array = smart_array.mounted(&[ROOT_ON_SATA]);
    smart_array.text("/proc/swaps", "F\n/dev/cciss/c0d0p2 partition 1 0 -2\n").loses("swap", "cciss!c0d0p2 → swap");
    let layers = "29 1 0:41 / / ro - overlay composefs ro,lowerdir+=/run/ostree/.private/lower,datadir+=/sysroot/ostree/repo/objects";
    let composed = |part: &str| {
        let sysroot = format!("30 29 {part} / /sysroot ro - xfs /dev/x ro");
        Stack::new().mounted(&[layers, "31 29 0:24 / /run rw - tmpfs tmpfs rw", &sysroot])
    };
    composed("259:3").loses("root-disk", "nvme0n1p3 → overlay → /");
    composed("8:1").loses_nothing();
    let members = Stack::new().dm(("dm-0", "254:0"), &["nvme0n1p3"], "b", "CRYPT-LUKS2-0a1b-b");
    members.mounted(&["29 1 0:30 / / rw - bcachefs /dev/sda2:/dev/mapper/b rw"]).loses("root-disk", "nvme0n1p3 → LUKS b → bcachefs → /");
    let cluster = Stack::new().mounted(&[ROOT_ON_SATA, "29 28 259:3 / /srv rw - ocfs2 /dev/nvme0n1p3 rw"]);
    cluster.loses("mounted-disk", "nvme0n1p3 → /srv");
    let copied = Stack::new().disk("drbd0", "147:0", "virtual/block/drbd0");
    copied
        .mounted(&[ROOT_ON_SATA, "29 28 147:0 / /srv rw - ext4 /dev/drbd0 rw"])
        .loses("unseen-storage", "the local disk of drbd0 is not shown by the kernel");
}

#[test]
fn a_log_or_journal_on_another_device_is_part_of_its_file_system() {
    let xfs = |options: &str| Stack::new().mounted(&[&format!("28 1 8:1 / / rw - xfs /dev/sda1 rw,attr2,{options}noquota")]);
    xfs("logdev=/dev/nvme0n1p1,").loses("root-disk", "0000:02:00.0 nvme → nvme0n1p1 → XFS log → /: the host lives on it");
    xfs("rtdev=/dev/nvme0n1p3,").loses("root-disk", "nvme0n1p3 → XFS realtime data → /");
    xfs("logdev=/dev/sda2,").loses_nothing();
    xfs("").loses_nothing();
    let named = xfs("logdev=/dev/disk/by-path/x,");
    named.loses("unseen-storage", "where the XFS log of / is could not be seen (/dev/disk/by-path/x)");
    Stack(named.0.link("/dev/disk/by-path/x", "../../nvme0n1p1"), support::stack::NVME).loses("root-disk", "nvme0n1p1 → XFS log → /");
    let ext4 = |journals: &[&str]| {
        let mut stack = Stack::new().mounted(&[ROOT_ON_SATA, "29 28 8:2 / /srv rw - ext4 /dev/sda2 rw"]);
        for journal in journals {
            stack.0 = stack.0.directory(&format!("/proc/fs/jbd2/{journal}"));
        }
        stack
    };
    ext4(&["sda1-8", "nvme0n1p1"]).loses("mounted-disk", "nvme0n1p1 → ext4 journal → /srv: the host uses it; run `umount /srv`");
    ext4(&["nvme0n1p1", "sda2-8"]).loses("root-disk", "nvme0n1p1 → ext4 journal → /");
    ext4(&["sda1-8", "sda2-8", "nvme0n1p3-8"]).loses_nothing();
}

#[test]
fn what_a_disk_hangs_on_may_carry_what_is_not_seen() {
    let unseen = || Stack::new().mounted(&["29 1 0:25 / / rw - zfs rpool rw"]);
    unseen().at("00:14.0").loses_nothing();
    let plugged = unseen().disk("sdu", "65:64", support::stack::USB_PATH).at("00:14.0");
    plugged.loses("unseen-storage", "0000:00:14.0 xhci_hcd may carry the host");
}
