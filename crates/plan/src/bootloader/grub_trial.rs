//! A trial with GRUB: an entry in `custom.cfg`, which the generated menu reads at each start, so the menu itself stays to the byte; chosen once by
//! `next_entry` in the environment block.

use super::entries::CUSTOM_CFG;
use super::{BootEntry, TrialChange, TrialEntry, entries};
use crate::edit::cmdline;
use crate::iommu_cause;
use crate::parameter::Wish;
use crate::plan::{Refusal, Step};
use crate::trial::once::{self, ENV_BLOCK, GRUB};
use crate::trial::{ENTRY, IMAGE, SETTINGS};
use crate::unread;
use cede_model::Host;
use cede_model::boot::grub_cfg::{self, MenuEntry};

/// What the menu reads by /etc/grub.d/41_custom.
const HEAD: &str = "# Written by cede for a trial boot; `cede undo` removes it.\n";
const CHECKER: &str = "/usr/bin/grub-script-check";

/// File systems in whose files GRUB can change a block in place. It has no checksums to keep on them; on btrfs, ZFS and F2FS it would damage
/// the file, and through LVM, RAID and LUKS it does not write (util/grub.d/00_header.in `check_writable`; grub-core/disk/diskfilter.c).
const WRITABLE: [&str; 5] = ["ext2", "ext3", "ext4", "vfat", "xfs"];
/// Block devices that are disks or their partitions.
const DISKS: [&str; 6] = ["sd", "nvme", "vd", "mmcblk", "hd", "xvd"];

pub(super) fn trial(host: &Host, wish: &Wish, trial: &TrialEntry) -> Result<TrialChange, Refusal> {
    let menu = host.capture.file(entries::GRUB_CFG).unwrap_or_default();
    let menu = std::str::from_utf8(menu).map_err(|_| cannot(format!("{} is not UTF-8 text", entries::GRUB_CFG)))?;
    if !["source ${config_directory}/custom.cfg", "source $prefix/custom.cfg"].iter().any(|line| menu.contains(line)) {
        return Err(cannot(format!(
            "{} does not read {CUSTOM_CFG}; make /etc/grub.d/41_custom executable and run update-grub",
            entries::GRUB_CFG
        )));
    }
    if let Some(why) = unread::trouble(&host.capture, CUSTOM_CFG) {
        return Err(cannot(why));
    }
    let once = if trial.by_hand { None } else { Some(choose_once(host, menu)?) };
    let (entry, started) = base(host, menu)?;
    let text = block(menu, &entry)?;
    let image = started.files.iter().skip(1).rfind(|file| !file.contains("ucode"));
    let image = image.ok_or_else(|| cannot(format!("the entry `{}` loads no initramfs", started.title)))?;
    let base = image.rsplit('/').next().unwrap_or_default().to_owned();
    if !host.capture.is_there(&format!("/boot/{base}")) {
        return Err(cannot(format!("the entry `{}` loads {image}, which is not in /boot", started.title)));
    }
    let draft = Draft { wish, trial, started: &started, image };
    let own = draft.rewrite(&text)?;
    draft.check(&own)?;
    let before = host.capture.file(CUSTOM_CFG).map(<[u8]>::to_vec);
    let glue = if before.as_ref().is_some_and(|bytes| bytes.last().is_some_and(|last| *last != b'\n')) { "\n" } else { "" };
    let after = [before.as_deref().unwrap_or_default(), glue.as_bytes(), own.as_bytes()].concat();
    let check = host.capture.is_there(CHECKER).then(|| Step::RunTool {
        argv: vec![CHECKER.to_owned(), CUSTOM_CFG.to_owned()],
        why: "sees whether GRUB can read the entry".to_owned(),
    });
    Ok(TrialChange {
        entry: Step::ReplaceFile { path: CUSTOM_CFG.to_owned(), before, after: Some(after) },
        check,
        once,
        base,
        directory: "/boot".to_owned(),
        rests_on: vec![entries::GRUB_CFG.to_owned()],
    })
}

fn cannot(why: impl std::fmt::Display) -> Refusal {
    Refusal::new("trial-no-entry", format!("GRUB cannot be given an entry for a trial: {why}"))
}

/// The step that chooses the entry, where GRUB can take the choice away again.
fn choose_once(host: &Host, menu: &str) -> Result<Step, Refusal> {
    let by_hand = |why: String| {
        Refusal::new(
            "trial-not-once",
            format!(
                "{why}, so the trial would be started again and again; with --by-hand cede adds the entry, and you choose it in the menu"
            ),
        )
    };
    if !(menu.contains("if [ \"${next_entry}\" ]") && menu.contains("save_env next_entry")) {
        return Err(by_hand(format!("{} has no code for a choice that holds once (`next_entry`)", entries::GRUB_CFG)));
    }
    if menu.contains("load_env -f ${config_directory}/grubenv") {
        return Err(by_hand(format!("{} may read the choice in one directory and take it away in another", entries::GRUB_CFG)));
    }
    writable(host).map_err(by_hand)?;
    once::by_grub(host)
}

/// Whether GRUB can write into its environment block. It follows links within one file system, from the top of that, and none to another (GRUB 2.06
/// grub-core/fs/fshelp.c `find_file`); where its own directory is one, it was installed with the real path (util/grub-install.c).
fn writable(host: &Host) -> Result<(), String> {
    let place = |path| host.capture.place(path).map_err(|why| format!("where {path} is cannot be told ({why})"));
    let (directory, block) = (place(GRUB)?, place(ENV_BLOCK)?);
    if block.strip_prefix(directory) != ENV_BLOCK.strip_prefix(GRUB) {
        return Err(format!("{ENV_BLOCK} is a link to {block}, where GRUB may not find it"));
    }
    let (device, kind) = mount(host, directory).ok_or("what /boot/grub is mounted from cannot be told")?;
    if !WRITABLE.contains(&kind.as_str()) {
        return Err(format!("GRUB cannot write to {kind}, on which /boot/grub is"));
    }
    let has_number = |name: &&str| host.capture.attribute(&format!("/sys/class/block/{name}/dev")) == Some(device.as_str());
    let name = host.capture.names_in("/sys/class/block").find(has_number);
    let name = name.ok_or_else(|| format!("the block device {device} of /boot/grub is not known"))?;
    let is_disk = DISKS.iter().any(|prefix| name.starts_with(prefix));
    let stacked = host.capture.names_in(&format!("/sys/class/block/{name}/slaves")).next().is_some();
    if is_disk && !stacked {
        return Ok(());
    }
    let mapped = host.capture.attribute(&format!("/sys/class/block/{name}/dm/name"));
    let shown = mapped.map_or_else(|| name.to_owned(), |mapped| format!("{name} ({mapped})"));
    Err(format!("GRUB cannot write through {shown}, on which /boot/grub is"))
}

/// Device number and type of the file system that a path is on (proc_pid_mountinfo(5)); of mounts at one place the last counts.
fn mount(host: &Host, path: &str) -> Option<(String, String)> {
    let mounts = String::from_utf8_lossy(host.capture.file("/proc/self/mountinfo")?);
    let mut best: Option<(usize, String, String)> = None;
    for line in mounts.lines() {
        let (fields, kind) = line.split_once(" - ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let (Some(number), Some(place)) = (fields.get(2), fields.get(4)) else { continue };
        let holds = *place == "/" || path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if holds && best.as_ref().is_none_or(|(length, ..)| place.len() >= *length) {
            best = Some((place.len(), (*number).to_owned(), kind.split(' ').next().unwrap_or_default().to_owned()));
        }
    }
    best.map(|(_, number, kind)| (number, kind))
}

/// The entry that ours is made from: the first that starts the running kernel, which is known to start.
fn base(host: &Host, menu: &str) -> Result<(MenuEntry, BootEntry), Refusal> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let words = iommu_cause::running_words(host);
    let running = words.iter().find_map(|word| word.strip_prefix("BOOT_IMAGE=")).map(name);
    let normal: Vec<BootEntry> = entries::grub(host).into_iter().filter(|entry| !entry.rescue).collect();
    let same = normal.iter().find(|entry| running.is_some() && entry.files.first().map(|path| name(path)) == running);
    let started = same.or(normal.first()).ok_or_else(|| cannot(format!("{} starts no Linux", entries::GRUB_CFG)))?;
    let has_line = |entry: &&MenuEntry| entry.linux.iter().any(|linux| u32::try_from(linux.line) == Ok(started.line));
    let cfg = grub_cfg::parse(menu.as_bytes());
    let entry = cfg.entries.iter().find(has_line).ok_or_else(|| cannot("its entries could not be read"))?;
    if entry.linux.len() != 1 {
        return Err(cannot(format!("the entry `{}` starts one kernel or another", started.title)));
    }
    Ok((entry.clone(), started.clone()))
}

/// The lines of an entry, from `menuentry` to the brace that closes it, which stands below it in a generated menu.
fn block<'a>(menu: &'a str, entry: &MenuEntry) -> Result<Vec<&'a str>, Refusal> {
    let mut lines = menu.lines().skip(entry.line.saturating_sub(1));
    let head = lines.next().unwrap_or_default();
    let indent = head.len() - head.trim_start().len();
    let close = format!("{}}}", head.get(..indent).unwrap_or_default());
    let mut block = vec![head];
    for line in lines {
        block.push(line);
        if line == close {
            return Ok(block);
        }
    }
    Err(cannot(format!("{}:{}: the end of the entry is not on a line of its own", entries::GRUB_CFG, entry.line)))
}

struct Draft<'a> {
    wish: &'a Wish,
    trial: &'a TrialEntry,
    started: &'a BootEntry,
    image: &'a str,
}

impl Draft<'_> {
    fn rewrite(&self, block: &[&str]) -> Result<String, Refusal> {
        let (Some(head), Some(indent)) = (block.first(), block.last().map(|close| close.len().saturating_sub(1))) else {
            return Err(cannot("its entry is empty"));
        };
        let unrestricted = if head.split_whitespace().any(|word| word == "--unrestricted") { " --unrestricted" } else { "" };
        let mut text = format!("{HEAD}menuentry '{}'{unrestricted} --id '{ENTRY}' {{\n", self.trial.title);
        for line in block.get(1..).unwrap_or_default() {
            let line = line.get(indent..).unwrap_or_else(|| line.trim_start());
            let command = line.split_whitespace().next().unwrap_or_default();
            let line = match command {
                // Chosen by hand, it would become the default (GRUB_SAVEDEFAULT).
                "savedefault" => continue,
                _ if command.starts_with("linux") => self.linux(line)?,
                _ if command.starts_with("initrd") => self.initrd(line),
                _ => line.to_owned(),
            };
            text.push_str(&line);
            text.push('\n');
        }
        Ok(text)
    }

    /// The words wished are taken out and put in as they stand in the menu; those behind `--` are for init.
    fn linux(&self, line: &str) -> Result<String, Refusal> {
        let edits = self.wish.edits(&self.started.words);
        let mut line = line.trim_end().to_owned();
        let single = edits.remove.iter().map(|word| (word, "")).chain(edits.replace.iter().map(|(old, new)| (old, new.as_str())));
        for (word, new) in single {
            let at = cmdline::tokens(line.as_bytes()).into_iter().rev().find(|span| line.get(span.clone()) == Some(word));
            let at = at.ok_or_else(|| cannot(format!("`{word}` is not written plainly in the entry `{}`", self.started.title)))?;
            // The blank before a word goes with it.
            let start = if new.is_empty() { at.start.saturating_sub(1) } else { at.start };
            line.replace_range(start..at.end, new);
        }
        let added: String = edits.add.iter().chain(&self.trial.words).map(|word| format!(" {word}")).collect();
        let end = cmdline::tokens(line.as_bytes()).into_iter().find(|span| line.get(span.clone()) == Some("--"));
        line.insert_str(end.map_or(line.len(), |span| span.start.saturating_sub(1)), &added);
        Ok(line)
    }

    fn initrd(&self, line: &str) -> String {
        let directory = self.image.rsplit_once('/').map_or("", |(directory, _)| directory);
        let mut own = format!("{directory}/{IMAGE}");
        if self.trial.settings {
            own.push_str(&format!(" {directory}/{SETTINGS}"));
        }
        let mut out = line.trim_end().to_owned();
        if let Some(at) = cmdline::tokens(line.as_bytes()).into_iter().rev().find(|span| line.get(span.clone()) == Some(self.image)) {
            out.replace_range(at, &own);
        }
        out
    }

    /// The entry, read again, must be the default one with what was wished, and with nothing else.
    fn check(&self, text: &str) -> Result<(), Refusal> {
        let cfg = grub_cfg::parse(text.as_bytes());
        let lossy = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let [entry] = cfg.entries.as_slice() else { return Err(cannot("its text is not as expected")) };
        let [linux] = entry.linux.as_slice() else { return Err(cannot("its text is not as expected")) };
        let words: Vec<String> = linux.words.iter().map(lossy).collect();
        let edits = self.wish.edits(&self.started.words);
        let mut expected: Vec<String> = self.started.words.iter().filter(|word| !edits.remove.contains(word)).cloned().collect();
        for word in &mut expected {
            if let Some((_, new)) = edits.replace.iter().find(|(old, _)| old == word) {
                word.clone_from(new);
            }
        }
        let end = expected.iter().position(|word| word == "--").unwrap_or(expected.len());
        expected.splice(end..end, edits.add.iter().chain(&self.trial.words).cloned());
        let loads: Vec<String> = entry.initrd.iter().map(lossy).collect();
        let own = loads.iter().any(|path| path.ends_with(IMAGE)) && !loads.iter().any(|path| path == self.image);
        let kernel = Some(&lossy(&linux.kernel)) == self.started.files.first();
        let id = entry.name.id.as_deref() == Some(ENTRY.as_bytes());
        if words == expected && own && kernel && id {
            Ok(())
        } else {
            Err(cannot(format!("the entry `{}` is written in a way that cannot be copied safely", self.started.title)))
        }
    }
}
