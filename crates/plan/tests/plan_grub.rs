//! Plans for `/etc/default/grub`, carried out and sourced by real shells as `grub-mkconfig` does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::Capture;
use cede_plan::intent::BindMethod;
use cede_plan::plan::step::inverse;
use similar::{ChangeTag, TextDiff};
use support::machine::{GPU, Loader, Machine};
use support::shell::{Scratch, run};
use support::{applied, assert_tells_what_to_do, paths, plan_on, refused};

const DIR: &str = "/etc/default/grub.d";

/// A layout: name, `/etc/default/grub`, drop-ins.
type Layout = (&'static str, Option<&'static [u8]>, &'static [(&'static str, &'static [u8])]);

/// The layouts that tools of the field were measured with.
const KNOWN: &[Layout] = &[
    ("A Debian default", Some(b"GRUB_DEFAULT=0\nGRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"\"\n"), &[]),
    ("B LUKS", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"loglevel=3 quiet\"\nGRUB_CMDLINE_LINUX=\"cryptdevice=UUID=1b7a:root:allow-discards root=/dev/mapper/root\"\n"), &[]),
    ("C single quotes", Some(b"GRUB_CMDLINE_LINUX_DEFAULT='nowatchdog quiet splash'\nGRUB_CMDLINE_LINUX=''\n"), &[]),
    ("D empty", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"\"\nGRUB_CMDLINE_LINUX=\"\"\n"), &[]),
    ("E unquoted", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=quiet\nGRUB_CMDLINE_LINUX=\n"), &[]),
    ("F consoles", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"console=tty0 console=ttyS0,115200n8\"\n"), &[]),
    ("G the user's own", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=on,sm_on amd_iommu=fullflush\"\n"), &[]),
    ("H comment", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet splash\" # my \"settings\"\n"), &[]),
    ("I backslash", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet \\\n  splash \\\n  loglevel=3\"\n"), &[]),
    ("J appends", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT splash\"\n"), &[]),
    ("K Fedora", Some(b"GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX=\"rhgb quiet rd.luks.uuid=luks-1b7a\"\n"), &[]),
    ("L escaped", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet acpi_osi=\\\"Windows 2012\\\" dyndbg=\\\"file a +p\\\"\"\n"), &[]),
    ("M single-quoted cryptdevice", Some(b"GRUB_CMDLINE_LINUX='cryptdevice=UUID=1b7a:root'\nGRUB_CMDLINE_LINUX_DEFAULT='quiet'\n"), &[]),
];

/// Others that hosts have.
const NASTY: &[Layout] = &[
    ("no final newline", Some(b"GRUB_TIMEOUT=1\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\""), &[]),
    ("Latin-1 comment", Some(b"# d\xe9marrage\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n# fin \xe0\n"), &[]),
    ("empty file", Some(b""), &[]),
    ("missing file", None, &[]),
    ("export", Some(b"export GRUB_CMDLINE_LINUX_DEFAULT=\"quiet splash\"\n"), &[]),
    ("two assignments", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"old\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"new quiet\"\n"), &[]),
    ("own ids", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet vfio-pci.ids=1b21:2142 splash\"\n"), &[]),
    ("own ids in the other variable", Some(b"GRUB_CMDLINE_LINUX=\"vfio-pci.ids=1b21:2142 rw\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[]),
    ("own ids, upper case and underscore", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"vfio_pci.ids=10DE:1F91 quiet\"\n"), &[]),
    ("own ids twice", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"vfio-pci.ids=1b21:1 a vfio-pci.ids=1b21:2 b\"\n"), &[]),
    ("already there", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=on vfio-pci.ids=10de:1f91,10de:10fa\"\n"), &[]),
    ("tabs and runs of blanks", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"  a\t b   c  \"\n"), &[]),
    ("off twice", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"intel_iommu=off quiet iommu=off intel_iommu=off\"\n"), &[]),
    ("off in both variables", Some(b"GRUB_CMDLINE_LINUX=\"intel_iommu=off a\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"b intel_iommu=off\"\n"), &[]),
    ("off alone", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"intel_iommu=off\"\n"), &[]),
    ("off with a neighbour", Some(b"GRUB_CMDLINE_LINUX_DEFAULT='a intel_iommu=off,sm_on b'\n"), &[]),
    ("words for init", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet -- single_user_thing\"\n"), &[]),
    ("words for init in the first variable", Some(b"GRUB_CMDLINE_LINUX=\"a -- b\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[]),
    ("conditional elsewhere", Some(b"if [ -e /none ]; then GRUB_TIMEOUT=3; fi\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[]),
    ("computed", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet root=$(echo /dev/sda1)\"\n"), &[]),
    ("from the environment", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet ${MORE_OPTIONS} splash\"\n"), &[]),
    ("built from others", Some(b"A=\"a b\"\nB='c d'\nGRUB_CMDLINE_LINUX=\"${A} ${B}\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"${A}\"\n"), &[]),
    ("one variable in the other", Some(b"GRUB_CMDLINE_LINUX=\"a\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX quiet\"\n"), &[]),
    ("a here-document as a comment", Some(b": <<'NOTES'\nGRUB_CMDLINE_LINUX_DEFAULT=\"old $(x)\"\nNOTES\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[]),
    ("commented copy", Some(b"#GRUB_CMDLINE_LINUX_DEFAULT=\"quiet intel_iommu=off\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n  # GRUB_CMDLINE_LINUX_DEFAULT=x\n"), &[]),
    ("indented, with semicolon", Some(b"  GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"; GRUB_TIMEOUT=2\n"), &[]),
    ("mixed quotes", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=quiet' splash'\" loglevel=3\"\n"), &[]),
    ("newline in the value", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\n  splash\"\n"), &[]),
    ("dollar in single quotes", Some(b"GRUB_CMDLINE_LINUX_DEFAULT='quiet x=$y'\n"), &[]),
    ("Ubuntu's distributor", Some(b"GRUB_DISTRIBUTOR=`( . /etc/os-release; echo ${NAME:-Ubuntu} ) 2>/dev/null || echo Ubuntu`\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet splash\"\n"), &[]),
    ("a label that ends in a byte that is a blank to the kernel", Some("GRUB_CMDLINE_LINUX_DEFAULT=\"quiet root=LABEL=voil\u{e0}\"\n".as_bytes()), &[]),
    ("such a label before what must go", Some("GRUB_CMDLINE_LINUX_DEFAULT='root=LABEL=\u{420}\u{420} intel_iommu=off rw'\n".as_bytes()), &[]),
    ("cloud image", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet splash\"\n"), &[("50-cloudimg-settings.cfg", b"GRUB_CMDLINE_LINUX_DEFAULT=\"console=tty1 console=ttyS0\"\n")]),
    ("kdump later", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[("kdump-tools.cfg", b"GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT crashkernel=384M-:128M\"\n")]),
    ("absolute and later", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[("kali-themes.cfg", b"GRUB_CMDLINE_LINUX_DEFAULT=\"splash\"")]),
    ("off in a drop-in", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[("10-mine.cfg", b"GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT intel_iommu=off\"\n")]),
    ("off first in a drop-in", Some(b"GRUB_CMDLINE_LINUX=\"a\"\n"), &[("10-mine.cfg", b"GRUB_CMDLINE_LINUX=\"intel_iommu=off $GRUB_CMDLINE_LINUX b\"\n")]),
    ("ids in a drop-in", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[("vfio.cfg", b"GRUB_CMDLINE_LINUX_DEFAULT=\"${GRUB_CMDLINE_LINUX_DEFAULT} vfio-pci.ids=1b21:2142\"\n")]),
    ("ours", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[("95-cede.cfg", b"# Written by cede\nGRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT intel_iommu=on vfio-pci.ids=144d:a808\"\n")]),
    ("another's file of our name", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[("95-cede.cfg", b"# GRUB_CMDLINE_LINUX_DEFAULT=\"a\"\nGRUB_TIMEOUT=9")]),
    ("an empty file of our name", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[("95-cede.cfg", b"")]),
    ("hidden files", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[("._x.cfg", b"\0\x05\x16"), (".#y.cfg", b"GRUB_CMDLINE_LINUX_DEFAULT=\"intel_iommu=off\"\n")]),
    ("ours and a later one", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[("95-cede.cfg", b"GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT vfio-pci.ids=144d:a808\"\n"), ("kdump.cfg", b"GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT x\"\n")]),
    ("apparmor", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[("apparmor.cfg", b"GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX apparmor=1 security=apparmor\"\n")]),
    ("default expansion in a drop-in", Some(b"GRUB_TIMEOUT=1\n"), &[("00-p.cfg", b"GRUB_CMDLINE_LINUX_DEFAULT=\"${GRUB_CMDLINE_LINUX_DEFAULT:+$GRUB_CMDLINE_LINUX_DEFAULT }nowatchdog\"\n")]),
    ("drop-in with a conditional", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n"), &[("x.cfg", b"if [ -e /none ]; then GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT y\"; fi\n")]),
];

/// Layouts that only bash reads.
const BASH: &[Layout] = &[
    ("plus-equals", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX_DEFAULT+=\" splash\"\n"), &[]),
    ("ANSI-C quotes", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=$'quiet splash'\n"), &[]),
];

/// Damage that is refused.
const DAMAGED: &[Layout] = &[
    ("CR line ends", Some(b"GRUB_TIMEOUT=5\r\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\r\n"), &[]),
    ("quote not closed", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\nGRUB_TIMEOUT=1\n"), &[]),
    ("NUL", Some(b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n\0\n"), &[]),
];

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    Refused,
}

fn with_layout(machine: Machine, layout: &Layout, off: bool) -> Machine {
    let (_, main, drop_ins) = layout;
    let with_off = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if off && !text.contains("intel_iommu") { spread_off(bytes) } else { bytes.to_vec() }
    };
    let mut machine = match main {
        Some(bytes) => machine.bytes("/etc/default/grub", &with_off(bytes)),
        None => machine.absent("/etc/default/grub"),
    };
    for (name, bytes) in *drop_ins {
        machine = machine.bytes(&format!("{DIR}/{name}"), bytes);
    }
    machine
}

/// Puts `intel_iommu=off` beside the first word `quiet`, if there is one.
fn spread_off(bytes: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
    let mut out = Vec::new();
    let mut done = false;
    for line in lines {
        let at = line.windows(5).position(|w| w == b"quiet").filter(|_| !done && !line.trim_ascii_start().starts_with(b"#"));
        let spaced = line.iter().any(|b| matches!(b, b'"' | b'\''));
        match at.filter(|_| spaced) {
            Some(at) if !line.starts_with(b"GRUB_CMDLINE_LINUX_DEFAULT=quiet") => {
                out.extend([&line[..at], b"intel_iommu=off quiet", &line[at + 5..]].concat());
                done = true;
            }
            _ => out.extend(line),
        }
    }
    out
}

/// The command line and the other GRUB variables, as a shell has them after sourcing what `grub-mkconfig` sources.
fn sourced(shell: &str, capture: &Capture, debian: bool) -> Option<(Vec<String>, String)> {
    let scratch = Scratch::new();
    for (path, entry) in capture.below("/etc/default/") {
        if let cede_model::Entry::File(bytes) = entry {
            scratch.write(path, bytes);
        }
    }
    let drop_ins = "for x in etc/default/grub.d/*.cfg; do if [ -e \"$x\" ]; then . \"./$x\"; fi; done\n";
    let script = format!(
        "set -e\ncd \"$1\"\nif test -f etc/default/grub; then . ./etc/default/grub; fi\n{}printf '%s %s\\n' \"$GRUB_CMDLINE_LINUX\" \"$GRUB_CMDLINE_LINUX_DEFAULT\"\necho @@@\nset | grep '^[A-Z_]*=' | grep -v -e '^GRUB_CMDLINE_LINUX' -e '^BASH' -e '^_=' -e PPID -e '^SHLVL' -e PWD -e LINENO -e PIPESTATUS -e OPTIND || :\n",
        if debian { drop_ins } else { "" }
    );
    let output = String::from_utf8_lossy(&run(shell, &script, scratch.path())?).into_owned();
    let (line, others) = output.split_once("@@@").unwrap();
    Some((kernel_words(line), others.to_owned()))
}

/// Words as the kernel cuts them: double quotes protect blanks.
fn kernel_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        quoted ^= c == '"';
        if c.is_ascii_whitespace() && !quoted { words.push(String::new()) } else { words.last_mut().unwrap().push(c) }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn name_of(word: &str) -> String {
    word.split('=').next().unwrap().replace('-', "_")
}

/// What must be left of the words of before.
fn kept(words: &[String]) -> Vec<String> {
    let name = |word: &String| name_of(word);
    let mut list = Vec::new();
    for word in words.iter().filter(|word| name(word) != "vfio_pci.ids") {
        match (name(word).as_str(), word.as_str()) {
            ("intel_iommu" | "iommu", "intel_iommu=off" | "iommu=off" | "intel_iommu=on") => {}
            (_, "intel_iommu=off,sm_on") => list.push("intel_iommu=sm_on".to_owned()),
            _ => list.push(word.clone()),
        }
    }
    list
}

fn assert_words(name: &str, before: &[String], after: &[String], wants_on: bool) {
    assert_eq!(kept(after), kept(before), "{name}: {before:?} became {after:?}");
    let kernel: Vec<&String> = after.iter().take_while(|word| *word != "--").collect();
    assert!(!kernel.iter().any(|word| *word == "intel_iommu=off" || *word == "iommu=off"), "{name}: {after:?}");
    let ons = kernel.iter().filter(|word| word.starts_with("intel_iommu=on")).count();
    let own = before.iter().filter(|word| word.starts_with("intel_iommu=on")).count();
    assert_eq!(ons, if wants_on { 1 } else { own }, "{name}: {after:?}");
    let ids = |words: &[&String]| words.iter().rev().find(|word| name_of(word) == "vfio_pci.ids").map(|word| word.to_lowercase());
    let got = ids(&kernel).unwrap_or_else(|| panic!("{name}: no ids in {after:?}"));
    for wanted in ["10de:1f91", "10de:10fa"] {
        assert_eq!(got.matches(wanted).count(), 1, "{name}: {got}");
    }
    let old = ids(&before.iter().collect::<Vec<_>>()).unwrap_or_default();
    for id in old.split('=').nth(1).unwrap_or_default().split(',') {
        assert!(got.contains(id), "{name}: {id} lost from {got}");
    }
    let count = |words: &[String]| words.iter().filter(|word| name_of(word) == "vfio_pci.ids").count();
    assert_eq!(count(after), count(before).max(1), "{name}: {after:?}");
}

/// At most one line per word may change, and at most one be new.
fn assert_small(name: &str, before: &[u8], after: &[u8], removed: usize) {
    let diff = TextDiff::from_lines(before, after);
    let count = |tag: ChangeTag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
    let (gone, new) = (count(ChangeTag::Delete), count(ChangeTag::Insert));
    assert!(gone <= 1 + removed && new <= 1 + removed.max(gone), "{name}: {gone} lines went, {new} came");
}

fn judge(machine: &Machine, layout: &Layout, debian: bool, shells: &[&str]) -> Verdict {
    let name = format!("{} ({})", layout.0, if debian { "Debian" } else { "Arch" });
    let plan = plan_on(&machine.capture, &[GPU], BindMethod::Cmdline);
    if !plan.refused.is_empty() {
        assert_tells_what_to_do(&plan);
        assert!(refused(&plan).iter().all(|id| *id == "grub-not-editable"), "{name}: {:?}", plan.refused);
        eprintln!("refused: {name}: {}", plan.refused[0].message);
        return Verdict::Refused;
    }
    let after = applied(&machine.capture, &plan.steps);
    for shell in shells {
        let before = sourced(shell, &machine.capture, debian).unwrap_or_else(|| panic!("{name}: {shell} cannot read it"));
        let now = sourced(shell, &after, debian).unwrap_or_else(|| panic!("{name}: {shell} cannot read the result"));
        let own_on = before.0.iter().any(|word| word.starts_with("intel_iommu=on"));
        assert_words(&format!("{name} in {shell}"), &before.0, &now.0, !debian || own_on);
        assert_eq!(before.1, now.1, "{name} in {shell}: other variables changed");
    }
    for path in paths(&plan).into_iter().filter(|path| path.starts_with("/etc/default/")) {
        let bytes = |capture: &Capture| capture.file(path).map(<[u8]>::to_vec).unwrap_or_default();
        assert_small(&format!("{name}: {path}"), &bytes(&machine.capture), &bytes(&after), 2);
    }
    let again = plan_on(&after, &[GPU], BindMethod::Cmdline);
    assert!(again.refused.is_empty() && again.steps.is_empty(), "{name}: not empty again: {:?} {:?}", paths(&again), again.refused);
    let back = applied(&after, &inverse(&plan.steps));
    for (path, entry) in machine.capture.entries() {
        assert_eq!(back.get(path), Some(entry), "{name}: {path} is not as it was");
    }
    Verdict::Right
}

fn machines(layout: &Layout, off: bool) -> [(Machine, bool); 2] {
    let arch = Machine::arch(Loader::Grub);
    let arch = if off { arch.text("/proc/cmdline", "BOOT_IMAGE=/vmlinuz-linux root=UUID=1b7a intel_iommu=off\n") } else { arch };
    [(with_layout(arch, layout, off), false), (with_layout(Machine::debian(), layout, off), true)]
}

fn has_drop_ins_for_arch(layout: &Layout, debian: bool) -> bool {
    !debian && !layout.2.is_empty()
}

fn run_all(layouts: &[Layout], shells: &[&str]) -> (usize, Vec<String>) {
    let (mut right, mut refusals) = (0, Vec::new());
    for layout in layouts {
        for off in [false, true] {
            for (machine, debian) in machines(layout, off) {
                if has_drop_ins_for_arch(layout, debian) {
                    continue;
                }
                let verdict = std::panic::catch_unwind(|| judge(&machine, layout, debian, shells));
                match verdict {
                    Ok(Verdict::Right) => right += 1,
                    Ok(Verdict::Refused) => refusals.push(format!("{} debian={debian} off={off}", layout.0)),
                    Err(_) => refusals.push(format!("WRONG {} debian={debian} off={off}", layout.0)),
                }
            }
        }
    }
    (right, refusals)
}

#[test]
fn the_known_layouts_are_all_right() {
    let (right, refusals) = run_all(KNOWN, &["bash", "dash"]);
    assert_eq!((right, refusals), (4 * KNOWN.len(), Vec::new()));
}

#[test]
fn nasty_layouts_are_right_or_refused_with_reason() {
    let (right, refusals) = run_all(NASTY, &["bash", "dash"]);
    eprintln!("{right} right, refused: {refusals:#?}");
    let justified = |name: &String| {
        // The kernel that runs was told `off`, and nothing says where.
        let told_off = name.contains("off=true") || name.contains("debian=true");
        let computed = ["computed", "from the environment"].iter().any(|known| name.starts_with(known)) && told_off;
        // What a branch does is known to nobody but the shell.
        computed || name.starts_with("drop-in with a conditional")
    };
    let wrong: Vec<&String> = refusals.iter().filter(|name| !justified(name)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_refusal_gives_the_reason_that_is_so() {
    let name = "GRUB_CMDLINE_LINUX_DEFAULT";
    for (text, reason) in [
        (format!("\u{feff}# mine\n{name}=\"quiet\"\n"), "line 1: GRUB_CMDLINE_LINUX: the file begins with a byte order mark"),
        (format!("\u{feff}{name}=\"quiet\"\n"), "byte order mark"),
        (format!("x=1\n{name} = \"quiet\"\n"), "line 2: GRUB_CMDLINE_LINUX_DEFAULT: with a blank beside `=`"),
        (format!("{name}= \"quiet\"\n"), "with a blank beside `=`"),
        (format!("{name}=\"quiet\"\nunset {name}\n"), "line 2: GRUB_CMDLINE_LINUX_DEFAULT: `unset` takes GRUB_CMDLINE_LINUX_DEFAULT away"),
        (format!("if true; then {name}=\"quiet\"; fi\nunset x\n{name}=\n{name}+=y\n[ -f /x ] && {name}=z\n"), "conditional"),
    ] {
        for machine in [Machine::arch(Loader::Grub), Machine::debian()] {
            let plan = plan_on(&machine.text("/etc/default/grub", &text).capture, &[GPU], BindMethod::Cmdline);
            let messages: Vec<&str> = plan.refused.iter().map(|refusal| refusal.message.as_str()).collect();
            assert!(messages.iter().any(|message| message.contains(reason)), "{text}: {reason} is not in {messages:?}");
            support::assert_tells_what_to_do(&plan);
        }
    }
}

#[test]
fn what_is_written_elsewhere_is_not_taken_for_set() {
    let cases: [(&'static str, &'static [u8], Verdict); 4] = [
        ("a note", b"GRUB_CMDLINE_LINUX_DEFAULT=\"quiet $(echo a)\" # intel_iommu=on\n", Verdict::Right),
        (
            "a branch",
            b"GRUB_CMDLINE_LINUX_DEFAULT=\"$(echo a)\"\nif false; then GRUB_CMDLINE_LINUX=\"intel_iommu=on\"; fi\n",
            Verdict::Right,
        ),
        (
            "recovery",
            b"GRUB_CMDLINE_LINUX_DEFAULT=\"$(echo a)\"\nGRUB_CMDLINE_LINUX_RECOVERY=\"vfio-pci.ids=1b21:2142\"\n",
            Verdict::Refused,
        ),
        ("ids in a note", b"GRUB_CMDLINE_LINUX_DEFAULT=\"$(echo a)\" # vfio-pci.ids=10de:1f91,10de:10fa\n", Verdict::Refused),
    ];
    for (name, bytes, verdict) in cases {
        let layout = (name, Some(bytes), [].as_slice());
        for (machine, debian) in machines(&layout, false).into_iter().take(1) {
            assert_eq!(judge(&machine, &layout, debian, &["bash", "dash"]), verdict, "{name}");
        }
    }
}

#[test]
fn a_refusal_names_the_file_and_the_word() {
    let off = "BOOT_IMAGE=/vmlinuz-linux root=UUID=1b7a intel_iommu=off\n";
    let cases = [
        (
            Machine::debian(),
            "A=1\nreadonly GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n",
            "/etc/default/grub, line 2: GRUB_CMDLINE_LINUX: GRUB_CMDLINE_LINUX_DEFAULT is made read-only",
        ),
        (Machine::arch(Loader::Grub), "A=1\r\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\r\n", "`sed -i 's/\\r$//' /etc/default/grub`"),
        (
            Machine::arch(Loader::Grub).text("/proc/cmdline", off),
            "I=intel_iommu=off\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet $I\"\n",
            "`intel_iommu=off` in /etc/default/grub, line 1 must go",
        ),
    ];
    for (machine, text, reason) in cases {
        let plan = plan_on(&machine.text("/etc/default/grub", text).capture, &[GPU], BindMethod::Cmdline);
        assert!(plan.refused.iter().any(|refusal| refusal.message.contains(reason)), "{reason} is not in {:?}", plan.refused);
    }
}

#[test]
fn what_only_bash_reads_is_right_where_bash_is_the_shell() {
    for layout in BASH {
        let machine = with_layout(Machine::arch(Loader::Grub), layout, false);
        assert_eq!(judge(&machine, layout, false, &["bash"]), Verdict::Right, "{}", layout.0);
        let machine = with_layout(Machine::debian(), layout, false);
        let plan = plan_on(&machine.capture, &[GPU], BindMethod::Cmdline);
        // dash does not know `+=`, and its `set -e` ends grub-mkconfig there.
        assert!(sourced("dash", &machine.capture, true).is_none_or(|(words, _)| words != ["quiet", "splash"]) || plan.refused.is_empty());
    }
}

#[test]
fn damage_is_refused() {
    for layout in DAMAGED {
        for (machine, debian) in machines(layout, false) {
            // A drop-in leaves the damaged file alone, and the kernel takes a CR for a blank.
            let harmless = debian && layout.0 == "CR line ends";
            assert_eq!(judge(&machine, layout, debian, &["bash"]) == Verdict::Right, harmless, "{}", layout.0);
        }
    }
}

#[test]
fn a_file_that_could_not_be_read_is_not_taken_for_an_empty_one() {
    for path in ["/etc/default/grub", "/etc/default/grub.d/10-mine.cfg"] {
        let mut machine = Machine::debian();
        machine.capture.insert(path, cede_model::Entry::Unreadable("EACCES".into()));
        let plan = plan_on(&machine.capture, &[GPU], BindMethod::Cmdline);
        assert_eq!(refused(&plan), ["grub-not-editable"]);
        assert!(plan.refused[0].message.contains(path), "{:?}", plan.refused);
        assert_tells_what_to_do(&plan);
    }
}
