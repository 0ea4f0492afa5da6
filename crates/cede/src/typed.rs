//! Commands as they are to be typed for the host that is looked at: those to type next, and those that texts name between backquotes.

use crate::cli::Global;
use cede_plan::shell_word::quoted;
use std::borrow::Cow;
use std::path::Path;
use std::sync::OnceLock;

impl Global {
    /// The options that name the host; none where it is this machine. A listing that was read from standard input has a file's place.
    pub fn place(&self) -> String {
        let path = |option: &str, path: &Path| format!("{option} {}", quoted(&path.to_string_lossy()));
        match (&self.root, &self.host, &self.lspci) {
            (Some(root), ..) => path("--root", root),
            (_, Some(host), _) => path("--host", host),
            (.., Some(listing)) => {
                let file = if listing.as_os_str() == "-" { "--lspci FILE".to_owned() } else { path("--lspci", listing) };
                self.listing.map_or(file.clone(), |number| format!("{file} --listing {number}"))
            }
            _ => String::new(),
        }
    }

    /// A command line to type next that means the same host: `--root` is carried on; of a capture, its host is spoken of.
    pub fn command(&self, verb: &str, needs_root: bool) -> String {
        let sudo = if needs_root { "sudo " } else { "" };
        let place = self.place();
        match &self.root {
            None if place.is_empty() => format!("{sudo}cede {verb}"),
            None if needs_root => format!("{sudo}cede {verb} (on that host)"),
            _ => format!("{sudo}cede {place} {verb}"),
        }
    }
}

/// What is said to be typed, in all that a process prints; none where it looks at its own machine.
static PLACE: OnceLock<Place> = OnceLock::new();

/// Verbs that read any host, and those of them that read a listing of lspci.
const READ: [&str; 9] = ["status", "devices", "groups", "explain", "check", "report", "plan", "log", "handoff"];
const READ_LISTING: [&str; 3] = ["groups", "explain", "report"];
/// Verbs that change a host, and a mounted one too. All others are for the host itself, once it runs.
const CHANGE: [&str; 4] = ["apply", "undo", "redo", "recover"];

#[derive(Debug)]
struct Place {
    options: String,
    read: &'static [&'static str],
    /// Verbs that are for the host itself are said to be so.
    elsewhere: bool,
}

/// Says which host the texts are about. The first call counts.
pub fn set(global: &Global) {
    let elsewhere = global.host.is_some() || global.lspci.is_some();
    if elsewhere || global.root.is_some() {
        let read: &[&str] = if global.lspci.is_some() { &READ_LISTING } else { &READ };
        let _ = PLACE.set(Place { options: global.place(), read, elsewhere });
    }
}

/// The text with its commands as they are to be typed.
pub fn commands(text: &str) -> Cow<'_, str> {
    PLACE.get().map_or(Cow::Borrowed(text), |place| place.commands(text))
}

impl Place {
    fn commands<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !text.contains("`cede ") && !text.contains("`sudo cede ") {
            return Cow::Borrowed(text);
        }
        let mut placed = String::with_capacity(text.len() + self.options.len());
        let mut parts = text.split('`').peekable();
        let mut within = false;
        while let Some(part) = parts.next() {
            let is_closed = parts.peek().is_some();
            let (command, note) = if within && is_closed { self.command(part) } else { (Cow::Borrowed(part), "") };
            placed.push_str(&command);
            if is_closed {
                placed.push('`');
            }
            placed.push_str(note);
            within = !within;
        }
        Cow::Owned(placed)
    }

    /// One command, and what is to be said behind it.
    fn command<'a>(&self, text: &'a str) -> (Cow<'a, str>, &'static str) {
        let as_it_is = (Cow::Borrowed(text), "");
        let (sudo, rest) = text.strip_prefix("sudo ").map_or(("", text), |rest| ("sudo ", rest));
        let Some(rest) = rest.strip_prefix("cede ") else { return as_it_is };
        let verb = rest.split(' ').next().unwrap_or_default();
        let changes = CHANGE.contains(&verb);
        if self.read.contains(&verb) || changes && !self.elsewhere {
            return (Cow::Owned(format!("{sudo}cede {} {rest}", self.options)), "");
        }
        let is_for_the_host = changes || READ.contains(&verb);
        if self.elsewhere && is_for_the_host && !text.contains("(on that host)") {
            (Cow::Borrowed(text), " (on that host)")
        } else {
            as_it_is
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(place: &Place, text: &str) -> String {
        place.commands(text).into_owned()
    }

    #[test]
    fn a_mounted_system_is_named_in_each_command() {
        let place = Place { options: "--root '/mnt/a b'".to_owned(), read: &READ, elsewhere: false };
        let text = "`cede check` tells why, `sudo cede undo 3` takes it back; reboot, then `cede verify`; `cede --help`, `lspci -nn`";
        let expected = "`cede --root '/mnt/a b' check` tells why, `sudo cede --root '/mnt/a b' undo 3` takes it back; \
                        reboot, then `cede verify`; `cede --help`, `lspci -nn`";
        assert_eq!(placed(&place, text), expected);
    }

    #[test]
    fn what_changes_the_host_of_a_capture_is_for_that_host() {
        let place = Place { options: "--host FILE".to_owned(), read: &READ, elsewhere: true };
        assert_eq!(
            placed(&place, "`cede apply ADDR` adds it; `cede plan ADDR` shows how; `sudo cede undo (on that host)`"),
            "`cede apply ADDR` (on that host) adds it; `cede --host FILE plan ADDR` shows how; `sudo cede undo (on that host)`"
        );
        let listing = Place { options: "--lspci - --listing 2".to_owned(), read: &READ_LISTING, elsewhere: true };
        assert_eq!(
            placed(&listing, "`cede explain 01:00.0`, `cede check`"),
            "`cede --lspci - --listing 2 explain 01:00.0`, `cede check` (on that host)"
        );
    }

    #[test]
    fn odd_quotes_are_left_as_they_are() {
        let place = Place { options: "--host FILE".to_owned(), read: &READ, elsewhere: true };
        for text in ["", "`", "no `cede check", "cede check", "``cede check", "`cede`", "`cedes check`"] {
            assert_eq!(placed(&place, text), text);
        }
    }
}
