//! Apply and undo over every configuration file there is among the fixtures: the bytes come back, also where a person wrote into the files between.
//!
//! `CEDE_UNDO_CORPUS=DIR` takes a directory with the same folders in the place of the fixtures.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests outside the pure crate: they read fixtures")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Capture, Entry, Host};
use cede_plan::intent::BindMethod;
use cede_plan::journal::{End, Operation, Verb};
use cede_plan::plan::{Plan, Step};
use cede_plan::undo::undo;
use std::path::{Path, PathBuf};
use support::machine::{GPU, Loader, Machine};
use support::{applied, plan_on};

/// A folder, and the machines and places into which its files are put.
struct Kind {
    folders: &'static [&'static str],
    machine: fn() -> Machine,
    place: fn(&str) -> String,
}

const KINDS: &[Kind] = &[
    Kind {
        folders: &["shell/grub", "shell/layouts", "grub"],
        machine: || Machine::arch(Loader::Grub),
        place: |_| "/etc/default/grub".into(),
    },
    Kind { folders: &["shell/grub", "shell/layouts", "grub"], machine: Machine::debian, place: |_| "/etc/default/grub".into() },
    Kind {
        folders: &["shell/grub", "shell/layouts", "grub"],
        machine: Machine::debian,
        place: |_| "/etc/default/grub.d/50-mine.cfg".into(),
    },
    Kind {
        folders: &["shell/mkinitcpio", "mkinitcpio"],
        machine: || Machine::arch(Loader::Grub),
        place: |_| "/etc/mkinitcpio.conf".into(),
    },
    Kind {
        folders: &["shell/mkinitcpio", "mkinitcpio"],
        machine: || Machine::arch(Loader::Grub),
        place: |_| "/etc/mkinitcpio.conf.d/50-mine.conf".into(),
    },
    Kind {
        folders: &["conf/modprobe.d", "modprobe.d"],
        machine: || Machine::arch(Loader::Grub),
        place: |name| format!("/etc/modprobe.d/{name}"),
    },
    Kind { folders: &["conf/modprobe.d", "modprobe.d"], machine: Machine::debian, place: |name| format!("/etc/modprobe.d/{name}") },
    Kind {
        folders: &["conf/systemd-boot", "systemd-boot"],
        machine: || Machine::arch(Loader::SystemdBoot),
        place: |name| format!("/boot/loader/entries/{name}"),
    },
    Kind { folders: &["conf/cmdline", "cmdline"], machine: || Machine::arch(Loader::SystemdBoot), place: |_| "/etc/kernel/cmdline".into() },
    Kind {
        folders: &["conf/initramfs-tools", "initramfs-tools"],
        machine: Machine::debian,
        place: |_| "/etc/initramfs-tools/modules".into(),
    },
];

type Edit = fn(&[u8]) -> Vec<u8>;

/// What a person does to a file, in a way that is the same for the file with and without our change.
const HANDS: &[(&str, Edit)] = &[
    ("nothing", <[u8]>::to_vec),
    ("a comment above", |text| [b"# above\n", text].concat()),
    ("a comment below", |text| {
        let end: &[u8] = if text.is_empty() || text.ends_with(b"\n") { b"" } else { b"\n" };
        [text, end, b"# below\n"].concat()
    }),
    ("the first line away", |text| {
        let first = text.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if text.starts_with(b"#") { text[first..].to_vec() } else { text.to_vec() }
    }),
    ("other line ends", |text| {
        let plain: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'\r').collect();
        plain.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>().join(&b"\r\n"[..])
    }),
];

#[derive(Default)]
struct Counts {
    files: usize,
    refused: usize,
    stories: usize,
    conflicts: Vec<String>,
}

fn files(folders: &[&str]) -> Vec<(String, Vec<u8>)> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let base = std::env::var_os("CEDE_UNDO_CORPUS").map_or(own, PathBuf::from);
    let mut list = Vec::new();
    for entry in folders.iter().filter_map(|folder| std::fs::read_dir(base.join(folder)).ok()).flatten() {
        let path = entry.unwrap().path();
        list.push((path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()));
    }
    list.sort();
    list
}

fn operation(number: u32, plan: &Plan) -> Operation {
    Operation {
        number,
        verb: Verb::Apply,
        time: 0,
        boot_id: None,
        plan: plan.clone(),
        started: Vec::new(),
        made: Vec::new(),
        kept: Vec::new(),
        end: Some(End::Applied),
    }
}

/// Every file of the machine that is no image and nothing that the kernel shows.
fn contents(capture: &Capture) -> Vec<(String, Vec<u8>)> {
    let files = capture.entries().filter_map(|(path, entry)| match entry {
        Entry::File(bytes) => Some((path.to_owned(), bytes.clone())),
        _ => None,
    });
    files.collect()
}

fn stories(what: &str, machine: &Machine, bind: BindMethod, counts: &mut Counts) {
    let plan = plan_on(&machine.capture, &[GPU], bind);
    if !plan.refused.is_empty() || plan.is_empty() {
        counts.refused += 1;
        return;
    }
    for hand in HANDS {
        story(&format!("{what}, {bind:?}, {}", hand.0), machine, &plan, hand.1, counts);
    }
}

fn story(what: &str, machine: &Machine, plan: &Plan, edit: Edit, counts: &mut Counts) {
    let operations = [operation(1, plan)];
    let (mut without, mut with) = (machine.capture.clone(), applied(&machine.capture, &plan.steps));
    for path in plan.steps.iter().filter_map(Step::path) {
        let clean = without.file(path).map(edit);
        // What a person writes into a file of ours alone is all that is left of it.
        let alone = clean.is_none().then(|| edit(b"")).filter(|bytes| bytes.starts_with(b"#"));
        if let Some(bytes) = clean.or(alone) {
            without.insert(path, Entry::File(bytes));
        }
        let bytes = edit(with.file(path).unwrap());
        with.insert(path, Entry::File(bytes));
    }
    counts.stories += 1;
    match undo(&Host::from_capture(with.clone()), &operations, &operations[0]) {
        Err(conflict) => counts.conflicts.push(format!("{what}: {conflict:?}")),
        Ok(back) => {
            let (left, wanted) = (contents(&applied(&with, &back.steps)), contents(&without));
            for (path, bytes) in &wanted {
                let found = left.iter().find(|(other, _)| other == path).map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
                assert_eq!(found, Some(String::from_utf8_lossy(bytes).into_owned()), "{what}: {path}");
            }
            assert_eq!(left, wanted, "{what}");
        }
    }
}

#[test]
fn every_file_comes_back_to_the_byte() {
    let mut counts = Counts::default();
    for kind in KINDS {
        for (name, bytes) in files(kind.folders) {
            counts.files += 1;
            let place = (kind.place)(&name);
            let machine = (kind.machine)().bytes(&place, &bytes);
            for bind in [BindMethod::Cmdline, BindMethod::Modprobe] {
                stories(&format!("{name} as {place}"), &machine, bind, &mut counts);
            }
        }
    }
    let Counts { files, refused, stories, conflicts } = counts;
    println!("{files} files, {stories} stories, {refused} refused by the planner, {} conflicts", conflicts.len());
    assert!(files > 30 && stories > 2 * files, "{files} files, {stories} stories");
    assert!(conflicts.is_empty(), "{}", conflicts.join("\n"));
}
