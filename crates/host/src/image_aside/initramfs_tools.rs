//! update-initramfs renames each new image over the old one before it is on disk (initramfs-tools 0.140 to 0.151 `update-initramfs`
//! `generate_initramfs`: `mv`, then `sync`), then runs hooks that may hand it on to a boot loader.

use super::{Image, TEXT_LIMIT, beside, is_empty};
use crate::files::file_error::FileKind;
use crate::files::root::Root;

/// The run that is told apart.
pub(super) const UPDATE_ALL: [&str; 4] = ["/usr/sbin/update-initramfs", "-u", "-k", "all"];

const MKINITRAMFS: &str = "/usr/sbin/mkinitramfs";
const CONF: &str = "/etc/initramfs-tools/update-initramfs.conf";

/// What update-initramfs runs once there is a new image; the second since 0.151.
const HOOKS: [&str; 2] = ["/etc/initramfs/post-update.d/", "/usr/share/initramfs/post-update.d/"];

/// The step of which all is known. Up to version 0.136 it also keeps sums of the images, below /var/lib/initramfs-tools.
const KNOWN: &str = "\tif mkinitramfs ${OPTS} \"${initramfs}.new\" \"${version}\"; then\n\t\tmv -f \"${initramfs}.new\" \"${initramfs}\"\n";
const SUMS: &str = "sha1";

/// How the hooks are run (`run_bootloader`), comments and blanks left out; up to 0.148 those of the first directory alone, where it is there.
const RUNS_FIRST: [&str; 5] = [
    "if [ -d /etc/initramfs/post-update.d/ ]; then",
    "run-parts --arg=\"${version}\" --arg=\"${initramfs}\" \\",
    "/etc/initramfs/post-update.d/",
    "return 0",
    "fi",
];

/// Since 0.151 those of each directory that is there, in one run.
const RUNS_BOTH: [&str; 11] = [
    "local directories=\"\"",
    "if [ -d /etc/initramfs/post-update.d/ ]; then",
    "directories=\"$directories /etc/initramfs/post-update.d/\"",
    "fi",
    "if [ -d /usr/share/initramfs/post-update.d/ ]; then",
    "directories=\"$directories /usr/share/initramfs/post-update.d/\"",
    "fi",
    "if [ -n \"$directories\" ]; then",
    "run-parts --arg=\"${version}\" --arg=\"${initramfs}\" $directories",
    "return 0",
    "fi",
];

/// The images of all kernels that have one; `None` where update-initramfs does more than that here.
pub(super) fn images(root: &Root) -> Option<Vec<Image>> {
    let [tool, ..] = UPDATE_ALL;
    let script = root.read(tool, TEXT_LIMIT).ok()?;
    let script = String::from_utf8_lossy(&script);
    if !script.contains(KNOWN) || script.contains(SUMS) || !has_usual_settings(root) {
        return None;
    }
    let hooks = hooks(root, &script)?;
    let mut releases = kernels(root)?;
    if !hooks.is_empty() && releases.len() > 1 {
        releases = newest_first(root, releases)?;
    }
    releases.iter().map(|release| image(release, &hooks)).collect()
}

fn image(release: &str, hooks: &[&str]) -> Option<Image> {
    let place = place(release);
    let (name, path) = beside(&place)?;
    let argv = [MKINITRAMFS, "-o", &path, release].map(str::to_owned).to_vec();
    let run_parts = ["run-parts".to_owned(), format!("--arg={release}"), format!("--arg={place}")];
    let then = if hooks.is_empty() { Vec::new() } else { run_parts.into_iter().chain(hooks.iter().map(|&path| path.to_owned())).collect() };
    Some(Image { place, name, argv, lent: None, then })
}

fn has_usual_settings(root: &Root) -> bool {
    let conf = match root.read(CONF, TEXT_LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(_) => return false,
    };
    let conf = String::from_utf8_lossy(&conf);
    let mut settings = conf.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let usual = ["update_initramfs=yes", "update_initramfs=all", "backup_initramfs=no"];
    settings.all(|line| usual.contains(&line))
}

/// The directories whose hooks are run after each image; `None` where it cannot be told which, or how.
fn hooks(root: &Root, script: &str) -> Option<Vec<&'static str>> {
    let (_, rest) = script.split_once("\nrun_bootloader()\n{\n")?;
    let (body, _) = rest.split_once("\n}\n")?;
    let lines: Vec<&str> = body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let empty = HOOKS.map(|directory| is_empty(root, directory));
    if empty == [Some(true); 2] {
        let mut paths = body.split(|c: char| c.is_whitespace() || c == '"').filter(|word| word.contains('/'));
        return paths.all(|word| HOOKS.iter().any(|known| known.trim_end_matches('/') == word.trim_end_matches('/'))).then(Vec::new);
    }
    let [first, _] = HOOKS;
    let run = if lines == RUNS_FIRST {
        vec![first]
    } else if lines == RUNS_BOTH {
        HOOKS.to_vec()
    } else {
        return None;
    };
    let there = run.into_iter().filter(|directory| root.metadata(directory).is_ok_and(|found| found.kind == FileKind::Directory));
    Some(there.collect())
}

/// The kernels that have an image (linux-base 4.12 `DebianLinux::image_list`); `None` where one is no plain file.
fn kernels(root: &Root) -> Option<Vec<String>> {
    let entries = root.read_dir("/boot").ok()?;
    let names = entries.iter().filter_map(|entry| entry.name.to_str()).filter(|name| !name.ends_with(".sig"));
    let mut with_image = Vec::new();
    for release in names.filter_map(|name| name.strip_prefix("vmlinuz-").or_else(|| name.strip_prefix("vmlinux-"))) {
        match root.symlink_metadata(place(release)) {
            Ok(found) if found.kind == FileKind::File => with_image.push(release.to_owned()),
            Err(error) if error.is_not_found() => {}
            _ => return None,
        }
    }
    with_image.sort();
    with_image.dedup();
    Some(with_image)
}

fn place(release: &str) -> String {
    format!("/boot/initrd.img-{release}")
}

/// In the order of update-initramfs, for a hook may keep what it is told last. That order is linux-base's own, so its tool is asked for it.
fn newest_first(root: &Root, releases: Vec<String>) -> Option<Vec<String>> {
    let argv = ["linux-version", "sort", "--reverse"].map(str::to_owned);
    let (end, answer) = root.ask(&[argv.as_slice(), &releases].concat()).ok()?;
    let sorted: Vec<String> = String::from_utf8(answer).ok()?.lines().map(str::to_owned).collect();
    let mut same = sorted.clone();
    same.sort();
    (end.success && same == releases).then_some(sorted)
}
