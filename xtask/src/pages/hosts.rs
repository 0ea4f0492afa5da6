//! Whose pages are looked at: hosts of the fixtures, and invented ones that are hard to draw.

use super::Result;
use cede_model::{Capture, Entry, capture_text};
use std::fs;
use std::path::{Path, PathBuf};

/// One host.
pub(super) struct Subject {
    pub(super) name: String,
    /// Options of cede that name it.
    pub(super) source: [String; 2],
    /// Too many functions for pictures.
    pub(super) is_crowd: bool,
}

const CAPTURES: [&str; 5] =
    ["acer-alder-lake-vmd", "arch-gtx1650-laptop", "asus-wrx80e-sage", "gigabyte-x570-aorus-master", "hp-omen-obelisk-i7-8700"];
const LISTINGS: [&str; 3] = ["noacs-sreeragvn", "mac-mini-2018-egpu", "orion-o6-arm64"];

/// A capture at the workspace's `fixtures/hosts`.
pub(super) fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(path)
}

/// All of them; what is invented is written to a directory.
pub(super) fn subjects(dir: &Path) -> Result<Vec<Subject>> {
    let subject = |name: &str, option: &str, path: &Path, is_crowd| Subject {
        name: name.to_owned(),
        source: [option.to_owned(), path.display().to_string()],
        is_crowd,
    };
    let mut list: Vec<Subject> =
        CAPTURES.iter().map(|name| subject(name, "--host", &fixture(&format!("hosts/{name}/host.capture")), false)).collect();
    list.extend(LISTINGS.iter().map(|name| subject(name, "--lspci", &fixture(&format!("lspci/{name}/listing.txt")), false)));
    let bare = dir.join("bare.txt");
    fs::write(&bare, without_capabilities(&fs::read_to_string(fixture("lspci/mac-mini-2018-egpu/listing.txt"))?))?;
    list.push(subject("bare-listing", "--lspci", &bare, false));
    let laptop = capture_text::parse(&fs::read_to_string(fixture("hosts/hp-omen-obelisk-i7-8700/host.capture"))?)?;
    for (name, capture, is_crowd) in [
        ("half-ceded", half_ceded(laptop.clone()), false),
        ("hostile", hostile(laptop), false),
        ("tiny", crowd(6), false),
        ("crowd-600", crowd(600), false),
        ("crowd-10000", crowd(10_000), true),
        ("motley-3000", motley(3000), true),
    ] {
        let path = dir.join(format!("{name}.capture"));
        fs::write(&path, capture_text::render(&capture))?;
        list.push(subject(name, "--host", &path, is_crowd));
    }
    Ok(list)
}

/// As `lspci -nn` prints it.
fn without_capabilities(listing: &str) -> String {
    listing.lines().filter(|line| !line.starts_with(char::is_whitespace)).map(|line| format!("{line}\n")).collect()
}

fn file(capture: &mut Capture, address: &str, name: &str, text: &str) {
    capture.insert(format!("/sys/bus/pci/devices/{address}/{name}"), Entry::File(text.as_bytes().to_vec()));
}

fn driver(capture: &mut Capture, address: &str, name: &str) {
    capture.insert(format!("/sys/bus/pci/devices/{address}/driver"), Entry::Link(format!("../../../bus/pci/drivers/{name}")));
}

/// The graphics card is ceded, its sound is not; the system is on the NVMe disk.
fn half_ceded(mut capture: Capture) -> Capture {
    driver(&mut capture, "0000:01:00.0", "vfio-pci");
    driver(&mut capture, "0000:01:00.1", "snd_hda_intel");
    let mounts = "29 1 259:2 / / rw,relatime - ext4 /dev/nvme0n1p2 rw\n";
    capture.insert("/proc/self/mountinfo", Entry::File(mounts.into()));
    let disk = "../../devices/pci0000:00/0000:00:1d.0/0000:04:00.0/nvme/nvme0/nvme0n1";
    capture.insert("/sys/class/block/nvme0n1", Entry::Link(disk.to_owned()));
    capture.insert("/sys/class/block/nvme0n1p2", Entry::Link(format!("{disk}/nvme0n1p2")));
    capture.insert("/sys/class/block/nvme0n1p2/dev", Entry::File(b"259:2\n".to_vec()));
    capture
}

/// Names that want to be more than names.
fn hostile(mut capture: Capture) -> Capture {
    let names = [
        ("0000:01:00.0", "<script>document.title='run'<\u{2044}script><img src=x onerror=alert(1)>".to_owned()),
        ("0000:01:00.1", "\"' onmouseover='alert(1)' style=\"position:fixed\" &lt;&#60;".to_owned()),
        ("0000:02:00.0", "\u{202e}reverse\u{2066}\u{200f}שלום مرحبا עולם".to_owned()),
        ("0000:03:00.0", "w".repeat(5000)),
        ("0000:04:00.0", "]]>--></style></title></textarea>\u{1b}[31m\u{9b}2J\u{7}".replace('/', "\u{2044}")),
    ];
    for (address, name) in names {
        driver(&mut capture, address, &name);
    }
    let release = format!("ID=x\nPRETTY_NAME=\"</title></style><script>alert(1)</script><b>{}\"\n", "شركة ".repeat(200));
    capture.insert("/etc/os-release", Entry::File(release.into_bytes()));
    capture.insert("/proc/cmdline", Entry::File("quiet <img src=http://127.0.0.1:9/x> intel_iommu=off \"&amp;".into()));
    capture.insert("/proc/sys/kernel/osrelease", Entry::File(b"6.1.0-<svg/onload=alert(1)>\n".to_vec()));
    capture
}

fn function(capture: &mut Capture, address: &str, above: &str, ids: (&str, &str, &str), group: u32) {
    capture.insert(format!("/sys/bus/pci/devices/{address}"), Entry::Link(format!("../../../devices/{above}/{address}")));
    file(capture, address, "vendor", ids.0);
    file(capture, address, "device", ids.1);
    file(capture, address, "class", ids.2);
    let group = format!("../../../kernel/iommu_groups/{group}");
    capture.insert(format!("/sys/bus/pci/devices/{address}/iommu_group"), Entry::Link(group));
}

const PORT: (&str, &str, &str) = ("0x8086\n", "0x1901\n", "0x060400\n");
const CARD: (&str, &str, &str) = ("0x8086\n", "0x1572\n", "0x020000\n");
const VIRTUAL: (&str, &str, &str) = ("0x8086\n", "0x154c\n", "0x020000\n");

/// Network cards with virtual functions, 250 behind each port, each in a group of its own.
fn crowd(count: u32) -> Capture {
    tree(count, 250, |at| if at == 0 { CARD } else { VIRTUAL })
}

/// Functions of which no two neighbours are alike.
fn motley(count: u32) -> Capture {
    let kinds = [CARD, VIRTUAL, ("0x144d\n", "0xa808\n", "0x010802\n"), ("0x10de\n", "0x1f91\n", "0x030000\n")];
    tree(count, 30, |at| kinds.get(at as usize % kinds.len()).copied().unwrap_or(CARD))
}

fn tree(count: u32, each: u32, kind: impl Fn(u32) -> (&'static str, &'static str, &'static str)) -> Capture {
    let mut capture = Capture::new();
    let mut group = 0;
    let mut left = count;
    let mut port = 0;
    while left > 0 {
        let (domain, bus) = (port / 200, port % 200 + 1);
        let root = format!("pci{domain:04x}:00");
        let above = format!("{domain:04x}:00:{:02x}.{}", port % 200 / 8 + 1, port % 200 % 8);
        function(&mut capture, &above, &root, PORT, group);
        driver(&mut capture, &above, "pcieport");
        for at in 0..each.min(left - 1) {
            group += 1;
            let address = format!("{domain:04x}:{bus:02x}:{:02x}.{}", at / 8, at % 8);
            function(&mut capture, &address, &format!("{root}/{above}"), kind(at), group);
            driver(&mut capture, &address, if at == 0 { "i40e" } else { "iavf" });
        }
        left -= 1 + each.min(left - 1);
        group += 1;
        port += 1;
    }
    capture
}
