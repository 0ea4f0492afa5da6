//! Generators that cede names and does not set up, and how mkinitcpio is told from one that is installed beside it.

use crate::iommu_cause::running_words;
use crate::plan::Refusal;
use cede_model::{Evidence, Host};

/// What is known of one of them.
#[derive(Debug)]
pub(super) struct Unsupported {
    /// Name for people.
    pub(super) name: &'static str,
    /// Its programs; one is enough.
    programs: &'static [&'static str],
    /// Its files of settings, which may be left over.
    settings: &'static [&'static str],
    /// Where modules to load early are listed, and what makes the images anew.
    by_hand: &'static str,
}

/// Each says what its own documentation says: dracut.conf(5); booster `docs/manpage.md`; mkinitfs(1); genkernel.conf; tinyramfs(5);
/// tiny-initramfs `README.md`.
const ALL: &[Unsupported] = &[
    Unsupported {
        name: "NixOS",
        programs: &[],
        settings: &["/etc/NIXOS"],
        by_hand: "`cede handoff ADDR --to nixos` writes what to import in configuration.nix",
    },
    Unsupported {
        name: "dracut",
        programs: &["/usr/bin/dracut", "/usr/sbin/dracut"],
        settings: &["/etc/dracut.conf.d"],
        by_hand: "put `force_drivers+=\" vfio_pci vfio vfio_iommu_type1 \"` into /etc/dracut.conf.d/vfio.conf and run `dracut --force --regenerate-all`",
    },
    Unsupported {
        name: "booster",
        programs: &["/usr/bin/booster"],
        settings: &["/etc/booster.yaml"],
        by_hand: "put `modules_force_load: vfio_pci,vfio,vfio_iommu_type1` into /etc/booster.yaml and run `/usr/lib/booster/regenerate_images`",
    },
    Unsupported {
        name: "mkinitfs",
        programs: &["/sbin/mkinitfs", "/usr/sbin/mkinitfs"],
        settings: &["/etc/mkinitfs/mkinitfs.conf"],
        by_hand: "put `kernel/drivers/vfio` into /etc/mkinitfs/features.d/vfio.modules, add vfio to features= in /etc/mkinitfs/mkinitfs.conf, and run `mkinitfs`",
    },
    Unsupported {
        name: "genkernel",
        programs: &["/usr/bin/genkernel"],
        settings: &["/etc/genkernel.conf"],
        by_hand: "set ALLRAMDISKMODULES=\"yes\" in /etc/genkernel.conf and run `genkernel initramfs`",
    },
    Unsupported {
        name: "tinyramfs",
        programs: &["/usr/bin/tinyramfs", "/bin/tinyramfs"],
        settings: &["/etc/tinyramfs/config"],
        by_hand: "it has no list of modules to load early; use another generator",
    },
    Unsupported {
        name: "tiny-initramfs",
        programs: &["/usr/sbin/update-tirfs"],
        settings: &[],
        by_hand: "it has no list of modules to load early; use another generator",
    },
];

/// pacman runs the hooks of both directories; a link to `/dev/null` in the second switches off that of the same name (alpm-hooks(5)).
const HOOKS: [&str; 2] = ["/usr/share/libalpm/hooks", "/etc/pacman.d/hooks"];

/// What kernel-install has images made by (kernel-install(8), `initrd_generator=`).
const INSTALL_CONF: &str = "/etc/kernel/install.conf";

/// Paths that tell one of them, to be looked for on a host.
pub fn marks() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|one| one.programs.iter().chain(one.settings)).copied()
}

/// Hooks of pacman that make images, to be looked for as links.
pub fn hooks() -> impl Iterator<Item = String> {
    ["mkinitcpio", "dracut", "booster"].into_iter().flat_map(|name| HOOKS.map(|dir| hook(dir, name)))
}

fn hook(dir: &str, name: &str) -> String {
    format!("{dir}/90-{name}-install.hook")
}

/// Those that are there.
pub(super) fn found(host: &Host) -> Vec<(&'static Unsupported, Evidence)> {
    let mark = |one: &Unsupported| one.programs.iter().chain(one.settings).copied().find(|path| host.capture.is_there(path));
    ALL.iter().filter_map(|one| Some((one, Evidence::new(mark(one)?, "is there")))).collect()
}

/// Which of them makes the images in the place of a generator that is set up too: by what this start used, then by who is called when a
/// kernel comes. `Ok(None)` where it is that generator, an error where nothing tells.
pub(super) fn in_place_of(
    host: &Host,
    own: &'static str,
    others: Vec<(&'static Unsupported, Evidence)>,
) -> Result<Option<(&'static Unsupported, Evidence)>, Refusal> {
    let names = || others.iter().map(|(one, _)| one.name).collect::<Vec<_>>();
    let decided = by_image(host, &names()).or_else(|| by_install_conf(host, own, &names())).or_else(|| by_hooks(host, own, &names()));
    match decided {
        Some((name, _)) if name == own => Ok(None),
        Some((name, evidence)) => Ok(others.iter().find(|(one, _)| one.name == name).map(|(one, _)| (*one, evidence))),
        None => {
            let seen: Vec<String> = others.iter().map(|(one, evidence)| format!("{} ({})", one.name, evidence.source)).collect();
            Err(Refusal::new(
                "initramfs-ambiguous",
                format!(
                    "{own} and {} are set up, and which of them makes the images of this host cannot be told: remove the one that is not used, or name the other by `echo initrd_generator=NAME >> {INSTALL_CONF}`",
                    seen.join(", ")
                ),
            ))
        }
    }
}

type Decided = (&'static str, Evidence);

/// booster alone writes its own name into that of the image (`packaging/arch/booster-install`).
fn by_image(host: &Host, others: &[&'static str]) -> Option<Decided> {
    let word = running_words(host).into_iter().find(|word| word.starts_with("initrd=") && word.contains("booster-"))?;
    others.iter().find(|name| **name == "booster").map(|name| (*name, Evidence::new("/proc/cmdline", word)))
}

fn by_install_conf(host: &Host, own: &'static str, others: &[&'static str]) -> Option<Decided> {
    let text = String::from_utf8_lossy(host.capture.file(INSTALL_CONF)?).into_owned();
    let value = text.lines().filter_map(|line| line.trim().strip_prefix("initrd_generator=")).next_back()?.to_owned();
    let name = others.iter().copied().chain([own]).find(|name| *name == value)?;
    Some((name, Evidence::new(INSTALL_CONF, format!("initrd_generator={value}"))))
}

fn by_hooks(host: &Host, own: &'static str, others: &[&'static str]) -> Option<Decided> {
    let mut called = others.iter().copied().chain([own]).filter_map(|name| Some((name, Evidence::new(called_by(host, name)?, "is there"))));
    let first = called.next()?;
    called.next().is_none().then_some(first)
}

fn called_by(host: &Host, name: &str) -> Option<String> {
    let [package, override_] = HOOKS.map(|dir| hook(dir, name));
    match host.capture.link(&override_) {
        Some("/dev/null") => None,
        _ => [override_, package].into_iter().find(|path| host.capture.is_there(path)),
    }
}

impl Unsupported {
    pub(super) fn refusal(&self, evidence: &Evidence) -> Refusal {
        let message = format!("this host's initramfs comes from {} ({evidence}), which cede does not set up: {}", self.name, self.by_hand);
        Refusal::new("initramfs-unsupported", message)
    }

    /// True where it can run, and is not only left over.
    pub(super) fn can_run(&self, host: &Host) -> bool {
        self.programs.iter().any(|path| host.capture.is_there(path))
    }
}
