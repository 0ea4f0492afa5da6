//! Domains of libvirt: those that must not be edited, and what is put into the others byte by byte.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

use cede_plan::handoff::domain::{Domain, Machine};

const Q35: &str = include_str!("../../../fixtures/libvirt/q35.xml");
const I440FX: &str = include_str!("../../../fixtures/libvirt/i440fx.xml");

const HOSTDEV: &str = "<hostdev mode='subsystem' type='pci' managed='no'>\n  <source>\n    <address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>\n  </source>\n</hostdev>\n";

fn put(text: &str) -> String {
    Domain::read(text.as_bytes()).unwrap().with(&[HOSTDEV.to_owned()], &["01:00.0".parse().unwrap()]).unwrap()
}

#[test]
fn what_is_no_domain_is_told() {
    let deep = format!("<domain>{}", "<a>".repeat(100_000));
    for (text, why) in [
        ("", "no <devices>"),
        ("not XML at all", "no <devices>"),
        ("<domain><name>a</name><devices>", "ends inside <domain/devices>"),
        ("<domain><name>a</name></domain>", "no <devices>"),
        ("<domain><name>a</name><devices/><devices/></domain>", "two <devices>"),
        ("<domain><name>a</name><devices/><devices></devices></domain>", "two <devices>"),
        ("<domain><name>a</name><metadata><devices/></metadata></domain>", "no <devices>"),
        ("<domain><devices></devices></domain>", "no <name>"),
        ("<domain><name>a</name><devices></devices><devices></devices></domain>", "two <devices>"),
        ("<domainsnapshot><domain><name>a</name><devices></devices></domain></domainsnapshot>", "is a <domainsnapshot>"),
        ("<!DOCTYPE domain [<!ENTITY e 'x'>]><domain><name>a</name><devices></devices></domain>", "document type"),
        ("<domain><name>a</nam></domain>", "byte"),
        ("<domain><name>a</name><devices><controller type='pci' index='x'/></devices></domain>", "index='x' is no number"),
        (deep.as_str(), "deep"),
    ] {
        let error = Domain::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(Domain::read(b"<domain><name>\xff</name></domain>").unwrap_err().to_string().contains("not UTF-8 (byte 14)"));
    assert!(Domain::read(&vec![b' '; (10 << 20) + 1]).is_err());
}

#[test]
fn every_prefix_is_refused_or_read_and_none_panics() {
    for text in [Q35, I440FX] {
        let end = text.rfind("</domain>").unwrap();
        for length in 0..end {
            assert!(Domain::read(&text.as_bytes()[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn comments_and_text_that_look_like_the_end_are_passed() {
    let domain = Domain::read(Q35.as_bytes()).unwrap();
    assert_eq!((domain.name.as_str(), &domain.machine), ("win11 & co", &Machine::Express));
    assert_eq!(domain.controllers.iter().copied().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(domain.devices, []);
    let domain = Domain::read(I440FX.as_bytes()).unwrap();
    assert_eq!((&domain.machine, domain.slots.iter().copied().collect::<Vec<_>>()), (&Machine::Conventional, vec![1, 3, 5]));
}

#[test]
fn only_whole_lines_are_added_with_the_indent_and_line_ends_of_the_text() {
    let crlf = Q35.replace('\n', "\r\n");
    let marked = format!("\u{feff}{Q35}");
    let tabs = Q35.replace("\n    <", "\n\t\t<");
    for (text, line) in [
        (Q35, "    <hostdev mode='subsystem' type='pci' managed='no'>\n"),
        (&crlf, "    <source>"),
        (&marked, "    <hostdev mode='subsystem' type='pci'"),
        (&tabs, "\t\t<hostdev mode='subsystem' type='pci'"),
    ] {
        let new = put(text);
        assert!(new.contains(line), "{new}");
        let old: Vec<&str> = text.split_inclusive('\n').collect();
        let mut rest = new.split_inclusive('\n');
        assert!(old.iter().all(|line| rest.any(|other| other == *line)), "every line is there, in its order");
        assert_eq!(new.split_inclusive('\n').count(), old.len() + 5);
        assert_eq!(new.matches('\r').count(), if text == crlf { new.matches('\n').count() } else { 0 });
        let end = text.find("  </devices>\r\n").or(text.find("  </devices>\n")).unwrap();
        assert!(new.starts_with(&text[..end]) && new.ends_with(&text[end..]));
    }
}

#[test]
fn a_domain_on_one_line_stays_on_it() {
    let text = "<domain><name>a</name><os><type machine='q35'>hvm</type></os><devices></devices></domain>";
    let new = put(text);
    assert_eq!(new.lines().count(), 1);
    assert!(new.ends_with("</hostdev></devices></domain>"), "{new}");
}

#[test]
fn an_empty_element_is_opened_and_no_other_byte_is_another() {
    for (tag, head, tail) in [
        ("<devices/>", "<devices>", "</devices>"),
        ("<devices />", "<devices >", "</devices>"),
        ("<devices\n a='/>'\t/>", "<devices\n a='/>'\t>", "</devices>"),
        ("\n\t<devices/> <!-- <devices/> -->\n", "\n\t<devices>\n", "\t</devices> <!-- <devices/> -->\n"),
        ("\r\n  <devices/>\r\n", "\r\n  <devices>\r\n", "  </devices>\r\n"),
        ("\r\n<devices/>", "\r\n<devices>\r\n", "</devices>"),
    ] {
        for mark in ["", "\u{feff}"] {
            let (start, end) = (format!("{mark}<domain><name>ä</name>"), "<!-- </devices> --></domain>\n");
            let new = put(&format!("{start}{tag}{end}"));
            let block = new.strip_prefix(&format!("{start}{head}")).and_then(|rest| rest.strip_suffix(&format!("{tail}{end}")));
            let block = block.unwrap_or_else(|| panic!("{new}"));
            assert!(block.trim_start().starts_with("<hostdev ") && block.trim_end().ends_with("</hostdev>"), "{block}");
            assert_eq!(block.lines().count(), if head.ends_with('\n') { 5 } else { 1 });
            assert_eq!(block.matches("\r\n").count(), if tag.contains('\r') { 5 } else { 0 });
        }
    }
    assert!(put("<domain>\n  <name>a</name>\n  <devices/>\n</domain>\n").contains("\n    <hostdev "));
}

#[test]
fn an_edit_that_does_not_read_as_wished_is_none() {
    let domain = Domain::read(Q35.as_bytes()).unwrap();
    let device = ["01:00.0".parse().unwrap()];
    for element in [
        "<hostdev/>\n",
        "</devices><devices>\n",
        "<!--\n",
        "<hostdev mode='subsystem' type='pci'><source><address bus='2' slot='0' function='0'/></source></hostdev>",
    ] {
        assert!(domain.with(&[element.to_owned()], &device).is_err(), "{element}");
    }
}

#[test]
fn devices_of_the_host_are_known_in_every_spelling() {
    let read = |source: &str, kind: &str| {
        let text = format!(
            "<domain><name>a</name><devices><{kind}><source><address {source}/></source><address type='pci' bus='1' slot='0'/></{kind}></devices></domain>"
        );
        Domain::read(text.as_bytes()).unwrap().devices.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(read("domain='0x10000' bus='0xe1' slot='0x1f' function='0x7'", "hostdev"), ["10000:e1:1f.7"]);
    assert_eq!(read("type='pci' bus='10' slot='2' function='1'", "interface"), ["0000:0a:02.1"]);
    assert_eq!(read("bus='10' slot='2' function='1'", "hostdev"), ["0000:0a:02.1"]);
    assert_eq!(read("bus='3' device='7'", "hostdev"), [""; 0], "a USB device");
    assert_eq!(read("bus='010' slot='0' function='0'", "hostdev"), ["0000:08:00.0"], "libvirt 9.0 takes it as octal");
    assert_eq!(read("bus='0' slot='99' function='0'", "hostdev"), [""; 0]);
}
