//! initramfs-tools (Debian family): `/etc/initramfs-tools/modules`, one module a line. `load_modules` runs after udev's coldplug, so the
//! order against native drivers comes from softdep lines, which mkinitramfs copies with all of `/etc/modprobe.d`.

use super::{Early, GeneratorChange, InitramfsGenerator, Share, VFIO_MODULES, VIRQFD, proofs, share};
use crate::plan::{Refusal, Step};
use crate::unread;
use cede_model::Host;
use cede_model::kernel::installed::module_name;

/// initramfs-tools.
pub struct InitramfsTools;

const MODULES: &str = "/etc/initramfs-tools/modules";
const UPDATE: &str = "/usr/sbin/update-initramfs";
const MKINITRAMFS: &str = "/usr/sbin/mkinitramfs";

impl InitramfsGenerator for InitramfsTools {
    fn name(&self) -> &'static str {
        "initramfs-tools"
    }

    fn detect(&self, host: &Host) -> bool {
        let own_files = [MODULES, "/etc/initramfs-tools/initramfs.conf"].iter().any(|path| host.capture.is_there(path));
        // Debian's dracut brings an update-initramfs of its own, and conffiles stay when a package goes; mkinitramfs is only here. A bare
        // tree without any tool is told by the conffiles.
        own_files && (host.capture.is_there(MKINITRAMFS) || !host.capture.is_there("/usr/bin/dracut"))
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
}

fn update() -> Step {
    let argv = [UPDATE, "-u", "-k", "all"].map(str::to_owned).to_vec();
    Step::RunTool { argv, why: "makes the initramfs of every kernel anew".to_owned() }
}

/// Modules of the list; a `#` in the first column makes a comment (initramfs-tools: mkinitramfs `add_modules_from_file`).
fn listed(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let words = text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(|line| line.split_whitespace().next());
    words.map(module_name).collect()
}

fn appended(before: &[u8], modules: &[&str]) -> Vec<u8> {
    let mut out = before.to_vec();
    if out.last().is_some_and(|last| *last != b'\n') {
        out.push(b'\n');
    }
    let ending: &[u8] = if before.windows(2).any(|pair| pair == b"\r\n") { b"\r\n" } else { b"\n" };
    for module in modules {
        out.extend_from_slice(module.as_bytes());
        out.extend_from_slice(ending);
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
    }

    #[test]
    fn arguments_and_comments_are_no_modules() {
        assert_eq!(listed(b"# vfio\nvfio-pci ids=1:2\n  # x\n\tloop max_loop=8\n\ncaf\xe9\n"), ["vfio_pci", "loop", "caf\u{fffd}"]);
    }
}
