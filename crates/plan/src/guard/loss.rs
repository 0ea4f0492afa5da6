//! What can be lost, by the names that `--accept-loss` takes.

use crate::plan::Refusal;

/// Something that the host loses with the ceded functions, and that its owner may give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// What the system runs from.
    RootDisk,
    /// What the machine starts from: kernel, initramfs, boot loader.
    BootDisk,
    /// Another file system in use.
    MountedDisk,
    /// Swap in use.
    Swap,
    /// An array, a pool or a multipath device goes on with fewer members.
    Redundancy,
    /// It cannot be told whether the system is on it.
    UnseenStorage,
    /// The network of the default route.
    NetworkRoute,
    /// The connection over which the command was given.
    SshSession,
    /// File systems and disks that come over the network.
    NetworkStorage,
    /// The last keyboard.
    LastKeyboard,
    /// The display that the firmware uses, while another one stays.
    BootDisplay,
    /// The last display.
    OnlyDisplay,
    /// A console of the kernel.
    Console,
}

impl Loss {
    /// Every loss there is.
    pub const ALL: [Self; 13] = [
        Self::RootDisk,
        Self::BootDisk,
        Self::MountedDisk,
        Self::Swap,
        Self::Redundancy,
        Self::UnseenStorage,
        Self::NetworkRoute,
        Self::SshSession,
        Self::NetworkStorage,
        Self::LastKeyboard,
        Self::BootDisplay,
        Self::OnlyDisplay,
        Self::Console,
    ];

    /// Its stable name: the id of the refusal, and what `--accept-loss` takes.
    pub fn id(self) -> &'static str {
        match self {
            Self::RootDisk => "root-disk",
            Self::BootDisk => "boot-disk",
            Self::MountedDisk => "mounted-disk",
            Self::Swap => "swap",
            Self::Redundancy => "redundancy",
            Self::UnseenStorage => "unseen-storage",
            Self::NetworkRoute => "network-route",
            Self::SshSession => "ssh-session",
            Self::NetworkStorage => "network-storage",
            Self::LastKeyboard => "last-keyboard",
            Self::BootDisplay => "boot-display",
            Self::OnlyDisplay => "only-display",
            Self::Console => "console",
        }
    }

    /// What it means, in a few words.
    pub fn help(self) -> &'static str {
        match self {
            Self::RootDisk => "what the system runs from (/, /usr, /etc, /var)",
            Self::BootDisk => "what the machine starts from (/boot, the EFI system partition)",
            Self::MountedDisk => "another mounted file system, or one that the start waits for",
            Self::Swap => "swap in use",
            Self::Redundancy => "an array or multipath device goes on with fewer members",
            Self::UnseenStorage => "it cannot be told whether the system is on it",
            Self::NetworkRoute => "the interface of the default route",
            Self::SshSession => "the SSH connection over which the command was given",
            Self::NetworkStorage => "file systems and disks that come over the network",
            Self::LastKeyboard => "the last keyboard",
            Self::BootDisplay => "the display that the firmware uses, while another one stays",
            Self::OnlyDisplay => "the last display",
            Self::Console => "a console of the kernel",
        }
    }

    /// The loss of a name.
    pub fn parse(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|loss| loss.id() == id)
    }
}

/// A loss and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// What kind.
    pub loss: Loss,
    /// The way from the function to its use.
    pub way: String,
    /// What that means, and what to do instead.
    pub advice: String,
}

impl Lost {
    pub(super) fn new(loss: Loss, way: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { loss, way: way.into(), advice: advice.into() }
    }
}

impl From<Lost> for Refusal {
    fn from(lost: Lost) -> Self {
        Self::new(lost.loss.id(), format!("{}: {}", lost.way, lost.advice))
    }
}
