//! An installed kernel and what its module tree holds.

use crate::capture::Capture;
use crate::kernel::ModuleAliases;
use crate::pci::PciDevice;
use std::collections::HashSet;

/// Where a driver comes from in one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleForm {
    /// A loadable module.
    Loadable,
    /// Linked into the kernel: it registers before any module and options of modprobe.d do not reach it.
    BuiltIn,
    /// This kernel does not have it.
    Missing,
}

/// One kernel below `/lib/modules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Release, as `uname -r` prints it.
    pub release: String,
    /// Its module directory, as read (`/lib/modules/6.1.0-28-amd64`).
    pub modules_dir: String,
    loadable: HashSet<String>,
    built_in: HashSet<String>,
}

/// `-` and `_` are the same in module names; the kernel uses `_`.
pub fn module_name(name: &str) -> String {
    name.replace('-', "_")
}

/// The module that a file name holds: `kernel/drivers/vfio/pci/vfio-pci.ko.zst` → `vfio_pci`.
pub fn module_of_path(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let stem = file.split_once(".ko").filter(|(_, end)| matches!(*end, "" | ".gz" | ".xz" | ".zst"))?.0;
    (!stem.is_empty()).then(|| module_name(stem))
}

impl Kernel {
    /// Every installed kernel: a directory below `/lib/modules` that depmod has indexed.
    pub fn installed(capture: &Capture) -> Vec<Kernel> {
        ["/lib/modules", "/usr/lib/modules"].iter().map(|base| Self::below(capture, base)).find(|list| !list.is_empty()).unwrap_or_default()
    }

    fn below(capture: &Capture, base: &str) -> Vec<Kernel> {
        let mut kernels: Vec<Kernel> = capture.names_in(base).filter_map(|release| Self::read(capture, base, release)).collect();
        kernels.sort_by(|a, b| compare_releases(&a.release, &b.release));
        kernels
    }

    fn read(capture: &Capture, base: &str, release: &str) -> Option<Kernel> {
        let modules_dir = format!("{base}/{release}");
        let path = format!("{modules_dir}/modules.dep");
        // Without the table depmod has not indexed the directory. `devices` does not look at it, only at the aliases.
        let unlooked = capture.get(&path).is_none() && capture.file(&format!("{modules_dir}/modules.alias")).is_some();
        let dep = capture.file(&path).or(unlooked.then_some(b""))?;
        let builtin = capture.file(&format!("{modules_dir}/modules.builtin")).unwrap_or_default();
        let loadable = lines(dep).filter_map(|line| module_of_path(line.split_once(':')?.0)).collect();
        let built_in = lines(builtin).filter_map(module_of_path).collect();
        Some(Kernel { release: release.to_owned(), modules_dir, loadable, built_in })
    }

    /// Where `module` comes from in this kernel. Dashes and underscores are the same.
    pub fn form(&self, module: &str) -> ModuleForm {
        let name = module_name(module);
        if self.built_in.contains(&name) {
            ModuleForm::BuiltIn
        } else if self.loadable.contains(&name) {
            ModuleForm::Loadable
        } else {
            ModuleForm::Missing
        }
    }

    /// The PCI aliases of this kernel's modules that speak of these functions.
    pub fn aliases<'a>(&self, capture: &'a Capture, devices: &[PciDevice]) -> ModuleAliases<'a> {
        let file = |name: &str| capture.file(&format!("{}/{name}", self.modules_dir)).unwrap_or_default();
        ModuleAliases::read_for(file("modules.alias"), file("modules.builtin.modinfo"), devices)
    }

    /// A build option of this kernel (`CONFIG_INTEL_IOMMU_DEFAULT_ON`): its value and the path where it stands, where a configuration was found.
    /// An option that is not set is `n`.
    pub fn config<'a>(&self, capture: &'a Capture, option: &str) -> Option<(&'a str, String)> {
        let places = [format!("/boot/config-{}", self.release), format!("{}/config", self.modules_dir)];
        let (path, text) = places.into_iter().find_map(|path| Some((path.clone(), capture.file(&path)?)))?;
        let value = lines(text).find_map(|line| line.strip_prefix(option)?.strip_prefix('='));
        Some((value.unwrap_or("n"), path))
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &str> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
}

/// Compares releases as people do: runs of digits by value.
pub fn compare_releases(a: &str, b: &str) -> std::cmp::Ordering {
    parts(a).cmp(&parts(b))
}

fn parts(release: &str) -> Vec<(u64, &str)> {
    let mut list = Vec::new();
    for piece in release.split(['.', '-', '_', '+', '~']) {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = piece.split_at(digits);
        list.push((number.parse().unwrap_or(0), rest));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Entry;

    fn capture() -> Capture {
        let mut capture = Capture::new();
        for (path, text) in [
            (
                "/lib/modules/6.1.0-9-amd64/modules.dep",
                "kernel/drivers/vfio/pci/vfio-pci.ko: kernel/drivers/vfio/vfio.ko\nkernel/drivers/vfio/vfio_virqfd.ko:\n",
            ),
            ("/lib/modules/6.1.0-28-amd64/modules.dep", "kernel/drivers/gpu/drm/nouveau/nouveau.ko.zst: x\n"),
            ("/lib/modules/6.1.0-28-amd64/modules.builtin", "kernel/drivers/usb/host/xhci-pci.ko\n"),
            ("/boot/config-6.1.0-28-amd64", "# CONFIG_X is not set\nCONFIG_INTEL_IOMMU_DEFAULT_ON=y\n"),
        ] {
            capture.insert(path, Entry::File(text.into()));
        }
        capture.insert("/lib/modules/left-over", Entry::Dir);
        for release in ["6.1.0-9-amd64", "6.1.0-28-amd64"] {
            capture.insert(format!("/lib/modules/{release}"), Entry::Dir);
        }
        capture
    }

    #[test]
    fn kernels_are_sorted_by_release_and_left_over_directories_are_none() {
        let capture = capture();
        let kernels = Kernel::installed(&capture);
        assert_eq!(kernels.iter().map(|k| k.release.as_str()).collect::<Vec<_>>(), ["6.1.0-9-amd64", "6.1.0-28-amd64"]);
        assert_eq!(kernels[0].form("vfio_pci"), ModuleForm::Loadable);
        assert_eq!(kernels[0].form("vfio-virqfd"), ModuleForm::Loadable);
        assert_eq!(kernels[1].form("vfio_virqfd"), ModuleForm::Missing);
        assert_eq!(kernels[1].form("xhci_pci"), ModuleForm::BuiltIn);
        assert_eq!(kernels[1].config(&capture, "CONFIG_INTEL_IOMMU_DEFAULT_ON").unwrap().0, "y");
        assert_eq!(kernels[1].config(&capture, "CONFIG_X").unwrap().0, "n");
        assert!(kernels[0].config(&capture, "CONFIG_X").is_none());
    }

    #[test]
    fn module_names_come_from_file_names() {
        for (path, name) in [
            ("a/vfio-pci.ko", Some("vfio_pci")),
            ("x.ko.xz", Some("x")),
            ("x.ko.bak", None),
            ("x.kox", None),
            (".ko", None),
            ("modules.dep", None),
        ] {
            assert_eq!(module_of_path(path).as_deref(), name, "{path}");
        }
    }
}
