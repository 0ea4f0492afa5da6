//! Damaged and interrupted journals, through the built binary: every verb says what is wrong and changes nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use support::{Dir, flat, laptop, manifest, unpack};

const VERBS: [&[&str]; 7] =
    [&["status"], &["log"], &["verify"], &["recover"], &["undo", "--yes"], &["redo", "--yes"], &["apply", "01:00.0", "--yes"]];

/// A host with one operation in force.
struct Applied {
    dir: Dir,
    journal: PathBuf,
    whole: Vec<u8>,
    before: Vec<(PathBuf, u32, Vec<u8>)>,
}

impl Applied {
    fn new(name: &str) -> Self {
        let dir = Dir::new(name);
        unpack(&laptop(), &dir.0);
        let before = manifest(&dir.0.join("etc"));
        let journal = dir.0.join("var/lib/cede/operations/0001.jsonl");
        let mut host = Self { dir, journal, whole: Vec::new(), before };
        assert!(host.run(&["apply", "01:00.0", "--yes"]).1.contains("not finished"));
        host.whole = fs::read(&host.journal).unwrap();
        host
    }

    /// Exit status and both streams; a run of more than 20 seconds or 1 GiB is a failure.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new("timeout");
        command.args(["20", "prlimit", "--as=1073741824", env!("CARGO_BIN_EXE_cede"), "--root", self.dir.0.to_str().unwrap()]);
        let output = command.args(arguments).env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{arguments:?}: {said:?}");
        (output.status.code().unwrap(), said)
    }

    /// The journal up to where the operation was cut off: everything was written, and nothing closed it.
    fn open(&self) -> Vec<u8> {
        let text = String::from_utf8_lossy(&self.whole);
        let end = text.rfind("\n{\"record\":\"finished\"").unwrap();
        self.whole[..end].to_vec()
    }
}

#[test]
fn our_own_state_is_for_root_alone() {
    let host = Applied::new("state");
    let own = host.dir.0.join("var/lib/cede");
    let open: Vec<_> = manifest(&own).into_iter().filter(|(_, mode, _)| mode & 0o077 != 0).collect();
    assert!(open.is_empty() && manifest(&own).len() > 2, "{open:?}");
    assert_eq!(manifest(&host.dir.0.join("var")).iter().find(|(path, ..)| path.ends_with("var/lib")).unwrap().1 & 0o777, 0o755);
}

#[test]
fn a_state_that_others_can_write_is_closed_or_refused() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let host = Applied::new("open");
    let own = host.dir.0.join("var/lib/cede");
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for path in [&own, &own.join("operations")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    assert_eq!(host.run(&["undo", "--yes"]).0, 1);
    assert_eq!((mode(&own), mode(&own.join("operations"))), (0o700, 0o700));
    if chown(&own, Some(12345), None).is_ok() {
        for verb in [&["redo", "--yes"][..], &["recover"], &["apply", "01:00.0", "--yes"]] {
            let (code, said) = host.run(verb);
            assert!(code == 4 && said.contains("belongs to user 12345") && said.contains("chown"), "{verb:?}: {code} {said}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_named_and_nothing_is_done() {
    let host = Applied::new("damaged");
    let begin = host.whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let with = |middle: &[u8]| [&host.whole[..begin], middle, &host.whole[begin..]].concat();
    let text = String::from_utf8(host.whole.clone()).unwrap();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "0001.jsonl"),
        (host.whole[..begin / 2].to_vec(), "does not begin"),
        (vec![0; 4096], "does not begin"),
        ([vec![0; 4096], b"\n".to_vec()].concat(), "0001.jsonl:1"),
        (with(b"garbage\n"), "0001.jsonl:2"),
        (with(b"\x1b]0;owned\x07\xff\xfe\n"), "0001.jsonl:2"),
        (with(&host.whole[..begin]), "one record"),
        (with(b"{\"record\":\"kept\",\"path\":\"/usr/bin/ls\",\"copy\":null}\n"), "no such file"),
        (with(b"{\"record\":\"started\",\"step\":99}\n"), "no such step"),
        (text.replace("cede.journal/1", "cede.journal/9\\u001b[2J").into_bytes(), "another version"),
        (text.replace("\"/etc/default/grub\"", "\"/usr/bin/ls\"").into_bytes(), "does not write there"),
        (vec![b'x'; 17 << 20], "EFBIG"),
    ];
    let changed = manifest(&host.dir.0.join("etc"));
    for (bytes, words) in cases {
        fs::write(&host.journal, &bytes).unwrap();
        for verb in VERBS {
            let (code, said) = host.run(verb);
            let wanted = if verb == ["status"] { 0 } else { 3 };
            assert!(code == wanted && said.contains(words) && said.contains("0001.jsonl"), "{verb:?} of {words}: {code} {said}");
        }
        assert_eq!(manifest(&host.dir.0.join("etc")), changed, "{words}");
        assert_eq!(fs::read(&host.journal).unwrap(), bytes);
    }
}

#[test]
fn a_journal_that_is_elsewhere_is_not_the_same_as_none() {
    let host = Applied::new("elsewhere");
    let own = host.dir.0.join("var/lib/cede");
    fs::rename(&own, host.dir.0.join("kept")).unwrap();
    symlink("/data/cede", &own).unwrap();
    let refused = |words: &str| {
        for verb in VERBS {
            let (code, said) = host.run(verb);
            assert!(flat(&said).contains(words) && (code == 3 || code == 4 || verb == ["status"]), "{verb:?}: {code} {said}");
        }
    };
    refused("is a link, and what it leads to has no journal");
    fs::remove_file(&own).unwrap();
    fs::write(host.dir.0.join("etc/fstab"), "UUID=a /var btrfs subvol=/@var 0 0\n").unwrap();
    refused("mount -o subvol=/@var UUID=a ");
}

#[test]
fn what_is_no_file_is_neither_passed_over_nor_waited_for() {
    let host = Applied::new("nofile");
    let changed = manifest(&host.dir.0.join("etc"));
    type Maker = fn(&std::path::Path);
    let makers: [Maker; 4] = [
        |path| fs::create_dir(path).unwrap(),
        |path| symlink("/nowhere", path).unwrap(),
        |path| symlink(path, path).unwrap(),
        |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
    ];
    for (index, make) in makers.into_iter().enumerate() {
        fs::remove_file(&host.journal).or_else(|_| fs::remove_dir(&host.journal)).unwrap();
        make(&host.journal);
        for verb in VERBS {
            let (code, said) = host.run(verb);
            let wanted = if verb == ["status"] { 0 } else { 3 };
            assert!(code == wanted && said.contains("0001.jsonl"), "{index} {verb:?}: {code} {said}");
        }
        assert_eq!(manifest(&host.dir.0.join("etc")), changed);
    }
}

#[test]
fn after_an_interruption_nothing_else_is_begun_and_recover_brings_every_byte_back() {
    let host = Applied::new("interrupted");
    let half = b"\n{\"record\":\"do".as_slice();
    for tail in [b"\n".as_slice(), half, b"\n\0\0\0\0\0\0", b"\n\0\0\0\n"] {
        let mut bytes = host.open();
        bytes.extend_from_slice(tail);
        fs::write(&host.journal, &bytes).unwrap();
        let changed = manifest(&host.dir.0.join("etc"));
        for verb in [&["apply", "01:00.0", "--yes"][..], &["undo", "--yes"], &["redo", "--yes"]] {
            let (code, said) = host.run(verb);
            let command = format!("sudo cede --root {} recover", host.dir.0.display());
            assert!(code == 4 && said.contains("operation 1") && said.contains(&command), "{verb:?}: {code} {said}");
        }
        assert!(host.run(&["status"]).1.contains("do not reboot"));
        assert_eq!(manifest(&host.dir.0.join("etc")), changed);
        let (code, said) = host.run(&["recover"]);
        assert!(code == 0 && said.contains("rolled back operation 1"), "{code} {said}");
        assert_eq!(manifest(&host.dir.0.join("etc")), host.before, "{tail:?}");
        assert!(host.run(&["log"]).1.contains("rolled back"));
        assert!(host.run(&["recover"]).1.contains("nothing to do"));
        fs::remove_file(&host.journal).unwrap();
        assert!(host.run(&["apply", "01:00.0", "--yes"]).1.contains("not finished"));
    }
}

#[test]
fn a_journal_that_lost_its_end_leaves_no_file_behind() {
    let host = Applied::new("shortened");
    let text = String::from_utf8_lossy(&host.whole).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    for kept in 1..lines.len() {
        fs::write(&host.journal, format!("{}\n", lines[..kept].join("\n"))).unwrap();
        let (code, said) = host.run(&["recover"]);
        // The tools that may have run cannot be run in this root, and that is said.
        assert!(code == 0 || (code == 7 && said.contains("mkinitcpio -P")), "{kept}: {code} {said}");
        assert_eq!(manifest(&host.dir.0.join("etc")), host.before, "{kept}");
        fs::remove_dir_all(host.dir.0.join("var/lib/cede")).unwrap();
        assert!(host.run(&["apply", "01:00.0", "--yes"]).1.contains("not finished"));
    }
}

#[test]
fn recover_keeps_what_somebody_else_changed_since() {
    let host = Applied::new("others");
    fs::write(&host.journal, host.open()).unwrap();
    let grub = host.dir.0.join("etc/default/grub");
    let mine = "# mine\nGRUB_DISABLE_OS_PROBER=false\n";
    fs::write(&grub, format!("{}{mine}", fs::read_to_string(&grub).unwrap())).unwrap();
    fs::remove_file(host.dir.0.join("etc/modprobe.d/00-cede.conf")).unwrap();
    let (code, said) = host.run(&["recover"]);
    assert_eq!(code, 0, "{said}");
    let before = host.before.iter().find(|(path, ..)| *path == grub).unwrap();
    assert_eq!(fs::read_to_string(&grub).unwrap(), format!("{}{mine}", String::from_utf8_lossy(&before.2)));
}

#[test]
fn recover_overwrites_nothing_that_clashes_and_says_so() {
    let host = Applied::new("clash");
    fs::write(&host.journal, host.open()).unwrap();
    let grub = host.dir.0.join("etc/default/grub");
    fs::write(&grub, "GRUB_CMDLINE_LINUX_DEFAULT=\"wholly other\"\n").unwrap();
    let (code, said) = host.run(&["recover"]);
    assert!(code == 7 && said.contains("/etc/default/grub") && said.contains("cede recover"), "{code} {said}");
    assert_eq!(fs::read_to_string(&grub).unwrap(), "GRUB_CMDLINE_LINUX_DEFAULT=\"wholly other\"\n");
    let before = host.before.iter().find(|(path, ..)| *path == grub).unwrap();
    fs::write(&grub, &before.2).unwrap();
    assert_eq!(host.run(&["recover"]).0, 0, "once the file is in order, it ends");
    assert_eq!(manifest(&host.dir.0.join("etc")), host.before);
}

#[test]
fn an_operation_that_is_missing_is_named() {
    let host = Applied::new("missing");
    host.run(&["apply", "00:02.0", "--accept-loss", "only-display", "--yes"]);
    host.run(&["undo", "2", "--yes"]);
    fs::remove_file(host.journal.with_file_name("0002.jsonl")).unwrap();
    let (code, said) = host.run(&["log"]);
    assert!(code == 0 && flat(&said).contains("operations/0002.jsonl is missing: what operation 2 did"), "{said}");
    let (_, said) = host.run(&["undo", "1", "--yes"]);
    assert!(flat(&said).contains("note /var/lib/cede/operations/0002.jsonl is missing: what operation 2 wrote counts as"), "{said}");
    // A stranger's journal, of any number.
    fs::write(
        host.journal.with_file_name("4000000000.jsonl"),
        String::from_utf8_lossy(&host.whole).replace("\"number\":1,", "\"number\":4000000000,"),
    )
    .unwrap();
    let (_, said) = host.run(&["log"]);
    assert!(flat(&said).contains("0005.jsonl to /var/lib/cede/operations/3999999999.jsonl are missing: what operations 5 to"), "{said}");
    let (_, said) = Applied::new("none-missing").run(&["log"]);
    assert!(!said.contains("missing"), "{said}");
}
