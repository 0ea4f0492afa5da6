//! The page of a host, through the built binary: what it says, that the host's text stays text, and which files it is written to.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Entry, capture_text};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Output;
use support::{Dir, cede, code, fixture, flat, laptop};

fn laptops() -> String {
    laptop().to_str().unwrap().to_owned()
}

#[track_caller]
fn page(arguments: &[&str]) -> String {
    let output = cede(arguments);
    assert_eq!(code(&output), 0, "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    flat(&String::from_utf8_lossy(&output.stderr))
}

/// The places of some texts, which must come in this order.
#[track_caller]
fn in_order(page: &str, texts: &[&str]) {
    let mut rest = page;
    for text in texts {
        let at = rest.find(text);
        assert!(at.is_some(), "{text} does not come after the ones before it:\n{page}");
        rest = &rest[at.unwrap()..];
    }
}

#[test]
fn verdict_first_and_next_command_last() {
    let page = page(&["--host", &laptops(), "report"]);
    let next = format!("<code>cede --host {} plan 0000:01:00.0</code>", laptops());
    in_order(
        &page,
        &[
            "1 problem stands in the way",
            "7 groups, foretold",
            "the IOMMU is off",
            "CONFIG_INTEL_IOMMU_DEFAULT_ON is not set",
            "intel_iommu=on",
        ],
    );
    in_order(&page, &["group 1, 3 functions", "GeForce GTX 1650", "nvme0n1p2 → /", "(root-disk)", &next]);
    assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("http://") && !page.contains("https://"));
}

#[test]
fn a_listing_says_what_it_does_not_know() {
    let listing = fixture("lspci/hp-omen-obelisk-i7-8700/listing.txt");
    let page = page(&["--lspci", &listing, "report"]);
    in_order(&page, &["go together or not at all", "foretold from the listing", "cede capture FILE", "explain 0000:01:00.0"]);
    assert!(!page.contains("problem"), "nothing was checked");
}

#[test]
fn where_capabilities_were_not_read_no_group_is_promised() {
    let listing = fixture("lspci/noacs-sreeragvn/listing.txt");
    let page = page(&["--lspci", &listing, "report"]);
    in_order(
        &page,
        &["What groups there will be cannot be told", "these are bounds", "id=\"group-0\"", "perhaps 0000:", "explain 0000:01:00.0"],
    );
    assert!(!page.contains("a group of its own"));
}

#[test]
fn ceded_functions_and_those_that_block_them_are_marked() {
    let dir = Dir::new("report-ceded");
    let mut capture = capture_text::parse(&fs::read_to_string(fixture("hosts/hp-omen-obelisk-i7-8700/host.capture")).unwrap()).unwrap();
    for (function, driver) in [("0000:01:00.0", "vfio-pci"), ("0000:01:00.1", "snd_hda_intel")] {
        capture.insert(format!("/sys/bus/pci/devices/{function}/driver"), Entry::Link(format!("../../../bus/pci/drivers/{driver}")));
    }
    fs::write(dir.path("host"), capture_text::render(&capture)).unwrap();
    let page = page(&["--host", &dir.path("host"), "report"]);
    in_order(&page, &["1 problem stands in the way", "group 1 is not wholly ceded", "id=\"group-1\"", "✔ ceded", "✖ blocks"]);
}

#[test]
fn text_of_the_host_stays_text() {
    let dir = Dir::new("report-hostile");
    let mut capture = capture_text::parse(&fs::read_to_string(laptop()).unwrap()).unwrap();
    let name = "<script>alert('1')<img src=x onerror=\"a\">&lt;\u{202e}\u{1b}[2J\u{9b}2J";
    capture.insert("/sys/bus/pci/devices/0000:01:00.0/driver", Entry::Link(format!("../../../bus/pci/drivers/{name}")));
    let system = format!("PRETTY_NAME=\"</title></style><script>{}\"\n", "long ".repeat(100_000));
    capture.insert("/etc/os-release", Entry::File(system.into_bytes()));
    fs::write(dir.path("host"), capture_text::render(&capture)).unwrap();
    let page = page(&["--host", &dir.path("host"), "report"]);
    assert!(
        page.contains("&lt;script&gt;alert('1')&lt;img src=x onerror=&quot;a&quot;&gt;&amp;lt;\u{fffd}\u{fffd}[2J\u{fffd}2J"),
        "{page}"
    );
    assert!(!page.contains("<script") && !page.contains("<img") && page.matches("</title>").count() == 1);
    assert!(!page.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}') && page.len() < 40_000);
}

#[test]
fn a_page_of_ours_is_replaced_and_no_other_file() {
    let dir = Dir::new("report-files");
    let (mine, other, link, nowhere) = (dir.path("host.html"), dir.path("thesis.html"), dir.path("link.html"), dir.path("none/host.html"));
    let report = |file: &str| cede(&["--host", &laptops(), "report", "-o", file]);
    let first = report(&mine);
    assert!(code(&first) == 0 && first.stdout.is_empty() && said(&first).contains("wrote "), "{}", said(&first));
    let whole = fs::read(&mine).unwrap();
    fs::write(&mine, &whole[..300]).unwrap();
    symlink("host.html", &link).unwrap();
    assert_eq!(code(&report(&link)), 0);
    assert_eq!(fs::read(&mine).unwrap(), whole, "the link's target is replaced, and the link stays");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    fs::write(&other, "<!DOCTYPE html><html lang=\"en\">my thesis").unwrap();
    let refused = report(&other);
    assert!(code(&refused) == 2 && said(&refused).contains("no page that cede made"), "{}", said(&refused));
    assert_eq!(fs::read(&other).unwrap(), b"<!DOCTYPE html><html lang=\"en\">my thesis");
    assert_eq!((code(&report(&nowhere)), code(&report(dir.0.to_str().unwrap()))), (2, 2));
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 3, "nothing is left beside them");
    for output in [cede(&["--host", &laptops(), "report", "-o", "-"]), cede(&["--host", &laptops(), "report"]), report("/dev/stdout")] {
        assert_eq!(output.stdout, whole);
    }
}
