//! Tests of what is taken out of a capture, and of what stays.

use super::*;

fn scrub(capture: &mut Capture) -> Vec<String> {
    Scrubber::default().scrub(capture)
}

/// A text of the boot configuration as it is in the capture.
fn cleaned(text: &str) -> String {
    let mut capture = Capture::new();
    capture.insert("/etc/default/grub", Entry::File(text.as_bytes().to_vec()));
    scrub(&mut capture);
    String::from_utf8(capture.file("/etc/default/grub").unwrap().to_vec()).unwrap()
}

#[test]
fn identities_go_and_the_rest_stays() {
    let mut capture = Capture::new();
    let uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    capture.insert(
        "/proc/cmdline",
        Entry::File(format!("root=UUID={uuid} ip=:::::eth0 mac=52:54:00:12:34:56 pci=0000:01:00.0\n").into_bytes()),
    );
    capture.insert("/boot/grub/grub.cfg", Entry::File(format!("search --fs-uuid {uuid}\n# on workhorse\n").into_bytes()));
    capture.insert("/proc/sys/kernel/hostname", Entry::File(b"workhorse\n".to_vec()));
    let said = scrub(&mut capture);
    let cmdline = capture.attribute("/proc/cmdline").unwrap();
    assert_eq!(cmdline, "root=UUID=00000000-0000-4000-a000-000000000001 ip=scrubbed mac=00:00:00:00:00:00 pci=0000:01:00.0");
    assert_eq!(capture.attribute("/boot/grub/grub.cfg").unwrap(), "search --fs-uuid 00000000-0000-4000-a000-000000000001\n# on host");
    assert_eq!(
        said,
        [
            "1 number of network cards and ports (MAC, WWN)",
            "1 id of disks, file systems and machines, each replaced by a made-up one",
            "1 value of the boot configuration: passwords, servers, network addresses",
            "2 mentions of the host's name"
        ]
    );
    assert_eq!(capture.notes.len(), 4);
}

#[test]
fn a_serial_number_is_the_same_made_up_one_in_registers_and_in_text() {
    let config = |serial: u64| {
        let mut bytes = vec![0u8; 4096];
        bytes[..8].copy_from_slice(&[0x86, 0x80, 0xd3, 0x10, 0, 0, 0x10, 0]);
        bytes[0x34] = 0x40;
        bytes[0x40] = 0x10;
        bytes[0x100..0x104].copy_from_slice(&0x0001_0003_u32.to_le_bytes());
        bytes[0x104..0x10c].copy_from_slice(&serial.to_le_bytes());
        Entry::File(bytes)
    };
    let mut capture = Capture::new();
    for (address, serial) in [("0000:01:00.0", 0x6805_caff_ff12_3456), ("0000:01:00.1", 0x6805_caff_ff12_3456), ("0000:02:00.0", 7 << 40)] {
        capture.insert(format!("{}{address}/config", device::PCI_DEVICES), config(serial));
    }
    let record = "{\"serial\":\"68-05-ca-ff-ff-12-34-56\"} 00-00-07-00-00-00-00-00 12-34-56\n";
    capture.insert("/var/lib/cede/operations/0001.jsonl", Entry::File(record.as_bytes().to_vec()));
    let said = scrub(&mut capture);
    let serials: Vec<_> = device::read_devices(&capture).into_iter().map(|device| device.serial.unwrap().to_string()).collect();
    assert_eq!(serials, ["00-00-00-00-00-00-00-01", "00-00-00-00-00-00-00-01", "00-00-00-00-00-00-00-02"]);
    let text = capture.attribute("/var/lib/cede/operations/0001.jsonl");
    assert_eq!(text, Some("{\"serial\":\"00-00-00-00-00-00-00-01\"} 00-00-00-00-00-00-00-02 12-34-56"));
    assert!(said.contains(&"2 device serial numbers, each replaced by a made-up one".to_owned()), "{said:?}");
}

#[test]
fn the_firmware_s_boot_option_still_names_the_partition() {
    let mut capture = Capture::new();
    let uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    capture.insert(firmware_boot::current(), Entry::File(vec![6, 0, 0, 0, 0, 0]));
    let option = firmware_boot::option(&capture).unwrap();
    capture.insert(option.as_str(), Entry::File(Vec::new()));
    firmware_boot::rewrite(&mut capture, Some(uuid));
    let loader: Vec<u8> = [7, 0, 0, 0].into_iter().chain(uuid.encode_utf16().chain([0]).flat_map(u16::to_le_bytes)).collect();
    capture.insert(firmware_boot::LOADER, Entry::File(loader));
    assert_eq!(firmware_boot::partitions(&capture), [uuid, uuid]);
    capture.insert("/sys/class/block/sda1/dev", Entry::File(b"8:1\n".to_vec()));
    capture.insert("/run/udev/data/b8:1", Entry::File(format!("E:ID_PART_ENTRY_UUID={uuid}\n").into_bytes()));
    scrub(&mut capture);
    assert_ne!(firmware_boot::partition(&capture).as_deref(), Some(uuid));
    let source = format!("PARTUUID={}", firmware_boot::partition(&capture).unwrap());
    assert_eq!(crate::uses::block_names::BlockNames::of(&capture).by_source(&source), ["sda1"]);
    assert_eq!(firmware_boot::loader_partition(&capture), firmware_boot::partition(&capture));
    capture.remove("/run/udev/data/b8:1");
    for uuid in [uuid, "1b7a2c3d-02"] {
        firmware_boot::rewrite(&mut capture, Some(uuid));
        scrub(&mut capture);
        let partition = firmware_boot::partition(&capture).unwrap();
        assert!(partition != uuid && partition.len() == uuid.len(), "{partition}");
    }
    capture.insert(option.as_str(), Entry::File(b"workhorse".to_vec()));
    scrub(&mut capture);
    assert_eq!(capture.file(&option).map(<[u8]>::len), Some(12), "what is no option tells nothing");
}

#[test]
fn secrets_of_the_table_of_mounts_go() {
    let mut capture = Capture::new();
    let table = "# by me\n/dev/sda2 / ext4 defaults 0 1\nUUID=0A1B-2C3D /boot/efi/ vfat umask=0077 0 2\n//nas/me /mnt cifs user=me,password=secret\n/boot\nLABEL=a /data ext4 rw,nofail,x-secret=1 0 2\n";
    capture.insert("/etc/fstab", Entry::File(table.as_bytes().to_vec()));
    assert_eq!(scrub(&mut capture).len(), 3);
    let kept = "/dev/sda2 / ext4 defaults 0 1\nUUID=0000-0001 /boot/efi/ vfat umask=0077 0 2\nLABEL=a /data ext4 nofail 0 0";
    assert_eq!(capture.attribute("/etc/fstab"), Some(kept));
    scrub(&mut capture);
    assert_eq!(capture.attribute("/etc/fstab"), Some(kept));
}

#[test]
fn the_machine_s_own_id_stays_that_of_its_entries() {
    let (own, other) = ("3f2504e04f8941d39a0c0305e82c3301", "aaaabbbbccccddddeeeeffff00001111");
    let mut capture = Capture::new();
    capture.insert("/etc/machine-id", Entry::File(format!("{own}\n").into_bytes()));
    for (name, id) in [("own", own), ("other", other)] {
        capture.insert(format!("/boot/loader/entries/{name}.conf"), Entry::File(format!("machine-id {id}\n").into_bytes()));
    }
    scrub(&mut capture);
    let id = capture.attribute("/etc/machine-id").unwrap();
    assert!(id.len() == 32 && id != own);
    assert_eq!(capture.attribute("/boot/loader/entries/own.conf"), Some(format!("machine-id {id}").as_str()));
    let foreign = capture.attribute("/boot/loader/entries/other.conf").unwrap();
    assert!(!foreign.contains(id) && !foreign.contains(other));
}

#[test]
fn identities_go_from_names_too() {
    let id = "3f2504e04f8941d39a0c0305e82c3301";
    let mut capture = Capture::new();
    capture.insert(
        format!("/boot/loader/entries/{id}-6.1.0.conf"),
        Entry::File(format!("machine-id {id}\nlinux /{id}/6.1.0/linux\n").into_bytes()),
    );
    scrub(&mut capture);
    let new = format!("{:032}", 1);
    assert_eq!(
        capture.attribute(&format!("/boot/loader/entries/{new}-6.1.0.conf")),
        Some(format!("machine-id {new}\nlinux /{new}/6.1.0/linux").as_str())
    );
}

#[test]
fn tables_keep_what_this_host_needs() {
    let mut capture = Capture::new();
    capture.insert(
        "/sys/bus/pci/devices/0000:01:00.0/uevent",
        Entry::File(b"PCI_CLASS=30000\nPCI_ID=10DE:1F91\nMODALIAS=pci:v000010DEd00001F91sv00001043sd0000109Fbc03sc00i00\n".to_vec()),
    );
    capture.insert(
        "/lib/modules/6/modules.alias",
        Entry::File(
            b"alias usb:v1 x\nalias pci:v000010DEd*sv*sd*bc03sc00i00* nouveau\nalias pci:v00008086d*sv*sd*bc03sc*i* i915\n".to_vec(),
        ),
    );
    capture.insert("/lib/modules/6/modules.dep", Entry::File(b"kernel/nouveau.ko: a\nkernel/i915.ko:\nkernel/vfio-pci.ko:\n".to_vec()));
    capture.insert(
        "/usr/share/misc/pci.ids",
        Entry::File(b"8086  Intel\n\t1f91  no\n10de  NVIDIA\n\t1f91  TU117M\n\t1f92  x\nC 03  Display\n\t00  VGA\n\t\t00  x\n".to_vec()),
    );
    scrub(&mut capture);
    assert_eq!(capture.attribute("/lib/modules/6/modules.alias"), Some("alias pci:v000010DEd*sv*sd*bc03sc00i00* nouveau"));
    assert_eq!(capture.attribute("/lib/modules/6/modules.dep"), Some("kernel/nouveau.ko: a\nkernel/vfio-pci.ko:"));
    assert_eq!(capture.attribute("/usr/share/misc/pci.ids"), Some("10de  NVIDIA\n\t1f91  TU117M\nC 03  Display\n\t00  VGA"));
}

#[test]
fn identifiers_go_whatever_stands_beside_them() {
    let uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    let made_up = "00000000-0000-4000-a000-000000000001";
    for around in [
        "rd.luks.uuid=luks-#",
        "cryptdevice=UUID=#:cryptroot",
        "cryptdevice=PARTUUID=#:root:allow-discards",
        "menuentry 'x' $menuentry_id_option 'gnulinux-simple-#' {",
        "gnulinux-6.1.0-13-amd64-advanced-#",
        "root=/dev/mapper/luks-# resume=/dev/disk/by-uuid/# quiet",
        "rd.luks.name=#=root",
        "rd.md.uuid=x a{#}b (#) [#] \"#\" '#' #,# a=#;",
        "/#/6.1.0/linux",
        "initrd=\\#\\6.1.0\\initrd",
        "_#_",
        "resume=UUID=#",
        "systemd.mask=dev-disk-by\\x2duuid-#.swap",
        "line\\n# of a journal",
    ] {
        let text = cleaned(&around.replace('#', uuid));
        assert_eq!(text, around.replace('#', made_up));
        assert_eq!(cleaned(&around.replace('#', &uuid.to_uppercase())), text);
    }
}

#[test]
fn identifiers_of_other_shapes_go() {
    for (text, expected) in [
        ("ifname=eth0:52:54:00:12:34:56", "ifname=eth0:00:00:00:00:00:00"),
        ("BOOTIF=01-52-54-00-12-34-56", "BOOTIF=00-00-00-00-00-00-00"),
        ("ifname=lan0:52:54:00:AB:cd:ef ip=lan0:dhcp", "ifname=lan0:00:00:00:00:00:00 ip=scrubbed"),
        ("wwpn 50:06:01:60:3b:e0:12:34", "wwpn 00:00:00:00:00:00:00:00"),
        ("root=UUID=0A1B-2C3D", "root=UUID=0000-0001"),
        ("UUID=\"0A1B-2C3D\" 0a1b-2c3d", "UUID=\"0000-0001\" 0000-0001"),
        ("UUID=01D5A8B3C4E5F607 osprober-01D5A8B3C4E5F607", "UUID=0000000000000001 osprober-0000000000000001"),
        ("root=PARTUUID=1b7a2c3d-02 /dev/disk/by-partuuid/1b7a2c3d-01", "root=PARTUUID=00000001-02 /dev/disk/by-partuuid/00000001-01"),
        ("UUID=2022-12-17-11-18-51-00", "UUID=0000-00-00-00-00-00-01"),
        (
            "search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt1 0A1B-2C3D\nosprober-efi-0A1B-2C3D",
            "search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt1 0000-0001\nosprober-efi-0000-0001",
        ),
        ("rd.md.uuid=0a1b2c3d:00112233:44556677:8899aabb", "rd.md.uuid=00000000:00000000:00000000:00000001"),
        ("id = \"65jAjl-ovuR-ysCh-5aBx-QPaG-UVxK-gLEYzM\"", "id = \"000000-0000-0000-0000-0000-0000-000001\""),
        (
            "root=/dev/disk/by-id/ata-Samsung_SSD_860_EVO_1TB_S3Z9NB0K1-part2 resume=/dev/disk/by-id/usb-X_4C53-0:0-part1",
            "root=/dev/disk/by-id/disk-1-part2 resume=/dev/disk/by-id/disk-2-part1",
        ),
        ("cryptdevice=/dev/disk/by-id/nvme-eui.0025385b21404321:root", "cryptdevice=/dev/disk/by-id/disk-1:root"),
        ("/dev/disk/by-path/ip-192.168.1.5:3260-iscsi-iqn.2003-01.org.x:t-lun-1", "/dev/disk/by-path/disk-1"),
        (
            "cryptdevice=/dev/disk/by-path/ip-10.0.0.5:3260-iscsi-iqn.2004-04.com.q:ts-453a:iscsi.14a8-lun-1-part2:root",
            "cryptdevice=/dev/disk/by-path/disk-1-part2:root",
        ),
        ("root=/dev/disk/by-path/pci-0000:03:00.0-fc-0x50060160-lun-0-part1", "root=/dev/disk/by-path/disk-1-part1"),
        (
            "search --fs-uuid 0A1B-2C3D --set=root\nsearch.fs_uuid 0A1B-2C3E root hd0,gpt2",
            "search --fs-uuid 0000-0001 --set=root\nsearch.fs_uuid 0000-0002 root hd0,gpt2",
        ),
        ("UUID='0A1B-2C3D' PARTUUID=\\\"1b7a2c3d-02\\\"", "UUID='0000-0001' PARTUUID=\\\"00000002-02\\\""),
        (
            "systemd.mask=dev-disk-by\\x2duuid-3f2504e0\\x2d4f89\\x2d41d3\\x2d9a0c\\x2d0305e82c3301.swap",
            "systemd.mask=dev-disk-by\\x2duuid-00000000\\x2d0000\\x2d4000\\x2da000\\x2d000000000001.swap",
        ),
    ] {
        assert_eq!(cleaned(text), expected);
    }
    for same in [
        "pci=0000:01:00.0 vfio-pci.ids=10de:1f91,10de:10fa",
        "vmlinuz-6.1.0-13-amd64",
        "vmlinuz-5.10.0.1-20240101-02",
        "/dev/disk/by-path/pci-0000:00:1f.2-ata-1-part1",
        "UUID=$uuid UUID=auto ID=debian",
        "crashkernel=2G-16G:320M,16G-:512M",
        "Loader-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f",
        "abcdefghijabcdefghijabcdefghij12",
        "2026-11-29 10:11:12",
    ] {
        assert_eq!(cleaned(same), same);
    }
}

#[test]
fn secrets_of_the_boot_configuration_go() {
    for (text, expected) in [
        ("ip=192.168.1.2::192.168.1.1:255.255.255.0:jane-pc:eth0:off quiet", "ip=scrubbed quiet"),
        ("netconsole=6666@10.0.0.2/eth0,6666@10.0.0.3/", "netconsole=scrubbed"),
        ("root=nfs4:10.0.0.9:/srv/root nfsroot=10.0.0.9:/srv,v3", "root=nfs4:scrubbed nfsroot=scrubbed"),
        ("netroot=iscsi:jane:pw@10.0.0.9::::iqn.2009-06.org.x rd.iscsi.password=pw", "netroot=scrubbed rd.iscsi.password=scrubbed"),
        ("GRUB_CMDLINE_LINUX=\"quiet rd.iscsi.initiator=iqn.2009-06.org.x\"", "GRUB_CMDLINE_LINUX=\"quiet rd.iscsi.initiator=scrubbed\""),
        ("x.password='a b' quiet", "x.password='scrubbed scrubbed' quiet"),
        ("url=http://jane:pw@files.example.org/x", "url=scrubbed"),
        ("# see https://jane:pw@example.org/x@y", "# see https://scrubbed@example.org/x@y"),
        (
            "set superusers=\"jane\"\npassword_pbkdf2 jane grub.pbkdf2.sha512.10000.AB.CD\nmenuentry 'x' --users jane {",
            "set superusers=\"scrubbed\"\npassword_pbkdf2 scrubbed scrubbed\nmenuentry 'x' --users scrubbed {",
        ),
        ("  password jane secret\nquiet", "  password scrubbed scrubbed\nquiet"),
        ("initrd=/home/jane/x /home/joe/y /home/jane", "initrd=/home/person-1/x /home/person-2/y /home/person-1"),
        ("root=cifs://jane:pw@10.0.0.9/share cifsroot=//10.0.0.9/s,username=jane,password=pw", "root=cifs:scrubbed cifsroot=scrubbed"),
        ("rootflags=username=jane,password=pw,vers=3.0", "rootflags=scrubbed"),
        (
            "nbdroot=10.0.0.9:root bonding.arp_ip_target=10.0.0.1,10.0.0.2 a=[fd00::1]:80",
            "nbdroot=scrubbed bonding.arp_ip_target=scrubbed a=scrubbed",
        ),
        ("ignition.config.url=http://files.example.org/x inst.stage2=https://x/y", "ignition.config.url=scrubbed inst.stage2=scrubbed"),
        (
            "wifi.pass=pw x.psk=pw androidboot.serialno=R58 systemd.hostname=janes-pc",
            "wifi.pass=scrubbed x.psk=scrubbed androidboot.serialno=scrubbed systemd.hostname=scrubbed",
        ),
        ("nvme.hostnqn=nqn.2014-08.org.x:jane InitiatorName=iqn.2009-06.org.x", "nvme.hostnqn=scrubbed InitiatorName=scrubbed"),
        ("menuentry 'x' --users \"jane joe\" 'y' {", "menuentry 'x' --users \"scrubbed scrubbed\" 'y' {"),
        (
            "/home/.ecryptfs/jane/.Private subvol=/@home/joe rpool/USERDATA/jane_a1",
            "/home/.ecryptfs/person-1/.Private subvol=/@home/person-2 rpool/USERDATA/person-3",
        ),
    ] {
        assert_eq!(cleaned(text), expected);
        assert_eq!(cleaned(expected), expected, "once is enough");
    }
    for same in [
        "ip=dhcp",
        "root=/dev/sda1",
        "root=ZFS=rpool/ROOT",
        "ip=$IP",
        "GRUB_TIMEOUT=5",
        "/home",
        "url=",
        "password=$x",
        "iommu.passthrough=1 initrd=/5.10.0.1/x BOOT_IMAGE=/vmlinuz-5.10.0.1",
        "HOOKS=(base)",
        "rd.luks.options=0a1b=password-echo=no,header=/h:/dev/sdc1",
    ] {
        assert_eq!(cleaned(same), same);
    }
}

#[test]
fn what_is_no_text_is_cleaned_too() {
    let mut capture = Capture::new();
    let id = "3f2504e04f8941d39a0c0305e82c3301";
    let wide: Vec<u8> = [7, 0, 0, 0].into_iter().chain(format!("{id}-6.1.conf\0").encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let selected = "/sys/firmware/efi/efivars/LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    capture.insert(selected, Entry::File(wide));
    capture.insert(format!("/efi/loader/entries/{id}-6.1.conf"), Entry::File(format!("# caf\u{e9}\nmachine-id {id}\n").into_bytes()));
    capture.insert("/etc/default/grub", Entry::File([b"# caf\xe9 ", id.as_bytes()].concat()));
    scrub(&mut capture);
    let now: Vec<u8> = [7, 0, 0, 0].into_iter().chain(format!("{:032}-6.1.conf\0", 1).encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert_eq!(capture.file(selected), Some(&*now));
    assert!(capture.file(&format!("/efi/loader/entries/{:032}-6.1.conf", 1)).is_some());
    assert_eq!(capture.file("/etc/default/grub"), Some(&*[b"# caf\xe9 ", format!("{:032}", 1).as_bytes()].concat()));
}

#[test]
fn the_host_s_name_goes_as_a_word_and_what_every_host_has_stays() {
    let host = |name: &str, text: &str| {
        let mut capture = Capture::new();
        capture.insert("/etc/hostname", Entry::File(format!("# static\n{name}\n").into_bytes()));
        capture.insert("/etc/os-release", Entry::File(b"ID=debian\nNAME=\"Debian GNU/Linux\"\n".to_vec()));
        capture.insert("/etc/default/grub", Entry::File(text.as_bytes().to_vec()));
        capture.insert("/dev/mapper/work--horse--vg-root", Entry::Link("../dm-0".into()));
        let said = scrub(&mut capture).join("\n");
        assert_eq!(capture.attribute("/etc/hostname"), Some("host"));
        assert_eq!(capture.attribute("/etc/os-release"), Some("ID=debian\nNAME=\"Debian GNU/Linux\""));
        (capture.attribute("/etc/default/grub").unwrap().to_owned(), said, capture.link("/dev/mapper/host--vg-root").is_some())
    };
    let text = "rd.lvm.lv=work-horse-vg/root on WORK-HORSE. work-horse2 fedora_work-horse dev-work\\x2dhorse\\x2dvg-root";
    let (new, said, is_renamed) = host("Work-Horse.example.org", text);
    assert_eq!(new, "rd.lvm.lv=host-vg/root on host. work-horse2 fedora_host dev-host\\x2dvg-root");
    assert!(said.contains("mentions of the host's name") && is_renamed, "{said}");
    for common in ["debian", "root", "disk", "pc", "grub", "vfio", "0000", "8086", "10de", "20240101", "softdep", "menuentry", "scrubbed"] {
        let text = format!("root=/dev/disk/x grub {common}");
        let (new, said, _) = host(common, &text);
        assert_eq!(new, text);
        assert!(said.contains("too short or too common"), "{said}");
    }
}

#[test]
fn a_name_that_is_no_text_goes_from_its_own_file() {
    let mut capture = Capture::new();
    capture.insert("/etc/hostname", Entry::File(b"caf\xe9-workhorse\n".to_vec()));
    scrub(&mut capture);
    assert_eq!(capture.attribute("/etc/hostname"), Some("host"));
}

#[test]
fn words_of_the_kernel_s_own_are_no_host_s_name() {
    let host = |name: &str| {
        let mut capture = Capture::new();
        capture.insert("/etc/hostname", Entry::File(format!("{name}\n").into_bytes()));
        capture.insert("/etc/os-release", Entry::File(b"ID=debian\nURL=https://lists.debian.org\n".to_vec()));
        capture.insert("/etc/default/grub", Entry::File(format!("# {name}\n").into_bytes()));
        capture.insert("/sys/kernel/iommu_groups", Entry::Dir);
        capture.insert("/sys/class/block/dm-0", Entry::Link("../../devices/virtual/block/dm-0".into()));
        capture.insert("/sys/class/net/uplink", Entry::Link("../../devices/pci0000:00/0000:00:02.0/net/uplink".into()));
        capture.insert(
            "/lib/modules/6.1.0-falcon/modules.dep",
            Entry::File(b"kernel/drivers/gpu/drm/radeon/radeon.ko: a\nkernel/atlas-btns.ko:\n".to_vec()),
        );
        scrub(&mut capture);
        let is_whole = capture.is_there("/sys/kernel/iommu_groups")
            && capture.link("/sys/class/block/dm-0") == Some("../../devices/virtual/block/dm-0");
        assert!(is_whole, "{name}");
        (capture.attribute("/etc/default/grub") == Some("# host"), capture.is_there("/lib/modules/6.1.0-host/modules.dep"))
    };
    for name in ["groups", "virtual", "radeon", "lists"] {
        assert!(!host(name).0, "{name}");
    }
    for name in ["atlas", "drivers2", "uplink", "list-a"] {
        assert!(host(name).0, "{name}");
    }
    assert_eq!(host("falcon"), (true, true));
}

#[test]
fn what_a_file_system_or_a_board_tells_of_others_goes() {
    let mut capture = Capture::new();
    let mounts = "40 1 0:50 / /a rw - fuse.rclone https://dav.example.org/jane rw\n41 1 0:51 / /b rw - lustre 10.0.0.1@tcp:/fs rw\n42 1 0:52 / /c rw - zfs tank/a rw\n43 1 0:53 / /d rw - bcachefs /dev/sda1:/dev/sdb1 rw\n44 1 0:54 / /e rw - zfs tank/a@b rw\n45 1 0:55 / /f rw - ecryptfs /srv/p rw,ecryptfs_sig=0a1b2c3d4e5f6071\n";
    capture.insert("/proc/self/mountinfo", Entry::File(mounts.as_bytes().to_vec()));
    capture.insert(
        "/etc/fstab",
        Entry::File(b"nas.home:/srv / nfs rw,nofail,x=1 0 0\n//nas/boot /boot cifs username=jane,password=pw 0 0\n".to_vec()),
    );
    capture.insert("/proc/cpuinfo", Entry::File(b"CPU implementer\t: 0x41\nSerial\t\t: 100000003d1d1c36\n".to_vec()));
    scrub(&mut capture);
    let new = "40 1 0:50 / /a rw - fuse.rclone server:/share rw\n41 1 0:51 / /b rw - lustre server:/share rw\n42 1 0:52 / /c rw - zfs tank/a rw\n43 1 0:53 / /d rw - bcachefs /dev/sda1:/dev/sdb1 rw\n44 1 0:54 / /e rw - zfs tank/a@b rw\n45 1 0:55 / /f rw - ecryptfs server:/share rw";
    assert_eq!(capture.attribute("/proc/self/mountinfo"), Some(new));
    assert_eq!(capture.attribute("/etc/fstab"), Some("server:/share / nfs nofail 0 0\nserver:/share /boot cifs defaults 0 0"));
    assert_eq!(capture.attribute("/proc/cpuinfo"), Some("CPU implementer\t: 0x41"));
}

#[test]
fn names_of_disks_and_cards_go_from_the_boot_configuration_too() {
    let (serial, card) = ("SATA_WDC_WD1003FBYX-_WD-WCAW3099XYZ", "0011aabbccdd");
    let mut capture = Capture::new();
    for (device, name, uuid) in
        [("dm-0", serial.to_owned(), format!("mpath-{serial}")), ("dm-1", format!("{serial}-part1"), format!("part1-mpath-{serial}"))]
    {
        capture.insert(format!("/sys/class/block/{device}/dm/name"), Entry::File(name.into_bytes()));
        capture.insert(format!("/sys/class/block/{device}/dm/uuid"), Entry::File(uuid.into_bytes()));
    }
    capture.insert(format!("/sys/class/net/enx{card}"), Entry::Dir);
    let text = format!("root=/dev/mapper/{serial}-part1 bootdev=enx{card} # caf");
    capture.insert("/etc/default/grub", Entry::File([text.as_bytes(), b"\xe9\n"].concat()));
    let mut scrubber = Scrubber::default();
    scrubber.scrub(&mut capture);
    let new = "root=/dev/mapper/0000000000000001-part1 bootdev=enx000000000002 # caf";
    assert_eq!(capture.file("/etc/default/grub"), Some(&*[new.as_bytes(), b"\xe9\n"].concat()));
    assert_eq!(scrubber.clean(text.as_bytes()), new.as_bytes());
    assert_eq!(capture.attribute("/sys/class/block/dm-1/dm/name"), Some("0000000000000001-part1"));
}

#[test]
fn grub_s_environment_block_keeps_its_size() {
    let mut block = b"# GRUB Environment Block\nsaved_entry=Workhorse password=x\n".to_vec();
    block.resize(1024, b'#');
    let mut capture = Capture::new();
    capture.insert("/etc/hostname", Entry::File(b"workhorse\n".to_vec()));
    capture.insert("/boot/grub/grubenv", Entry::File(block.clone()));
    let mut scrubber = Scrubber::default();
    scrubber.scrub(&mut capture);
    let new = capture.file("/boot/grub/grubenv").unwrap();
    assert!(new.len() == 1024 && new.starts_with(b"# GRUB Environment Block\nsaved_entry=host password=scrubbed\n##"));
    assert_eq!(scrubber.clean(&block), new);
}
