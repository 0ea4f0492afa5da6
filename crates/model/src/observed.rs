//! A fact that may be unknown, and where a fact is from.

/// What is known of one fact. `Unknown` is a value of its own: it is never taken for zero or absent, and no change rests on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed<T> {
    /// Read from the host.
    Known(T),
    /// Looked for, and not there.
    Absent,
    /// Could not be read, or was not part of the capture; the text says why.
    Unknown(String),
}

impl<T> Observed<T> {
    /// The value, where it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    /// True only where the host was seen not to have it.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// True where nothing can be said.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// Applies `f` to a known value and leaves the other two states as they are.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Observed<U> {
        match self {
            Self::Known(value) => Observed::Known(f(value)),
            Self::Absent => Observed::Absent,
            Self::Unknown(why) => Observed::Unknown(why),
        }
    }
}

/// Where a fact is from: a path on the host, the line in it (counted from 1) where that makes sense, and the text seen there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// Path as seen from inside the root, or the name of another source (`kernel default`).
    pub source: String,
    /// Line number, from 1.
    pub line: Option<u32>,
    /// What stands there, or what was noticed.
    pub text: String,
}

impl Evidence {
    /// Evidence from a whole file, a link or a directory.
    pub fn new(source: impl Into<String>, text: impl Into<String>) -> Self {
        Self { source: source.into(), line: None, text: text.into() }
    }

    /// Evidence from one line of a file, counted from 1.
    pub fn at_line(source: impl Into<String>, line: u32, text: impl Into<String>) -> Self {
        Self { source: source.into(), line: Some(line), text: text.into() }
    }
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.source, self.text),
            None => write!(f, "{}: {}", self.source, self.text),
        }
    }
}
