//! The files as the shell sees them, and the variables while they are read.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::error::{Unknown, Why};
use super::syntax::{Assign, Dialect, Quote, Span, name_byte, name_start, slice};
use super::text::{Origin, Text};

/// How several files are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sourcing {
    /// Each is sourced in turn, as grub-mkconfig does.
    Each,
    /// They are concatenated byte by byte, then sourced as one, as mkinitcpio does since v36.
    Concatenated,
}

/// What the shell reads in one go: one file, or several glued together.
pub(super) struct Unit {
    pub(super) bytes: Vec<u8>,
    /// Where each file starts: offset and index.
    starts: Vec<(usize, usize)>,
    newlines: Vec<usize>,
}

impl Unit {
    pub(super) fn all(files: &[&[u8]], sourcing: Sourcing) -> Vec<Self> {
        let numbered: Vec<(usize, &[u8])> = files.iter().copied().enumerate().collect();
        match sourcing {
            Sourcing::Each => numbered.iter().map(|file| Self::new(std::slice::from_ref(file))).collect(),
            Sourcing::Concatenated => vec![Self::new(&numbered)],
        }
    }

    fn new(files: &[(usize, &[u8])]) -> Self {
        let mut unit = Self { bytes: Vec::new(), starts: Vec::new(), newlines: Vec::new() };
        for (index, bytes) in files {
            unit.starts.push((unit.bytes.len(), *index));
            unit.bytes.extend_from_slice(bytes);
        }
        unit.newlines = unit.bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at).collect();
        unit
    }

    fn start(&self, offset: usize) -> (usize, usize) {
        let index = self.starts.partition_point(|(start, _)| *start <= offset);
        self.starts.get(index.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Index of the file and line in it.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        let (start, file) = self.start(offset);
        let before = |at: usize| self.newlines.partition_point(|newline| *newline < at);
        (file, 1 + before(offset) - before(start))
    }

    /// `None` if the span runs over the border of two files.
    pub(super) fn origin(&self, span: &Span, quote: Quote) -> Option<Origin> {
        let (base, file) = self.start(span.start);
        let next = self.starts.iter().map(|(start, _)| *start).find(|start| *start > base);
        if next.is_some_and(|next| span.end > next) {
            return None;
        }
        let (_, line) = self.place(span.start);
        Some(Origin { file, line, span: span.start - base..span.end - base, quote })
    }

    pub(super) fn unknown(&self, offset: usize, why: Why) -> Unknown {
        let (file, line) = self.place(offset);
        Unknown { file, line, why }
    }
}

/// What a variable holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Unset,
    Scalar(Text),
    Array(Vec<Text>),
    Unknown(Unknown),
}

/// An assignment that contributes to a value.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) assign: Rc<Assign>,
    pub(super) line: usize,
    /// The command, when it is nothing but this assignment.
    pub(super) alone: Option<Span>,
}

/// A variable.
#[derive(Debug, Clone)]
pub(super) struct Var {
    pub(super) value: Value,
    /// Where it was made read-only.
    pub(super) readonly: Option<Unknown>,
    /// Has an attribute by which assignments do not store what they say.
    pub(super) odd: bool,
    /// Something unknown may have made it an array.
    pub(super) maybe_array: bool,
    pub(super) sites: Vec<Site>,
}

impl Var {
    pub(super) fn new(value: Value) -> Self {
        Self { value, readonly: None, odd: false, maybe_array: false, sites: Vec::new() }
    }
}

/// The shell while it reads the files.
pub(super) struct State {
    pub(super) dialect: Dialect,
    pub(super) vars: BTreeMap<String, Var>,
    /// Functions and all that their bodies mention.
    pub(super) functions: BTreeSet<String>,
    pub(super) bodies: Vec<Body>,
    /// Other code was read: commands may be functions of it.
    pub(super) foreign: bool,
    /// Any variable may have been changed.
    pub(super) anything: Option<Unknown>,
    /// From here on nothing is certain.
    pub(super) lost: Option<Unknown>,
    /// Bytes that expansion may still copy, so that doubling a value line by line stays cheap.
    pub(super) budget: usize,
}

/// A function's body, as far as its effects go.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) mentions: BTreeSet<String>,
    pub(super) anything: bool,
    pub(super) lost: bool,
}

impl State {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            vars: BTreeMap::new(),
            functions: BTreeSet::new(),
            bodies: Vec::new(),
            foreign: false,
            anything: None,
            lost: None,
            budget: 8 << 20,
        }
    }

    /// The value as far as the commands read so far tell it.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.vars.get(name).map(|var| &var.value)
    }

    pub(super) fn var(&mut self, name: &str) -> &mut Var {
        let value = self.anything.clone().map_or(Value::Unset, Value::Unknown);
        self.vars.entry(name.to_owned()).or_insert_with(|| Var::new(value))
    }

    /// Marks every variable as unknown.
    pub(super) fn taint_all(&mut self, unknown: &Unknown) {
        for var in self.vars.values_mut() {
            var.value = Value::Unknown(unknown.clone());
        }
        self.anything = Some(unknown.clone());
    }

    /// Marks the variables that this source text names as unknown.
    pub(super) fn taint_mentioned(&mut self, unit: &Unit, span: &Span, why: fn(String) -> Why) {
        let text = slice(&unit.bytes, span);
        let maybe_array = self.dialect == Dialect::Bash && text.windows(2).any(|pair| pair == b"=(");
        for name in mentions(text) {
            self.taint(&name, unit.unknown(span.start, why(name.clone())), maybe_array);
        }
    }

    pub(super) fn taint(&mut self, name: &str, unknown: Unknown, maybe_array: bool) {
        let var = self.var(name);
        var.value = Value::Unknown(unknown);
        var.maybe_array |= maybe_array;
    }

    pub(super) fn lose(&mut self, unknown: Unknown) {
        self.taint_all(&unknown);
        self.lost.get_or_insert(unknown);
    }
}

/// Every name that occurs in the text, quoted or not.
pub(super) fn mentions(text: &[u8]) -> BTreeSet<String> {
    text.split(|b| !name_byte(*b))
        .filter(|word| word.first().is_some_and(|b| name_start(*b)))
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// Variables that the programs which source these files do not set before, and that nobody has in the environment.
pub(super) fn starts_unset(name: &str) -> bool {
    const MKINITCPIO: [&str; 7] = ["MODULES", "BINARIES", "FILES", "HOOKS", "COMPRESSION", "COMPRESSION_OPTIONS", "MODULES_DECOMPRESS"];
    name.starts_with("GRUB_CMDLINE_") || MKINITCPIO.contains(&name)
}

/// Variables that the shell itself changes or reads back otherwise than they were set.
pub(super) fn special(name: &str) -> bool {
    const NAMES: [&str; 22] = [
        "_",
        "RANDOM",
        "SRANDOM",
        "SECONDS",
        "LINENO",
        "EPOCHSECONDS",
        "EPOCHREALTIME",
        "HISTCMD",
        "DIRSTACK",
        "GROUPS",
        "FUNCNAME",
        "PIPESTATUS",
        "COMP_WORDBREAKS",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "COLUMNS",
        "LINES",
        "OPTARG",
        "OPTERR",
        "HOSTTYPE",
        "REPLY",
    ];
    NAMES.contains(&name) || name.starts_with("BASH") || name.starts_with("COMP_")
}

/// Variables whose assignment fails or changes how the rest of the file is read.
pub(super) fn perilous(name: &str) -> bool {
    const NAMES: [&str; 10] =
        ["IFS", "GLOBIGNORE", "UID", "EUID", "PPID", "SHELLOPTS", "BASHOPTS", "POSIXLY_CORRECT", "OPTIND", "BASH_VERSINFO"];
    NAMES.contains(&name) || name.starts_with("LC_") || name == "LANG"
}
