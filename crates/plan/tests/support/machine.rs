//! Whole machines: an Arch laptop and a Debian desktop.

use super::pci::Function;
use cede_model::{Capture, Entry};

/// What starts the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loader {
    Grub,
    SystemdBoot,
}

/// A machine under construction.
#[derive(Clone)]
pub struct Machine {
    pub capture: Capture,
}

pub const GPU: &str = "01:00.0";

/// The machine-id of the Debian desktop with systemd-boot.
pub const DEBIAN_ID: &str = "5e0f2c7a41b84c0c9f3f6f3f6f1d2b77";

const GROUPS: [(&str, u32); 8] = [
    ("0000:00:00.0", 0),
    ("0000:00:01.0", 1),
    ("0000:01:00.0", 1),
    ("0000:01:00.1", 1),
    ("0000:00:02.0", 2),
    ("0000:00:1d.0", 3),
    ("0000:02:00.0", 4),
    ("0000:00:14.0", 5),
];

/// A laptop with a graphics function in the processor and a GTX 1650 Mobile behind its root port.
pub fn intel_functions() -> Vec<Function> {
    let root = "pci0000:00";
    vec![
        Function::new("0000:00:00.0", root, (0x8086, 0x3ec4), 0x06_0000).express(None).driver("skl_uncore"),
        Function::new("0000:00:01.0", root, (0x8086, 0x1901), 0x06_0400).express(Some(4)).bridge_to(1).driver("pcieport"),
        Function::new("0000:00:02.0", root, (0x8086, 0x3e9b), 0x03_0000).express(Some(9)).vga(true).driver("i915"),
        Function::new("0000:00:14.0", root, (0x8086, 0xa36d), 0x0c_0330).express(None).driver("xhci_hcd"),
        Function::new("0000:00:1d.0", root, (0x8086, 0xa330), 0x06_0400).express(Some(4)).bridge_to(2).driver("pcieport"),
        Function::new("0000:01:00.0", "pci0000:00/0000:00:01.0", (0x10de, 0x1f91), 0x03_0000).vga(false).driver("nouveau"),
        Function::new("0000:01:00.1", "pci0000:00/0000:00:01.0", (0x10de, 0x10fa), 0x04_0300).driver("snd_hda_intel"),
        Function::new("0000:02:00.0", "pci0000:00/0000:00:1d.0", (0x144d, 0xa808), 0x01_0802).driver("nvme"),
    ]
}

const VFIO: &[&str] =
    &["drivers/vfio/vfio", "drivers/vfio/vfio_iommu_type1", "drivers/vfio/pci/vfio-pci-core", "drivers/vfio/pci/vfio-pci"];
const NATIVES: &[&str] =
    &["drivers/gpu/drm/nouveau/nouveau", "drivers/gpu/drm/i915/i915", "sound/pci/hda/snd-hda-intel", "drivers/nvme/host/nvme"];

const ALIASES: &str = "\
# Aliases extracted from modules themselves.
alias pci:v000010DEd*sv*sd*bc03sc*i* nouveau
alias pci:v00008086d00003E9Bsv*sd*bc03sc*i* i915
alias pci:v000010DEd*sv*sd*bc04sc03i00* snd_hda_intel
alias pci:v*d*sv*sd*bc01sc08i02* nvme
alias pci:v*d*sv*sd*bc0Csc03i30* xhci_pci
alias pci:v00001022d00001457sv*sd*bc*sc*i* snd_hda_intel
alias pci:v000010DEd00001AD7sv*sd*bc*sc*i* i2c_nvidia_gpu
alias pci:v00008086d00001533sv*sd*bc*sc*i* igb
";

impl Machine {
    fn bare() -> Self {
        let mut capture = Capture::new();
        for dir in ["/sys/bus/pci/devices", "/sys/firmware/acpi/tables", "/sys/class/iommu", "/etc", "/boot", "/lib/modules"] {
            capture.insert(dir, Entry::Dir);
        }
        Self { capture }
    }

    /// The Arch laptop, IOMMU off by the kernel's default.
    pub fn arch(loader: Loader) -> Self {
        let mut machine = Self::bare().functions(&intel_functions()).intel();
        machine = machine.kernel("6.12.10-1-lts", ".ko.zst", &[]).text("/lib/modules/6.12.10-1-lts/pkgbase", "linux-lts\n");
        machine = machine.kernel("6.13.2-arch1-1", ".ko.zst", &[]).text("/lib/modules/6.13.2-arch1-1/pkgbase", "linux\n");
        machine = machine.text("/proc/sys/kernel/osrelease", "6.13.2-arch1-1\n").text("/etc/os-release", "ID=arch\n");
        machine = machine.text("/etc/mkinitcpio.conf", MKINITCPIO_CONF).text("/usr/bin/mkinitcpio", MKINITCPIO);
        for name in ["linux", "linux-lts"] {
            machine = machine.text(&format!("/etc/mkinitcpio.d/{name}.preset"), &preset(name));
            machine = machine.seen(&format!("/boot/initramfs-{name}.img")).seen(&format!("/boot/vmlinuz-{name}"));
        }
        machine.capture.insert("/etc/mkinitcpio.conf.d", Entry::Dir);
        machine.capture.insert("/bin/sh", Entry::Link("bash".into()));
        match loader {
            Loader::Grub => machine.arch_grub(),
            Loader::SystemdBoot => machine.systemd_boot(),
        }
    }

    fn arch_grub(self) -> Self {
        let cmdline = "BOOT_IMAGE=/vmlinuz-linux root=UUID=1b7a rw loglevel=3 quiet\n";
        let machine = self.text("/proc/cmdline", cmdline).text("/etc/default/grub", GRUB_DEFAULT);
        machine
            .text("/usr/bin/grub-mkconfig", GRUB_MKCONFIG)
            .text("/boot/grub/grub.cfg", &grub_cfg("/vmlinuz-linux"))
            .absent("/usr/sbin/update-grub")
    }

    fn systemd_boot(mut self) -> Self {
        let info: Vec<u8> = [7, 0, 0, 0].into_iter().chain("systemd-boot 257".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let path = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
        self.capture.insert(path, Entry::File(info));
        for name in ["linux", "linux-lts"] {
            let text = format!(
                "title Arch Linux\nlinux /vmlinuz-{name}\ninitrd /initramfs-{name}.img\noptions root=UUID=1b7a rw loglevel=3 quiet\n"
            );
            self = self.text(&format!("/boot/loader/entries/{name}.conf"), &text);
        }
        let fallback =
            "title Arch Linux (fallback)\nlinux /vmlinuz-linux\ninitrd /initramfs-linux-fallback.img\noptions root=UUID=1b7a rw\n";
        self.text("/boot/loader/entries/linux-fallback.conf", fallback)
            .text("/proc/cmdline", "initrd=\\initramfs-linux.img root=UUID=1b7a rw loglevel=3 quiet\n")
    }

    /// A Debian 12 desktop with the same functions, started with `intel_iommu=off`.
    pub fn debian() -> Self {
        let mut machine = Self::bare().functions(&intel_functions()).intel();
        let release = "6.1.0-28-amd64";
        machine = machine.kernel(release, ".ko", &["drivers/vfio/vfio_virqfd"]);
        machine = machine.text(&format!("/boot/config-{release}"), DEBIAN_CONFIG).seen(&format!("/boot/initrd.img-{release}"));
        machine = machine.text("/proc/sys/kernel/osrelease", &format!("{release}\n")).text("/etc/os-release", "ID=debian\n");
        machine = machine.text("/proc/cmdline", "BOOT_IMAGE=/boot/vmlinuz-6.1.0-28-amd64 root=UUID=1b7a ro quiet intel_iommu=off\n");
        machine = machine.text("/etc/default/grub", &DEBIAN_GRUB.replace("\"quiet\"", "\"quiet intel_iommu=off\""));
        machine =
            machine.text("/usr/sbin/grub-mkconfig", DEBIAN_MKCONFIG).text("/boot/grub/grub.cfg", &grub_cfg("/boot/vmlinuz-6.1.0-28-amd64"));
        machine = machine.text("/etc/initramfs-tools/modules", INITRAMFS_MODULES).seen("/usr/sbin/update-grub");
        machine.capture.insert("/etc/default/grub.d", Entry::Dir);
        machine.capture.insert("/bin/sh", Entry::Link("dash".into()));
        machine.seen("/usr/sbin/update-initramfs").text("/etc/initramfs-tools/initramfs.conf", "MODULES=most\n")
    }

    /// The Debian desktop started by systemd-boot, with kernel and initramfs copied to the EFI system partition by kernel-install.
    pub fn debian_systemd_boot() -> Self {
        let mut machine = Self::debian().absent("/etc/default/grub").absent("/boot/grub/grub.cfg").absent("/usr/sbin/grub-mkconfig");
        let info: Vec<u8> = [6, 0, 0, 0].into_iter().chain("systemd-boot 252".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        machine.capture.insert("/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", Entry::File(info));
        let words = "root=UUID=1b7a ro quiet intel_iommu=off";
        let options = format!("{words} systemd.machine_id={DEBIAN_ID}");
        let dir = format!("/{DEBIAN_ID}/6.1.0-28-amd64");
        let initrd = format!("{dir}/initrd.img-6.1.0-28-amd64");
        machine
            .text("/proc/cmdline", &format!("initrd={} {options}\n", initrd.replace('/', "\\")))
            .text("/etc/machine-id", &format!("{DEBIAN_ID}\n"))
            .text("/etc/kernel/cmdline", &format!("{words}\n"))
            .text(
                &format!("/boot/efi/loader/entries/{DEBIAN_ID}-6.1.0-28-amd64.conf"),
                &format!("title      Debian GNU/Linux 12 (bookworm)\nversion    6.1.0-28-amd64\nmachine-id {DEBIAN_ID}\nsort-key   debian\noptions    {options}\nlinux      {dir}/linux\ninitrd     {initrd}\n"),
            )
            .seen(&format!("/boot/efi{dir}/linux"))
            .seen(&format!("/boot/efi{initrd}"))
    }

    /// The same with an AMD processor and `amd_iommu=off`.
    pub fn debian_amd() -> Self {
        let machine = Self::debian().amd().text("/etc/default/grub", &DEBIAN_GRUB.replace("\"quiet\"", "\"quiet amd_iommu=off\""));
        machine.text("/proc/cmdline", "BOOT_IMAGE=/boot/vmlinuz-6.1.0-28-amd64 root=UUID=1b7a ro quiet amd_iommu=off\n")
    }

    pub fn intel(mut self) -> Self {
        self.capture.insert("/sys/firmware/acpi/tables/DMAR", Entry::Present(168));
        self.capture.insert("/sys/firmware/acpi/tables/IVRS", Entry::Absent);
        self.text("/proc/cpuinfo", "vendor_id\t: GenuineIntel\n")
    }

    pub fn amd(mut self) -> Self {
        self.capture.insert("/sys/firmware/acpi/tables/DMAR", Entry::Absent);
        self.capture.insert("/sys/firmware/acpi/tables/IVRS", Entry::Present(208));
        self.text("/proc/cpuinfo", "vendor_id\t: AuthenticAMD\n")
    }

    /// With the IOMMU on: the root port shares a group with what is behind it.
    pub fn iommu_on(mut self) -> Self {
        for mut function in intel_functions() {
            function.group = GROUPS.iter().find(|(address, _)| *address == function.address).map(|(_, group)| *group);
            function.put(&mut self.capture);
        }
        self.capture.insert("/sys/class/iommu/dmar0", Entry::Link("x".into()));
        self
    }

    pub fn functions(mut self, functions: &[Function]) -> Self {
        functions.iter().for_each(|function| function.put(&mut self.capture));
        self
    }

    /// A kernel with the vfio modules, the natives, and more.
    pub fn kernel(self, release: &str, ending: &str, more: &[&str]) -> Self {
        let dir = format!("/lib/modules/{release}");
        let all = VFIO.iter().chain(NATIVES).chain(more);
        let dep: String = all.map(|module| format!("kernel/{module}{ending}:\n")).collect();
        let machine = self.text(&format!("{dir}/modules.dep"), &dep).text(&format!("{dir}/modules.alias"), ALIASES);
        machine
            .text(&format!("{dir}/modules.builtin"), "kernel/drivers/pci/pcie/pcieport.ko\nkernel/drivers/usb/host/xhci-pci.ko\n")
            .text(&format!("{dir}/modules.softdep"), "# Soft dependencies extracted from modules themselves.\n")
            .directory(&dir)
    }

    pub fn directory(mut self, path: &str) -> Self {
        self.capture.insert(path, Entry::Dir);
        self
    }

    pub fn text(self, path: &str, text: &str) -> Self {
        self.bytes(path, text.as_bytes())
    }

    pub fn bytes(mut self, path: &str, bytes: &[u8]) -> Self {
        self.capture.insert(path, Entry::File(bytes.to_vec()));
        self
    }

    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.capture.insert(path, Entry::Link(target.into()));
        self
    }

    pub fn seen(mut self, path: &str) -> Self {
        self.capture.insert(path, Entry::Present(1));
        self
    }

    pub fn absent(mut self, path: &str) -> Self {
        self.capture.insert(path, Entry::Absent);
        self
    }
}

fn preset(name: &str) -> String {
    format!(
        "# mkinitcpio preset file for the '{name}' package\n\nALL_kver=\"/boot/vmlinuz-{name}\"\n\nPRESETS=('default')\n\n#default_config=\"/etc/mkinitcpio.conf\"\ndefault_image=\"/boot/initramfs-{name}.img\"\n#default_uki=\"/efi/EFI/Linux/arch-{name}.efi\"\n"
    )
}

pub const MKINITCPIO_CONF: &str = "# vim:set ft=sh\n# MODULES\nMODULES=()\n\nBINARIES=()\n\nFILES=()\n\nHOOKS=(base udev autodetect microcode modconf kms keyboard keymap consolefont block filesystems fsck)\n";

/// How the tool of version 36 and later names the directory of drop-ins.
const MKINITCPIO: &str = "#!/bin/bash\n_f_config=${MKINITCPIO_CONF:-'/etc/mkinitcpio.conf'}\n_d_config=\"${_f_config}.d\"\n";

const GRUB_MKCONFIG: &str = "#! /bin/sh\nset -e\nif test -f ${sysconfdir}/default/grub ; then\n  . ${sysconfdir}/default/grub\nfi\n";

const DEBIAN_MKCONFIG: &str = "#! /bin/sh\nset -e\nif test -f ${sysconfdir}/default/grub ; then\n  . ${sysconfdir}/default/grub\nfi\nfor x in ${sysconfdir}/default/grub.d/*.cfg ; do\n  if [ -e \"${x}\" ]; then\n    . \"${x}\"\n  fi\ndone\n";

fn grub_cfg(kernel: &str) -> String {
    format!(
        "### BEGIN /etc/grub.d/10_linux ###\nmenuentry 'Linux' --class gnu-linux {{\n\tlinux\t{kernel} root=UUID=1b7a quiet\n\tinitrd\t/initrd\n}}\n### END /etc/grub.d/10_linux ###\n"
    )
}

const GRUB_DEFAULT: &str = "# GRUB boot loader configuration\n\nGRUB_DEFAULT=0\nGRUB_TIMEOUT=5\nGRUB_DISTRIBUTOR=\"Arch\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"loglevel=3 quiet\"\nGRUB_CMDLINE_LINUX=\"\"\n";

pub const DEBIAN_GRUB: &str = "# If you change this file, run 'update-grub' afterwards to update\n# /boot/grub/grub.cfg.\n\nGRUB_DEFAULT=0\nGRUB_TIMEOUT=5\nGRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"\"\n";

const DEBIAN_CONFIG: &str = "CONFIG_AMD_IOMMU=y\nCONFIG_INTEL_IOMMU=y\n# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\nCONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y\nCONFIG_VFIO_PCI=m\nCONFIG_VFIO_VIRQFD=m\n";

const INITRAMFS_MODULES: &str = "# List of modules that you want to include in your initramfs.\n# They will be loaded at boot time in the order below.\n#\n# raid1\n# sd_mod\n";
