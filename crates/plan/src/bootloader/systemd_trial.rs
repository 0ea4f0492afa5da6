//! A trial with systemd-boot: an entry file of our own, chosen once by the EFI variable `LoaderEntryOneShot`. Boot counting would add nothing: the
//! entry is never the default, and the loader would rename the file while undo looks for it.

use super::systemd_boot::{LOADER_INFO, add_options, cannot, edit_entry, splice, utf16, words_of};
use super::{BootEntry, TrialChange, TrialEntry, entries};
use crate::parameter::Wish;
use crate::plan::{Refusal, Step};
use crate::trial::{ENTRY_FILE, IMAGE, SETTINGS, once};
use crate::unread;
use cede_model::Host;
use cede_model::boot::loader_entry::{Content, LoaderEntry};

/// The entry of this start, and the pattern of the default one (systemd: Boot Loader Interface).
const SELECTED: &str = "/sys/firmware/efi/efivars/LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
const DEFAULT: &str = "/sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

pub(super) fn trial(host: &Host, wish: &Wish, trial: &TrialEntry) -> Result<TrialChange, Refusal> {
    let started = base(host)?;
    let (directory, name) = started.path.rsplit_once('/').unwrap_or(("", &started.path));
    let partition = directory.strip_suffix("/loader/entries").unwrap_or_default();
    never_default(host, partition, name)?;
    let once = if trial.by_hand { None } else { Some(choose_once(host)?) };
    let path = format!("{directory}/{ENTRY_FILE}");
    if let Some(why) = host
        .capture
        .is_there(&path)
        .then(|| format!("{path} is there already; move it away"))
        .or_else(|| unread::trouble(&host.capture, &path))
    {
        return Err(Refusal::new("trial-no-entry", why));
    }
    let image = started.files.iter().skip(1).rfind(|file| !file.contains("ucode"));
    let image = image.ok_or_else(|| Refusal::new("trial-no-entry", format!("{} loads no initramfs", started.path)))?;
    let (inside, base) = image.rsplit_once('/').unwrap_or(("", image));
    let bytes = host.capture.file(&started.path).unwrap_or_default();
    let own = rewrite(bytes, wish, trial, image).map_err(|why| cannot(&started.path, &why))?;
    Ok(TrialChange {
        entry: Step::ReplaceFile { path, before: None, after: Some(own) },
        check: None,
        once,
        base: base.to_owned(),
        directory: format!("{partition}{}{inside}", if inside.is_empty() || inside.starts_with('/') { "" } else { "/" }),
        rests_on: vec![started.path.clone()],
    })
}

/// The entry that ours is made from: the one that started the running system, else the first.
fn base(host: &Host) -> Result<BootEntry, Refusal> {
    let selected = host.capture.file(SELECTED).map(utf16).unwrap_or_default();
    let normal: Vec<BootEntry> = entries::type1(host).into_iter().filter(|entry| !entry.rescue).collect();
    let name = |entry: &&BootEntry| without_counter(entry.path.rsplit('/').next().unwrap_or_default()).eq_ignore_ascii_case(&selected);
    let found = normal.iter().find(name).or(normal.first());
    found.cloned().ok_or_else(|| {
        Refusal::new("trial-no-entry", "no entry below loader/entries starts this Linux: `bootctl list` shows what there is")
    })
}

/// The id of an entry is the name of its file without boot counters (boot loader specification, `+LEFT-DONE`).
fn without_counter(name: &str) -> String {
    let stem = name.strip_suffix(".conf").unwrap_or(name);
    let counter = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let stem = stem.rsplit_once('+').filter(|(_, tail)| counter(tail)).map_or(stem, |(stem, _)| stem);
    format!("{stem}.conf")
}

/// Without a default that is named, systemd-boot starts the entry that sorts first. Ours sorts behind the one it is made from: it has no
/// sort-key, and the least id. A pattern must not match ours alone.
fn never_default(host: &Host, partition: &str, base: &str) -> Result<(), Refusal> {
    if !base.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Err(Refusal::new(
            "trial-default",
            format!("the entry {base} might sort behind that of a trial, which would become the default: rename it"),
        ));
    }
    let conf = host.capture.file(&format!("{partition}/loader/loader.conf")).unwrap_or_default();
    let patterns =
        LoaderEntry::parse(conf).values("default").map(|value| String::from_utf8_lossy(value.bytes).into_owned()).collect::<Vec<_>>();
    for pattern in patterns.into_iter().chain(host.capture.file(DEFAULT).map(utf16)) {
        let pattern = pattern.to_lowercase();
        if matches(&pattern, ENTRY_FILE) && !matches(&pattern, &without_counter(base).to_lowercase()) {
            return Err(Refusal::new(
                "trial-default",
                format!("the default of systemd-boot (`{pattern}`) would match the entry of a trial: name the default in full"),
            ));
        }
    }
    Ok(())
}

/// `*`, `?` and `[…]`, of which the last is taken to match anything (systemd: src/boot/efi/efi-string.c `efi_fnmatch`).
fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| matches(rest.as_str(), name.get(at..).unwrap_or_default()))
        }
        Some('[') => {
            let after = rest.as_str().split_once(']').map_or("", |(_, after)| after);
            !name.is_empty() && matches(after, name.get(1..).unwrap_or_default())
        }
        Some(first) => {
            let mut chars = name.chars();
            chars.next().is_some_and(|char| first == '?' || first == char) && matches(rest.as_str(), chars.as_str())
        }
    }
}

fn choose_once(host: &Host) -> Result<Step, Refusal> {
    if !host.capture.file(LOADER_INFO).map(utf16).unwrap_or_default().starts_with("systemd-boot") {
        return Err(Refusal::new(
            "trial-not-once",
            "this start did not come from systemd-boot (EFI variable LoaderInfo), so an entry cannot be chosen for one start; with --by-hand cede adds the entry, and you choose it in the menu",
        ));
    }
    once::by_variable(host)
}

/// The entry with what is wished, our images, and nothing by which it could sort before others.
fn rewrite(bytes: &[u8], wish: &Wish, trial: &TrialEntry, image: &str) -> Result<Vec<u8>, String> {
    let mut out = add_options(&edit_entry(bytes, wish)?, &trial.words)?;
    for key in ["title", "version", "sort-key"] {
        out = without_lines(&out, key);
    }
    let entry = LoaderEntry::parse(&out);
    let initrd = entry.values("initrd").rfind(|value| value.bytes == image.as_bytes()).ok_or("its initrd was not found")?;
    let directory = image.rsplit_once('/').map_or("", |(directory, _)| directory);
    let line_end = entry.lines().iter().find(|line| line.number == initrd.line).map_or(out.len(), |line| line.ending.start);
    let settings = if trial.settings { format!("\ninitrd {directory}/{SETTINGS}") } else { String::new() };
    let with_settings = splice(&out, line_end..line_end, settings.as_bytes());
    let out = splice(&with_settings, initrd.range(), format!("{directory}/{IMAGE}").as_bytes());
    let out = [format!("title {}\n", trial.title).as_bytes(), &out].concat();
    check(bytes, &out, wish, trial)?;
    Ok(out)
}

fn without_lines(bytes: &[u8], key: &str) -> Vec<u8> {
    let entry = LoaderEntry::parse(bytes);
    let is_key = |range: &std::ops::Range<usize>| bytes.get(range.clone()) == Some(key.as_bytes());
    let kept = entry.lines().iter().filter(|line| match &line.content {
        Content::Field { key, .. } | Content::KeyOnly { key } => !is_key(key),
        Content::Blank | Content::Comment => true,
    });
    kept.filter_map(|line| bytes.get(line.range.clone())).collect::<Vec<_>>().concat()
}

/// The entry, read again, must start the same kernel with the same words and those wished.
fn check(before: &[u8], after: &[u8], wish: &Wish, trial: &TrialEntry) -> Result<(), String> {
    let (old, new) = (LoaderEntry::parse(before), LoaderEntry::parse(after));
    let words = |entry: &LoaderEntry<'_>| words_of(&entry.options().unwrap_or_default());
    let (was, is) = (words(&old), words(&new));
    let edits = wish.edits(&was);
    let kept = was.iter().filter(|word| !edits.remove.contains(word) && !edits.replace.iter().any(|(from, _)| from == *word));
    let same_kernel = ["linux", "efi"].iter().all(|key| old.value(key).map(|value| value.bytes) == new.value(key).map(|value| value.bytes));
    let all = kept.chain(&trial.words).all(|word| is.contains(word)) && wish.edits(&is).is_empty();
    if same_kernel && all { Ok(()) } else { Err("its words could not be copied safely".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_copied_with_its_words_and_without_its_order() {
        let base = b"title Debian\nsort-key debian\nversion 6.1\nlinux /id/6.1/linux\ninitrd /intel-ucode.img\ninitrd /id/6.1/initrd.img-6.1\noptions root=UUID=1 ro intel_iommu=off\n";
        let wish = Wish {
            ids: vec!["10de:1f91".into()],
            drop_off: vec![crate::parameter::Switch { name: "intel_iommu", item: "off" }],
            ..Wish::default()
        };
        let trial = TrialEntry { title: "cede trial 3".into(), words: vec!["cede.trial=3".into()], settings: true, by_hand: false };
        let own = rewrite(base, &wish, &trial, "/id/6.1/initrd.img-6.1").unwrap();
        assert_eq!(
            String::from_utf8_lossy(&own),
            "title cede trial 3\nlinux /id/6.1/linux\ninitrd /intel-ucode.img\ninitrd /id/6.1/cede-trial.img\ninitrd /id/6.1/cede-trial-modprobe.img\noptions root=UUID=1 ro vfio-pci.ids=10de:1f91 cede.trial=3\n"
        );
    }

    #[test]
    fn counters_are_no_part_of_an_id() {
        for (name, id) in [
            ("arch.conf", "arch.conf"),
            ("a+3.conf", "a.conf"),
            ("a+0-3.conf", "a.conf"),
            ("c++.conf", "c++.conf"),
            ("a+b.conf", "a+b.conf"),
        ] {
            assert_eq!(without_counter(name), id);
        }
    }

    #[test]
    fn patterns_match_as_the_loader_does() {
        for (pattern, name, expected) in [
            ("*", "-cede-trial.conf", true),
            ("arch*", "-cede-trial.conf", false),
            ("?cede*", "-cede-trial.conf", true),
            ("[a-]cede-trial.conf", "-cede-trial.conf", true),
            ("arch.conf", "arch.conf", true),
            ("arch-*.conf", "arch.conf", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
