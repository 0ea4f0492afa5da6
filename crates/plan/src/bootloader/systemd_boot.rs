//! systemd-boot with Type #1 entries (boot loader specification): `options` lines, which reach the kernel as they are written.
//! Fallback and rescue entries are left alone. `/etc/kernel/cmdline`, from which kernel-install makes future entries, is kept in step.

use super::{BootEntry, Bootloader, ConfiguredWord, Detection, LoaderChange, TrialChange, TrialEntry, entries, systemd_trial};
use crate::edit::cmdline::CommandLine;
use crate::parameter::{Wish, WordEdits};
use crate::plan::{Refusal, Step};
use crate::unread;
use cede_model::boot::loader_entry::LoaderEntry;
use cede_model::{Evidence, Host};

/// systemd-boot.
pub struct SystemdBoot;

pub(super) const NAME: &str = "systemd-boot";
const KERNEL_CMDLINE: &str = "/etc/kernel/cmdline";
/// The parameter that kernel-install adds by itself.
const MACHINE_ID: &[u8] = b"systemd.machine_id=";
pub(super) const LOADER_INFO: &str = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
pub(super) const STUB_INFO: &str = "/sys/firmware/efi/efivars/StubInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

impl Bootloader for SystemdBoot {
    fn name(&self) -> &'static str {
        NAME
    }

    fn keeps(&self, path: &str) -> bool {
        entries::partition_of(path).is_some()
    }

    fn detect(&self, host: &Host, at_work: Option<&Evidence>) -> Detection {
        match entries::type1_paths(host).into_iter().next() {
            Some(path) => Detection::of(Evidence::new(path, "exists"), at_work),
            None => Detection::No,
        }
    }

    fn configured(&self, host: &Host) -> Vec<ConfiguredWord> {
        let mut words: Vec<ConfiguredWord> = Vec::new();
        for word in self.lines(host).into_iter().flatten() {
            if !words.iter().any(|other| other.text == word.text) {
                words.push(word);
            }
        }
        words
    }

    fn lines(&self, host: &Host) -> Vec<Vec<ConfiguredWord>> {
        let word = |entry: &BootEntry, text: &String| {
            let source = Evidence::at_line(entry.path.as_str(), entry.line, text.as_str());
            ConfiguredWord { text: text.clone(), source: Some(source) }
        };
        let normal = entries::type1(host).into_iter().filter(|entry| !entry.rescue);
        normal.map(|entry| entry.words.iter().map(|text| word(&entry, text)).collect()).collect()
    }

    fn entries(&self, host: &Host) -> Vec<BootEntry> {
        entries::type1(host)
    }

    fn change(&self, host: &Host, wish: &Wish) -> Result<LoaderChange, Refusal> {
        let unread = entries::PARTITIONS.iter().find_map(|at| unread::trouble_in(&host.capture, &format!("{at}/loader/entries"), ".conf"));
        if let Some(why) = unread.or_else(|| unread::trouble(&host.capture, KERNEL_CMDLINE)) {
            return Err(Refusal::new("boot-entry-not-readable", format!("the boot entries cannot be changed safely: {why}")));
        }
        let normal: Vec<BootEntry> = entries::type1(host).into_iter().filter(|entry| !entry.rescue).collect();
        if normal.is_empty() {
            return Err(Refusal::new(
                "no-boot-entry",
                "no entry below loader/entries starts this Linux (entries with another machine-id or root= are those of other systems): `bootctl list` shows what there is",
            ));
        }
        let mut change = LoaderChange::default();
        for entry in &normal {
            let bytes = host.capture.file(&entry.path).unwrap_or_default();
            let after = edit_entry(bytes, wish).map_err(|why| cannot(&entry.path, &why))?;
            change.rests_on.push(entry.path.clone());
            push(&mut change, &entry.path, bytes, after);
        }
        if let Some(bytes) = host.capture.file(KERNEL_CMDLINE) {
            let after = edit_kernel_cmdline(bytes, wish).map_err(|why| cannot(KERNEL_CMDLINE, &why))?;
            change.rests_on.push(KERNEL_CMDLINE.to_owned());
            push(&mut change, KERNEL_CMDLINE, bytes, after);
        }
        Ok(change)
    }

    fn trial(&self, host: &Host, wish: &Wish, trial: &TrialEntry) -> Result<TrialChange, Refusal> {
        systemd_trial::trial(host, wish, trial)
    }
}

fn push(change: &mut LoaderChange, path: &str, before: &[u8], after: Vec<u8>) {
    if before != after {
        change.files.push(Step::ReplaceFile { path: path.to_owned(), before: Some(before.to_vec()), after: Some(after) });
    }
}

pub(super) fn cannot(path: &str, why: &str) -> Refusal {
    Refusal::new("boot-entry-not-editable", format!("{path} cannot be changed safely: {why}; correct it with an editor"))
}

/// One attribute of an EFI variable: four bytes of flags, then UTF-16.
pub(super) fn utf16(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes
        .get(4..)
        .unwrap_or_default()
        .chunks_exact(2)
        .filter_map(|pair| Some(u16::from_le_bytes([*pair.first()?, *pair.get(1)?])))
        .collect();
    String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned()
}

pub(super) fn words_of(bytes: &[u8]) -> Vec<String> {
    let line = CommandLine::parse(bytes);
    line.params().iter().map(|param| String::from_utf8_lossy(line.text(&param.span)).into_owned()).collect()
}

/// Edits the `options` lines of an entry; words are added to the last of them.
pub(super) fn edit_entry(bytes: &[u8], wish: &Wish) -> Result<Vec<u8>, String> {
    if bytes.contains(&0) {
        return Err("it holds a NUL byte".to_owned());
    }
    let edits = wish.edits(&words_of(&LoaderEntry::parse(bytes).options().unwrap_or_default()));
    let mut out = bytes.to_vec();
    for change in single_edits(&edits) {
        out = edit_options_line(&out, &change)?;
    }
    if !edits.add.is_empty() {
        out = add_options(&out, &edits.add)?;
    }
    let left = wish.edits(&words_of(&LoaderEntry::parse(&out).options().unwrap_or_default()));
    if left.is_empty() { Ok(out) } else { Err("a word stands there more than once".to_owned()) }
}

/// A word to take out (no successor) or to replace.
fn single_edits(edits: &WordEdits) -> Vec<(String, Option<String>)> {
    let removed = edits.remove.iter().map(|word| (word.clone(), None));
    removed.chain(edits.replace.iter().map(|(old, new)| (old.clone(), Some(new.clone())))).collect()
}

fn edit_options_line(bytes: &[u8], (word, new): &(String, Option<String>)) -> Result<Vec<u8>, String> {
    let entry = LoaderEntry::parse(bytes);
    for value in entry.values("options").rev() {
        if let Some(after) = edit_line(value.bytes, word, new.as_deref()) {
            return Ok(splice(bytes, value.range(), &after));
        }
    }
    Err(format!("`{word}` was not found in an options line"))
}

/// The line with the last occurrence of the word changed; `None` where it does not hold the word.
fn edit_line(line: &[u8], word: &str, new: Option<&str>) -> Option<Vec<u8>> {
    let parsed = CommandLine::parse(line);
    let param = parsed.params().iter().rev().find(|param| parsed.text(&param.span) == word.as_bytes())?;
    Some(match new {
        Some(new) => parsed.with_replaced(param, new),
        None => parsed.without(param),
    })
}

pub(super) fn add_options(bytes: &[u8], added: &[String]) -> Result<Vec<u8>, String> {
    let added: Vec<&str> = added.iter().map(String::as_str).collect();
    let entry = LoaderEntry::parse(bytes);
    // The lines are one command line, and what comes after ` -- ` on any of them is init's.
    let with_init = entry.values("options").find(|value| CommandLine::parse(value.bytes).init().is_some());
    let Some(value) = with_init.or_else(|| entry.values("options").last()) else {
        let mut out = bytes.to_vec();
        if out.last().is_some_and(|last| *last != b'\n') {
            out.push(b'\n');
        }
        out.extend_from_slice(format!("options {}\n", added.join(" ")).as_bytes());
        return Ok(out);
    };
    let line = CommandLine::parse(value.bytes);
    // kernel-install writes this word behind those of /etc/kernel/cmdline (systemd: 90-loaderentry.install); so would it the next time.
    let last = line.params().last().map(|param| (param, line.text(&param.span))).filter(|(_, text)| text.starts_with(MACHINE_ID));
    let after = match last {
        Some((param, text)) => {
            let text = String::from_utf8_lossy(text).into_owned();
            let words: Vec<&str> = added.iter().copied().chain([text.as_str()]).collect();
            CommandLine::parse(&line.without(param)).with_words(&words)
        }
        None => line.with_words(&added),
    };
    Ok(splice(bytes, value.range(), &after.ok_or("a quote is not closed")?))
}

pub(super) fn splice(bytes: &[u8], range: std::ops::Range<usize>, new: &[u8]) -> Vec<u8> {
    let head = bytes.get(..range.start).unwrap_or_default();
    let tail = bytes.get(range.end..).unwrap_or_default();
    [head, new, tail].concat()
}

/// `/etc/kernel/cmdline`: several lines are one command line, lines starting with `#` are none (systemd: 90-loaderentry.install).
fn edit_kernel_cmdline(bytes: &[u8], wish: &Wish) -> Result<Vec<u8>, String> {
    let is_text = |line: &&[u8]| !line.trim_ascii().is_empty() && !line.trim_ascii_start().starts_with(b"#");
    let words: Vec<String> = bytes.split(|b| *b == b'\n').filter(is_text).flat_map(words_of).collect();
    let edits = wish.edits(&words);
    let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    for (word, new) in single_edits(&edits) {
        let edited = lines
            .iter_mut()
            .rev()
            .filter(|line| is_text(&line.as_slice()))
            .find_map(|line| Some((edit_line(line, &word, new.as_deref())?, line)));
        let (after, line) = edited.ok_or_else(|| format!("`{word}` was not found"))?;
        *line = after;
    }
    if !edits.add.is_empty() {
        let added: Vec<&str> = edits.add.iter().map(String::as_str).collect();
        let at = |wanted: &dyn Fn(&[u8]) -> bool| lines.iter().rposition(|line| is_text(&line.as_slice()) && wanted(line));
        let at = at(&|line| CommandLine::parse(line).init().is_some()).or_else(|| at(&|_| true));
        match at.and_then(|at| lines.get_mut(at)) {
            Some(line) => *line = CommandLine::parse(line).with_words(&added).ok_or("a quote is not closed")?,
            None => lines.insert(lines.len().saturating_sub(1), added.join(" ").into_bytes()),
        }
    }
    Ok(lines.join(&b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameter::Switch;

    fn wish() -> Wish {
        Wish { ids: vec!["10de:1f91".into()], add: Some("intel_iommu=on"), drop_off: vec![Switch { name: "intel_iommu", item: "off" }] }
    }

    #[test]
    fn entries_keep_every_other_byte() {
        let cases: [(&[u8], &[u8]); 11] = [
            (
                b"title Arch\nlinux /vmlinuz\noptions root=UUID=1 rw\n",
                b"title Arch\nlinux /vmlinuz\noptions root=UUID=1 rw intel_iommu=on vfio-pci.ids=10de:1f91\n",
            ),
            (b"options\troot=1  quiet\n# end", b"options\troot=1  quiet intel_iommu=on vfio-pci.ids=10de:1f91\n# end"),
            (b"options root=1\noptions intel_iommu=off quiet", b"options root=1\noptions quiet intel_iommu=on vfio-pci.ids=10de:1f91"),
            (b"options vfio-pci.ids=1b21:2142 rw\n", b"options vfio-pci.ids=1b21:2142,10de:1f91 rw intel_iommu=on\n"),
            (
                b"options    root=1 quiet systemd.machine_id=5e0f\nlinux /v\n",
                b"options    root=1 quiet intel_iommu=on vfio-pci.ids=10de:1f91 systemd.machine_id=5e0f\nlinux /v\n",
            ),
            (b"options root=1 -- 3\noptions rw\n", b"options root=1 intel_iommu=on vfio-pci.ids=10de:1f91 -- 3\noptions rw\n"),
            (b"options \"root=1 rw\"\n", b"options \"root=1 rw intel_iommu=on vfio-pci.ids=10de:1f91\"\n"),
            (b"options 'intel_iommu=off rw' \n", b"options 'rw intel_iommu=on vfio-pci.ids=10de:1f91' \n"),
            (b"options \"\"\n", b"options \"intel_iommu=on vfio-pci.ids=10de:1f91\"\n"),
            (b"linux /v", b"linux /v\noptions intel_iommu=on vfio-pci.ids=10de:1f91\n"),
            (b"options a\r\nlinux /v\r\n", b"options a intel_iommu=on vfio-pci.ids=10de:1f91\r\nlinux /v\r\n"),
        ];
        for (before, after) in cases {
            let got = edit_entry(before, &wish()).unwrap();
            assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(after));
            assert_eq!(edit_entry(&got, &wish()).unwrap(), got);
        }
    }

    #[test]
    fn the_template_of_future_entries_keeps_its_comments() {
        let got = edit_kernel_cmdline(b"# mine\nroot=1 rw\nquiet intel_iommu=off\n", &wish()).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), "# mine\nroot=1 rw\nquiet intel_iommu=on vfio-pci.ids=10de:1f91\n");
        let got = edit_kernel_cmdline(b"root=1 -- 3\nquiet\n", &wish()).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), "root=1 intel_iommu=on vfio-pci.ids=10de:1f91 -- 3\nquiet\n");
        let got = edit_kernel_cmdline(b"# nothing\n", &wish()).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), "# nothing\nintel_iommu=on vfio-pci.ids=10de:1f91\n");
        assert_eq!(edit_kernel_cmdline(b"", &wish()).unwrap(), b"intel_iommu=on vfio-pci.ids=10de:1f91\n");
    }
}
