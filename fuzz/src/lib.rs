//! What is fed with bytes. Beyond "nothing panics", each says what must hold of the answer.

use cede_model::initramfs_image::{Limits, read_image};
use cede_model::iommu::Ivrs;
use cede_model::iommu::acs_parameters::AcsParameters;
use cede_model::kernel::module_alias::ModuleAliases;
use cede_model::pci::config_space::ConfigSpace;
use cede_model::pci::names::PciNames;
use cede_model::pci::option_rom::OptionRom;
use cede_model::pci::{PciAddress, PciClass, PciId};
use cede_model::{Capture, Host, boot, capture_text, lspci as listings, scrub::Scrubber};
use cede_plan::edit::cmdline::CommandLine;
use cede_plan::edit::modprobe::ModprobeConfig;
use cede_plan::edit::shell::{Dialect, Shells, Sourcing, array, evaluate, words};
use cede_plan::{BindMethod, checks, explain, journal as operations, merge as merging, plan, planner, scrubbed_journal, verify};

/// Few devices are enough: what is looked for is in how one is read.
const DEVICES: usize = 2;

/// A capture's text: what is read is written the same again, and scrubbing leaves a capture.
pub fn capture(data: &[u8]) {
    let Some(mut capture) = parsed(data) else { return };
    let again = capture_text::parse(&capture_text::render(&capture));
    assert_eq!(again.as_ref().ok(), Some(&capture));
    let (whole, mut scrubber) = (capture.clone(), Scrubber::default());
    scrubber.scrub(&mut capture);
    scrubbed_journal::rewrite(&whole, &mut capture, &mut scrubber);
    assert!(capture_text::parse(&capture_text::render(&capture)).is_ok());
}

/// A whole host, from a stranger's capture: everything that is concluded from it. A plan is read back as it was written.
pub fn host(data: &[u8]) {
    let Some(capture) = parsed(data) else { return };
    let host = Host::from_capture(capture);
    let wanted: Vec<_> = host.devices.iter().map(|device| device.address).take(DEVICES).collect();
    checks::check(&host, &wanted);
    for address in &wanted {
        explain::explain(&host, *address);
    }
    for bind in [BindMethod::Cmdline, BindMethod::Modprobe] {
        let made = planner::plan(&host, &wanted, bind);
        let read = plan::format::parse(&plan::format::render(&made)).ok();
        // Of a refused plan only the words are kept.
        assert!(read.as_ref() == Some(&made) || read.is_some_and(|read| read.refused.len() == made.refused.len() && read.steps.is_empty()));
        verify::verify(&host, &made.expects, plan::When::AfterReboot);
    }
}

/// A pasted listing, and the host it makes.
pub fn lspci(data: &[u8]) {
    for listing in listings::read(data) {
        assert!(listing.detailed <= listing.functions);
        let host = Host::from_capture(listing.capture);
        for device in host.devices.iter().take(DEVICES) {
            explain::explain(&host, device.address);
        }
    }
}

/// GRUB's menu.
pub fn grub_cfg(data: &[u8]) {
    for entry in boot::grub_cfg::parse(data).entries {
        entry.is_recovery();
        entry.linux.iter().for_each(|linux| drop(linux.command_line()));
    }
}

/// An entry of the boot loader specification: each value lies where it says to lie.
pub fn loader_entry(data: &[u8]) {
    let entry = boot::loader_entry::LoaderEntry::parse(data);
    for key in ["options", "linux", "initrd"] {
        assert!(entry.values(key).all(|value| data.get(value.range()).is_some()));
    }
    entry.options();
}

/// An initramfs image, however it is packed: no more is kept than was allowed.
pub fn initramfs(data: &[u8]) {
    let limits = Limits { max_total_unpacked: 1 << 22, max_entries: 1000, max_kept_file: 1 << 16, max_kept_total: 1 << 18 };
    if let Ok(image) = read_image(data, &limits, |_| true) {
        image.kernel_releases();
        assert!(image.entries.keys().filter_map(|path| image.file(path)).all(|file| file.len() <= 1 << 16));
    }
}

/// Configuration space, as sysfs gives it and as a dump.
pub fn config_space(data: &[u8]) {
    for space in [ConfigSpace::from_sysfs(data), ConfigSpace::from_dump(data)] {
        (space.id(), space.class(), space.header_type(), space.multifunction(), space.subsystem(), space.bridge_buses());
        (space.capabilities(), space.extended_capabilities(), space.express());
        (space.acs(), space.acs_of_wide_registers(), space.serial_number(), space.sriov());
    }
}

/// AMD's table of IOMMUs: an alias is another function of the same bus.
pub fn ivrs(data: &[u8]) {
    let Some(table) = Ivrs::parse(data) else { return };
    for devfn in [0, 2, 0xa4, 0xff] {
        let address = PciAddress { domain: 0, bus: data.last().copied().unwrap_or_default(), devfn };
        table.covers(address);
        assert_ne!(table.alias(address), Some(devfn));
    }
}

/// An option ROM: every image lies inside.
pub fn option_rom(data: &[u8]) {
    let rom = OptionRom::read(data);
    assert!(rom.start <= data.len());
}

/// The table of names.
pub fn pci_names(data: &[u8]) {
    let id = PciId { vendor: 0x10de, device: 0x1f91 };
    let names = PciNames::look_up(data, [id], [PciClass(0x03_00_00)]);
    (names.vendor(id), names.device(id), names.class(PciClass(0x03_00_00)));
}

/// The tables of modules, cut in two.
pub fn module_alias(data: &[u8]) {
    let (aliases, builtin) = data.split_at(data.len() / 2);
    ModuleAliases::read(aliases, builtin).matching("pci:v000010DEd00001F91sv00001043sd0000109Fbc03sc00i00");
}

/// A kernel command line: words that are added are found again.
pub fn cmdline(data: &[u8]) {
    let line = CommandLine::parse(data);
    for param in line.params().iter().take(8) {
        line.without(param);
        line.with_replaced(param, "intel_iommu=on");
    }
    if let Some(longer) = line.with_words(&["cede.word=1"]) {
        assert!(CommandLine::parse(&longer).has_token("cede.word=1"));
    }
    AcsParameters::from_cmdline(data);
}

/// A file that shells read: an edit is one that the evaluation confirms.
pub fn shell(data: &[u8]) {
    let name = "GRUB_CMDLINE_LINUX_DEFAULT";
    for dialect in [Dialect::Bash, Dialect::Dash] {
        evaluate(&[data], Sourcing::Each, dialect, name);
    }
    if let Ok(longer) = words::append_words(data, name, &["cede.word=1"], Shells::Either) {
        let shorter = words::remove_word(&longer, name, "cede.word=1", Shells::Either);
        assert!(shorter.is_ok(), "what was added cannot be removed: {shorter:?}");
    }
    if let Ok(longer) = array::append_elements(data, "MODULES", &["vfio_pci"]) {
        assert!(array::remove_elements(&longer, "MODULES", &["vfio_pci"]).is_ok());
    }
}

/// Files of modprobe.d.
pub fn modprobe(data: &[u8]) {
    let files = ModprobeConfig::from_files([("/etc/modprobe.d/a.conf", data)]);
    (files.options("vfio-pci"), files.softdep("nouveau"), files.blacklisted("nouveau"), files.install("nouveau"), files.aliases("pci:*"));
}

/// The journal of an operation.
pub fn journal(data: &[u8]) {
    // An error is an answer.
    let _ = operations::read(1, "/var/lib/cede/operations/1.jsonl", data);
}

/// A saved plan: what is read is written the same again.
pub fn plan_file(data: &[u8]) {
    let Ok(read) = std::str::from_utf8(data).map(plan::format::parse) else { return };
    if let Ok(made) = read {
        assert_eq!(plan::format::parse(&plan::format::render(&made)).ok().as_ref(), Some(&made));
    }
}

/// Three versions of a file: where only we changed it, what was before is what comes back; where only others did, theirs stays.
pub fn merge(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let [before, ours, now] = [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
    for path in ["/etc/default/grub", "/etc/modprobe.d/a.conf", "/boot/loader/entries/a.conf", "/etc/mkinitcpio.conf"] {
        // A clash is an answer.
        let _ = merging::take_out(path, before, ours, now);
        assert_eq!(merging::take_out(path, before, ours, ours).ok().as_deref(), Some(before));
        assert_eq!(merging::take_out(path, before, before, now).ok().as_deref(), Some(now));
    }
}

fn parsed(data: &[u8]) -> Option<Capture> {
    capture_text::parse(std::str::from_utf8(data).ok()?).ok()
}
