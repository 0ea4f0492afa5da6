//! `modprobe.d`: which files count, in which order, and what they say of a module (libkmod, modprobe.d(5), kmod 30).

use std::collections::BTreeMap;

/// Directories in order of precedence: of files with the same base name, the first directory's is read.
pub const DIRECTORIES: [&str; 5] =
    ["/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"];

/// Where a statement stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Path of the file.
    pub path: String,
    /// Line on which the statement begins, from 1.
    pub line: usize,
}

/// What must be loaded before and after a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Softdep {
    /// Before.
    pub pre: Vec<String>,
    /// After.
    pub post: Vec<String>,
    /// Where it says so.
    pub source: Source,
}

/// One command of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    command: String,
    subject: String,
    rest: String,
    source: Source,
}

/// All of `modprobe.d`, in the order in which it counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModprobeConfig {
    statements: Vec<Statement>,
    files: Vec<String>,
}

impl ModprobeConfig {
    /// Reads the files given as path and content. Only those that end in `.conf` and lie directly in one of
    /// [`DIRECTORIES`] count; precedence and order are settled here, so they may come in any order.
    pub fn from_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut chosen: BTreeMap<&str, (usize, &str, &[u8])> = BTreeMap::new();
        for (path, bytes) in files {
            let Some((directory, name)) = path.rsplit_once('/') else {
                continue;
            };
            let Some(rank) = DIRECTORIES.iter().position(|known| *known == directory) else {
                continue;
            };
            let better = chosen.get(name).is_none_or(|(other, ..)| rank < *other);
            if name.ends_with(".conf") && better {
                chosen.insert(name, (rank, path, bytes));
            }
        }
        let mut config = Self::default();
        for (_, path, bytes) in chosen.into_values() {
            config.files.push(path.to_owned());
            config.read(path, bytes);
        }
        config
    }

    /// The files that count, in order.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    fn read(&mut self, path: &str, bytes: &[u8]) {
        for LogicalLine { number: line, text, .. } in logical_lines(bytes) {
            let text = String::from_utf8_lossy(&text).into_owned();
            if text.starts_with('#') {
                continue;
            }
            let blank = |c: char| matches!(c, ' ' | '\t');
            let text = text.trim_start_matches(blank);
            let (command, rest) = text.split_once(blank).unwrap_or((text, ""));
            let rest = rest.trim_start_matches(blank);
            let (subject, rest) = rest.split_once(blank).unwrap_or((rest, ""));
            if subject.is_empty() {
                continue;
            }
            self.statements.push(Statement {
                command: command.to_owned(),
                subject: normal(subject),
                rest: rest.trim_start_matches(blank).to_owned(),
                source: Source { path: path.to_owned(), line },
            });
        }
    }

    fn of<'a>(&'a self, command: &'static str, module: &str) -> impl Iterator<Item = &'a Statement> {
        let module = normal(module);
        self.statements.iter().filter(move |s| s.command == command && s.subject == module)
    }

    /// The options of a module in the order in which they are joined; of a parameter given twice the last value wins,
    /// and the kernel command line comes after all.
    pub fn options(&self, module: &str) -> Vec<(String, Source)> {
        self.of("options", module).map(|s| (s.rest.clone(), s.source.clone())).collect()
    }

    /// The value of one scalar option: the last one given.
    pub fn option(&self, module: &str, name: &str) -> Option<(String, Source)> {
        let name = normal(name);
        let mut found = None;
        for (text, source) in self.options(module) {
            for word in text.split([' ', '\t']).filter(|word| !word.is_empty()) {
                let (key, value) = word.split_once('=').unwrap_or((word, ""));
                if normal(key) == name {
                    found = Some((value.to_owned(), source.clone()));
                }
            }
        }
        found
    }

    /// The soft dependency that counts: the first line for the module. It replaces that of `modules.softdep`.
    pub fn softdep(&self, module: &str) -> Option<Softdep> {
        let statement = self.of("softdep", module).next()?;
        let mut softdep = Softdep { pre: Vec::new(), post: Vec::new(), source: statement.source.clone() };
        let mut post = None;
        for word in statement.rest.split_ascii_whitespace() {
            match (word, post) {
                ("pre:", _) => post = Some(false),
                ("post:", _) => post = Some(true),
                (name, Some(true)) => softdep.post.push(normal(name)),
                (name, Some(false)) => softdep.pre.push(normal(name)),
                (_, None) => {}
            }
        }
        Some(softdep)
    }

    /// Every soft dependency line of the module, in order; only the first counts.
    pub fn softdep_sources(&self, module: &str) -> Vec<Source> {
        self.of("softdep", module).map(|s| s.source.clone()).collect()
    }

    /// Where the module's internal aliases are disabled. Loading it by name still works.
    pub fn blacklisted(&self, module: &str) -> Option<Source> {
        self.of("blacklist", module).next().map(|s| s.source.clone())
    }

    /// The command that runs instead of loading the module: the first line counts.
    pub fn install(&self, module: &str) -> Option<(String, Source)> {
        self.of("install", module).next().map(|s| (s.rest.clone(), s.source.clone()))
    }

    /// Aliases of this name (which may be a pattern), with the module that each stands for.
    pub fn aliases(&self, alias: &str) -> Vec<(String, Source)> {
        self.of("alias", alias).map(|s| (normal(&s.rest), s.source.clone())).collect()
    }
}

/// Module names: `-` and `_` are equal; inside brackets of a pattern they are not.
fn normal(name: &str) -> String {
    let mut brackets = false;
    name.chars()
        .map(|c| {
            brackets = (brackets || c == '[') && c != ']';
            if c == '-' && !brackets { '_' } else { c }
        })
        .collect()
}

/// The file with text put behind the value of an option, in the statement that begins on this line: the last one of that name there. `None`
/// where there is none. Every other byte stays, those that continue a line too.
pub fn with_value_extended(bytes: &[u8], line: usize, name: &str, text: &str) -> Option<Vec<u8>> {
    let lines = logical_lines(bytes);
    let statement = lines.iter().find(|statement| statement.number == line)?;
    let mut at = 0;
    let mut end = None;
    for word in statement.text.split(|byte| matches!(byte, b' ' | b'\t')) {
        at += word.len();
        let is_it = word.iter().position(|byte| *byte == b'=').and_then(|key| word.get(..key)).map(String::from_utf8_lossy);
        if is_it.is_some_and(|key| normal(&key) == normal(name)) {
            end = at.checked_sub(1);
        }
        at += 1;
    }
    let end = *statement.ends.get(end?)?;
    Some([bytes.get(..end)?, text.as_bytes(), bytes.get(end..)?].concat())
}

/// One line as kmod sees it.
struct LogicalLine {
    /// Number of its first line in the file, from 1.
    number: usize,
    text: Vec<u8>,
    /// For each byte, where it ends in the file.
    ends: Vec<usize>,
}

/// Backslash-newline joins lines; before any other byte a backslash is dropped (kmod 30 and 34: shared/util.c `freadline_wrapped`).
fn logical_lines(bytes: &[u8]) -> Vec<LogicalLine> {
    let line = |number| LogicalLine { number, text: Vec::new(), ends: Vec::new() };
    let mut lines = Vec::new();
    let (mut number, mut open) = (1, line(1));
    let mut rest = (1..).zip(bytes.iter().copied());
    while let Some((end, byte)) = rest.next() {
        let (end, byte) = match (byte, rest.clone().next()) {
            (b'\n', _) => {
                number += 1;
                lines.push(std::mem::replace(&mut open, line(number)));
                continue;
            }
            (b'\\', None | Some((_, b'\n'))) => {
                number += 1;
                rest.next();
                continue;
            }
            (b'\\', Some(escaped)) => {
                rest.next();
                escaped
            }
            (byte, _) => (end, byte),
        };
        open.text.push(byte);
        open.ends.push(end);
    }
    lines.push(open);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(files: &[(&'static str, &'static str)]) -> ModprobeConfig {
        ModprobeConfig::from_files(files.iter().map(|(path, text)| (*path, text.as_bytes())))
    }

    #[test]
    fn files_are_chosen_by_directory_and_sorted_by_name() {
        let config = config(&[
            ("/usr/lib/modprobe.d/vfio.conf", "options vfio-pci ids=1:1\n"),
            ("/etc/modprobe.d/vfio.conf", "options vfio_pci ids=2:2\n"),
            ("/lib/modprobe.d/aaa.conf", "options vfio-pci ids=3:3 disable_vga=1"),
            ("/etc/modprobe.d/zzz.CONF", "options vfio-pci ids=4:4\n"),
            ("/etc/modprobe.d/old.conf.bak", "options vfio-pci ids=5:5\n"),
            ("/etc/modprobe.d/sub/x.conf", "options vfio-pci ids=6:6\n"),
        ]);
        assert_eq!(config.files(), ["/lib/modprobe.d/aaa.conf", "/etc/modprobe.d/vfio.conf"]);
        let texts: Vec<String> = config.options("vfio_pci").into_iter().map(|(text, _)| text).collect();
        assert_eq!(texts, ["ids=3:3 disable_vga=1", "ids=2:2"]);
        let (value, source) = config.option("vfio-pci", "ids").unwrap();
        assert_eq!((value.as_str(), source.path.as_str(), source.line), ("2:2", "/etc/modprobe.d/vfio.conf", 1));
    }

    #[test]
    fn only_a_hash_in_the_first_column_is_a_comment() {
        let config = config(&[("/etc/modprobe.d/a.conf", "#options a x=1\n  #options a x=2\n\n  options a x=3 # note\nblacklist b c\n")]);
        assert_eq!(config.options("a")[0].0, "x=3 # note");
        assert_eq!(config.options("a")[0].1.line, 4);
        assert!(config.blacklisted("b").is_some());
        assert_eq!(config.blacklisted("c"), None);
    }

    #[test]
    fn continuation_lines_join_and_keep_the_first_line_number() {
        let config = config(&[("/etc/modprobe.d/a.conf", "# c\nsoftdep snd-hda-intel \\\n  pre: vfio-pci \\\n post: a-b\noptions x y=\\")]);
        let softdep = config.softdep("snd_hda_intel").unwrap();
        assert_eq!((softdep.pre, softdep.post, softdep.source.line), (vec!["vfio_pci".into()], vec!["a_b".into()], 2));
        assert_eq!(config.options("x")[0].0, "y=");
    }

    #[test]
    fn a_value_is_extended_wherever_its_line_is_broken() {
        let cases: [(&str, usize, Option<&str>); 9] = [
            ("options vfio-pci ids=1:2\n", 1, Some("options vfio-pci ids=1:2,3:4\n")),
            ("# x\noptions vfio-pci \\\n ids=1:2 x=1\n", 2, Some("# x\noptions vfio-pci \\\n ids=1:2,3:4 x=1\n")),
            ("options vfio-pci ids=1:\\\n2 \\\n x=1", 1, Some("options vfio-pci ids=1:\\\n2,3:4 \\\n x=1")),
            ("options vfio-pci ids=1:2\\\n\n", 1, Some("options vfio-pci ids=1:2,3:4\\\n\n")),
            ("options vfio-pci ids=9:9 ids=1:2", 1, Some("options vfio-pci ids=9:9 ids=1:2,3:4")),
            ("options vfio-pci \\ids=1\\:2\n", 1, Some("options vfio-pci \\ids=1\\:2,3:4\n")),
            ("options a x=1\\\\\noptions vfio-pci ids=\n", 2, Some("options a x=1\\\\\noptions vfio-pci ids=,3:4\n")),
            ("options vfio-pci x=1\n", 1, None),
            ("options vfio-pci ids=1:2\n", 2, None),
        ];
        for (before, line, after) in cases {
            let got = with_value_extended(before.as_bytes(), line, "ids", ",3:4");
            assert_eq!(got.as_deref().map(String::from_utf8_lossy).as_deref(), after, "{before}");
        }
    }

    #[test]
    fn a_backslash_before_anything_else_is_dropped() {
        let config = config(&[("/etc/modprobe.d/a.conf", "options a x=1\\\\\noptions b y=a\\tb\n")]);
        assert_eq!((config.options("a")[0].0.as_str(), config.options("b")[0].0.as_str()), ("x=1\\", "y=atb"));
        assert_eq!(config.options("b")[0].1.line, 2);
    }

    #[test]
    fn the_first_softdep_and_the_first_install_win() {
        let config = config(&[
            ("/etc/modprobe.d/b.conf", "softdep nouveau pre: vfio-pci\ninstall nouveau /bin/false\n"),
            ("/etc/modprobe.d/a.conf", "softdep nouveau post: x\ninstall nouveau /bin/true arg\nalias pci:v* nouveau\n"),
        ]);
        let softdep = config.softdep("nouveau").unwrap();
        assert_eq!((softdep.pre.len(), softdep.post.len()), (0, 1));
        assert_eq!(softdep.source.path, "/etc/modprobe.d/a.conf");
        assert_eq!(config.softdep_sources("nouveau").len(), 2);
        assert_eq!(config.install("nouveau").unwrap().0, "/bin/true arg");
        assert_eq!(config.aliases("pci:v*")[0].0, "nouveau");
    }

    #[test]
    fn carriage_returns_stay() {
        let config = config(&[("/etc/modprobe.d/a.conf", "options vfio-pci ids=1:2\r\n")]);
        assert_eq!(config.option("vfio-pci", "ids").unwrap().0, "1:2\r");
        assert_eq!(config.options("vfio-pci")[0].0, "ids=1:2\r");
    }
}
