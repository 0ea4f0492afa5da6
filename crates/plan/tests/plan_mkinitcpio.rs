//! Plans for mkinitcpio's configuration, evaluated by bash as mkinitcpio does: main file and drop-ins concatenated, then sourced, strings made
//! arrays.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Capture, Entry};
use cede_plan::intent::BindMethod::Cmdline;
use cede_plan::plan::step::inverse;
use cede_plan::plan::{Condition, Plan};
use support::machine::{GPU, Loader, MKINITCPIO_CONF, Machine};
use support::shell::{Scratch, run};
use support::{applied, assert_tells_what_to_do, paths, plan_on, refused};

const CONF: &str = "/etc/mkinitcpio.conf";
const DIR: &str = "/etc/mkinitcpio.conf.d";
const VFIO: &str = "vfio_pci vfio vfio_iommu_type1";
const HOOKS: &str = "HOOKS=(base udev autodetect modconf kms block filesystems)\n";

fn arch() -> Machine {
    Machine::arch(Loader::Grub)
}

/// One array of a configuration as mkinitcpio has it; drop-ins are not read for a file named by `-c`.
fn effective(capture: &Capture, conf: &str, drop_ins: bool, name: &str) -> Vec<String> {
    let scratch = Scratch::new();
    scratch.write("/all", capture.file(conf).unwrap());
    scratch.write("/d/none", b"");
    for (path, entry) in capture.below(format!("{DIR}/")).filter(|_| drop_ins) {
        if let Entry::File(bytes) = entry {
            scratch.write(&path.replace(DIR, "/d"), bytes);
        }
    }
    let script = format!(
        "cd \"$1\"; for c in $(ls -A d | grep '[.]conf$' | LC_ALL=C sort -V); do cat \"d/$c\" >> all; done\nunset {name}; . ./all || exit 1\n[[ ${{{name}@a}} != *a* ]] && IFS=' ' read -r -a {name} <<<\"${name}\"\nprintf '%s\\n' \"${{{name}[@]}}\"\n"
    );
    let output = run("bash", &script, scratch.path()).unwrap();
    String::from_utf8_lossy(&output).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn planned(name: &str, machine: &Machine) -> (Plan, Capture) {
    let plan = plan_on(&machine.capture, &[GPU], Cmdline);
    assert!(plan.refused.is_empty(), "{name}: {:?}", plan.refused);
    let done = applied(&machine.capture, &plan.steps);
    let again = plan_on(&done, &[GPU], Cmdline);
    assert!(again.is_empty(), "{name}: {:?} {:?}", paths(&again), again.refused);
    let back = applied(&done, &inverse(&plan.steps));
    machine.capture.entries().for_each(|(path, entry)| assert_eq!(back.get(path), Some(entry), "{name}: {path}"));
    (plan, done)
}

fn old_tool(machine: Machine) -> Machine {
    machine.text("/usr/bin/mkinitcpio", "#!/bin/bash\n_f_config=/etc/mkinitcpio.conf\n")
}

/// Configuration without hooks, and its modules afterwards.
const LAYOUTS: [(&str, &[u8], &str); 17] = [
    ("empty", b"MODULES=()\n", ""),
    ("one line", b"MODULES=(btrfs crc32c-intel)\n", "btrfs crc32c-intel"),
    ("string", b"MODULES=\"ext4 i915\"\n", "ext4 i915"),
    ("empty string", b"MODULES=\"\"\n", ""),
    ("unset", b"", ""),
    ("native first", b"MODULES=(i915 nouveau ext4)\n", "i915 nouveau ext4"),
    ("complete", b"MODULES=(vfio_pci vfio vfio_iommu_type1 nouveau)\n", "nouveau"),
    ("another order", b"MODULES=(vfio vfio_iommu_type1 vfio-pci amdgpu)\n", "amdgpu"),
    ("after a native", b"MODULES=(nouveau vfio_pci vfio vfio_iommu_type1)\n", "nouveau"),
    ("a part of it", b"MODULES=(btrfs vfio-pci)\n", "btrfs"),
    ("virqfd", b"MODULES=(vfio_pci vfio vfio_iommu_type1 vfio_virqfd ext4)\n", "ext4"),
    ("several lines", b"MODULES=(\n  btrfs # the root\n  i915\n)\n", "btrfs i915"),
    ("vfio on several lines", b"MODULES=(\n  nouveau\n  vfio_virqfd\n  vfio\n)\n", "nouveau"),
    ("adds", b"MODULES=(a)\nMODULES+=(b c)\n", "a b c"),
    ("twice", b"MODULES=(a)\nMODULES=(b)\n", "b"),
    ("comment behind", b"MODULES=(a b) # (c)\n", "a b"),
    ("Latin-1 and no line end", b"# d\xe9but\nMODULES=(a)", "a"),
];

#[test]
fn layouts_keep_their_modules_behind_ours() {
    for (name, bytes, others) in LAYOUTS {
        let conf = [HOOKS.as_bytes(), bytes].concat();
        for machine in [arch(), old_tool(arch())] {
            let machine = machine.bytes(CONF, &conf);
            let (plan, done) = planned(name, &machine);
            let modules = effective(&done, CONF, true, "MODULES");
            let order = if name == "another order" { "vfio vfio_iommu_type1 vfio-pci" } else { VFIO };
            assert_eq!(modules.join(" "), format!("{order} {others}").trim_end(), "{name}: {:?}", paths(&plan));
            assert_eq!(effective(&done, CONF, true, "HOOKS"), effective(&machine.capture, CONF, true, "HOOKS"), "{name}");
            let hand_made =
                name.contains("vfio") || name.contains("virqfd") || name == "a part of it" || name == "after a native" || name == "string";
            let fresh = machine.capture.file("/usr/bin/mkinitcpio") == arch().capture.file("/usr/bin/mkinitcpio") && !hand_made;
            if fresh && !["complete", "another order", "empty string"].contains(&name) {
                assert!(paths(&plan).contains(&"/etc/mkinitcpio.conf.d/95-cede.conf"), "{name}: {:?}", paths(&plan));
            }
        }
    }
}

#[test]
fn drop_ins_are_followed_or_joined() {
    type DropIns = &'static [(&'static str, &'static str)];
    let cases: [(&str, DropIns, &str); 6] = [
        ("adds before", &[("10-a.conf", "MODULES+=(btrfs)\n")], "btrfs"),
        ("sets anew before", &[("10-a.conf", "MODULES=(btrfs)")], "btrfs"),
        ("sets anew after", &[("moeOS.conf", "MODULES=(btrfs)")], "btrfs"),
        ("lists vfio", &[("50-vfio.conf", "MODULES+=(vfio_pci vfio vfio_iommu_type1 vfio_virqfd)\n")], ""),
        ("lists some and adds", &[("10-a.conf", "MODULES=(ext4)\n"), ("50-v.conf", "MODULES=(vfio_pci \"${MODULES[@]}\")\n")], "ext4"),
        ("hooks only", &[("hooks.conf", "HOOKS=(base systemd modconf block)\n")], ""),
    ];
    for (name, drop_ins, others) in cases {
        let mut machine = arch();
        for (file, text) in drop_ins {
            machine = machine.text(&format!("{DIR}/{file}"), text);
        }
        let (_, done) = planned(name, &machine);
        let modules = effective(&done, CONF, true, "MODULES");
        let mut seen: Vec<&str> = Vec::new();
        modules.iter().for_each(|module| {
            if !seen.contains(&module.as_str()) {
                seen.push(module)
            }
        });
        assert_eq!(seen.join(" "), format!("{VFIO} {others}").trim_end(), "{name}");
    }
}

#[test]
fn virqfd_goes_with_the_kernels_that_have_it() {
    let with = |machine: Machine, release: &str| machine.kernel(release, ".ko.zst", &["drivers/vfio/vfio_virqfd"]);
    let listed = |machine: Machine| machine.text(CONF, &format!("MODULES=(vfio_pci vfio vfio_iommu_type1 vfio_virqfd)\n{HOOKS}"));
    // Where it exists, vfio-pci brings it along as a dependency.
    let some = with(arch(), "6.12.10-1-lts");
    for machine in [some.clone(), listed(some), listed(arch())] {
        let (_, done) = planned("some or none", &machine);
        assert_eq!(effective(&done, CONF, true, "MODULES").join(" "), VFIO);
    }
    let all = with(with(arch(), "6.12.10-1-lts"), "6.13.2-arch1-1");
    let (_, done) = planned("all", &all);
    assert_eq!(effective(&done, CONF, true, "MODULES").join(" "), VFIO);
    let (plan, done) = planned("all, listed", &listed(all));
    assert_eq!(effective(&done, CONF, true, "MODULES").join(" "), format!("{VFIO} vfio_virqfd"), "{:?}", paths(&plan));
    let (_, done) = planned("Debian", &Machine::debian());
    let list = String::from_utf8_lossy(done.file("/etc/initramfs-tools/modules").unwrap()).into_owned();
    assert!(list.ends_with("# sd_mod\nvfio_pci\nvfio\nvfio_iommu_type1\nvfio_virqfd\n"), "{list}");
}

#[test]
fn presets_that_name_a_configuration_get_it_there() {
    let preset = "ALL_kver=\"/boot/vmlinuz-linux\"\nALL_config=\"/etc/other.conf\"\nPRESETS=('default' 'fallback')\ndefault_image=\"/boot/initramfs-linux.img\"\nfallback_image=\"/boot/initramfs-linux-fallback.img\"\nfallback_options=\"-S autodetect\"\n";
    let other = format!("MODULES=(ext4)\n{HOOKS}");
    let machine = arch().text("/etc/mkinitcpio.d/linux.preset", preset).text("/etc/other.conf", &other);
    let (plan, done) = planned("ALL_config", &machine);
    assert_eq!(effective(&done, "/etc/other.conf", false, "MODULES").join(" "), format!("{VFIO} ext4"));
    // The other kernel's preset reads the main file and its drop-ins.
    assert_eq!(effective(&done, CONF, true, "MODULES").join(" "), VFIO);
    let images: Vec<&str> = plan
        .expects
        .iter()
        .filter_map(|expectation| match &expectation.what {
            Condition::ImageLoads { image, .. } => Some(image.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(images, ["/boot/initramfs-linux-lts.img", "/boot/initramfs-linux.img", "/boot/initramfs-linux-fallback.img"]);
    let main_by_name = preset.replace("/etc/other.conf", CONF);
    let (plan, done) = planned("the main file by name", &arch().text("/etc/mkinitcpio.d/linux.preset", &main_by_name));
    assert_eq!(effective(&done, CONF, false, "MODULES").join(" "), VFIO, "{:?}", paths(&plan));
}

#[test]
fn without_modconf_the_files_are_listed() {
    let (_, done) = planned("no modconf", &arch().text(CONF, &MKINITCPIO_CONF.replace(" modconf", "")));
    assert_eq!(effective(&done, CONF, true, "FILES"), ["/etc/modprobe.d/00-cede.conf"]);
    assert_eq!(effective(&done, CONF, true, "MODULES").join(" "), VFIO);
    let (_, done) = planned("no modconf, old", &old_tool(arch().text(CONF, &MKINITCPIO_CONF.replace(" modconf", ""))));
    assert_eq!(effective(&done, CONF, false, "FILES"), ["/etc/modprobe.d/00-cede.conf"]);
}

#[test]
fn what_cannot_be_told_is_refused() {
    let cases: [(&str, &str, &str); 5] = [
        ("one element", "MODULES=(\"vfio_pci vfio vfio_iommu_type1\")\n", "one element"),
        ("string for systemd", "MODULES=\"ext4\"\nHOOKS=(base systemd modconf)\n", "systemd hook"),
        ("not closed", "MODULES=(a\n", ""),
        ("conditional", "if [ -e /x ]; then MODULES+=(a); fi\n", ""),
        ("exit", "MODULES=(a)\nexit 0\n", ""),
    ];
    for (name, text, part) in cases {
        let plan = plan_on(&arch().text(CONF, &format!("{HOOKS}{text}")).capture, &[GPU], Cmdline);
        assert_eq!(refused(&plan), ["mkinitcpio-not-editable"], "{name}: {:?}", paths(&plan));
        assert!(plan.refused[0].message.contains(part), "{name}: {:?}", plan.refused);
        assert_tells_what_to_do(&plan);
    }
    let mut hidden = arch();
    hidden.capture.insert(format!("{DIR}/x.conf"), Entry::Unreadable("EACCES".into()));
    let plan = plan_on(&hidden.capture, &[GPU], Cmdline);
    assert_eq!(refused(&plan), ["mkinitcpio-not-editable"]);
    assert_tells_what_to_do(&plan);
}

/// What the drop-ins set beside modules stays, and a file that has a name of ours is not written over.
#[test]
fn files_of_our_names_stay_as_they_are() {
    let text = "BINARIES=(gdb)\nMODULES+=(ext4)\n";
    let machine = arch().text(CONF, &format!("MODULES=(btrfs)\n{HOOKS}")).text(&format!("{DIR}/95-cede.conf"), text);
    let (plan, done) = planned("a file of our name", &machine);
    assert!(paths(&plan).contains(&"/etc/mkinitcpio.conf.d/zz-cede.conf"), "{:?}", paths(&plan));
    assert_eq!(effective(&done, CONF, true, "MODULES").join(" "), format!("{VFIO} btrfs ext4"));
    assert_eq!(effective(&done, CONF, true, "BINARIES"), ["gdb"]);
    let both = machine.text(&format!("{DIR}/zz-cede.conf"), text);
    let plan = plan_on(&both.capture, &[GPU], Cmdline);
    assert!(plan.refused[0].message.contains("95-cede.conf and zz-cede.conf are both there"), "{:?}", plan.refused);
}

#[test]
fn files_in_a_string_stay_files_of_their_own() {
    for (files, before) in
        [("FILES=\"/etc/a.key /etc/b\"\n", "/etc/a.key /etc/b "), ("FILES=\n", ""), ("", ""), ("FILES=(/etc/a)\n", "/etc/a ")]
    {
        let conf = format!("MODULES=()\nHOOKS=(base udev block)\n{files}");
        for machine in [arch(), old_tool(arch())] {
            let (_, done) = planned(files, &machine.text(CONF, &conf));
            assert_eq!(effective(&done, CONF, true, "FILES").join(" "), format!("{before}/etc/modprobe.d/00-cede.conf"), "{files:?}");
        }
    }
}

#[test]
fn drop_ins_are_taken_in_the_order_of_sort() {
    let last = |name: &str, others: &str| {
        let machine = arch().text(&format!("{DIR}/{name}"), "MODULES=(btrfs)\n");
        let (_, done) = planned(name, &machine);
        assert_eq!(effective(&done, CONF, true, "MODULES").join(" "), format!("{VFIO}{others}"), "{name}");
    };
    ["95.conf", "95a.conf", "zzz.conf", "zz.conf", ".x.conf"].iter().for_each(|name| last(name, " btrfs"));
    let later = arch().text(&format!("{DIR}/zz_local.conf"), "MODULES=(btrfs)\n");
    let plan = plan_on(&later.capture, &[GPU], Cmdline);
    assert!(plan.refused[0].message.contains("/etc/mkinitcpio.conf.d/zz_local.conf is read later"), "{:?}", plan.refused);
}

#[test]
fn presets_are_read_as_mkinitcpio_reads_them() {
    let with =
        |text: &str| arch().text("/etc/mkinitcpio.d/linux.preset", &format!("ALL_kver=/boot/vmlinuz-linux\nPRESETS=(default)\n{text}"));
    let image = "default_image=/boot/initramfs-linux.img\n";
    let other = format!("MODULES=(ext4)\n{HOOKS}");
    // An empty value counts as none, and there is no image, unified image or option for all presets.
    for text in ["ALL_config=\"\"\n", "default_config=\n", "default_uki=\n", "ALL_uki=/efi/linux.efi\n", "default_kver=''\n"] {
        let (plan, _) = planned(text, &with(&format!("{text}{image}")));
        assert!(paths(&plan).contains(&"/etc/mkinitcpio.conf.d/95-cede.conf"), "{text}: {:?}", paths(&plan));
    }
    let empty = with(&format!("ALL_config=/etc/other.conf\ndefault_config=\n{image}")).text("/etc/other.conf", &other);
    let (plan, _) = planned("the configuration for all", &empty);
    assert!(paths(&plan).contains(&"/etc/other.conf"), "{:?}", paths(&plan));
    let hidden = with(image).text("/etc/mkinitcpio.d/.x.preset", "PRESETS=(");
    planned("a hidden preset", &hidden);
    let unified = plan_on(&with(&format!("default_efi_image=/efi/linux.efi\n{image}")).capture, &[GPU], Cmdline);
    assert_eq!(refused(&unified), ["unified-kernel-image"]);
}

#[test]
fn a_preset_that_reads_the_main_file_alone_is_served_too() {
    let preset = format!(
        "ALL_kver=/boot/vmlinuz-linux\nPRESETS=(default fallback)\ndefault_image=/boot/initramfs-linux.img\nfallback_image=/boot/initramfs-linux-fallback.img\nfallback_config={CONF}\n"
    );
    let with = |drop_in: &str| arch().text("/etc/mkinitcpio.d/linux.preset", &preset).text(&format!("{DIR}/10.conf"), drop_in);
    let (_, done) = planned("adds", &with("MODULES+=(btrfs)\n"));
    assert_eq!(effective(&done, CONF, false, "MODULES").join(" "), VFIO);
    assert_eq!(effective(&done, CONF, true, "MODULES").join(" "), format!("{VFIO} btrfs"));
    let (_, done) = planned("lists ours", &with(&format!("MODULES=({VFIO})\n")));
    assert_eq!([false, true].map(|drop_ins| effective(&done, CONF, drop_ins, "MODULES").join(" ")), [VFIO, VFIO]);
    let plan = plan_on(&with("MODULES=(btrfs)\n").capture, &[GPU], Cmdline);
    assert_eq!(refused(&plan), ["mkinitcpio-not-editable"]);
    assert_tells_what_to_do(&plan);
}

#[test]
fn options_that_stand_for_variables_are_refused() {
    for (options, expected) in [("\"-S autodetect -c /etc/other.conf\"", "default_config="), ("(--uki=/efi/linux.efi)", "default_uki=")] {
        let preset = format!("ALL_kver=/v\nPRESETS=(default)\ndefault_image=/boot/initramfs-linux.img\ndefault_options={options}\n");
        let plan = plan_on(&arch().text("/etc/mkinitcpio.d/linux.preset", &preset).capture, &[GPU], Cmdline);
        assert_eq!(refused(&plan), ["mkinitcpio-preset-not-readable"], "{options}");
        assert!(plan.refused[0].message.contains(expected), "{:?}", plan.refused);
        assert_tells_what_to_do(&plan);
    }
}

#[test]
fn without_a_preset_nothing_would_be_made() {
    let mut machine = arch().directory("/etc/mkinitcpio.d");
    for name in ["linux", "linux-lts"] {
        machine.capture.remove(&format!("/etc/mkinitcpio.d/{name}.preset"));
    }
    let plan = plan_on(&machine.capture, &[GPU], Cmdline);
    assert_eq!(refused(&plan), ["mkinitcpio-no-preset"]);
    assert_tells_what_to_do(&plan);
}

#[test]
fn a_last_line_without_an_end_is_named() {
    let rest = "/etc/mkinitcpio.conf.d/10.conf as the rest of it: `echo >> /etc/mkinitcpio.conf` ends it";
    for (main, drop_in) in [("HOOKS=(base udev modconf)", "MODULES+=(btrfs)\n"), ("HOOKS=(base)\n# end", "MODULES=(\n btrfs\n)\n")] {
        let plan = plan_on(&arch().text(CONF, main).text(&format!("{DIR}/10.conf"), drop_in).capture, &[GPU], Cmdline);
        assert!(plan.refused[0].message.contains(rest), "{:?}", plan.refused);
        assert_tells_what_to_do(&plan);
    }
}

#[test]
fn cr_line_ends_are_named() {
    let plan = plan_on(&arch().text(CONF, "MODULES=(ext4)\r\nHOOKS=(base)\r\n").capture, &[GPU], Cmdline);
    assert!(
        plan.refused[0].message.contains(
            "line 1: MODULES: CR line ends, which the shell takes as text: take them out with `sed -i 's/\\r$//' /etc/mkinitcpio.conf`"
        ),
        "{:?}",
        plan.refused
    );
    assert_tells_what_to_do(&plan);
}
