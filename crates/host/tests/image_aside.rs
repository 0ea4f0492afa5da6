//! Images made beside those that they replace: what is run then, what is put in place, and what is left to the tools as they are.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_host::apply::recover;
use cede_host::{Machine, Root};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use support::Scratch;
use support::system::{executable, may_mount, program, script, system};

type Change = fn(&Scratch);

fn run(root: &Root, argv: &[&str]) -> (Result<bool, String>, Vec<String>) {
    let mut lines = Vec::new();
    let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
    let end = root.run(&argv, &mut |line| lines.push(line.to_owned()));
    // These systems have no locales.
    lines.retain(|line| !line.contains("setlocale"));
    (end.map(|end| end.success).map_err(|error| error.to_string()), lines)
}

fn read(scratch: &Scratch, path: &str) -> String {
    fs::read_to_string(scratch.at(path)).unwrap()
}

/// Where Debian's script makes an image.
const UPDATE: &str = "if test; then\n\tif mkinitramfs ${OPTS} \"${initramfs}.new\" \"${version}\"; then\n\t\tmv -f \"${initramfs}.new\" \"${initramfs}\"\n\tfi\nfi\n";

/// Where it runs hooks: initramfs-tools 0.140 to 0.148, and 0.151.
const RUNS_FIRST: &str = "run_bootloader()\n{\n\t# invoke policy conformant bootloader hooks\n\tif [ -d /etc/initramfs/post-update.d/ ]; then\n\t\trun-parts --arg=\"${version}\" --arg=\"${initramfs}\" \\\n\t\t\t/etc/initramfs/post-update.d/\n\t\treturn 0\n\tfi\n}\n";
const RUNS_BOTH: &str = "run_bootloader()\n{\n\t# Avoid warnings from run-parts in case only one directory exists\n\tlocal directories=\"\"\n\n\tif [ -d /etc/initramfs/post-update.d/ ]; then\n\t\tdirectories=\"$directories /etc/initramfs/post-update.d/\"\n\tfi\n\tif [ -d /usr/share/initramfs/post-update.d/ ]; then\n\t\tdirectories=\"$directories /usr/share/initramfs/post-update.d/\"\n\tfi\n\n\t# invoke policy conformant bootloader hooks\n\tif [ -n \"$directories\" ]; then\n\t\t# shellcheck disable=SC2086\n\t\trun-parts --arg=\"${version}\" --arg=\"${initramfs}\" $directories\n\t\treturn 0\n\tfi\n}\n";

fn updates_by(scratch: &Scratch, rest: &str) {
    script(scratch, "update-initramfs", &format!("echo as it is; exit 0\n{UPDATE}{rest}"));
}

/// A system with two kernels, of which one has an image, and tools that say what they were asked for.
fn debian(scratch: &Scratch) -> Root {
    let root = system(scratch);
    for (path, text) in [("boot/vmlinuz-1", "k"), ("boot/initrd.img-1", "old"), ("boot/vmlinuz-2", "k"), ("boot/initrd.img-9", "stale")] {
        scratch.write(path, text);
    }
    updates_by(scratch, RUNS_FIRST);
    script(scratch, "mkinitramfs", "test ! -e /fails || { echo half > \"$2\"; exit 4; }\necho \"new for $3\" > \"$2\"\n");
    script(scratch, "run-parts", "read image < /boot/initrd.img-1\necho \"$* with $image\"\ntest ! -e /hook-fails\n");
    script(
        scratch,
        "linux-version",
        "test \"$1 $2\" = 'sort --reverse' || exit 9\nshift 2\nfor release; do all=\"$release\n$all\"; done\nprintf %s \"$all\"\n",
    );
    root
}

fn update(root: &Root) -> (bool, Vec<String>) {
    let (success, lines) = run(root, &["/usr/sbin/update-initramfs", "-u", "-k", "all"]);
    (success.unwrap(), lines)
}

#[test]
fn an_image_is_made_aside_and_put_in_place_whole() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let root = debian(&scratch);
    fs::set_permissions(scratch.at("boot/initrd.img-1"), fs::Permissions::from_mode(0o600)).unwrap();
    let names = scratch.names("boot");
    let (success, lines) = update(&root);
    assert!(success && lines.len() == 2 && lines[0].starts_with("/usr/sbin/mkinitramfs -o /boot/.cede-"), "{lines:?}");
    assert_eq!(lines[1], "/boot/initrd.img-1 is in place and on disk");
    assert_eq!(read(&scratch, "boot/initrd.img-1"), "new for 1\n");
    assert_eq!(fs::metadata(scratch.at("boot/initrd.img-1")).unwrap().permissions().mode() & 0o777, 0o644, "the mode is the generator's");
    assert_eq!(scratch.names("boot"), names, "kernel 2 still has no image, and nothing is left behind");
    scratch.write("fails", "");
    assert!(!update(&root).0);
    assert_eq!((read(&scratch, "boot/initrd.img-1").as_str(), scratch.names("boot")), ("new for 1\n", names));
}

#[test]
fn hooks_are_run_as_update_initramfs_runs_them() {
    if !may_mount() {
        return;
    }
    const ETC: &str = "/etc/initramfs/post-update.d/";
    const SHARE: &str = "/usr/share/initramfs/post-update.d/";
    for (text, hooks, wanted) in [
        (RUNS_FIRST, &[ETC][..], Some(ETC.to_owned())),
        (RUNS_FIRST, &[ETC, SHARE], Some(ETC.to_owned())),
        (RUNS_FIRST, &[SHARE], None),
        (RUNS_BOTH, &[ETC], Some(ETC.to_owned())),
        (RUNS_BOTH, &[SHARE], Some(SHARE.to_owned())),
        (RUNS_BOTH, &[SHARE, ETC], Some(format!("{ETC} {SHARE}"))),
    ] {
        let scratch = Scratch::new();
        let root = debian(&scratch);
        updates_by(&scratch, text);
        hooks.iter().for_each(|directory| drop(scratch.write(&format!(".{directory}flash-kernel"), "")));
        let (success, lines) = update(&root);
        assert!(success, "{lines:?}");
        let wanted = wanted.map(|hooks| format!("--arg=1 --arg=/boot/initrd.img-1 {hooks}"));
        let said: Vec<String> = wanted.into_iter().flat_map(|run| [format!("run-parts {run}"), format!("{run} with new for 1")]).collect();
        assert_eq!(lines[2..], said, "{hooks:?}: after the image is in place");
    }
}

/// So that `cargo xtask cuts` cuts this way at every system call.
#[test]
fn the_simulated_update_initramfs_is_known() {
    if !may_mount() {
        return;
    }
    for capture in [
        include_str!("../../../fixtures/boot/grub-initramfs-tools.capture"),
        include_str!("../../../fixtures/boot/systemd-boot-initramfs-tools.capture"),
    ] {
        let scratch = Scratch::new();
        let root = debian(&scratch);
        let host = cede_model::capture_text::parse(capture).unwrap();
        scratch.write("usr/sbin/update-initramfs", host.file("/usr/sbin/update-initramfs").unwrap());
        scratch.write("etc/initramfs/post-update.d/systemd-boot", "");
        let (success, lines) = update(&root);
        assert!(success && lines.iter().any(|line| line.starts_with("run-parts ")), "{lines:?}");
    }
}

#[test]
fn a_hook_that_fails_ends_the_run_as_it_ends_update_initramfs() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let root = debian(&scratch);
    scratch.write("boot/initrd.img-2", "old");
    scratch.write("etc/initramfs/post-update.d/flash-kernel", "");
    let order =
        |lines: &[String]| lines.iter().filter_map(|line| line.strip_prefix("--arg=").map(|rest| rest[..1].to_owned())).collect::<String>();
    let (success, lines) = update(&root);
    assert!(success && order(&lines) == "21", "the newest kernel first: {lines:?}");
    scratch.write("boot/initrd.img-1", "old");
    scratch.write("hook-fails", "");
    let (success, lines) = update(&root);
    assert!(!success && order(&lines) == "2", "{lines:?}");
    assert_eq!((read(&scratch, "boot/initrd.img-2").as_str(), read(&scratch, "boot/initrd.img-1").as_str()), ("new for 2\n", "old"));
}

/// Where update-initramfs would do anything else, it does all of it itself.
#[test]
fn what_is_not_known_of_update_initramfs_is_left_to_it() {
    if !may_mount() {
        return;
    }
    let cases: [(&str, Change); 10] = [
        ("another script", |scratch| script(scratch, "update-initramfs", "echo as it is\n")),
        ("sums", |scratch| updates_by(scratch, &format!("{RUNS_FIRST}sha1sum x\n"))),
        ("hooks elsewhere", |scratch| updates_by(scratch, &RUNS_FIRST.replace("if [ -d /etc/", "if [ -d /usr/lib/"))),
        ("hooks, run in another way", |scratch| {
            updates_by(scratch, &RUNS_FIRST.replace("--arg=\"${initramfs}\"", ""));
            scratch.write("etc/initramfs/post-update.d/x", "");
        }),
        ("hooks, and kernels in an unknown order", |scratch| {
            scratch.write("etc/initramfs/post-update.d/x", "");
            scratch.write("boot/initrd.img-2", "old");
            script(scratch, "linux-version", "echo 2\n");
        }),
        ("hooks, and nothing tells the order", |scratch| {
            scratch.write("etc/initramfs/post-update.d/x", "");
            scratch.write("boot/initrd.img-2", "old");
            fs::remove_file(scratch.at("usr/sbin/linux-version")).unwrap();
        }),
        ("switched off", |scratch| drop(scratch.write("etc/initramfs-tools/update-initramfs.conf", "# x\nupdate_initramfs=no\n"))),
        ("backups", |scratch| drop(scratch.write("etc/initramfs-tools/update-initramfs.conf", "backup_initramfs=yes\n"))),
        ("a link", |scratch| {
            fs::rename(scratch.at("boot/initrd.img-1"), scratch.at("boot/other")).unwrap();
            symlink("other", scratch.at("boot/initrd.img-1")).unwrap();
        }),
        ("no kernel", |scratch| fs::rename(scratch.at("boot/vmlinuz-1"), scratch.at("boot/vmlinuz-9.sig")).unwrap()),
    ];
    for (name, change) in cases {
        let scratch = Scratch::new();
        let root = debian(&scratch);
        change(&scratch);
        assert_eq!(update(&root), (true, vec!["as it is".to_owned()]), "{name}");
    }
}

/// What mkinitcpio 39 does where it reads a preset and writes an image, in few lines.
const MKINITCPIO: &str = r#"#!/bin/bash
declare -r version=39.2
_d_post=/etc/initcpio/post:/usr/lib/initcpio/post
_d_presets=/etc/mkinitcpio.d
die() { echo "$@"; exit 1; }
build_image() {
    local out=$1 compressout=$1
    umask 077
    [[ -f $out ]] && compressout=$out.tmp
    [[ ! -e /lies ]] || exit 0
    echo "$made" > "$compressout"
    if [[ $compressout != "$out" ]]; then
        mv -f -- "$compressout" "$out"
    fi
}
process_preset() (
    preset=$1
    if [[ $preset != */* ]]; then
        printf -v preset '%s/%s.preset' "$_d_presets" "$preset"
    fi
    . "$preset" || die "Failed to load preset: '$preset'"
    ret=0
    for p in "${PRESETS[@]}"; do
        preset_cmd=() preset_kver=${p}_kver preset_image=${p}_image preset_options=${p}_options
        preset_cmd+=(-g "${!preset_image}")
        echo "preset $preset $p: ${preset_cmd[*]} ${!preset_options}"
        made="$p of ${!preset_kver:-$ALL_kver} ${!preset_options}" _optgenimg=${!preset_image}
        build_image "$_optgenimg" "$_optcompress" || exit 1
        [[ ! -e /fails-$p ]] || { echo "==> ERROR: module not found: 'x'"; ret=1; }
    done
    exit $ret
)
case $1 in
    -p) process_preset "$2" ;;
    *) echo as it is ;;
esac
"#;

const LINUX: &str = "ALL_kver='/boot/vmlinuz-linux'\nALL_microcode=(/boot/*-ucode.img)\nPRESETS=('default' 'fallback')\ndefault_image='/boot/initramfs-linux.img'\nfallback_image='/boot/initramfs-linux-fallback.img'\nfallback_options='-S autodetect'\n";

/// A system with a kernel that has two images, another one that has none yet, and a generator.
fn arch(scratch: &Scratch) -> Root {
    let root = system(scratch);
    program(scratch, "/bin/bash");
    executable(scratch, "usr/bin/mkinitcpio", MKINITCPIO);
    scratch.write("etc/mkinitcpio.d/linux.preset", LINUX);
    scratch.write("etc/mkinitcpio.d/linux-lts.preset", "ALL_kver=6.12.1-1-lts\nPRESETS=(default)\ndefault_image=/boot/initramfs-lts.img\n");
    scratch.write("etc/mkinitcpio.d/.hidden.preset", "reboot\n");
    for image in ["boot/initramfs-linux.img", "boot/initramfs-linux-fallback.img"] {
        scratch.write(image, "old");
    }
    root
}

fn all_presets(root: &Root) -> (Result<bool, String>, Vec<String>) {
    run(root, &["/usr/bin/mkinitcpio", "-P"])
}

fn images(scratch: &Scratch) -> Vec<(String, String)> {
    scratch.names("boot").into_iter().map(|name| (read(scratch, &format!("boot/{name}")), name)).map(|(text, name)| (name, text)).collect()
}

#[test]
fn the_images_of_presets_are_made_aside_one_by_one() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let root = arch(&scratch);
    let (success, lines) = all_presets(&root);
    assert_eq!(success, Ok(true), "{lines:?}");
    let wanted = [
        ("linux-lts.preset default: -g /boot/.cede-", "/boot/initramfs-lts.img"),
        ("linux.preset default: -g /boot/.cede-", "/boot/initramfs-linux.img"),
        ("linux.preset fallback: -g /boot/.cede-", "/boot/initramfs-linux-fallback.img"),
    ];
    assert_eq!(lines.len(), 3 * wanted.len(), "{lines:?}");
    for (run, (said, image)) in lines.chunks(3).zip(wanted) {
        let name = said.split(' ').next().unwrap();
        assert_eq!(run[0], format!("/usr/bin/mkinitcpio -p /var/lib/cede/mkinitcpio.d/{name}"), "the name is that of the host's own");
        assert!(run[1].starts_with(&format!("preset /etc/mkinitcpio.d/{said}")), "what it says is told of the host's preset: {run:?}");
        assert_eq!(run[2], format!("{image} is in place and on disk"));
    }
    let made = [
        ("initramfs-linux-fallback.img", "fallback of /boot/vmlinuz-linux -S autodetect\n"),
        ("initramfs-linux.img", "default of /boot/vmlinuz-linux \n"),
        ("initramfs-lts.img", "default of 6.12.1-1-lts \n"),
    ];
    assert_eq!(images(&scratch), made.map(|(name, text)| (name.to_owned(), text.to_owned())), "and nothing is left beside them");
    assert_eq!(fs::metadata(scratch.at("boot/initramfs-linux.img")).unwrap().permissions().mode() & 0o777, 0o600);
    let lent = fs::metadata(scratch.at("var/lib/cede/mkinitcpio.d")).unwrap();
    assert!(scratch.names("var/lib/cede/mkinitcpio.d").is_empty() && lent.permissions().mode() & 0o777 == 0o700);
}

#[test]
fn an_image_of_a_run_that_fails_is_not_put_in_place() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let root = arch(&scratch);
    fs::remove_file(scratch.at("etc/mkinitcpio.d/linux-lts.preset")).unwrap();
    // mkinitcpio says so, writes the image all the same, and goes on with the next.
    scratch.write("fails-fallback", "");
    let (success, lines) = all_presets(&root);
    assert_eq!(success, Ok(false));
    assert_eq!(lines.last().map(String::as_str), Some("==> ERROR: module not found: 'x'"));
    let texts = |scratch: &Scratch| images(scratch).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    assert_eq!(texts(&scratch), ["old", "default of /boot/vmlinuz-linux \n"]);
    scratch.write("boot/initramfs-linux.img", "old");
    scratch.write("fails-default", "");
    assert_eq!(all_presets(&root).0, Ok(false));
    assert_eq!(texts(&scratch), ["old", "old"]);
    scratch.write("lies", "");
    let why = all_presets(&root).0.unwrap_err();
    assert!(why.contains("made no /boot/initramfs-linux.img: run it by hand"), "{why}");
    assert_eq!(texts(&scratch), ["old", "old"]);
    assert!(scratch.names("var/lib/cede/mkinitcpio.d").is_empty());
}

#[test]
fn what_a_killed_run_lent_is_taken_away() {
    if !may_mount() {
        return;
    }
    let scratch = Scratch::new();
    let root = arch(&scratch);
    let names = ["linux.preset", ".cede-0123456789abcdef.tmp"];
    let leave = || names.iter().for_each(|name| drop(scratch.write(&format!("var/lib/cede/mkinitcpio.d/{name}"), "half")));
    leave();
    assert_eq!(recover(&root, &mut |_| {}).unwrap(), None);
    assert!(scratch.names("var/lib/cede/mkinitcpio.d").is_empty());
    leave();
    assert_eq!(all_presets(&root).0, Ok(true), "nor is it in the way");
    assert_eq!(scratch.names("var/lib/cede/mkinitcpio.d"), names[1..]);
}

/// Where mkinitcpio may do more than to make these images, it makes them itself.
#[test]
fn what_is_not_known_of_mkinitcpio_is_left_to_it() {
    if !may_mount() {
        return;
    }
    fn preset(scratch: &Scratch, more: &str) {
        scratch.write("etc/mkinitcpio.d/linux.preset", format!("{LINUX}{more}"));
    }
    let cases: [(&str, Change); 9] = [
        ("another script", |scratch| executable(scratch, "usr/bin/mkinitcpio", &MKINITCPIO.replace("version=39.2", "version=99"))),
        ("a hook that is told the path", |scratch| drop(scratch.write("usr/lib/initcpio/post/sbctl", ""))),
        ("a hook of the host's own", |scratch| drop(scratch.write("etc/initcpio/post/mine", ""))),
        ("a unified image", |scratch| preset(scratch, "default_uki=/efi/EFI/Linux/arch.efi\n")),
        ("an output of its own", |scratch| preset(scratch, "default_options='-g /boot/x'\n")),
        ("a directory that is not there", |scratch| preset(scratch, "default_image=/efi/x.img\n")),
        ("a link", |scratch| {
            fs::rename(scratch.at("boot/initramfs-linux.img"), scratch.at("boot/other")).unwrap();
            symlink("other", scratch.at("boot/initramfs-linux.img")).unwrap();
        }),
        ("a preset that leads nowhere", |scratch| symlink("nowhere", scratch.at("etc/mkinitcpio.d/x.preset")).unwrap()),
        ("no preset", |scratch| fs::remove_dir_all(scratch.at("etc/mkinitcpio.d")).unwrap()),
    ];
    for (name, change) in cases {
        let scratch = Scratch::new();
        let root = arch(&scratch);
        change(&scratch);
        assert_eq!(all_presets(&root), (Ok(true), vec!["as it is".to_owned()]), "{name}");
    }
    let scratch = Scratch::new();
    let root = arch(&scratch);
    assert_eq!(run(&root, &["/usr/bin/mkinitcpio", "-k", "x", "-g", "/boot/x"]), (Ok(true), vec!["as it is".to_owned()]), "another run");
}
