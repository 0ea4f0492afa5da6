//! What the checks found.

use super::{grade, prose, short, shown};
use crate::view::check::{EvidenceView, FindingView};
use crate::view::report::ReportView;
use maud::{Markup, html};

/// Pieces of evidence and functions of one finding that are shown.
const MOST: usize = 40;

/// The section.
pub(super) fn section(view: &ReportView) -> Markup {
    html! {
        section id="findings" aria-labelledby="findings-title" {
            h2 id="findings-title" { "Findings" }
            @match &view.findings {
                None => p { "A listing of lspci shows how functions are wired. Kernel, boot files, disks and screens it does not show: run "
                    code { "cede report" } " on that host, or " code { "cede capture FILE" } " there and " code { "cede --host FILE report" } " here." },
                Some(list) if list.findings.is_empty() => p { "The checks found nothing to say." },
                Some(list) => @for finding in &list.findings { (article(finding)) },
            }
        }
    }
}

fn article(finding: &FindingView) -> Markup {
    let (class, symbol, word) = grade(finding.grade);
    html! {
        article.finding.(class) {
            h3 { span.verdict { span aria-hidden="true" { (symbol) } " " (word) } " " (prose(&finding.summary)) }
            ul.evidence {
                @for evidence in finding.evidence.iter().take(MOST) { li { (self::evidence(evidence)) } }
                (more(finding.evidence.len()))
            }
            @if let Some(remedy) = &finding.remedy { p.remedy { span aria-hidden="true" { "→ " } (prose(remedy)) } }
            @if !finding.devices.is_empty() {
                ul.about aria-label="Functions" {
                    @for device in finding.devices.iter().take(MOST) { li { a href=(format!("#{device}")) { (short(device)) } } }
                    (more(finding.devices.len()))
                }
            }
        }
    }
}

fn evidence(evidence: &EvidenceView) -> Markup {
    html! {
        span.source { (shown(&evidence.source)) @if let Some(line) = evidence.line { ":" (line) } }
        " " code { (shown(&evidence.text)) }
    }
}

fn more(count: usize) -> Markup {
    html! { @if count > MOST { li { "and " (count - MOST) " more" } } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cede_plan::Verdict;

    #[test]
    fn verdicts_have_words_and_symbols_of_their_own() {
        let all = [Verdict::Fine, Verdict::Advice, Verdict::CannotTell, Verdict::Problem].map(grade);
        let distinct = |pick: fn(&(&'static str, &'static str, &'static str)) -> &'static str| {
            all.iter().map(pick).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!((distinct(|grade| grade.1), distinct(|grade| grade.2)), (4, 4));
    }
}
