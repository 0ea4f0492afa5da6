//! Kernel modules inside an image.

use std::collections::BTreeSet;

use super::image::{EntryKind, InitramfsImage};
use super::path;

/// Where kmod and the generators put modules; usually one of them is reached through a link to the other.
const ROOTS: [&str; 2] = ["lib/modules", "usr/lib/modules"];
const SUFFIXES: [&str; 4] = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"];

/// The module name of a file name: no suffix, `-` read as `_` as the kernel does. `None` if it is no module file.
fn module_name(file: &str) -> Option<String> {
    let base = file.rsplit('/').next()?;
    let stem = SUFFIXES.iter().find_map(|suffix| base.strip_suffix(suffix))?;
    (!stem.is_empty()).then(|| fold(stem))
}

fn fold(name: &str) -> String {
    name.replace('-', "_")
}

impl InitramfsImage {
    fn module_roots(&self) -> BTreeSet<String> {
        ROOTS.iter().filter_map(|root| path::resolve(&self.entries, root, true)).collect()
    }

    /// Everything below a directory, by its real path.
    fn below(&self, directory: String) -> impl Iterator<Item = &str> {
        let prefix = directory + "/";
        let from = self.entries.range(prefix.clone()..);
        from.map(|(path, _)| path.as_str()).take_while(move |path| path.starts_with(&prefix))
    }

    /// Kernel releases that have a directory of modules, sorted.
    pub fn kernel_releases(&self) -> Vec<&str> {
        let mut releases = BTreeSet::new();
        for root in self.module_roots() {
            let skip = root.len() + 1;
            let names = self.below(root).filter_map(|path| path.get(skip..)?.split('/').next());
            releases.extend(names);
        }
        releases.into_iter().collect()
    }

    /// Paths of the module files of one kernel release (`.ko`, `.ko.xz`, `.ko.zst`, `.ko.gz`), below `lib/modules` and
    /// `usr/lib/modules`, each once. Links to module files count, files the kernel would not make do not.
    pub fn modules_of(&self, kernel_release: &str) -> impl Iterator<Item = &str> {
        let release = kernel_release.to_owned();
        let roots = self.module_roots().into_iter();
        let paths = roots.flat_map(move |root| self.below(format!("{root}/{release}")));
        paths.filter(|path| module_name(path).is_some() && self.is_file(path))
    }

    fn is_file(&self, path: &str) -> bool {
        self.entry(path).is_some_and(|entry| entry.kind == EntryKind::File && entry.size > 0)
    }

    /// Path of the file of one module, `-` and `_` alike: `module("6.12.1", "vfio_pci")` finds `.../vfio-pci.ko.zst`.
    pub fn module(&self, kernel_release: &str, name: &str) -> Option<&str> {
        let wanted = fold(name);
        self.modules_of(kernel_release).find(|path| module_name(path).as_ref() == Some(&wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::module_name;

    #[test]
    fn names_of_files() {
        let table = [
            ("a/vfio-pci.ko", Some("vfio_pci")),
            ("vfio_pci.ko.zst", Some("vfio_pci")),
            ("snd-hda-intel.ko.xz", Some("snd_hda_intel")),
            ("x.ko.gz", Some("x")),
            ("x.ko.bz2", None),
            ("x.kof", None),
            (".ko", None),
            ("modules.dep", None),
        ];
        for (file, name) in table {
            assert_eq!(module_name(file).as_deref(), name, "{file}");
        }
    }
}
