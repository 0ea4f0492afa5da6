//! The answers that programs get: one document on standard output, whatever happens, and talk beside it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use serde_json::{Value, json};
use std::fs;
use support::{Dir, cede, laptop, unpack};

/// Exit code, the one document, and standard error.
fn run(arguments: &[&str]) -> (i32, Value, String) {
    let output = cede(&[arguments, &["--json"]].concat());
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    let document = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}\n{talk}", String::from_utf8_lossy(&output.stdout)));
    (output.status.code().unwrap(), document, talk)
}

fn host(name: &str) -> (Dir, String) {
    let dir = Dir::new(name);
    unpack(&laptop(), &dir.0);
    let root = dir.0.to_str().unwrap().to_owned();
    (dir, root)
}

#[test]
fn what_was_done_is_told_in_one_document_and_shown_beside_it() {
    let (dir, root) = host("json-done");
    let on = |words: &[&str]| run(&[&["--root", &root], words].concat());
    let (code, answer, talk) = on(&["apply", "01:00.0", "--yes"]);
    assert_eq!(
        (code, &answer["format"], &answer["verb"], &answer["state"]),
        (1, &json!("cede.operation/1"), &json!("apply"), &json!("unfinished"))
    );
    assert_eq!(answer["devices"], json!(["0000:01:00.0", "0000:01:00.1"]));
    assert_eq!((&answer["operations"], &answer["of"]), (&json!([1]), &Value::Null));
    assert_eq!(answer["files"], json!(["/etc/modprobe.d/00-cede.conf", "/etc/mkinitcpio.conf.d/95-cede.conf", "/etc/default/grub"]));
    assert_eq!(answer["left_to_run"][0], json!(["/usr/bin/mkinitcpio", "-P"]));
    assert_eq!(answer["tools"], answer["left_to_run"]);
    assert!(!answer["why_left"].as_str().unwrap().is_empty());
    assert!(answer["proof"].as_array().unwrap().iter().all(|outcome| outcome["outcome"] == "met"), "{answer}");
    assert!(talk.contains("write  /etc/default/grub") && talk.contains("+GRUB_CMDLINE_LINUX_DEFAULT="), "{talk}");
    let (code, again, talk) = on(&["apply", "01:00.0", "--yes"]);
    assert_eq!((code, &again["state"], &again["operations"]), (0, &json!("nothing_to_do"), &json!([])), "{talk}");
    for (verb, number) in [("undo", 2), ("redo", 3)] {
        let (code, answer, _) = on(&[verb, "--yes"]);
        assert_eq!((code, &answer["verb"], &answer["state"]), (1, &json!(verb), &json!("unfinished")));
        assert_eq!((&answer["operations"], &answer["of"], answer["files"].as_array().unwrap().len()), (&json!([number]), &json!(1), 3));
    }
    let journal = dir.0.join("var/lib/cede/operations/0003.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, &text[..text.rfind("{\"record\":\"finished\"").unwrap()]).unwrap();
    let (code, answer, talk) = on(&["recover"]);
    assert_eq!(
        (code, &answer["verb"], &answer["state"], &answer["operations"]),
        (0, &json!("recover"), &json!("rolled_back"), &json!([3])),
        "{talk}"
    );
    let (code, answer, _) = on(&["recover"]);
    assert_eq!((code, &answer["state"], &answer["operations"]), (0, &json!("nothing_to_do"), &json!([])));
    assert_eq!(on(&["undo", "--yes"]).1["state"], "nothing_to_do");
}

#[test]
fn what_is_refused_is_told() {
    let (_dir, root) = host("json-refused");
    let (code, answer, _) = run(&["--root", &root, "apply", "02:00.0", "--yes"]);
    assert_eq!((code, &answer["state"], &answer["refused"][0]["id"]), (4, &json!("refused"), &json!("root-disk")));
    assert!(answer["refused"][0]["message"].as_str().unwrap().starts_with("0000:02:00.0 nvme → nvme0n1p2 → /"), "{answer}");
    let (code, answer, _) = run(&["--root", &root, "apply", "01:00.0"]);
    assert_eq!((code, &answer["format"], &answer["exit"]), (4, &json!("cede.error/1"), &json!(4)));
    assert!(answer["hint"].as_str().unwrap().contains("--yes"), "nobody can answer: {answer}");
}

#[test]
fn a_conflict_is_told_in_three_versions() {
    let (dir, root) = host("json-conflict");
    assert_eq!(run(&["--root", &root, "apply", "01:00.0", "--yes"]).0, 1);
    let grub = dir.0.join("etc/default/grub");
    let ours = fs::read_to_string(&grub).unwrap();
    fs::write(&grub, ours.replace("intel_iommu=on", "intel_iommu=on,sm_on")).unwrap();
    let (code, answer, talk) = run(&["--root", &root, "undo", "--yes"]);
    assert_eq!((code, &answer["format"]), (4, &json!("cede.error/1")), "{answer}{talk}");
    let conflict = &answer["conflicts"][0];
    assert_eq!(conflict["path"], "/etc/default/grub");
    let has = |version: &str, word: &str| conflict[version].as_str().unwrap().contains(word);
    assert!(!has("before", "vfio") && !has("ours", "sm_on") && has("now", "sm_on"), "{conflict}");
    assert!(talk.contains("cede wrote"), "{talk}");
}

#[test]
fn every_verb_tells_its_error() {
    let missing = ["--host", "/nonexistent"];
    let cases: [(&[&str], i32, &str); 24] = [
        (&["status"], 3, "/nonexistent"),
        (&["devices"], 3, "/nonexistent"),
        (&["groups"], 3, "/nonexistent"),
        (&["groups", "--tree"], 3, "/nonexistent"),
        (&["groups", "--what-if", "remove", "01:00.0"], 3, "/nonexistent"),
        (&["explain", "01:00.0"], 3, "/nonexistent"),
        (&["check"], 3, "/nonexistent"),
        (&["plan", "01:00.0"], 3, "/nonexistent"),
        (&["plan"], 2, "no device"),
        (&["verify"], 3, "/nonexistent"),
        (&["log"], 3, "/nonexistent"),
        (&["handoff", "01:00.0", "--to", "qemu"], 3, "/nonexistent"),
        (&["rom", "01:00.0"], 3, "/nonexistent"),
        (&["apply", "01:00.0", "--yes"], 2, "capture"),
        (&["apply", "01:00.0", "--trial"], 2, "trial"),
        (&["confirm"], 2, "trial"),
        (&["undo"], 2, "capture"),
        (&["redo"], 2, "capture"),
        (&["recover"], 2, "capture"),
        (&["capture"], 2, "no JSON"),
        (&["demo"], 2, "no JSON"),
        (&["frobnicate"], 2, "frobnicate"),
        (&["plan", "somewhere"], 2, "somewhere"),
        (&["undo", "--frob"], 2, "--frob"),
    ];
    for (words, wanted, named) in cases {
        let (code, answer, talk) = run(&[&missing, words].concat());
        assert_eq!((code, &answer["format"], &answer["exit"]), (wanted, &json!("cede.error/1"), &json!(wanted)), "{words:?} {answer}");
        assert!(answer["error"].as_str().unwrap().contains(named), "{words:?}: {answer}");
        assert!(wanted != 2 || answer["hint"].is_string(), "{words:?}: {answer}");
        assert!(!talk.contains("error:"), "said once: {talk}");
    }
}

#[test]
fn help_is_no_error() {
    let output = cede(&["--help", "--json"]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("Usage: cede"));
}
