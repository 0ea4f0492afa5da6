//! What a machine consists of: the packages, and the files that Debian would not have put there.

use std::fmt;

/// A kind of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// VT-d; BIOS and GRUB.
    Intel,
    /// AMD-Vi; BIOS and GRUB.
    Amd,
    /// VT-d; UEFI and systemd-boot, with its EFI system partition at /boot/efi.
    Efi,
}

/// What starts the kernel of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loader {
    /// GRUB from the gap after an MBR.
    Grub,
    /// systemd-boot from an EFI system partition, by the fallback path.
    SystemdBoot,
}

impl Model {
    /// The name in messages, directories and options.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Intel => "intel",
            Self::Amd => "amd",
            Self::Efi => "efi",
        }
    }

    /// A second display of the same kind stays with the host, so that ids cannot tell which one goes.
    pub(super) fn has_twin(self) -> bool {
        self == Self::Intel
    }

    pub(super) fn loader(self) -> Loader {
        match self {
            Self::Intel | Self::Amd => Loader::Grub,
            Self::Efi => Loader::SystemdBoot,
        }
    }

    /// The device of the root file system.
    pub(super) fn root_device(self) -> &'static str {
        match self.loader() {
            Loader::Grub => "/dev/vda1",
            Loader::SystemdBoot => "/dev/vda2",
        }
    }

    /// What somebody once put into the kernel's command line and forgot there.
    pub(super) fn left_over(self) -> &'static str {
        match self {
            Self::Intel | Self::Efi => "intel_iommu=off",
            Self::Amd => "amd_iommu=off",
        }
    }

    /// Linux 6.1 panics early with interrupt remapping on QEMU's AMD IOMMU ("timer doesn't work
    /// through Interrupt-remapped IO-APIC"), so that machine has the backported kernel.
    fn kernel(self) -> &'static str {
        match self {
            Self::Intel | Self::Efi => "linux-image-amd64",
            Self::Amd => "linux-image-amd64/bookworm-backports",
        }
    }

    /// The arguments of `mmdebstrap` after its options and before the sources.
    pub(super) fn packages(self) -> String {
        let loader = match self.loader() {
            Loader::Grub => "grub-pc",
            Loader::SystemdBoot => "systemd-boot,dosfstools",
        };
        format!("systemd,systemd-sysv,udev,dbus,{loader},initramfs-tools,pciutils,kmod,zstd,{}", self.kernel())
    }

    /// The one-line sources of `mmdebstrap`.
    pub(super) fn sources(self) -> &'static [&'static str] {
        match self {
            Self::Intel | Self::Efi => &["deb http://deb.debian.org/debian bookworm main"],
            Self::Amd => &["deb http://deb.debian.org/debian bookworm main", "deb http://deb.debian.org/debian bookworm-backports main"],
        }
    }
}

/// What is installed on a disk beside what a machine needs to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supply {
    /// Nothing.
    Road,
    /// Drivers of more hardware. For what is done by hand alone.
    Devices,
}

impl Supply {
    /// Its part of a disk's name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Road => "",
            Self::Devices => "+devices",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Kernel parameters for the sake of emulation. `no_timer_check`: on a busy host the emulated timer now and then looks broken, and the
/// kernel panics. `panic=5`: should a start still end so, it is repeated. `norandmaps`: QEMU 7.2 keeps translated code by
/// virtual address, so that every program started at a random address is translated anew; without
/// it a start takes 7 ms instead of 36 ms, and `update-initramfs` starts thousands.
pub(super) const TUNING: &str = "panic=5 norandmaps no_timer_check";

/// Modules of hardware that the machine has not. Debian's `MODULES=most` would put them into every
/// initramfs, and compressing 124 MB takes minutes in emulation.
const LEFT_OUT: [&str; 14] = [
    "drivers/ata",
    "drivers/firewire",
    "drivers/hid",
    "drivers/infiniband",
    "drivers/message",
    "drivers/mmc",
    "drivers/net",
    "drivers/nvme",
    "drivers/scsi",
    "drivers/usb",
    "fs/f2fs",
    "fs/jfs",
    "fs/nfs",
    "fs/xfs",
];

/// Of those, what has hardware in the machine that binds and releases.
const KEPT: [&str; 6] = [
    "drivers/net/ethernet/intel/e1000e",
    "drivers/nvme/common",
    "drivers/nvme/host",
    "drivers/usb/common",
    "drivers/usb/core",
    "drivers/usb/host",
];

/// The options of `dpkg` in the machine; the last one that fits a path counts.
pub(super) fn dpkg_options(model: Model, supply: Supply) -> Vec<String> {
    let kept: &[&str] = if model == Model::Intel || supply == Supply::Devices { &KEPT } else { &[] };
    let option = |what: &str, directory: &&str| format!("path-{what}=*/lib/modules/*/kernel/{directory}/*");
    LEFT_OUT.iter().map(|directory| option("exclude", directory)).chain(kept.iter().map(|directory| option("include", directory))).collect()
}

/// The file system's identity, so that GRUB and fstab can be told before it exists.
pub(super) const ROOT_UUID: &str = "8b0a3f5e-6b1c-4d52-9e57-0d5d2f4c1a01";

/// The volume number of the EFI system partition, as `mkfs.fat` takes it; fstab wants a dash in the middle.
pub(super) const ESP_NUMBER: &str = "5E0F2C7A";

/// The size of the EFI system partition, which fills the gap between the first sector of partitions and this one.
pub(super) const ESP_BYTES: u64 = 512 << 20;

/// The size of a disk.
pub(super) const DISK_BYTES: u64 = 3 << 30;

/// A file of the machine that no package brings.
pub(super) struct Extra {
    /// Where, without the leading slash.
    pub(super) path: &'static str,
    /// What.
    pub(super) text: String,
    /// Permission bits.
    pub(super) mode: u32,
}

/// The harness keeps out of `/etc` but for what the owner of a machine would set there.
pub(super) fn extras(model: Model) -> Vec<Extra> {
    let extra = |path, text: &str, mode| Extra { path, text: text.to_owned(), mode };
    let prepare = match model.loader() {
        Loader::Grub => include_str!("guest/prepare.sh"),
        Loader::SystemdBoot => include_str!("guest/prepare-efi.sh"),
    };
    let mut extras = vec![
        extra("usr/lib/agent/agent.sh", include_str!("guest/agent.sh"), 0o755),
        extra("usr/lib/agent/prepare.sh", prepare, 0o755),
        extra("usr/lib/systemd/system/agent.service", include_str!("guest/agent.service"), 0o644),
        extra("etc/fstab", &fstab(model), 0o644),
        extra("etc/hostname", &format!("{model}\n"), 0o644),
        extra("etc/machine-id", "5e0f2c7a41b84c0c9f3f6f3f6f1d2b77\n", 0o444),
    ];
    if model.loader() == Loader::SystemdBoot {
        let words = format!("root=UUID={ROOT_UUID} ro console=ttyS0 {TUNING} quiet {}\n", model.left_over());
        extras.push(extra("etc/kernel/cmdline", &words, 0o644));
    }
    extras
}

/// As Debian's installer writes it.
fn fstab(model: Model) -> String {
    let root = format!("UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n");
    let (high, low) = ESP_NUMBER.split_at(4);
    match model.loader() {
        Loader::Grub => root,
        Loader::SystemdBoot => format!("{root}UUID={high}-{low} /boot/efi vfat umask=0077 0 1\n"),
    }
}

/// Debian's `/etc/default/grub` with this machine's settings: a serial console, a short menu, and
/// the left-over parameter.
pub(super) fn default_grub(model: Model, shipped: &str) -> String {
    let left_over = model.left_over();
    let mut text = String::new();
    for line in shipped.lines() {
        let changed = match line.split_once('=').map(|(name, _)| name) {
            Some("GRUB_TIMEOUT") => "GRUB_TIMEOUT=1".to_owned(),
            Some("GRUB_CMDLINE_LINUX_DEFAULT") => {
                format!("GRUB_CMDLINE_LINUX_DEFAULT=\"quiet {left_over}\"")
            }
            Some("GRUB_CMDLINE_LINUX") => format!("GRUB_CMDLINE_LINUX=\"console=ttyS0 {TUNING}\""),
            _ => line.to_owned(),
        };
        text.push_str(&changed);
        text.push('\n');
    }
    text.push_str("GRUB_TERMINAL=serial\nGRUB_SERIAL_COMMAND=\"serial --speed=115200\"\n");
    text
}

/// A name for all of the above: another recipe makes another disk.
pub(super) fn key(model: Model, supply: Supply) -> String {
    let mut parts = vec![model.packages(), model.sources().join(" "), dpkg_options(model, supply).join(" ")];
    for extra in extras(model) {
        parts.push(format!("{} {:o} {}", extra.path, extra.mode, extra.text));
    }
    parts.push(match model.loader() {
        Loader::Grub => format!("{} {DISK_BYTES}", default_grub(model, SHIPPED_NAMES)),
        Loader::SystemdBoot => format!("{DISK_BYTES} {ESP_BYTES} {ESP_NUMBER}"),
    });
    format!("{:016x}", fnv1a(parts.join("\0").as_bytes()))
}

/// Enough of Debian's file to show every change in the key.
const SHIPPED_NAMES: &str = "GRUB_TIMEOUT=\nGRUB_CMDLINE_LINUX_DEFAULT=\nGRUB_CMDLINE_LINUX=";

/// FNV-1a, 64 bits.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_fnv1a() {
        // Test vectors of the reference implementation.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn only_the_named_settings_change() {
        let shipped = "# GRUB_TIMEOUT=9\nGRUB_DEFAULT=0\nGRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\n";
        let text = default_grub(Model::Amd, shipped);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["# GRUB_TIMEOUT=9", "GRUB_DEFAULT=0"]);
        assert_eq!(lines[2], "GRUB_TIMEOUT=1");
        assert_eq!(lines[3], "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet amd_iommu=off\"");
        assert_ne!(key(Model::Amd, Supply::Road), key(Model::Intel, Supply::Road));
        assert_ne!(key(Model::Amd, Supply::Road), key(Model::Amd, Supply::Devices));
    }
}
