//! What every edit shares: reading the file before, and accepting a new one only when it says what was wanted.

use super::env::{Environment, Evaluation};
use super::error::{CannotEdit, Why, line_of};
use super::parser::parse;
use super::state::{Site, Sourcing, Value};
use super::syntax::{CommandKind, Dialect, Shells, Span, slice};
use super::text::Text;

/// The file before the edit, as each shell sees it.
pub(super) struct Before<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) var: &'a str,
    shells: Shells,
    environments: Vec<Environment>,
}

/// A value without its provenance, for comparison.
#[derive(PartialEq, Eq)]
enum Plain {
    Unset,
    Scalar(Vec<u8>, bool),
    Array(Vec<(Vec<u8>, bool)>),
    Unknown(Why),
}

impl<'a> Before<'a> {
    pub(super) fn read(bytes: &'a [u8], var: &'a str, shells: Shells) -> Result<Self, CannotEdit> {
        let line = |at: usize| line_of(bytes, at);
        if let Some(at) = bytes.iter().position(|b| *b == b'\r') {
            return Err(CannotEdit::CarriageReturn { line: line(at) });
        }
        if let Some(at) = bytes.iter().position(|b| *b == 0) {
            return Err(CannotEdit::Nul { line: line(at) });
        }
        let mut environments = Vec::new();
        for dialect in shells.dialects() {
            if let Err(error) = parse(bytes, *dialect) {
                let shell = if *dialect == Dialect::Bash { "bash" } else { "dash" };
                return Err(CannotEdit::Unreadable { line: error.line, what: error.what, shell });
            }
            environments.push(Environment::source(&[bytes], Sourcing::Each, *dialect));
        }
        let before = Self { bytes, var, shells, environments };
        before.check_known()?;
        Ok(before)
    }

    /// All shells must agree, and the value be known or at least come from plain assignments.
    fn check_known(&self) -> Result<(), CannotEdit> {
        for environment in &self.environments {
            if let Evaluation::Unknown(unknown) = environment.get(self.var) {
                let texts = match environment.state.value(self.var) {
                    Some(Value::Scalar(text)) => std::slice::from_ref(text),
                    Some(Value::Array(texts)) => texts,
                    _ => &[],
                };
                let holes: Vec<_> = texts.iter().flat_map(|t| &t.chunks).filter_map(|c| c.hole.as_ref()).collect();
                let sound = environment.state.lost.is_none() && !holes.is_empty();
                if !sound || holes.iter().any(|hole| !hole.why.appendable()) {
                    return Err(self.unknown(unknown.line, unknown.why));
                }
            }
        }
        let mut plains = self.environments.iter().map(|environment| plain(environment, self.var));
        let first = plains.next();
        if plains.any(|other| Some(other) != first) {
            return Err(CannotEdit::ShellsDiffer { var: self.var.to_owned(), line: self.line() });
        }
        Ok(())
    }

    pub(super) fn unknown(&self, line: usize, why: Why) -> CannotEdit {
        CannotEdit::Unknown { var: self.var.to_owned(), line, why }
    }

    pub(super) fn no_safe_form(&self) -> CannotEdit {
        CannotEdit::NoSafeForm { var: self.var.to_owned(), line: self.line() }
    }

    pub(super) fn value(&self) -> &Value {
        self.environments.first().and_then(|environment| environment.state.value(self.var)).unwrap_or(&Value::Unset)
    }

    /// The hole that makes the value unknown.
    pub(super) fn hole(&self) -> Option<CannotEdit> {
        match self.environments.first()?.get(self.var) {
            Evaluation::Unknown(unknown) => Some(self.unknown(unknown.line, unknown.why)),
            _ => None,
        }
    }

    /// The assignments that make up the value, in order.
    pub(super) fn sites(&self) -> &[Site] {
        let var = self.environments.first().and_then(|environment| environment.state.vars.get(self.var));
        var.map_or(&[], |var| &var.sites)
    }

    /// Line of the last assignment, or 1.
    pub(super) fn line(&self) -> usize {
        self.sites().last().map_or(1, |site| site.line)
    }

    /// The first candidate after which the variable is as wanted and everything else as before.
    pub(super) fn choose(
        &self,
        candidates: impl IntoIterator<Item = Vec<u8>>,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Vec<u8>, CannotEdit> {
        candidates.into_iter().find(|new| self.accepts(new, &wanted)).ok_or_else(|| self.no_safe_form())
    }

    fn accepts(&self, new: &[u8], wanted: &impl Fn(&Value) -> bool) -> bool {
        self.shells.dialects().iter().zip(&self.environments).all(|(dialect, old)| {
            let environment = Environment::source(&[new], Sourcing::Each, *dialect);
            let same = |name: &str| name == self.var || plain(old, name) == plain(&environment, name);
            environment.state.lost.is_none()
                && other_commands(new, self.var, *dialect) == other_commands(self.bytes, self.var, *dialect)
                && old.names().all(same)
                && environment.names().all(same)
                && wanted(environment.state.value(self.var).unwrap_or(&Value::Unset))
        })
    }
}

/// The text of the commands other than plain assignments of the variable alone.
fn other_commands<'a>(bytes: &'a [u8], var: &str, dialect: Dialect) -> Option<Vec<&'a [u8]>> {
    let script = parse(bytes, dialect).ok()?;
    let own = |kind: &CommandKind| matches!(kind, CommandKind::Simple(simple) if simple.assigns.iter().any(|assign| assign.name == var));
    Some(script.commands.iter().filter(|c| !own(&c.kind)).map(|c| slice(bytes, &c.span)).collect())
}

fn plain(environment: &Environment, name: &str) -> Plain {
    let text = |text: &Text| (text.raw(), text.hole().is_some());
    match environment.state.value(name) {
        None | Some(Value::Unset) => Plain::Unset,
        Some(Value::Scalar(value)) => Plain::Scalar(text(value).0, text(value).1),
        Some(Value::Array(values)) => Plain::Array(values.iter().map(text).collect()),
        Some(Value::Unknown(unknown)) => Plain::Unknown(unknown.why.clone()),
    }
}

/// The file with a line at its end, after a newline if the last line has none.
pub(super) fn with_line(bytes: &[u8], line: &[u8]) -> Vec<u8> {
    let mut new = bytes.to_vec();
    if new.last().is_some_and(|b| *b != b'\n') {
        new.push(b'\n');
    }
    new.extend_from_slice(line);
    new.push(b'\n');
    new
}

/// The file with one range replaced.
pub(super) fn replaced(bytes: &[u8], span: &Span, with: &[u8]) -> Vec<u8> {
    let mut new = bytes.get(..span.start).unwrap_or_default().to_vec();
    new.extend_from_slice(with);
    new.extend_from_slice(bytes.get(span.end..).unwrap_or_default());
    new
}

/// The whole line of a command that has it for itself, with its newline.
pub(super) fn own_line(bytes: &[u8], span: &Span) -> Option<Span> {
    let before = bytes.get(..span.start)?;
    let starts = before.last().is_none_or(|b| *b == b'\n') && !before.ends_with(b"\\\n");
    (starts && bytes.get(span.end) == Some(&b'\n')).then(|| span.start..span.end + 1)
}
