//! initramfs-tools (Debian family): `/etc/initramfs-tools/modules`, one module a line. `load_modules` runs after udev's coldplug, so the
//! order against native drivers comes from softdep lines, which mkinitramfs copies with all of `/etc/modprobe.d`.

use super::{Early, GeneratorChange, InitramfsGenerator, Share, TrialImage, VFIO_MODULES, VIRQFD, proofs, share};
use crate::plan::{Refusal, Step};
use crate::trial;
use crate::unread;
use cede_model::kernel::installed::{ModuleForm, module_name};
use cede_model::{Entry, Host};

/// initramfs-tools.
pub struct InitramfsTools;

const MODULES: &str = "/etc/initramfs-tools/modules";
const ETC: &str = "/etc/initramfs-tools";
const CONF: &str = "/etc/initramfs-tools/initramfs.conf";
const CONF_DIR: &str = "/etc/initramfs-tools/conf.d";
const UPDATE: &str = "/usr/sbin/update-initramfs";
const MKINITRAMFS: &str = "/usr/sbin/mkinitramfs";

impl InitramfsGenerator for InitramfsTools {
    fn name(&self) -> &'static str {
        "initramfs-tools"
    }

    fn detect(&self, host: &Host) -> bool {
        let own_files = [MODULES, "/etc/initramfs-tools/initramfs.conf"].iter().any(|path| host.capture.is_there(path));
        // Where dracut takes its place, initramfs-tools-core may stay with settings and mkinitramfs, and some of Debian's dracut bring an
        // update-initramfs of their own. A bare tree without any tool is told by the conffiles.
        let runs_ours = |script: &[u8]| String::from_utf8_lossy(script).contains("mkinitramfs");
        let updates = host.capture.is_there(UPDATE) && host.capture.file(UPDATE).is_none_or(runs_ours);
        own_files && (!host.capture.is_there("/usr/bin/dracut") || host.capture.is_there(MKINITRAMFS) && updates)
    }

    fn is_left_over(&self, host: &Host) -> bool {
        host.capture.get(MKINITRAMFS) == Some(&Entry::Absent)
    }

    fn early_modules(&self, host: &Host) -> Result<Vec<String>, String> {
        unread::trouble(&host.capture, MODULES).map_or_else(|| Ok(listed(host.capture.file(MODULES).unwrap_or_default())), Err)
    }

    fn change(&self, host: &Host, early: &Early) -> Result<GeneratorChange, Refusal> {
        if let Some(why) = unread::trouble(&host.capture, MODULES) {
            return Err(Refusal::new("initramfs-modules-not-editable", why));
        }
        let before = host.capture.file(MODULES);
        if before.is_some_and(|bytes| bytes.contains(&0)) {
            return Err(Refusal::new("initramfs-modules-not-editable", format!("{MODULES} holds a NUL byte: correct it with an editor")));
        }
        let virqfd = matches!(share(&host.kernels, VIRQFD), Share::All | Share::Some).then_some(VIRQFD);
        let present = listed(before.unwrap_or_default());
        let missing: Vec<&str> = VFIO_MODULES.into_iter().chain(virqfd).filter(|module| !present.contains(&module_name(module))).collect();
        let mut change = GeneratorChange { tools: vec![update()], rests_on: vec![MODULES.to_owned()], ..GeneratorChange::default() };
        if !missing.is_empty() {
            let after = appended(before.unwrap_or_default(), &missing);
            change.files.push(Step::ReplaceFile { path: MODULES.to_owned(), before: before.map(<[u8]>::to_vec), after: Some(after) });
        }
        for kernel in &host.kernels {
            let image = format!("/boot/initrd.img-{}", kernel.release);
            if host.capture.is_there(&image) {
                change.proofs.extend(proofs(host, &image, Some(kernel), early));
            } else {
                change.notes.push(format!("kernel {} has no {image}: nothing is proved for it", kernel.release));
            }
        }
        Ok(change)
    }

    /// mkinitramfs takes another directory of settings by `-d`: that of the host, copied, with our modules on its list.
    fn trial(&self, host: &Host, early: &Early, image: &TrialImage) -> Result<GeneratorChange, Refusal> {
        let refused = |why: String| Refusal::new("trial-no-image", format!("no image can be made for a trial: {why}"));
        let release = image.base.strip_prefix("initrd.img-").unwrap_or_default();
        let kernel = host.kernels.iter().find(|kernel| kernel.release == release);
        let kernel = kernel.ok_or_else(|| refused(format!("which installed kernel {} is for cannot be told", image.base)))?;
        if let Some(path) = own_program(host) {
            return Err(refused(format!(
                "{path} is a part of this host's images that a copy of its settings would lack; apply without --trial"
            )));
        }
        let unread = unread::trouble(&host.capture, MODULES).or_else(|| unread::trouble_in(&host.capture, CONF_DIR, ""));
        if let Some(why) = unread.or_else(|| unread::trouble(&host.capture, CONF)) {
            return Err(refused(why));
        }
        let names = host.capture.names_in(CONF_DIR).map(|name| format!("{CONF_DIR}/{name}"));
        let mut copies: Vec<String> = std::iter::once(CONF.to_owned()).chain(names).collect();
        copies.retain(|path| host.capture.file(path).is_some());
        let mut change = GeneratorChange { rests_on: copies.clone(), ..GeneratorChange::default() };
        let own = |path: &str, bytes: Vec<u8>| {
            let inside = path.strip_prefix(ETC).unwrap_or(path);
            Step::ReplaceFile { path: format!("{}{inside}", trial::STATE), before: None, after: Some(bytes) }
        };
        change.files.extend(copies.iter().filter_map(|path| Some(own(path, host.capture.file(path)?.to_vec()))));
        let list = host.capture.file(MODULES).unwrap_or_default();
        let virqfd = (kernel.form(VIRQFD) == ModuleForm::Loadable).then_some(VIRQFD);
        let missing: Vec<&str> =
            VFIO_MODULES.into_iter().chain(virqfd).filter(|module| !listed(list).contains(&module_name(module))).collect();
        change.files.push(own(MODULES, appended(list, &missing)));
        change.rests_on.push(MODULES.to_owned());
        let argv = [MKINITRAMFS, "-d", trial::STATE, "-o", &image.path, release].map(str::to_owned).to_vec();
        change.tools.push(Step::RunTool { argv, why: "makes the image of the trial; those there are stay".to_owned() });
        change.proofs = proofs(host, &image.path, Some(kernel), early);
        Ok(change)
    }
}

/// Hooks and scripts of the host itself, which are programs: whether they are switched off shows in their mode alone.
fn own_program(host: &Host) -> Option<String> {
    let below = ["/etc/initramfs-tools/hooks/", "/etc/initramfs-tools/scripts/"].into_iter().flat_map(|dir| host.capture.below(dir));
    below.filter(|(_, entry)| !matches!(entry, Entry::Dir | Entry::Absent)).map(|(path, _)| path.to_owned()).next()
}

fn update() -> Step {
    let argv = [UPDATE, "-u", "-k", "all"].map(str::to_owned).to_vec();
    Step::RunTool { argv, why: "makes the initramfs of every kernel anew".to_owned() }
}

/// Modules of the list; a `#` in the first column makes a comment (initramfs-tools: hook-functions `add_modules_from_file`). The shell cuts
/// lines at blanks alone, so a CR is a part of the name before it.
fn listed(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.split('\n').filter(|line| !line.trim_start().starts_with('#'));
    lines.filter_map(|line| line.split([' ', '\t']).find(|word| !word.is_empty())).map(module_name).collect()
}

fn appended(before: &[u8], modules: &[&str]) -> Vec<u8> {
    let mut out = before.to_vec();
    if out.last().is_some_and(|last| *last != b'\n') {
        out.push(b'\n');
    }
    for module in modules {
        out.extend_from_slice(module.as_bytes());
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_after_an_unfinished_one() {
        assert_eq!(appended(b"# list\nloop", &["vfio_pci", "vfio"]), b"# list\nloop\nvfio_pci\nvfio\n");
        assert_eq!(appended(b"", &["vfio"]), b"vfio\n");
        assert_eq!(appended(b"loop\r\n", &["vfio"]), b"loop\r\nvfio\n", "`vfio\\r` would name no module");
    }

    #[test]
    fn arguments_and_comments_are_no_modules() {
        assert_eq!(listed(b"# vfio\nvfio-pci ids=1:2\n  # x\n\tloop max_loop=8\n\ncaf\xe9\n"), ["vfio_pci", "loop", "caf\u{fffd}"]);
        assert_eq!(listed(b"vfio\r\nvfio_pci ids=1:2\r\n"), ["vfio\r", "vfio_pci"]);
    }
}
