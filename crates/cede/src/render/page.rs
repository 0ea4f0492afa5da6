//! A host on one page of HTML: nothing is fetched, nothing is run, and every text of the host is text.

mod findings;
mod wiring;

use crate::view::report::ReportView;
use cede_model::escape::misleads;
use cede_plan::Verdict;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// How every page begins, by which a page of ours is known.
pub const BEGINNING: &str =
    "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"generator\" content=\"cede report ";

/// Nothing may be loaded or run, whatever came into the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Longest text of the host that is shown whole, in characters.
const LONGEST: usize = 400;

/// The page, ending in a newline.
pub fn page(view: &ReportView, read: Option<&str>) -> String {
    let text = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="generator" content=(format!("cede report {}", env!("CARGO_PKG_VERSION")));
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "cede report: " (cut(&view.title)) }
                style { (PreEscaped(include_str!("page/style.css"))) }
            }
            body { (body(view, read)) }
        }
    };
    let mut text: String = text.into_string().chars().map(|c| if misleads(c) && c != '\n' { '\u{fffd}' } else { c }).collect();
    text.push('\n');
    text
}

fn body(view: &ReportView, read: Option<&str>) -> Markup {
    let (class, symbol, _) = grade(view.grade);
    html! {
        header {
            p.of { "cede report: " (shown(&view.title)) }
            h1 class=(class) { span.symbol aria-hidden="true" { (symbol) } " " (view.verdict) }
            dl { @for (name, text) in &view.facts { div { dt { (name) } dd { (prose(text)) } } } }
            nav aria-label="On this page" { a href="#findings" { "Findings" } a href="#wiring" { "Wiring and groups" } a href="#next" { "Next" } }
        }
        main { (findings::section(view)) (wiring::section(view)) }
        footer id="next" {
            h2 { "Next" }
            p.next { @if view.next.contains('`') { (prose(&view.next)) } @else { code { (view.next) } } }
            p.of { "Made by cede " (env!("CARGO_PKG_VERSION")) @if let Some(read) = read { ", " (read) } ". It names devices, drivers and files of this host." }
        }
    }
}

/// Class, symbol and word of a verdict.
fn grade(verdict: Verdict) -> (&'static str, &'static str, &'static str) {
    match verdict {
        Verdict::Fine => ("good", "✔", "fine"),
        Verdict::Advice => ("warn", "▲", "advice"),
        Verdict::CannotTell => ("warn", "?", "cannot tell"),
        Verdict::Problem => ("bad", "✖", "problem"),
    }
}

/// A text of the host, which runs in its own direction and in no other's.
fn shown(text: &str) -> Markup {
    html! { bdi { (cut(text)) } }
}

/// A sentence, in which commands stand between backticks.
fn prose(text: &str) -> Markup {
    let text = cut(text);
    let is_paired = text.matches('`').count().is_multiple_of(2);
    html! {
        @if is_paired {
            @for (at, part) in text.split('`').enumerate() { @if at % 2 == 1 { code { (part) } } @else { (part) } }
        } @else { (text) }
    }
}

/// The text; of one that is too long, its beginning.
fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// An address without the domain, where that is the first one.
fn short(address: &str) -> &str {
    address.strip_prefix("0000:").unwrap_or(address)
}
