//! The terminal: where text goes, how wide it is, whether it has colour, and what the user answers.

use anstream::AutoStream;
use anstream::adapter::StripBytes;
use anstyle::{AnsiColor, Style};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Bold, for headings.
pub const HEADING: Style = Style::new().bold();
/// Good news.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Bad news.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Something to look at.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// Less important.
pub const FAINT: Style = Style::new().dimmed();

/// Text in a style; without colour it is the text alone.
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Standard output, without escape sequences where it has no colour.
struct Out {
    strip: Option<Strip>,
}

/// Takes escape sequences out. Few lines have any, and the rest need not pass byte by byte.
#[derive(Default)]
struct Strip {
    bytes: StripBytes,
    /// The last bytes were no whole line, and may have ended within a sequence.
    within: bool,
}

impl Strip {
    fn plain(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::with_capacity(bytes.len());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.within && line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
                plain.extend_from_slice(line);
            } else {
                self.bytes.strip_next(line).for_each(|part| plain.extend_from_slice(part));
                self.within = !line.ends_with(b"\n");
            }
        }
        plain
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stdout = io::stdout().lock();
        match &mut self.strip {
            Some(strip) => stdout.write_all(&strip.plain(bytes))?,
            None => stdout.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

fn columns(stream: &(impl IsTerminal + AsFd)) -> Option<usize> {
    stream.is_terminal().then(|| rustix::termios::tcgetwinsize(stream).map_or(80, |size| usize::from(size.ws_col)).max(40))
}

/// The two streams of a command.
pub struct Ui {
    out: BufWriter<Out>,
    err: AutoStream<io::Stderr>,
    width: Option<usize>,
    json: bool,
}

impl Ui {
    /// Opens the streams; with `json` standard output is for one document alone.
    pub fn new(when: ColorWhen, json: bool) -> Self {
        let choice = match when {
            ColorWhen::Auto => anstream::ColorChoice::Auto,
            ColorWhen::Always => anstream::ColorChoice::Always,
            ColorWhen::Never => anstream::ColorChoice::Never,
        };
        let has_colour = match choice {
            anstream::ColorChoice::Auto => AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
            given => given != anstream::ColorChoice::Never,
        };
        // JSON has none to take out: no control character is in it.
        let strip = (!has_colour && !json).then(Strip::default);
        Self {
            out: BufWriter::with_capacity(1 << 16, Out { strip }),
            err: AutoStream::new(io::stderr(), choice),
            width: columns(&io::stdout()),
            json,
        }
    }

    /// What a person asked for; talk where a program did.
    pub fn out(&mut self) -> &mut dyn Write {
        if self.json { &mut self.err } else { &mut self.out }
    }

    /// What a program asked for.
    pub fn document(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// Data for another program, byte by byte as it is: nothing is taken out of it.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.flush()?;
        io::stdout().lock().write_all(bytes)
    }

    /// Talk.
    pub fn err(&mut self) -> &mut dyn Write {
        &mut self.err
    }

    /// Columns of the terminal; `None` where the output is no terminal and no table needs cutting.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// As [`Self::width`], of the terminal that talk goes to.
    pub fn err_width(&self) -> Option<usize> {
        columns(&io::stderr())
    }

    /// True where the locale says that text is UTF-8 (locale(7): the first of these that is set counts).
    pub fn is_utf8(&self) -> bool {
        let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    }

    /// Sends what is buffered.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Asks a question that only `y` or `yes` answers with yes. `None` where nobody can answer: standard input is no terminal.
    ///
    /// # Errors
    /// Those of the streams.
    pub fn ask(&mut self, question: &str) -> io::Result<Option<bool>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        self.flush()?;
        write!(self.err, "{question} [y/N] ")?;
        self.err.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_does_not_depend_on_where_it_is_cut() {
        let text = "plain\n\u{1b}[1;31mred\u{1b}[0m and é\nrest \u{1b}]8;;x\u{7}link\n\tbell\u{7}\nend";
        let whole = StripBytes::new().strip_next(text.as_bytes()).collect::<Vec<_>>().concat();
        for cut in 0..=text.len() {
            let (one, two) = text.as_bytes().split_at(cut);
            let mut strip = Strip::default();
            assert_eq!([strip.plain(one), strip.plain(two)].concat(), whole, "{cut}");
        }
    }
}
