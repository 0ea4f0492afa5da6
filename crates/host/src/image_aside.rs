//! Images of initramfs-tools, made aside and put in place one by one. update-initramfs renames each new image over the old one before it is on disk
//! (initramfs-tools 0.142 to 0.151 `update-initramfs` `generate_initramfs`: `mv`, then `sync`): a disk that reorders its writes may have the name before the
//! file that it leads to, and GRUB finds nothing there. The rest of what update-initramfs does is told from its text, or it is run as it is.

use crate::files::file_error::FileKind;
use crate::files::replace_file;
use crate::files::root::Root;
use crate::files::temporary;
use crate::live::effect;
use crate::machine::{EffectError, ToolEnd};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

const UPDATE: &str = "/usr/sbin/update-initramfs";
const MKINITRAMFS: &str = "/usr/sbin/mkinitramfs";
const CONF: &str = "/etc/initramfs-tools/update-initramfs.conf";
/// What update-initramfs runs once there is a new image; the second since 0.151.
const HOOKS: [&str; 2] = ["/etc/initramfs/post-update.d", "/usr/share/initramfs/post-update.d"];
const TEXT_LIMIT: usize = 1 << 16;

/// The step of which all is known. Up to version 0.136 it also keeps sums of the images, below /var/lib/initramfs-tools.
const KNOWN: &str = "\tif mkinitramfs ${OPTS} \"${initramfs}.new\" \"${version}\"; then\n\t\tmv -f \"${initramfs}.new\" \"${initramfs}\"\n";
const SUMS: &str = "sha1";

/// The releases for which a run of update-initramfs comes to a run of mkinitramfs each. None where it does more than that here.
pub(crate) fn releases(root: &Root, argv: &[String]) -> BTreeSet<String> {
    let is_update = argv == [UPDATE, "-u", "-k", "all"];
    if is_update && is_plain(root) { kernels(root).unwrap_or_default() } else { BTreeSet::new() }
}

fn is_plain(root: &Root) -> bool {
    let script = root.read(UPDATE, TEXT_LIMIT).unwrap_or_default();
    let script = String::from_utf8_lossy(&script);
    let no_hooks = HOOKS.iter().all(|hooks| match root.read_dir(hooks) {
        Ok(hooks) => hooks.is_empty(),
        Err(error) => error.is_not_found(),
    });
    let conf = match root.read(CONF, TEXT_LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(_) => return false,
    };
    let conf = String::from_utf8_lossy(&conf);
    let mut settings = conf.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let usual = ["update_initramfs=yes", "update_initramfs=all", "backup_initramfs=no"];
    script.contains(KNOWN) && !script.contains(SUMS) && has_known_hooks(&script) && no_hooks && settings.all(|line| usual.contains(&line))
}

/// Whether hooks come from nowhere else.
fn has_known_hooks(script: &str) -> bool {
    let body = script.split_once("\nrun_bootloader()\n{\n").and_then(|(_, rest)| rest.split_once("\n}\n"));
    let paths = |body: &str| {
        let mut words = body.split(|c: char| c.is_whitespace() || c == '"').filter(|word| word.contains('/'));
        words.all(|word| HOOKS.contains(&word.trim_end_matches('/')))
    };
    body.is_some_and(|(body, _)| paths(body))
}

/// The kernels that have an image (linux-base 4.12 `DebianLinux::image_list`); `None` where one is no plain file.
fn kernels(root: &Root) -> Option<BTreeSet<String>> {
    let entries = root.read_dir("/boot").ok()?;
    let names = entries.iter().filter_map(|entry| entry.name.to_str()).filter(|name| !name.ends_with(".sig"));
    let mut with_image = BTreeSet::new();
    for release in names.filter_map(|name| name.strip_prefix("vmlinuz-").or_else(|| name.strip_prefix("vmlinux-"))) {
        match root.symlink_metadata(image(release)) {
            Ok(found) if found.kind == FileKind::File => {
                with_image.insert(release.to_owned());
            }
            Err(error) if error.is_not_found() => {}
            _ => return None,
        }
    }
    Some(with_image)
}

fn image(release: &str) -> String {
    format!("/boot/initrd.img-{release}")
}

/// Runs a tool.
pub(crate) type RunTool<'a> = &'a mut dyn FnMut(&[String]) -> Result<ToolEnd, EffectError>;

/// Makes the image of each release and puts it in place. There must be one release at least.
///
/// # Errors
/// mkinitramfs cannot be started, or an image not be put in place.
pub(crate) fn make(root: &Root, releases: &BTreeSet<String>, run: RunTool<'_>) -> Result<ToolEnd, EffectError> {
    let mut last = Err(EffectError::Tool { tool: UPDATE.to_owned(), why: "no kernel has an image".to_owned() });
    for release in releases {
        let place = image(release);
        let name = temporary::fresh_name(OsStr::new(&place));
        let argv = [MKINITRAMFS, "-o", &format!("/boot/{}", name.to_string_lossy()), release].map(str::to_owned);
        last = run(&argv).and_then(|end| {
            if end.success {
                replace_file::put_in_place(root, &place, &name).map_err(effect)?;
            }
            Ok(end)
        });
        if !matches!(&last, Ok(end) if end.success) {
            temporary::sweep(root, Path::new(&place));
            break;
        }
    }
    last
}
