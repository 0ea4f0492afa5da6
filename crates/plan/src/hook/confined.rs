//! Whether AppArmor lets libvirt's hooks run cede, and what SELinux needs for it. A hook keeps its daemon's profile, and that names the
//! directories of programs that it may run: `/usr/local` is not among them (libvirt 9.0, src/security/apparmor/usr.sbin.libvirtd.in). What it
//! may not run keeps a guest from starting.

use crate::plan::Refusal;
use crate::shell_word::quoted;
use cede_model::{Capture, Entry};
use std::fmt::Write as _;

/// The profiles that are loaded, a line each: `libvirtd (enforce)`.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// Directories below which both profiles have `* PUx`.
const ALLOWED: [&str; 4] = ["/bin", "/sbin", "/usr/bin", "/usr/sbin"];

/// The daemons that run hooks; their profiles are called after their paths.
const DAEMONS: [&str; 2] = ["libvirtd", "virtqemud"];

/// Whether SELinux enforces its policy.
const ENFORCE: &str = "/sys/fs/selinux/enforce";

/// A switch of Fedora's policy, as it is now and as it will be: `0 0` (security/selinux/selinuxfs.c `sel_read_bool`).
const UNCONFINED: &str = "/sys/fs/selinux/booleans/virt_hooks_unconfined";

/// What is read of a host for it.
pub fn sources() -> Vec<String> {
    let files = DAEMONS.iter().flat_map(|daemon| [profile(daemon), local(daemon)]);
    [LOADED, ENFORCE, UNCONFINED].map(str::to_owned).into_iter().chain(files).collect()
}

fn profile(daemon: &str) -> String {
    format!("/etc/apparmor.d/usr.sbin.{daemon}")
}

/// Where the profile takes additions from.
fn local(daemon: &str) -> String {
    format!("/etc/apparmor.d/local/usr.sbin.{daemon}")
}

/// Why a hook could not run this program.
pub(super) fn refuse(capture: &Capture, program: &str) -> Option<Refusal> {
    let (directory, _) = program.rsplit_once('/')?;
    if ALLOWED.contains(&directory) {
        return None;
    }
    let kept: Vec<&str> = DAEMONS.into_iter().filter(|daemon| is_enforced(capture, daemon) && !names(capture, daemon, program)).collect();
    let first = kept.first()?;
    let mut message = format!(
        "AppArmor's profile {first} keeps hooks from running {program}, and guests from starting with them: `sudo install {} /usr/bin/cede` and run it from there; or",
        quoted(program)
    );
    for daemon in &kept {
        let (rules, profile) = (local(daemon), profile(daemon));
        // Writing to a string cannot fail.
        let _ = write!(message, " add the line `\"{program}\" PUx,` to {rules}, then `sudo apparmor_parser -r {profile}`;");
    }
    Some(Refusal::new("apparmor", message.trim_end_matches(';')))
}

/// What SELinux needs where it enforces. A new file has the label of its directory, and the policy may want another below
/// `/etc/libvirt/hooks`: `virt_hook_t` in Fedora's since 2024, where a switch that is off by default lets hooks run unconfined
/// (fedora-selinux/selinux-policy 280a7b228, policy/modules/contrib/virt.fc and virt.te).
pub(super) fn labels(capture: &Capture) -> Option<String> {
    if text(capture, ENFORCE).trim() != "1" {
        return None;
    }
    let restore = "SELinux is enforcing: when the hook is written, `sudo restorecon -R /etc/libvirt/hooks`";
    Some(match text(capture, UNCONFINED).split_whitespace().next() {
        Some("0") => format!("{restore}; where it is denied all the same, `sudo setsebool -P virt_hooks_unconfined on`"),
        _ => restore.to_owned(),
    })
}

fn is_enforced(capture: &Capture, daemon: &str) -> bool {
    let own = |line: &str| [format!("{daemon} (enforce)"), format!("/usr/sbin/{daemon} (enforce)")].contains(&line.to_owned());
    text(capture, LOADED).lines().any(own)
}

/// True where somebody has let it run this very program.
fn names(capture: &Capture, daemon: &str, program: &str) -> bool {
    let lets = |line: &str| {
        let rule = line.trim().trim_start_matches('"');
        rule.strip_prefix(program).is_some_and(|rest| rest.trim_start_matches(['"', ' ', '\t']).split(',').next().is_some_and(runs))
    };
    [profile(daemon), local(daemon)].iter().any(|path| text(capture, path).lines().any(lets))
}

fn runs(modes: &str) -> bool {
    modes.contains('x') && modes.chars().all(|mode| mode.is_ascii_alphabetic())
}

fn text(capture: &Capture, path: &str) -> String {
    match capture.get(path) {
        Some(Entry::File(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}
