//! Images made by the tools that distributions use. A missing tool fails the test: CI installs
//! cpio, gzip, xz-utils, zstd, lz4, bzip2 and lzop.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests run the real packers on real files")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cede_model::initramfs_image::{EntryKind, Format, ImageError, InitramfsImage, Limits, read_image};

const PACKERS: &[(Format, &[&str])] = &[
    (Format::Gzip, &["gzip", "-n", "-9"]),
    (Format::Xz, &["xz", "--check=crc32", "-T1"]),
    (Format::Xz, &["xz", "--check=crc32", "--x86", "--lzma2=dict=1MiB"]),
    (Format::Lzma, &["xz", "--format=lzma", "-9"]),
    (Format::Bzip2, &["bzip2", "-9"]),
    (Format::Zstd, &["zstd", "-q", "-19", "-T0"]),
    (Format::Zstd, &["zstd", "-q", "-1"]),
    (Format::Lz4Legacy, &["lz4", "-q", "-l", "-9"]),
    (Format::Lz4Frame, &["lz4", "-q", "-9"]),
    (Format::Lz4Frame, &["lz4", "-q", "-BD", "-B4", "--no-frame-crc"]),
];

fn pipe(argv: &[&str], directory: &Path, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(argv[0])
        .args(&argv[1..])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; install the packages named above", argv[0]));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(output.status.success(), "{argv:?}");
    output.stdout
}

fn pack(argv: &[&str], input: &[u8]) -> Vec<u8> {
    let mut argv = argv.to_vec();
    argv.push("-c");
    pipe(&argv, Path::new("/"), input)
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cede-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, path: &str, data: &[u8]) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }

    fn cpio(&self, format: &str) -> Vec<u8> {
        let find = Command::new("find").arg(".").current_dir(&self.0).output().unwrap();
        let mut names: Vec<&[u8]> = find.stdout.split(|byte| *byte == b'\n').collect();
        names.sort();
        let list: Vec<u8> = names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(&b'\n');
        pipe(&["cpio", "--quiet", "-o", "-H", format, "--reproducible"], &self.0, &[&list[..], b"\n"].concat())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Rng(u64);

impl Rng {
    /// xorshift64* by Vigna.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// A small main archive: half noise, half text.
fn main_archive(name: &str) -> Vec<u8> {
    let scratch = Scratch::new(name);
    let mut rng = Rng(42);
    let noise: Vec<u8> = (0..40_000).map(|_| rng.next() as u8).collect();
    scratch.write("usr/lib/modules/6.12.1/kernel/vfio-pci.ko.zst", &noise);
    scratch.write("usr/lib/modules/6.12.1/modules.dep", &b"kernel/vfio-pci.ko.zst:\n".repeat(2000));
    scratch.write("etc/modprobe.d/vfio.conf", b"options vfio-pci ids=10de:1b80\n");
    symlink("usr/lib", scratch.0.join("lib")).unwrap();
    fs::hard_link(scratch.0.join("etc/modprobe.d/vfio.conf"), scratch.0.join("etc/linked")).unwrap();
    fs::set_permissions(scratch.0.join("etc/linked"), fs::Permissions::from_mode(0o600)).unwrap();
    scratch.cpio("newc")
}

fn early_archive(name: &str) -> Vec<u8> {
    let scratch = Scratch::new(name);
    scratch.write("kernel/x86/microcode/AuthenticAMD.bin", &[7; 3000]);
    scratch.cpio("newc")
}

fn read(image: &[u8]) -> Result<InitramfsImage, ImageError> {
    read_image(image, &Limits::default(), |path| path.starts_with("etc/"))
}

fn check(listed: &InitramfsImage) {
    let module = listed.module("6.12.1", "vfio_pci").unwrap();
    assert_eq!(module, "usr/lib/modules/6.12.1/kernel/vfio-pci.ko.zst");
    assert_eq!(listed.entries[module].size, 40_000);
    assert_eq!(listed.entries[module].data, None);
    let conf = Some(&b"options vfio-pci ids=10de:1b80\n"[..]);
    assert_eq!(listed.file("etc/modprobe.d/vfio.conf"), conf);
    assert_eq!(listed.file("etc/linked"), conf);
    assert_eq!(listed.entries["etc/linked"].mode, 0o600);
    assert_eq!(listed.entries["lib"].kind, EntryKind::Symlink("usr/lib".into()));
    assert_eq!(listed.orphans().count(), 0);
}

#[test]
fn every_packer_alone_and_behind_an_early_archive() {
    let main = main_archive("alone");
    let early = early_archive("alone-early");
    for (format, argv) in PACKERS {
        let packed = pack(argv, &main);
        let listed = read(&packed).unwrap_or_else(|error| panic!("{argv:?}: {error}"));
        check(&listed);
        assert_eq!(listed.segments.len(), 1);
        assert_eq!(listed.segments[0].format, *format, "{argv:?}");

        let image = [&early[..], &[0; 512], &packed].concat();
        let listed = read(&image).unwrap_or_else(|error| panic!("{argv:?}: {error}"));
        check(&listed);
        assert_eq!(listed.entries["kernel/x86/microcode/AuthenticAMD.bin"].size, 3000);
        let formats: Vec<Format> = listed.segments.iter().map(|segment| segment.format).collect();
        assert_eq!(formats, [Format::Cpio, *format]);
        assert_eq!(listed.segments[1].offset, early.len() + 512);
    }
}

#[test]
fn what_follows_a_compressed_segment_is_read() {
    let main = main_archive("follow");
    let early = early_archive("follow-early");
    for (first, argv) in PACKERS {
        let packed = pack(argv, &main);
        // The legacy lz4 frame has no end but the end of the file or a zero block size.
        let mut image = packed.clone();
        image.resize((image.len() + 4).next_multiple_of(4), 0);
        let second = image.len();
        image.extend(&early);
        image.extend(pack(&["gzip", "-n"], &early));
        let listed = read(&image).unwrap_or_else(|error| panic!("{argv:?}: {error}"));
        check(&listed);
        let found: Vec<Format> = listed.segments.iter().map(|segment| segment.format).collect();
        assert_eq!(found, [*first, Format::Cpio, Format::Gzip], "{argv:?}");
        assert_eq!(listed.segments[1].offset, second, "{argv:?}");
    }
}

#[test]
fn archives_concatenated_inside_one_stream() {
    let both = [main_archive("inside"), early_archive("inside-early")].concat();
    let listed = read(&pack(&["zstd", "-q"], &both)).unwrap();
    check(&listed);
    assert_eq!((listed.segments.len(), listed.segments[0].archives), (1, 2));
}

#[test]
fn the_crc_format_of_cpio() {
    let scratch = Scratch::new("crc");
    scratch.write("etc/a", &[200; 5000]);
    fs::hard_link(scratch.0.join("etc/a"), scratch.0.join("etc/b")).unwrap();
    let image = scratch.cpio("crc");
    let listed = read(&image).unwrap();
    assert_eq!(listed.file("etc/a"), Some(&[200; 5000][..]));
    assert_eq!(listed.file("etc/b"), Some(&[200; 5000][..]));
    let at = image.iter().position(|byte| *byte == 200).unwrap();
    let mut damaged = image;
    damaged[at] = 201;
    assert!(read(&damaged).unwrap_err().to_string().contains("checksum"));
}

#[test]
fn lzop_is_named() {
    let error = read(&pack(&["lzop", "-q"], &main_archive("lzop"))).unwrap_err();
    assert_eq!(error, ImageError::Unsupported { segment: 0, offset: 0, format: "lzop" });
}

#[test]
fn cut_off_streams_are_refused() {
    let main = main_archive("cut");
    let mut rng = Rng(7);
    for (_, argv) in PACKERS {
        let packed = pack(argv, &main);
        let mut lengths: Vec<usize> = (1..40).chain(packed.len() - 40..packed.len()).collect();
        lengths.extend((0..60).map(|_| 1 + rng.below(packed.len() - 1)));
        for length in lengths {
            // The last bytes of a bare LZMA stream only flush its range coder (five bytes), and the content may be whole without them.
            let flush_only = argv.contains(&"--format=lzma") && packed.len() - length <= 5;
            let result = read(&packed[..length]);
            assert!(result.is_err() || flush_only, "{argv:?} cut to {length} of {}", packed.len());
        }
    }
}

/// The legacy lz4 frame has no checksum; all others show every flipped bit.
#[test]
fn flipped_bits_are_refused() {
    let main = main_archive("flip");
    let mut rng = Rng(11);
    for (format, argv) in PACKERS {
        let packed = pack(argv, &main);
        let whole = read(&packed).unwrap();
        let mut unseen = Vec::new();
        for _ in 0..150 {
            let (at, bit) = (rng.below(packed.len()), rng.below(8));
            let mut damaged = packed.clone();
            damaged[at] ^= 1 << bit;
            if let Ok(listed) = read(&damaged) {
                // Header bits without meaning (the gzip time, a flag) may change nothing.
                if listed != whole || at > 16 {
                    unseen.push((at, bit));
                }
            }
        }
        let no_checksum = *format == Format::Lz4Legacy || argv.contains(&"--no-frame-crc");
        assert!(no_checksum || unseen.is_empty(), "{argv:?}: {unseen:?} of {}", packed.len());
    }
}

/// 64 MiB of zeros behind a small archive are refused at the limit, not unpacked.
#[test]
fn a_bomb_stops_at_the_limit() {
    let mut inner = early_archive("bomb");
    inner.resize(inner.len() + (64 << 20), 0);
    let limits = Limits { max_total_unpacked: 8 << 20, ..Limits::default() };
    for (_, argv) in PACKERS {
        let error = read_image(&pack(argv, &inner), &limits, |_| true).unwrap_err();
        assert!(error.to_string().contains("unpacked bytes"), "{argv:?}: {error}");
    }
}
