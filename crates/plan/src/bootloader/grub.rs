//! GRUB as `grub-mkconfig` sets it up: `/etc/default/grub`, on the Debian family also `/etc/default/grub.d/*.cfg` (util/grub-mkconfig.in and
//! Debian's patch of it). Parameters go into `GRUB_CMDLINE_LINUX_DEFAULT`, so that recovery entries stay without them.

use super::grub_files::Files;
use super::{BootEntry, Bootloader, ConfiguredWord, Detection, LoaderChange, TrialChange, TrialEntry, entries, grub_trial};
use crate::edit::shell::Shells;
use crate::iommu_cause;
use crate::parameter::Wish;
use crate::plan::{Refusal, Step};
use cede_model::boot::grub_cfg;
use cede_model::{Evidence, Host};

/// GRUB with a generated menu.
pub struct Grub;

pub(super) const NAME: &str = "GRUB";
pub(super) const MAIN: &str = "/etc/default/grub";
pub(super) const DROP_INS: &str = "/etc/default/grub.d";
pub(super) const MKCONFIG: [&str; 2] = ["/usr/sbin/grub-mkconfig", "/usr/bin/grub-mkconfig"];
pub(super) const MENU_BY_HAND: &str = "grub-menu-by-hand";
pub(super) const MENU_ELSEWHERE: &str = "grub-menu-elsewhere";
const UPDATE_GRUB: &str = "/usr/sbin/update-grub";

impl Bootloader for Grub {
    fn name(&self) -> &'static str {
        NAME
    }

    fn keeps(&self, path: &str) -> bool {
        path == MAIN || path.strip_prefix(DROP_INS).is_some_and(|name| name.starts_with('/'))
    }

    fn detect(&self, host: &Host, at_work: Option<&Evidence>) -> Detection {
        let Some(path) = [MAIN, entries::GRUB_CFG].into_iter().find(|path| host.capture.exists(path)) else { return Detection::No };
        match Detection::of(Evidence::new(path, "exists"), at_work) {
            // Its package may be gone: this start would show GRUB, and there is no menu to start by.
            Detection::Installed(_) if has_no_menu(host) => Detection::No,
            detection => detection,
        }
    }

    fn configured(&self, host: &Host) -> Vec<ConfiguredWord> {
        let files = Files::read(host);
        let placed = files.words().unwrap_or_else(|_| files.written());
        placed
            .into_iter()
            .map(|word| ConfiguredWord {
                source: word.line.zip(files.path(word.file)).map(|(line, path)| Evidence::at_line(path, line, word.text.as_str())),
                text: word.text,
            })
            .collect()
    }

    fn entries(&self, host: &Host) -> Vec<BootEntry> {
        entries::grub(host)
    }

    fn change(&self, host: &Host, wish: &Wish) -> Result<LoaderChange, Refusal> {
        if has_no_menu(host) {
            return Err(Refusal::new(
                MENU_ELSEWHERE,
                format!(
                    "GRUB started this host, and not by {}, which is not there: add the parameters to GRUB_CMDLINE_LINUX_DEFAULT in {MAIN}, and run `grub-mkconfig -o MENU` for the menu that it reads",
                    entries::GRUB_CFG
                ),
            ));
        }
        if host.capture.file(entries::GRUB_CFG).is_some_and(|menu| !menu.is_empty() && !grub_cfg::parse(menu).generated) {
            let path = entries::GRUB_CFG;
            return Err(Refusal::new(
                MENU_BY_HAND,
                format!(
                    "{path} was not made by grub-mkconfig and would be overwritten: add the parameters to it by hand, or keep what is yours in /etc/grub.d/40_custom"
                ),
            ));
        }
        let mut files = Files::read(host);
        if let Some(why) = files.unseen(host) {
            return Err(cannot(format!("{why}; run as root, or make it readable")));
        }
        let before = files.list.clone();
        let off = iommu_cause::off_words(&iommu_cause::running_words(host), &iommu_cause::off_switches(host));
        files.apply(wish, &off)?;
        let changed = files
            .list
            .iter()
            .filter(|file| before.iter().find(|old| old.path == file.path).and_then(|old| old.bytes.as_ref()) != file.bytes.as_ref());
        let steps = changed.map(|file| {
            let old = before.iter().find(|old| old.path == file.path).and_then(|old| old.bytes.clone());
            Step::ReplaceFile { path: file.path.clone(), before: old, after: file.bytes.clone() }
        });
        Ok(LoaderChange {
            files: steps.collect(),
            tools: vec![regenerate(host)],
            rests_on: before.into_iter().map(|file| file.path).collect(),
        })
    }

    fn trial(&self, host: &Host, wish: &Wish, trial: &TrialEntry) -> Result<TrialChange, Refusal> {
        grub_trial::trial(host, wish, trial)
    }
}

/// Where a start was seen, and there is no menu for it; a mounted system may have one that is to be made.
fn has_no_menu(host: &Host) -> bool {
    host.running_cmdline().known().is_some() && host.capture.observed(entries::GRUB_CFG).is_absent()
}

fn regenerate(host: &Host) -> Step {
    let mkconfig = MKCONFIG.iter().find(|path| host.capture.exists(path)).copied();
    let argv = match mkconfig {
        _ if host.capture.exists(UPDATE_GRUB) => vec![UPDATE_GRUB.to_owned()],
        None if uses_drop_ins(host) => vec![UPDATE_GRUB.to_owned()],
        found => [found.unwrap_or(MKCONFIG[1]), "-o", entries::GRUB_CFG].map(str::to_owned).to_vec(),
    };
    Step::RunTool { argv, why: "makes GRUB's menu anew".to_owned() }
}

/// The script says whether it reads drop-ins; without the script, their directory does.
pub(super) fn uses_drop_ins(host: &Host) -> bool {
    let script = MKCONFIG.iter().find_map(|path| host.capture.file(path));
    let names_them = |script: &[u8]| String::from_utf8_lossy(script).contains("default/grub.d");
    script.map_or_else(|| host.capture.exists(DROP_INS), names_them)
}

/// `/bin/sh` runs grub-mkconfig; shells differ in what they accept. Where it was not seen, a host of mkinitcpio has bash there, as Arch does.
pub(super) fn shells(host: &Host) -> Shells {
    match ["/bin/sh", "/usr/bin/sh"].iter().find_map(|path| host.capture.link(path)) {
        Some(target) if target.ends_with("bash") => Shells::Bash,
        Some(target) if target.ends_with("dash") => Shells::Dash,
        None if !uses_drop_ins(host) && host.capture.exists("/etc/mkinitcpio.conf") => Shells::Bash,
        _ => Shells::Either,
    }
}

pub(super) fn cannot(why: impl std::fmt::Display) -> Refusal {
    Refusal::new("grub-not-editable", format!("GRUB's settings cannot be changed safely: {why}"))
}
