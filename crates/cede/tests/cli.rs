//! The built binary: its JSON contract, its exit codes, and that a capture and the tree it was taken from get the same answers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use support::{Dir, cede, code, fixtures, flat, laptop, manifest, unpack};

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_capture_and_its_tree_give_the_same_answers() {
    let mut hosts = 0;
    for entry in fs::read_dir(fixtures()).unwrap().map(Result::unwrap) {
        let (capture, dir) = (entry.path().join("host.capture"), Dir::new("same"));
        unpack(&capture, &dir.0);
        for verb in ["groups", "devices", "check"] {
            let from_capture = cede(&["--host", capture.to_str().unwrap(), verb, "--json"]);
            let from_tree = cede(&["--root", dir.0.to_str().unwrap(), verb, "--json"]);
            assert_eq!(json(&from_capture), json(&from_tree), "{verb} of {}", capture.display());
            assert_eq!(code(&from_capture), code(&from_tree));
        }
        let groups = |source: &str, place: &Path| {
            let place = place.to_str().unwrap();
            flat(&text(&cede(&[source, place, "groups"]).stdout)).replace(&format!("cede {source} {place} "), "cede ")
        };
        assert_eq!(groups("--host", &capture), groups("--root", &dir.0), "{}", capture.display());
        hosts += 1;
    }
    assert!(hosts > 1);
}

#[test]
fn a_scrubbed_capture_of_a_tree_answers_as_the_tree_does() {
    let dir = Dir::new("capture");
    unpack(&laptop(), &dir.0);
    let (root, file) = (dir.0.to_str().unwrap(), dir.0.join("out.capture"));
    let made = cede(&["--root", root, "capture", file.to_str().unwrap()]);
    assert_eq!(code(&made), 0, "{}", text(&made.stderr));
    for verb in [&["groups"][..], &["devices"], &["check", "01:00.0"], &["plan", "01:00.0"], &["status"], &["verify"], &["log"]] {
        let arguments = |source: &'static str, place: &str| {
            [&[source, place], verb, &["--json"]].concat().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let run = |list: Vec<String>| cede(&list.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(json(&run(arguments("--host", file.to_str().unwrap()))), json(&run(arguments("--root", root))), "{verb:?}");
    }
}

#[test]
fn a_scrubbed_capture_keeps_the_journal_of_a_host_and_none_of_its_names() {
    let (serial, card, uuid) = ("3600508b4000156d700012000000b0000", "0011aabbccdd", "3f2504e0-4f89-41d3-9a0c-0305e82c3301");
    for (name, is_told) in [("workhorse", true), ("groups", false), ("nouveau", false), ("0000", false), ("applied", true)] {
        let dir = Dir::new("named");
        unpack(&laptop(), &dir.0);
        let put = |path: &str, text: &str| {
            let path = dir.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let line = format!("root=/dev/mapper/{serial} bootdev=enx{card} resume=UUID={uuid}");
        put("etc/hostname", &format!("{name}\n"));
        put("etc/default/grub", &format!("# {name}\nGRUB_CMDLINE_LINUX_DEFAULT=\"{line}\"\nGRUB_CMDLINE_LINUX=\"\"\n"));
        put("sys/class/block/dm-0/dm/name", serial);
        put("sys/class/block/dm-0/dm/uuid", &format!("mpath-{serial}"));
        put(&format!("sys/class/net/enx{card}/operstate"), "up\n");
        let (root, file) = (dir.0.to_str().unwrap(), dir.path("out.capture"));
        cede(&["--root", root, "apply", "01:00.0", "--yes"]);
        assert_eq!(code(&cede(&["--root", root, "capture", &file])), 0);
        let capture = fs::read_to_string(&file).unwrap();
        for secret in [serial, card, uuid] {
            assert!(!capture.contains(secret), "{secret}");
        }
        assert_eq!(capture.contains(&format!("# {name}\n")), !is_told, "{name}");
        for verb in ["groups", "devices", "status", "verify", "log"] {
            let from_capture = cede(&["--host", &file, verb, "--json"]);
            assert_eq!(json(&from_capture), json(&cede(&["--root", root, verb, "--json"])), "{verb} on {name}");
        }
        assert!(json(&cede(&["--host", &file, "log", "--json"])).to_string().contains("0000:01:00.0"));
        let again = cede(&["--host", &file, "plan", "01:00.0"]);
        assert!(text(&again.stdout).contains("nothing to do"), "{}", text(&again.stdout));
    }
}

#[test]
fn devices_and_groups_keep_their_contract() {
    let host = laptop();
    let devices = json(&cede(&["--host", host.to_str().unwrap(), "devices", "--json"]));
    assert_eq!(devices["format"], "cede.devices/1");
    let gpu = devices["devices"].as_array().unwrap().iter().find(|device| device["address"] == "0000:01:00.0").unwrap();
    let expected = serde_json::json!({
        "address": "0000:01:00.0", "vendor": "10de", "device": "1f91", "subsystem_vendor": "1043", "subsystem_device": "109f",
        "class": "030000", "revision": "a1", "driver": "nouveau", "modules": ["nouveau"], "iommu_group": null, "numa_node": null,
        "boot_vga": false, "reset_methods": ["flr", "pm", "bus"],
        "name": {"vendor": "NVIDIA Corporation", "device": "TU117M [GeForce GTX 1650 Mobile / Max-Q]", "class": "VGA compatible controller"}
    });
    assert_eq!(*gpu, expected);
    let groups = json(&cede(&["--host", host.to_str().unwrap(), "groups", "--json", "01:00.0"]));
    assert_eq!(
        groups,
        serde_json::json!({
            "format": "cede.groups/1", "iommu": {"state": "off"}, "origin": "predicted",
            "groups": [{"id": 1, "type": null, "devices": ["0000:00:01.0", "0000:01:00.0", "0000:01:00.1"]}]
        })
    );
}

#[test]
fn check_and_plan_keep_their_contract() {
    let host = laptop();
    let output = cede(&["--host", host.to_str().unwrap(), "check", "--json"]);
    let finding = json(&output)["findings"][0].clone();
    assert_eq!((code(&output), finding["id"].as_str(), finding["verdict"].as_str()), (1, Some("iommu-off"), Some("problem")));
    let evidence = finding["evidence"].as_array().unwrap();
    assert!(
        evidence
            .iter()
            .any(|e| e["source"] == "/lib/modules/6.11.5-arch1-1/config" && e["text"] == "CONFIG_INTEL_IOMMU_DEFAULT_ON is not set"),
        "{evidence:?}"
    );
    let plan = json(&cede(&["--host", host.to_str().unwrap(), "plan", "01:00.0", "--json"]));
    assert_eq!(plan["devices"], serde_json::json!(["0000:01:00.0", "0000:01:00.1"]));
    let paths: Vec<_> =
        plan["steps"].as_array().unwrap().iter().map(|step| step["path"].as_str().or(step["argv"][0].as_str()).unwrap()).collect();
    assert_eq!(
        paths,
        [
            "/etc/modprobe.d/00-cede.conf",
            "/etc/mkinitcpio.conf.d/95-cede.conf",
            "/etc/default/grub",
            "/usr/bin/mkinitcpio",
            "/usr/bin/grub-mkconfig"
        ]
    );
    assert!(plan["steps"][2]["after"].as_str().unwrap().contains("\"loglevel=3 quiet intel_iommu=on vfio-pci.ids=10de:1f91,10de:10fa\""));
    assert!(plan["expects"].as_array().unwrap().iter().any(|e| e["when"] == "after_reboot" && e["what"] == "the IOMMU is on"));
    assert_eq!(plan["refused"], serde_json::json!([]));
}

#[test]
fn exit_codes_are_as_documented() {
    let (host, dir) = (laptop(), Dir::new("codes"));
    let host = host.to_str().unwrap();
    let not_a_capture = dir.0.join("x");
    fs::write(&not_a_capture, "nothing").unwrap();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["frobnicate"], 2, "frobnicate"),
        (&["plan"], 2, "cede status"),
        (&["--host", host, "groups", "99:00.0"], 2, " devices` lists them"),
        (&["--host", "/nonexistent", "groups"], 3, "/nonexistent"),
        (&["--host", not_a_capture.to_str().unwrap(), "groups"], 3, "cede capture"),
        (&["--root", dir.0.to_str().unwrap(), "groups"], 3, "--host FILE"),
        (&["--host", host, "plan", "00:01.0"], 4, "bridge"),
        (&["--host", host, "plan", "02:00.0"], 4, "nvme0n1p2 → /"),
        (&["--host", host, "verify"], 1, &format!("`cede --host {host} status` shows")),
    ];
    for (arguments, wanted, words) in cases {
        let output = cede(arguments);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(code(&output), wanted, "{arguments:?}: {said}");
        assert!(flat(&said).contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn a_mounted_system_is_changed_and_brought_back_to_the_byte() {
    let dir = Dir::new("mounted");
    unpack(&laptop(), &dir.0);
    let root = dir.0.to_str().unwrap();
    let before = manifest(&dir.0.join("etc"));
    assert_eq!(code(&cede(&["--root", root, "apply", "01:00.0"])), 4, "nobody can answer, so nothing happens");
    assert_eq!(manifest(&dir.0.join("etc")), before);
    let nothing = text(&cede(&["--root", root, "undo", "--yes"]).stdout);
    assert!(nothing.contains(&format!("`cede --root {root} log` shows")), "{nothing}");
    let applied = cede(&["--root", root, "apply", "01:00.0", "--yes"]);
    let said = text(&applied.stdout);
    assert_eq!(code(&applied), 1, "its tools still have to be run: {said}{}", text(&applied.stderr));
    assert!(said.contains("/usr/bin/mkinitcpio -P"), "{said}");
    assert!(fs::read_to_string(dir.0.join("etc/default/grub")).unwrap().contains("intel_iommu=on"));
    let log = json(&cede(&["--root", root, "log", "--json"]));
    assert_eq!((log["operations"][0]["state"].as_str(), log["operations"].as_array().unwrap().len()), (Some("in force"), 1));
    let again = cede(&["--root", root, "apply", "01:00.0", "--yes"]);
    assert!(text(&again.stdout).contains("nothing to do"), "{}", text(&again.stdout));
    let verified = cede(&["--root", root, "verify"]);
    let said = text(&verified.stdout);
    assert!(code(&verified) == 1 && said.starts_with("not ready for the reboot\n"), "{said}");
    assert!(said.contains("not met     /boot/initramfs-linux.img loads vfio_pci early"), "{said}");
    assert!(
        said.contains(&format!("\nNext: run these there (chroot), then `sudo cede --root {root} verify`\n  /usr/bin/mkinitcpio -P\n")),
        "{said}"
    );
    let status = text(&cede(&["--root", root, "status"]).stdout);
    assert!(status.starts_with("Attention what was made for the next start is not as planned"), "{status}");
    assert!(status.contains("from the next start on: 0000:01:00.0, 0000:01:00.1\nCan go    nothing more\n"), "{status}");
    let undone = cede(&["--root", root, "undo", "--yes"]);
    assert_eq!(code(&undone), 1, "{}{}", text(&undone.stdout), text(&undone.stderr));
    assert_eq!(manifest(&dir.0.join("etc")), before);
}

/// As in a container that was entered: the leader of the session is outside the pid namespace, so `getsid(2)` gives 0.
#[test]
fn a_session_that_began_outside_the_pid_namespace_is_no_fault() {
    let dir = Dir::new("session");
    unpack(&laptop(), &dir.0);
    let inside = |program: &[&str]| {
        let unshare = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--"];
        Command::new("unshare").args(unshare).args(program).output().unwrap()
    };
    if !inside(&["true"]).status.success() {
        eprintln!("skipped: this machine allows no user namespace");
        return;
    }
    let applied = inside(&[env!("CARGO_BIN_EXE_cede"), "--root", dir.0.to_str().unwrap(), "apply", "01:00.0", "--yes"]);
    assert_eq!(code(&applied), 1, "its tools still have to be run: {}{}", text(&applied.stdout), text(&applied.stderr));
}

#[test]
fn a_saved_plan_is_refused_once_the_host_changed() {
    let dir = Dir::new("saved");
    unpack(&laptop(), &dir.0);
    let (root, plan) = (dir.0.to_str().unwrap(), dir.0.join("plan.json"));
    assert_eq!(code(&cede(&["--root", root, "plan", "01:00.0", "--out", plan.to_str().unwrap()])), 0);
    let grub = dir.0.join("etc/default/grub");
    let old = fs::read_to_string(&grub).unwrap();
    fs::write(&grub, format!("{old}# mine\n")).unwrap();
    let output = cede(&["--root", root, "apply", "--plan", plan.to_str().unwrap(), "--yes"]);
    assert_eq!(code(&output), 5, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("/etc/default/grub changed"), "{}", text(&output.stderr));
    fs::write(&grub, old).unwrap();
    assert_eq!(code(&cede(&["--root", root, "apply", "--plan", plan.to_str().unwrap(), "--yes"])), 1);
    assert!(fs::read_to_string(&grub).unwrap().contains("vfio-pci.ids=10de:1f91,10de:10fa"));
}

#[test]
fn losses_are_accepted_by_exactly_their_names() {
    let host = laptop();
    let cede = |arguments: &[&str]| cede(&[&["--host", host.to_str().unwrap(), "plan"], arguments].concat());
    let refused = cede(&["02:00.0"]);
    let said = text(&refused.stdout);
    assert_eq!(code(&refused), 4, "{said}");
    assert!(said.contains("0000:02:00.0 nvme → nvme0n1p2 → /: "), "{said}");
    assert!(said.trim_end().ends_with("plan 0000:02:00.0 --accept-loss root-disk --accept-loss boot-disk"), "{said}");
    let list = json(&cede(&["02:00.0", "--json"]))["refused"].clone();
    assert_eq!((list[0]["id"].as_str(), list[0]["acceptable"].as_bool()), (Some("root-disk"), Some(true)), "{list}");
    assert_eq!(code(&cede(&["02:00.0", "--accept-loss", "root-disk"])), 4, "one of two");
    let all = ["02:00.0", "--accept-loss", "root-disk", "--accept-loss", "boot-disk"];
    let planned = cede(&all);
    assert_eq!(code(&planned), 0, "{}", text(&planned.stdout));
    assert!(text(&planned.stdout).contains("note lost, as accepted (root-disk): 0000:02:00.0 nvme → nvme0n1p2 → /"));
    assert!(
        text(&planned.stdout).trim_end().ends_with("apply 0000:02:00.0 --accept-loss root-disk --accept-loss boot-disk (on that host)")
    );
    for (names, hint) in [
        (&["01:00.0", "--accept-loss", "swap"][..], "nothing is lost"),
        (&[&all[..], &["--accept-loss", "swap"]].concat(), "what is lost: root-disk, boot-disk"),
    ] {
        let needless = cede(names);
        assert_eq!(code(&needless), 2, "{names:?}");
        assert!(text(&needless.stderr).contains(hint), "{}", text(&needless.stderr));
    }
    let unknown = cede(&["01:00.0", "--accept-loss", "everything"]);
    assert!(code(&unknown) == 2 && text(&unknown.stderr).contains("network-route"));
}

#[test]
fn what_was_accepted_is_kept_and_looked_at_again() {
    let dir = Dir::new("accepted");
    unpack(&laptop(), &dir.0);
    let (root, plan) = (dir.0.to_str().unwrap(), dir.0.join("plan.json"));
    let losses = ["--accept-loss", "root-disk", "--accept-loss", "boot-disk"];
    let saved = cede(&[&["--root", root, "plan", "02:00.0", "--out", plan.to_str().unwrap()], &losses[..]].concat());
    assert_eq!(code(&saved), 0, "{}", text(&saved.stdout));
    let apply = || cede(&["--root", root, "apply", "--plan", plan.to_str().unwrap(), "--yes"]);
    let swaps = dir.0.join("proc/swaps");
    let before = fs::read_to_string(&swaps).unwrap();
    fs::write(&swaps, format!("{before}/dev/nvme0n1p2 partition 8 0 -2\n")).unwrap();
    let refused = apply();
    assert_eq!(code(&refused), 4, "{}{}", text(&refused.stdout), text(&refused.stderr));
    assert!(text(&refused.stdout).contains("nvme0n1p2 → swap"), "{}", text(&refused.stdout));
    fs::write(&swaps, before).unwrap();
    let applied = apply();
    assert_eq!(code(&applied), 1, "its tools still have to be run: {}{}", text(&applied.stdout), text(&applied.stderr));
    let journal = fs::read_to_string(dir.0.join("var/lib/cede/operations/0001.jsonl")).unwrap();
    assert!(journal.contains("\"accepted\":[\"root-disk\",\"boot-disk\"]"), "{journal}");
    let forged = fs::read_to_string(&plan).unwrap().replace("\"boot-disk\"", "\"anything\"");
    fs::write(&plan, forged).unwrap();
    let output = apply();
    assert!(code(&output) == 2 && flat(&text(&output.stderr)).contains("`anything` is no loss"), "{}", text(&output.stderr));
}

#[test]
fn the_demo_walks_the_whole_road() {
    let output = cede(&["demo"]);
    let said = text(&output.stdout);
    assert_eq!(code(&output), 0, "{said}{}", text(&output.stderr));
    for part in [
        "off: the firmware offers it",
        "+GRUB_CMDLINE_LINUX_DEFAULT=\"loglevel=3 quiet intel_iommu=on vfio-pci.ids=10de:1f91,10de:10fa\"",
        "verified: everything is as planned",
        "Undo operation 1",
        "every file of the laptop is byte for byte what it was",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

/// What libvirt would run must be the running system's.
#[test]
fn a_hook_is_for_the_machine_itself() {
    let host = laptop();
    let dir = Dir::new("hook");
    for elsewhere in [["--host", host.to_str().unwrap()], ["--root", dir.0.to_str().unwrap()]] {
        let output = cede(&[&elsewhere[..], &["hook", "install", "win11", "01:00.0"]].concat());
        assert_eq!(code(&output), 2, "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("the machine that it is asked on"), "{}", text(&output.stderr));
    }
    let here = cede(&["hook", "install", "../win11", "01:00.0"]);
    assert!(code(&here) == 4, "{}{}", text(&here.stdout), text(&here.stderr));
}
