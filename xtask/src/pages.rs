//! `cargo xtask pages`: the pages of `cede report`, opened in a real browser without a screen, at the widths of a phone and a desk, light and dark,
//! and on paper.

mod browser;
mod faults;
mod hosts;

use browser::{Browser, Looks};
use hosts::Subject;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "usage: cargo xtask pages [--keep DIR]

  Opens pages of `cede report` in Chromium and looks for what must not be: something wider than the window, a function or group that is not there
  exactly once, a function in a wrong frame, text that is hard to read, a request, an error, something that the keyboard does not reach.

  --keep  leaves pages, pictures and prints there, for a person to look at";

/// Most bytes of a page, and for each function on it.
const PAGE: u64 = 16 << 10;
const FUNCTION: u64 = 420;

/// What is asked of a page inside the browser; it answers with complaints.
const LOOK: &str = include_str!("pages/look.js");

/// Looks at every page.
pub(crate) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    let keep = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => None,
        ["--keep", dir] => Some(PathBuf::from(dir)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(keep) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(count) => {
            println!("{count} complaints");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("xtask pages: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(keep: Option<PathBuf>) -> Result<usize> {
    let cede = build()?;
    let dir = keep.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("cede-pages-{}", std::process::id())));
    fs::create_dir_all(&dir)?;
    let mut browser = Browser::start(&dir)?;
    let mut complaints = 0;
    let mut looked = 0;
    for subject in hosts::subjects(&dir)? {
        let start = Instant::now();
        let page = make(&cede, &subject, &dir)?;
        let took = start.elapsed().as_millis();
        let expected = expected(&cede, &subject)?;
        let mut found = look_at(&mut browser, &subject, &page, &expected, keep.as_deref())?;
        let (count, size) = (expected.as_array().map_or(0, Vec::len), fs::metadata(&page)?.len());
        if size > PAGE + FUNCTION * count as u64 {
            found.push("too large a page".to_owned());
        }
        println!(
            "{:<28} {count:>6} functions {size:>8} bytes, made in {took:>4} ms: {}",
            subject.name,
            if found.is_empty() { "good" } else { "NOT GOOD" }
        );
        found.iter().for_each(|complaint| println!("  {complaint}"));
        complaints += found.len();
        looked += 1;
    }
    complaints += faults::overlooked(&mut browser, &cede, &dir)?;
    browser.close()?;
    if keep.is_none() {
        fs::remove_dir_all(&dir)?;
    }
    println!("{looked} pages looked at");
    Ok(complaints)
}

/// Builds cede; it stands beside this program.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    if !Command::new(cargo).args(["build", "--quiet", "--package", "cede"]).status()?.success() {
        return Err("cede could not be built".into());
    }
    Ok(std::env::current_exe()?.with_file_name("cede"))
}

fn cede(program: &Path, subject: &Subject, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(program).args(&subject.source).args(arguments).env_clear().output()?;
    if !output.status.success() {
        return Err(format!("{} {arguments:?}: {}", subject.name, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(output.stdout)
}

fn make(program: &Path, subject: &Subject, dir: &Path) -> Result<PathBuf> {
    let page = dir.join(format!("{}.html", subject.name));
    cede(program, subject, &["report", "-o", page.to_str().ok_or("a path that is no text")?])?;
    Ok(page)
}

/// Every function with its group, as `cede groups` answers it.
fn expected(program: &Path, subject: &Subject) -> Result<Value> {
    let tree: Value = serde_json::from_slice(&cede(program, subject, &["groups", "--tree", "--json"])?)?;
    let mut list = Vec::new();
    for root in tree.get("roots").and_then(Value::as_array).ok_or("no roots")? {
        gather(root.get("functions"), &mut list);
    }
    if list.is_empty() { Err("no functions".into()) } else { Ok(Value::Array(list)) }
}

fn gather(functions: Option<&Value>, list: &mut Vec<Value>) {
    for function in functions.and_then(Value::as_array).into_iter().flatten() {
        list.push(json!([function.get("address"), function.get("group")]));
        gather(function.get("behind"), list);
    }
}

fn look_at(browser: &mut Browser, subject: &Subject, page: &Path, expected: &Value, keep: Option<&Path>) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    let all = [(360, "light"), (1280, "dark"), (360, "dark"), (1280, "light")];
    for (width, scheme) in all.into_iter().take(if subject.is_crowd { 2 } else { 4 }) {
        let looks = Looks { width, scheme, media: "" };
        let found = complaints_of(browser, page, expected, looks)?;
        complaints.extend(found.into_iter().map(|complaint| format!("{width} {scheme}: {complaint}")));
        if let Some(dir) = keep.filter(|_| !subject.is_crowd) {
            browser.picture(&dir.join(format!("{}-{width}-{scheme}.png", subject.name)))?;
        }
    }
    if subject.is_crowd {
        return Ok(complaints);
    }
    // The width of A4 at 96 dots to the inch, without margins.
    let looks = Looks { width: 718, scheme: "dark", media: "print" };
    let found = complaints_of(browser, page, expected, looks)?;
    complaints.extend(found.into_iter().map(|complaint| format!("print: {complaint}")));
    let paper = browser.print(keep.map(|dir| dir.join(format!("{}.pdf", subject.name))).as_deref())?;
    if !paper.starts_with("JVBER") {
        complaints.push("print: no PDF came of it".to_owned());
    }
    browser.open(page, Looks { width: 1280, scheme: "light", media: "" })?;
    complaints.extend(browser.keyboard()?);
    Ok(complaints)
}

/// Opens a page and asks it, and the browser, what is wrong.
fn complaints_of(browser: &mut Browser, page: &Path, expected: &Value, looks: Looks) -> Result<Vec<String>> {
    browser.open(page, looks)?;
    let answer = browser.evaluate(&format!("({LOOK})({expected}, {})", looks.width))?;
    let list = answer.as_array().ok_or("the page gave no answer")?;
    let mut complaints: Vec<String> = list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    complaints.extend(browser.noticed(page));
    Ok(complaints)
}
