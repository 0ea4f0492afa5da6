//! The command line of the chore.

use std::path::PathBuf;

use super::Outcome;
use super::recipe::Vendor;

pub(super) const USAGE: &str = "usage: cargo xtask vm [--iommu intel|amd|both] [--cede PATH] [--install-deps] [--by-hand]

  --iommu WHICH    the machine to test in (both)
  --cede PATH      the binary to test; without it a release build is made
  --install-deps   install the missing Debian packages; root does so without being asked
  --by-hand        a control: the same changes by a shell script instead of cede, same assertions";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    /// The machines, in the order of the report.
    pub(super) vendors: Vec<Vendor>,
    /// A binary made elsewhere.
    pub(super) cede: Option<PathBuf>,
    /// Install missing packages, or fail trying.
    pub(super) install_deps: bool,
    /// Do the road without `cede`.
    pub(super) by_hand: bool,
}

impl Arguments {
    /// Reads the command line; `None` when help was asked for.
    pub(super) fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut arguments = Self { vendors: vec![Vendor::Intel, Vendor::Amd], cede: None, install_deps: false, by_hand: false };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--iommu" => arguments.vendors = vendors(words.next().as_deref())?,
                "--cede" => {
                    let path = words.next().ok_or("--cede needs a path")?;
                    arguments.cede = Some(path.into());
                }
                "--install-deps" => arguments.install_deps = true,
                "--by-hand" => arguments.by_hand = true,
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("unknown argument `{other}`")),
            }
        }
        if arguments.by_hand && arguments.cede.is_some() {
            return Err("--by-hand does without --cede".into());
        }
        Ok(Some(arguments))
    }
}

fn vendors(word: Option<&str>) -> Outcome<Vec<Vendor>> {
    match word {
        Some("intel") => Ok(vec![Vendor::Intel]),
        Some("amd") => Ok(vec![Vendor::Amd]),
        Some("both") => Ok(vec![Vendor::Intel, Vendor::Amd]),
        _ => Err("--iommu takes intel, amd or both".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Outcome<Option<Arguments>> {
        Arguments::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn both_machines_unless_told() {
        let arguments = parse(&[]).unwrap().unwrap();
        assert_eq!(arguments.vendors, [Vendor::Intel, Vendor::Amd]);
        let arguments = parse(&["--iommu", "amd", "--cede", "x"]).unwrap().unwrap();
        assert_eq!(arguments.vendors, [Vendor::Amd]);
        assert_eq!(arguments.cede, Some("x".into()));
    }

    #[test]
    fn wrong_usage_is_said() {
        for words in [&["--iommu"][..], &["--iommu", "via"], &["--cede"], &["-x"], &["--by-hand", "--cede", "x"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
