//! Groups explained and foretold, through the built binary: pasted listings, explanations, trees, what-ifs, the comparison with the kernel.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Entry, capture_text};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Output, Stdio};
use support::{Dir, cede, fixture, flat};

fn omen() -> String {
    fixture("lspci/hp-omen-obelisk-i7-8700/listing.txt")
}

fn capture(host: &str) -> String {
    fixture(&format!("hosts/{host}/host.capture"))
}

fn with_stdin(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cede"));
    let mut child =
        command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn parsed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

const EXPLAINED: &str = "\
0000:01:00.0 NVIDIA GA106 [GeForce RTX 3060 Lite Hash Rate]
shares group 1 (foretold) with 1 function of its own slot, besides bridges,
which stay: they go together

why   root port 0000:00:01.0 has no ACS: it may turn requests between devices
      around below the IOMMU, so Linux keeps everything behind it together with
      it

way to the root
  0000:01:00.0  legacy endpoint  open  no ACS between its functions
  0000:00:01.0  root port        open  no ACS capability

with it in the group
  0000:01:00.1  same slot, snd_hda_intel  NVIDIA GA106 High Definition Audio Co…
  0000:00:01.0  on the way to it, stays   Intel 6th-10th Gen Core Processor PCI…

can be ceded  as it is: 0000:01:00.0 0000:01:00.1 go
  what the host would lose (disks, screens, networks) was not seen here

what would change it
  - the override patch, pcie_acs_override=downstream,multifunction: 1 function
    left in the group. It isolates nothing, it only says so: requests between it
    and 0000:01:00.1 would pass unchecked. whether this kernel has the patch
    cannot be told: the running kernel was not seen

next: cede --lspci - groups --tree
";

#[test]
fn an_explanation_reads_from_verdict_to_next_command() {
    let listing = std::fs::read(omen()).unwrap();
    let output = with_stdin(&["explain", "--lspci", "-", "01:00.0"], &listing);
    assert_eq!(text(&output).replace("cede --lspci FILE", "cede --lspci -"), EXPLAINED);
    assert!(text(&output).lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn an_explanation_keeps_its_contract() {
    let view = parsed(&cede(&["explain", "--lspci", &omen(), "01:00.0", "--json"]));
    assert_eq!((&view["format"], &view["origin"], &view["group"]), (&json!("cede.explain/1"), &json!("predicted"), &json!(1)));
    let port = json!({
        "address": "0000:00:01.0", "kind": "root port", "isolates": false, "why": "no_acs", "says": "no ACS capability", "acs": null,
        "multifunction": false, "slot": true
    });
    assert_eq!(view["way"][1], port);
    assert_eq!(view["causes"], json!([{"kind": "port", "at": "0000:00:01.0", "with": []}]));
    assert_eq!(view["members"][0]["stays"], true);
    assert_eq!((&view["cede"]["possible"], &view["separate"]), (&json!(true), &json!(true)));
    let remedy = &view["remedies"][0];
    assert_eq!((&remedy["kind"], &remedy["patch"]), (&json!("override"), &json!("cannot_tell")));
    let network = parsed(&cede(&["explain", "--lspci", &omen(), "02:00.0", "--json"]));
    let acs = json!({"offers": ["SV", "TB", "RR", "CR"], "on": ["SV", "RR", "CR"], "lacks": []});
    assert_eq!((&network["way"][1]["acs"], &network["members"]), (&acs, &json!([])));
}

#[test]
fn hosts_and_trees_are_explained_too() {
    let host = capture("arch-gtx1650-laptop");
    let view = parsed(&cede(&["--host", &host, "explain", "01:00.0", "--json"]));
    assert_eq!(
        (&view["origin"], &view["cede"]["host_unseen"], &view["remedies"][0]["patch"]),
        (&json!("predicted"), &json!(false), &json!("no"))
    );
    let disk = parsed(&cede(&["--host", &host, "explain", "02:00.0", "--json"]));
    assert_eq!(disk["cede"]["possible"], false);
    let vmd = parsed(&cede(&["--host", &capture("acer-alder-lake-vmd"), "explain", "10000:e1:00.0", "--json"]));
    assert_eq!(
        (&vmd["causes"][0]["kind"], &vmd["causes"][0]["at"], &vmd["as_foretold"]),
        (&json!("vmd"), &json!("0000:00:0e.0"), &json!(true))
    );
    assert!(vmd["remedies"].as_array().unwrap().iter().any(|remedy| remedy["kind"] == "firmware"));
}

#[test]
fn kernels_groups_and_foretold_ones_are_both_to_be_had() {
    for host in ["acer-alder-lake-vmd", "asus-wrx80e-sage", "gigabyte-x570-aorus-master", "hp-omen-obelisk-i7-8700"] {
        let host = capture(host);
        let sets = |view: &Value| -> std::collections::BTreeSet<String> {
            view["groups"].as_array().unwrap().iter().map(|group| group["devices"].to_string()).collect()
        };
        let kernel = parsed(&cede(&["--host", &host, "groups", "--json"]));
        let foretold = parsed(&cede(&["--host", &host, "groups", "--predict", "--json"]));
        assert_eq!((&kernel["origin"], &foretold["origin"]), (&json!("kernel"), &json!("predicted")));
        assert_eq!(sets(&kernel), sets(&foretold), "{host}");
        let check = text(&cede(&["--host", &host, "check"]));
        assert!(!check.contains("foretold"), "{check}");
    }
}

#[test]
fn a_kernel_that_groups_otherwise_is_reported_as_a_bug_of_cede() {
    let dir = Dir::new("foretold");
    let path = dir.path("host.capture");
    let original = std::fs::read_to_string(capture("hp-omen-obelisk-i7-8700")).unwrap();
    let torn = original.replacen("iommu_groups/1\n", "iommu_groups/77\n", 1);
    assert_ne!(original, torn);
    std::fs::write(&path, torn).unwrap();
    let check = parsed(&cede(&["--host", &path, "check", "--json"]));
    let finding = check["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == "groups-not-as-foretold").unwrap().clone();
    assert_eq!(finding["verdict"], "advice");
    assert!(finding["remedy"].as_str().unwrap().contains("cede capture"), "{finding}");
    assert!(finding["evidence"][0]["text"].as_str().unwrap().contains("foretold: 0000:00:01.0"), "{finding}");
}

#[test]
fn what_ifs_show_what_differs() {
    let what_if = |words: &[&str]| cede(&[&["groups", "--lspci", &omen(), "--what-if"], words].concat());
    let moved = parsed(&what_if(&["remove", "04:00.0", "--what-if", "move 01:00.0 00:1d.0", "--json"]));
    assert_eq!(moved["changes"], json!(["remove 0000:04:00.0", "move 0000:01:00.0 0000:00:1d.0"]));
    assert_eq!(moved["moved"][0], json!({"address": "0000:04:00.0", "former": "0000:01:00.0"}));
    let card = json!(["0000:01:00.0", "0000:01:00.1"]);
    assert!(moved["regroupings"][0]["after"].as_array().unwrap().contains(&card), "{moved}");
    let patched = text(&what_if(&["acs-override=downstream"]));
    assert!(patched.contains("15 groups would become 16") && patched.contains("cannot be told"), "{patched}");
    assert!(patched.lines().any(|line| line.starts_with("  -  0000:00:01.0")) && patched.contains("  +  0000:01:00.0"), "{patched}");
    let known = text(&what_if(&["kernel=6.1"]));
    assert!(known.contains("no group would change") && !known.contains("rules known here"), "{known}");
    for unknown in ["kernel=5.4", "kernel=7.9"] {
        assert!(text(&what_if(&[unknown])).contains("those of Linux 5.10 to 7.2; "), "{unknown}");
    }
    let taken = what_if(&["move", "01:00.0", "00:1d.0"]);
    assert_eq!(taken.status.code(), Some(2));
    assert!(text(&taken).contains("remove 0000:04:00.0") && text(&taken).contains("--tree"), "{}", text(&taken));
}

#[test]
fn the_tree_is_drawn_with_what_the_terminal_can_show() {
    let arguments = ["groups", "--lspci", &omen(), "--tree"];
    let ascii = text(&cede(&arguments));
    assert!(ascii.contains("|- 00:01.0     [1]   open      Intel") && ascii.contains("|  `- 01:00.1  [1]             NVIDIA"), "{ascii}");
    assert!(ascii.is_ascii());
    let drawn = Command::new(env!("CARGO_BIN_EXE_cede")).args(arguments).env_clear().env("LC_ALL", "C.UTF-8").output().unwrap();
    assert!(text(&drawn).contains("│  └─ 01:00.1  [1]"));
    assert!(ascii.ends_with(&format!("next: cede --lspci {} explain 0000:01:00.0\n", omen())), "{ascii}");
    let view = parsed(&cede(&["groups", "--lspci", &omen(), "--tree", "--json"]));
    assert_eq!((&view["format"], &view["roots"][0]["bus"]), (&json!("cede.tree/1"), &json!("0000:00")));
    assert_eq!(view["roots"][0]["functions"][1]["behind"][1]["address"], "0000:01:00.1");
}

#[test]
fn the_tree_says_without_colour_what_is_ceded_and_draws_many_alike_as_one_line() {
    let dir = Dir::new("tree-marks");
    let mut capture = capture_text::parse(&std::fs::read_to_string(capture("hp-omen-obelisk-i7-8700")).unwrap()).unwrap();
    for (function, driver) in [("0000:01:00.0", "vfio-pci"), ("0000:01:00.1", "snd_hda_intel")] {
        capture.insert(format!("/sys/bus/pci/devices/{function}/driver"), Entry::Link(format!("../../../bus/pci/drivers/{driver}")));
    }
    for function in 0..40 {
        let address = format!("0000:02:{:02x}.{}", 16 + function / 8, function % 8);
        let link = format!("../../../devices/pci0000:00/0000:00:1c.0/{address}");
        capture.insert(format!("/sys/bus/pci/devices/{address}"), Entry::Link(link));
        for (name, text) in [("vendor", "0x8086"), ("device", "0x154c"), ("class", "0x020000")] {
            capture.insert(format!("/sys/bus/pci/devices/{address}/{name}"), Entry::File(text.into()));
        }
        let group = format!("../../../kernel/iommu_groups/{}", 100 + function);
        capture.insert(format!("/sys/bus/pci/devices/{address}/iommu_group"), Entry::Link(group));
    }
    std::fs::write(dir.path("host"), capture_text::render(&capture)).unwrap();
    let tree = |more: &[&str]| {
        let drawn = text(&cede(&[&["--host", &dir.path("host"), "groups", "--tree"], more].concat()));
        drawn.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect::<String>()
    };
    let short = tree(&[]);
    assert!(short.contains("01:00.0 [1] ceded NVIDIA") && short.contains("01:00.1 [1] blocks NVIDIA"), "{short}");
    assert!(short.contains("`- 02:10.0-14.7 100-139 40 alike: Intel Ethernet Virtual Function"), "{short}");
    let long = tree(&["--verbose"]);
    assert!(long.lines().count() == short.lines().count() + 39 && long.contains("02:14.7 139 Intel"), "{long}");
}

#[test]
fn without_root_bounds_are_said() {
    let listing = fixture("lspci/noacs-sreeragvn/listing.txt");
    let groups = flat(&text(&cede(&["groups", "--lspci", &listing])));
    assert!(groups.contains("these are bounds") && groups.contains("perhaps") && groups.contains("sudo lspci -nnvvv"), "{groups}");
    let view = parsed(&cede(&["explain", "--lspci", &listing, "01:00.0", "--json"]));
    assert_eq!((&view["origin"], &view["separate"]), (&json!("bounds"), &json!(false)));
    assert!(view["perhaps"].as_array().unwrap().contains(&json!("0000:01:00.1")));
    assert!(view["reason"].as_str().unwrap().contains("could not be read"), "{}", view["reason"]);
}

#[test]
fn of_bounds_it_is_not_said_that_the_function_can_go() {
    let explained = text(&cede(&["explain", "--lspci", &fixture("lspci/noacs-sreeragvn/listing.txt"), "01:00.0"]));
    assert!(explained.contains("cannot be told  whether it can go as it is") && !explained.contains("can be ceded"), "{explained}");
    assert!(explained.contains("cannot be told before the capabilities are known"), "{explained}");
}

#[test]
fn of_a_large_group_those_come_first_that_have_to_go() {
    let explain =
        |more: &[&str]| text(&cede(&[&["explain", "--lspci", &fixture("lspci/mac-mini-2018-egpu/listing.txt"), "44:00.0"], more].concat()));
    let members = |text: &str| text.split("with it in the group\n").nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
    let short = members(&explain(&[]));
    let stay: Vec<bool> = short.lines().take(24).map(|line| line.contains(", stays")).collect();
    assert!(stay.is_sorted() && stay.iter().filter(|stays| !**stays).count() == 8, "{short}");
    assert!(short.ends_with("  and 4 more: --verbose shows them"), "{short}");
    assert_eq!(members(&explain(&["--verbose"])).lines().count(), 28);
}

#[test]
fn where_nothing_would_change_it_that_is_said() {
    let explained = text(&cede(&["explain", "--lspci", &fixture("lspci/joe-minor-xhci/listing.txt"), "00:14.0"]));
    assert!(explained.contains("what would change it\n  nothing that is known"), "{explained}");
    let alone = text(&cede(&["explain", "--lspci", &omen(), "02:00.0"]));
    assert!(!alone.contains("what would change it") && alone.contains("of ACS, Linux wants SV"), "{alone}");
    let missing = flat(&text(&cede(&["explain", "--lspci", &omen(), "ff:00.0"])));
    assert!(missing.contains(&format!("`cede --lspci {} groups` lists them", omen())), "{missing}");
}

#[test]
fn several_machines_in_one_file_are_told_apart() {
    let both = [std::fs::read(omen()).unwrap(), std::fs::read(fixture("lspci/n100-kallweit/listing.txt")).unwrap()].concat();
    let first = with_stdin(&["groups", "--lspci", "-", "--listing", "1", "--json"], &both);
    let alone = cede(&["groups", "--lspci", &omen(), "--json"]);
    assert_eq!(parsed(&first), parsed(&alone));
    assert!(text(&with_stdin(&["groups", "--lspci", "-"], &both)).contains("listing 2 of 2"));
    assert_eq!(with_stdin(&["groups", "--lspci", "-", "--listing", "3"], &both).status.code(), Some(2));
}

#[test]
fn one_v_too_few_is_said() {
    let listing = std::fs::read_to_string(omen()).unwrap();
    let terse: String = listing.lines().filter(|line| !line.contains("ACSC")).map(|line| format!("{line}\n")).collect();
    let groups = text(&with_stdin(&["groups", "--lspci", "-"], terse.as_bytes()));
    assert!(groups.contains("it shows ACS without its flags: `sudo lspci -nnvvv`"), "{groups}");
    assert!(!text(&with_stdin(&["groups", "--lspci", "-"], listing.as_bytes())).contains("without its flags"));
}

#[test]
fn what_is_no_listing_ends_in_something_to_type() {
    let other = flat(&text(&cede(&["groups", "--lspci", &capture("arch-gtx1650-laptop")])));
    assert!(other.contains("it is a capture: `cede --host"), "{other}");
    assert!(text(&cede(&["groups", "--lspci", "/nonexistent"])).contains("lspci -nnvvv"));
    let nothing = with_stdin(&["groups", "--lspci", "-"], b"hello\n");
    assert_eq!(nothing.status.code(), Some(3));
    assert!(text(&nothing).contains("lspci -nnvvv"));
    let check = cede(&["check", "--lspci", &omen()]);
    assert_eq!(check.status.code(), Some(2));
    assert!(text(&check).contains("cede capture"));
}
