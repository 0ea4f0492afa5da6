//! Why the IOMMU is off: each cause is told as itself, and nothing is planned where no plan would switch it on.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy's exemption of tests does not reach what stands beside the tests here"
)]

mod support;

use cede_model::{Entry, Host};
use cede_plan::checks;
use cede_plan::finding::{Finding, Verdict};
use cede_plan::intent::BindMethod::Cmdline;
use support::machine::{GPU, Loader, Machine};
use support::{assert_tells_what_to_do, plan_on, refused};

fn off(machine: &Machine) -> Finding {
    let findings = checks::iommu::check(&Host::from_capture(machine.capture.clone()), &[]);
    assert_eq!((findings.len(), findings[0].id, findings[0].verdict), (1, "iommu-off", Verdict::Problem), "{findings:?}");
    findings[0].clone()
}

fn text(finding: &Finding) -> String {
    let evidence: Vec<String> = finding.evidence.iter().map(ToString::to_string).collect();
    format!("{}\n{}\n{}", finding.summary, evidence.join("\n"), finding.remedy.clone().unwrap_or_default())
}

/// The summary holds the first text, summary, evidence or remedy the others.
#[track_caller]
fn assert_cause(machine: &Machine, summary: &str, more: &[&str]) {
    let finding = off(machine);
    assert!(finding.summary.contains(summary), "{}", finding.summary);
    more.iter().for_each(|part| assert!(text(&finding).contains(part), "{part} is not in {}", text(&finding)));
}

fn intel() -> Machine {
    Machine::debian()
}

fn started(machine: Machine, words: &str) -> Machine {
    machine.text("/proc/cmdline", &format!("BOOT_IMAGE=/vmlinuz root=UUID=1b7a ro {words}\n"))
}

#[test]
fn under_xen_the_kernel_is_not_blamed() {
    let xen = started(intel(), "intel_iommu=on").text("/sys/hypervisor/type", "xen\n");
    assert_cause(&xen, "runs under Xen", &["/sys/hypervisor/type: xen", "xl pci-assignable-add"]);
    let plan = plan_on(&xen.capture, &[GPU], Cmdline);
    assert_eq!((refused(&plan), plan.steps.len()), (vec!["iommu-under-xen"], 0));
    assert_tells_what_to_do(&plan);
    let other = started(intel(), "intel_iommu=off").text("/sys/hypervisor/type", "kvm\n");
    assert_cause(&other, "started with intel_iommu=off", &[]);
}

#[test]
fn without_acpi_there_is_no_table_to_find_it_by() {
    for words in ["acpi=off", "acpi=force acpi=off"] {
        let machine = started(intel(), words).absent("/sys/firmware/acpi/tables").absent("/sys/firmware/acpi/tables/DMAR");
        assert_cause(&machine, "started with acpi=off", &["/proc/cmdline:1"]);
        let plan = plan_on(&machine.capture, &[GPU], Cmdline);
        assert_eq!(refused(&plan), ["iommu-off-without-acpi"]);
        assert_tells_what_to_do(&plan);
    }
    // None of these keeps the tables from being read.
    for words in ["acpi=off acpi=force", "pci=noacpi", "noacpi", "acpi=noirq", "quiet -- acpi=off"] {
        assert!(!off(&started(intel(), words)).summary.contains("acpi"), "{words}");
    }
}

#[test]
fn the_last_item_of_intel_iommu_decides() {
    for words in ["intel_iommu=off", "intel_iommu=on intel_iommu=off", "intel_iommu=on,off", "intel-iommu=on,sm_on intel_iommu=sm_off,off"]
    {
        let named = words.split(' ').next_back().unwrap();
        assert_cause(&started(intel(), words), &format!("started with {named}"), &["`cede apply ADDR` takes"]);
    }
    for words in [
        "intel_iommu=off intel_iommu=on",
        "intel_iommu=off,on",
        "intel_iommu=off intel_iommu=on,sm_on",
        "\"intel_iommu=on\" -- intel_iommu=off",
    ] {
        assert_cause(&started(intel(), words), "although nothing switches it off", &["grep -e DMAR"]);
    }
    // Of these none is taken back.
    for words in ["iommu=off iommu=pt", "iommu=pt,off intel_iommu=on"] {
        assert_cause(&started(intel(), words), "started with iommu=", &[]);
    }
    assert_cause(&started(Machine::debian_amd(), "amd_iommu=off amd_iommu=force_enable"), "started with amd_iommu=off", &[]);
    assert_cause(&started(Machine::debian_amd(), "intel_iommu=off"), "although nothing", &["AMD-Vi"]);
}

#[test]
fn what_the_next_start_gets_is_judged_in_the_same_way() {
    let next = |machine: Machine| {
        let findings = checks::iommu::check(&Host::from_capture(machine.iommu_on().capture), &[]);
        findings.into_iter().find(|finding| finding.id == "iommu-off-next-time").map(|finding| finding.summary)
    };
    let grub = |words: &str| intel().text("/etc/default/grub", &format!("GRUB_CMDLINE_LINUX_DEFAULT=\"quiet {words}\"\n"));
    assert_eq!(next(grub("intel_iommu=off intel_iommu=on")), None);
    assert!(next(grub("intel_iommu=on intel_iommu=off")).unwrap().contains("intel_iommu=off"));
    // Each entry has a line of its own: the other's `on` does not help it.
    let entry =
        |words: &str| format!("title Arch Linux\nlinux /vmlinuz-linux\ninitrd /initramfs-linux.img\noptions root=UUID=1b7a rw {words}\n");
    let two = Machine::arch(Loader::SystemdBoot).text("/boot/loader/entries/linux-lts.conf", &entry("intel_iommu=off"));
    assert!(next(two.text("/boot/loader/entries/linux.conf", &entry("intel_iommu=on"))).is_some());
}

#[test]
fn bounce_buffers_end_the_search_in_old_kernels_alone() {
    for words in ["iommu=soft", "swiotlb=force", "swiotlb=65536,force"] {
        let machine = started(intel(), &format!("intel_iommu=on {words}"));
        assert_cause(&machine, "although nothing switches it off", &[]);
        for release in ["5.10.0-30-amd64", "5.15.0-91-generic"] {
            let old = machine.clone().text("/proc/sys/kernel/osrelease", &format!("{release}\n"));
            assert_cause(&old, &format!("started with {words}"), &[]);
            let amd = started(Machine::debian_amd(), words).text("/proc/sys/kernel/osrelease", &format!("{release}\n"));
            assert_cause(&amd, &format!("started with {words}"), &[]);
        }
        let newer = machine.text("/proc/sys/kernel/osrelease", "5.19.0-50-generic\n");
        assert_cause(&newer, "although nothing switches it off", &[]);
    }
}

#[test]
fn what_was_not_built_is_told_from_what_is_off() {
    let config = |text: &str| started(intel(), "intel_iommu=on").text("/boot/config-6.1.0-28-amd64", text);
    let without = config("CONFIG_PCI=y\n# CONFIG_INTEL_IOMMU is not set\nCONFIG_AMD_IOMMU=y\n");
    assert_cause(&without, "built without the driver", &["/boot/config-6.1.0-28-amd64: CONFIG_INTEL_IOMMU is not set"]);
    let plan = plan_on(&without.capture, &[GPU], Cmdline);
    assert_eq!(refused(&plan), ["iommu-not-built"]);
    assert_tells_what_to_do(&plan);
    assert_cause(&config("CONFIG_INTEL_IOMMU=y\n"), "although nothing", &[]);
    // A kernel that does not tell how it was built is not accused.
    assert_cause(&config("CONFIG_PCI=y\n"), "although nothing", &[]);
    assert_cause(&started(intel(), "intel_iommu=on").absent("/boot/config-6.1.0-28-amd64"), "although nothing", &[]);
    let amd = started(Machine::debian_amd(), "quiet").text("/boot/config-6.1.0-28-amd64", "# CONFIG_AMD_IOMMU is not set\n");
    assert_cause(&amd, "built without the driver", &["CONFIG_AMD_IOMMU is not set"]);
}

#[test]
fn the_running_kernel_s_default_is_no_other_kernel_s() {
    let config = |on: bool| {
        if on {
            "CONFIG_INTEL_IOMMU=y\nCONFIG_INTEL_IOMMU_DEFAULT_ON=y\n"
        } else {
            "CONFIG_INTEL_IOMMU=y\n# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n"
        }
    };
    let two = |running: bool| {
        let machine = started(intel(), "quiet").text("/boot/config-6.1.0-28-amd64", config(running));
        machine.kernel("6.1.0-27-amd64", ".ko", &[]).text("/boot/config-6.1.0-27-amd64", config(!running))
    };
    assert_cause(&two(true), "although nothing switches it off", &["grep -e DMAR"]);
    assert_cause(&two(false), "the kernel leaves it off unless told", &["/boot/config-6.1.0-28-amd64"]);
    // The plan serves both.
    assert!(plan_on(&two(true).capture, &[GPU], Cmdline).expects.iter().any(|expected| format!("{expected:?}").contains("intel_iommu=on")));
}

#[test]
fn a_command_line_that_was_not_read_is_no_clean_one() {
    let mut unread = intel();
    for (entry, why) in [(Entry::Unreadable("EACCES".into()), "EACCES"), (Entry::Absent, "was not read")] {
        unread.capture.insert("/proc/cmdline", entry);
        assert_cause(&unread, "why cannot be told", &[why, "`sudo cede check`"]);
    }
    // A default that was seen, and firmware without a table, are reason enough.
    let default = unread.clone().text("/boot/config-6.1.0-28-amd64", "CONFIG_INTEL_IOMMU=y\n# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n");
    assert_cause(&default, "the kernel leaves it off unless told", &[]);
    let bare = unread.absent("/sys/firmware/acpi/tables/DMAR").absent("/sys/firmware/acpi/tables/IVRS");
    assert_cause(&bare, "the firmware offers none", &[]);
}

#[test]
fn an_arm_host_hears_nothing_of_x86() {
    let arm = || {
        let machine =
            started(intel(), "iommu=off intel_iommu=off acpi=off").text("/proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41\n");
        machine.absent("/sys/firmware/acpi/tables/DMAR").absent("/sys/firmware/acpi/tables/IVRS")
    };
    let config = "CONFIG_ARM_SMMU=y\n# CONFIG_ARM_SMMU_V3 is not set\n";
    let with_smmu = arm().seen("/sys/firmware/acpi/tables/IORT").text("/boot/config-6.1.0-28-amd64", config);
    assert_cause(&with_smmu, "although nothing switches it off", &["IORT: is there", "smmu"]);
    let without = with_smmu.clone().text("/boot/config-6.1.0-28-amd64", "# CONFIG_ARM_SMMU is not set\n");
    assert_cause(&without, "built without the driver", &["CONFIG_ARM_SMMU is not set"]);
    let no_table = arm().text("/boot/config-6.1.0-28-amd64", config);
    assert_cause(&no_table, "the firmware offers none", &["IORT: is not there", "no parameter"]);
    let device_tree = arm().text("/boot/config-6.1.0-28-amd64", config).absent("/sys/firmware/acpi/tables");
    assert_cause(&device_tree, "although nothing switches it off", &["smmu"]);
    for machine in [with_smmu, without, no_table.clone(), device_tree] {
        let words = text(&off(&machine));
        ["VT-d", "AMD", "DMAR", "IVRS", "intel_iommu=on"].iter().for_each(|word| assert!(!words.contains(word), "{word} in {words}"));
    }
    let plan = plan_on(&no_table.capture, &[GPU], Cmdline);
    assert!(refused(&plan) == ["iommu-off-in-firmware"] && plan.refused[0].message.contains("IORT"), "{:?}", plan.refused);
}

#[test]
fn apply_is_promised_only_where_it_would_change_anything() {
    let default = "the kernel leaves it off unless told";
    assert_cause(&Machine::arch(Loader::Grub), default, &["`cede apply ADDR` adds intel_iommu=on"]);
    let unsupported = Machine::arch(Loader::Grub).text("/etc/NIXOS", "");
    assert_cause(&unsupported, default, &["add intel_iommu=on to the kernel's command line: `cede plan ADDR` says where"]);
}
