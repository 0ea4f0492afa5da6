//! What kind of file it is, as far as merging words must know: which words of a line are its frame, and which are what it says.

use super::diff3::Piece;
use super::words::{ids, is_sign, words};

/// Kinds of files that are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sourced by a shell.
    Shell,
    /// modprobe.d.
    Modprobe,
    /// A boot loader's entry: a key and its value on each line.
    Entry,
    /// `/etc/kernel/cmdline`: words alone.
    CommandLine,
    /// A list, or a file of which nothing is known.
    List,
}

impl Kind {
    /// By the file's place.
    pub(super) fn of(path: &str) -> Self {
        if path.starts_with("/etc/default/grub") || path.starts_with("/etc/mkinitcpio") {
            Self::Shell
        } else if path.starts_with("/etc/modprobe.d/") {
            Self::Modprobe
        } else if path.contains("/loader/entries/") {
            Self::Entry
        } else if path == "/etc/kernel/cmdline" {
            Self::CommandLine
        } else {
            Self::List
        }
    }

    /// What a line is without anything that it says; `None` where the line says one thing as a whole.
    pub(super) fn frame(self, line: &[u8]) -> Option<Vec<u8>> {
        if self == Self::List {
            return None;
        }
        let pieces = self.pieces(line);
        let mut out = Vec::new();
        for (piece, says) in pieces {
            if !says {
                out.extend(piece.glue);
                out.extend(piece.text);
            }
        }
        Some(out)
    }

    /// What a file says: its words without frames and comments, ids one by one.
    pub(super) fn says(self, text: &[u8]) -> Vec<Vec<u8>> {
        let mut list = Vec::new();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !is_comment(line)) {
            for (piece, _) in self.pieces(line).into_iter().filter(|(_, says)| *says) {
                match ids(&piece.text) {
                    Some((name, items)) => list.extend(items.into_iter().map(|item| [name, item].concat())),
                    None => list.push(piece.text),
                }
            }
        }
        list
    }

    fn pieces(self, line: &[u8]) -> Vec<(Piece, bool)> {
        let list = words(line, self);
        let says = |(index, piece): (usize, Piece)| {
            let text = piece.text.as_slice();
            let plain = !text.is_empty() && !is_sign(text);
            let says = plain
                && match self {
                    Self::Shell => !text.ends_with(b"=") && !text.contains(&b'$') && text != b"\\",
                    Self::Modprobe => index >= 2 && !text.ends_with(b":") && text != b"\\",
                    Self::Entry => index >= 1,
                    Self::CommandLine | Self::List => true,
                };
            (piece, says)
        };
        list.into_iter().enumerate().map(says).collect()
    }
}

pub(super) fn is_comment(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(b"#")
}
