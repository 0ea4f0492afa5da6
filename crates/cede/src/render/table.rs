//! Columns, aligned, of which one gives way where the terminal is narrow. And text wrapped with an indent.

use anstyle::Style;
use cede_model::escape::misleads;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Rows of cells.
#[derive(Debug, Default)]
pub struct Table {
    indent: usize,
    flexible: usize,
    rows: Vec<Vec<(String, Style)>>,
    /// Lines between the rows, each before the row of its index.
    headings: Vec<(usize, String)>,
}

impl Table {
    /// A table indented by some blanks, of which the column `flexible` is cut to fit.
    pub fn new(indent: usize, flexible: usize) -> Self {
        Self { indent, flexible, rows: Vec::new(), headings: Vec::new() }
    }

    /// Adds a row of plain cells.
    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.iter().map(|cell| (clean(cell), Style::new())).collect());
    }

    /// Adds a line of its own, not indented, before the rows that follow; the columns go through.
    pub fn heading(&mut self, text: String) {
        self.headings.push((self.rows.len(), text));
    }

    /// Gives every cell of the last row a style.
    pub fn style_row(&mut self, style: Style) {
        for cell in self.rows.last_mut().into_iter().flatten() {
            cell.1 = style;
        }
    }

    /// Gives one cell of the last row a style.
    pub fn style_cell(&mut self, column: usize, style: Style) {
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.get_mut(column)) {
            cell.1 = style;
        }
    }

    /// Gives the last cell of the last row a style.
    pub fn style_last(&mut self, style: Style) {
        if let Some(cell) = self.rows.last_mut().and_then(|row| row.last_mut()) {
            cell.1 = style;
        }
    }

    /// Prints the rows, not wider than `width` where there is one.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn print(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..columns)
            .map(|at| self.rows.iter().filter_map(|row| row.get(at)).map(|cell| width_of(&cell.0)).max().unwrap_or(0))
            .collect();
        self.shrink(&mut widths, width);
        let mut line = String::new();
        let mut headings = self.headings.iter().peekable();
        for (index, row) in self.rows.iter().enumerate() {
            line.clear();
            while let Some((_, heading)) = headings.next_if(|(before, _)| *before <= index) {
                line.push_str(heading);
                line.push('\n');
            }
            line.extend(std::iter::repeat_n(' ', self.indent));
            for (at, (cell, style)) in row.iter().enumerate() {
                let column = widths.get(at).copied().unwrap_or(0);
                let text = cut(cell, column);
                let fill = if at + 1 == row.len() { 0 } else { column.saturating_sub(width_of(&text)) + 2 };
                // Writing to a string cannot fail.
                let _ = write!(line, "{style}{text}{style:#}");
                line.extend(std::iter::repeat_n(' ', fill));
            }
            line.truncate(line.trim_end().len());
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    fn shrink(&self, widths: &mut [usize], width: Option<usize>) {
        let Some(width) = width else { return };
        let total = self.indent + widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        if let Some(column) = widths.get_mut(self.flexible) {
            *column = column.saturating_sub(total.saturating_sub(width)).max(8);
        }
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
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    text.chars().map(|c| if misleads(c) { '?' } else { c }).collect()
}

/// As [`clean`], with tabs kept: for lines of files.
pub fn clean_line(text: &str) -> String {
    text.chars().map(|c| if misleads(c) && c != '\t' { '?' } else { c }).collect()
}

/// A number with its noun: `1 device`, `2 devices`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Prints text wrapped to `width`, the first line after `first`, the others indented as deep.
///
/// # Errors
/// Those of the stream.
pub fn wrapped(out: &mut dyn Write, first: &str, text: &str, width: Option<usize>) -> io::Result<()> {
    let indent = anstream::adapter::strip_str(first).to_string().width();
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent).max(20));
    let mut prefix = first.to_owned();
    let mut line = String::new();
    for word in text.split_whitespace().map(clean) {
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
    fn escape_sequences_of_the_host_do_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a?[2Jb?");
    }

    #[test]
    fn wrapping_keeps_the_indent() {
        let mut out = Vec::new();
        wrapped(&mut out, "key  ", "aaaa bbbb cccc dddd eeee ffff", Some(26)).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "key  aaaa bbbb cccc dddd\n     eeee ffff\n");
    }
}
