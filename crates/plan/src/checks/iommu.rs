//! Is the IOMMU on, and if not, why?

use crate::bootloader;
use crate::finding::{Finding, Verdict};
use crate::iommu_cause::{self, IommuFamily, OffCause};
use cede_model::iommu::IommuState;
use cede_model::iommu::state::{ACPI_TABLES, IOMMU_CLASS};
use cede_model::pci::PciAddress;
use cede_model::{Evidence, Host, Observed, counted};

/// One finding: `iommu-on`, `iommu-off` or `iommu-unknown`; with it on, also a parameter that will switch it off at the next start.
pub fn check(host: &Host, _devices: &[PciAddress]) -> Vec<Finding> {
    match host.iommu {
        IommuState::On => on(host).into_iter().chain(off_next_time(host)).collect(),
        IommuState::Off => vec![off(host)],
        IommuState::Unknown => vec![unknown()],
    }
}

fn on(host: &Host) -> Vec<Finding> {
    let groups = counted(host.groups.len(), "IOMMU group");
    let units = host.iommu_units.iter().map(|unit| Evidence::new(IOMMU_CLASS, unit.as_str()));
    vec![
        Finding::new("iommu-on", Verdict::Fine, format!("the IOMMU is on: {groups}"), Evidence::new("/sys/kernel/iommu_groups", groups))
            .also(units),
    ]
}

fn unknown() -> Finding {
    let evidence = Evidence::new("/sys/bus/pci/devices", "is not there");
    Finding::new(
        "iommu-unknown",
        Verdict::CannotTell,
        "whether the IOMMU is on cannot be told: /sys is not part of what was read",
        evidence,
    )
    .remedy("run on the host itself, or give a capture with `--host FILE`")
}

fn off(host: &Host) -> Finding {
    let none = Evidence::new("/sys/kernel/iommu_groups", "no PCI function is in a group");
    let family = IommuFamily::of(host);
    let tables = table_evidence(host, family);
    match iommu_cause::why_off(host) {
        Some(OffCause::Xen(evidence)) => problem("the IOMMU is off: this system runs under Xen, which keeps the IOMMU to itself", none)
            .also([evidence])
            .remedy("in dom0, have Xen give the device: `xl pci-assignable-add ADDR`; or start this system without Xen"),
        Some(OffCause::NoAcpi(words)) => problem(
            format!("the IOMMU is off: the kernel was started with {}, and finds the IOMMU by ACPI tables alone", words.join(" ")),
            none,
        )
        .also(running(host))
        .also(set_at(host, &words))
        .remedy("take it out of the boot configuration, reboot, then `cede check`"),
        Some(OffCause::NotBuilt(evidence)) => problem("the IOMMU is off: this kernel was built without the driver", none)
            .also([evidence])
            .also(tables)
            .remedy("install and start a kernel that has it, then `cede check`"),
        Some(OffCause::Parameter(words)) => by_parameter(host, &words, none),
        Some(OffCause::Firmware) => problem("the IOMMU is off: the firmware offers none", none).also(tables).remedy(in_setup(family)),
        Some(OffCause::CommandLineUnknown(why)) => problem("the IOMMU is off: why cannot be told without the command line", none)
            .also([Evidence::new("/proc/cmdline", why)])
            .also(tables)
            .remedy("run `sudo cede check` on the host itself"),
        Some(OffCause::KernelDefault(evidence)) => {
            problem(by_default(host), none).also(evidence).also(tables).also(running(host)).remedy(match bootloader::find(host) {
                Ok(_) => "`cede apply ADDR` adds intel_iommu=on; `cede plan ADDR` shows how",
                Err(_) => "add intel_iommu=on to the kernel's command line: `cede plan ADDR` says where",
            })
        }
        Some(OffCause::Unexplained) | None => {
            problem("the IOMMU is off although nothing switches it off", none).also(tables).also(running(host)).remedy(format!(
                "the kernel log tells why it could not start: `{}`; in a virtual machine, it must be given one",
                family.log_command()
            ))
        }
    }
}

fn in_setup(family: IommuFamily) -> &'static str {
    match family {
        IommuFamily::Arm => {
            "look for SMMU or IOMMU in the firmware's setup, then `cede check`; the kernel needs no parameter; a machine without an SMMU cannot cede devices"
        }
        _ => {
            "switch VT-d (Intel) or AMD-Vi, also called IOMMU, on in the firmware's setup, then `cede check`; a processor or board without it cannot cede devices, and a virtual machine must be given one"
        }
    }
}

fn by_default(host: &Host) -> &'static str {
    match host.acpi.dmar.known() {
        Some(()) => "the IOMMU is off: the firmware offers it, and the kernel leaves it off unless told",
        None => "the IOMMU is off: the kernel leaves it off unless told; whether the firmware offers one was not seen",
    }
}

fn problem(summary: impl Into<String>, evidence: Evidence) -> Finding {
    Finding::new("iommu-off", Verdict::Problem, summary, evidence)
}

fn by_parameter(host: &Host, words: &[String], none: Evidence) -> Finding {
    let text = words.join(" ");
    let remedy = format!("`cede apply ADDR` takes {text} out; `cede plan ADDR` shows how");
    problem(format!("the IOMMU is off: the kernel was started with {text}"), none)
        .also(running(host))
        .also(set_at(host, words))
        .remedy(remedy)
}

/// Where the words are set for the next start.
fn set_at(host: &Host, words: &[String]) -> Vec<Evidence> {
    let configured = bootloader::find(host).map(|loader| loader.configured(host)).unwrap_or_default();
    configured.into_iter().filter(|word| words.contains(&word.text)).filter_map(|word| word.source).collect()
}

fn off_next_time(host: &Host) -> Option<Finding> {
    let words = iommu_cause::off_words_to_come(host);
    let mut evidence = set_at(host, &words).into_iter();
    let finding = Finding::new(
        "iommu-off-next-time",
        Verdict::Problem,
        format!("the IOMMU is on now, and {} will switch it off at the next start", words.join(" ")),
        evidence.next()?,
    );
    Some(finding.also(evidence).remedy("take it out of the boot configuration; `cede plan ADDR` does"))
}

fn running(host: &Host) -> Option<Evidence> {
    let line = *host.running_cmdline().known()?;
    Some(Evidence::at_line("/proc/cmdline", 1, String::from_utf8_lossy(line)))
}

fn table_evidence(host: &Host, family: IommuFamily) -> Vec<Evidence> {
    let tables = [("DMAR", &host.acpi.dmar), ("IVRS", &host.acpi.ivrs), ("IORT", &host.acpi.iort)];
    let has_one = tables.iter().any(|(_, seen)| seen.known().is_some());
    let concerns = |name: &str| (name == "IORT") == (family == IommuFamily::Arm);
    let evidence = |(name, seen): (&str, &Observed<()>)| {
        match seen {
            Observed::Known(()) => Some("is there"),
            Observed::Absent if concerns(name) && !has_one => Some("is not there"),
            Observed::Absent | Observed::Unknown(_) => None,
        }
        .map(|text| Evidence::new(format!("{ACPI_TABLES}/{name}"), text))
    };
    tables.into_iter().filter_map(evidence).collect()
}
