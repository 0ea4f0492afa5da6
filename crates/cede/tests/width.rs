//! Text is 80 columns wide where no terminal says otherwise.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use support::{Dir, cede, fixtures, laptop, unpack};

const COLUMNS: usize = 80;

/// Rows of tables are whole for other programs, and commands and lines of files are for copying.
fn may_be_wider(line: &str) -> bool {
    let words = line.trim_start();
    ["0000:", "10000:", "cede ", "sudo cede ", "Next: ", "next: ", "<"].iter().any(|start| words.starts_with(start))
        || line.starts_with(['+', '-', '@'])
}

/// What a command says where nobody looks; the lines of it that are too wide.
fn too_wide(directory: &Path, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_cede")).args(arguments).env_clear().current_dir(directory).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!said.is_empty(), "{arguments:?}");
    let wide = said.lines().filter(|line| line.chars().count() > COLUMNS && !may_be_wider(line));
    wide.map(|line| format!("{arguments:?}: {line}")).collect()
}

#[test]
fn no_line_of_text_is_wider_than_eighty_columns() {
    let mut wide = Vec::new();
    for host in fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()) {
        let mut run = |arguments: &[&str]| wide.extend(too_wide(&host, &[&["--host", "host.capture"], arguments].concat()));
        ["status", "check", "verify", "log", "undo"].iter().for_each(|verb| run(&[verb]));
        let listed = support::cede(&["--host", host.join("host.capture").to_str().unwrap(), "devices", "--json"]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        let devices: Vec<&str> = listed["devices"].as_array().unwrap().iter().map(|device| device["address"].as_str().unwrap()).collect();
        for device in devices.iter().step_by(devices.len() / 8 + 1).chain(devices.iter().filter(|device| device.ends_with(":00.0"))) {
            for verb in [&["explain"][..], &["plan", "-v"], &["check"], &["prove"], &["handoff", "--to", "libvirt"]] {
                run(&[verb, &[device]].concat());
            }
        }
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));
}

#[test]
fn errors_are_wrapped_too() {
    let dir = Dir::new("width");
    unpack(&laptop(), &dir.0);
    let root = dir.0.to_str().unwrap();
    let long = "x".repeat(60);
    for arguments in [
        &["--root", root, "apply", "01:00.0", "--yes"][..],
        &["--root", root, "apply", "02:00.0", "--yes"],
        &["--root", root, "log"],
        &["--host", "/none/of/all", "status"],
        &["--lspci", "/none", "plan", "01:00.0"],
        &["plan", &long],
    ] {
        let wide = too_wide(&dir.0, arguments);
        let clean: Vec<&String> = wide.iter().filter(|line| !line.contains(&long)).collect();
        assert!(clean.is_empty(), "{clean:?}");
    }
}

#[test]
fn a_long_list_of_status_stays_on_one_screen() {
    let dir = Dir::new("screen");
    let functions: String = (1..=40)
        .map(|number| {
            format!(
                "dir /sys/bus/pci/devices/0000:01:{:02x}.{}\nfile /sys/bus/pci/devices/0000:01:{0:02x}.{1}/uevent\n| DRIVER=vfio-pci\n| PCI_CLASS=20000\n| PCI_ID=8086:10ED\n",
                number / 8,
                number % 8
            )
        })
        .collect();
    let file = dir.0.join("host.capture");
    fs::write(&file, format!("cede.capture/1\n{functions}")).unwrap();
    let output = cede(&["--host", file.to_str().unwrap(), "status"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("40 devices on vfio-pci") && text.contains(&format!("  and 24 more: `cede --host {} devices`", file.display())),
        "{text}"
    );
    assert!(text.lines().count() < 25, "{text}");
}
