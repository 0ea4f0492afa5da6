//! Pages that are spoilt on purpose: a look that does not see it is worth nothing.

use super::browser::{Browser, Looks};
use super::hosts::{Subject, fixture};
use super::{Result, complaints_of, expected, make};
use std::fs;
use std::path::Path;

/// What is put for what in a page, and a word of the complaint that must come.
const FAULTS: [(&str, &str, &str); 12] = [
    ("<main>", "<main><p style=width:2000px>x", "wide in a window"),
    ("id=\"0000:01:00.0\"", "", "is missing"),
    ("id=\"0000:01:00.1\"", "id=\"0000:01:00.0\"", "twice"),
    ("group 1, 3 functions", "group 7, 3 functions", "instead of 1"),
    ("id=\"group-2\"", "id=\"group-3\"", "named twice"),
    (".frame{", ".frame{margin-bottom:5px;", "torn"),
    (".function{", ".function{white-space:nowrap;", "leaves its frame"),
    ("--text:#1b1f24", "--text:#aaa", "contrast"),
    ("<main>", "<main><img alt=x src=http://127.0.0.1:9/x.png>", "IMG"),
    ("style-src 'unsafe-inline';", "img-src *; style-src 'unsafe-inline';", "no policy"),
    ("<main>", "<main onclick=x()>", "onclick"),
    ("<h2 id=\"findings-title\">", "<h4 id=\"findings-title\">", "level of headings"),
];

/// How many faults were not seen.
pub(super) fn overlooked(browser: &mut Browser, cede: &Path, dir: &Path) -> Result<usize> {
    let host = fixture("hosts/arch-gtx1650-laptop/host.capture").display().to_string();
    let subject = Subject { name: "spoilt".to_owned(), source: ["--host".to_owned(), host], is_crowd: false };
    let page = make(cede, &subject, dir)?;
    let expected = expected(cede, &subject)?;
    let good = fs::read_to_string(&page)?;
    let mut count = 0;
    for (from, to, word) in FAULTS {
        let spoilt = good.replacen(from, to, 1);
        if spoilt == good {
            return Err(format!("there is no {from} on the page to spoil").into());
        }
        fs::write(&page, spoilt)?;
        let found = complaints_of(browser, &page, &expected, Looks { width: 360, scheme: "light", media: "" })?;
        if !found.iter().any(|complaint| complaint.contains(word)) {
            println!("not seen: {to} for {from}: {found:?}");
            count += 1;
        }
    }
    fs::remove_file(&page)?;
    println!("{} of {} spoilt pages were seen to be spoilt", FAULTS.len() - count, FAULTS.len());
    Ok(count)
}
