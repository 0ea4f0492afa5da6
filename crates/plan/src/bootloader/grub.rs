//! GRUB as `grub-mkconfig` sets it up: `/etc/default/grub`, on the Debian family also `/etc/default/grub.d/*.cfg` (util/grub-mkconfig.in and
//! Debian's patch of it). Parameters go into `GRUB_CMDLINE_LINUX_DEFAULT`, so that recovery entries stay without them.

use super::{BootEntry, Bootloader, ConfiguredWord, Detection, LoaderChange, entries};
use crate::edit::cmdline;
use crate::edit::shell::{Dialect, Environment, Evaluation, Shells, Sourcing, words};
use crate::parameter::Wish;
use crate::plan::{Refusal, Step};
use cede_model::{Evidence, Host};

/// GRUB with a generated menu.
pub struct Grub;

const MAIN: &str = "/etc/default/grub";
const DROP_INS: &str = "/etc/default/grub.d";
const OWN: &str = "/etc/default/grub.d/95-cede.cfg";
const DEFAULT: &str = "GRUB_CMDLINE_LINUX_DEFAULT";
/// What normal entries get, in this order (util/grub.d/10_linux.in).
const VARIABLES: [&str; 2] = ["GRUB_CMDLINE_LINUX", DEFAULT];
const MKCONFIG: [&str; 2] = ["/usr/sbin/grub-mkconfig", "/usr/bin/grub-mkconfig"];
const UPDATE_GRUB: &str = "/usr/sbin/update-grub";

const OWN_HEAD: &str = "# Written by cede to give PCI devices to guests; `cede undo` removes it.\n";

impl Bootloader for Grub {
    fn name(&self) -> &'static str {
        "GRUB"
    }

    fn detect(&self, host: &Host) -> Detection {
        let Some(path) = [MAIN, entries::GRUB_CFG].into_iter().find(|path| host.capture.exists(path)) else { return Detection::No };
        let words = crate::iommu_cause::running_words(host);
        match words.iter().find(|word| word.starts_with("BOOT_IMAGE=")) {
            Some(word) => Detection::InUse(Evidence::new("/proc/cmdline", word.as_str())),
            None => Detection::Installed(Evidence::new(path, "exists")),
        }
    }

    fn configured(&self, host: &Host) -> Vec<ConfiguredWord> {
        let files = Files::read(host);
        let placed = files.words().unwrap_or_default();
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
        let mut files = Files::read(host);
        let before = files.list.clone();
        files.apply(wish)?;
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
fn uses_drop_ins(host: &Host) -> bool {
    let script = MKCONFIG.iter().find_map(|path| host.capture.file(path));
    let names_them = |script: &[u8]| String::from_utf8_lossy(script).contains("default/grub.d");
    script.map_or_else(|| host.capture.exists(DROP_INS), names_them)
}

/// `/bin/sh` runs grub-mkconfig; shells differ in what they accept.
fn shells(host: &Host) -> Shells {
    match ["/bin/sh", "/usr/bin/sh"].iter().find_map(|path| host.capture.link(path)) {
        Some(target) if target.ends_with("bash") => Shells::Bash,
        Some(target) if target.ends_with("dash") => Shells::Dash,
        _ => Shells::Either,
    }
}

/// The sourced files, in their order.
struct Files {
    list: Vec<SourcedFile>,
    drop_ins: bool,
    shells: Shells,
}

#[derive(Clone)]
struct SourcedFile {
    path: String,
    bytes: Option<Vec<u8>>,
}

/// One word of the next boot's command line and where it stands.
struct PlacedWord {
    text: String,
    variable: &'static str,
    file: usize,
    line: Option<u32>,
}

impl Files {
    fn read(host: &Host) -> Self {
        let file = |path: String| SourcedFile { bytes: host.capture.file(&path).map(<[u8]>::to_vec), path };
        let drop_ins = uses_drop_ins(host);
        let mut list = vec![file(MAIN.to_owned())];
        if drop_ins {
            let names = host.capture.names_in(DROP_INS).filter(|name| name.ends_with(".cfg"));
            list.extend(names.map(|name| file(format!("{DROP_INS}/{name}"))));
        }
        Self { list, drop_ins, shells: shells(host) }
    }

    fn path(&self, file: usize) -> Option<&str> {
        self.list.get(file).map(|file| file.path.as_str())
    }

    fn bytes(&self) -> Vec<&[u8]> {
        self.list.iter().map(|file| file.bytes.as_deref().unwrap_or_default()).collect()
    }

    /// The words of both variables; the reason where a value cannot be told, or differs between the shells that may read it.
    fn words(&self) -> Result<Vec<PlacedWord>, String> {
        let mut words = Vec::new();
        for variable in VARIABLES {
            words.extend(self.words_of(variable)?);
        }
        Ok(words)
    }

    fn words_of(&self, variable: &'static str) -> Result<Vec<PlacedWord>, String> {
        let mut answers = self.shells.dialects().iter().map(|dialect| self.evaluate(*dialect, variable));
        let first = answers.next().unwrap_or_else(|| Ok(Vec::new()))?;
        for other in answers {
            let texts = |list: &[PlacedWord]| list.iter().map(|word| word.text.clone()).collect::<Vec<_>>();
            if texts(&other?) != texts(&first) {
                return Err(format!("{variable} is another value in dash than in bash: write it without `+=`"));
            }
        }
        Ok(first)
    }

    fn evaluate(&self, dialect: Dialect, variable: &'static str) -> Result<Vec<PlacedWord>, String> {
        let text = match Environment::source(&self.bytes(), Sourcing::Each, dialect).get(variable) {
            Evaluation::Unset => return Ok(Vec::new()),
            Evaluation::Scalar(text) => text,
            Evaluation::Array(_) => return Err(format!("{variable} is an array")),
            Evaluation::Unknown(unknown) => {
                return Err(format!("{}, line {}: {variable}: {}", self.path(unknown.file).unwrap_or(MAIN), unknown.line, unknown.why));
            }
        };
        let value = text.bytes().unwrap_or_default();
        let place = |span: &std::ops::Range<usize>| {
            let origin = text.origins(span).and_then(|list| list.into_iter().next());
            let word = value.get(span.clone()).unwrap_or_default();
            PlacedWord {
                text: String::from_utf8_lossy(word).into_owned(),
                variable,
                file: origin.as_ref().map_or(usize::MAX, |origin| origin.file),
                line: origin.and_then(|origin| u32::try_from(origin.line).ok()),
            }
        };
        Ok(cmdline::tokens(&value).iter().map(place).collect())
    }

    /// Changes the files so that the words are as wished, and checks that they are.
    fn apply(&mut self, wish: &Wish) -> Result<(), Refusal> {
        let words = self.words();
        let only_adds = wish.drop_off.is_empty();
        let texts: Vec<String> = match &words {
            Ok(words) => words.iter().map(|word| word.text.clone()).collect(),
            // Adding at the end is safe even where the value before it is computed; the effect is proved in the generated menu.
            Err(_) if only_adds && !self.mentions_ids() => Vec::new(),
            Err(why) => return Err(cannot(why.clone())),
        };
        let edits = wish.edits(&texts);
        for word in &edits.remove {
            self.edit(&words, word, |bytes, variable, shells| words::remove_word(bytes, variable, word, shells))?;
        }
        for (old, new) in &edits.replace {
            self.edit(&words, old, |bytes, variable, shells| words::replace_word(bytes, variable, old, new, shells))?;
        }
        self.add(&edits.add)?;
        self.check(wish, words.is_ok())
    }

    fn mentions_ids(&self) -> bool {
        self.bytes().iter().any(|bytes| String::from_utf8_lossy(bytes).replace('-', "_").contains(crate::parameter::VFIO_IDS))
    }

    fn edit(
        &mut self,
        words: &Result<Vec<PlacedWord>, String>,
        word: &str,
        change: impl Fn(&[u8], &str, Shells) -> Result<Vec<u8>, crate::edit::shell::CannotEdit>,
    ) -> Result<(), Refusal> {
        let placed = words.iter().flatten().rev().find(|placed| placed.text == word);
        let shells = self.shells;
        let Some((placed, file)) = placed.and_then(|placed| Some((placed, self.list.get_mut(placed.file)?))) else {
            return Err(cannot(format!("`{word}` is put together from several places; write it out in {MAIN}")));
        };
        let bytes = change(file.bytes.as_deref().unwrap_or_default(), placed.variable, shells)
            .map_err(|error| cannot(format!("{}: {error}", file.path)))?;
        file.bytes = Some(bytes);
        Ok(())
    }

    fn add(&mut self, added: &[String]) -> Result<(), Refusal> {
        if added.is_empty() {
            return Ok(());
        }
        let added: Vec<&str> = added.iter().map(String::as_str).collect();
        let path = if self.drop_ins { self.own_path() } else { MAIN.to_owned() };
        let shells = self.shells;
        let at = self.list.iter().position(|file| file.path == path).unwrap_or_else(|| self.insert(path.clone()));
        let Some(file) = self.list.get_mut(at) else { return Ok(()) };
        let bytes = match (&file.bytes, path == MAIN) {
            (None, false) => format!("{OWN_HEAD}{DEFAULT}=\"${DEFAULT} {}\"\n", added.join(" ")).into_bytes(),
            (bytes, _) => words::append_words(bytes.as_deref().unwrap_or_default(), DEFAULT, &added, shells)
                .map_err(|error| cannot(format!("{path}: {error}")))?,
        };
        file.bytes = Some(bytes);
        Ok(())
    }

    /// Files are sourced in the order of their names; ours must come after any that sets the variable anew.
    fn own_path(&self) -> String {
        let later = self
            .list
            .iter()
            .filter(|file| file.path.as_str() > OWN)
            .any(|file| String::from_utf8_lossy(file.bytes.as_deref().unwrap_or_default()).contains(DEFAULT));
        if later { format!("{DROP_INS}/zz-cede.cfg") } else { OWN.to_owned() }
    }

    fn insert(&mut self, path: String) -> usize {
        let at = self.list.iter().skip(1).position(|file| file.path > path).map_or(self.list.len(), |at| at + 1);
        self.list.insert(at, SourcedFile { path, bytes: None });
        at
    }

    /// The edited files, read again, must give what was wished.
    fn check(&self, wish: &Wish, was_known: bool) -> Result<(), Refusal> {
        match self.words() {
            Ok(words) if wish.edits(&words.iter().map(|word| word.text.clone()).collect::<Vec<_>>()).is_empty() => Ok(()),
            Ok(_) => Err(cannot(format!(
                "what is written after {} would take the parameters away again",
                self.list.last().map_or(MAIN, |file| file.path.as_str())
            ))),
            Err(_) if !was_known => Ok(()),
            Err(why) => Err(cannot(why)),
        }
    }
}

fn cannot(why: impl std::fmt::Display) -> Refusal {
    Refusal::new("grub-not-editable", format!("GRUB's settings cannot be changed safely: {why}"))
}
