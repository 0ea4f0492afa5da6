//! The command line of the chore.

use std::iter::Peekable;
use std::path::PathBuf;

use super::Outcome;
use super::power::Way;
use super::recipe::Model;
use super::story::bind::Way as BindWay;

pub(super) const USAGE: &str =
    "usage: cargo xtask vm [--machine intel|amd|efi|all] [--cede PATH] [--install-deps] [--by-hand | --trial | --trial-watchdog | --bind [WAY]
                      | --prove [--iommufd] | --power-cuts N | --power-kills N | --power-states | --power-recorded] [--keep]

  --machine WHICH  the machine to test in (all); intel and amd start by BIOS and GRUB, efi by UEFI and systemd-boot
  --cede PATH      the binary to test; without it a release build is made
  --install-deps   install the missing Debian packages; root does so without being asked
  --by-hand        a control: the same changes by a shell script instead of cede, same assertions
  --trial          instead: a start for trial without the root's disk, which fails and comes back, one that a service confirms, and the way back
  --trial-watchdog instead: a start for trial that nobody confirms and that ends by itself
  --bind           instead: bind and release on the running system, in a machine with more hardware (intel; amd by hand)
  --bind persist   what is bound at every start, over a reboot, and with cards swapped; by hand
  --bind many      256 virtual functions, measured beside driverctl and dpdk-devbind.py; by hand
  --bind libvirt   guests that libvirtd starts with a disk, in a small machine; by hand
  --prove          instead: `cede prove` in small machines without a disk
  --iommufd        with --prove: only with a kernel that has iommufd, which is built where it is not in .cache/vm (15 minutes of a processor)
  --power-cuts N   instead: cut the power at N instants of an apply and a quarter as many of its undo, and start each again
  --power-kills N  instead: the same with the emulator killed each time
  --power-states   instead: look at every state of the disk in an apply and its undo without a start; needs root and loop devices,
                   and copies the disk in TMPDIR for each: best in memory, on a file system that shares blocks (btrfs)
  --power-recorded instead: the same with what was recorded last, by --power-states or --power-cuts
  --keep           with one of the last four: add the counts to xtask/power-results.md";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    /// The machines, in the order of the report.
    pub(super) models: Vec<Model>,
    /// A binary made elsewhere.
    pub(super) cede: Option<PathBuf>,
    /// Install missing packages, or fail trying.
    pub(super) install_deps: bool,
    /// Do the road without `cede`.
    pub(super) by_hand: bool,
    /// Start for trial.
    pub(super) trial: bool,
    /// Start for trial, watched.
    pub(super) trial_watchdog: bool,
    /// Bind and release, and which way.
    pub(super) bind: Option<BindWay>,
    /// Cut the power.
    pub(super) power: Option<Way>,
    /// Keep the counts.
    pub(super) keep: bool,
    /// Prove devices in small machines.
    pub(super) prove: bool,
    /// Only those with iommufd, whose kernel may be built.
    pub(super) iommufd: bool,
}

impl Arguments {
    /// Reads the command line; `None` when help was asked for.
    pub(super) fn parse(words: impl Iterator<Item = String>) -> Outcome<Option<Self>> {
        let mut words = words.peekable();
        let mut arguments = Self {
            models: ALL.to_vec(),
            cede: None,
            install_deps: false,
            by_hand: false,
            trial: false,
            trial_watchdog: false,
            bind: None,
            power: None,
            keep: false,
            prove: false,
            iommufd: false,
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--machine" => arguments.models = models(words.next().as_deref())?,
                "--cede" => {
                    let path = words.next().ok_or("--cede needs a path")?;
                    arguments.cede = Some(path.into());
                }
                "--install-deps" => arguments.install_deps = true,
                "--by-hand" => arguments.by_hand = true,
                "--trial" => arguments.trial = true,
                "--trial-watchdog" => arguments.trial_watchdog = true,
                "--prove" => arguments.prove = true,
                "--iommufd" => arguments.iommufd = true,
                "--bind" => arguments.bind = Some(bind_way(&mut words)),
                "--power-cuts" => arguments.power = Some(Way::Cuts(count(&word, words.next())?)),
                "--power-kills" => arguments.power = Some(Way::Kills(count(&word, words.next())?)),
                "--power-states" => arguments.power = Some(Way::States { recorded: false }),
                "--power-recorded" => arguments.power = Some(Way::States { recorded: true }),
                "--keep" => arguments.keep = true,
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("unknown argument `{other}`")),
            }
        }
        if (arguments.trial || arguments.trial_watchdog || arguments.power.is_some()) && arguments.models == ALL {
            // Its disk and loader are those of the intel machine.
            arguments.models.retain(|model| *model != Model::Amd);
        }
        if arguments.bind.is_some() {
            arguments.models = bind_models(arguments.models)?;
        }
        let trials = [arguments.trial, arguments.trial_watchdog];
        let others = [arguments.by_hand, arguments.bind.is_some(), arguments.power.is_some(), arguments.prove];
        let ways: Vec<bool> = trials.into_iter().chain(others).collect();
        if arguments.keep && arguments.power.is_none() {
            return Err("--keep goes with power cuts".into());
        }
        if ways.iter().filter(|way| **way).count() > 1 || arguments.by_hand && arguments.cede.is_some() {
            return Err("the ways exclude each other, and --by-hand does without --cede".into());
        }
        if arguments.iommufd && !arguments.prove {
            return Err("--iommufd is for --prove".into());
        }
        Ok(Some(arguments))
    }
}

fn count(option: &str, word: Option<String>) -> Outcome<usize> {
    let number = word.and_then(|word| word.parse().ok()).filter(|number| (1..=200).contains(number));
    number.ok_or_else(|| format!("{option} takes a number from 1 to 200"))
}

/// The word after `--bind`, where it is one of its ways.
fn bind_way(words: &mut Peekable<impl Iterator<Item = String>>) -> BindWay {
    let way = words.peek().and_then(|word| BindWay::parse(word));
    if way.is_some() {
        words.next();
    }
    way.unwrap_or(BindWay::Story)
}

/// One machine, intel where none is named.
fn bind_models(models: Vec<Model>) -> Outcome<Vec<Model>> {
    match models[..] {
        [Model::Intel | Model::Amd] => Ok(models),
        _ if models == ALL => Ok(vec![Model::Intel]),
        _ => Err("--bind is for the machines intel and amd".into()),
    }
}

fn models(word: Option<&str>) -> Outcome<Vec<Model>> {
    match word {
        Some("intel") => Ok(vec![Model::Intel]),
        Some("amd") => Ok(vec![Model::Amd]),
        Some("efi") => Ok(vec![Model::Efi]),
        Some("all") => Ok(ALL.to_vec()),
        _ => Err("--machine takes intel, amd, efi or all".into()),
    }
}

const ALL: [Model; 3] = [Model::Intel, Model::Amd, Model::Efi];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Outcome<Option<Arguments>> {
        Arguments::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn all_machines_unless_told() {
        let arguments = parse(&[]).unwrap().unwrap();
        assert_eq!(arguments.models, ALL);
        let arguments = parse(&["--machine", "amd", "--cede", "x"]).unwrap().unwrap();
        assert_eq!(arguments.models, [Model::Amd]);
        assert_eq!(arguments.cede, Some("x".into()));
    }

    #[test]
    fn wrong_usage_is_said() {
        for words in [
            &["--machine"][..],
            &["--machine", "via"],
            &["--cede"],
            &["-x"],
            &["--by-hand", "--cede", "x"],
            &["--trial", "--trial-watchdog"],
            &["--power-cuts"],
            &["--power-cuts", "0"],
            &["--iommufd"],
            &["--prove", "--bind"],
            &["--power-kills", "201"],
            &["--keep"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
