//! The shell reader and editors against real bash and dash, on every fixture and on mutations of them.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests outside the pure crate: they read fixtures and ask real shells"
)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "what stands beside the tests is not recognised as one")]

mod oracle;

use std::collections::BTreeMap;
use std::path::Path;

use cede_plan::edit::cmdline;
use cede_plan::edit::shell::{CannotEdit, Dialect, Environment, Evaluation, Shells, Sourcing, array, evaluate, parse, words};
use oracle::{Held, ask, held};

const DEFAULT: &str = "GRUB_CMDLINE_LINUX_DEFAULT";
const BOTH: [Dialect; 2] = [Dialect::Bash, Dialect::Dash];
const TRIO: [&str; 3] = ["vfio_pci", "vfio", "vfio_iommu_type1"];

fn fixtures(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/shell").join(folder);
    let files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap())).collect()
}

/// Compares all variables that the file names with the real shell's; returns how many were known.
fn compare(what: &str, file: &[u8], dialect: Dialect) -> usize {
    let environment = Environment::source(&[file], Sourcing::Each, dialect);
    let mut names: Vec<String> = environment.names().map(str::to_owned).collect();
    names.extend([DEFAULT.to_owned(), "MODULES".to_owned()]);
    let mine: Vec<Option<Held>> = names.iter().map(|name| held(&environment.get(name))).collect();
    let known = mine.iter().flatten().count();
    if known == 0 {
        return 0;
    }
    let theirs = ask(dialect, file, &names);
    let text = String::from_utf8_lossy(file);
    // What a sourced or evaluated text does is not ours to know; it may end the shell.
    if theirs.is_none() && [". ", "source", "eval"].iter().any(|word| text.contains(word)) {
        return 0;
    }
    let theirs = theirs.unwrap_or_else(|| panic!("{what}: {dialect:?} gave up on\n{text}"));
    for ((name, mine), theirs) in names.iter().zip(&mine).zip(&theirs) {
        // A variable that is declared as an array and never assigned has no elements.
        let same = |mine: &Held| mine == theirs || (*mine == Held::Unset && environment_variable(name));
        assert!(mine.as_ref().is_none_or(same), "{what}: {dialect:?} {name}: {mine:?}, the shell has {theirs:?} in\n{text}");
    }
    known
}

/// Variables that shells set by themselves.
fn environment_variable(name: &str) -> bool {
    ["PATH", "PWD", "OLDPWD", "HOME", "SHLVL", "TERM", "PS1", "PS2", "PS4", "IFS", "OPTIND", "PPID"].contains(&name)
}

#[test]
fn every_fixture_reads_as_the_shells_read_it() {
    let mut known = 0;
    for folder in ["layouts", "grub", "mkinitcpio"] {
        for (name, file) in fixtures(folder) {
            for dialect in BOTH {
                known += compare(&name, &file, dialect);
            }
        }
    }
    assert!(known > 250, "only {known} values were known");
}

#[test]
fn what_must_be_unknown_is_unknown() {
    let grub = fixtures("grub");
    let table = [
        ("conditional", "conditional or compound"),
        ("and-or", "conditional or compound"),
        ("function", "conditional or compound"),
        ("computed", "command substitution"),
        ("outside-variable", "SITE_OPTIONS"),
        ("unterminated", "double quote that is not closed"),
        ("unterminated-if", "not closed"),
        ("exit-early", "exit"),
        ("eval", "eval"),
        ("nul", "NUL"),
    ];
    for (name, why) in table {
        for dialect in BOTH {
            let Evaluation::Unknown(unknown) = evaluate(&[&grub[name]], Sourcing::Each, dialect, DEFAULT) else {
                panic!("{name} is known in {dialect:?}")
            };
            assert!(unknown.to_string().contains(why), "{name}: {unknown}");
        }
    }
}

#[test]
fn concatenation_glues_the_last_line_to_the_next_file() {
    let files: [&[u8]; 2] = [b"HOOKS=(base)\nMODULES=(a)", b"MODULES+=(b)\n"];
    let Evaluation::Unknown(unknown) = evaluate(&files, Sourcing::Concatenated, Dialect::Bash, "MODULES") else {
        panic!("glued lines are not an array")
    };
    assert_eq!((unknown.file, unknown.line), (1, 1));
    let files: [&[u8]; 2] = [b"# c\nMODULES=(a)\n", b"\n# d\nMODULES+=(b)\n"];
    let Evaluation::Array(texts) = evaluate(&files, Sourcing::Concatenated, Dialect::Bash, "MODULES") else { panic!("two arrays") };
    let origins: Vec<_> = texts.iter().map(|text| text.origins(&(0..1)).unwrap()[0].clone()).collect();
    assert_eq!(origins.iter().map(|o| (o.file, o.line, o.span.clone())).collect::<Vec<_>>(), [(0, 2, 13..14), (1, 3, 15..16)]);
}

fn tokens(value: &[u8]) -> Vec<Vec<u8>> {
    cmdline::tokens(value).into_iter().map(|span| value[span].to_vec()).collect()
}

fn scalar(dialect: Dialect, file: &[u8], var: &str) -> Vec<u8> {
    let held = ask(dialect, file, &[var.to_owned()]);
    let gave_up = || panic!("{dialect:?} gave up on\n{}", String::from_utf8_lossy(file));
    match held.unwrap_or_else(gave_up).remove(0) {
        Held::Scalar(value) => value,
        Held::Unset => Vec::new(),
        Held::Array(elements) => panic!("{var} is an array {elements:?}"),
    }
}

/// Every variable but one must be what it was, in the real shell.
fn others_unchanged(what: &str, dialect: Dialect, old: &[u8], new: &[u8], var: &str) {
    let environment = Environment::source(&[old], Sourcing::Each, dialect);
    let names: Vec<String> = environment.names().filter(|name| *name != var).map(str::to_owned).collect();
    assert_eq!(ask(dialect, old, &names), ask(dialect, new, &names), "{what}: another variable changed in {dialect:?}");
}

fn expected_after_append(value: &[u8], added: &[&str]) -> Vec<Vec<u8>> {
    let mut expected = tokens(value);
    let end = expected.iter().position(|token| token == b"--").unwrap_or(expected.len());
    expected.splice(end..end, added.iter().map(|word| word.as_bytes().to_vec()));
    expected
}

/// Appends, checks with the shells, takes back. True if the undo gave the same bytes.
fn append_and_back(what: &str, file: &[u8], shells: Shells) -> Result<bool, CannotEdit> {
    let added = ["iommu=pt", "vfio-pci.ids=10de:1b80,10de:10f0", "dyndbg=\"file vfio* +p\""];
    let new = words::append_words(file, DEFAULT, &added, shells)?;
    let text = String::from_utf8_lossy(&new);
    for dialect in shells.dialects() {
        let expected = expected_after_append(&scalar(*dialect, file, DEFAULT), &added);
        assert_eq!(tokens(&scalar(*dialect, &new, DEFAULT)), expected, "{what} in {dialect:?}:\n{text}");
        others_unchanged(what, *dialect, file, &new, DEFAULT);
    }
    let mut back = new.clone();
    for word in added.iter().rev() {
        back = words::remove_word(&back, DEFAULT, word, shells).unwrap_or_else(|error| panic!("{what}: {word} stays: {error}\n{text}"));
    }
    Ok(back == file)
}

#[test]
fn the_thirteen_layouts_are_edited_and_taken_back() {
    for (name, file) in fixtures("layouts") {
        let same = append_and_back(&name, &file, Shells::Either).unwrap();
        assert!(same || name.starts_with(['E', 'K']), "{name}: undo gives other bytes");
    }
}

/// Whether the edit is refused, and if not whether undoing gives the same bytes.
#[test]
fn odd_files_are_edited_right_or_refused() {
    let refused = [
        "and-or",
        "arithmetic",
        "array-in-grub",
        "bom",
        "bom-assignment",
        "ansi-c",
        "conditional",
        "crlf",
        "eval",
        "exit-early",
        "function",
        "loop",
        "nul",
        "open-kernel-quote",
        "plus-equals",
        "quote-in-backquotes",
        "unset",
        "unterminated",
        "unterminated-if",
        "subshell",
    ];
    let other_bytes = [
        // A line `VAR=""` stays, or a newline that was missing, or blanks that were the whole value.
        "commented-out",
        "empty",
        "heredoc-tabs",
        "no-final-newline-comment",
        "only-blanks",
        "only-newlines",
        // Unquoted text had to be quoted.
        "unquoted-escaped",
        "mixed-quotes",
    ];
    for (name, file) in fixtures("grub") {
        match append_and_back(&name, &file, Shells::Either) {
            Err(error) => assert!(refused.contains(&name.as_str()), "{name} refused: {error}"),
            Ok(same) => {
                assert!(!refused.contains(&name.as_str()), "{name} was not refused");
                assert!(same || other_bytes.contains(&name.as_str()), "{name}: undo gives other bytes");
            }
        }
    }
}

/// Every word of every value can be removed or replaced, or the refusal says why.
fn remove_each(what: &str, file: &[u8]) -> usize {
    let Evaluation::Scalar(value) = evaluate(&[file], Sourcing::Each, Dialect::Bash, DEFAULT) else {
        return 0;
    };
    let before = tokens(&value.bytes().unwrap());
    let mut done = 0;
    for word in &before {
        let Ok(word) = std::str::from_utf8(word) else {
            continue;
        };
        let index = before.iter().rposition(|w| w == word.as_bytes()).unwrap();
        let replacement = words::replace_word(file, DEFAULT, word, "x=\"y z\"", Shells::Either);
        for (new, with) in [(words::remove_word(file, DEFAULT, word, Shells::Either), None), (replacement, Some("x=\"y z\""))] {
            let Ok(new) = new else { continue };
            done += 1;
            let mut expected = before.clone();
            expected.splice(index..=index, with.map(|with| with.as_bytes().to_vec()));
            for dialect in BOTH {
                let text = String::from_utf8_lossy(&new);
                assert_eq!(tokens(&scalar(dialect, &new, DEFAULT)), expected, "{what}: {word} in {dialect:?}\n{text}");
                others_unchanged(what, dialect, file, &new, DEFAULT);
            }
        }
    }
    done
}

#[test]
fn words_are_removed_and_replaced() {
    let mut done = 0;
    for folder in ["layouts", "grub"] {
        for (name, file) in fixtures(folder) {
            done += remove_each(&name, &file);
        }
    }
    assert!(done > 150, "only {done} edits were possible");
}

/// What bash and mkinitcpio make of the variable: elements, or a string cut at blanks.
fn modules(file: &[u8]) -> Vec<String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    match ask(Dialect::Bash, file, &["MODULES".to_owned()]).unwrap().remove(0) {
        Held::Unset => Vec::new(),
        Held::Scalar(value) => text(value).split_whitespace().map(str::to_owned).collect(),
        Held::Array(elements) => elements.into_iter().map(text).collect(),
    }
}

#[test]
fn modules_are_put_first_in_every_form() {
    let refused = ["braces.conf", "conditional.conf", "crlf.conf", "element.conf", "glob.conf", "unclosed.conf"];
    let mut same_bytes = 0;
    for (name, file) in fixtures("mkinitcpio") {
        let new = match array::put_modules_first(&file, "MODULES", &TRIO, &["vfio_virqfd"]) {
            Ok(new) => new,
            Err(error) => {
                assert!(refused.contains(&name.as_str()), "{name} refused: {error}");
                continue;
            }
        };
        assert!(!refused.contains(&name.as_str()), "{name} was not refused");
        let ours = |module: &String| {
            let plain = module.trim_end_matches('?').replace('-', "_");
            TRIO.contains(&plain.as_str()) || plain == "vfio_virqfd"
        };
        let rest = modules(&file).into_iter().filter(|module| !ours(module));
        let expected: Vec<String> = TRIO.iter().map(|m| (*m).to_owned()).chain(rest).collect();
        assert_eq!(modules(&new), expected, "{name}:\n{}", String::from_utf8_lossy(&new));
        others_unchanged(&name, Dialect::Bash, &file, &new, "MODULES");
        let again = array::put_modules_first(&new, "MODULES", &TRIO, &["vfio_virqfd"]).unwrap();
        assert_eq!(again, new, "{name}: the second time changes something");
        if !modules(&file).iter().any(ours) {
            let back = array::remove_elements(&new, "MODULES", &TRIO).unwrap();
            let unquoted = ["string-unquoted.conf", "array-then-string.conf"].contains(&name.as_str());
            assert!(back == file || unquoted, "{name}: undo gives\n{}", String::from_utf8_lossy(&back));
            same_bytes += usize::from(back == file);
        }
    }
    assert!(same_bytes >= 15, "only {same_bytes} were taken back");
}

#[test]
fn elements_are_appended_and_taken_back() {
    let mut done = 0;
    for (name, file) in fixtures("mkinitcpio") {
        let Ok(new) = array::append_elements(&file, "MODULES", &["xx", "yy?"]) else {
            continue;
        };
        let mut expected = modules(&file);
        expected.extend(["xx".to_owned(), "yy?".to_owned()]);
        assert_eq!(modules(&new), expected, "{name}:\n{}", String::from_utf8_lossy(&new));
        others_unchanged(&name, Dialect::Bash, &file, &new, "MODULES");
        let back = array::remove_elements(&new, "MODULES", &["xx", "yy?"]).unwrap();
        assert_eq!(modules(&back), modules(&file), "{name}:\n{}", String::from_utf8_lossy(&back));
        done += 1;
    }
    assert!(done >= 25, "only {done} files were edited");
}

/// xorshift64*: the same mutations each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % limit.max(1)
    }

    /// Inserts, deletes or copies a piece of the file, a few times.
    fn mutate(&mut self, file: &[u8]) -> Vec<u8> {
        const PIECES: [&str; 36] = [
            "\"",
            "'",
            "\\",
            "\\\n",
            "\n",
            " ",
            "#",
            " #",
            "$",
            "${",
            "}",
            "(",
            ")",
            "`",
            ";",
            "&",
            "|",
            "<",
            ">",
            "=",
            "+=",
            "$(",
            "$'",
            "~",
            "*",
            "[",
            "]",
            "{a,b}",
            "<<E\n",
            "\nE\n",
            "$GRUB_TIMEOUT",
            "\"$MODULES\"",
            "if true; then ",
            "\nfi\n",
            "MODULES+=(q)",
            "GRUB_CMDLINE_LINUX_DEFAULT=\"r s\"",
        ];
        let mut new = file.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(new.len() + 1);
            match self.below(4) {
                0 if at < new.len() => {
                    let end = new.len().min(at + 1 + self.below(3));
                    new.drain(at..end);
                }
                1 => {
                    let end = new.len().min(at + self.below(12));
                    let piece = new[at..end].to_vec();
                    let to = self.below(new.len() + 1);
                    new.splice(to..to, piece);
                }
                _ => {
                    let piece = PIECES[self.below(PIECES.len())];
                    new.splice(at..at, piece.bytes());
                }
            }
        }
        new
    }
}

fn rounds() -> usize {
    std::env::var("CEDE_SHELL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(150)
}

#[test]
fn mutated_files_never_panic_and_never_mislead() {
    let mut random = Random(0x5eed_cede_5eed_cede);
    let mut files = Vec::new();
    for folder in ["layouts", "grub", "mkinitcpio"] {
        files.extend(fixtures(folder).into_iter().filter(|(_, file)| !file.contains(&0)));
    }
    let (mut known, mut edited) = (0, 0);
    for round in 0..rounds() {
        let (name, file) = &files[random.below(files.len())];
        let mutant = random.mutate(file);
        let what = format!("round {round} of {name}");
        for dialect in BOTH {
            known += compare(&what, &mutant, dialect);
        }
        edited += usize::from(append_and_back(&what, &mutant, Shells::Either).is_ok());
        if let Ok(new) = array::put_modules_first(&mutant, "MODULES", &TRIO, &["vfio_virqfd"]) {
            assert_eq!(modules(&new)[..3], TRIO, "{what}:\n{}", String::from_utf8_lossy(&mutant));
            others_unchanged(&what, Dialect::Bash, &mutant, &new, "MODULES");
            edited += 1;
        }
    }
    assert!(known > rounds() && edited * 4 > rounds(), "{known} values known, {edited} files edited");
}

/// Linear time and bounded depth on a megabyte of anything.
#[test]
fn large_and_deep_files_end_quickly() {
    let patterns: [&str; 14] = [
        "(",
        "$(",
        "${a:-",
        "\"$(",
        "if true; then ",
        "{ ",
        "`",
        "\"",
        "a=b ",
        "A=\"$A$A\"\n",
        "A+=(x)\n",
        "#x\n",
        "case x in a) ",
        "\\\n",
    ];
    for pattern in patterns {
        let file = pattern.repeat((1 << 20) / pattern.len()).into_bytes();
        for dialect in BOTH {
            let _either = parse(&file, dialect).is_ok();
            let _value = evaluate(&[&file[..1 << 17]], Sourcing::Each, dialect, "A");
        }
    }
}
