//! Files that are there and cannot be taken as they are: no plan is made as if they were not.

use cede_model::{Capture, Entry};

/// Why a file's bytes are not known though something is there, and what to do: `/etc/x could not be read (EACCES); run as root`.
/// `None` for a file that was read, that is absent, and that was not looked for.
pub fn trouble(capture: &Capture, path: &str) -> Option<String> {
    match capture.get(path)? {
        Entry::File(_) | Entry::Absent => None,
        Entry::Unreadable(why) => Some(unreadable(path, why)),
        Entry::Present(_) => Some(format!("{path} is there and its content was not read; run on the host itself")),
        Entry::Dir => Some(format!("{path} is a directory; move it away")),
        Entry::Link(target) => Some(format!("{path} is a link to {target}, which was not read; run on the host itself")),
    }
}

/// What to say of a path that could not be read.
pub fn unreadable(path: &str, why: &str) -> String {
    format!("{path} could not be read ({why}); {}", remedy(why))
}

/// The first of the directory and its files with this ending that could not be read. Directories with such names are none of the files.
pub fn trouble_in(capture: &Capture, dir: &str, ending: &str) -> Option<String> {
    let whole = capture.unreadable(dir).map(|why| unreadable(dir, why));
    whole.or_else(|| {
        let paths = capture.names_in(dir).filter(|name| name.ends_with(ending)).map(|name| format!("{dir}/{name}"));
        paths.filter(|path| capture.get(path) != Some(&Entry::Dir)).find_map(|path| trouble(capture, &path))
    })
}

fn remedy(why: &str) -> &'static str {
    match why {
        "EACCES" | "EPERM" => "run as root",
        NOT_UTF8 => "rename it, or move it away",
        "EFBIG" => "move it away, it is too large to be what its name says",
        _ => "run as root, or move it away and make it a regular file",
    }
}

/// How the observer marks a name that it cannot write down as text.
const NOT_UTF8: &str = "name is not UTF-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_not_known_is_named_with_what_to_do() {
        let mut capture = Capture::new();
        for (path, entry) in [
            ("/d/file.conf", Entry::File(Vec::new())),
            ("/d/gone.conf", Entry::Absent),
            ("/d/dir.conf", Entry::Dir),
            ("/d/other", Entry::Unreadable("EACCES".into())),
        ] {
            capture.insert(path, entry);
        }
        assert_eq!(["/d/file.conf", "/d/gone.conf", "/d/never.conf"].map(|path| trouble(&capture, path)), [None, None, None]);
        assert!(trouble(&capture, "/d/dir.conf").unwrap().contains("is a directory"));
        assert_eq!(trouble_in(&capture, "/d", ".conf"), None);
        capture.insert("/d/pipe.conf", Entry::Unreadable("Fifo".into()));
        assert!(trouble_in(&capture, "/d", ".conf").unwrap().starts_with("/d/pipe.conf could not be read (Fifo); "));
        capture.insert("/d", Entry::Unreadable("EACCES".into()));
        assert_eq!(trouble_in(&capture, "/d", ".conf").unwrap(), "/d could not be read (EACCES); run as root");
    }
}
