//! Unified diffs of files, for people and for patch(1).

use cede_model::escape::misleads;
use similar::TextDiff;

/// The change of one file as a unified diff with three lines of context; empty where nothing changes.
pub fn unified(path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> String {
    // A name with a line end in it would begin a line of its own.
    let path: String = path.chars().map(|c| if misleads(c) { '?' } else { c }).collect();
    let old = before.map_or_else(|| "/dev/null".to_owned(), |_| format!("a{path}"));
    let new = after.map_or_else(|| "/dev/null".to_owned(), |_| format!("b{path}"));
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let diff = TextDiff::from_lines(before, after);
    diff.unified_diff().context_radius(3).header(&old, &new).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_line_end_is_shown() {
        let text = unified("/etc/x", Some(b"a\nb"), Some(b"a\nb\nc\n"));
        assert!(
            text.starts_with("--- a/etc/x\n+++ b/etc/x\n") && text.contains("\\ No newline at end of file") && text.contains("+c\n"),
            "{text}"
        );
    }

    #[test]
    fn new_files_come_from_dev_null() {
        assert!(unified("/etc/x", None, Some(b"a\n")).starts_with("--- /dev/null\n+++ b/etc/x\n@@ -0,0 +1 @@\n+a\n"));
    }
}
