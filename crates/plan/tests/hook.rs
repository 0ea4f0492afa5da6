//! The hook for libvirt: what is written, for whom, and that the script does what is meant.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the script is run by a shell; and clippy's exemption of tests does not reach what stands beside the tests here"
)]

use cede_model::{Entry, Host};
use cede_plan::guard::Loss;
use cede_plan::hook::{HookWish, LIBVIRT, definition, path, plan, put_back, taken_off};
use cede_plan::{Plan, Step};
use std::process::Command;

const LAPTOP: &str = include_str!("../../../fixtures/hosts/gigabyte-x570-aorus-master/host.capture");

fn host() -> Host {
    let mut capture = cede_model::capture_text::parse(LAPTOP).unwrap();
    capture.insert(LIBVIRT, Entry::Dir);
    for driver in ["nvidia", "snd_hda_intel"] {
        capture.insert(format!("/sys/bus/pci/drivers/{driver}/unbind"), Entry::Present(4096));
    }
    capture.insert("/sys/bus/pci/drivers/vfio-pci", Entry::Dir);
    capture.insert("/sys/bus/pci/devices/0000:0a:00.0/boot_vga", Entry::File(b"1\n".to_vec()));
    Host::from_capture(capture)
}

fn wish(domain: &str) -> HookWish {
    HookWish {
        domain: domain.into(),
        addresses: vec!["0a:00.0".parse().unwrap()],
        program: "/usr/local/bin/cede".into(),
        accepted: vec![Loss::parse("only-display").unwrap()],
        display_manager: true,
    }
}

/// What the plan for a guest writes.
fn script_of(wish: &HookWish) -> String {
    let plan = plan(&host(), wish);
    let Some(Step::ReplaceFile { after: Some(script), .. }) = plan.steps.first() else { panic!("{:?}", plan.refused) };
    String::from_utf8(script.clone()).unwrap()
}

fn refused(plan: &Plan) -> Vec<&str> {
    assert!(plan.steps.is_empty());
    plan.refused.iter().map(|refusal| refusal.id).collect()
}

/// Runs the script with a program in the place of cede that tells its arguments and fails.
fn run(script: &str, arguments: &[&str]) -> (i32, String, String) {
    let end = Command::new("sh").args(["-c", script, "hook"]).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (end.status.code().unwrap(), text(&end.stdout), text(&end.stderr))
}

#[test]
fn the_script_passes_on_two_events_of_one_guest_and_the_end() {
    let mut wish = wish("win-11");
    wish.program = "/nonexistent/cede of mine".into();
    let script = script_of(&wish);
    for (name, event, sub) in [("other", "prepare", "begin"), ("win-11", "started", "begin"), ("win-11", "release", "begin")] {
        assert_eq!(run(&script, &[name, event, sub, "-"]), (0, String::new(), String::new()), "{name} {event} {sub}");
    }
    let (end, out, err) = run(&script, &["win-11", "prepare", "begin", "-"]);
    assert!(end == 127 && out.is_empty() && err.contains("/nonexistent/cede of mine"), "{end} {out} {err}");
    wish.program = "echo".into();
    let (end, out, err) = run(&script_of(&wish), &["win-11", "release", "end", "-"]);
    assert_eq!((end, out.as_str(), err.as_str()), (0, "", "hook run --display-manager --accept-loss only-display -- win-11 release\n"));
}

#[test]
fn a_name_that_leads_elsewhere_is_none() {
    for bad in ["", "..", ".hidden", "a/b", "../a", "a\nb", &"x".repeat(201)] {
        assert_eq!(path(bad), None, "{bad}");
    }
    let odd: Vec<String> = ["a b", "a_b", "ä", "ö", "$(a)", "a'b", "-a"].into_iter().filter_map(path).collect();
    let is_plain = |path: &String| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    assert!(odd.len() == 7 && odd.iter().all(is_plain), "{odd:?}");
    assert!((1..odd.len()).all(|at| !odd[at..].contains(&odd[at - 1])), "no two share a file: {odd:?}");
    assert_eq!(path("win-11.1_+").as_deref(), Some("/etc/libvirt/hooks/qemu.d/50-cede-win-11.1_+"));
}

#[test]
fn the_script_is_sound_whatever_the_guest_is_called() {
    for name in ["win 11", "it's", "$(id)", "-n", "grün", "a*b"] {
        let wish = HookWish { program: "echo".into(), ..wish(name) };
        let script = script_of(&wish);
        let (end, out, err) = run(&script, &[name, "prepare", "begin", "-"]);
        assert_eq!((end, out.as_str()), (0, ""), "{name}: {err}");
        assert!(err.contains(&format!(" -- {name} prepare")), "{err}");
        assert_eq!(run(&script, &["other", "prepare", "begin", "-"]).2, "");
    }
}

/// The modules that a running desktop has over the driver.
const OVER: [&str; 3] = ["nvidia_drm", "nvidia_modeset", "nvidia_uvm"];

#[test]
fn what_lies_over_the_only_displays_driver_is_taken_off_and_put_back() {
    let mut host = host();
    let card = ["0a:00.0".parse().unwrap()];
    let tools = |list: Vec<Vec<String>>| -> Vec<String> {
        list.iter().map(|argv| if argv[0] == "/bin/sh" { format!("consoles {}", argv[4]) } else { argv.join(" ") }).collect()
    };
    assert_eq!(tools(taken_off(&host, &card)), [""; 0], "nothing lies over it");
    OVER.iter().for_each(|module| host.capture.insert(format!("/sys/module/{module}"), Entry::Dir));
    let over = ["consoles 0", "/sbin/rmmod nvidia_drm", "/sbin/rmmod nvidia_modeset", "/sbin/rmmod nvidia_uvm"];
    assert_eq!(tools(taken_off(&host, &card)), over, "nvidia itself stays: it is to have the card again");
    assert_eq!(tools(taken_off(&host, &["0a:00.1".parse().unwrap()])), [""; 0]);
    // A desktop of today can have the hook; a hook that stops none says what would.
    assert_eq!(plan(&host, &wish("win11")).refused, []);
    let without = plan(&host, &HookWish { display_manager: false, ..wish("win11") });
    assert_eq!(refused(&without), ["unsafe-driver"]);
    assert!(without.refused[0].message.contains("--display-manager"), "{:?}", without.refused);
    // Modules that this kernel has come back, in the order of what needs what.
    host.capture.insert("/proc/sys/kernel/osrelease", Entry::File(b"6.1.0-44-amd64\n".to_vec()));
    let modules = "updates/nvidia.ko:\nupdates/nvidia-drm.ko: updates/nvidia.ko\nupdates/nvidia-modeset.ko: updates/nvidia.ko\n";
    host.capture.insert("/lib/modules/6.1.0-44-amd64/modules.dep", Entry::File(modules.into()));
    let host = Host::from_capture(host.capture);
    assert_eq!(tools(put_back(&host, &card)), ["/sbin/modprobe -- nvidia_modeset", "/sbin/modprobe -- nvidia_drm", "consoles 1"]);
    assert_eq!(tools(put_back(&host, &["0a:00.1".parse().unwrap()])), [""; 0]);
}

#[test]
fn a_profile_that_would_keep_the_guest_from_starting_is_told() {
    let profiles = |text: &str, rules: &str, program: &str| {
        let mut host = host();
        host.capture.insert("/sys/kernel/security/apparmor/profiles", Entry::File(text.as_bytes().to_vec()));
        host.capture.insert("/etc/apparmor.d/local/usr.sbin.libvirtd", Entry::File(rules.as_bytes().to_vec()));
        plan(&host, &HookWish { program: program.into(), ..wish("win11") }).refused
    };
    let enforced = "/usr/bin/man (enforce)\nlibvirtd (enforce)\nlibvirtd//qemu_bridge_helper (enforce)\n";
    let refused = profiles(enforced, "# none\n", "/usr/local/bin/cede");
    assert_eq!(refused.len(), 1, "{refused:?}");
    for text in ["/etc/apparmor.d/local/usr.sbin.libvirtd", "`\"/usr/local/bin/cede\" PUx,`", "apparmor_parser -r"] {
        assert!(refused[0].message.contains(text) && refused[0].id == "apparmor", "{refused:?}");
    }
    for (text, rules, program) in [
        (enforced, "", "/usr/bin/cede"),
        (enforced, "  \"/usr/local/bin/cede\" PUx,\n", "/usr/local/bin/cede"),
        (enforced, "/usr/local/bin/cede PUxr,", "/usr/local/bin/cede"),
        ("libvirtd (complain)\n", "", "/usr/local/bin/cede"),
        ("", "", "/usr/local/bin/cede"),
    ] {
        assert_eq!(profiles(text, rules, program), [], "{rules} {program}");
    }
    for rules in ["/usr/local/bin/cede r,", "# /usr/local/bin/cede PUx,", "/usr/local/bin/cede2 PUx,"] {
        assert_eq!(profiles(enforced, rules, "/usr/local/bin/cede").len(), 1, "{rules}");
    }
}

#[test]
fn what_selinux_needs_is_told_where_it_enforces() {
    let notes = |enforce: Option<&str>, switch: Option<&str>| {
        let mut host = host();
        for (path, value) in [("enforce", enforce), ("booleans/virt_hooks_unconfined", switch)] {
            host.capture
                .insert(format!("/sys/fs/selinux/{path}"), value.map_or(Entry::Absent, |text| Entry::File(text.as_bytes().to_vec())));
        }
        plan(&host, &wish("win11")).notes.join("\n")
    };
    for (enforce, switch, label, lets) in [
        (None, None, false, false),
        (Some("0"), Some("0 0"), false, false),
        (Some("1"), None, true, false),
        (Some("1"), Some("1 1"), true, false),
        (Some("1"), Some("0 0"), true, true),
    ] {
        let said = notes(enforce, switch);
        assert_eq!(
            (said.contains("`sudo restorecon -R /etc/libvirt/hooks`"), said.contains("`sudo setsebool -P ")),
            (label, lets),
            "{said}"
        );
    }
}

#[test]
fn what_is_there_already_is_kept() {
    let mut host = host();
    let first = plan(&host, &wish("win11"));
    assert!(first.refused.is_empty(), "{:?}", first.refused);
    assert_eq!(first.devices.len(), 2, "the whole group");
    let Some(Step::ReplaceFile { path, after: Some(script), .. }) = first.steps.first() else { panic!("{:?}", first.steps) };
    host.capture.insert(path.clone(), Entry::File(script.clone()));
    let again = plan(&host, &wish("win11"));
    assert!(again.is_empty(), "{again:?}");
    let other = HookWish { display_manager: false, ..wish("win11") };
    assert_eq!(refused(&plan(&host, &other)), ["hook-in-force"]);
    host.capture.insert(path.clone(), Entry::File(b"#!/bin/sh\n# mine\n".to_vec()));
    assert_eq!(refused(&plan(&host, &wish("win11"))), ["hook-not-ours"]);
    host.capture.insert(path.clone(), Entry::Unreadable("EACCES".into()));
    assert_eq!(refused(&plan(&host, &wish("win11"))), ["hook-not-ours"]);
}

#[test]
fn the_devices_of_the_definition_are_taken() {
    let mut host = host();
    let wish = HookWish { addresses: Vec::new(), ..wish("win11") };
    assert_eq!(refused(&plan(&host, &wish)), ["no-domain"]);
    let xml = |devices: &str| Entry::File(format!("<domain><name>win11</name><devices>{devices}</devices></domain>").into_bytes());
    host.capture.insert(definition("win11"), xml(""));
    assert_eq!(refused(&plan(&host, &wish)), ["no-domain-device"]);
    let source =
        "<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x0a' slot='0x00' function='0x0'/></source></hostdev>";
    host.capture.insert(definition("win11"), xml(source));
    assert_eq!(plan(&host, &wish).devices.len(), 2);
}

#[test]
fn what_the_host_would_lose_is_refused_by_name() {
    let host = host();
    let wish = HookWish { accepted: Vec::new(), ..wish("win11") };
    let plan_of = |accepted: Vec<Loss>| plan(&host, &HookWish { accepted, ..wish.clone() });
    let losses: Vec<Loss> = refused(&plan_of(Vec::new())).into_iter().map(|id| Loss::parse(id).unwrap()).collect();
    assert!(!losses.is_empty());
    let accepted = plan_of(losses.clone());
    assert!(accepted.refused.is_empty() && accepted.accepted == losses, "{accepted:?}");
}
