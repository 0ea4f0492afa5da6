//! Who is measured, and how each is pointed at the invented host.

use super::listing::{EXPLAINED, Listing};
use super::tree::Tree;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// The four outputs that are measured, as the floor calls them.
pub(super) const VERBS: [&str; 4] = ["groups", "groups-json", "devices", "devices-json"];

/// What is foretold of a listing, with hundreds of virtual functions behind each port.
pub(super) const FORETOLD: [&str; 3] = ["foretelling groups", "explaining one function", "drawing the tree"];

/// A program with its arguments.
pub(super) struct Contestant {
    /// As the report calls it.
    pub(super) name: String,
    words: Vec<OsString>,
    /// True for programs that know no other place than `/sys`.
    pub(super) fixed_sys: bool,
}

impl Contestant {
    fn new(name: impl Into<String>, program: impl Into<OsString>, arguments: &[&str]) -> Self {
        let words = std::iter::once(program.into()).chain(arguments.iter().map(OsString::from)).collect();
        Self { name: name.into(), words, fixed_sys: false }
    }

    fn for_sys(program: &str, arguments: &[&str]) -> Self {
        Self { fixed_sys: true, ..Self::new([program, arguments.join(" ").as_str()].join(" "), program, arguments) }
    }

    /// The command, ready to start.
    pub(super) fn command(&self) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().cloned().unwrap_or_default());
        command.args(words);
        command
    }
}

/// The name of a verb of cede in the report, and that of its floor.
pub(super) fn cede_name(verb: &str) -> String {
    format!("cede {}", verb.replace('-', " --"))
}

/// See [`cede_name`].
pub(super) fn floor_name(verb: &str) -> String {
    format!("floor of {}", cede_name(verb))
}

/// The loop that wikis give to list groups; `lspci` is asked about one function at a time.
const SHELL_LOOP: &str = r#"shopt -s nullglob
for g in $(find "$1"/sys/kernel/iommu_groups/* -maxdepth 0 -type d | sort -V); do
    echo "IOMMU Group ${g##*/}:"
    for d in $g/devices/*; do
        echo -e "\t$(lspci -A linux-sysfs -O sysfs.path="$1"/sys/bus/pci -i "$2" -nns ${d##*/})"
    done
done"#;

/// Everybody. `cede` and `floor` are the programs; the others are looked for in the path.
pub(super) fn contestants(cede: &Path, floor: &Path, tree: &Tree, listing: &Listing) -> Vec<Contestant> {
    let root = tree.path().to_string_lossy().into_owned();
    let names = tree.pci_ids().to_string_lossy().into_owned();
    let mut list = Vec::new();
    for verb in VERBS {
        let (word, json) = verb.split_once('-').map_or((verb, None), |(word, _)| (word, Some("--json")));
        let arguments: Vec<&str> = ["--root", &root, word].into_iter().chain(json).collect();
        list.push(Contestant::new(cede_name(verb), cede, &arguments));
        list.push(Contestant::new(floor_name(verb), floor, &["bench", "floor", verb, &root]));
    }
    let listing = listing.path().to_string_lossy();
    let foretold: [&[&str]; 3] = [&["groups", "--json"], &["explain", EXPLAINED], &["groups", "--tree", "--verbose"]];
    for (name, words) in FORETOLD.iter().zip(foretold) {
        list.push(Contestant::new(*name, cede, &[&["--lspci", &listing], words].concat()));
    }
    let place = format!("sysfs.path={root}/sys/bus/pci");
    list.push(Contestant::new("lspci -nnk", "lspci", &["-A", "linux-sysfs", "-O", &place, "-i", &names, "-nnk"]));
    list.push(Contestant::for_sys("driverctl", &["list-devices"]));
    list.push(Contestant::for_sys("dpdk-devbind.py", &["--status"]));
    list.push(Contestant::new("shell loop of the wikis", "bash", &["-c", SHELL_LOOP, "bash", &root, &names]));
    list
}
