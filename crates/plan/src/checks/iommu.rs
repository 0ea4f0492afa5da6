//! Is the IOMMU on, and if not, is it the firmware, the kernel's default, or a parameter?

use crate::bootloader;
use crate::finding::{Finding, Verdict};
use crate::iommu_cause::{self, IommuFamily, OffCause};
use cede_model::iommu::IommuState;
use cede_model::iommu::state::{ACPI_TABLES, IOMMU_CLASS};
use cede_model::pci::PciAddress;
use cede_model::{Evidence, Host, Observed};

/// One finding: `iommu-on`, `iommu-off` or `iommu-unknown`; with it on, also a parameter that will switch it off at the next start.
pub fn check(host: &Host, _devices: &[PciAddress]) -> Vec<Finding> {
    match host.iommu {
        IommuState::On => on(host).into_iter().chain(off_next_time(host)).collect(),
        IommuState::Off => vec![off(host)],
        IommuState::Unknown => vec![unknown()],
    }
}

fn on(host: &Host) -> Vec<Finding> {
    let groups = format!("{} IOMMU groups", host.groups.len());
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
    let tables = table_evidence(host);
    match iommu_cause::why_off(host) {
        Some(OffCause::Parameter(words)) => by_parameter(host, &words, none),
        Some(OffCause::Firmware) => problem("the IOMMU is off: the firmware offers none", none)
            .also(tables)
            .remedy("switch VT-d (Intel) or AMD-Vi, also called IOMMU, on in the firmware's setup, then `cede check`; a processor or board without it cannot cede devices, and a virtual machine must be given one"),
        Some(OffCause::KernelDefault(evidence)) => {
            problem(by_default(host), none).also(evidence).also(tables).also(running(host)).remedy("`cede apply ADDR` adds intel_iommu=on; `cede plan ADDR` shows how")
        }
        Some(OffCause::Unexplained) | None => problem("the IOMMU is off although nothing switches it off", none)
            .also(tables)
            .also(running(host))
            .remedy("the kernel log tells why it could not start: `sudo dmesg | grep -e DMAR -e AMD-Vi`; in a virtual machine, it must be given one"),
    }
}

fn by_default(host: &Host) -> &'static str {
    match host.acpi.dmar.known() {
        Some(()) => "the IOMMU is off: the firmware offers it, and the kernel leaves it off unless told",
        None => "the IOMMU is off: the kernel leaves it off unless told; whether the firmware offers one was not seen",
    }
}

fn problem(summary: &str, evidence: Evidence) -> Finding {
    Finding::new("iommu-off", Verdict::Problem, summary, evidence)
}

fn by_parameter(host: &Host, words: &[String], none: Evidence) -> Finding {
    let text = words.join(" ");
    let remedy = format!("`cede apply ADDR` takes {text} out; `cede plan ADDR` shows how");
    problem(&format!("the IOMMU is off: the kernel was started with {text}"), none)
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
    let configured: Vec<String> = bootloader::find(host).ok()?.configured(host).into_iter().map(|word| word.text).collect();
    let words = iommu_cause::off_words(&configured, IommuFamily::of(host));
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

fn table_evidence(host: &Host) -> Vec<Evidence> {
    let table = |name: &str, seen: &Observed<()>| match seen {
        Observed::Known(()) => Some(Evidence::new(format!("{ACPI_TABLES}/{name}"), "is there")),
        Observed::Absent => Some(Evidence::new(format!("{ACPI_TABLES}/{name}"), "is not there")),
        Observed::Unknown(_) => None,
    };
    let other = |seen: &Observed<()>, own: &Observed<()>| seen.is_absent() && own.known().is_some();
    let dmar = table("DMAR", &host.acpi.dmar).filter(|_| !other(&host.acpi.dmar, &host.acpi.ivrs));
    let ivrs = table("IVRS", &host.acpi.ivrs).filter(|_| !other(&host.acpi.ivrs, &host.acpi.dmar));
    dmar.into_iter().chain(ivrs).collect()
}
