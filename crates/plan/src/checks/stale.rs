//! Settings that guides recommend and that do nothing, or stopped working.

use crate::bootloader;
use crate::finding::{Finding, Verdict};
use crate::initramfs::{self, Share, VIRQFD, share};
use crate::parameter;
use cede_model::pci::PciAddress;
use cede_model::{Evidence, Host};

/// `stale-amd-iommu-on` and `stale-vfio-virqfd`.
pub fn check(host: &Host, _devices: &[PciAddress]) -> Vec<Finding> {
    amd_iommu_on(host).into_iter().chain(virqfd(host)).collect()
}

/// `on` is no value of `amd_iommu=`; since Linux 6.1 the kernel says so (drivers/iommu/amd/init.c `parse_amd_iommu_options`).
fn amd_iommu_on(host: &Host) -> Option<Finding> {
    let stale = |text: &str| parameter::split(text) == ("amd_iommu".to_owned(), Some("on"));
    let configured = bootloader::find(host).map(|loader| loader.configured(host)).unwrap_or_default();
    let mut evidence: Vec<Evidence> = configured.into_iter().filter(|word| stale(&word.text)).filter_map(|word| word.source).collect();
    if crate::iommu_cause::running_words(host).iter().any(|word| stale(word)) {
        evidence.push(Evidence::at_line("/proc/cmdline", 1, "amd_iommu=on"));
    }
    let mut evidence = evidence.into_iter();
    let finding = Finding::new(
        "stale-amd-iommu-on",
        Verdict::Advice,
        "amd_iommu=on does nothing: the AMD IOMMU is on by itself, and `on` is no value of that parameter",
        evidence.next()?,
    );
    Some(finding.also(evidence).remedy("take it out when you next edit that file"))
}

/// Part of vfio since Linux 6.2 (drivers/vfio/Kconfig).
fn virqfd(host: &Host) -> Option<Finding> {
    let generator = initramfs::find(host).ok()?;
    let listed = generator.early_modules(host).ok()?.iter().any(|name| name == VIRQFD);
    let missing = matches!(share(&host.kernels, VIRQFD), Share::None | Share::Some);
    if !(listed && missing) {
        return None;
    }
    let kernels: Vec<&str> = host.kernels.iter().map(|kernel| kernel.release.as_str()).collect();
    let (path, line, text) = where_listed(host)?;
    let finding = Finding::new(
        "stale-vfio-virqfd",
        Verdict::Advice,
        "vfio_virqfd is listed for the initramfs, and a kernel here has no such module (it is part of vfio since 6.2)",
        Evidence::at_line(path, line, text),
    );
    Some(
        finding
            .also([Evidence::new("/lib/modules", kernels.join(" "))])
            .remedy("take it out of that list: mkinitcpio fails on it; `cede apply ADDR` does so on the way"),
    )
}

fn where_listed(host: &Host) -> Option<(String, u32, String)> {
    let single = ["/etc/mkinitcpio.conf", "/etc/initramfs-tools/modules"].map(str::to_owned);
    let drop_ins = host.capture.names_in("/etc/mkinitcpio.conf.d").map(|name| format!("/etc/mkinitcpio.conf.d/{name}"));
    single.into_iter().chain(drop_ins).find_map(|path| {
        let text = String::from_utf8_lossy(host.capture.file(&path)?).into_owned();
        let (line, found) = text
            .lines()
            .zip(1..)
            .map(|(text, line)| (line, text))
            .find(|(_, text)| !text.trim_start().starts_with('#') && text.replace('-', "_").contains(VIRQFD))?;
        Some((path, line, found.trim().to_owned()))
    })
}
