//! Reading initramfs images written by this crate: structure, links, limits and hostile bytes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test fails by panicking; one measures time"
)]

use std::io::Read;

use cede_model::initramfs_image::newc::{NewcEntry, NewcError, NewcNode, to_follow, with_parents, write_newc};
use cede_model::initramfs_image::{EntryKind, Fault, Format, ImageError, InitramfsImage, Limits, read_image};

fn archive(entries: Vec<NewcEntry>) -> Vec<u8> {
    write_newc(&with_parents(entries)).unwrap()
}

fn read(image: &[u8]) -> Result<InitramfsImage, ImageError> {
    read_image(image, &Limits::default(), |_| true)
}

fn fault(image: &[u8]) -> Fault {
    match read(image) {
        Err(ImageError::Segment { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

/// A newc header with the given mode, link count, size and inode, as GNU cpio lays it out.
fn raw(name: &str, fields: [u32; 4], data: &[u8]) -> Vec<u8> {
    let [mode, links, size, inode] = fields;
    let name_size = name.len() as u32 + 1;
    let mut out = b"070701".to_vec();
    for field in [inode, mode, 0, 0, links, 0, size, 8, 1, 0, 0, name_size, 0] {
        out.extend(format!("{field:08X}").bytes());
    }
    out.extend(name.bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(data);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

const FILE: u32 = 0o100_644;

fn trailer() -> Vec<u8> {
    raw("TRAILER!!!", [0, 1, 0, 0], b"")
}

#[test]
fn lists_files_links_and_modes() {
    let mut suid = NewcEntry::file("usr/bin/su", "x");
    suid.mode = 0o4755;
    let image = archive(vec![
        NewcEntry::directory("."),
        NewcEntry::symlink("lib", "usr/lib"),
        NewcEntry::file("./usr/lib/modprobe.d/a.conf", "options vfio-pci ids=10de:1b80\n"),
        NewcEntry::file("/etc/empty", ""),
        suid,
    ]);
    let listed = read(&image).unwrap();
    assert_eq!(listed.segments.len(), 1);
    assert_eq!(listed.segments[0].format, Format::Cpio);
    assert_eq!(listed.entries["lib"].kind, EntryKind::Symlink("usr/lib".into()));
    assert_eq!(listed.entries["usr/bin/su"].mode, 0o4755);
    assert_eq!(listed.file("etc/empty"), Some(&b""[..]));
    assert_eq!(listed.file("lib/modprobe.d/a.conf"), listed.file("/usr/lib/modprobe.d/a.conf"));
    assert!(listed.file("lib/modprobe.d/a.conf").unwrap().starts_with(b"options"));
    assert_eq!(listed.orphans().count(), 0);
}

#[test]
fn writer_gives_back_what_it_was_given() {
    let entries = vec![NewcEntry::directory("a"), NewcEntry::file("a/b", vec![0, 255, 10, 0]), NewcEntry::symlink("a/c", "../x")];
    let listed = read(&write_newc(&entries).unwrap()).unwrap();
    assert_eq!(listed.entries.len(), 3);
    for entry in &entries {
        let path = String::from_utf8(entry.path.clone()).unwrap();
        let found = &listed.entries[&path];
        assert_eq!(found.mode, entry.mode);
        match &entry.node {
            NewcNode::File(data) => assert_eq!(found.data.as_deref(), Some(&data[..])),
            NewcNode::Directory => assert_eq!(found.kind, EntryKind::Directory),
            NewcNode::Symlink(_) => assert_eq!(found.kind, EntryKind::Symlink("../x".into())),
        }
    }
    for name in ["", "a\0b", "TRAILER!!!"] {
        let refused = write_newc(&[NewcEntry::file(name, "")]);
        assert!(matches!(refused, Err(NewcError::Name(_))), "{name:?}");
    }
}

#[test]
fn modules_by_folded_name_under_either_root() {
    let early = archive(vec![
        NewcEntry::file("usr/lib/modules/6.12.1-amd64/kernel/drivers/vfio/pci/vfio-pci.ko.xz", "x"),
        NewcEntry::file("usr/lib/modules/6.12.1-amd64/kernel/drivers/vfio/vfio.ko.zst", "x"),
        NewcEntry::file("usr/lib/modules/6.12.1-amd64/kernel/empty.ko", ""),
        NewcEntry::file("usr/lib/modules/6.12.1-amd64/modules.dep", "x"),
        NewcEntry::file("usr/lib/modules/6.12.1-amd64+x/kernel/kvm.ko", "x"),
    ]);
    let main = archive(vec![
        NewcEntry::symlink("lib", "usr/lib"),
        NewcEntry::file("lib/modules/6.12.1-amd64/kernel/snd_hda_intel.ko", "x"),
        NewcEntry::symlink("lib/modules/6.12.1-amd64/weak.ko", "kernel/snd_hda_intel.ko"),
        NewcEntry::symlink("lib/modules/6.12.1-amd64/dangling.ko", "nowhere"),
    ]);
    // `with_parents` makes `lib` a directory no second time: the link came first.
    let listed = read(&[early, main].concat()).unwrap();
    let release = "6.12.1-amd64";
    let pci = listed.module(release, "vfio_pci").unwrap();
    assert_eq!(pci, "usr/lib/modules/6.12.1-amd64/kernel/drivers/vfio/pci/vfio-pci.ko.xz");
    assert_eq!(listed.module(release, "vfio-pci"), Some(pci));
    assert!(listed.module(release, "snd-hda-intel").is_some());
    assert!(listed.module(release, "weak").is_some());
    for absent in ["kvm", "empty", "dangling", "modules.dep", "vfio_pci_core"] {
        assert_eq!(listed.module(release, absent), None, "{absent}");
    }
    assert_eq!(listed.modules_of(release).count(), 4);
    assert_eq!(listed.kernel_releases(), ["6.12.1-amd64", "6.12.1-amd64+x"]);
    assert_eq!(listed.segments.len(), 2);
}

#[test]
fn hard_links_share_what_the_last_brings() {
    let image = [
        raw("a", [FILE, 3, 0, 7], b""),
        raw("b", [FILE, 3, 0, 7], b""),
        raw("other", [FILE, 1, 1, 8], b"o"),
        raw("c", [FILE, 3, 5, 7], b"hello"),
        trailer(),
        raw("d", [FILE, 2, 0, 7], b""),
        trailer(),
    ]
    .concat();
    let listed = read_image(&image, &Limits::default(), |path| path == "a").unwrap();
    for path in ["a", "b", "c"] {
        assert_eq!(listed.entries[path].size, 5, "{path}");
        assert_eq!(listed.file(path), Some(&b"hello"[..]), "{path}");
    }
    assert_eq!(listed.entries["d"].size, 0, "inode numbers mean nothing across archives");
    assert_eq!(listed.entries["other"].data, None);
}

#[test]
fn a_later_member_replaces_but_no_directory_with_children() {
    let image = [
        archive(vec![NewcEntry::file("etc/x", "old"), NewcEntry::file("lib/m", "m")]),
        archive(vec![NewcEntry::file("etc/x", "new"), NewcEntry::symlink("lib", "usr/lib")]),
    ]
    .concat();
    let listed = read(&image).unwrap();
    assert_eq!(listed.file("etc/x"), Some(&b"new"[..]));
    assert_eq!(listed.entries["etc/x"].segment, 1);
    assert_eq!(listed.entries["lib"].kind, EntryKind::Directory);
    assert_eq!(listed.file("lib/m"), Some(&b"m"[..]));
}

#[test]
fn members_without_a_directory_are_orphans() {
    let image = write_newc(&[
        NewcEntry::file("lib/modules/6.1/vfio-pci.ko", "x"),
        NewcEntry::file("dev/console", "x"),
        NewcEntry::file("top", "x"),
    ]);
    let listed = read(&image.unwrap()).unwrap();
    assert_eq!(listed.orphans().collect::<Vec<_>>(), ["lib/modules/6.1/vfio-pci.ko"]);
    assert_eq!(listed.module("6.1", "vfio_pci"), None);
    assert!(listed.file("top").is_some() && listed.file("dev/console").is_some());
}

#[test]
fn odd_names() {
    let mut latin = NewcEntry::file("etc/x", "1");
    latin.path = b"etc/caf\xe9".to_vec();
    let image = archive(vec![
        latin,
        NewcEntry::file(".//etc/./y", "2"),
        NewcEntry::symlink("loop", "loop"),
        NewcEntry::file("loop/inside", "3"),
        NewcEntry::symlink("abs", "/etc"),
        NewcEntry::file("abs/../z", "4"),
    ]);
    let listed = read(&image).unwrap();
    assert_eq!(listed.file("etc/caf\\xe9"), Some(&b"1"[..]));
    assert_eq!(listed.file("etc/y"), Some(&b"2"[..]));
    assert_eq!(listed.file("abs/y"), Some(&b"2"[..]));
    assert_eq!(listed.file("z"), Some(&b"4"[..]));
    assert_eq!(listed.file("loop/inside"), None);
    assert_eq!(listed.orphans().collect::<Vec<_>>(), ["loop/inside"]);
}

#[test]
fn boot_configuration_at_the_end_is_set_aside() {
    let plain = archive(vec![NewcEntry::file("init", "x")]);
    let data = b"kernel.quiet\n\0\0\0";
    let mut image = plain.clone();
    image.extend(data);
    image.extend((data.len() as u32).to_le_bytes());
    image.extend(7u32.to_le_bytes());
    image.extend(b"#BOOTCONFIG\n");
    for padding in 0..4 {
        let padded = [image.clone(), vec![0; padding]].concat();
        let listed = read(&padded).unwrap();
        assert_eq!(listed.bootconfig, Some(plain.len()..padded.len()));
        assert_eq!(listed.entries.len(), 1);
    }
}

fn packed(format: Format, archive: &[u8]) -> Vec<u8> {
    if format == Format::Lz4Legacy {
        let block = lz4_flex::block::compress(archive);
        return [&0x184c_2102_u32.to_le_bytes()[..], &(block.len() as u32).to_le_bytes(), &block].concat();
    }
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(archive, flate2::Compression::best()).read_to_end(&mut packed).unwrap();
    packed
}

#[test]
fn an_archive_follows_an_image_of_any_length() {
    let plain = archive(vec![NewcEntry::file("etc/modprobe.d/a.conf", "new")]);
    let own = to_follow(&plain).unwrap();
    for (format, alone) in [(Format::Gzip, true), (Format::Lz4Legacy, false)] {
        let mut seen = [false; 4];
        for salt in 0u32..200 {
            let noise: String = (0..salt).map(|at| char::from(b'a' + (at.wrapping_mul(2_654_435_761) >> 13) as u8 % 26)).collect();
            let image = packed(format, &archive(vec![NewcEntry::file("etc/modprobe.d/a.conf", noise), NewcEntry::file("init", "x")]));
            seen[image.len() % 4] = true;
            let both = read(&[&image[..], &own].concat()).unwrap();
            assert_eq!(both.file("etc/modprobe.d/a.conf"), Some(&b"new"[..]), "{} bytes before", image.len());
            assert!(both.file("init").is_some());
            assert_eq!(
                read(&[&image[..], &plain].concat()).is_ok(),
                alone && image.len().is_multiple_of(4),
                "plain after {} bytes",
                image.len()
            );
        }
        assert_eq!(seen, [true; 4]);
    }
}

#[test]
fn refuses_by_kind() {
    let good = archive(vec![NewcEntry::file("a", "x")]);
    assert_eq!(read(b""), Err(ImageError::Empty));
    assert_eq!(read(&[0; 4096]), Err(ImageError::OnlyZeros(4096)));
    let unknown = read(b"hello world").unwrap_err();
    assert!(matches!(unknown, ImageError::UnknownFormat { segment: 0, offset: 0, .. }));
    let lzop = read(&[&good[..], b"\x89LZO\0\r\n\x1a\n"].concat()).unwrap_err();
    let expected = ImageError::Unsupported { segment: 1, offset: good.len(), format: "lzop" };
    assert_eq!(lzop, expected);
    assert!(lzop.to_string().contains("lzop"));
    let shifted = [&[0, 0], &good[..]].concat();
    assert_eq!(fault(&shifted), Fault::Misaligned);
    let junk = read(&[&good[..], b"junk"].concat()).unwrap_err();
    assert!(matches!(junk, ImageError::UnknownFormat { segment: 1, .. }));
}

#[test]
fn refuses_hostile_headers() {
    let bad = |image: &[u8], expected: &str| match fault(image) {
        Fault::Header { field, position: 0 } => assert!(field.contains(expected), "{field}"),
        other => panic!("{expected}: {other:?}"),
    };
    let good = raw("name", [FILE, 1, 0, 1], b"");
    let patch = |at: usize, with: &[u8]| {
        let mut image = [good.clone(), trailer()].concat();
        image[at..at + with.len()].copy_from_slice(with);
        image
    };
    bad(&patch(94, b"FFFFFFFF"), "name size");
    bad(&patch(94, b"00000000"), "name size");
    bad(&patch(94, b"00001001"), "name size");
    bad(&patch(94, b"00000004"), "name, which does not end");
    bad(&patch(14, b"0x0081a4"), "mode");
    bad(&patch(6, b"+1234567"), "inode");
    bad(&patch(14, b"00000000"), "file type");
    bad(&patch(112, b"\0"), "name, which does not end");
    bad(&raw(&"a/".repeat(200), [FILE, 1, 0, 1], b""), "too deep");
    bad(&raw("l", [0o120_777, 1, 5000, 1], &[b'x'; 5000]), "link target");
    let huge = fault(&patch(54, b"FFFFFFFF"));
    assert!(matches!(huge, Fault::Limit { what: "bytes in a file that is to be kept", .. }), "{huge:?}");
    let skipped = read_image(&patch(54, b"FFFFFFFF"), &Limits::default(), |_| false).unwrap_err();
    let ImageError::Segment { fault: Fault::Truncated { inside, .. }, .. } = skipped else {
        panic!("{skipped:?}");
    };
    assert_eq!(inside, "a file");
}

#[test]
fn checks_the_sum_of_070702_members() {
    let mut image = [raw("name", [FILE, 1, 3, 1], b"abc"), trailer()].concat();
    image[5] = b'2';
    image[102..110].copy_from_slice(b"00000126");
    assert_eq!(read(&image).unwrap().file("name"), Some(&b"abc"[..]));
    image[102..110].copy_from_slice(b"00000127");
    assert_eq!(fault(&image), Fault::Checksum { path: "name".into() });
}

#[test]
fn keeps_within_limits() {
    let image = archive(vec![NewcEntry::file("a", vec![1; 1000]), NewcEntry::file("b", vec![2; 1000])]);
    let limits = Limits::default();
    let refused = |limits: Limits, what: &str| {
        let error = read_image(&image, &limits, |_| true).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    };
    refused(Limits { max_total_unpacked: 2000, ..limits }, "more than 2000 unpacked bytes");
    refused(Limits { max_entries: 1, ..limits }, "more than 1 entries");
    refused(Limits { max_kept_file: 999, ..limits }, "more than 999 bytes in a file");
    refused(Limits { max_kept_total: 1500, ..limits }, "more than 1500 bytes of names");
    let exact = Limits { max_entries: 2, max_kept_file: 1000, max_kept_total: 2004, ..limits };
    assert!(read_image(&image, &exact, |_| true).is_ok());
    assert!(read_image(&image, &Limits { max_kept_file: 0, ..limits }, |_| false).is_ok());
}

#[test]
fn every_truncation_of_a_plain_archive_is_refused() {
    let image = archive(vec![NewcEntry::file("etc/a", vec![1; 50]), NewcEntry::symlink("l", "etc")]);
    let end = image.iter().rposition(|byte| *byte != 0).unwrap() + 2;
    for length in 0..end {
        assert!(read(&image[..length]).is_err(), "{length}");
    }
    for length in end.next_multiple_of(4)..image.len() {
        assert!(read(&image[..length]).is_ok(), "{length}");
    }
}

/// Names made to be expensive: deep, each in a directory of its own, behind a chain of long links.
#[test]
fn hostile_names_cost_little() {
    let mut image = Vec::new();
    let long = "./x/../".repeat(500);
    for link in 0..40 {
        let target = format!("{long}l{}", link + 1);
        image.extend(raw(&format!("l{link}"), [0o120_777, 1, target.len() as u32, 1], target.as_bytes()));
    }
    for member in 0..5_000 {
        let name = format!("l0/{member}/{}", "d/".repeat(60));
        image.extend(raw(&name, [FILE, 1, 0, 1], b""));
    }
    image.extend(trailer());
    let start = std::time::Instant::now();
    assert!(read(&image).is_ok());
    let took = start.elapsed();
    assert!(took < std::time::Duration::from_secs(20), "{took:?}");
}
