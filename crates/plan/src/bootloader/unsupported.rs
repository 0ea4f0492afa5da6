//! Boot loaders, and systems that own their boot configuration, which cede names and does not change: editing beside them would be undone or
//! ignored.

use super::Detection;
use super::started::Trace;
use crate::plan::Refusal;
use cede_model::{Evidence, Host};

/// What is known of one of them.
#[derive(Debug)]
pub(super) struct Unsupported {
    /// Name for people.
    pub(super) name: &'static str,
    /// Files of which one is enough to tell; `*.efi` stands for any file of that ending.
    marks: &'static [&'static str],
    /// Where it is told from another by more than its mark: files of which one must be there too.
    with: &'static [&'static str],
    /// What it does is not changed by another loader that was at work.
    owns: bool,
    /// Where its parameters are set.
    by_hand: &'static str,
}

/// The identifier of a refusal that names one of them.
pub(super) const ID: &str = "boot-loader-unsupported";

pub(super) const SYSLINUX: &str = "syslinux";
pub(super) const UNIFIED: &str = "a unified kernel image";
pub(super) const LIMINE: &str = "Limine";
pub(super) const ZFS: &str = "ZFSBootMenu";

/// Each says where its own documentation has parameters set: NixOS manual; rpm-ostree(1); Proxmox VE Administration Guide, 3.13;
/// kernelstub(1); grubby(8); GRUB manual 6.1; rEFInd 0.13.2 `linux.html`; Limine 8.2 `CONFIG.md`; syslinux `doc/syslinux.txt`; u-boot-menu 4.2
/// `u-boot-update(8)`; ZFSBootMenu `zfsbootmenu(7)`; Raspberry Pi documentation, `cmdline.txt`; ukify(1); efibootmgr(8).
const ALL: &[Unsupported] = &[
    Unsupported {
        name: "NixOS",
        marks: &["/etc/NIXOS"],
        with: &[],
        owns: true,
        by_hand: "its boot configuration comes from configuration.nix: `cede handoff ADDR --to nixos` writes what to import there",
    },
    Unsupported {
        name: "ostree",
        marks: &["/run/ostree-booted"],
        with: &[],
        owns: true,
        by_hand: "set them with `rpm-ostree kargs --append-if-missing=PARAMETER`",
    },
    Unsupported {
        name: "proxmox-boot-tool",
        marks: &["/etc/kernel/proxmox-boot-uuids"],
        with: &[],
        owns: true,
        by_hand: "add them to the one line of /etc/kernel/cmdline, or where GRUB starts it (`proxmox-boot-tool status` tells) to GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub, and run `proxmox-boot-tool refresh`",
    },
    Unsupported {
        name: "kernelstub",
        marks: &["/etc/kernelstub/configuration"],
        with: &[],
        owns: true,
        by_hand: "set them with `kernelstub -a PARAMETER`",
    },
    Unsupported {
        name: "GRUB with entries below /boot/loader, as Fedora has it,",
        marks: &["/boot/grub2/grub.cfg"],
        with: &["/usr/sbin/grubby", "/usr/bin/grubby", "/boot/loader/entries"],
        owns: true,
        by_hand: "set them with `grubby --update-kernel=ALL --args=PARAMETER`",
    },
    Unsupported {
        name: "GRUB below /boot/grub2, as openSUSE has it,",
        marks: &["/boot/grub2/grub.cfg"],
        with: &[],
        owns: true,
        by_hand: "add them to GRUB_CMDLINE_LINUX_DEFAULT in /etc/default/grub and run `grub2-mkconfig -o /boot/grub2/grub.cfg`",
    },
    Unsupported {
        name: "rEFInd",
        marks: &[
            "/boot/refind_linux.conf",
            "/boot/EFI/refind/refind.conf",
            "/efi/EFI/refind/refind.conf",
            "/boot/efi/EFI/refind/refind.conf",
        ],
        with: &[],
        owns: false,
        by_hand: "add them within the second quotes of the first line of /boot/refind_linux.conf",
    },
    Unsupported {
        name: LIMINE,
        marks: &[
            "/etc/default/limine",
            "/boot/limine.conf",
            "/boot/limine/limine.conf",
            "/boot/limine.cfg",
            "/boot/EFI/BOOT/limine.conf",
            "/boot/EFI/limine/limine.conf",
            "/efi/limine.conf",
            "/efi/limine/limine.conf",
            "/efi/EFI/BOOT/limine.conf",
            "/efi/EFI/limine/limine.conf",
            "/boot/efi/limine.conf",
            "/boot/efi/limine/limine.conf",
            "/boot/efi/EFI/BOOT/limine.conf",
            "/boot/efi/EFI/limine/limine.conf",
        ],
        with: &[],
        owns: false,
        by_hand: "add them to the entry's `cmdline:` in limine.conf; where /etc/default/limine is there, to KERNEL_CMDLINE[default] in that, and run `limine-update`",
    },
    Unsupported {
        name: "U-Boot",
        marks: &["/boot/extlinux/extlinux.conf", "/boot/boot.scr"],
        with: &["/etc/default/u-boot", "/sys/firmware/devicetree"],
        owns: false,
        by_hand: "add them to U_BOOT_PARAMETERS in /etc/default/u-boot and run `u-boot-update`, or to the `append` line of /boot/extlinux/extlinux.conf",
    },
    Unsupported {
        name: SYSLINUX,
        marks: &[
            "/boot/extlinux.conf",
            "/boot/extlinux/extlinux.conf",
            "/boot/syslinux.cfg",
            "/boot/syslinux/syslinux.cfg",
            "/boot/EFI/syslinux/syslinux.cfg",
            "/efi/EFI/syslinux/syslinux.cfg",
            "/boot/efi/EFI/syslinux/syslinux.cfg",
        ],
        with: &[],
        owns: false,
        by_hand: "add them to the APPEND line of its configuration; where /etc/update-extlinux.conf is there, to default_kernel_opts in that, and run `update-extlinux`",
    },
    Unsupported {
        name: ZFS,
        marks: &[
            "/etc/zfsbootmenu/config.yaml",
            "/boot/efi/EFI/zbm",
            "/boot/efi/EFI/ZBM",
            "/efi/EFI/zbm",
            "/efi/EFI/ZBM",
            "/boot/EFI/zbm",
            "/boot/EFI/ZBM",
        ],
        with: &[],
        owns: false,
        by_hand: "add them to what `zfs get org.zfsbootmenu:commandline` shows, with `zfs set org.zfsbootmenu:commandline=\"…\" DATASET`",
    },
    Unsupported {
        name: "the Raspberry Pi's firmware",
        marks: &["/boot/firmware/cmdline.txt", "/boot/cmdline.txt"],
        with: &[],
        owns: false,
        by_hand: "add them to the one line of cmdline.txt, which must stay one line",
    },
    Unsupported {
        name: UNIFIED,
        marks: &["/boot/EFI/Linux/*.efi", "/efi/EFI/Linux/*.efi", "/boot/efi/EFI/Linux/*.efi"],
        with: &[],
        owns: false,
        by_hand: "add them to /etc/kernel/cmdline, or to what else the image's command line is made from, and run the tool that makes the image; or start by an entry below loader/entries",
    },
    Unsupported {
        name: "the kernel's EFI stub",
        marks: &[],
        with: &[],
        owns: false,
        by_hand: "make a boot option that has them after the old ones: `efibootmgr --create … --unicode \"…\"`",
    },
];

/// Paths that tell one of them, to be looked for on a host.
pub fn marks() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|one| one.marks.iter().chain(one.with)).copied().filter(|mark| !mark.ends_with(ANY_EFI))
}

#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|one| one.name)
}

const ANY_EFI: &str = "/*.efi";

/// What owns the boot configuration whatever loader was at work.
pub(super) fn owner(host: &Host) -> Option<(&'static Unsupported, Evidence)> {
    ALL.iter().filter(|one| one.owns).find_map(|one| Some((one, one.seen(host)?)))
}

/// Marks of owners, which decide before anything else.
pub(super) fn owner_marks() -> impl Iterator<Item = &'static str> {
    ALL.iter().filter(|one| one.owns).flat_map(|one| one.marks).copied()
}

/// Those that are there, with whether they were at work; of two that go by one mark, the one that is told by more.
pub(super) fn found(host: &Host, trace: Option<&Trace>) -> Vec<(&'static Unsupported, Detection)> {
    let mut list: Vec<(&Unsupported, Detection)> = Vec::new();
    for one in ALL.iter().filter(|one| !one.owns) {
        let detection = match (trace, one.seen(host)) {
            (Some(Trace { name, evidence }), _) if *name == one.name => Detection::InUse(evidence.clone()),
            (_, Some(evidence)) => Detection::Installed(evidence),
            (_, None) => continue,
        };
        if !list.iter().any(|(_, other)| *other == detection) {
            list.push((one, detection));
        }
    }
    list
}

/// The first mark that nobody may look at.
pub(super) fn hidden(host: &Host) -> Option<&'static str> {
    marks().find(|mark| host.capture.unreadable(mark).is_some())
}

impl Unsupported {
    fn seen(&self, host: &Host) -> Option<Evidence> {
        let enough = self.with.is_empty() || self.with.iter().any(|path| host.capture.is_there(path));
        self.marks.iter().filter(|_| enough).find_map(|mark| seen(host, mark))
    }

    pub(super) fn refusal(&self, evidence: &Evidence) -> Refusal {
        Refusal::new(
            ID,
            format!("{} has this host's kernel parameters ({evidence}), and cede does not change them there: {}", self.name, self.by_hand),
        )
    }
}

fn seen(host: &Host, mark: &str) -> Option<Evidence> {
    let path = match mark.strip_suffix(ANY_EFI) {
        None => mark.to_owned(),
        Some(dir) => {
            let mut names = host.capture.names_in(dir).filter(|name| name.to_ascii_lowercase().ends_with(".efi"));
            format!("{dir}/{}", names.next()?)
        }
    };
    host.capture.is_there(&path).then(|| Evidence::new(path, "is there"))
}
