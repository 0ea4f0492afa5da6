//! The journal in a scrubbed capture: it speaks of the files as they are there now, so that the capture gets the answers of its host.

use crate::digest::sha256;
use crate::journal::{OPERATIONS, resealed};
use base64::{Engine, engine::general_purpose::STANDARD};
use cede_model::scrub::Scrubber;
use cede_model::{Capture, Entry};
use serde_json::Value;
use std::collections::HashMap;

/// What files are kept as in a plan where they are no text.
const ENCODED: [&str; 2] = ["before_base64", "after_base64"];

/// What holds words of the format, which may be a host's name too.
const WORDS: [&str; 9] = ["record", "format", "verb", "end", "kind", "when", "bind", "accepted", "id"];

/// Writes the journal of the capture `from` anew in `to`, which `scrubber` made of it. A record that is damaged stays damaged.
pub fn rewrite(from: &Capture, to: &mut Capture, scrubber: &mut Scrubber) {
    let journal: Vec<(String, &[u8])> = from
        .names_in(OPERATIONS)
        .map(|name| format!("{OPERATIONS}/{name}"))
        .filter_map(|path| Some((path.clone(), from.file(&path)?)))
        .collect();
    if journal.is_empty() {
        return;
    }
    let mut made = Made { scrubber, digests: HashMap::new() };
    made.files(from, to);
    journal.iter().flat_map(|(_, bytes)| bytes.split(|byte| *byte == b'\n')).for_each(|line| made.learn(line));
    let texts: Vec<(String, Vec<Line>)> = journal.into_iter().map(|(path, bytes)| (path, made.lines(bytes))).collect();
    for (path, lines) in texts {
        let lines: Vec<Vec<u8>> = lines.into_iter().map(|line| line.written(&made.digests)).collect();
        to.insert(path, Entry::File(lines.join(&b'\n')));
    }
}

/// One line of the journal.
enum Line {
    /// A record that is as it was written.
    Record(Value),
    /// Anything else, scrubbed as text is.
    Other(Vec<u8>),
}

impl Line {
    fn written(self, digests: &HashMap<String, String>) -> Vec<u8> {
        match self {
            Self::Other(text) => text,
            Self::Record(mut record) => {
                each_text(&mut record, &mut |_, text| digests.get(text).cloned());
                resealed(record).into_bytes()
            }
        }
    }
}

/// What the texts of the journal become, and the digests of all of them: old, new.
struct Made<'s> {
    scrubber: &'s mut Scrubber,
    digests: HashMap<String, String>,
}

impl Made<'_> {
    /// Files of the capture, whose digests a plan may hold. Few paths change, and those files are not in a plan.
    fn files(&mut self, from: &Capture, to: &Capture) {
        for (path, entry) in from.entries() {
            if let (Entry::File(old), Some(new)) = (entry, to.file(path))
                && old != new
            {
                self.digests.insert(sha256(old), sha256(new));
            }
        }
    }

    fn learn(&mut self, line: &[u8]) {
        self.scrubber.learn(line);
        if let Ok(mut record) = serde_json::from_slice(line) {
            each_text(&mut record, &mut |key, text| {
                self.scrubber.learn(&decoded(key, text)?);
                None
            });
        }
    }

    fn lines(&mut self, bytes: &[u8]) -> Vec<Line> {
        let lines = bytes.split(|byte| *byte == b'\n');
        lines.map(|line| self.record(line).map_or_else(|| Line::Other(self.scrubber.clean(&without_encoded(line))), Line::Record)).collect()
    }

    fn record(&mut self, line: &[u8]) -> Option<Value> {
        let mut record: Value = serde_json::from_slice(line).ok().filter(|_| crate::journal::is_whole(line) == Some(true))?;
        each_text(&mut record, &mut |key, text| {
            let old = decoded(key, text)?;
            let new = self.scrubber.clean(&old);
            if old == new || WORDS.contains(&key) {
                return None;
            }
            self.digests.insert(sha256(&old), sha256(&new));
            Some(if ENCODED.contains(&key) { STANDARD.encode(&new) } else { String::from_utf8_lossy(&new).into_owned() })
        });
        Some(record)
    }
}

fn decoded(key: &str, text: &str) -> Option<Vec<u8>> {
    if ENCODED.contains(&key) { STANDARD.decode(text).ok() } else { Some(text.as_bytes().to_vec()) }
}

/// A damaged line without the files that it holds encoded: what they tell cannot be seen there.
fn without_encoded(line: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b'"').collect();
    let is_encoded =
        |at: usize| at.checked_sub(2).and_then(|key| parts.get(key)).is_some_and(|key| ENCODED.iter().any(|one| one.as_bytes() == *key));
    let kept: Vec<&[u8]> = parts.iter().enumerate().map(|(at, part)| if is_encoded(at) { &[] } else { *part }).collect();
    kept.join(&b'"')
}

/// Puts what `change` answers in the place of each text, of which it gets the key, too.
fn each_text(value: &mut Value, change: &mut impl FnMut(&str, &str) -> Option<String>) {
    fn walk(key: &str, value: &mut Value, change: &mut impl FnMut(&str, &str) -> Option<String>) {
        match value {
            Value::String(text) => {
                if let Some(new) = change(key, text) {
                    *text = new;
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|value| walk(key, value, change)),
            Value::Object(map) => map.iter_mut().for_each(|(key, value)| walk(key, value, change)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    walk("", value, change);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{self, End, Record, Verb};
    use crate::plan::{Condition, Expectation, When};
    use crate::verify::verify;
    use crate::{Plan, Step};
    use cede_model::Host;

    const UUID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

    fn host(after: &[u8]) -> Capture {
        let step = Step::ReplaceFile {
            path: "/etc/kernel/cmdline".into(),
            before: Some(b"root=UUID=0A1B-2C3D\n".to_vec()),
            after: Some(after.to_vec()),
        };
        let plan = Plan {
            steps: vec![step],
            expects: vec![Expectation::now(Condition::FileIs { path: "/etc/kernel/cmdline".into(), sha256: Some(sha256(after)) })],
            ..Plan::default()
        };
        let records = [
            journal::begin(Verb::Apply, 1, Some(UUID.into()), &plan),
            Record::Started { step: 0, made: vec![] },
            Record::Done { step: 0 },
            Record::Finished { end: End::Applied },
        ];
        let text: String = records.iter().map(journal::line).collect();
        let mut capture = Capture::new();
        capture.insert(journal::path(1), Entry::File(text.into_bytes()));
        capture.insert("/etc/kernel/cmdline", Entry::File(after.to_vec()));
        capture.insert("/etc/hostname", Entry::File(b"workhorse\n".to_vec()));
        capture
    }

    fn scrubbed(capture: &Capture) -> Capture {
        let (mut new, mut scrubber) = (capture.clone(), Scrubber::default());
        scrubber.scrub(&mut new);
        rewrite(capture, &mut new, &mut scrubber);
        new
    }

    #[test]
    fn the_journal_speaks_of_the_files_as_they_are_in_the_capture() {
        let text = format!("root=UUID={UUID} resume=UUID=0A1B-2C3D rd.lvm.lv=workhorse-vg/root\n");
        for after in [text.as_bytes(), &[text.as_bytes(), b"# caf\xe9 on workhorse UUID=01D5A8B3C4E5F607\n"].concat()] {
            let (old, new) = (host(after), scrubbed(&host(after)));
            for secret in [UUID, "0A1B-2C3D", "workhorse", &STANDARD.encode(after)] {
                let holds = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(secret);
                assert!(!new.entries().any(|(_, entry)| matches!(entry, Entry::File(bytes) if holds(bytes))), "{secret}");
            }
            let operations = |capture: &Capture| journal::operations(capture).unwrap();
            let (was, is) = (&operations(&old)[0], &operations(&new)[0]);
            assert_eq!((is.verb, is.end, &is.started), (was.verb, was.end, &was.started));
            let Step::ReplaceFile { after, .. } = &is.plan.steps[0] else { panic!() };
            assert_eq!(after.as_deref(), new.file("/etc/kernel/cmdline"));
            for capture in [&old, &new] {
                let expects = operations(capture)[0].plan.expects.clone();
                assert!(verify(&Host::from_capture(capture.clone()), &expects, When::Now).passed());
            }
        }
    }

    #[test]
    fn what_is_damaged_stays_so_and_what_was_cut_off_too() {
        let mut capture = host(b"root=UUID=0A1B-2C3D\n");
        let path = journal::path(1);
        let whole = capture.file(&path).unwrap().to_vec();
        let flipped: Vec<u8> = String::from_utf8(whole.clone()).unwrap().replacen("\"time\":1", "\"time\":2", 1).into_bytes();
        capture.insert(path.as_str(), Entry::File(flipped));
        assert!(journal::operations(&scrubbed(&capture)).is_err());
        capture.insert(path.as_str(), Entry::File(whole[..whole.len() - 9].to_vec()));
        assert_eq!(journal::operations(&scrubbed(&capture)).unwrap()[0].end, None);
        let encoded = host(&[UUID.as_bytes(), b"\xe9"].concat());
        let line = encoded.file(&path).unwrap().to_vec();
        capture.insert(path.as_str(), Entry::File(line[..line.len() / 2].to_vec()));
        assert!(!String::from_utf8_lossy(scrubbed(&capture).file(&path).unwrap()).contains(&STANDARD.encode(&UUID[..9])));
        capture.remove(&path);
        assert_eq!(scrubbed(&capture).names_in(OPERATIONS).count(), 0);
    }

    #[test]
    fn words_of_the_format_stay_whatever_the_host_is_called() {
        let mut capture = host(b"root=UUID=0A1B-2C3D quiet\n");
        for name in ["applied", "begin", "reboot"] {
            capture.insert("/etc/hostname", Entry::File(format!("{name}\n").into_bytes()));
            assert_eq!(journal::operations(&scrubbed(&capture)).unwrap()[0].end, Some(End::Applied), "{name}");
        }
    }
}
