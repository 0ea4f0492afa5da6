//! The text form of a capture: one sorted file that people can read, compare and review.
//!
//! ```text
//! cede.capture/1
//! note made by cede 0.1.0
//! file /proc/cmdline
//! | root=/dev/sda2 ro quiet
//! link /sys/bus/pci/devices/0000:01:00.0/driver -> ../../../bus/pci/drivers/nouveau
//! hex /sys/bus/pci/devices/0000:01:00.0/config
//! | de10911f0700100a…
//! denied /sys/firmware/acpi/tables/DMAR EACCES
//! ```
//! A file whose last line has no line end is marked by a line `\`. Bytes that are no printable UTF-8 text are written as `hex`.
//! Paths have line ends, backslashes and other control characters escaped as in a Rust string.

use crate::capture::{Capture, Entry};
use crate::escape::misleads;
use std::fmt::Write as _;

/// First line of the text form; the number grows when an older reader could not read a newer file.
pub const CAPTURE_FORMAT: &str = "cede.capture/1";

/// Why a text is no capture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotACapture {
    /// The first line is another one.
    #[error("the first line is not `{CAPTURE_FORMAT}`: make the file with `cede capture`")]
    OtherFormat,
    /// A line that the format does not know.
    #[error("line {line}: {problem}")]
    Line {
        /// Line number, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
}

/// Writes a capture as text.
pub fn render(capture: &Capture) -> String {
    let mut out = format!("{CAPTURE_FORMAT}\n");
    for note in &capture.notes {
        let _ = writeln!(out, "note {}", escape(note));
    }
    for (path, entry) in capture.entries() {
        let path = escape(path);
        let _ = match entry {
            Entry::File(bytes) => render_file(&mut out, &path, bytes),
            Entry::Present(size) => writeln!(out, "seen {path} {size}"),
            Entry::Link(target) => writeln!(out, "link {path} -> {}", escape(target)),
            Entry::Dir => writeln!(out, "dir {path}"),
            Entry::Absent => writeln!(out, "absent {path}"),
            Entry::Unreadable(why) => writeln!(out, "denied {path} {}", escape(why)),
        };
    }
    out
}

fn render_file(out: &mut String, path: &str, bytes: &[u8]) -> std::fmt::Result {
    let printable = |text: &&str| !text.chars().any(|c| misleads(c) && c != '\n' && c != '\t');
    let Some(text) = std::str::from_utf8(bytes).ok().filter(printable) else {
        writeln!(out, "hex {path}")?;
        for chunk in bytes.chunks(32) {
            out.push_str("| ");
            chunk.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
            out.push('\n');
        }
        return Ok(());
    };
    writeln!(out, "file {path}")?;
    for line in text.split_inclusive('\n') {
        write!(out, "| {line}")?;
    }
    if !text.is_empty() && !text.ends_with('\n') {
        out.push_str("\n\\\n");
    }
    Ok(())
}

/// Reads the text form.
///
/// # Errors
/// [`NotACapture`] names the line that cannot be read.
pub fn parse(text: &str) -> Result<Capture, NotACapture> {
    let mut lines = text.split('\n').enumerate();
    if lines.next().map(|(_, line)| line.trim_end_matches('\r')) != Some(CAPTURE_FORMAT) {
        return Err(NotACapture::OtherFormat);
    }
    let mut reader = Reader { capture: Capture::new(), open: None };
    for (index, line) in lines {
        reader.line(line).map_err(|problem| NotACapture::Line { line: index + 1, problem })?;
    }
    reader.close();
    Ok(reader.capture)
}

struct Reader {
    capture: Capture,
    /// Path, bytes so far, and whether they are written as hexadecimal.
    open: Option<(String, Vec<u8>, bool)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(body) = line.strip_prefix('|') {
            return self.body(body.strip_prefix(' ').unwrap_or(body));
        }
        if line == "\\" {
            let (_, bytes, _) = self.open.as_mut().ok_or("`\\` without a file before it")?;
            bytes.pop();
            return Ok(());
        }
        self.close();
        if line.is_empty() {
            return Ok(());
        }
        let (kind, rest) = line.split_once(' ').ok_or_else(|| format!("`{line}` has no path"))?;
        self.head(kind, rest)
    }

    fn head(&mut self, kind: &str, rest: &str) -> Result<(), String> {
        let last_word = || rest.rsplit_once(' ').ok_or_else(|| format!("`{kind}` wants a path and a word"));
        let (path, entry) = match kind {
            "note" => {
                self.capture.notes.push(unescape(rest)?);
                return Ok(());
            }
            "file" | "hex" => {
                self.open = Some((absolute(rest)?, Vec::new(), kind == "hex"));
                return Ok(());
            }
            "seen" => {
                let (path, size) = last_word()?;
                (path, Entry::Present(size.parse().map_err(|_| format!("`{size}` is no size"))?))
            }
            "link" => {
                let (path, target) = rest.split_once(" -> ").ok_or("a link wants ` -> TARGET`")?;
                (path, Entry::Link(unescape(target)?))
            }
            "dir" => (rest, Entry::Dir),
            "absent" => (rest, Entry::Absent),
            "denied" => {
                let (path, why) = last_word()?;
                (path, Entry::Unreadable(unescape(why)?))
            }
            other => return Err(format!("`{other}` is no kind of entry")),
        };
        self.capture.insert(absolute(path)?, entry);
        Ok(())
    }

    fn body(&mut self, body: &str) -> Result<(), String> {
        let (_, bytes, hex) = self.open.as_mut().ok_or("`|` without a file before it")?;
        if !*hex {
            bytes.extend_from_slice(body.as_bytes());
            bytes.push(b'\n');
            return Ok(());
        }
        for pair in body.trim_end().as_bytes().chunks(2) {
            let digits = std::str::from_utf8(pair).map_err(|_| "no hexadecimal digits")?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| format!("`{digits}` is no byte"))?);
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some((path, bytes, _)) = self.open.take() {
            self.capture.insert(path, Entry::File(bytes));
        }
    }
}

fn absolute(path: &str) -> Result<String, String> {
    let path = unescape(path)?;
    if path.starts_with('/') { Ok(path) } else { Err(format!("`{path}` is no absolute path")) }
}

fn escape(text: &str) -> String {
    if !text.chars().any(|c| misleads(c) || c == '\\') {
        return text.to_owned();
    }
    text.chars().fold(String::new(), |mut out, c| {
        if misleads(c) || c == '\\' {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\u{") {
        let (digits, tail) = after.split_once('}').ok_or("an escape is not closed")?;
        let code = u32::from_str_radix(digits, 16).map_err(|_| format!("`{digits}` is no character"))?;
        out.push_str(before);
        out.push(char::from_u32(code).ok_or_else(|| format!("`{digits}` is no character"))?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Capture {
        let mut capture = Capture::new();
        capture.notes.push("scrubbed: 2 MAC addresses".into());
        for (path, bytes) in [
            ("/empty", &b""[..]),
            ("/text", b"a\n| b\n\\\n\nc"),
            ("/crlf", b"a\r\n"),
            ("/binary", b"\x00\xff\n"),
            ("/just-newline", b"\n"),
            ("/latin1", b"caf\xe9\n"),
        ] {
            capture.insert(path, Entry::File(bytes.to_vec()));
        }
        capture.insert("/odd\nname \\ é", Entry::File(b"x\n".to_vec()));
        capture.insert("/boot/vmlinuz", Entry::Present(7_000_000));
        capture.insert("/link", Entry::Link("../a -> b".into()));
        capture.insert("/dir", Entry::Dir);
        capture.insert("/gone", Entry::Absent);
        capture.insert("/no", Entry::Unreadable("EACCES".into()));
        capture
    }

    #[test]
    fn what_is_written_is_read_back() {
        let capture = sample();
        assert_eq!(parse(&render(&capture)), Ok(capture));
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(parse("something else\n"), Err(NotACapture::OtherFormat));
        for (body, problem) in [
            ("| x", "without a file"),
            ("blob /x", "no kind of entry"),
            ("file x", "no absolute path"),
            ("hex /x\n| 0g", "no byte"),
            ("seen /x y", "no size"),
            ("link /x", "->"),
            ("dir", "no path"),
            ("file /a\\u{zz}", "no character"),
        ] {
            let error = parse(&format!("{CAPTURE_FORMAT}\n{body}\n")).unwrap_err().to_string();
            assert!(error.starts_with("line ") && error.contains(problem), "{body}: {error}");
        }
    }
}
