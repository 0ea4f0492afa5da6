//! The terminal: where text goes, how wide it is, whether it has colour, and what the user answers.

use anstream::AutoStream;
use anstream::adapter::StripBytes;
use anstyle::{AnsiColor, Style};
use std::io::{self, BufWriter, IsTerminal, Write};

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

/// Standard output, without escape sequences where it has no colour. What needs no stripping passes in one piece.
struct Out {
    strip: Option<StripBytes>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stdout = io::stdout().lock();
        match &mut self.strip {
            Some(strip) => {
                let plain: Vec<&[u8]> = strip.strip_next(bytes).collect();
                stdout.write_all(&plain.concat())?;
            }
            None => stdout.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
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
        let strip = (!has_colour).then(StripBytes::new);
        let width =
            io::stdout().is_terminal().then(|| rustix::termios::tcgetwinsize(io::stdout()).map_or(80, |size| usize::from(size.ws_col)));
        Self {
            out: BufWriter::with_capacity(1 << 16, Out { strip }),
            err: AutoStream::new(io::stderr(), choice),
            width: width.map(|columns| columns.max(40)),
            json,
        }
    }

    /// What a person asked for; talk where a program did.
    pub fn out(&mut self) -> &mut dyn Write {
        if self.json { &mut self.err } else { &mut self.out }
    }

    /// What a program asked for.
    pub fn document(&mut self) -> &mut dyn Write {
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

    /// Columns of the terminal; `None` where the output is no terminal and nothing needs cutting.
    pub fn width(&self) -> Option<usize> {
        self.width
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
