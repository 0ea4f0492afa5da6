//! Columns, aligned, of which one gives way where the terminal is narrow. And text wrapped with an indent.

use crate::typed::commands;
use anstyle::Style;
pub use cede_model::counted;
use cede_model::escape::misleads;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Rows of cells. The text of all cells is one string: large hosts have ten thousands of them.
#[derive(Debug, Default)]
pub struct Table {
    indent: usize,
    flexible: usize,
    text: String,
    cells: Vec<Cell>,
    /// Where each row ends in `cells`.
    rows: Vec<usize>,
    /// Lines between the rows, each before the row of its index.
    headings: Vec<(usize, String)>,
}

/// A cell begins in the text where the one before it ends.
#[derive(Debug)]
struct Cell {
    end: usize,
    width: usize,
    style: Style,
}

impl Table {
    /// A table indented by some blanks, of which the column `flexible` is cut to fit.
    pub fn new(indent: usize, flexible: usize) -> Self {
        Self { indent, flexible, ..Self::default() }
    }

    /// Adds a row of plain cells.
    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        for cell in cells {
            let start = self.text.len();
            push_clean(&mut self.text, cell);
            let width = width_of(self.text.get(start..).unwrap_or_default());
            self.cells.push(Cell { end: self.text.len(), width, style: Style::new() });
        }
        self.rows.push(self.cells.len());
    }

    /// Adds a line of its own, not indented, before the rows that follow; the columns go through.
    pub fn heading(&mut self, text: String) {
        self.headings.push((self.rows.len(), text));
    }

    fn last_row(&mut self) -> &mut [Cell] {
        let start = self.rows.len().checked_sub(2).and_then(|at| self.rows.get(at)).copied().unwrap_or(0);
        self.cells.get_mut(start..).unwrap_or_default()
    }

    /// Gives every cell of the last row a style.
    pub fn style_row(&mut self, style: Style) {
        for cell in self.last_row() {
            cell.style = style;
        }
    }

    /// Gives one cell of the last row a style.
    pub fn style_cell(&mut self, column: usize, style: Style) {
        if let Some(cell) = self.last_row().get_mut(column) {
            cell.style = style;
        }
    }

    /// Gives the last cell of the last row a style.
    pub fn style_last(&mut self, style: Style) {
        if let Some(cell) = self.last_row().last_mut() {
            cell.style = style;
        }
    }

    /// Prints the rows, not wider than `width` where there is one.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn print(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        let mut widths = self.widths();
        self.shrink(&mut widths, width);
        let blanks = " ".repeat(self.indent.max(widths.iter().copied().max().unwrap_or(0) + 2));
        let mut line = String::new();
        let mut headings = self.headings.iter().peekable();
        let (mut first, mut start) = (0, 0);
        for (index, end) in self.rows.iter().enumerate() {
            line.clear();
            while let Some((_, heading)) = headings.next_if(|(before, _)| *before <= index) {
                line.push_str(heading);
                line.push('\n');
            }
            line.push_str(blanks.get(..self.indent).unwrap_or_default());
            let row = self.cells.get(first..*end).unwrap_or_default();
            for (at, cell) in row.iter().enumerate() {
                let column = widths.get(at).copied().unwrap_or(0);
                let width = cell.print(&mut line, self.text.get(start..cell.end).unwrap_or_default(), column);
                if at + 1 < row.len() {
                    line.push_str(blanks.get(..column.saturating_sub(width) + 2).unwrap_or_default());
                }
                start = cell.end;
            }
            first = *end;
            line.truncate(line.trim_end().len());
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    /// Of each column, that of its widest cell.
    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        let mut first = 0;
        for end in &self.rows {
            for (at, cell) in self.cells.get(first..*end).unwrap_or_default().iter().enumerate() {
                match widths.get_mut(at) {
                    Some(width) => *width = cell.width.max(*width),
                    None => widths.push(cell.width),
                }
            }
            first = *end;
        }
        widths
    }

    fn shrink(&self, widths: &mut [usize], width: Option<usize>) {
        let Some(width) = width else { return };
        let total = self.indent + widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        if let Some(column) = widths.get_mut(self.flexible) {
            *column = column.saturating_sub(total.saturating_sub(width)).max(8);
        }
    }
}

impl Cell {
    /// Adds the cell's text, cut to a column; returns how wide it is then.
    fn print(&self, line: &mut String, text: &str, column: usize) -> usize {
        let (text, width) = if self.width <= column {
            (Cow::Borrowed(text), self.width)
        } else {
            let text = cut(text, column);
            let width = width_of(&text);
            (text, width)
        };
        // Blanks at the end of a line are cut off, not escape sequences among them.
        if self.style.is_plain() || text.is_empty() {
            line.push_str(&text);
        } else {
            let style = self.style;
            // Writing to a string cannot fail.
            let _ = write!(line, "{style}{text}{style:#}");
        }
        width
    }
}

/// Columns of a text without control characters.
fn width_of(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// The text, cut to `width` columns with an ellipsis.
pub fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if width_of(text) <= width {
        return text.into();
    }
    let mut left = width.saturating_sub(1);
    let mut out = String::new();
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if w > left {
            break;
        }
        left -= w;
        out.push(c);
    }
    out.push('…');
    out.into()
}

/// Text of the host for a person: control characters, which could steer the terminal, are shown as `?`.
pub fn clean(text: &str) -> String {
    let mut out = String::new();
    push_clean(&mut out, text);
    out
}

fn push_clean(out: &mut String, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        out.push_str(text);
    } else {
        out.extend(text.chars().map(|c| if misleads(c) { '?' } else { c }));
    }
}

/// As [`clean`], with tabs kept: for lines of files.
pub fn clean_line(text: &str) -> String {
    text.chars().map(|c| if misleads(c) && c != '\t' { '?' } else { c }).collect()
}

/// Columns of text where nothing tells how many there are.
const COLUMNS: usize = 80;

/// Prints text wrapped to `width`, or to 80 columns where there is none: tables are for other programs then, text never is. The first line after
/// `first`, the others indented as deep; commands as they are to be typed for the host that is looked at.
///
/// # Errors
/// Those of the stream.
pub fn wrapped(out: &mut dyn Write, first: &str, text: &str, width: Option<usize>) -> io::Result<()> {
    let indent = anstream::adapter::strip_str(first.trim_start_matches('\n')).to_string().width();
    let room = width.unwrap_or(COLUMNS).saturating_sub(indent).max(20);
    let mut prefix = first.to_owned();
    let mut line = String::new();
    for word in words(&commands(text)).iter().map(|word| clean(word)) {
        if !line.is_empty() && line.width() + 1 + word.width() > room {
            writeln!(out, "{prefix}{line}")?;
            prefix = " ".repeat(indent);
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    writeln!(out, "{prefix}{line}")
}

/// The words of a text. What stands between backquotes is to be typed and is one word, however long.
fn words(text: &str) -> Vec<&str> {
    let mut quotes = text.matches('`').count();
    let mut within = false;
    let is_gap = |c: char| {
        if c == '`' {
            quotes -= 1;
            within = !within && quotes > 0;
        }
        c == '\n' || c.is_whitespace() && !within
    };
    text.split(is_gap).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(table: &Table, width: Option<usize>) -> String {
        let mut out = Vec::new();
        table.print(&mut out, width).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_flexible_column_gives_way() {
        let mut table = Table::new(2, 1);
        table.row(["0000:01:00.0", "TU117M [GeForce GTX 1650 Mobile / Max-Q]", "nouveau"]);
        table.row(["0000:01:00.1", "audio", "-"]);
        let text = printed(&table, Some(40));
        assert!(text.lines().all(|line| line.width() <= 40), "{text}");
        assert!(text.contains("TU117M [GeForc…  nouveau") && text.contains("audio            -"), "{text}");
        assert!(printed(&table, None).contains("Max-Q]  nouveau"));
    }

    #[test]
    fn no_blanks_are_left_before_an_empty_cell() {
        let mut table = Table::new(0, 0);
        table.row(["long text", "x"]);
        table.row(["a", ""]);
        table.style_row(crate::ui::FAINT);
        assert!(printed(&table, None).ends_with("a\u{1b}[0m\n"));
    }

    #[test]
    fn escape_sequences_of_the_host_do_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a?[2Jb?");
    }

    #[test]
    fn what_is_to_be_typed_stays_in_one_piece() {
        let mut out = Vec::new();
        wrapped(&mut out, "", "first `sudo cp 'a  b' /etc/somewhere`, then `reboot", Some(20)).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "first\n`sudo cp 'a  b' /etc/somewhere`,\nthen `reboot\n");
    }

    #[test]
    fn wrapping_keeps_the_indent() {
        let mut out = Vec::new();
        wrapped(&mut out, "key  ", "aaaa bbbb cccc dddd eeee ffff", Some(26)).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "key  aaaa bbbb cccc dddd\n     eeee ffff\n");
    }
}
