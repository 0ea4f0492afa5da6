//! The command line: types only. The doc comments are the help text.

use crate::ui::ColorWhen;
use cede_model::pci::PciAddress;
use cede_plan::BindMethod;
use cede_plan::guard::Loss;
use cede_plan::handoff::{TARGETS, Target};
use cede_plan::prove::{Depth, Interface};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::num::NonZeroU16;
use std::path::PathBuf;

/// Give PCI devices to virtual machines through VFIO, and take them back.
///
/// Reading needs no root; `apply` and `undo` do. An address is bus:device.function as lspci shows it, with a domain before it where there are several.
#[derive(Debug, Parser)]
#[command(name = "cede", version, max_term_width = 100, after_help = EXIT_STATUS)]
pub struct Cli {
    /// What to do; without it, `status`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
}

const EXIT_STATUS: &str = "Exit status: 0 done, all fine · 1 problems found, not verified, or tools of a mounted system left to be run · 2 wrong usage · 3 the host could not be read \
well enough · 4 refused by a safety rule · 5 the host changed since the plan was made · 6 apply failed, everything rolled back · 7 apply \
failed, roll-back incomplete · 8 applied: reboot, then `cede verify` · 70 a bug in cede";

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Work on the system mounted at DIR instead of the running one
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "host")]
    pub root: Option<PathBuf>,
    /// Read a capture (made by `cede capture`) instead of this machine
    #[arg(long, global = true, value_name = "FILE")]
    pub host: Option<PathBuf>,
    /// Read what `lspci` printed on some machine (best: `sudo lspci -nnvvv`, or with -xxxx); `-` is standard input. For groups, explain and report
    #[arg(long, global = true, value_name = "FILE", conflicts_with_all = ["root", "host"])]
    pub lspci: Option<PathBuf>,
    /// Which machine of a file with several listings, from 1
    #[arg(long, global = true, value_name = "N", requires = "lspci")]
    pub listing: Option<usize>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: ColorWhen,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Say more
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

impl Global {
    /// The options of somebody who sits at the host itself.
    pub fn at_the_host() -> Self {
        Self { root: None, host: None, lspci: None, listing: None, json: false, color: ColorWhen::Auto, yes: false, verbose: false }
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One screen: is the IOMMU on, what can be ceded, what is ceded, what to type next
    Status,
    /// List PCI functions with names, drivers and groups
    Devices,
    /// List IOMMU groups: the kernel's, or foretold ones where it has none
    Groups(GroupsArgs),
    /// Say why a function's group is what it is, port by port, and what would change it
    Explain {
        /// The function
        #[arg(value_name = "ADDR")]
        address: PciAddress,
    },
    /// Look for what stands in the way, with evidence and remedy
    Check {
        /// Functions that are to be ceded
        #[arg(value_name = "ADDR")]
        addresses: Vec<PciAddress>,
    },
    /// Write the host on one page of HTML: wiring, groups, findings; nothing in it is fetched or run
    Report {
        /// The page; an older page of cede is replaced, any other file is left alone; `-` is standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show the whole change that ceding these functions needs; changes nothing
    Plan {
        #[command(flatten)]
        wish: WishArgs,
        /// Save the plan for `cede apply --plan FILE`
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Carry out the change: show it, ask, write, regenerate, prove
    Apply {
        #[command(flatten)]
        wish: WishArgs,
        /// Carry out a saved plan, unchanged
        #[arg(long, value_name = "FILE", conflicts_with_all = ["addresses", "bind", "accepted", "trial"])]
        plan: Option<PathBuf>,
        #[command(flatten)]
        trial: TrialArgs,
    },
    /// Make a trial that came up and is verified the default
    Confirm,
    /// Compare each ceded function with what was planned, after the reboot
    Verify,
    /// Take exactly what cede added out of every file, and regenerate
    Undo {
        /// Number of the operation, as `cede log` shows it; without it, the last one that is in force
        operation: Option<u32>,
    },
    /// Bring the operation that was undone last back
    Redo,
    /// Show what cede did on this host
    Log,
    /// Finish the roll-back of an operation that was interrupted
    Recover,
    /// Prove that a guest could have the devices: attach them through VFIO, open them, let a guest's firmware have them
    Prove(ProveArgs),
    /// Give functions to VFIO now, without a reboot and until the next one; their whole group goes along
    Bind(BindArgs),
    /// Give functions back to the drivers that they had before `cede bind`, now
    Release(ReleaseArgs),
    /// Have libvirt give devices to a guest when it starts, and take them back when it ends: for one GPU, or what is shared in time
    #[command(subcommand)]
    Hook(HookCommand),
    /// Print the text that gives the devices to a guest; only data on standard output
    Handoff(HandoffArgs),
    /// Read, check and save the option ROM of a device, or check one that was downloaded
    Rom(RomArgs),
    /// Write everything that cede reads of this host to one file, with what tells it from other machines scrubbed
    Capture {
        /// The file; without it, standard output
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// What the unit of `bind --persist` runs
    #[command(hide = true)]
    AtStart {
        /// What the unit is named after
        address: PciAddress,
    },
    /// Write attributes of sysfs as standard input says: what `bind` starts, so that a write that hangs is a process of its own
    #[command(hide = true)]
    WriteAttributes,
    /// See the whole road on a simulated laptop: needs no privilege and touches nothing
    Demo,
}

impl Command {
    /// True where a listing of lspci says all that the verb needs.
    pub fn takes_listing(&self) -> bool {
        matches!(self, Self::Groups(_) | Self::Explain { .. } | Self::Devices | Self::Report { .. })
    }

    /// True for a verb that only lists: whoever has read enough of it may go.
    pub fn lists(&self) -> bool {
        matches!(self, Self::Status | Self::Devices | Self::Groups(_) | Self::Explain { .. } | Self::Log | Self::Demo)
    }

    /// The name of a verb that talks to a person only.
    pub fn without_json(&self) -> Option<&'static str> {
        match self {
            Self::Capture { .. } => Some("capture"),
            Self::Demo => Some("demo"),
            Self::Hook(HookCommand::Run { .. }) => Some("hook run"),
            Self::WriteAttributes => Some("write-attributes"),
            Self::AtStart { .. } => Some("at-start"),
            Self::Report { .. } => Some("report"),
            Self::Status
            | Self::Devices
            | Self::Groups(_)
            | Self::Explain { .. }
            | Self::Check { .. }
            | Self::Plan { .. }
            | Self::Apply { .. }
            | Self::Confirm
            | Self::Verify
            | Self::Undo { .. }
            | Self::Redo
            | Self::Log
            | Self::Recover
            | Self::Prove(_)
            | Self::Bind(_)
            | Self::Release(_)
            | Self::Hook(HookCommand::Install { .. })
            | Self::Handoff(_)
            | Self::Rom(_) => None,
        }
    }
}

/// Which groups, and how shown.
#[derive(Debug, Args)]
pub struct GroupsArgs {
    /// Only the groups of these functions
    #[arg(value_name = "ADDR")]
    pub addresses: Vec<PciAddress>,
    /// Foretell the groups even where the kernel has made them
    #[arg(long)]
    pub predict: bool,
    /// Draw the functions as they are wired, each with its group; ports that do not isolate what is behind them are `open`;
    /// with `--verbose`, each of many that are alike on a line of its own
    #[arg(long, conflicts_with = "addresses")]
    pub tree: bool,
    /// What would change: `move ADDR SLOT`, `remove ADDR`, `add VVVV:DDDD under PORT`, `kernel=6.12`,
    /// `acs-override=downstream,multifunction,id:VVVV:DDDD`; may be given several times
    #[arg(long, value_name = "CHANGE", num_args = 1.., conflicts_with_all = ["addresses", "tree"])]
    pub what_if: Vec<String>,
}

/// What is proved, and how deep.
#[derive(Debug, Args)]
pub struct ProveArgs {
    /// Functions to prove; those of their groups that are on vfio-pci go along
    #[arg(value_name = "ADDR", required = true)]
    pub addresses: Vec<PciAddress>,
    /// How deep
    #[arg(long, value_enum, value_name = "DEPTH", default_value_t)]
    pub depth: DepthArg,
    /// The kernel's way to VFIO; without it, the one that a guest would get
    #[arg(long, value_enum, value_name = "WAY")]
    pub interface: Option<InterfaceArg>,
    /// Seconds that a single step may take
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
}

/// How deep a proof goes.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum DepthArg {
    /// Container, group and IOMMU domain; touches no device
    #[default]
    Attach,
    /// Opens, reads and resets each device
    Open,
    /// Lets QEMU with firmware alone have them (no disk), then opens and resets them again
    Guest,
}

impl From<DepthArg> for Depth {
    fn from(arg: DepthArg) -> Self {
        match arg {
            DepthArg::Attach => Self::Attach,
            DepthArg::Open => Self::Open,
            DepthArg::Guest => Self::Guest,
        }
    }
}

/// The kernel's ways to VFIO.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum InterfaceArg {
    /// /dev/vfio/vfio and groups
    Container,
    /// /dev/iommu and a node for each device
    Iommufd,
}

impl From<InterfaceArg> for Interface {
    fn from(arg: InterfaceArg) -> Self {
        match arg {
            InterfaceArg::Container => Self::Container,
            InterfaceArg::Iommufd => Self::Iommufd,
        }
    }
}

/// What is given to VFIO now.
#[derive(Debug, Args)]
pub struct BindArgs {
    /// Functions to give to VFIO; their whole group goes along
    #[arg(value_name = "ADDR", required = true)]
    pub addresses: Vec<PciAddress>,
    /// Give up what it was refused for, by exactly this name; once for each loss. A disk in use cannot be given up
    #[arg(long = "accept-loss", value_name = "LOSS", value_parser = losses())]
    pub accepted: Vec<Loss>,
    /// Make N virtual functions of the one function that is named, and give them instead of it; 0 takes them away
    #[arg(long, value_name = "N")]
    pub vfs: Option<u32>,
    /// Do so at every start from now on, as long as each function is the same one: by a unit of systemd, which `release` and `undo` remove
    #[arg(long)]
    pub persist: bool,
    #[command(flatten)]
    pub now: NowArgs,
}

/// What is given back now.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// Functions to give back; their whole group goes along
    #[arg(value_name = "ADDR", required = true)]
    pub addresses: Vec<PciAddress>,
    #[command(flatten)]
    pub now: NowArgs,
}

/// How the running system is changed.
#[derive(Debug, Args)]
pub struct NowArgs {
    /// Wait until nobody uses the functions any more; without SECONDS, as long as it takes
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "4294967295")]
    pub wait: Option<u32>,
    /// How long the kernel may take for one write
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub timeout: u32,
    /// Show what would be done, and stop there
    #[arg(long)]
    pub dry_run: bool,
}

/// What is done about a guest's hook.
#[derive(Debug, Subcommand)]
pub enum HookCommand {
    /// Write the hook of a guest: one file below /etc/libvirt/hooks/qemu.d; `cede undo` removes it
    Install {
        /// The guest's name
        domain: String,
        /// Functions to give it; without them, those that its definition names
        #[arg(value_name = "ADDR")]
        addresses: Vec<PciAddress>,
        #[command(flatten)]
        how: HookArgs,
    },
    /// What the hook runs
    #[command(hide = true)]
    Run {
        /// The guest's name
        domain: String,
        /// What happens to it
        event: HookEvent,
        #[command(flatten)]
        how: HookArgs,
    },
}

/// How a hook goes about it.
#[derive(Debug, Args)]
pub struct HookArgs {
    /// Stop the display manager before the guest starts, and start it again when the guest has ended, with what lies over NVIDIA's driver
    /// taken off meanwhile: for the only GPU
    #[arg(long)]
    pub display_manager: bool,
    /// Give up what it was refused for while the guest runs, by exactly this name; once for each loss
    #[arg(long = "accept-loss", value_name = "LOSS", value_parser = losses())]
    pub accepted: Vec<Loss>,
}

/// What happens to a guest, in libvirt's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HookEvent {
    /// It is about to start.
    Prepare,
    /// It has ended, and everything of it was given back.
    Release,
}

/// What is handed over, and to whom.
#[derive(Debug, Args)]
pub struct HandoffArgs {
    /// Functions to hand over; their whole group goes along
    #[arg(value_name = "ADDR", required = true)]
    pub addresses: Vec<PciAddress>,
    /// The machine that takes them
    #[arg(long, value_name = "TARGET", value_parser = targets())]
    pub to: &'static dyn Target,
    /// An option ROM for the first function, saved by `cede rom` or downloaded
    #[arg(long, value_name = "FILE")]
    pub rom: Option<PathBuf>,
    /// libvirt: put them into this domain and print its new XML; a name with `/` or `.xml` is a file
    #[arg(long, value_name = "NAME|FILE")]
    pub domain: Option<String>,
    /// Print the change of the domain as a patch
    #[arg(long, requires = "domain", conflicts_with = "attach")]
    pub diff: bool,
    /// Give libvirt the domain with them through virsh, for its next start
    #[arg(long, requires = "domain", conflicts_with = "json")]
    pub attach: bool,
    /// The libvirt that is asked
    #[arg(long, value_name = "URI", default_value = "qemu:///system")]
    pub connect: String,
}

fn targets() -> impl clap::builder::TypedValueParser<Value = &'static dyn Target> {
    use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _};
    let names = TARGETS.iter().map(|target| PossibleValue::new(target.name()).help(target.about()));
    PossibleValuesParser::new(names).try_map(|name| TARGETS.iter().copied().find(|target| target.name() == name).ok_or("no such target"))
}

/// Whose option ROM, and where to.
#[derive(Debug, Args)]
pub struct RomArgs {
    /// The function that carries it, or is to have it
    #[arg(value_name = "ADDR")]
    pub address: Option<PciAddress>,
    /// Check this file instead of reading the device
    #[arg(long, value_name = "FILE")]
    pub check: Option<PathBuf>,
    /// Save the ROM, without what stands before it, to a new file; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What to cede, and how.
#[derive(Debug, Args)]
pub struct WishArgs {
    /// Functions to cede; their whole group goes along
    #[arg(value_name = "ADDR")]
    pub addresses: Vec<PciAddress>,
    /// How vfio-pci is told what to take
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub bind: BindArg,
    /// Give up what the plan was refused for, by exactly this name; once for each loss
    #[arg(long = "accept-loss", value_name = "LOSS", value_parser = losses())]
    pub accepted: Vec<Loss>,
}

impl WishArgs {
    /// Addresses and manner as they are typed.
    pub fn words(&self) -> String {
        let mut words: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        words.dedup();
        words.extend(match self.bind {
            BindArg::Cmdline => None,
            BindArg::Modprobe => Some("--bind modprobe".to_owned()),
            BindArg::Override => Some("--bind override".to_owned()),
        });
        words.join(" ")
    }
}

/// The names of losses, with their meanings in the help.
fn losses() -> impl TypedValueParser<Value = Loss> {
    let names = Loss::ALL.map(|loss| PossibleValue::new(loss.id()).help(loss.help()));
    PossibleValuesParser::new(names).try_map(|id| Loss::parse(&id).ok_or("no such loss"))
}

/// A change for one start.
#[derive(Debug, Args)]
pub struct TrialArgs {
    /// For the next start only, by an entry and images of our own: the default entry stays as it is, and the start after that is by it again
    #[arg(long)]
    pub trial: bool,
    /// With --trial: choose the entry yourself in the boot menu; for boot loaders that cannot start an entry just once
    #[arg(long, requires = "trial")]
    pub by_hand: bool,
    /// With --trial: confirm by itself once the trial is up and verified (cede-confirm.service)
    #[arg(long, requires = "trial")]
    pub confirm_service: bool,
    /// With --trial: start the machine anew where the trial is not confirmed within so many minutes
    #[arg(long, requires = "trial", value_name = "MINUTES")]
    pub watchdog: Option<NonZeroU16>,
}

/// How vfio-pci is told what to take.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum BindArg {
    /// `vfio-pci.ids=` on the kernel command line: taking it out in the boot menu disables everything
    #[default]
    Cmdline,
    /// `options vfio-pci ids=` in modprobe.d
    Modprobe,
    /// `driver_override` by address, without ids; chosen by itself where ids cannot tell one card from another
    Override,
}

impl From<BindArg> for BindMethod {
    fn from(arg: BindArg) -> Self {
        match arg {
            BindArg::Cmdline => Self::Cmdline,
            BindArg::Modprobe => Self::Modprobe,
            BindArg::Override => Self::Override,
        }
    }
}
