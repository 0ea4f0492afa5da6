//! Running the top-level commands: which variable holds what after the files were sourced.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::error::{Unknown, Why};
use super::parser::parse;
use super::state::{Body, Site, Sourcing, State, Unit, Value, mentions, perilous, special, starts_unset};
use super::syntax::{Assign, AssignValue, CommandKind, Dialect, Part, PartKind, Script, Simple, Span, Word, is_name, name_byte, slice};
use super::text::{Chunk, Text};

/// The variables after the files were sourced in order.
pub struct Environment {
    pub(super) state: State,
}

/// What one variable holds after the files were sourced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evaluation {
    /// No file assigns it.
    Unset,
    /// A string.
    Scalar(Text),
    /// The elements of an array; bash only.
    Array(Vec<Text>),
    /// Cannot be told from the files.
    Unknown(Unknown),
}

/// What one variable holds after `files` were sourced in order by the shell. See [`Environment::source`].
pub fn evaluate(files: &[&[u8]], sourcing: Sourcing, dialect: Dialect, name: &str) -> Evaluation {
    Environment::source(files, sourcing, dialect).get(name)
}

/// What a command may do beyond what its text shows.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    Mentions,
    Call,
    Anything,
    Lost,
}

impl Environment {
    /// Sources the files in order, starting from an environment in which none of their variables is set.
    ///
    /// A file that does not parse makes everything unknown, as do commands such as `exit` or `set -e`.
    pub fn source(files: &[&[u8]], sourcing: Sourcing, dialect: Dialect) -> Self {
        let mut state = State::new(dialect);
        for unit in Unit::all(files, sourcing) {
            if let Some(at) = unit.bytes.iter().position(|b| *b == 0) {
                state.lose(unit.unknown(at, Why::Nul));
                continue;
            }
            if unit.bytes.starts_with("\u{feff}".as_bytes()) {
                state.lose(unit.unknown(0, Why::ByteOrderMark));
                continue;
            }
            match parse(&unit.bytes, dialect) {
                Ok(script) => state.run(&unit, &script),
                Err(error) => state.lose(unit.unknown(error.offset, Why::Unreadable(error.what))),
            }
        }
        Self { state }
    }

    /// What the variable holds.
    pub fn get(&self, name: &str) -> Evaluation {
        if let Some(unknown) = &self.state.lost {
            return Evaluation::Unknown(unknown.clone());
        }
        match (self.state.value(name), &self.state.anything) {
            (None, Some(unknown)) | (Some(Value::Unknown(unknown)), _) => Evaluation::Unknown(unknown.clone()),
            (None | Some(Value::Unset), _) => Evaluation::Unset,
            (Some(Value::Scalar(text)), _) => match text.hole() {
                Some(unknown) => Evaluation::Unknown(unknown.clone()),
                None => Evaluation::Scalar(text.clone()),
            },
            (Some(Value::Array(texts)), _) => match texts.iter().find_map(Text::hole) {
                Some(unknown) => Evaluation::Unknown(unknown.clone()),
                None => Evaluation::Array(texts.clone()),
            },
        }
    }

    /// The names that the files mention as variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.state.vars.keys().map(String::as_str)
    }
}

impl State {
    fn run(&mut self, unit: &Unit, script: &Script) {
        for command in &script.commands {
            if let Some(at) = script.fallible.iter().find(|at| command.span.contains(at)) {
                self.lose(unit.unknown(*at, Why::Lost("an expansion that may fail".to_owned())));
            }
            match &command.kind {
                CommandKind::Simple(simple) => self.simple(unit, simple),
                CommandKind::Function { inner, functions } => self.define(unit, &command.span, inner, functions),
                CommandKind::Opaque { inner, functions } => {
                    self.define(unit, &command.span, inner, functions);
                    for simple in inner {
                        self.effect(unit, simple);
                    }
                    self.taint_mentioned(unit, &command.span, Why::Conditional);
                }
                CommandKind::HereDocument => {
                    let text = slice(&unit.bytes, &command.span);
                    let risky = |p: &[u8]| p.starts_with(b"${") || p.starts_with(b"$[") || p == b"$((";
                    if text.windows(3).any(risky) {
                        self.lose(unit.unknown(command.span.start, Why::Lost("an expansion that may fail".to_owned())));
                    }
                }
            }
        }
    }

    fn simple(&mut self, unit: &Unit, simple: &Simple) {
        let Some(command) = simple.words.first() else {
            let alone = simple.assigns.len() == 1 && !simple.redirected;
            for assign in &simple.assigns {
                self.assign(unit, assign, alone.then(|| simple.span.clone()));
            }
            if simple.may_fail {
                self.lose(unit.unknown(simple.span.start, Why::Lost("a redirection that may fail".to_owned())));
            }
            return;
        };
        if !self.bash() && self.append_in_dash(unit, simple) {
            return;
        }
        let literal = command.literal(&unit.bytes).unwrap_or_default();
        let name = String::from_utf8_lossy(&literal).into_owned();
        let posix = matches!(name.as_str(), "export" | "readonly");
        let declares = posix || (self.bash() && matches!(name.as_str(), "declare" | "typeset"));
        if declares && !simple.redirected && !self.functions.contains(&name) {
            self.declare(unit, simple, &name);
            return;
        }
        self.effect(unit, simple);
        let known_noop = !self.bash() && matches!(name.as_str(), "declare" | "typeset" | "source" | "shopt");
        if !known_noop {
            self.taint_mentioned(unit, &simple.span, reason(unit, simple, &name));
        }
    }

    /// `NAME+=word` is in dash a command of that name, which does not exist.
    fn append_in_dash(&self, unit: &Unit, simple: &Simple) -> bool {
        let raw = simple.words.first().map(|word| slice(&unit.bytes, &word.span)).unwrap_or_default();
        let length = raw.iter().take_while(|b| name_byte(**b)).count();
        let computed = |part: &Part| matches!(part.kind, PartKind::Computed(_) | PartKind::Parameter { op: Some(_), .. });
        length > 0
            && raw.get(length..).is_some_and(|rest| rest.starts_with(b"+="))
            && simple.assigns.is_empty()
            && !simple.words.iter().flat_map(|word| &word.parts).any(computed)
    }

    fn define(&mut self, unit: &Unit, span: &Span, inner: &[Simple], functions: &[String]) {
        if functions.is_empty() {
            return;
        }
        let usual = |simple: &&Simple| {
            let word = simple.words.first().map(|word| slice(&unit.bytes, &word.span));
            !matches!(word, Some(b"local" | b"return" | b"shift"))
        };
        let effects: Vec<Effect> = inner.iter().filter(usual).map(|simple| self.classify(unit, simple)).collect();
        self.functions.extend(functions.iter().cloned());
        self.bodies.push(Body {
            mentions: mentions(slice(&unit.bytes, span)),
            anything: effects.contains(&Effect::Anything),
            lost: effects.contains(&Effect::Lost),
        });
    }

    fn effect(&mut self, unit: &Unit, simple: &Simple) {
        let at = simple.span.start;
        let name = simple.words.first().map(|word| slice(&unit.bytes, &word.span)).unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        match self.classify(unit, simple) {
            Effect::Mentions => {}
            Effect::Call => self.call(unit, at, &name),
            Effect::Anything => self.taint_all(&unit.unknown(at, Why::Anything(name))),
            Effect::Lost => self.lose(unit.unknown(at, Why::Lost(name))),
        }
        let sources = simple.words.first().is_some_and(|w| matches!(slice(&unit.bytes, &w.span), b"." | b"source" | b"eval"));
        self.foreign |= sources;
    }

    /// A function runs: all that any function mentions may have changed, as they may call each other.
    fn call(&mut self, unit: &Unit, at: usize, name: &str) {
        for body in self.bodies.clone() {
            for variable in body.mentions {
                self.taint(&variable, unit.unknown(at, Why::Conditional(variable.clone())), true);
            }
            if body.anything {
                self.taint_all(&unit.unknown(at, Why::Anything(name.to_owned())));
            }
            if body.lost {
                self.lose(unit.unknown(at, Why::Lost(name.to_owned())));
            }
        }
    }

    fn classify(&self, unit: &Unit, simple: &Simple) -> Effect {
        let Some(command) = simple.words.first() else {
            return Effect::Mentions;
        };
        let Some(name) = command.literal(&unit.bytes) else {
            return Effect::Anything;
        };
        if self.functions.contains(&*String::from_utf8_lossy(&name)) {
            return Effect::Call;
        }
        let rest = simple.words.get(1..).unwrap_or_default();
        let computed = |words: &[Word]| words.iter().any(|word| word.literal(&unit.bytes).is_none());
        let literal = |word: Option<&Word>| word.and_then(|word| word.literal(&unit.bytes));
        let flag = literal(rest.first()).unwrap_or_default();
        match name.as_slice() {
            _ if self.ends_or_bends(simple, &name, rest.len(), &flag) => Effect::Lost,
            b"source" if !self.bash() => Effect::Mentions,
            b"." | b"eval" | b"source" => Effect::Anything,
            b"unset" | b"read" | b"mapfile" | b"readarray" | b"getopts" | b"let" | b"wait" | b"export" | b"readonly" | b"declare"
            | b"typeset"
                if computed(rest) =>
            {
                Effect::Anything
            }
            b"unset" if rest.iter().any(|word| literal(Some(word)).is_none_or(|text| !is_name(&text))) => Effect::Lost,
            b"declare" | b"typeset" if rest.iter().any(|word| word.literal(&unit.bytes).is_some_and(|w| w.contains(&b'n'))) => {
                Effect::Anything
            }
            b"printf" if literal(rest.first()).is_none_or(|first| first.starts_with(b"-")) => Effect::Anything,
            b":" | b"true" | b"false" | b"echo" | b"test" | b"[" | b"printf" => Effect::Mentions,
            _ if self.foreign => Effect::Anything,
            _ => Effect::Mentions,
        }
    }

    /// Commands that may end the shell or change how it reads on.
    fn ends_or_bends(&self, simple: &Simple, name: &[u8], arguments: usize, flag: &[u8]) -> bool {
        match name {
            // A special builtin whose redirection fails ends dash.
            b":" | b"export" | b"readonly" | b"unset" | b"times" => simple.may_fail,
            b"set" => arguments != 1 || !matches!(flag, b"-a" | b"+a"),
            b"command" => !flag.eq_ignore_ascii_case(b"-v"),
            b"trap" | b"alias" | b"unalias" | b"shopt" | b"enable" | b"exec" | b"exit" | b"return" | b"builtin" | b"break"
            | b"continue" | b"local" | b"shift" | b"coproc" => true,
            _ => false,
        }
    }

    /// `export`, `readonly`, `declare`, `typeset` at the top level.
    fn declare(&mut self, unit: &Unit, simple: &Simple, command: &str) {
        let mut flags = BTreeSet::new();
        let mut names = Vec::new();
        for word in simple.words.get(1..).unwrap_or_default() {
            match word.literal(&unit.bytes) {
                Some(text) if text.starts_with(b"-") || text.starts_with(b"+") => flags.extend(text),
                Some(text) if is_name(&text) => names.push(String::from_utf8_lossy(&text).into_owned()),
                Some(_) => {
                    return self.lose(unit.unknown(simple.span.start, Why::Lost(command.to_owned())));
                }
                None => {
                    return self.taint_all(&unit.unknown(simple.span.start, Why::Anything(command.to_owned())));
                }
            }
        }
        let plain = flags.iter().all(|flag| b"-agxr".contains(flag)) && (command != "export" || flags.is_empty());
        let prefixed = slice(&unit.bytes, &simple.span).iter().take_while(|b| **b != b' ').eq(command.as_bytes());
        if flags.contains(&b'n') || !prefixed {
            return self.lose(unit.unknown(simple.span.start, Why::Lost(command.to_owned())));
        }
        let array = flags.contains(&b'a');
        for assign in &simple.assigns {
            let bracket = matches!(&assign.value, AssignValue::Scalar(word)
                if !word.parts.is_empty() && (array || assign.append) );
            self.assign(unit, assign, None);
            if !plain || bracket {
                self.make_odd(unit, simple, &assign.name);
            }
        }
        for name in names.iter().chain(simple.assigns.iter().map(|assign| &assign.name)) {
            if !plain {
                self.make_odd(unit, simple, name);
            }
            if array {
                self.make_array(name);
            }
            if command == "readonly" || flags.contains(&b'r') {
                let unknown = unit.unknown(simple.span.start, Why::ReadOnly((*name).clone()));
                self.var(name).readonly.get_or_insert(unknown);
            }
        }
    }

    fn make_odd(&mut self, unit: &Unit, simple: &Simple, name: &str) {
        let unknown = unit.unknown(simple.span.start, Why::Conditional(name.to_owned()));
        self.taint(name, unknown, true);
        self.var(name).odd = true;
    }

    fn make_array(&mut self, name: &str) {
        let var = self.var(name);
        var.value = match std::mem::replace(&mut var.value, Value::Unset) {
            Value::Unset => Value::Array(Vec::new()),
            Value::Scalar(text) => Value::Array(vec![text]),
            other => other,
        };
        var.maybe_array = true;
    }

    fn assign(&mut self, unit: &Unit, assign: &Assign, alone: Option<Span>) {
        let at = assign.span.start;
        let (_, line) = unit.place(at);
        let site = Site { assign: Rc::new(assign.clone()), line, alone };
        let value = match &assign.value {
            AssignValue::Scalar(word) => Value::Scalar(self.scalar(unit, word)),
            AssignValue::Array(literal) => Value::Array(literal.elements.iter().flat_map(|word| self.fields(unit, word)).collect()),
        };
        let name = assign.name.as_str();
        if let Some(readonly) = self.var(name).readonly.clone() {
            return self.lose(readonly);
        }
        if perilous(name) {
            return self.lose(unit.unknown(at, Why::Lost(format!("{name}="))));
        }
        let array_text = matches!(value, Value::Array(_));
        if special(name) || self.var(name).odd || assign.subscript || slice(&unit.bytes, &assign.span).len() > 8 << 20 {
            let unknown = unit.unknown(at, Why::Conditional(name.to_owned()));
            return self.taint(name, unknown, assign.subscript || array_text);
        }
        if assign.append && self.var(name).value == Value::Unset && !starts_unset(name) {
            return self.taint(name, unit.unknown(at, Why::Outside(name.to_owned())), false);
        }
        let var = self.var(name);
        let old = std::mem::replace(&mut var.value, Value::Unset);
        let array = matches!(old, Value::Array(_));
        if !assign.append && (array_text || !array) {
            var.sites.clear();
        }
        var.sites.push(site);
        var.value = match (old, var.maybe_array && !array_text) {
            (Value::Unknown(unknown), true) => Value::Unknown(unknown),
            (old, _) => store(old, value, assign.append),
        };
        if array_text && !assign.append {
            var.maybe_array = true;
        }
    }
}

/// Why what a command names is not known after it.
fn reason(unit: &Unit, simple: &Simple, command: &str) -> fn(String) -> Why {
    let argument = simple.words.get(1).map(|word| slice(&unit.bytes, &word.span)).unwrap_or_default();
    match command {
        "unset" => Why::Unset,
        _ if !simple.assigns.is_empty() => Why::Blank,
        name if is_name(name.as_bytes()) && argument.starts_with(b"=") => Why::Blank,
        _ => Why::Conditional,
    }
}

/// The rules of bash for assigning strings and arrays onto what was there.
fn store(old: Value, new: Value, append: bool) -> Value {
    match (old, new) {
        (Value::Array(mut elements), Value::Scalar(text)) => {
            if elements.is_empty() {
                elements.push(text);
            } else if let Some(first) = elements.first_mut() {
                if append {
                    first.chunks.extend(text.chunks);
                } else {
                    *first = text;
                }
            }
            Value::Array(elements)
        }
        (_, new) if !append => new,
        (Value::Scalar(mut old), Value::Scalar(text)) => {
            old.chunks.extend(text.chunks);
            Value::Scalar(old)
        }
        (Value::Scalar(old), Value::Array(elements)) => Value::Array(std::iter::once(old).chain(elements).collect()),
        (Value::Array(mut old), Value::Array(elements)) => {
            old.extend(elements);
            Value::Array(old)
        }
        (Value::Unknown(unknown), Value::Scalar(text)) => {
            let hole = Chunk { bytes: Vec::new(), origin: None, hole: Some(unknown) };
            Value::Scalar(Text { chunks: std::iter::once(hole).chain(text.chunks).collect() })
        }
        (Value::Unknown(unknown), _) => Value::Unknown(unknown),
        (_, new) => new,
    }
}
