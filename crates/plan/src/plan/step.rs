//! The closed set of changes that a plan is made of.

/// The tools that a plan may run. A plan comes from a file too, and root carries it out: nothing else is ever started.
pub const TOOLS: [&str; 8] = [
    "/usr/bin/mkinitcpio",
    "/usr/sbin/update-initramfs",
    "/usr/sbin/mkinitramfs",
    "/usr/sbin/update-grub",
    "/usr/bin/grub-mkconfig",
    "/usr/sbin/grub-mkconfig",
    "/usr/bin/grub-script-check",
    MODPROBE,
];

/// Loads a module; where the kernel itself looks for it (kernel/module/Kconfig `MODPROBE_PATH`).
pub const MODPROBE: &str = "/sbin/modprobe";

/// True for a tool of [`TOOLS`]; for modprobe only with the name of one module and nothing else.
pub fn may_run(argv: &[String]) -> bool {
    let is_name = |word: &str| {
        !word.is_empty() && !word.starts_with('-') && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    match argv {
        [tool, rest @ ..] if tool == MODPROBE => matches!(rest, [dashes, module] if dashes == "--" && is_name(module)),
        [tool, ..] => TOOLS.contains(&tool.as_str()),
        [] => false,
    }
}

/// The directories below which a plan may write.
pub const PLACES: [&str; 4] = ["/etc/", "/boot/", "/efi/", "/var/lib/cede/trial/"];

/// Mode of a file that a plan makes. libvirt runs what is executable among its hooks.
pub fn mode(path: &str) -> u32 {
    if path.starts_with(crate::hook::DIRECTORY) { 0o755 } else { 0o644 }
}

/// True for a path that a plan may write: absolute, below one of [`PLACES`], without `.` or `..` on the way; or the EFI variable by which an
/// entry is started once.
pub fn may_write(path: &str) -> bool {
    path == crate::trial::once::ONE_SHOT
        || PLACES.iter().any(|place| path.starts_with(place)) && path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."))
}

/// One change. Each has an inverse, or is a tool that is run again afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A file gets new bytes, is made, or is removed.
    ReplaceFile {
        /// Path as seen from inside the root.
        path: String,
        /// The bytes before; `None` where there is no file.
        before: Option<Vec<u8>>,
        /// The bytes after; `None` where the file goes away.
        after: Option<Vec<u8>>,
    },
    /// A tool of the distribution makes something anew from the files.
    RunTool {
        /// Absolute path and arguments; no shell sees it.
        argv: Vec<String>,
        /// What it is for.
        why: String,
    },
    /// An image that a tool made is put, atomically, where the boot loader starts it.
    CopyImage {
        /// The image that the tool makes.
        from: String,
        /// Its copy on the boot partition.
        to: String,
    },
    /// An image that a tool made for a trial goes away. It is kept aside first, as what tools replace.
    RemoveImage {
        /// The image.
        path: String,
    },
    /// An attribute of sysfs is written. That takes as long as the kernel wants, and nothing is left of it after the next start.
    WriteAttribute {
        /// One of those that [`crate::runtime::Attribute`] knows.
        path: String,
        /// What it said before, without line end; `None` where it cannot be read.
        before: Option<String>,
        /// What is written; empty takes back what was written before.
        after: String,
    },
}

impl Step {
    /// The file that the step writes.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::ReplaceFile { path, .. } => Some(path),
            Self::RunTool { .. } | Self::CopyImage { .. } | Self::RemoveImage { .. } | Self::WriteAttribute { .. } => None,
        }
    }

    /// The tool that the step runs, with its arguments.
    pub fn argv(&self) -> Option<&[String]> {
        match self {
            Self::RunTool { argv, .. } => Some(argv),
            _ => None,
        }
    }

    /// What somebody would type to do what follows from the files; `None` for a file, and for what is no file.
    pub fn by_hand(&self) -> Option<Vec<String>> {
        match self {
            Self::ReplaceFile { .. } | Self::WriteAttribute { .. } => None,
            Self::RunTool { argv, .. } => Some(argv.clone()),
            Self::RemoveImage { path } => Some(vec!["rm".to_owned(), path.clone()]),
            Self::CopyImage { from, to } => Some(vec!["cp".to_owned(), from.clone(), to.clone()]),
        }
    }
}

/// The steps that take `steps` back: files last to first with before and after changed over, then the tools in their old order. Attributes go
/// back by what they say then: see [`crate::runtime::back`].
pub fn inverse(steps: &[Step]) -> Vec<Step> {
    let files = steps.iter().rev().filter_map(|step| match step {
        Step::ReplaceFile { path, before, after } => {
            Some(Step::ReplaceFile { path: path.clone(), before: after.clone(), after: before.clone() })
        }
        _ => None,
    });
    let follows = |step: &&Step| step.path().is_none() && !matches!(step, Step::WriteAttribute { .. });
    files.chain(steps.iter().filter(follows).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_writes_configuration_only() {
        for (path, allowed) in [
            ("/etc/default/grub", true),
            ("/boot/loader/entries/a.conf", true),
            ("/etc/../root/x", false),
            ("/etc", false),
            ("/etc//x", false),
            ("/usr/bin/x", false),
            ("etc/x", false),
            ("/boot/", false),
        ] {
            assert_eq!(may_write(path), allowed, "{path}");
        }
    }

    #[test]
    fn modprobe_is_given_one_name() {
        for (words, allowed) in [
            ("/sbin/modprobe -- vfio-pci", true),
            ("/sbin/modprobe vfio-pci", false),
            ("/sbin/modprobe -- -r", false),
            ("/sbin/modprobe -- a b", false),
            ("/sbin/modprobe -- ../x", false),
            ("/sbin/modprobe", false),
            ("/usr/bin/mkinitcpio -P", true),
            ("/bin/sh", false),
        ] {
            let argv: Vec<String> = words.split(' ').map(str::to_owned).collect();
            assert_eq!(may_run(&argv), allowed, "{words}");
        }
        assert!(!may_run(&[]));
    }

    #[test]
    fn the_inverse_of_the_inverse_is_the_plan() {
        let file = |path: &str, before: &[u8], after: &[u8]| Step::ReplaceFile {
            path: path.into(),
            before: Some(before.into()),
            after: Some(after.into()),
        };
        let tool = |name: &str| Step::RunTool { argv: vec![name.into()], why: String::new() };
        let steps = vec![file("/a", b"1", b"2"), file("/b", b"3", b"4"), tool("x"), tool("y")];
        assert_eq!(inverse(&steps), [file("/b", b"4", b"3"), file("/a", b"2", b"1"), tool("x"), tool("y")]);
        assert_eq!(inverse(&inverse(&steps)), steps);
    }
}
