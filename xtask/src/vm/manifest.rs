//! Every file of the boot configuration, to the byte and the bit.

use std::collections::BTreeSet;

use super::Outcome;
use super::machine::Machine;
use super::recipe::{Loader, Model};

/// Type, mode, owner, path and target of everything, then the digest of every file. Extended
/// attributes are left out: the machine has none there.
fn list(places: &str) -> String {
    format!(
        r"set -e -o pipefail
find {places} -printf '%y %m %U:%G %p %l\n'
find {places} -type f -print0 | xargs -0 sha256sum
"
    )
}

/// Where the boot configuration is: all of `/etc`, what is made from it, and a file of each that must be among them. The images on the EFI
/// system partition are left out, for a generator never makes the same one twice.
fn places(model: Model) -> (&'static str, [&'static str; 2]) {
    match model.loader() {
        Loader::Grub => ("/etc /boot/grub", ["/etc/default/grub", "/boot/grub/grub.cfg"]),
        Loader::SystemdBoot => ("/etc /boot/efi/EFI /boot/efi/loader", ["/etc/kernel/cmdline", "/boot/efi/loader/loader.conf"]),
    }
}

/// What was there at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest(BTreeSet<String>);

impl Manifest {
    /// Reads `/etc` and the loader's files of the machine.
    pub(super) fn take(machine: &mut Machine, model: Model) -> Outcome<Self> {
        let (places, needed) = places(model);
        let text = machine.output(&list(places))?;
        let manifest = Self(text.lines().map(str::to_owned).collect());
        for path in needed {
            if !manifest.0.iter().any(|line| line.ends_with(&format!("  {path}"))) {
                return Err(format!("the manifest lacks {path}"));
            }
        }
        Ok(manifest)
    }

    /// Reads `/etc` and all of `/boot`, images included.
    pub(super) fn everything(machine: &mut Machine) -> Outcome<Self> {
        Ok(Self::of(&machine.output(&list("/etc /boot"))?))
    }

    /// A listing of anything, a line for each thing.
    pub(super) fn of(text: &str) -> Self {
        Self(text.lines().map(str::to_owned).collect())
    }

    /// As [`Manifest::diff`], without what starts nothing: scratch files of the distribution's tools that were cut, what the check of a FAT found
    /// to belong to no file, and the seed that is new at each start.
    pub(super) fn differences(&self, later: &Self) -> Vec<String> {
        self.diff(later).into_iter().filter(|line| !(line.contains("/random-seed") || line.starts_with('+') && is_scratch(line))).collect()
    }

    /// Only what has a part in a start: a cut may have left what the next operation takes away or writes over.
    pub(super) fn without_scratch(mut self) -> Self {
        self.0.retain(|line| !is_scratch(line));
        self
    }

    /// Of digests only: the paths of both listings that have neither's digest here.
    pub(super) fn torn(&self, old: &Self, new: &Self) -> Vec<String> {
        let path = |line: &str| line.split_once("  ").map(|(_, path)| path.to_owned());
        let paths = |of: &Self| of.0.iter().filter_map(|line| path(line)).collect::<BTreeSet<_>>();
        let whole: BTreeSet<String> =
            self.0.iter().filter(|line| old.0.contains(*line) || new.0.contains(*line)).filter_map(|line| path(line)).collect();
        let needed: Vec<String> = paths(old).intersection(&paths(new)).cloned().collect();
        needed.into_iter().filter(|path| !path.ends_with("/random-seed") && !whole.contains(path)).collect()
    }

    /// The number of lines.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// One line for each difference, as `diff` marks them.
    pub(super) fn diff(&self, later: &Self) -> Vec<String> {
        let gone = self.0.difference(&later.0).map(|line| format!("-{line}"));
        let new = later.0.difference(&self.0).map(|line| format!("+{line}"));
        gone.chain(new).collect()
    }
}

fn is_scratch(line: &str) -> bool {
    [".new", ".dpkg-bak", ".REC"].iter().any(|ending| line.trim_end().ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_old_nor_new_is_torn() {
        let [old, new] =
            ["1  ./menu\n2  ./image\n3  ./gone\n5  ./random-seed", "7  ./menu\n2  ./image\n8  ./random-seed"].map(Manifest::of);
        for (now, torn) in
            [("7  ./menu\n2  ./image\n9  ./x", &[][..]), ("1  ./menu\n4  ./image", &["./image"]), ("2  ./image", &["./menu"])]
        {
            assert_eq!(Manifest::of(now).torn(&old, &new), torn, "{now}");
        }
    }

    #[test]
    fn every_difference_is_named() {
        let of = |lines: &[&str]| Manifest(lines.iter().map(|line| (*line).to_owned()).collect());
        let before = of(&["f 644 0:0 /etc/a ", "aa  /etc/a"]);
        assert_eq!(before.diff(&before), Vec::<String>::new());
        let after = of(&["f 600 0:0 /etc/a ", "aa  /etc/a", "d 755 0:0 /etc/b "]);
        let expected = ["-f 644 0:0 /etc/a ", "+d 755 0:0 /etc/b ", "+f 600 0:0 /etc/a "];
        assert_eq!(before.diff(&after), expected);
    }
}
