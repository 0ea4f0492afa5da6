//! Storage stacks, odd ones first: what a controller carries is traced through all of them, and named.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Entry, Host};
use cede_plan::guard::{Loss, Stakes, losses};
use cede_plan::intent::{BindMethod, Identity};
use cede_plan::planner::plan_accepting;
use support::pci::Function;
use support::stack::{NVME, NVME_PATH, ROOT_ON_SATA, Stack, USB_PATH};
use support::{at, plan_on, refused};

#[test]
fn partitions_volumes_and_their_order() {
    let plain = Stack::new()
        .mounted(&["29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw", "30 29 259:1 / /boot rw - vfat /dev/nvme0n1p1 rw"]);
    plain.loses("root-disk", "0000:02:00.0 nvme → nvme0n1p2 → /: ");
    plain.loses("boot-disk", "0000:02:00.0 nvme → nvme0n1p1 → /boot: ");
    let luks = Stack::new().dm(("dm-0", "254:0"), &["nvme0n1p3"], "luks-1b7a", "CRYPT-LUKS2-1b7a-luks-1b7a");
    let lvm_in_luks =
        luks.dm(("dm-1", "254:1"), &["dm-0"], "my--vg-root", "LVM-abc").mounted(&["29 1 254:1 / / rw - ext4 /dev/mapper/my--vg-root rw"]);
    lvm_in_luks.loses("root-disk", "0000:02:00.0 nvme → nvme0n1p3 → LUKS luks-1b7a → LVM my-vg/root → /: ");
    let lvm = Stack::new().dm(("dm-0", "254:0"), &["nvme0n1p3", "sda2"], "vg0-root", "LVM-abc");
    let luks_in_lvm =
        lvm.dm(("dm-1", "254:1"), &["dm-0"], "root", "CRYPT-LUKS1-x-root").mounted(&["29 1 254:1 / / rw - xfs /dev/mapper/root rw"]);
    luks_in_lvm.loses("root-disk", "nvme0n1p3 → LVM vg0/root → LUKS root → /");
    // Without the names of mapped devices each of them may be meant.
    let unnamed = Stack::new().above("dm-0", "254:0", &["nvme0n1p3"]).mounted(&["29 1 0:25 /@ / rw - btrfs /dev/mapper/root rw"]);
    unnamed.loses("root-disk", "nvme0n1p3 → dm dm-0 → ");
    Stack::new().mounted(&[ROOT_ON_SATA]).loses_nothing();
}

#[test]
fn arrays_are_lost_or_go_on_with_less() {
    let root = "29 1 9:127 / / rw - xfs /dev/md127 rw";
    let over = |level: &str| Stack::new().md("md127", "9:127", level, &["nvme0n1p2", "sda2"]).mounted(&[root]);
    over("raid1").loses("redundancy", "nvme0n1p2 → RAID md127 → /: it goes on without that part");
    over("raid0").loses("root-disk", "nvme0n1p2 → RAID md127 → /");
    over("linear").loses("root-disk", "RAID md127 → /");
    let rebuilding = over("raid1").text("/sys/class/block/md127/md/dev-sda2/state", "spare\n");
    rebuilding.loses("root-disk", "RAID md127 → /");
    let both_here = Stack::new().md("md127", "9:127", "raid1", &["nvme0n1p2", "nvme0n1p3"]).mounted(&[root]);
    both_here.loses("root-disk", "RAID md127 → /");
    let faulty_here = over("raid1").text("/sys/class/block/md127/md/dev-nvme0n1p2/state", "faulty\n");
    faulty_here.loses("redundancy", "RAID md127");
    let unseen_level = Stack::new().above("md127", "9:127", &["nvme0n1p2", "sda2"]).mounted(&[root]);
    unseen_level.loses("root-disk", "md127 → /");
    let partition = Stack::new().md("md0", "9:0", "raid1", &["nvme0n1", "sda"]).disk("md0p1", "259:9", "virtual/block/md0/md0p1");
    partition.mounted(&["29 1 259:9 / / rw - ext4 /dev/md0p1 rw"]).loses("redundancy", "nvme0n1 → RAID md0 → md0p1 → /");
}

#[test]
fn several_ways_to_a_disk() {
    let mapped = Stack::new().dm(("dm-0", "254:0"), &["nvme0n1", "sda"], "mpatha", "mpath-3600508b4000156d7");
    let mapped = mapped.dm(("dm-1", "254:1"), &["dm-0"], "mpatha-part1", "part1-mpath-3600508b4000156d7");
    mapped
        .mounted(&["29 1 254:1 / / rw - ext4 /dev/mapper/mpatha-part1 rw"])
        .loses("redundancy", "nvme0n1 → multipath mpatha → dm mpatha-part1 → /");
    let head = "virtual/nvme-subsystem/nvme-subsys0/nvme0n1";
    let path = NVME_PATH.replace("nvme0n1", "nvme0c0n1");
    let native = |stack: Stack| stack.disk("nvme0n1", "259:0", head).disk("nvme0n1p2", "259:2", &format!("{head}/nvme0n1p2"));
    let one = native(Stack::new()).disk("nvme0c0n1", "259:8", &path);
    let one = one.mounted(&["29 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw"]);
    one.loses("root-disk", "0000:02:00.0 nvme → nvme0c0n1 → nvme0n1 → nvme0n1p2 → /");
    let two = one.disk("nvme0c1n1", "259:9", "pci0000:00/0000:00:1c.0/0000:06:00.0/nvme/nvme1/nvme0c1n1");
    two.loses("redundancy", "nvme0c0n1 → nvme0n1 → nvme0n1p2 → /");
}

#[test]
fn file_systems_of_several_devices() {
    let members = |stack: Stack, options: &str| {
        let mut stack = stack.mounted(&[&format!("29 1 0:25 /@ / rw - btrfs /dev/sda2 rw,{options}subvol=/@")]);
        for member in ["sda2", "nvme0n1p2"] {
            stack.0 = stack.0.link(&format!("/sys/fs/btrfs/1b7a0000-0000/devices/{member}"), "x");
        }
        for kind in ["data", "metadata", "system"] {
            stack.0 = stack.0.directory(&format!("/sys/fs/btrfs/1b7a0000-0000/allocation/{kind}/raid1"));
        }
        stack
    };
    // A btrfs with a missing device is not mounted at the start, whatever its profile.
    members(Stack::new(), "").loses("root-disk", "nvme0n1p2 → btrfs 1b7a0000 → /");
    members(Stack::new(), "degraded,").loses("redundancy", "nvme0n1p2 → btrfs 1b7a0000 → /");
    let single =
        Stack::new().mounted(&["29 1 0:25 /@ / rw - btrfs /dev/nvme0n1p2 rw", "30 29 0:25 /@home /home rw - btrfs /dev/nvme0n1p2 rw"]);
    single.loses("root-disk", "nvme0n1p2 → /, /home: ");
    assert_eq!(single.lost().len(), 1, "one file system, one loss");
    let bcachefs = Stack::new().mounted(&["29 1 0:30 / / rw - bcachefs /dev/sda2:/dev/nvme0n1p2 rw"]);
    bcachefs.loses("root-disk", "nvme0n1p2 → bcachefs → /");
    let bcache = Stack::new().above("bcache0", "252:0", &["nvme0n1p3", "sda2"]).mounted(&["29 1 252:0 / / rw - ext4 /dev/bcache0 rw"]);
    bcache.loses("root-disk", "nvme0n1p3 → cached bcache0 → /");
    let bcache = Stack::new().above("bcache0", "252:0", &["nvme0n1p3"]).disk("bcache0p1", "252:1", "virtual/block/bcache0/bcache0p1");
    bcache.mounted(&["29 1 252:1 / / rw - ext4 /dev/bcache0p1 rw"]).loses("root-disk", "nvme0n1p3 → cached bcache0 → bcache0p1 → /");
    let zfs = |stack: Stack| stack.mounted(&["29 1 0:25 / / rw - zfs rpool/ROOT/pve-1 rw"]);
    zfs(Stack::new()).loses("unseen-storage", "ZFS pool rpool could not be told");
    let elsewhere = zfs(Stack::new().udev("8:2", "E:ID_FS_TYPE=zfs_member\nE:ID_FS_LABEL=rpool\n"));
    elsewhere.loses_nothing();
    let here = elsewhere.udev("259:3", "E:ID_FS_TYPE=zfs_member\nE:ID_FS_LABEL=rpool\n");
    here.loses("root-disk", "nvme0n1p3 → ZFS rpool → /");
    let other = "30 29 8:1 / /boot rw - ext4 /dev/sda1 rw";
    let volume = here
        .mounted(&[ROOT_ON_SATA, other])
        .disk("zd0", "230:0", "virtual/block/zd0")
        .text("/proc/swaps", "F\n/dev/zd0 partition 1 0 -2\n");
    volume.loses("swap", "nvme0n1p3 → ZFS rpool → zd0 → swap");
}

#[test]
fn swap_is_a_device_or_a_file_or_memory() {
    let swap = |line: &str| {
        let stack = Stack::new().mounted(&[ROOT_ON_SATA, "40 28 259:3 / /data rw - ext4 /dev/nvme0n1p3 rw"]);
        stack.above("zram0", "251:0", &[]).text("/proc/swaps", &format!("Filename Type Size Used Priority\n{line} 8 0 -2\n"))
    };
    swap("/dev/nvme0n1p2 partition").loses("swap", "nvme0n1p2 → swap: the host swaps to it; run `swapoff /dev/nvme0n1p2` first");
    let listed = |line: &str| swap("/dev/nvme0n1p2 partition").udev("259:2", "E:ID_FS_UUID=ab-cd\n").text("/etc/fstab", line);
    listed("UUID=ab-cd none swap sw 0 0\n").loses("swap", "run `swapoff /dev/nvme0n1p2` and take it out of /etc/fstab first");
    listed("UUID=ab-ce none swap sw 0 0\nUUID=ab-cd /x ext4 noauto 0 0\n").loses("swap", "run `swapoff /dev/nvme0n1p2` first");
    swap("/data/swap\\040file file").loses("swap", "nvme0n1p3 → swap: the host swaps to it; run `swapoff '/data/swap file'`");
    let ids = |stack: &Stack| stack.lost().into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(&swap("/dev/zram0 partition")), ["mounted-disk"]);
    let written_back = swap("/dev/zram0 partition").text("/sys/class/block/zram0/backing_dev", "/dev/nvme0n1p2\n");
    written_back.loses("swap", "nvme0n1p2 → zram0 → swap");
    assert_eq!(ids(&swap("/swapfile file")), ["mounted-disk"]);
}

#[test]
fn boot_partitions_and_what_the_start_waits_for() {
    let esp = Stack::new().mounted(&[ROOT_ON_SATA, "30 28 259:1 / /boot/efi rw - vfat /dev/nvme0n1p1 rw"]);
    esp.loses("boot-disk", "nvme0n1p1 → /boot/efi");
    let mut by_firmware = Stack::new().mounted(&[ROOT_ON_SATA]).udev("259:1", "E:ID_PART_ENTRY_UUID=1b7a2c3d-01\n");
    let variable = |name: &str| format!("/sys/firmware/efi/efivars/{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    by_firmware.0 = by_firmware.0.bytes(&variable("BootCurrent"), &[6, 0, 0, 0, 1, 0]);
    let mut option = [&[7, 0, 0, 0, 1, 0, 0, 0, 42, 0, 0, 0, 4, 1, 42, 0, 1, 0, 0, 0][..], &[0; 16]].concat();
    option.extend([0x3d, 0x2c, 0x7a, 0x1b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    by_firmware.0 = by_firmware.0.bytes(&variable("Boot0001"), &option);
    by_firmware.loses("boot-disk", "nvme0n1p1 → the firmware's boot partition");
    let by_need = Stack::new().mounted(&[ROOT_ON_SATA]).udev("259:1", "E:ID_FS_UUID=0A1B-2C3D\n");
    let by_need = by_need.text("/etc/fstab", "UUID=0A1B-2C3D /efi vfat noauto,x-systemd.automount 0 2\n");
    by_need.loses("boot-disk", "nvme0n1p1 → /efi");
    let table = |options: &str| {
        let stack = Stack::new().udev("259:3", "E:ID_FS_LABEL=data\n").mounted(&[ROOT_ON_SATA]);
        stack.text("/etc/fstab", &format!("LABEL=data /data ext4 {options} 0 2\n"))
    };
    table("defaults").loses("mounted-disk", "nvme0n1p3 → /data: the host uses it, and its start stops in the emergency shell without it");
    table("nofail").loses_nothing();
    table("noauto").loses_nothing();
    let mounted = table("nofail").mounted(&[ROOT_ON_SATA, "40 28 259:3 / /data rw - ext4 /dev/nvme0n1p3 rw"]);
    mounted.loses("mounted-disk", "nvme0n1p3 → /data: the host uses it; run `umount /data` first");
    let by_hand = Stack::new().mounted(&[ROOT_ON_SATA, "40 28 259:3 / /run/media/me/x rw - ext4 /dev/nvme0n1p3 rw"]);
    by_hand.loses_nothing();
}

#[test]
fn live_systems_and_images() {
    let live = |stack: Stack, file: &str| {
        let stack = stack.above("loop0", "7:0", &[]).text("/sys/class/block/loop0/loop/backing_file", file);
        stack.mounted(&[
            "20 1 0:20 / /run rw - tmpfs tmpfs rw",
            "30 20 259:2 / /run/live/medium ro - iso9660 /dev/nvme0n1p2 ro",
            "31 20 7:0 / /run/live/rootfs ro - squashfs /dev/loop0 ro",
            "29 1 0:30 / / rw - overlay overlay rw,lowerdir=/run/live/rootfs,upperdir=/run/live/overlay,workdir=/run/live/work",
        ])
    };
    live(Stack::new(), "/run/live/medium/live/x.squashfs\n").loses("root-disk", "nvme0n1p2 → loop x.squashfs → overlay → /");
    live(Stack::new(), "/hidden/x.squashfs\n").loses("unseen-storage", "where /hidden/x.squashfs, the file of loop0, is could not be seen");
    let container = Stack::new().mounted(&["29 1 0:30 / / rw - overlay overlay rw,lowerdir=/var/lib/a:/var/lib/b,upperdir=/var/lib/c"]);
    container.loses("unseen-storage", "could not be seen");
    Stack::new().mounted(&["29 1 0:30 / / rw - tmpfs tmpfs rw"]).loses_nothing();
    Stack::new().mounted(&["20 0 0:2 / / rw - rootfs rootfs rw", ROOT_ON_SATA]).loses_nothing();
    let snap = Stack::new().above("loop0", "7:0", &[]).text("/sys/class/block/loop0/loop/backing_file", "/var/lib/snapd/core.snap\n");
    let snap = snap.mounted(&["29 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw", "31 29 7:0 / /snap/core/1 ro - squashfs /dev/loop0 ro"]);
    assert_eq!(snap.lost().len(), 1, "{:?}", snap.lost());
}

#[test]
fn what_is_not_seen_is_not_given_away() {
    let gone = |path: &str| {
        let mut stack = Stack::new().mounted(&[ROOT_ON_SATA]);
        stack.0.capture.remove(path);
        stack
    };
    gone("/proc/self/mountinfo").loses("unseen-storage", "/proc/self/mountinfo");
    gone("/sys/class/block/sda1").loses("unseen-storage", "sda1");
    let no_members = Stack::new().dm(("dm-0", "254:0"), &[], "root", "LVM-x").mounted(&["29 1 254:0 / / rw - ext4 /dev/mapper/root rw"]);
    no_members.loses("unseen-storage", "what dm-0 rests on could not be seen");
    let guest = Stack::new().mounted(&["29 1 0:20 / / rw - virtiofs myfs rw"]);
    guest.loses("unseen-storage", "virtiofs");
    // A function that a guest has already carries nothing of the host.
    let mut ceded = gone("/proc/self/mountinfo");
    ceded.0 = ceded.0.link("/sys/bus/pci/devices/0000:02:00.0/driver", "../../../../bus/pci/drivers/vfio-pci");
    ceded.loses_nothing();
    // A graphics card carries no disk, whatever is not seen.
    let plan = plan_on(&gone("/proc/self/mountinfo").0.capture, &["01:00.0"], BindMethod::Cmdline);
    assert!(plan.refused.is_empty(), "{:?}", plan.refused);
}

#[test]
fn disks_on_other_buses_are_traced_to_their_controller() {
    let usb = Stack::new().disk("sdu", "65:64", USB_PATH).mounted(&["29 1 65:64 / / rw - ext4 /dev/sdu rw"]);
    let virtio = "pci0000:00/0000:00:1d.0/0000:02:00.0/virtio3/block/vda";
    let host = |stack: &Stack, address: &str| {
        let host = Host::from_capture(stack.0.capture.clone());
        let identity = Identity::of(host.device(at(address)).unwrap()).unwrap();
        losses(&host, &[identity]).into_iter().map(|lost| lost.way).collect::<Vec<_>>().join("\n")
    };
    assert!(host(&usb, "00:14.0").contains("0000:00:14.0 xhci_hcd → sdu → /"), "{}", host(&usb, "00:14.0"));
    let stack = Stack::new().disk("vda", "254:9", virtio).mounted(&["29 1 254:9 / / rw - ext4 /dev/vda rw"]);
    stack.loses("root-disk", "→ vda → /");
    let behind_vmd = "pci0000:00/0000:00:1d.0/0000:02:00.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0/nvme/nvme5/nvme5n1";
    let stack = Stack::new().disk("nvme5n1", "259:30", behind_vmd).mounted(&["29 1 259:30 / / rw - ext4 /dev/nvme5n1 rw"]);
    stack.loses("root-disk", "0000:02:00.0 nvme → nvme5n1 → /");
}

#[test]
fn a_disk_on_a_virtual_function_goes_with_the_physical_one() {
    let function = Function::new("0000:02:00.1", "pci0000:00/0000:00:1d.0", (0x144d, 0xa808), 0x01_0802).express(None).driver("nvme");
    let mut stack = Stack::new().mounted(&["29 1 259:30 / / rw - ext4 /dev/nvme5n1 rw"]);
    stack = stack.disk("nvme5n1", "259:30", "pci0000:00/0000:00:1d.0/0000:02:00.1/nvme/nvme5/nvme5n1");
    stack.0 = stack.0.functions(&[function]).link("/sys/bus/pci/devices/0000:02:00.1/physfn", "../0000:02:00.0");
    let lost = stack.lost();
    assert!(matches!(&lost[..], [("root-disk", way)] if way.contains("0000:02:00.1 nvme → nvme5n1 → /")), "{lost:?}");
}

#[test]
fn one_look_at_the_host_serves_many_questions() {
    let stack = Stack::new().md("md0", "9:0", "raid1", &["nvme0n1p1", "sda2"]).mounted(&[
        "29 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw",
        "30 29 9:0 / /srv rw - ext4 /dev/md0 rw",
        "31 29 0:99 / /odd rw - zfs tank/odd rw",
    ]);
    let host = Host::from_capture(stack.0.capture.clone());
    let stakes = Stakes::new(&host);
    let mut found = 0;
    for _ in 0..2 {
        for one in &host.devices {
            for other in &host.devices {
                let ceded: Vec<Identity> = [one, other].into_iter().filter_map(Identity::of).collect();
                let lost = stakes.losses(&ceded);
                assert_eq!(lost, losses(&host, &ceded), "{} {}", one.address, other.address);
                found += lost.len();
            }
        }
    }
    assert!(found > 20, "{found}");
}

#[test]
fn only_what_is_named_is_given_up() {
    let stack =
        Stack::new().mounted(&["29 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw"]).text("/proc/swaps", "F\n/dev/nvme0n1p3 partition 1 0 -2\n");
    let host = Host::from_capture(stack.0.capture.clone());
    let plan = |accepted: &[Loss]| plan_accepting(&host, &[at(NVME)], BindMethod::Cmdline, accepted);
    assert_eq!(refused(&plan(&[])), ["root-disk", "swap"]);
    assert_eq!(refused(&plan(&[Loss::RootDisk])), ["swap"]);
    let whole = plan(&[Loss::Swap, Loss::RootDisk, Loss::Console]);
    assert!(whole.refused.is_empty() && !whole.steps.is_empty(), "{:?}", whole.refused);
    assert_eq!(whole.accepted, [Loss::Swap, Loss::RootDisk], "what is not lost is not kept");
    let said: Vec<&String> = whole.notes.iter().filter(|note| note.starts_with("lost, as accepted (")).collect();
    assert!(said.len() == 2 && said.iter().any(|note| note.contains("nvme0n1p2 → /")), "{said:?}");
    assert!(host.capture.get("/proc/swaps") != Some(&Entry::Absent));
}
