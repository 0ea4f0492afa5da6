use super::*;
use crate::Host;
use crate::iommu::{GroupTable, foretell::GroupOrigin};

/// Two root ports, one with ACS, and a card behind each.
const LISTING: &str = "\
00:01.0 PCI bridge [0604]: Intel Corporation 6th-10th Gen Core Processor PCIe Controller (x16) [8086:1901] (rev 07) (prog-if 00 [Normal decode])
\tControl: I/O+ Mem+ BusMaster+
\tBus: primary=00, secondary=01, subordinate=01, sec-latency=0
\tCapabilities: [a0] Express (v2) Root Port (Slot+), MSI 00
\tCapabilities: [d94 v1] Secondary PCI Express
\tKernel driver in use: pcieport

00:1c.0 PCI bridge [0604]: Intel Corporation Cannon Lake PCH PCI Express Root Port #1 [8086:a338] (rev f0) (prog-if 00 [Normal decode])
\tControl: I/O+ Mem+ BusMaster+
\tBus: primary=00, secondary=02, subordinate=02, sec-latency=0
\tCapabilities: [40] Express (v2) Root Port (Slot+), MSI 00
\tCapabilities: [140 v1] Access Control Services
\t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd- EgressCtrl- DirectTrans-
\t\tACSCtl:\tSrcValid- TransBlk- ReqRedir- CmpltRedir- UpstreamFwd- EgressCtrl- DirectTrans-

01:00.0 VGA compatible controller [0300]: NVIDIA Corporation TU117M [10de:1f91] (rev a1) (prog-if 00 [VGA controller])
\tSubsystem: ASUSTeK Computer Inc. Device [1043:109f]
\tControl: I/O+ Mem+ BusMaster+
\tCapabilities: [78] Express (v2) Legacy Endpoint, MSI 00

01:00.1 Audio device [0403]: NVIDIA Corporation Device [10de:10fa] (rev a1)
\tControl: I/O- Mem+ BusMaster+
\tCapabilities: [78] Express (v2) Endpoint, MSI 00

02:00.0 Network controller [0280]: Intel Corporation Wi-Fi 6 AX200 [8086:2723] (rev 1a)
\tControl: I/O- Mem+ BusMaster+
\tCapabilities: [40] Express (v2) Endpoint, MSI 00
\tKernel driver in use: iwlwifi
";

const GROUPS: &str = "00:01.0 01:00.0 01:00.1 | 00:1c.0 | 02:00.0";

fn groups(text: &str) -> (GroupOrigin, String) {
    let listings = read(text.as_bytes());
    assert_eq!(listings.len(), 1, "{text}");
    shown(&listings[0])
}

fn shown(listing: &Listing) -> (GroupOrigin, String) {
    let table = GroupTable::of(&Host::from_capture(listing.capture.clone()));
    let short = |address: &PciAddress| address.to_string().trim_start_matches("0000:").to_owned();
    let mut rows: Vec<String> = table.rows.iter().map(|row| row.devices.iter().map(short).collect::<Vec<_>>().join(" ")).collect();
    rows.sort();
    (table.origin, rows.join(" | "))
}

/// The listing as people paste it.
fn pasted() -> Vec<(&'static str, String)> {
    let wrap = |width: usize| {
        let mut out = String::new();
        for line in LISTING.lines() {
            let mut column = 0;
            for word in line.split(' ') {
                if column + word.len() > width {
                    out.push('\n');
                    column = 0;
                } else if column > 0 {
                    out.push(' ');
                }
                column += word.len() + 1;
                out.push_str(word);
            }
            out.push('\n');
        }
        out
    };
    let each = |mark: &str| LISTING.lines().map(|line| format!("{mark}{line}\n")).collect::<String>();
    vec![
        ("as it is", LISTING.to_owned()),
        ("with carriage returns", LISTING.replace('\n', "\r\n")),
        ("quoted", each("> ")),
        ("quoted twice", each("> >")),
        ("indented", each("    ")),
        (
            "in a list",
            LISTING.lines().map(|line| if line.starts_with(['0']) { format!("- {line}\n") } else { format!("{line}\n") }).collect(),
        ),
        ("wrapped at 72", wrap(72)),
        ("wrapped at 40", wrap(40)),
        ("wrapped and quoted", wrap(60).lines().map(|line| format!("> {line}\n")).collect()),
        ("without indentation", LISTING.replace('\t', "")),
        ("without blank lines", LISTING.replace("\n\n", "\n")),
        ("with twice as many", LISTING.replace('\n', "\n\n")),
        ("fenced, with a prompt", format!("Hi all!\n```\nuser@host:~$ sudo lspci -nnvvv\n{LISTING}```\nThanks: a lot\n")),
        ("in a forum's box", format!("Hello,\n[code]{LISTING}[/code]\n[b]Thanks[/b]\n")),
        ("behind a folded title", format!("<details><summary>lspci</summary>\n<pre class=\"text\">{LISTING}</pre></details>")),
        ("coloured line by line", LISTING.lines().map(|line| format!("<span class=\"line\">{line}</span>\n")).collect()),
        ("with the times of a journal", each("May 01 12:00:00 host lspci[123]: ")),
        ("as a comment", each("# ")),
        ("numbered", LISTING.lines().enumerate().map(|(at, line)| format!("{:5}\t{line}\n", at + 1)).collect()),
        ("found by grep", LISTING.lines().enumerate().map(|(at, line)| format!("lspci.txt:{}:{line}\n", at + 1)).collect()),
        ("as raw mail", LISTING.replace('=', "=3D").replace("BusMaster+", "Bus=\nMaster+")),
        ("with an editor's dashes", LISTING.replace('-', "\u{2013}")),
        ("with line ends of old", LISTING.replace('\n', "\r")),
        ("with backslashes", LISTING.replace('[', "\\[").replace(']', "\\]").replace('_', "\\_")),
        ("in a web page", format!("<pre><code>{}</code></pre>", LISTING.replace('\n', "<br>"))),
        (
            "with domains",
            LISTING.lines().map(|line| if line.starts_with('0') { format!("0000:{line}\n") } else { format!("{line}\n") }).collect(),
        ),
        ("without numbers, by name", LISTING.replace(" [8086:1901]", "").replace(" [8086:a338]", "").replace(" [0604]", "")),
        ("in Latin-1", format!("Gr\u{fc}\u{df}e\n{LISTING}")),
    ]
}

#[test]
fn however_it_was_pasted_the_groups_are_the_same() {
    for (how, text) in pasted() {
        assert_eq!(groups(&text), (GroupOrigin::Predicted, GROUPS.to_owned()), "{how}:\n{text}");
    }
}

#[test]
fn a_name_without_a_number_is_no_number_and_no_quirk() {
    let unnamed = "00:1c.0 PCI bridge: Intel Corporation Port Of Tomorrow #1 (prog-if 00 [Normal decode])\n\tControl: I/O+\n\tBus: primary=00, secondary=02, subordinate=02\n\tCapabilities: [40] Express (v2) Root Port (Slot+), MSI 00\n";
    let host = Host::from_capture(read(unnamed.as_bytes()).swap_remove(0).capture);
    let address = "00:1c.0".parse().unwrap();
    let port = host.device(address).unwrap();
    assert_eq!((port.id, port.label.as_deref()), (None, Some("Intel Corporation Port Of Tomorrow #1")));
    assert_eq!(crate::iommu::foretell::foretell(&host).isolates(address), Some(false));
}

#[test]
fn in_utf_16_it_is_the_same() {
    for mark in [&[0xff, 0xfe][..], &[]] {
        let wide: Vec<u8> = mark.iter().copied().chain(LISTING.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        assert_eq!(shown(&read(&wide)[0]).1, GROUPS);
    }
    let wide: Vec<u8> = [0xfe, 0xff].into_iter().chain(LISTING.encode_utf16().flat_map(u16::to_be_bytes)).collect();
    assert_eq!(shown(&read(&wide)[0]).1, GROUPS);
}

/// The first word of a wrapped line may be one with which a line of its own begins.
#[test]
fn a_name_that_was_wrapped_before_a_key_is_whole() {
    let text = "00:00.2 IOMMU: Advanced Micro Devices, Inc. [AMD] Renoir/Cezanne\nIOMMU\n\tFlags: fast devsel\n\n00:05.0 RAM memory: A\nMemory Controller [8086:1234]\n";
    let host = Host::from_capture(read(text.as_bytes()).swap_remove(0).capture);
    let ids: Vec<String> = host.devices.iter().map(|device| device.id.unwrap().to_string()).collect();
    assert_eq!(ids, ["1022:1631", "8086:1234"]);
}

#[test]
fn without_root_only_bounds_are_known() {
    let mut user = String::new();
    for line in LISTING.lines().filter(|line| !line.contains("ACSC")) {
        match line.split_once("Capabilities:") {
            Some((indent, _)) => user.push_str(&format!("{indent}Capabilities: &lt;access denied&gt;\n")),
            None => user.push_str(&format!("{line}\n")),
        }
    }
    assert_eq!(groups(&user), (GroupOrigin::Bounds, "00:01.0 | 00:1c.0 | 01:00.0 | 01:00.1 | 02:00.0".to_owned()));
    let short: String = LISTING.lines().filter(|line| line.starts_with('0')).map(|line| format!("{line}\n")).collect();
    let listings = read(short.as_bytes());
    assert_eq!((listings.len(), listings[0].detailed, listings[0].functions), (1, 0, 5));
    assert_eq!(shown(&listings[0]).0, GroupOrigin::Bounds);
}

#[test]
fn a_file_that_was_cut_off_says_nothing_of_what_it_lacks() {
    let cut = LISTING.split("\tCapabilities: [140 v1]").next().unwrap().trim_end();
    let (origin, groups) = groups(cut);
    assert_eq!((origin, groups.as_str()), (GroupOrigin::Predicted, "00:01.0 | 00:1c.0"), "without anything behind it, nothing changes");
    let host = Host::from_capture(read(cut.as_bytes()).swap_remove(0).capture);
    assert_eq!(crate::iommu::foretell::foretell(&host).isolates("00:1c.0".parse().unwrap()), None);
}

#[test]
fn several_listings_of_one_machine_are_one_and_two_machines_are_two() {
    let short: String = LISTING.lines().filter(|line| line.starts_with('0')).map(|line| format!("{line}\n")).collect();
    assert_eq!(groups(&format!("{short}\n{LISTING}")).1, GROUPS);
    assert_eq!(groups(&format!("{LISTING}\n$ lspci -nn\n{short}")).1, GROUPS);
    let other = LISTING.replace("ACSCap:\tSrcValid+", "ACSCap:\tSrcValid-");
    let two = read(format!("before:\n{LISTING}\nafter:\n{other}").as_bytes());
    assert_eq!(two.iter().map(|listing| listing.functions).collect::<Vec<_>>(), [5, 5]);
    assert_ne!(two[0].capture, two[1].capture);
}

#[test]
fn groups_that_the_listing_shows_are_the_kernels() {
    let mut text = LISTING.replace("\tControl:", "\tIOMMU group: 7\n\tControl:");
    assert_eq!(groups(&text).0, GroupOrigin::Kernel);
    assert_eq!(groups(&text).1.split(' ').count(), 5);
    text = "IOMMU Group 0:\n\t00:01.0 PCI bridge [0604]: A [8086:1901]\nIOMMU Group 1:\n\t01:00.0 VGA compatible controller [0300]: B [10de:1f91]\n".into();
    assert_eq!(groups(&text), (GroupOrigin::Kernel, "00:01.0 | 01:00.0".to_owned()));
    text =
        "IOMMU Group 3 00:01.0 PCI bridge [0604]: A [8086:1901]\nIOMMU Group 3 01:00.0 VGA compatible controller [0300]: B [10de:1f91]\n"
            .into();
    assert_eq!(groups(&text), (GroupOrigin::Kernel, "00:01.0 01:00.0".to_owned()));
    text =
        "IOMMU GROUP 0\n (0) 00:01.0 PCI bridge [0604]: A [8086:1901]\nIOMMU GROUP 1\n (1) 01:00.0 VGA compatible controller [0300]: B\n"
            .into();
    assert_eq!(groups(&text), (GroupOrigin::Kernel, "00:01.0 | 01:00.0".to_owned()));
    text =
        "00:01.0 PCI bridge: A\n Flags: fast devsel, IRQ 3,\nIOMMU group 4\n\n00:02.0 PCI bridge: B\n Flags: fast devsel, IOMMU group 5\n"
            .into();
    assert_eq!(groups(&text), (GroupOrigin::Kernel, "00:01.0 | 00:02.0".to_owned()));
}

#[test]
fn what_is_no_listing_gives_none_and_no_panic() {
    for bytes in [&b""[..], b"\n\n", b"hello: world\n", b"\xff\xfe\x00", b"00:01.0", b"00:01.0 \x1b", b"IOMMU Group 99999999999999 x\n"] {
        assert_eq!(read(bytes), []);
    }
    assert_eq!(read(b"00:01.0 :\n00: zz\nBus: primary=zz\n"), read(b"00:01.0 :\n"));
}

#[test]
fn half_a_listing_at_any_byte_is_no_panic() {
    for end in (0..LISTING.len()).step_by(61) {
        let whole = groups(LISTING).1;
        for listing in read(&LISTING.as_bytes()[..end]) {
            assert!(shown(&listing).1.len() <= whole.len());
        }
    }
}

/// As a page's translator leaves `lspci -nnk`.
#[test]
fn a_translated_listing_keeps_its_functions_and_their_numbers() {
    let text = "\
00:02.0 VGA-kompatibler Controller [0300]: Intel Corporation UHD Graphics 630 [8086:3e92]
\tUntersystem: ASUSTeK Computer Inc. Device [1043:8694]
\tKernel-Treiber in Benutzung: i915
01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GP106 [10de:1c03]
(rev a1)
\tKernelmodule: nouveau
01:00.1 Audio-Ger\u{e4}t [0403]: NVIDIA Corporation GP106 High Definition Audio Controller [10de:10f1] (rev a1)
02:00.0 \u{421}\u{435}\u{442}\u{435}\u{432}\u{43e}\u{439} [0280]: Intel Corporation Wi-Fi 6 AX200 [8086:2723] (rev 1a)
";
    let listings = read(text.as_bytes());
    let host = Host::from_capture(listings[0].capture.clone());
    let shown: Vec<String> = host.devices.iter().map(|function| format!("{} {}", function.address, function.id.unwrap())).collect();
    assert_eq!(shown, ["0000:00:02.0 8086:3e92", "0000:01:00.0 10de:1c03", "0000:01:00.1 10de:10f1", "0000:02:00.0 8086:2723"]);
    assert_eq!(host.devices[1].revision, Some(0xa1));
    // A kernel message about a function is none of its first lines.
    assert!(read("01:00.0 Ger\u{e4}t: nicht bereit\n".as_bytes()).is_empty());
}
