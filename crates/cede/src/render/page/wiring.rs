//! The functions as they are wired, with their groups around them: one line each, and a frame around lines that follow each other in a group.

use super::{prose, short, shown};
use crate::render::tree::port;
use crate::view::report::{Remarks, ReportView};
use crate::view::tree::{NodeView, RootView};
use crate::view::tree_lines::{Line, Wire, lines};
use maud::{Markup, html};
use std::collections::HashMap;

/// Deepest level of wires that is drawn; what is deeper stands below it.
const DEEPEST: usize = 12;

/// Hues and strokes of frames; their numbers have no common divisor, so that both together come again only after all pairs.
const HUES: usize = 8;
const STROKES: usize = 3;

/// The section.
pub(super) fn section(view: &ReportView) -> Markup {
    let roots: Vec<(&RootView, Vec<Line<'_>>)> = view.tree.roots.iter().map(|root| (root, lines(&root.functions, false))).collect();
    let mut frames = Frames::new(view, roots.iter().map(|(_, lines)| lines.as_slice()));
    html! {
        section id="wiring" aria-labelledby="wiring-title" {
            h2 id="wiring-title" { "Wiring and groups" }
            (legend())
            @for (root, lines) in &roots {
                h3 { "Bus " (root.bus) @if let Some(vmd) = &root.vmd { ", made by Intel VMD " (short(vmd)) } }
                ol.wiring { @for held in framed(lines) { (frames.draw(held)) } }
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        ul.legend {
            li { span.group.several.c0.s0 { "group" } " several functions that go together, or not at all" }
            li { span.mark.good { "✔ ceded" } " on vfio-pci" }
            li { span.mark.bad { "✖ blocks" } " in use by the host: VFIO refuses its group" }
            li { span.mark.bad { "◆ needed" } " the host would lose what is named" }
            li { span.stays { "● stays" } " a bridge or part of the chipset" }
            li { span.mark { "∥ isolates" } " a port that keeps what is behind it apart; " span.mark.warn { "∦ open" } " one that does not" }
            li { span.mark { "?" } " could not be read; what stands after " span.mark { "? perhaps" } " may join the group" }
        }
    }
}

/// Lines of one group that follow each other; a line without a single group is alone.
fn framed<'a, 'b>(lines: &'b [Line<'a>]) -> impl Iterator<Item = &'b [Line<'a>]> {
    lines.chunk_by(|one, next| one.group().is_some() && one.group() == next.group())
}

/// The frames of a page: a group that is drawn in several places is numbered there.
struct Frames<'a> {
    view: &'a ReportView,
    /// Of groups with several functions: its place among them, by which it is coloured.
    several: HashMap<u32, usize>,
    places: HashMap<u32, usize>,
    drawn: HashMap<u32, usize>,
}

impl<'a> Frames<'a> {
    fn new<'l>(view: &'a ReportView, buses: impl Iterator<Item = &'l [Line<'l>]>) -> Self {
        let mut frames = Self { view, several: HashMap::new(), places: HashMap::new(), drawn: HashMap::new() };
        for line in buses.flat_map(|lines| framed(lines)).filter_map(<[Line<'_>]>::first) {
            let Some(group) = line.group() else { continue };
            *frames.places.entry(group).or_default() += 1;
            if line.nodes.first().is_some_and(|node| node.group_size > 1) {
                let next = frames.several.len();
                frames.several.entry(group).or_insert(next);
            }
        }
        frames
    }

    fn draw(&mut self, held: &[Line<'_>]) -> Markup {
        let group = held.first().and_then(Line::group);
        let outside = held.iter().map(|line| line.wires.len()).min().unwrap_or(0);
        let order = group.and_then(|group| self.several.get(&group)).copied();
        let looks = order.map(|order| format!("several c{} s{}", order % HUES, order % STROKES));
        let place = group.map(|group| {
            let drawn = self.drawn.entry(group).or_default();
            *drawn += 1;
            *drawn
        });
        let last = held.len() - 1;
        html! {
            @for (at, line) in held.iter().enumerate() {
                @let (before, inside) = line.wires.split_at(outside);
                li.line {
                    (wires(before))
                    div.frame.(looks.as_deref().unwrap_or(if group.is_some() || line.nodes.len() > 1 { "one" } else { "none" })).first[at == 0].last[at == last] {
                        (wires(inside))
                        div.what {
                            (what(line))
                            @if at == 0 { (self.tag(line, group, place)) } @else if let Some(group) = group { span.unseen { "group " (group) } }
                            @if at == last && place == group.and_then(|group| self.places.get(&group).copied()) {
                                @if let Some(remarks) = group.and_then(|group| self.view.remarks.get(&group)) { (self::remarks(remarks)) }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The name of a frame.
    fn tag(&self, line: &Line<'_>, group: Option<u32>, place: Option<usize>) -> Markup {
        let of = group.and_then(|group| self.places.get(&group)).copied().unwrap_or(1);
        let size = line.nodes.first().map_or(0, |node| node.group_size);
        let Some(group) = group else { return each(line) };
        html! {
            @match place {
                Some(1) => span.group id=(format!("group-{group}")) {
                    "group " (group)
                    @if size > 1 { ", " (size) " functions" }
                    @if of > 1 { ", in " (of) " places" }
                },
                _ => span.group { a href=(format!("#group-{group}")) { "group " (group) } ", continued" },
            }
        }
    }
}

/// The groups of functions that are in none, or have one each.
fn each(line: &Line<'_>) -> Markup {
    let groups = || line.nodes.iter().filter_map(|node| node.group);
    let ends = (groups().min(), groups().max());
    html! {
        @match ends {
            (Some(first), Some(last)) => span.group { "a group each, from " (first) " to " (last) },
            _ => span.group { "no group" },
        }
    }
}

fn wires(wires: &[Wire]) -> Markup {
    html! {
        @for wire in wires.iter().skip(wires.len().saturating_sub(DEEPEST)) {
            @match wire {
                Wire::Blank => i {},
                Wire::Through => i.t {},
                Wire::Branch => i.b {},
                Wire::Last => i.l {},
            }
        }
    }
}

fn what(line: &Line<'_>) -> Markup {
    let [node] = line.nodes else { return run(line.nodes) };
    let name = if node.stays { "name stays" } else { "name" };
    html! { div.function { code id=(node.address) { (node.without_domain()) } " " span.(name) { (shown(&node.name)) } " " (marks(node)) } }
}

/// Functions that are alike: what they have in common, and each by its address below it.
fn run(nodes: &[NodeView]) -> Markup {
    let [first, .., last] = nodes else { return html! {} };
    let has_own = first.group_size == 1;
    html! {
        details {
            summary {
                code { (first.without_domain()) " … " (last.without_domain()) } " "
                span.name { (nodes.len()) " alike: " (shown(&first.name)) } " " (marks(first))
            }
            ol.alike {
                @for node in nodes {
                    li {
                        code id=(node.address) { (node.without_domain()) }
                        @if let (true, Some(group)) = (has_own, node.group) { " " span id=(format!("group-{group}")) { "group " (group) } }
                    }
                }
            }
        }
    }
}

fn marks(node: &NodeView) -> Markup {
    html! {
        @match port(node) {
            "isolates" => span.mark { "∥ isolates" },
            "open" => span.mark.warn { "∦ open" },
            "?" => span.mark { "? isolation not read" },
            _ => {},
        }
        @if node.ceded { " " span.mark.good { "✔ ceded" } }
        @if node.blocks { " " span.mark.bad { "✖ blocks" } }
        @if node.stays { " " span.stays { "● stays" } }
        @if let Some(driver) = &node.driver { " " span.driver { (shown(driver)) } }
    }
}

fn remarks(remarks: &Remarks) -> Markup {
    html! {
        @for (loss, way) in &remarks.lost {
            p.remark { span.mark.bad { "◆ needed" } " " (shown(way)) " (" (loss) ")" }
        }
        @if let Some(perhaps) = &remarks.perhaps { p.remark { span.mark { "?" } " " (prose(perhaps)) } }
    }
}
