//! Words to values: literals, and expansion of variables that are known.

use super::error::Why;
use super::state::{State, Unit, Value, starts_unset};
use super::syntax::{Dialect, Index, Op, Part, PartKind, Quote, Word, slice};
use super::text::{Chunk, Text};

/// The texts that a parameter stands for, and whether it is a list (`[@]`).
struct Expansion {
    texts: Vec<Text>,
    list: bool,
}

/// Fields under construction.
#[derive(Default)]
struct Fields {
    done: Vec<Text>,
    open: Option<Text>,
}

impl Fields {
    fn glue(&mut self, text: Text) {
        self.open.get_or_insert_with(Text::default).chunks.extend(text.chunks);
    }

    fn close(&mut self) {
        self.done.extend(self.open.take());
    }

    /// Adds unquoted text, which is cut at blanks.
    fn split(&mut self, text: Text) {
        for chunk in text.chunks {
            if chunk.hole.is_some() {
                self.glue(Text { chunks: vec![chunk] });
                continue;
            }
            let mut at = 0;
            for piece in chunk.bytes.split(|b| matches!(b, b' ' | b'\t' | b'\n')) {
                if at > 0 {
                    self.close();
                }
                if !piece.is_empty() {
                    self.glue(Text { chunks: vec![sub_chunk(&chunk, at, piece)] });
                }
                at += piece.len() + 1;
            }
        }
    }
}

fn sub_chunk(chunk: &Chunk, at: usize, piece: &[u8]) -> Chunk {
    let exact = chunk.origin.as_ref().filter(|origin| origin.span.len() == chunk.bytes.len());
    let origin = exact.map(|origin| {
        let start = origin.span.start + at;
        super::text::Origin { span: start..start + piece.len(), ..origin.clone() }
    });
    Chunk { bytes: piece.to_vec(), origin, hole: None }
}

impl State {
    /// The right-hand side of a scalar assignment: no splitting, no file names.
    pub(super) fn scalar(&mut self, unit: &Unit, word: &Word) -> Text {
        let mut text = Text::default();
        for (index, part) in word.parts.iter().enumerate() {
            if part.quote == Quote::None && part.kind == PartKind::Verbatim && has_tilde(unit, part, index == 0) {
                text.chunks.push(hole(unit, part, Why::Computed("a tilde")));
                continue;
            }
            let piece = self.part(unit, part);
            text.chunks.extend(join(piece.texts));
        }
        text
    }

    /// The fields that a word of an array becomes.
    pub(super) fn fields(&mut self, unit: &Unit, word: &Word) -> Vec<Text> {
        if let Some(part) = word.parts.iter().find(|part| needs_shell(unit, word, part)) {
            let why = Why::Computed("braces, a file name pattern or a tilde");
            return vec![Text { chunks: vec![hole(unit, part, why)] }];
        }
        let mut fields = Fields::default();
        for part in &word.parts {
            let literal = matches!(part.kind, PartKind::Verbatim | PartKind::Escape(_));
            let expansion = self.part(unit, part);
            if literal {
                expansion.texts.into_iter().for_each(|text| fields.glue(text));
            } else if part.quote == Quote::None {
                for (index, text) in expansion.texts.into_iter().enumerate() {
                    if index > 0 {
                        fields.close();
                    }
                    fields.split(no_patterns(unit, part, text));
                }
            } else if expansion.list {
                for (index, text) in expansion.texts.into_iter().enumerate() {
                    if index > 0 {
                        fields.close();
                    }
                    fields.glue(text);
                }
            } else {
                fields.glue(Text { chunks: join(expansion.texts) });
            }
        }
        fields.close();
        fields.done
    }

    fn part(&mut self, unit: &Unit, part: &Part) -> Expansion {
        let one = |chunk: Chunk| Expansion { texts: vec![Text { chunks: vec![chunk] }], list: false };
        match &part.kind {
            PartKind::Verbatim => {
                one(Chunk { bytes: slice(&unit.bytes, &part.span).to_vec(), origin: unit.origin(&part.span, part.quote), hole: None })
            }
            PartKind::Escape(bytes) => one(Chunk { bytes: bytes.clone(), origin: unit.origin(&part.span, part.quote), hole: None }),
            PartKind::Computed(what) => {
                self.side_effects(unit, part);
                one(hole(unit, part, Why::Computed(what)))
            }
            PartKind::Parameter { name, index, op } => self.parameter(unit, part, (name, *index), op.as_ref()),
        }
    }

    /// `${X:=..}` and `$((X=1))` assign while they expand.
    fn side_effects(&mut self, unit: &Unit, part: &Part) {
        let text = slice(&unit.bytes, &part.span);
        let subshell = text.starts_with(b"`") || (text.starts_with(b"$(") && !text.starts_with(b"$(("));
        let assigns = text.contains(&b'=') || text.windows(2).any(|pair| matches!(pair, b"++" | b"--"));
        if !subshell && assigns {
            self.taint_mentioned(unit, &part.span, Why::Conditional);
        }
    }

    fn parameter(&mut self, unit: &Unit, part: &Part, (name, index): (&String, Index), op: Option<&(Op, Vec<Part>)>) -> Expansion {
        let texts = match self.lookup(unit, part, name, index) {
            Ok(texts) => texts,
            Err(hole) => {
                return Expansion { texts: vec![Text { chunks: vec![hole] }], list: false };
            }
        };
        let Some((op, word)) = op else {
            let texts = self.within_budget(unit, part, texts);
            return Expansion { texts, list: index == Index::At };
        };
        let set = texts.first();
        let unknown = set.and_then(Text::hole).is_some();
        let or_empty = match op {
            Op::Default { or_empty } | Op::Alternative { or_empty } => *or_empty,
        };
        let present = set.is_some_and(|text| !or_empty || text.len() > 0);
        if unknown {
            let chunks = vec![hole(unit, part, Why::Computed("a parameter expansion of an unknown value"))];
            return Expansion { texts: vec![Text { chunks }], list: false };
        }
        let chunks = match (op, present) {
            (Op::Default { .. }, true) => join(self.within_budget(unit, part, texts)),
            (Op::Default { .. }, false) | (Op::Alternative { .. }, true) => {
                let pieces: Vec<Text> = word.iter().map(|inner| Text { chunks: join(self.part(unit, inner).texts) }).collect();
                pieces.into_iter().flat_map(|text| text.chunks).collect()
            }
            (Op::Alternative { .. }, false) => Vec::new(),
        };
        Expansion { texts: vec![Text { chunks }], list: false }
    }

    /// The texts of a variable; none if it is unset.
    fn lookup(&self, unit: &Unit, part: &Part, name: &str, index: Index) -> Result<Vec<Text>, Chunk> {
        let outside = || hole(unit, part, Why::Outside(name.to_owned()));
        match self.value(name) {
            None if self.anything.is_none() && starts_unset(name) => Ok(Vec::new()),
            Some(Value::Unset) if starts_unset(name) => Ok(Vec::new()),
            None | Some(Value::Unset) => Err(outside()),
            Some(Value::Unknown(unknown)) => {
                let mut chunk = outside();
                chunk.hole = Some(unknown.clone());
                Err(chunk)
            }
            Some(Value::Scalar(text)) => Ok(vec![text.clone()]),
            Some(Value::Array(texts)) if index == Index::None => Ok(texts.first().cloned().into_iter().collect()),
            Some(Value::Array(texts)) => Ok(texts.clone()),
        }
    }

    fn within_budget(&mut self, unit: &Unit, part: &Part, texts: Vec<Text>) -> Vec<Text> {
        let cost: usize = texts.iter().map(|text| text.len() + 16 * text.chunks.len()).sum();
        match self.budget.checked_sub(cost) {
            Some(left) => {
                self.budget = left;
                texts
            }
            None => vec![Text { chunks: vec![hole(unit, part, Why::TooLarge)] }],
        }
    }

    /// Is this shell bash?
    pub(super) fn bash(&self) -> bool {
        self.dialect == Dialect::Bash
    }
}

fn hole(unit: &Unit, part: &Part, why: Why) -> Chunk {
    Chunk { bytes: slice(&unit.bytes, &part.span).to_vec(), origin: None, hole: Some(unit.unknown(part.span.start, why)) }
}

/// Several texts in one string are joined by a blank.
fn join(texts: Vec<Text>) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for (index, text) in texts.into_iter().enumerate() {
        if index > 0 {
            chunks.push(Chunk { bytes: b" ".to_vec(), origin: None, hole: None });
        }
        chunks.extend(text.chunks);
    }
    chunks
}

fn has_tilde(unit: &Unit, part: &Part, first: bool) -> bool {
    let text = slice(&unit.bytes, &part.span);
    (first && text.starts_with(b"~")) || text.windows(2).any(|pair| matches!(pair, b":~" | b"=~"))
}

/// Would the shell do more with this unquoted text than take it as it stands?
fn needs_shell(unit: &Unit, word: &Word, part: &Part) -> bool {
    if part.quote != Quote::None || part.kind != PartKind::Verbatim {
        return false;
    }
    let text = slice(&unit.bytes, &part.span);
    let subscript = word.span.start == part.span.start && text.starts_with(b"[");
    subscript || has_tilde(unit, part, word.span.start == part.span.start) || pattern(text) || text.contains(&b'{')
}

/// A pattern of file names. `module?` is how mkinitcpio.conf marks a module that may be missing; no file has that name.
fn pattern(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"?").unwrap_or(text);
    text.iter().any(|b| matches!(b, b'*' | b'?' | b'['))
}

fn no_patterns(unit: &Unit, part: &Part, mut text: Text) -> Text {
    for chunk in &mut text.chunks {
        if chunk.hole.is_none() && chunk.bytes.iter().any(|b| matches!(b, b'*' | b'?' | b'[' | b'\\')) {
            *chunk = hole(unit, part, Why::Computed("a file name pattern"));
        }
    }
    text
}
