//! The files that `grub-mkconfig` sources: what they say together, and edits of single words that are proved on all of them.

use super::grub::{DROP_INS, MAIN, MKCONFIG, cannot, shells, uses_drop_ins};
use crate::edit::cmdline;
use crate::edit::shell::{CommandKind, Dialect, Environment, Evaluation, Shells, Sourcing, Span, Why, evaluate, line_of, parse, words};
use crate::parameter::{VFIO_IDS, Wish, split};
use crate::plan::Refusal;
use cede_model::Host;

const OWN: &str = "/etc/default/grub.d/95-cede.cfg";
const OWN_LAST: &str = "/etc/default/grub.d/zz-cede.cfg";
const DEFAULT: &str = "GRUB_CMDLINE_LINUX_DEFAULT";
/// What normal entries get, in this order (util/grub.d/10_linux.in).
const VARIABLES: [&str; 2] = ["GRUB_CMDLINE_LINUX", DEFAULT];
const OWN_HEAD: &str = "# Written by cede to give PCI devices to guests; `cede undo` removes it.\n";
/// More edits than any real file needs.
const MOST_EDITS: usize = 64;

/// The sourced files, in their order.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) list: Vec<SourcedFile>,
    drop_ins: bool,
    shells: Shells,
}

#[derive(Clone)]
pub(super) struct SourcedFile {
    pub(super) path: String,
    pub(super) bytes: Option<Vec<u8>>,
}

/// One word of the next boot's command line and where it stands.
#[derive(Debug, Clone)]
pub(super) struct PlacedWord {
    pub(super) text: String,
    variable: &'static str,
    pub(super) file: usize,
    pub(super) line: Option<u32>,
    /// Its bytes in that file, and those with a blank beside it; where it is written there in one piece.
    own: Option<Span>,
    with_blank: Option<Span>,
}

/// Why the words cannot be told.
#[derive(Debug, Clone)]
pub(super) struct Blind {
    why: String,
    /// Words added at the very end are right whatever stands before them.
    appendable: bool,
}

impl Files {
    pub(super) fn read(host: &Host) -> Self {
        let file = |path: String| SourcedFile { bytes: host.capture.file(&path).map(<[u8]>::to_vec), path };
        let drop_ins = uses_drop_ins(host);
        let mut list = vec![file(MAIN.to_owned())];
        if drop_ins {
            // The shell's `*.cfg` leaves out what begins with a dot.
            let names = host.capture.names_in(DROP_INS).filter(|name| name.ends_with(".cfg") && !name.starts_with('.'));
            list.extend(names.map(|name| file(format!("{DROP_INS}/{name}"))));
        }
        Self { list, drop_ins, shells: shells(host) }
    }

    /// A file that is there and could not be read, or the directory of drop-ins, or the script that says whether they count.
    pub(super) fn unseen(&self, host: &Host) -> Option<String> {
        let drop_ins = self.drop_ins.then_some(DROP_INS);
        let is_told = MKCONFIG.iter().any(|path| host.capture.file(path).is_some());
        let scripts = MKCONFIG.into_iter().filter(|_| !is_told);
        let mut paths = scripts.chain(drop_ins).chain(self.list.iter().map(|file| file.path.as_str()));
        paths.find_map(|path| host.capture.unreadable(path).map(|why| format!("{path} could not be read ({why})")))
    }

    pub(super) fn path(&self, file: usize) -> Option<&str> {
        self.list.get(file).map(|file| file.path.as_str())
    }

    fn bytes(&self) -> Vec<&[u8]> {
        self.list.iter().map(|file| file.bytes.as_deref().unwrap_or_default()).collect()
    }

    /// The kernel's words of both variables; why not where a value cannot be told, or differs between the shells that may read it.
    pub(super) fn words(&self) -> Result<Vec<PlacedWord>, Blind> {
        let mut words = self.all_words()?;
        let end = words.iter().position(|word| word.text == "--").unwrap_or(words.len());
        words.truncate(end);
        Ok(words)
    }

    /// With `--` and what init gets.
    fn all_words(&self) -> Result<Vec<PlacedWord>, Blind> {
        let mut words = Vec::new();
        for variable in VARIABLES {
            words.extend(self.words_of(variable)?);
        }
        Ok(words)
    }

    fn words_of(&self, variable: &'static str) -> Result<Vec<PlacedWord>, Blind> {
        let mut answers = self.shells.dialects().iter().map(|dialect| self.evaluate(*dialect, variable));
        let first = answers.next().unwrap_or_else(|| Ok(Vec::new()))?;
        for other in answers {
            if texts(&other?) != texts(&first) {
                let why = format!("{variable} is another value in dash than in bash: write it without `+=`");
                return Err(Blind { why, appendable: false });
            }
        }
        Ok(first)
    }

    fn evaluate(&self, dialect: Dialect, variable: &'static str) -> Result<Vec<PlacedWord>, Blind> {
        let text = match Environment::source(&self.bytes(), Sourcing::Each, dialect).get(variable) {
            Evaluation::Unset => return Ok(Vec::new()),
            Evaluation::Scalar(text) => text,
            Evaluation::Array(_) => {
                return Err(Blind { why: format!("{variable} is an array: write it as a string"), appendable: false });
            }
            Evaluation::Unknown(unknown) => {
                let path = self.path(unknown.file).unwrap_or(MAIN);
                let why = format!("{}; correct that, or write the value out", unknown.in_file(path, variable));
                let lost = matches!(
                    unknown.why,
                    Why::Unreadable(_) | Why::Nul | Why::Lost(_) | Why::ReadOnly(_) | Why::ByteOrderMark | Why::Blank(_) | Why::Unset(_)
                );
                return Err(Blind { why, appendable: !lost });
            }
        };
        let value = text.bytes().unwrap_or_default();
        let spans = cmdline::tokens(&value);
        let in_one_piece = |span: Span| {
            let origins = text.origins(&span)?;
            let (first, last) = (origins.first()?, origins.last()?);
            let joined = origins.windows(2).all(|pair| matches!(pair, [a, b] if a.file == b.file && a.span.end == b.span.start));
            joined.then_some(first.span.start..last.span.end)
        };
        let place = |(index, span): (usize, &Span)| {
            let origin = text.origins(span).and_then(|list| list.into_iter().next());
            let previous = index.checked_sub(1).and_then(|index| spans.get(index)).map(|previous| previous.end..span.end);
            let next = spans.get(index + 1).map(|next| span.start..next.start);
            PlacedWord {
                text: String::from_utf8_lossy(value.get(span.clone()).unwrap_or_default()).into_owned(),
                variable,
                file: origin.as_ref().map_or(usize::MAX, |origin| origin.file),
                line: origin.and_then(|origin| u32::try_from(origin.line).ok()),
                own: in_one_piece(span.clone()),
                with_blank: previous.and_then(in_one_piece).or_else(|| next.and_then(in_one_piece)),
            }
        };
        Ok(spans.iter().enumerate().map(place).collect())
    }

    /// What stands in the text of the assignments, where the values cannot be told: words between blanks and quotes.
    pub(super) fn written(&self) -> Vec<PlacedWord> {
        let files = self.bytes().into_iter().enumerate();
        files.flat_map(|(file, bytes)| written_words(file, 1, bytes)).collect()
    }

    /// Those of them that are sure to count: in assignments of both variables that are in no branch.
    fn assigned(&self) -> Vec<PlacedWord> {
        let mut list = Vec::new();
        let dialect = self.shells.dialects().first().copied().unwrap_or(Dialect::Bash);
        for (file, bytes) in self.bytes().into_iter().enumerate() {
            let commands = parse(bytes, dialect).map(|script| script.commands).unwrap_or_default();
            for command in commands {
                let CommandKind::Simple(simple) = command.kind else { continue };
                let runs = simple.words.first().is_none_or(|word| bytes.get(word.span.clone()) == Some(b"export"));
                for assign in simple.assigns.iter().filter(|assign| runs && VARIABLES.contains(&assign.name.as_str())) {
                    let line = u32::try_from(line_of(bytes, assign.span.start)).unwrap_or(u32::MAX);
                    list.extend(written_words(file, line, bytes.get(assign.span.clone()).unwrap_or_default()));
                }
            }
        }
        list
    }

    /// Changes the files so that the words are as wished, and checks that they are. `off` are words of the running kernel that must go.
    pub(super) fn apply(&mut self, wish: &Wish, off: &[String]) -> Result<(), Refusal> {
        match self.words() {
            Ok(_) => {
                self.edit_words(wish)?;
                let before = texts(&self.all_words().map_err(|blind| cannot(blind.why))?);
                let added = wish.edits(&texts(&self.words().map_err(|blind| cannot(blind.why))?)).add;
                self.add(&added)?;
                self.check(wish, &before, &added)
            }
            Err(blind) if blind.appendable && (off.is_empty() || wish.drop_off.is_empty()) => self.apply_blind(wish, blind),
            Err(blind) => Err(cannot(blind.why)),
        }
    }

    /// Adding at the end is right even where the value before it is computed; the effect is proved in the generated menu.
    fn apply_blind(&mut self, wish: &Wish, blind: Blind) -> Result<(), Refusal> {
        let (written, assigned) = (texts(&self.written()), texts(&self.assigned()));
        let (all, edits) = (wish.edits(&written), wish.edits(&assigned));
        let ids = |words: &[String]| words.iter().filter(|word| split(word).0 == VFIO_IDS).count();
        // What must go, and what must be joined, has to stand where it is sure to count.
        if !all.remove.is_empty() || ids(&written) != ids(&assigned) || all.replace != edits.replace {
            return Err(cannot(blind.why));
        }
        for (old, new) in &edits.replace {
            self.replace_written(old, new).ok_or_else(|| cannot(&blind.why))?;
        }
        self.add(&edits.add)?;
        let later = self.list.last().is_some_and(|file| file.path.as_str() > OWN_LAST && mentions(file));
        let left = wish.edits(&texts(&self.assigned()));
        if later || !left.is_empty() { Err(cannot(blind.why)) } else { Ok(()) }
    }

    /// Replaces a word that is written in one place of all files.
    fn replace_written(&mut self, old: &str, new: &str) -> Option<()> {
        let found: Vec<PlacedWord> = self.written().into_iter().filter(|word| word.text == old).collect();
        let [placed] = found.as_slice() else { return None };
        let bytes = self.list.get_mut(placed.file)?.bytes.as_mut()?;
        let line = usize::try_from(placed.line?).ok()?.checked_sub(1)?;
        let start: usize = bytes.split_inclusive(|byte| *byte == b'\n').take(line).map(<[u8]>::len).sum();
        let at = start + bytes.get(start..)?.windows(old.len()).position(|part| part == old.as_bytes())?;
        bytes.splice(at..at + old.len(), new.bytes());
        Some(())
    }

    /// Takes words out and puts others in their places, one after the other.
    fn edit_words(&mut self, wish: &Wish) -> Result<(), Refusal> {
        for _ in 0..MOST_EDITS {
            let words = self.words().map_err(|blind| cannot(blind.why))?;
            let edits = wish.edits(&texts(&words));
            let removed = edits.remove.first().map(|word| (word.clone(), None));
            let replaced = edits.replace.first().map(|(old, new)| (old.clone(), Some(new.clone())));
            let Some((old, new)) = removed.or(replaced) else { return Ok(()) };
            self.edit_word(&words, &old, new.as_deref())?;
        }
        Err(cannot(format!("{MAIN} holds too many words that would have to change; write its command line anew")))
    }

    fn edit_word(&mut self, words: &[PlacedWord], old: &str, new: Option<&str>) -> Result<(), Refusal> {
        let scattered = || cannot(format!("`{old}` is put together from several places; write it out in {MAIN}"));
        let placed = words.iter().rev().find(|placed| placed.text == old).ok_or_else(scattered)?;
        let bytes = self.list.get(placed.file).and_then(|file| file.bytes.as_deref()).ok_or_else(scattered)?;
        let tidy = match new {
            Some(new) => words::replace_word(bytes, placed.variable, old, new, self.shells),
            None => words::remove_word(bytes, placed.variable, old, self.shells),
        };
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.,:=-".contains(&byte));
        let cut =
            |span: &Option<Span>| span.as_ref().filter(|_| new.is_none_or(plain)).map(|span| spliced(bytes, span, new.unwrap_or_default()));
        let by_place = if new.is_some() { vec![cut(&placed.own)] } else { vec![cut(&placed.with_blank), cut(&placed.own)] };
        let path = self.path(placed.file).unwrap_or(MAIN);
        let trouble = tidy.as_ref().err().map(|error| error.in_file(path));
        for candidate in tidy.ok().into_iter().chain(by_place.into_iter().flatten()) {
            let mut next = self.clone();
            if let Some(file) = next.list.get_mut(placed.file) {
                file.bytes = Some(candidate);
            }
            if self.differs_only_in(&next, old, new) {
                *self = next;
                return Ok(());
            }
        }
        let trouble = trouble.unwrap_or_else(|| format!("{path}: that cannot be done without changing more; edit it by hand"));
        let what = new.map_or_else(|| "must go".to_owned(), |new| format!("must become `{new}`"));
        let line = placed.line.map(|line| format!(", line {line}")).unwrap_or_default();
        Err(cannot(format!("`{old}` in {path}{line} {what}; {trouble}")))
    }

    /// True where the other files say the same but for this word, which is there less often, and where no other variable changed.
    fn differs_only_in(&self, next: &Self, old: &str, new: Option<&str>) -> bool {
        let (Ok(before), Ok(after)) = (self.all_words(), next.all_words()) else { return false };
        let (before, after) = (texts(&before), texts(&after));
        let rest = |list: &[String]| list.iter().filter(|word| *word != old && Some(word.as_str()) != new).cloned().collect::<Vec<_>>();
        let count = |list: &[String]| list.iter().filter(|word| *word == old).count();
        let placed = new.is_none_or(|new| after.iter().any(|word| word == new));
        rest(&before) == rest(&after) && count(&after) < count(&before) && placed && self.others() == next.others()
    }

    /// Every other variable, in each dialect, as far as it is known.
    fn others(&self) -> Vec<(String, Option<Vec<u8>>)> {
        let mut list = Vec::new();
        for dialect in self.shells.dialects() {
            let environment = Environment::source(&self.bytes(), Sourcing::Each, *dialect);
            for name in environment.names().filter(|name| !VARIABLES.contains(name)) {
                let value = match environment.get(name) {
                    Evaluation::Scalar(text) => text.bytes(),
                    Evaluation::Array(list) => Some(list.iter().filter_map(|text| text.bytes()).collect::<Vec<_>>().join(&0)),
                    Evaluation::Unset | Evaluation::Unknown(_) => None,
                };
                list.push((name.to_owned(), value));
            }
        }
        list
    }

    fn add(&mut self, added: &[String]) -> Result<(), Refusal> {
        if added.is_empty() {
            return Ok(());
        }
        let words = self.all_words().unwrap_or_default();
        if let Some(open) = words.iter().find(|word| word.text.matches('"').count() % 2 == 1) {
            let path = self.path(open.file).unwrap_or(MAIN);
            return Err(cannot(format!(
                "{path}: `{}` has a double quote that is not closed for the kernel; close it with an editor",
                open.text
            )));
        }
        let added: Vec<&str> = added.iter().map(String::as_str).collect();
        let end = words.iter().find(|word| word.text == "--");
        let (path, variable) = match end.and_then(|end| Some((self.path(end.file)?.to_owned(), end.variable))) {
            // What comes after ` -- ` is init's, so the words go before it, where it is written.
            Some(place) => place,
            None if self.drop_ins => (self.own_path(), DEFAULT),
            None => (MAIN.to_owned(), DEFAULT),
        };
        let shells = self.shells;
        let at = self.list.iter().position(|file| file.path == path).unwrap_or_else(|| self.insert(path.clone()));
        let Some(file) = self.list.get_mut(at) else { return Ok(()) };
        let old = file.bytes.as_deref().unwrap_or(if path == MAIN { b"" } else { OWN_HEAD.as_bytes() });
        let sets_it = |dialect: &Dialect| evaluate(&[old], Sourcing::Each, *dialect, variable) != Evaluation::Unset;
        let goes_on = path != MAIN && !shells.dialects().iter().any(sets_it);
        let append = if goes_on { words::append_line } else { words::append_words };
        file.bytes = Some(append(old, variable, &added, shells).map_err(|error| cannot(error.in_file(&path)))?);
        Ok(())
    }

    /// Files are sourced in the order of their names; ours must come after any that sets the variable anew.
    fn own_path(&self) -> String {
        let later = self.list.iter().any(|file| file.path.as_str() > OWN && mentions(file));
        (if later { OWN_LAST } else { OWN }).to_owned()
    }

    fn insert(&mut self, path: String) -> usize {
        let at = self.list.iter().skip(1).position(|file| file.path > path).map_or(self.list.len(), |at| at + 1);
        self.list.insert(at, SourcedFile { path, bytes: None });
        at
    }

    /// The edited files, read again, must give what was wished, and all words of before.
    fn check(&self, wish: &Wish, before: &[String], added: &[String]) -> Result<(), Refusal> {
        let words = self.words().map_err(|blind| cannot(blind.why))?;
        let others = |list: &[String]| list.iter().filter(|word| !added.contains(word)).cloned().collect::<Vec<_>>();
        let after = texts(&self.all_words().map_err(|blind| cannot(blind.why))?);
        if others(&after) != others(before) {
            return Err(cannot(format!("words of {DEFAULT} would be lost; write it on one line of {MAIN}")));
        }
        if wish.edits(&texts(&words)).is_empty() {
            return Ok(());
        }
        let last = self.list.iter().rev().find(|file| mentions(file)).map_or(MAIN, |file| file.path.as_str());
        Err(cannot(format!("{last} would take the parameters away again; write `{DEFAULT}=\"${DEFAULT} …\"` there, or remove that line")))
    }
}

/// Words of a stretch of a file between blanks and quotes, without lines that are comments.
fn written_words(file: usize, first_line: u32, bytes: &[u8]) -> Vec<PlacedWord> {
    let mut list = Vec::new();
    for (number, line) in (first_line..).zip(bytes.split(|byte| *byte == b'\n')) {
        let text = String::from_utf8_lossy(line);
        if text.trim_start().starts_with('#') {
            continue;
        }
        let words = text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '$' | '{' | '}' | '(' | ')' | '`' | ';'));
        list.extend(words.filter(|word| !word.is_empty()).map(|word| PlacedWord {
            text: word.to_owned(),
            variable: DEFAULT,
            file,
            line: Some(number),
            own: None,
            with_blank: None,
        }));
    }
    list
}

fn mentions(file: &SourcedFile) -> bool {
    String::from_utf8_lossy(file.bytes.as_deref().unwrap_or_default()).contains(DEFAULT)
}

fn texts(words: &[PlacedWord]) -> Vec<String> {
    words.iter().map(|word| word.text.clone()).collect()
}

fn spliced(bytes: &[u8], span: &Span, new: &str) -> Vec<u8> {
    let head = bytes.get(..span.start).unwrap_or_default();
    let tail = bytes.get(span.end..).unwrap_or_default();
    [head, new.as_bytes(), tail].concat()
}
