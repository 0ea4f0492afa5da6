//! What goes to `/etc/modprobe.d`, against kmod where it is installed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Capture, Entry};
use cede_plan::intent::BindMethod::{Cmdline, Modprobe};
use cede_plan::plan::step::inverse;
use support::machine::{GPU, Loader, Machine};
use support::pci::Function;
use support::shell::{Scratch, has, run};
use support::{after, applied, assert_tells_what_to_do, paths, plan_on, refused};

const OWN: &str = "/etc/modprobe.d/00-cede.conf";

fn arch() -> Machine {
    Machine::arch(Loader::Grub)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The lines that kmod has in force, in their order; `None` where kmod is not installed.
fn effective(capture: &Capture) -> Option<Vec<String>> {
    if !has("/usr/sbin/modprobe") && run("sh", "command -v modprobe", "/".as_ref()).is_none() {
        return None;
    }
    let scratch = Scratch::new();
    for (path, entry) in capture.below("/etc/modprobe.d/") {
        if let Entry::File(bytes) = entry {
            scratch.write(path, bytes);
        }
    }
    let output = run("sh", "PATH=$PATH:/usr/sbin:/sbin modprobe -c -C \"$1/etc/modprobe.d\"", scratch.path())?;
    // kmod 30 prints `post:` without the blank before it.
    Some(text(&output).lines().map(|line| line.replace('-', "_").replace("post:", " post:")).collect())
}

fn first_softdep(capture: &Capture, module: &str) -> Option<String> {
    let lines = effective(capture)?;
    let start = format!("softdep {module} ");
    Some(lines.into_iter().find(|line| line.starts_with(&start)).unwrap_or_default())
}

#[track_caller]
fn assert_stable(machine: &Machine, wanted: &[&str], bind: cede_plan::BindMethod) -> Capture {
    let plan = plan_on(&machine.capture, wanted, bind);
    assert!(plan.refused.is_empty(), "{:?}", plan.refused);
    let done = applied(&machine.capture, &plan.steps);
    let again = plan_on(&done, wanted, bind);
    assert!(again.is_empty(), "{:?} {:?}", paths(&again), again.refused);
    let back = applied(&done, &inverse(&plan.steps));
    for (path, entry) in machine.capture.entries() {
        assert_eq!(back.get(path), Some(entry), "{path}");
    }
    done
}

#[test]
fn natives_come_after_vfio_pci() {
    let done = assert_stable(&arch(), &[GPU], Cmdline);
    assert_eq!(
        text(done.file(OWN).unwrap()).lines().skip(1).collect::<Vec<_>>(),
        ["softdep nouveau pre: vfio-pci", "softdep snd_hda_intel pre: vfio-pci"]
    );
    if let Some(line) = first_softdep(&done, "snd_hda_intel") {
        assert!(line.contains("pre: vfio_pci"), "{line}");
    }
}

#[test]
fn what_a_softdep_said_before_is_kept() {
    let machine = arch().text("/etc/modprobe.d/sound.conf", "softdep snd-hda-intel pre: snd-seq i915 post: snd_mixer_oss\n");
    let done = assert_stable(&machine, &[GPU], Cmdline);
    let own = text(done.file(OWN).unwrap());
    assert!(own.contains("softdep snd_hda_intel pre: vfio-pci snd_seq i915 post: snd_mixer_oss\n"), "{own}");
    if let Some(line) = first_softdep(&done, "snd_hda_intel") {
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>().join(" "),
            "softdep snd_hda_intel pre: vfio_pci snd_seq i915 post: snd_mixer_oss"
        );
    }
    let by_kernel = arch().text("/lib/modules/6.13.2-arch1-1/modules.softdep", "softdep nouveau pre: mxm_wmi\n");
    let own = text(after(&plan_on(&by_kernel.capture, &[GPU], Cmdline), OWN));
    assert!(own.contains("softdep nouveau pre: vfio-pci mxm_wmi\n"), "{own}");
    let done_by_hand = arch().text("/etc/modprobe.d/vfio.conf", "softdep nouveau pre: vfio-pci\nsoftdep snd_hda_intel pre: vfio_pci\n");
    assert!(!paths(&plan_on(&done_by_hand.capture, &[GPU], Cmdline)).contains(&OWN));
    let first = arch().text("/etc/modprobe.d/00-aaa.conf", "softdep nouveau pre: drm\n");
    let plan = plan_on(&first.capture, &[GPU], Cmdline);
    assert_eq!(refused(&plan), ["softdep-decided-elsewhere"]);
    assert_tells_what_to_do(&plan);
}

#[test]
fn ids_of_modprobe_files_come_along_to_the_command_line() {
    let machine = arch().text("/etc/modprobe.d/vfio.conf", "options vfio-pci ids=1b21:2142 disable_vga=1\n");
    let done = assert_stable(&machine, &[GPU], Cmdline);
    let grub = text(done.file("/etc/default/grub").unwrap());
    assert!(grub.contains("vfio-pci.ids=1b21:2142,10de:1f91,10de:10fa"), "{grub}");
    let odd = arch().text("/etc/modprobe.d/vfio.conf", "options vfio-pci ids=\"1b21:2142\"\n");
    let plan = plan_on(&odd.capture, &[GPU], Cmdline);
    assert_eq!(refused(&plan), ["ids-not-readable"]);
    assert_tells_what_to_do(&plan);
    let crlf = arch().text("/etc/modprobe.d/vfio.conf", "options vfio-pci ids=1b21:2142\r\n");
    let grub = text(after(&plan_on(&crlf.capture, &[GPU], Cmdline), "/etc/default/grub"));
    assert!(!grub.contains('\r'), "{grub}");
}

#[test]
fn by_modprobe_the_ids_join_the_list_in_force() {
    let done = assert_stable(&arch(), &[GPU], Modprobe);
    assert!(text(done.file(OWN).unwrap()).ends_with("options vfio-pci ids=10de:1f91,10de:10fa\n"));
    let grub = text(done.file("/etc/default/grub").unwrap());
    assert!(grub.contains("intel_iommu=on") && !grub.contains("vfio"), "{grub}");
    let config = "# mine\noptions vfio_pci ids=1b21:1 \noptions vfio-pci disable_vga=1 ids=1b21:2142\n";
    let done = assert_stable(&arch().text("/etc/modprobe.d/vfio.conf", config), &[GPU], Modprobe);
    let expected = config.replace("ids=1b21:2142", "ids=1b21:2142,10de:1f91,10de:10fa");
    assert_eq!(text(done.file("/etc/modprobe.d/vfio.conf").unwrap()), expected);
    if let Some(lines) = effective(&done) {
        assert!(lines.iter().rev().find(|line| line.contains(" ids=")).unwrap().contains("10de:1f91"), "{lines:?}");
    }
    let on_line = arch().text("/etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT=\"vfio-pci.ids=1b21:2142\"\n");
    let plan = plan_on(&on_line.capture, &[GPU], Modprobe);
    assert_eq!(refused(&plan), ["ids-on-command-line"]);
    assert_tells_what_to_do(&plan);
}

#[test]
fn ids_on_a_continued_line_are_extended_there() {
    for config in [
        "options vfio-pci \\\n ids=1b21:2142\n",
        "# mine\noptions vfio-pci disable_vga=1 \\\n\tids=1b21:2142 \\\n  disable_idle_d3=1\nblacklist nouveau\n",
        "options vfio-pci ids=1b21:\\\n2142",
        "options vfio-pci ids=1b21:2142 # what follows is no comment to kmod\n",
    ] {
        let done = assert_stable(&arch().text("/etc/modprobe.d/vfio.conf", config), &[GPU], Modprobe);
        assert_eq!(text(done.file("/etc/modprobe.d/vfio.conf").unwrap()), config.replacen("2142", "2142,10de:1f91,10de:10fa", 1));
        if let Some(lines) = effective(&done) {
            assert!(lines.iter().any(|line| line.contains("ids=1b21:2142,10de:1f91,10de:10fa")), "{config}: {lines:?}");
        }
    }
}

#[test]
fn files_that_do_not_last_are_not_changed() {
    for dir in ["/run/modprobe.d", "/usr/lib/modprobe.d"] {
        let line = "options vfio-pci ids=1b21:2142\n";
        let machine = arch().text(&format!("{dir}/vfio.conf"), line);
        let plan = plan_on(&machine.capture, &[GPU], Modprobe);
        assert_eq!(refused(&plan), ["ids-not-editable"], "{dir}");
        assert_tells_what_to_do(&plan);
        // What the message says to type.
        let copied = machine.text("/etc/modprobe.d/vfio.conf", line);
        let plan = plan_on(&copied.capture, &[GPU], Modprobe);
        assert_eq!(text(after(&plan, "/etc/modprobe.d/vfio.conf")), "options vfio-pci ids=1b21:2142,10de:1f91,10de:10fa\n");
        assert!(!paths(&plan).iter().any(|path| path.starts_with(dir)), "{:?}", paths(&plan));
    }
}

#[test]
fn a_vfio_pci_that_is_switched_off_is_no_driver() {
    for (command, is_off) in [("/bin/true", true), ("/usr/bin/false x", true), (":", true), ("/usr/local/bin/vfio-pci-override.sh", false)]
    {
        let machine = arch().text("/etc/modprobe.d/n.conf", &format!("install vfio_pci {command}\n"));
        let plan = plan_on(&machine.capture, &[GPU], Cmdline);
        assert_eq!(refused(&plan).contains(&"vfio-pci-switched-off"), is_off, "{command}: {:?}", plan.refused);
        if is_off {
            assert!(plan.refused.iter().any(|refusal| refusal.message.contains("/etc/modprobe.d/n.conf:1")), "{:?}", plan.refused);
        }
    }
}

#[test]
fn a_second_device_extends_what_is_there() {
    let card = Function::new("0000:05:00.0", "pci0000:00/0000:00:1d.1", (0x8086, 0x1533), 0x02_0000).driver("igb");
    let modules = "kernel/drivers/net/ethernet/intel/igb/igb.ko.zst:\nkernel/drivers/vfio/pci/vfio-pci.ko.zst:\nkernel/drivers/vfio/vfio.ko.zst:\nkernel/drivers/vfio/vfio_iommu_type1.ko.zst:\nkernel/drivers/gpu/drm/nouveau/nouveau.ko.zst:\nkernel/sound/pci/hda/snd-hda-intel.ko.zst:\n";
    for (bind, debian) in [(Cmdline, false), (Modprobe, false), (Cmdline, true), (Modprobe, true)] {
        let machine = if debian { Machine::debian() } else { arch() };
        let release = if debian { "6.1.0-28-amd64" } else { "6.13.2-arch1-1" };
        let machine = machine.functions(std::slice::from_ref(&card)).text(&format!("/lib/modules/{release}/modules.dep"), modules);
        let first = Machine { capture: assert_stable(&machine, &[GPU], bind) };
        let second = assert_stable(&first, &["05:00.0"], bind);
        let own = text(second.file(OWN).unwrap());
        assert!(own.starts_with(&text(first.capture.file(OWN).unwrap()).replace(",10de:10fa\n", ",10de:10fa")), "{own}");
        assert!(own.contains("softdep igb pre: vfio-pci\n"), "{own}");
        let holder = match (bind, debian) {
            (cede_plan::BindMethod::Override, _) => unreachable!("the loop gives ids"),
            (Modprobe, _) => OWN,
            (Cmdline, true) => "/etc/default/grub.d/95-cede.cfg",
            (Cmdline, false) => "/etc/default/grub",
        };
        let all = text(second.file(holder).unwrap());
        assert_eq!(all.matches("10de:1f91,10de:10fa,8086:1533").count(), 1, "{bind:?} debian={debian}: {all}");
    }
}
